"""Classification: the generator is told a class, and the label of a sample is the class asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ganaug.data import DatasetView, LabelledImages, read_images
from ganaug.gan.mixed import Others
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.gan.precision import Precision
from ganaug.gan.processes import Processes
from ganaug.gan.start import Start
from ganaug.gan.step import Trainer
from ganaug.gan.training import Training
from ganaug.gan.variation import VariationGenerator, VariationShape
from ganaug.gan.varying import VariationTrainer, variety
from ganaug.recipe import Recipe
from ganaug.tasks.exam import Exam

__all__ = ["ClassifyTask"]


class ClassifyTask:
    """Noise and class to image, or a class's real image and noise to another one."""

    name = "classify"
    of_pictures: ClassVar[bool] = False
    """Whether images come without labels, to make pictures of them, and snapshots are scored by `score`."""

    def read(
        self,
        dataset: Any,
        recipe: Recipe,
        *,
        classes: Sequence[str] | None = None,
        raw: Any = None,
        on_bad: Literal["stop", "skip"] = "stop",
        least: int = 2,
    ) -> LabelledImages:
        """All images of `dataset` (a path, or any dataset of (image, class) items) at the recipe's resolution."""
        return read_images(
            dataset,
            resolution=recipe.resolution,
            classes=classes,
            fit=recipe.data.fit,
            colour=recipe.data.colour,
            on_bad=on_bad,
            raw=raw,
            least=least,
        )

    def shape(self, data: LabelledImages, recipe: Recipe, *, most: int | None = None) -> NetworkShape:
        """The networks that the recipe wants for these images; `most` is how many the largest class has with others."""
        values: dict[str, Any] = {
            "resolution": recipe.resolution,
            "image_channels": data.images.shape[1],
            "classes": len(data.class_names),
            "latent_dim": recipe.networks.latent_dim,
            "generator_channels": recipe.networks.generator_channels,
            "discriminator_channels": recipe.networks.discriminator_channels,
            "max_channels": recipe.networks.max_channels,
        }
        if recipe.generator == "variation":
            parts = recipe.variation.model_dump(include={"flow", "colour", "residual"})
            return VariationShape(**values, **parts, sources=max(data.counts()) if recipe.per_class else len(data))
        codes = min(recipe.reconstruction.codes, most or max(data.counts())) if recipe.reconstruction.share else 0
        return NetworkShape(**values, codes=codes)

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
    ) -> Training:
        """The untrained trainer that the recipe wants; see `BuildTraining`.

        With `others`, images without labels, the last class of `shape` is for those that belong to none. `start` is
        what the networks start from.
        """
        if isinstance(shape, VariationShape):
            return VariationTrainer(recipe, shape, device, precision, processes=processes, start=start)
        return Trainer(recipe, shape, device, precision, processes=processes, others=others, start=start)

    def build_generator(self, shape: Mapping[str, Any]) -> nn.Module:
        """The generator of a bank, from the shape that its manifest keeps; weights are untrained."""
        if "sources" in shape:
            return VariationGenerator(VariationShape(**shape))
        return Generator(NetworkShape(**shape))

    def to_tell_apart(self, data: LabelledImages) -> tuple[Tensor, Tensor] | None:
        """Images NCHW uint8 and their classes (N,): what a judge of snapshots learns from, if there is one."""
        return data.images, data.labels

    def real_samples(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """Real images in the form of samples, NCHW uint8, and which of `groups` each is of, (N,)."""
        return data.images, data.labels

    def score(self, generator: nn.Module, exam: Exam) -> tuple[float, dict[str, float]]:
        """One number to choose a snapshot by, the higher the better, and what is worth logging.

        Of variations the noise must matter: `noise_ratio` is how far apart two variations of an image are, by how far
        apart two of its neighbours in its class are; 0 where nothing varies, or all in one way. `source_ratio` is how
        far a variation is from its image, by how far a neighbour is. Root mean squares of pixels.
        """
        score, found = exam.fidelity(exam.samples(generator))
        if not isinstance(generator, VariationGenerator):
            return score, found
        varied = variety(generator, exam.images, exam.image_labels)
        return score * min(1.0, 2 * varied.get("noise_ratio", 1.0)), varied | found

    def with_sources(
        self, generator: VariationGenerator, shape: Mapping[str, Any], images: Tensor, labels: Tensor
    ) -> VariationGenerator:
        """A generator of variations that holds other images, (N, C, H, W) uint8 with labels (N,); shares its network.

        `shape` is that of the new one.
        """
        made = VariationGenerator(VariationShape(**shape), generator.network)
        made.hold(images, labels)
        return made

    def groups(self, data: LabelledImages) -> tuple[str, ...]:
        """Names of what `data.labels` number."""
        return data.class_names

    def conditions(self, data: LabelledImages) -> Any:
        """What a generator is told of each image: its class, (N,) int64."""
        return data.labels

    def planes(self, image_channels: int) -> int:
        """Channels of raw output."""
        return image_channels

    def run(self, generator: nn.Module, noise: Tensor, labels: Tensor) -> Tensor:
        """Raw output (N, planes, H, W) in [-1, 1]."""
        images: Tensor = generator(noise, labels)
        return images

    def view(
        self, dataset: Any, recipe: Recipe, numbers: Sequence[int], *, raw: Any = None, transform: Any = None
    ) -> DatasetView:
        """The user's dataset read below its transform, and samples put into the form of its items."""
        return DatasetView(dataset, raw=raw, transform=transform)
