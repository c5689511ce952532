"""Filling: the generator is told an image with a hole, and there is no label."""

from __future__ import annotations

from typing import Any

from torch import nn

from ganaug.data.fillable import FillableImages, read_fillable
from ganaug.data.labelled import LabelledImages
from ganaug.gan.filling import FillingGenerator, FillingShape, held_ratios
from ganaug.gan.filling_step import FillingTrainer
from ganaug.gan.hole_batches import Grounds
from ganaug.recipe import Recipe
from ganaug.tasks.exam import Exam
from ganaug.tasks.pictures import Asked, PictureTask

__all__ = ["FillTask"]

_HELD = 64  # training squares that a generator keeps to be looked at, at the most


class FillTask(PictureTask):
    """An image with a hole to the image without."""

    name = "fill"
    _shaped, _generator, _trainer = FillingShape, FillingGenerator, FillingTrainer
    _no_samples = (
        "a bank that fills holes makes no samples to mix in; use RandomFilling as a transform, or ganaug erase"
    )

    def _read(self, dataset: Any, recipe: Recipe, asked: Asked) -> FillableImages:
        """Squares of all images, with where their objects are if that is said."""
        filling = recipe.filling
        return read_fillable(
            dataset, resolution=recipe.resolution, squares=filling.squares, margin=filling.margin, **asked
        )

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
