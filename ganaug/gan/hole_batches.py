"""Batches of real images with random holes to train on, none of which lies on an object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganaug.compositing.holes import drawn_hole, placed

__all__ = ["Grounds", "HoleBatch", "HoleBatches"]

_HOLES = 512  # drawn beforehand; each is mirrored both ways too
_TRIES = 4  # holes drawn for an image, the first of which lies well is taken
_LIES_WELL = 0.6  # of a hole, that is on ground
_OF_OBJECTS = 0.4  # of holes, that have the shape of an object where such are known
_HIDDEN = 0.5  # of images with objects, in which these are hidden too, as when all are erased


@dataclass(frozen=True)
class Grounds:
    """What is known of the training squares beside their pixels."""

    objects: Tensor
    """(N, R, R) bool: where there is an object, which is not to be learned."""
    shapes: Tensor
    """(M, R, R) bool: of the set's objects, each at the top left; M may be 0."""


@dataclass(frozen=True)
class HoleBatch:
    """Real images NCHW uint8; where they are to be filled, and what else is not seen, both (N, H, W) bool."""

    images: Tensor
    holes: Tensor
    hidden: Tensor


class HoleBatches:
    """Random batches of real images, every one equally often, with a hole each; all drawn on `random`.

    Args:
        images: (N, C, R, R) uint8.
        grounds: of each.
        shares: least and most share of an image that a hole takes.
        batch: images of a batch.
        random: that all is drawn on.
    """

    def __init__(
        self, images: Tensor, grounds: Grounds, *, shares: tuple[float, float], batch: int, random: torch.Generator
    ) -> None:
        self.images, self.grounds, self.batch, self.random = images, grounds, batch, random
        seed = int(torch.randint(2**31, (), generator=random))
        self.holes = _drawn_holes(images.shape[-1], grounds.shapes, shares, np.random.default_rng(seed))

    def draw(self) -> HoleBatch:
        """`batch` images, drawn with replacement."""
        return self.at(torch.randint(len(self.images), (self.batch,), generator=self.random))

    def at(self, rows: Tensor) -> HoleBatch:
        """The images `rows` (n,) with a hole each."""
        objects = self.grounds.objects[rows]
        draws = torch.rand(len(rows), 4 + _TRIES, generator=self.random)
        picked = self.holes[(draws[:, 4:] * len(self.holes)).long()]  # (n, _TRIES, R, R)
        picked = torch.where((draws[:, 0] < 0.5)[:, None, None, None], picked.flip(-1), picked)
        picked = torch.where((draws[:, 1] < 0.5)[:, None, None, None], picked.flip(-2), picked)
        free = picked & ~objects[:, None]
        kept = free.flatten(2).sum(2).double()
        well = kept >= _LIES_WELL * picked.flatten(2).sum(2)
        # the first that lies well, else the one of which most is left
        order = well * 1e9 + torch.where(well, -torch.arange(_TRIES).double(), kept)
        holes = free[torch.arange(len(rows)), order.argmax(1)]
        hidden = objects & (draws[:, 2] < _HIDDEN)[:, None, None] & ~holes
        return HoleBatch(self.images[rows], holes, hidden)


def _drawn_holes(side: int, shapes: Tensor, shares: tuple[float, float], random: np.random.Generator) -> Tensor:
    """(_HOLES, side, side) bool."""
    known = shapes.numpy()
    made = np.zeros((_HOLES, side, side), dtype=bool)
    for hole in made:
        if len(known) and random.random() < _OF_OBJECTS:
            shape = known[int(random.integers(len(known)))]
            rows, columns = shape.any(1), shape.any(0)
            hole[:] = placed(shape[: rows.nonzero()[0][-1] + 1, : columns.nonzero()[0][-1] + 1], (side, side), random)
        else:
            hole[:] = drawn_hole((side, side), float(np.exp(random.uniform(*np.log(shares)))), random)
    return torch.from_numpy(made)
