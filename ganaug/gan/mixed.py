"""Batches of labelled images and of others, which have no label, or one that was guessed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganaug.gan.batches import BalancedBatches, Batch

__all__ = ["MixedBatches", "Others"]


@dataclass(frozen=True)
class Others:
    """Images without labels that are trained on beside the labelled ones."""

    images: Tensor
    """(N, C, H, W) uint8."""
    labels: Tensor
    """(N,) int64: the class that each has joined, the number of classes where it is none, -1 where it is left out."""


class MixedBatches:
    """Batches of labelled images, as `BalancedBatches` draws them, and of others; of these every one equally often."""

    def __init__(self, labelled: BalancedBatches, others: Others, *, classes: int, batch: int, codes: int) -> None:
        self.labelled, self.others, self.random = labelled, others, labelled.random
        self.count = batch - labelled.batch
        self.usable = (others.labels >= 0).nonzero().flatten()
        joined = others.labels[self.usable]
        known = torch.bincount(labelled.labels, minlength=classes)
        self.counts = known + torch.bincount(joined, minlength=classes)
        order = joined.argsort(stable=True)
        first = torch.bincount(joined, minlength=classes).cumsum(0).roll(1).index_fill(0, torch.tensor(0), 0)
        ranks = torch.empty_like(joined)
        ranks[order] = torch.arange(len(joined)) - first[joined[order]]
        self.slots = (known[joined] + ranks) % max(1, codes)  # after those of the labelled images of the class

    def draw(self) -> Batch:
        """A batch in random order: parts of it are put to different uses."""
        own = self.labelled.draw()
        chosen = torch.randint(len(self.usable), (self.count,), generator=self.random)
        rows = self.usable[chosen]
        order = torch.randperm(len(own.labels) + self.count, generator=self.random)
        return Batch(
            torch.cat([own.images, self.others.images[rows]])[order],
            torch.cat([own.labels, self.others.labels[rows]])[order],
            torch.cat([own.slots, self.slots[chosen]])[order],
        )
