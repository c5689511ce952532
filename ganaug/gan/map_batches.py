"""Batches of real images with their label maps to train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganaug.compositing import MapComposer
from ganaug.gan.spade import stacked

__all__ = ["MapBatch", "MapBatches"]


@dataclass(frozen=True)
class MapBatch:
    """Real images NCHW uint8 and their label maps (N, H, W) uint8."""

    images: Tensor
    maps: Tensor
    rows: Tensor
    """(N,) int64, the place where the generator keeps the map and code of each, or of one near it in order."""
    composed: tuple[Tensor, Tensor, Tensor] | None = None
    """New maps (N, H, W) uint8, the kept map (N,) of each, and their sketches (N, C + 1, H, W), where used."""


class MapBatches:
    """Random batches of real images with their maps, every image equally often."""

    def __init__(
        self,
        images: Tensor,
        maps: Tensor,
        *,
        batch: int,
        kept: int,
        random: torch.Generator,
        composer: Callable[[npt.NDArray[np.uint8], npt.NDArray[np.uint8]], MapComposer] | None = None,
    ) -> None:
        self.images, self.maps, self.batch, self.random = images, maps, batch, random
        self.kept = torch.arange(kept) * len(images) // kept
        """Which images' maps and codes the generator keeps: all, or of many some, evenly spread."""
        self.composer = None if composer is None else composer(maps[self.kept].numpy(), images[self.kept].numpy())

    def draw(self) -> MapBatch:
        """`batch` images, drawn with replacement."""
        chosen = torch.randint(len(self.images), (self.batch,), generator=self.random)
        rows = chosen * len(self.kept) // len(self.images)
        return MapBatch(self.images[chosen], self.maps[chosen], rows, self._composed())

    def _composed(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Half as many new maps as a batch has images, with their sketches."""
        if self.composer is None:
            return None
        seed = int(torch.randint(2**62, (1,), generator=self.random))
        random = np.random.default_rng(seed)
        maps, rows, sketches = stacked([self.composer.compose(random) for _ in range(self.batch // 2)])
        assert sketches is not None, "a composer that was given images"
        return maps, rows, sketches
