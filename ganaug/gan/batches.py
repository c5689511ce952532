"""Batches of real images to train on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BalancedBatches", "Batch"]


@dataclass(frozen=True)
class Batch:
    """Real images NCHW uint8, their labels (N,) int64, and which code of its class is that of each (N,) int64."""

    images: Tensor
    labels: Tensor
    slots: Tensor


class BalancedBatches:
    """Random batches of real images, every class equally often, or as often as it has images."""

    def __init__(
        self, images: Tensor, labels: Tensor, *, batch: int, balanced: bool, codes: int, random: torch.Generator
    ) -> None:
        self.images, self.labels, self.batch, self.random = images, labels, batch, random
        self.balanced = balanced
        self.counts = torch.bincount(labels)
        self.present = self.counts.nonzero().flatten()
        self.by_class = labels.argsort(stable=True)
        self.first = self.counts.cumsum(0) - self.counts  # where a class begins there
        ranks = torch.empty_like(labels)
        ranks[self.by_class] = torch.arange(len(labels)) - self.first[labels[self.by_class]]
        self.slots = ranks % max(1, codes)  # where a class has more images than codes, they take turns

    def draw(self) -> Batch:
        """`batch` images with their labels, drawn with replacement, in time that does not grow with their number."""
        chosen = self.rows()
        return Batch(self.images[chosen], self.labels[chosen], self.slots[chosen])

    def rows(self) -> Tensor:
        """Which images a batch is made of, (batch,) int64."""
        if not self.balanced:
            return torch.randint(len(self.labels), (self.batch,), generator=self.random)
        classes = self.present[torch.randint(len(self.present), (self.batch,), generator=self.random)]
        place = torch.rand(self.batch, generator=self.random, dtype=torch.double) * self.counts[classes]
        return self.by_class[self.first[classes] + place.long()]
