"""Filling: the generator is told an image with a hole, and there is no label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ganaug.data.fillable import FillableImages, read_fillable
from ganaug.data.labelled import LabelledImages
from ganaug.errors import DataError
from ganaug.gan.filling import FillingGenerator, FillingShape, held_ratios
from ganaug.gan.filling_step import FillingTrainer
from ganaug.gan.hole_batches import Grounds
from ganaug.gan.mixed import Others
from ganaug.gan.processes import Processes
from ganaug.gan.start import Start
from ganaug.recipe import Recipe
from ganaug.tasks.exam import Exam

__all__ = ["FillTask"]

_HELD = 64  # training squares that a generator keeps to be looked at, at the most


class FillTask:
    """An image with a hole to the image without."""

    name = "fill"
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
    ) -> FillableImages:
        """Squares of all images of `dataset` (a path, or any dataset), with where their objects are if that is said."""
        return read_fillable(
            dataset,
            resolution=recipe.resolution,
            squares=recipe.filling.squares,
            margin=recipe.filling.margin,
            classes=classes,
            colour=recipe.data.colour,
            on_bad=on_bad,
            raw=raw,
            least=least,
        )

    def groups(self, data: LabelledImages) -> tuple[str, ...]:
        """Names of what `data.labels` number: such images are all of one group."""
        return data.class_names

    def conditions(self, data: LabelledImages) -> Grounds:
        """What a trainer is told of each square."""
        assert isinstance(data, FillableImages), "read by this task"
        return Grounds(data.objects, data.shapes)

    def shape(self, data: LabelledImages, recipe: Recipe, *, most: int | None = None) -> FillingShape:
        """The networks that the recipe wants for these images; `most` is for classes of images."""
        return FillingShape(
            resolution=recipe.resolution,
            image_channels=data.images.shape[1],
            generator_channels=recipe.networks.generator_channels,
            discriminator_channels=recipe.networks.discriminator_channels,
            held=min(_HELD, len(data)),
            latent_dim=1 + recipe.resolution**2,
        )

    def build_training(
        self,
        recipe: Recipe,
        shape: FillingShape,
        device: torch.device,
        half: bool,
        *,
        processes: Processes,
        others: Others | None = None,
        start: Start | None = None,
    ) -> FillingTrainer:
        """The untrained trainer that the recipe wants; see `BuildTraining`."""
        assert others is None, "refused when the fit was planned"
        assert start is None, "refused when the fit was planned"
        return FillingTrainer(recipe, shape, device, half, processes=processes)

    def build_generator(self, shape: Mapping[str, Any]) -> nn.Module:
        """The generator of a bank, from the shape that its manifest keeps; weights are untrained."""
        return FillingGenerator(FillingShape(**shape))

    def planes(self, image_channels: int) -> int:
        """Channels of raw output."""
        return image_channels

    def run(self, generator: nn.Module, noise: Tensor, labels: Tensor) -> Tensor:
        """Raw output (N, planes, H, W) in [-1, 1]: training squares whose holes are filled."""
        images: Tensor = generator(noise, labels)
        return images

    def to_tell_apart(self, data: LabelledImages) -> None:
        """Nothing: see `ClassifyTask.to_tell_apart`."""

    def real_samples(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """See `ClassifyTask.real_samples`."""
        return data.images, data.labels

    def score(self, generator: nn.Module, exam: Exam) -> tuple[float, dict[str, float]]:
        """One number to choose a snapshot by, in (0, 1], and what is worth logging.

        Of the squares that the generator holds: `detail_ratio` is how much of the finest detail there is in the filled
        holes by how much there was, `error_ratio` the mean absolute error by that of the smooth guess. The score is
        the former, or its inverse where that is less, over the latter where that is above 1.
        """
        assert isinstance(generator, FillingGenerator), "built by this task"
        measured = held_ratios(generator)
        near = min(measured["detail_ratio"], 1 / max(1e-6, measured["detail_ratio"]))
        return near / max(1.0, measured["error_ratio"]), measured

    def view(
        self, dataset: Any, recipe: Recipe, numbers: Sequence[int], *, raw: Any = None, transform: Any = None
    ) -> Any:
        """Refused: what is filled has no label to be mixed in by."""
        raise DataError(
            "a bank that fills holes makes no samples to mix in; use RandomFilling as a transform, or ganaug erase"
        )
