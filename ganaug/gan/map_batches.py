"""Batches of real images with their label maps to train on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MapBatch", "MapBatches"]


@dataclass(frozen=True)
class MapBatch:
    """Real images NCHW uint8 and their label maps (N, H, W) uint8."""

    images: Tensor
    maps: Tensor
    rows: Tensor
    """(N,) int64, the place where the generator keeps the map and code of each, or of one near it in order."""


class MapBatches:
    """Random batches of real images with their maps, every image equally often."""

    def __init__(self, images: Tensor, maps: Tensor, *, batch: int, kept: int, random: torch.Generator) -> None:
        self.images, self.maps, self.batch, self.random = images, maps, batch, random
        self.kept = torch.arange(kept) * len(images) // kept
        """Which images' maps and codes the generator keeps: all, or of many some, evenly spread."""

    def draw(self) -> MapBatch:
        """`batch` images, drawn with replacement."""
        chosen = torch.randint(len(self.images), (self.batch,), generator=self.random)
        return MapBatch(self.images[chosen], self.maps[chosen], chosen * len(self.kept) // len(self.images))
