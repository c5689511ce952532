"""Enlarging: the generator is told a small image, and makes one of twice the size; there is no label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ganaug.data.labelled import LabelledImages
from ganaug.data.pictures import PICTURES, read_pictures
from ganaug.data.view import DatasetView
from ganaug.errors import BankError
from ganaug.gan.enlarger import EnlargerShape, EnlargingGenerator
from ganaug.gan.enlarging_step import EnlargingTrainer
from ganaug.gan.mixed import Others
from ganaug.gan.processes import Processes
from ganaug.gan.shrinking import degraded, detail, plainly_enlarged, shrunk
from ganaug.gan.start import Start
from ganaug.recipe import Recipe
from ganaug.tasks.exam import Exam

__all__ = ["EnlargeTask"]

_SHOWN = 64  # training images that a generator keeps, at the most
_SCORED = 128  # that a snapshot is scored on, at the most
_CHUNK = 32  # of them at a time


class EnlargeTask:
    """A small image to one of twice the size."""

    name = "enlarge"
    of_pictures: ClassVar[bool] = True

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
        return read_pictures(
            dataset, resolution=recipe.resolution, classes=classes, fit=recipe.data.fit, colour=recipe.data.colour,
            on_bad=on_bad, raw=raw, least=least, smallest=recipe.resolution,
        )  # fmt: skip

    def groups(self, data: LabelledImages) -> tuple[str, ...]:
        """Names of what `data.labels` number: one."""
        return (PICTURES,)

    def conditions(self, data: LabelledImages) -> Tensor:
        """What a generator is told of each image: nothing, (N,) int64 zeros."""
        return data.labels

    def shape(self, data: LabelledImages, recipe: Recipe, *, most: int | None = None) -> EnlargerShape:
        """The networks that the recipe wants for these images; `most` is for classes of images."""
        return EnlargerShape(
            resolution=recipe.resolution,
            image_channels=data.images.shape[1],
            generator_channels=recipe.networks.generator_channels,
            discriminator_channels=recipe.networks.discriminator_channels,
            blocks=recipe.enlarging.blocks,
            shown=min(_SHOWN, len(data)),
        )

    def build_training(
        self,
        recipe: Recipe,
        shape: EnlargerShape,
        device: torch.device,
        half: bool,
        *,
        processes: Processes,
        others: Others | None = None,
        start: Start | None = None,
    ) -> EnlargingTrainer:
        """The untrained trainer that the recipe wants; see `BuildTraining`."""
        assert others is None, "refused when the fit was planned"
        assert start is None, "refused when the fit was planned"
        return EnlargingTrainer(recipe, shape, device, half, processes=processes)

    def build_generator(self, shape: Mapping[str, Any]) -> nn.Module:
        """The generator of a bank, from the shape that its manifest keeps; weights are untrained."""
        return EnlargingGenerator(EnlargerShape.from_dict(shape))

    def planes(self, image_channels: int) -> int:
        """Channels of raw output."""
        return image_channels

    def run(self, generator: nn.Module, noise: Tensor, labels: Tensor) -> Tensor:
        """Raw output (N, planes, H, W) in [-1, 1]: training images that were shrunk, enlarged."""
        images: Tensor = generator(noise, labels)
        return images

    def to_tell_apart(self, data: LabelledImages) -> None:
        """Nothing: see `ClassifyTask.to_tell_apart`."""

    def real_samples(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """See `ClassifyTask.real_samples`."""
        return data.images, data.labels

    @torch.no_grad()
    def score(self, generator: nn.Module, exam: Exam) -> tuple[float, dict[str, float]]:
        """How good a snapshot is, 0..1, and what is worth logging, of the exam's images.

        They are shrunk, spoilt as in training, always in the same way, and enlarged. `detail_ratio` is how much of the
        finest detail there is then by how much there is in real images, both root mean squares; `error_ratio` is the
        root mean square error by that of plain enlargement. The score is the former, or its inverse where that is
        less, over the latter where that is above 1: as much detail as real images have, and no farther from them than
        without any.
        """
        assert isinstance(generator, EnlargingGenerator), "built by this task"
        device, random = generator.small.device, torch.Generator().manual_seed(0)
        images, recipe = exam.images, exam.recipe
        rows = torch.arange(min(_SCORED, len(images))) * len(images) // min(_SCORED, len(images))
        sums = torch.zeros(4)
        for part in rows.split(_CHUNK):
            real = images[part].to(device).float().div(127.5).sub(1)
            small = degraded(shrunk(real), recipe.enlarging.blur, recipe.enlarging.noise, random)
            small = small.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
            made, plain = generator.enlarge(small), plainly_enlarged(small.float().div(127.5).sub(1)).clamp(-1, 1)
            parts = made - real, plain - real, detail(made), detail(real)
            sums += torch.stack([part.square().sum() for part in parts]).cpu()
        error, plain_error, found, wanted = sums.clamp_min(1e-9).sqrt().tolist()
        measured = {"detail_ratio": found / wanted, "error_ratio": error / plain_error}
        near = min(measured["detail_ratio"], 1 / measured["detail_ratio"])
        return near / max(1.0, measured["error_ratio"]), measured

    def view(
        self, dataset: Any, recipe: Recipe, numbers: Sequence[int], *, raw: Any = None, transform: Any = None
    ) -> DatasetView:
        """None: a BankError, for there is nothing to mix in."""
        raise BankError(
            "the bank enlarges images and makes none of its own to mix in; give GanAugmented one that does, and this "
            "as enlarge="
        )
