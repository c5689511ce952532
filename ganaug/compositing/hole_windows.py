"""Large images filled by a generator of small squares: where it looks at a hole, at which scale, what is put back.

The scale rule: a hole is seen in a square whose side is `AROUND` times the hole's longer side, so that three quarters
of it or more are known; where that is larger than the generator's own square it is reduced to it. What the generator
adds to a smooth guess is enlarged again and laid over the guess at the image's own scale: what is outside a hole is
never touched, and a hole larger than half the generator's square is filled with less detail than the image has.

Where objects touch, their holes are one, often most of an image, of which a square of this size shows nothing but fog.
`fill_in_turn` fills such a hole one object at a time: each is seen at its own scale, beside what was filled before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from ganaug.compositing.filling import fill_in

__all__ = ["AROUND", "Adds", "Window", "fill_holes", "fill_in_turn", "windows_of"]

AROUND = 2.0

Bools = npt.NDArray[np.bool_]

Adds = Callable[[Tensor, Tensor, "Window"], Tensor]
"""Guess (1, C, R, R) float32 in [0, 255], hole (1, 1, R, R) and window to what is to be added, (1, C, R, R)."""


@dataclass(frozen=True)
class Window:
    """A square of an image around one connected hole; it may reach beyond the image, which is mirrored there."""

    top: int
    left: int
    side: int
    part: Bools
    """(side, side): the pixels of the hole that are filled in from here."""


def windows_of(hole: Bools, resolution: int) -> list[Window]:
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


def fill_holes(image: Tensor, hole: Bools, resolution: int, adds: Adds) -> Tensor:
    """An image (C, H, W) uint8 on the CPU with its hole (H, W) filled in; all other pixels as they are.

    Each window is looked at on its own, so that what fills a hole does not depend on what else is filled.
    """
    filled = image.clone()
    for window in windows_of(hole, resolution):
        _fill(filled, image, ~hole, window, resolution, adds)
    return filled


def fill_in_turn(image: Tensor, parts: Sequence[Bools], resolution: int, adds: Adds) -> Tensor:
    """An image (C, H, W) uint8 on the CPU with holes (H, W) filled in one after another; other pixels as they are.

    Next comes always the part of whose surroundings most is known or has been filled; of what two parts share, what
    comes first fills it.
    """
    filled, known = image.clone(), ~np.any(parts, axis=0)
    left = [(part, _surroundings(part)) for part in parts if part.any()]
    while left:
        shares = [known[around].mean() for _, around in left]
        part, _ = left.pop(int(np.argmax(shares)))
        for window in windows_of(part & ~known, resolution):
            _fill(filled, filled, known, window, resolution, adds)
        known |= part
    return filled


def _fill(filled: Tensor, image: Tensor, known: Bools, window: Window, resolution: int, adds: Adds) -> None:
    """Fill a window's part of the hole in `filled`, from what is `known` of `image`."""
    rows = _mirrored(window.top, window.side, known.shape[0])
    columns = _mirrored(window.left, window.side, known.shape[1])
    sure = torch.from_numpy(known)[rows][:, columns][None, None].float()
    guess = fill_in(image[:, rows][:, :, columns][None].float(), sure)
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


def _surroundings(part: Bools) -> tuple[slice, slice]:
    """Rows and columns of a part's box and as much again around it."""
    spans = [np.flatnonzero(part.any(axis)) for axis in (1, 0)]
    by = (AROUND - 1) / 2 * max(int(span[-1] - span[0] + 1) for span in spans)
    rows, columns = (slice(max(0, int(span[0] - by)), int(span[-1] + by) + 1) for span in spans)
    return rows, columns


def _start(span: tuple[int, int], side: int, length: int) -> int:
    """Where a window of `side` begins along an axis: around the span, inside the image where it can be."""
    centred = (span[0] + span[1] - side) // 2
    return min(max(0, centred), length - side) if side <= length else (length - side) // 2


def _mirrored(start: int, side: int, length: int) -> Tensor:
    """Indices of `side` pixels from `start` on, those beyond the image mirrored at its border."""
    places = torch.arange(start, start + side) % (2 * length)
    return torch.where(places < length, places, 2 * length - 1 - places)
