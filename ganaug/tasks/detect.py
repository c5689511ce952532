"""Detection: the generator makes objects with alpha, and a sample's box is where it was put into a real scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ganaug.data.box_view import BoxView
from ganaug.data.labelled import LabelledImages
from ganaug.data.objects import ObjectImages, read_objects
from ganaug.errors import DataError
from ganaug.gan.cut_outs import ObjectConditions, ObjectGenerator, largest_part, opacity
from ganaug.gan.mixed import Others
from ganaug.gan.networks import NetworkShape
from ganaug.gan.object_step import ObjectTrainer, alpha_of
from ganaug.gan.object_variation import ObjectVariationGenerator, ObjectVariationTrainer, alphas_of, over_grey
from ganaug.gan.precision import Precision
from ganaug.gan.processes import Processes
from ganaug.gan.start import Start
from ganaug.gan.variation import VariationShape
from ganaug.recipe import Recipe
from ganaug.tasks.classify import ClassifyTask

__all__ = ["DetectTask"]


_ALPHAS = {
    "given": "by masks",
    "learned": "learned from boxes, by what the ground around them cannot explain",
    "soft": "boxes with a soft edge",
}


class DetectTask(ClassifyTask):
    """Noise and class to an object with alpha, or a real object and noise to another of its class."""

    name = "detect"
    of_pictures: ClassVar[bool] = False

    def read(
        self,
        dataset: Any,
        recipe: Recipe,
        *,
        classes: Sequence[str] | None = None,
        raw: Any = None,
        on_bad: Literal["stop", "skip"] = "stop",
        least: int = 2,
    ) -> ObjectImages:
        """All objects of `dataset` (a path, or any dataset of (image, target) items) at the recipe's resolution."""
        data = read_objects(
            dataset,
            resolution=recipe.resolution,
            classes=classes,
            colour=recipe.data.colour,
            on_bad=on_bad,
            raw=raw,
            least=least,
        )
        if recipe.objects.alpha == "given" and data.alphas is None:
            raise DataError(
                "objects.alpha is given and some objects have no mask; leave it out, or choose learned or soft"
            )
        kind = alpha_of(recipe, data.alphas is not None)
        data = replace(data, remarks=(*data.remarks, f"alpha: {_ALPHAS[kind]}"))
        return data if recipe.generator == "image" else self._over_grey(data, kind)

    def _over_grey(self, data: ObjectImages, kind: str) -> ObjectImages:
        """Objects without what is around them: nothing else of a crop is to vary."""
        given = data.alphas if kind == "given" else None
        alphas = alphas_of(given, data.inside, data.labels, data.images.shape[-1])
        return replace(data, images=over_grey(data.images, alphas), alphas=alphas)

    def build_training(
        self,
        recipe: Recipe,
        shape: NetworkShape,
        device: torch.device,
        precision: Precision,
        *,
        processes: Processes,
        others: Others | None = None,
        start: Start | None = None,
    ) -> ObjectTrainer | ObjectVariationTrainer:
        """The untrained trainer that the recipe wants; see `BuildTraining`."""
        assert others is None, "refused when the fit was planned"
        assert start is None, "refused when the fit was planned"
        if isinstance(shape, VariationShape):
            return ObjectVariationTrainer(recipe, shape, device, precision, processes=processes)
        return ObjectTrainer(recipe, shape, device, precision, processes=processes)

    def build_generator(self, shape: Mapping[str, Any]) -> nn.Module:
        """The generator of a bank, from the shape that its manifest keeps; weights are untrained."""
        if "sources" in shape:
            return ObjectVariationGenerator(VariationShape(**shape))
        return ObjectGenerator(NetworkShape(**shape))

    def conditions(self, data: LabelledImages) -> ObjectConditions:
        """What a generator is told of each crop, and real grounds."""
        assert isinstance(data, ObjectImages), "read by this task"
        return ObjectConditions(data.labels, data.inside, data.alphas, data.backgrounds)

    def planes(self, image_channels: int) -> int:
        """Channels of raw output: those of the image, and alpha."""
        return image_channels + 1

    def run(self, generator: nn.Module, noise: Tensor, labels: Tensor) -> Tensor:
        """Raw output (N, planes, H, W) in [-1, 1]: objects, and as the last channel the alpha of one part each."""
        assert isinstance(generator, (ObjectGenerator, ObjectVariationGenerator)), "built by this task"
        made = generator.cut_outs(noise, labels)
        return torch.cat([made[:, :-1], largest_part(opacity(made)) * 2 - 1], dim=1)

    def view(  # type: ignore[override]  # of scenes, not of images
        self, dataset: Any, recipe: Recipe, numbers: Sequence[int], *, raw: Any = None, transform: Any = None
    ) -> BoxView:
        """The user's dataset read below its transforms, and scenes put into the form of its items."""
        return BoxView(dataset, raw=raw, transform=transform, settings=recipe.scenes, flip=recipe.data.horizontal_flip)
