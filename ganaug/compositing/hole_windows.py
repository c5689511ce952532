"""Large images filled by a generator of small squares: where it looks at a hole, at which scale, what is put back.

The scale rule: a hole is seen in a square whose side is `AROUND` times the hole's longer side, so that three quarters
of it or more are known; where that is larger than the generator's own square it is reduced to it. What the generator
adds to a smooth guess is enlarged again and laid over the guess at the image's own scale: what is outside a hole is
never touched, and a hole larger than half the generator's square is filled with less detail than the image has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ganaug.compositing.filling import fill_in

__all__ = ["AROUND", "Window", "fill_holes", "windows_of"]

AROUND = 2.0

Adds = Callable[[Tensor, Tensor, "Window"], Tensor]
"""Guess (1, C, R, R) float32 in [0, 255], hole (1, 1, R, R) and window to what is to be added, (1, C, R, R)."""


@dataclass(frozen=True)
class Window:
    """A square of an image around one connected hole; it may reach beyond the image, which is mirrored there."""

    top: int
    left: int
    side: int
    part: npt.NDArray[np.bool_]
    """(side, side): the pixels of the hole that are filled in from here."""


def windows_of(hole: npt.NDArray[np.bool_], resolution: int) -> list[Window]:
    """A window for each connected part of a hole (H, W), in the order of their first pixels."""
    numbers, _ = ndimage.label(hole, structure=np.ones((3, 3)))
    windows = []
    for number, place in enumerate(ndimage.find_objects(numbers), 1):
        spans = [(one.start, one.stop) for one in place]
        side = max(resolution, math.ceil(AROUND * max(stop - start for start, stop in spans)))
        top, left = (_start(span, side, length) for span, length in zip(spans, hole.shape, strict=True))
        part = np.zeros((side, side), dtype=bool)
        inside = (slice(place[0].start - top, place[0].stop - top), slice(place[1].start - left, place[1].stop - left))
        part[inside] = numbers[place] == number
        windows.append(Window(top, left, side, part))
    return windows


def fill_holes(image: Tensor, hole: npt.NDArray[np.bool_], resolution: int, adds: Adds) -> Tensor:
    """An image (C, H, W) uint8 on the CPU with its hole (H, W) filled in; all other pixels as they are.

    Each window is looked at on its own, so that what fills a hole does not depend on what else is filled.
    """
    filled = image.clone()
    known = torch.from_numpy(~hole)
    for window in windows_of(hole, resolution):
        rows, columns = (
            _mirrored(window.top, window.side, hole.shape[0]),
            _mirrored(window.left, window.side, hole.shape[1]),
        )
        seen = image[:, rows][:, :, columns][None].float()
        sure = known[rows][:, columns][None, None].float()
        guess = fill_in(seen, sure)
        small, missing = guess, 1 - sure
        if window.side != resolution:
            small = functional.interpolate(guess, (resolution, resolution), mode="bilinear", antialias=True)
            missing = (functional.adaptive_max_pool2d(missing, resolution) > 0).float()
        added = adds(small, missing, window)
        if window.side != resolution:
            added = functional.interpolate(added, (window.side, window.side), mode="bicubic", align_corners=False)
        whole = (guess + added).round().clamp(0, 255).to(torch.uint8)[0]
        y, x = np.nonzero(window.part)
        filled[:, y + window.top, x + window.left] = whole[:, y, x]
    return filled


def _start(span: tuple[int, int], side: int, length: int) -> int:
    """Where a window of `side` begins along an axis: around the span, inside the image where it can be."""
    centred = (span[0] + span[1] - side) // 2
    return min(max(0, centred), length - side) if side <= length else (length - side) // 2


def _mirrored(start: int, side: int, length: int) -> Tensor:
    """Indices of `side` pixels from `start` on, those beyond the image mirrored at its border."""
    places = torch.arange(start, start + side) % (2 * length)
    return torch.where(places < length, places, 2 * length - 1 - places)
