"""Segmentation: the generator is told a label map, composed from real ones, and that map is the label of a sample.

Or it varies real images, and their maps are moved with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Union

import torch
from torch import Tensor, nn

from ganaug.data.class_tables import ClassTable, made_table
from ganaug.data.labelled import LabelledImages
from ganaug.data.mask_view import MaskView
from ganaug.data.masks import MaskedImages, read_masked
from ganaug.errors import DataError
from ganaug.gan.map_step import MapTrainer
from ganaug.gan.map_variation import MapVariationGenerator, MapVariationTrainer
from ganaug.gan.mixed import Others
from ganaug.gan.precision import Precision
from ganaug.gan.processes import Processes
from ganaug.gan.spade import MapGenerator, MapShape
from ganaug.gan.start import Start
from ganaug.gan.variation import VariationShape
from ganaug.gan.varying import variety
from ganaug.recipe import Recipe
from ganaug.tasks.exam import Exam

__all__ = ["SegmentTask"]

PairGenerator = Union[MapGenerator, MapVariationGenerator]

_CHUNK = 64  # samples made at a time
_MOST_MAPS = 2048  # that a generator keeps
_MOST_VALUES = 2**25  # of the images that go with them, where sketches are made of these


class SegmentTask:
    """Noise and label map to image, or a real image with its map and noise to another pair."""

    name = "segment"
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
    ) -> MaskedImages:
        """All images of `dataset` (a path, or any dataset of (image, mask) items) with their maps."""
        if classes is not None:
            raise DataError("a label map holds all its classes; leave classes out, and name them in data.table")
        return read_masked(
            dataset,
            resolution=recipe.resolution,
            fit=recipe.data.fit,
            tile=recipe.data.tile,
            colour=recipe.data.colour,
            table=_table(recipe),
            ignore=recipe.data.ignore,
            on_bad=on_bad,
            raw=raw,
            least=least,
        )

    def groups(self, data: LabelledImages) -> tuple[str, ...]:
        """Names of what `data.labels` number: such images are all of one group."""
        return ("images",)

    def conditions(self, data: LabelledImages) -> Tensor:
        """What a generator is told of each image."""
        assert isinstance(data, MaskedImages), "read by this task"
        return data.maps

    def shape(
        self, data: LabelledImages, recipe: Recipe, *, most: int | None = None
    ) -> Union[MapShape, VariationShape]:
        """The networks that the recipe wants for these images; `most` is for classes of images."""
        values: dict[str, Any] = {
            "resolution": recipe.resolution,
            "image_channels": data.images.shape[1],
            "classes": len(data.class_names),
            **recipe.networks.model_dump(include={"generator_channels", "discriminator_channels", "max_channels"}),
        }
        fewer = min(len(data), _MOST_MAPS, _MOST_VALUES // data.images[0].numel())
        if recipe.generator == "variation":
            parts = recipe.variation.model_dump(include={"flow", "colour", "residual"})
            return VariationShape(**values, **parts, latent_dim=recipe.networks.latent_dim, sources=fewer)
        sketched = recipe.maps.sketch
        return MapShape(
            **values,
            style_dim=recipe.networks.latent_dim,
            maps=fewer if sketched else min(len(data), _MOST_MAPS),
            mirror=recipe.data.horizontal_flip,
            sketched=sketched,
        )

    def build_training(
        self,
        recipe: Recipe,
        shape: Union[MapShape, VariationShape],
        device: torch.device,
        precision: Precision,
        *,
        processes: Processes,
        others: Others | None = None,
        start: Start | None = None,
    ) -> Union[MapTrainer, MapVariationTrainer]:
        """The untrained trainer that the recipe wants; see `BuildTraining`."""
        assert others is None, "refused when the fit was planned"
        assert start is None, "refused when the fit was planned"
        if isinstance(shape, VariationShape):
            return MapVariationTrainer(recipe, shape, device, precision, processes=processes)
        return MapTrainer(recipe, shape, device, precision, processes=processes)

    def build_generator(self, shape: Mapping[str, Any]) -> nn.Module:
        """The generator of a bank, from the shape that its manifest keeps; weights are untrained."""
        if "sources" in shape:
            return MapVariationGenerator(VariationShape(**shape))
        return MapGenerator(MapShape.from_dict(shape))

    def planes(self, image_channels: int) -> int:
        """Channels of raw output: those of the image, and the map."""
        return image_channels + 1

    def run(self, generator: nn.Module, noise: Tensor, labels: Tensor) -> Tensor:
        """Raw output (N, planes, H, W) in [-1, 1]: images, and as the last channel the map that each shows."""
        assert isinstance(generator, (MapGenerator, MapVariationGenerator)), "built by this task"
        images, maps = generator.pairs(noise)
        return torch.cat([images, maps[:, None].to(images).div(127.5).sub(1)], dim=1)

    def to_tell_apart(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """See `ClassifyTask.to_tell_apart`."""
        return data.images, data.labels

    def real_samples(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """See `ClassifyTask.real_samples`."""
        return data.images, data.labels

    def score(self, generator: nn.Module, exam: Exam) -> tuple[float, dict[str, float]]:
        """Do samples show their maps, and are there such as look like every real image? The product of both.

        The first is the mean Dice of each sample's map and what is seen in its image by a segmenter of real pairs, the
        GAN-test of Shmelkov et al. (2018, 1807.09499, section 3); the second is coverage. Of variations the noise must
        matter too, as `ClassifyTask.score` has it.
        """
        assert exam.reader is not None, "its samples have maps"
        assert isinstance(generator, (MapGenerator, MapVariationGenerator)), "built by this task"
        images, maps = self._pairs(generator, exam.noise)
        _, found = exam.fidelity(images)
        dice = exam.reader(images, maps)
        score, told = dice * found["coverage"], {"map_dice": dice, **found}
        if isinstance(generator, MapGenerator):
            return score, told
        varied = variety(generator, exam.images, exam.image_labels)
        return score * min(1.0, 2 * varied.get("noise_ratio", 1.0)), varied | told

    def with_sources(
        self, generator: MapVariationGenerator, shape: Mapping[str, Any], images: Tensor, maps: Tensor
    ) -> MapVariationGenerator:
        """A generator of variations that holds other images, (N, C, H, W) uint8 with maps (N, H, W) uint8.

        It shares its network; `shape` is that of the new one.
        """
        made = MapVariationGenerator(VariationShape(**shape), generator.network)
        made.hold(images, torch.zeros(len(images), dtype=torch.int64))
        made.hold_maps(maps)
        return made

    @torch.no_grad()
    def _pairs(self, generator: PairGenerator, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Images NCHW and maps (N, H, W) uint8 on the CPU."""
        device = next(generator.parameters()).device
        made = [generator.pairs(part.to(device)) for part in noise.split(_CHUNK)]
        images = torch.cat([part.add(1).mul(127.5).round().to("cpu", torch.uint8) for part, _ in made])
        return images, torch.cat([maps.cpu() for _, maps in made])

    def view(
        self, dataset: Any, recipe: Recipe, numbers: Sequence[int], *, raw: Any = None, transform: Any = None
    ) -> MaskView:
        """The user's dataset read below its transforms, and samples put into the form of its items.

        `numbers` are those that the user's masks have for the classes.
        """
        data = recipe.data
        return MaskView(
            dataset, raw=raw, transform=transform, table=_table(recipe), numbers=numbers, ignore=data.ignore,
            tile=data.tile,
        )  # fmt: skip


def _table(recipe: Recipe) -> ClassTable | None:
    return None if recipe.data.table is None else made_table(recipe.data.table)
