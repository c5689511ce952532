"""Variations of real images with label maps: an image and its map are moved alike, and the image is recoloured.

What is moved and recoloured is learned from images alone, of one class all of them. It is smooth, so that what was
learned at the bank's resolution moves images and maps of any size, which stay as sharp as they were.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganaug.gan.spade import IGNORED
from ganaug.gan.variation import (
    Moves,
    VariationGenerator,
    VariationNetwork,
    VariationShape,
    places_from,
    recoloured,
    taken,
)
from ganaug.gan.varying import PairBatches, VariationTrainer

__all__ = ["MapVariationGenerator", "MapVariationTrainer", "moved_alike"]


def moved_alike(
    images: Tensor, maps: Tensor, moves: Moves, *, sides: tuple[float, float] = (1.0, 1.0)
) -> tuple[Tensor, Tensor]:
    """Images NCHW in [-1, 1], moved and recoloured, and their maps (N, H, W), each pixel the class that came there.

    `sides` are those of `places_from`. Numbers of classes stay as they are, up to 2^24.
    """
    if moves.flow is not None and moves.affine is not None:
        places = places_from(moves.affine, moves.flow, images.shape[2:], sides)
        images, told = taken(images, places), taken(maps[:, None], places, "nearest")
        maps = told[:, 0].round().to(maps.dtype)
    if moves.colours is not None:
        images = recoloured(images, moves.colours).clamp(-1, 1)
    return images, maps


class MapVariationGenerator(VariationGenerator):
    """Noise to a variation of one of the training images, which it holds, with their maps."""

    def __init__(self, shape: VariationShape, network: VariationNetwork | None = None) -> None:
        super().__init__(shape, network)
        side = shape.resolution
        self.register_buffer("source_maps", torch.full((shape.sources, side, side), IGNORED, dtype=torch.uint8))
        self.source_maps: Tensor

    @torch.no_grad()
    def hold_maps(self, maps: Tensor) -> None:
        """Keep the maps (N, H, W) uint8 of the images that `hold` was given, all of one label."""
        self.source_maps[: len(maps)] = maps.to(self.source_maps.device)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW, from standard normal `noise` (N, latent_dim).

        `labels` (N,) say nothing here: images with maps have no class of their own.
        """
        return self.pairs(noise)[0]

    def pairs(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Images as `forward` gives them, and their maps (N, H, W) uint8."""
        codes, rows = self.chosen(noise)
        images = self.sources[rows].float().div(127.5).sub(1)
        return moved_alike(images, self.source_maps[rows], self.moves(self.sources[rows], codes))

    def chosen(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, latent_dim) and which of the images held (N,) int64 are varied by them, as `noise` says."""
        return self.place(noise, torch.zeros(len(noise), dtype=torch.int64, device=noise.device))


class MapVariationTrainer(VariationTrainer):
    """A real image and noise to another image of the set; pairs of both are judged, and maps follow."""

    def take(self, images: Tensor, labels: Tensor, random: torch.Generator) -> PairBatches:
        """See `Training`; `labels` are the label maps (N, H, W) uint8."""
        ones = torch.zeros(len(images), dtype=torch.int64)
        kept = torch.arange(self.shape.sources) * len(images) // self.shape.sources  # of many some, evenly spread
        self._hold(images[kept], ones[kept])
        assert isinstance(self._sampler, MapVariationGenerator), "made here"
        self._sampler.hold_maps(labels[kept])
        return self._pairs_of(images, ones, random)

    def _made(self) -> MapVariationGenerator:
        return MapVariationGenerator(self.shape, self.average)
