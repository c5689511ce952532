"""Enlarging: the generator is told a small image, and makes one of twice the size; there is no label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ganaug.data.labelled import LabelledImages
from ganaug.data.pictures import read_pictures
from ganaug.gan.enlarger import EnlargerShape, EnlargingGenerator
from ganaug.gan.enlarging_step import EnlargingTrainer
from ganaug.gan.shrinking import degraded, detail, plainly_enlarged, shrunk
from ganaug.recipe import Recipe
from ganaug.tasks.exam import Exam
from ganaug.tasks.pictures import Asked, PictureTask

__all__ = ["EnlargeTask"]

_SHOWN = 64  # training images that a generator keeps, at the most
_SCORED = 128  # that a snapshot is scored on, at the most
_CHUNK = 32  # of them at a time


class EnlargeTask(PictureTask):
    """A small image to one of twice the size."""

    name = "enlarge"
    _shaped, _generator, _trainer = EnlargerShape, EnlargingGenerator, EnlargingTrainer
    _no_samples = (
        "the bank enlarges images and makes none of its own to mix in; give GanAugmented one that does, and this as "
        "enlarge="
    )

    def _read(self, dataset: Any, recipe: Recipe, asked: Asked) -> LabelledImages:
        """All images at the recipe's resolution."""
        side = recipe.resolution
        return read_pictures(dataset, resolution=side, fit=recipe.data.fit, smallest=side, **asked)

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
