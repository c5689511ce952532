"""What a bank makes of real objects that were cut out: variations of them, at their own size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ganaug.bank_moves import VaryingBank, moves_of
from ganaug.compositing.cutouts import RING, SOLID, CutOut, bounds
from ganaug.data.images import resize, to_channels
from ganaug.gan.object_variation import moved, over_grey

__all__ = ["ObjectVarying"]

_ROOM = 1.3  # side of the square that an object is seen in, by the longer side of its box, as crops have it


class _Bank(VaryingBank, Protocol):
    def _run(self, make: Callable[[], Tensor]) -> Tensor: ...


class ObjectVarying:
    """Variations of objects, by a bank that was fitted with a recipe such as vary-objects-32."""

    def vary_objects(self: _Bank, objects: Sequence[CutOut], *, seed: int = 0, start: int = 0) -> list[CutOut]:
        """Another object of the class of each, as sharp as it is: variation `start + i` of object i.

        Args:
            objects: cut out of images, of any size; their classes need not be those of the fit.
            seed: of the noise.
            start: index of the first variation; the same object, index and seed give the same pixels.

        Returns:
            As many; one of which nothing would be left stays as it is.

        Raises:
            BankError: the bank is for another task, or makes objects of noise alone.
        """
        self.check_task("detect", "vary_objects", "vary gives variations of whole images")
        self._varying()
        seen = (_seen(_with_room(one), self.channels, self.resolution) for one in objects)
        made: list[CutOut] = []
        for one, moves in zip(objects, moves_of(self, seen, kind="objects", seed=seed, start=start), strict=True):
            square = _with_room(one)
            if square.pixels.shape[2] != self.channels:
                moves = moves._replace(colours=None)  # which are of other channels
            varied = self._run(lambda square=square, moves=moves: moved(_stacked(square).to(self.device), moves))  # type: ignore[misc]
            made.append(_trimmed(one, varied[0]))
        return made


def _with_room(cutout: CutOut) -> CutOut:
    """In the middle of a square with room around it, filled by the border's colours; alpha is 0 there."""
    box = cutout.box()
    assert box is not None, "every cut-out has some pixel of its object"
    height, width = cutout.alpha.shape
    side = max(height, width, math.ceil(_ROOM * max(box[2] - box[0], box[3] - box[1])))
    left = min(max(round((side - box[0] - box[2]) / 2), 0), side - width)
    top = min(max(round((side - box[1] - box[3]) / 2), 0), side - height)
    room = ((top, side - height - top), (left, side - width - left))
    return replace(cutout, pixels=np.pad(cutout.pixels, (*room, (0, 0)), mode="edge"), alpha=np.pad(cutout.alpha, room))


def _seen(square: CutOut, channels: int, side: int) -> Tensor:
    """(C, side, side) uint8: over grey, as the generator knows objects."""
    pixels = resize(to_channels(square.pixels, channels), (side, side))
    alpha = resize(square.alpha[:, :, None], (side, side))
    return over_grey(
        torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None], torch.from_numpy(alpha[None, :, :, 0].copy())
    )[0]


def _stacked(square: CutOut) -> Tensor:
    """(1, C + 1, h, w) in [-1, 1]: colours and alpha."""
    both = np.concatenate([square.pixels, square.alpha[:, :, None]], axis=2)
    return torch.from_numpy(np.ascontiguousarray(both.transpose(2, 0, 1)))[None].float().div(127.5).sub(1)


def _trimmed(cutout: CutOut, varied: Tensor) -> CutOut:
    """What was made of a cut-out, (C + 1, h, w) uint8, without the room around it but for a ring of the ground."""
    pixels, alpha = varied[:-1].permute(1, 2, 0).numpy(), varied[-1].numpy()
    box = bounds(alpha >= SOLID)
    if box is None:
        return cutout
    margin = max(RING, math.ceil(0.06 * max(box[2] - box[0], box[3] - box[1])))
    rows, columns = slice(max(0, box[1] - margin), box[3] + margin), slice(max(0, box[0] - margin), box[2] + margin)
    return replace(
        cutout, pixels=np.ascontiguousarray(pixels[rows, columns]), alpha=np.ascontiguousarray(alpha[rows, columns])
    )
