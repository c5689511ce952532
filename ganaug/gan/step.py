"""The training of a generator that makes an image of noise and a class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganaug.gan.average import copy_codes, recompute_norms
from ganaug.gan.batches import BalancedBatches
from ganaug.gan.game import Game
from ganaug.gan.mixed import MixedBatches
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.gan.training import Batches

__all__ = ["Trainer"]


@dataclass
class Trainer(Game[Generator]):
    """Noise and class to image; real images are judged, and keep their codes in the generator."""

    @property
    def sampler(self) -> Generator:
        """See `Training`."""
        return self.average

    def take(self, images: Tensor, labels: Tensor, random: torch.Generator) -> Batches:
        """See `Training`."""
        gan, codes, batch = self.recipe.gan, self.shape.codes, self.recipe.gan.batch
        self._labels = labels
        if self.others is not None:
            batch -= max(1, min(batch - 2, round(batch * self.recipe.unlabelled.share)))
        labelled = BalancedBatches(images, labels, batch=batch, balanced=gan.class_balanced, codes=codes, random=random)
        batches: BalancedBatches | MixedBatches = labelled
        if self.others is not None:
            batches = MixedBatches(labelled, self.others, classes=self.shape.classes, batch=gan.batch, codes=codes)
        if codes:
            self.generator.code_counts.copy_(batches.counts.clamp_max(codes))
        return batches

    def settle(self, random: torch.Generator) -> None:
        """See `Training`."""
        labels = self._labels[torch.randint(len(self._labels), (512,), generator=random)]
        if self.recipe.gan.class_balanced:
            labels = torch.arange(512) % (self.shape.classes - (self.others is not None))
        noise = torch.randn(512, self.shape.latent_dim, generator=random)
        copy_codes(self.average, self.generator)
        recompute_norms(self.average, noise.to(self.device), labels.to(self.device))

    def _built(self) -> Generator:
        return Generator(self.shape)

    def _judged(self) -> NetworkShape:
        return self.shape

    def _placed(self, noise: Tensor, labels: Tensor) -> Tensor:
        return self.generator.place(noise, labels)

    def _decoded(self, codes: Tensor, real: Tensor, labels: Tensor, strength: float) -> Tensor:
        return self.generator.decode(codes, labels, strength)

    def _remember(self, labels: Tensor, slots: Tensor, mean: Tensor, log_variance: Tensor) -> None:
        """Keep the codes of all processes' real images."""
        self.generator.remember(*map(self.processes.rows, (labels, slots, mean, log_variance)))
