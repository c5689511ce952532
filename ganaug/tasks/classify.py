"""Classification: the generator is told a class, and the label of a sample is the class asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from ganaug.data import DatasetView, LabelledImages, read_images
from ganaug.gan.mixed import Others
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.gan.processes import Processes
from ganaug.gan.start import Start
from ganaug.gan.step import Trainer
from ganaug.gan.training import Training
from ganaug.recipe import Recipe

__all__ = ["ClassifyTask"]


class ClassifyTask:
    """Noise and class to image."""

    name = "classify"

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
        return NetworkShape(
            resolution=recipe.resolution,
            image_channels=data.images.shape[1],
            classes=len(data.class_names),
            latent_dim=recipe.networks.latent_dim,
            generator_channels=recipe.networks.generator_channels,
            discriminator_channels=recipe.networks.discriminator_channels,
            max_channels=recipe.networks.max_channels,
            codes=min(recipe.reconstruction.codes, most or max(data.counts())) if recipe.reconstruction.share else 0,
        )

    def build_training(
        self,
        recipe: Recipe,
        shape: NetworkShape,
        device: torch.device,
        half: bool,
        *,
        processes: Processes,
        others: Others | None = None,
        start: Start | None = None,
    ) -> Training:
        """The untrained trainer that the recipe wants; see `BuildTraining`.

        With `others`, images without labels, the last class of `shape` is for those that belong to none. `start` is
        what the networks start from.
        """
        return Trainer(recipe, shape, device, half, processes=processes, others=others, start=start)

    def build_generator(self, shape: Mapping[str, Any]) -> nn.Module:
        """The generator of a bank, from the shape that its manifest keeps; weights are untrained."""
        return Generator(NetworkShape(**shape))

    def view(self, dataset: Any, *, raw: Any = None, transform: Any = None) -> DatasetView:
        """The user's dataset read below its transform, and samples put into the form of its items."""
        return DatasetView(dataset, raw=raw, transform=transform)
