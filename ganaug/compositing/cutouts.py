"""Objects cut out with their alpha: how they are turned and scaled, and a soft edge where there is no mask."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["RING", "CutOut", "bounds", "cut", "soft_alpha", "transformed", "turned_size"]

Pixels = npt.NDArray[np.uint8]
Alpha = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

SOLID = 128  # alpha from which on a pixel is the object's own
RING = 3  # pixels of what was around it that a cut-out keeps, where there are as many
_FAINT = 13  # alpha below which a pixel is not the object's at all
_CORNER = 4.0  # exponent of the superellipse that a soft edge follows: a box with round corners


@dataclass(frozen=True)
class CutOut:
    """An object and what is around it. Its box is where alpha is at least 128."""

    pixels: Pixels
    """(h, w, C)."""
    alpha: Alpha
    """(h, w), 0 to 255."""
    label: int
    around: npt.NDArray[np.float32] | None = None
    """(C,) mean colour of the ground that the object is seen on, where the pixels outside alpha do not show it."""

    def box(self) -> Box | None:
        """Left, top, right, bottom of the object; none where there is no pixel of it."""
        return bounds(self.alpha >= SOLID)

    def ground(self) -> npt.NDArray[np.bool_]:
        """(h, w): which pixels show what is around the object."""
        return self.alpha < _FAINT


def bounds(region: npt.NDArray[np.bool_]) -> Box | None:
    """Left, top, right and bottom (exclusive) of the pixels that are set; none where none is."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def soft_alpha(shape: tuple[int, int], box: tuple[float, float, float, float], feather: float = 0.08) -> Alpha:
    """Alpha of an object of which only the box is known: the box with round corners, 128 along its sides.

    It falls from 255 to 0 over `feather` of the box's own sides, half inside and half outside.

    Args:
        shape: height and width.
        box: left, top, right, bottom in pixels.
        feather: part of the sides over which it falls.
    """
    left, top, right, bottom = box
    x = np.abs(np.arange(shape[1]) + 0.5 - (left + right) / 2) / ((right - left) / 2)
    y = np.abs(np.arange(shape[0]) + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
    radius = ((x[None] ** _CORNER) + (y[:, None] ** _CORNER)) ** (1 / _CORNER)
    inside = np.clip((1 - radius) / (2 * feather) + 0.5, 0, 1)
    return np.asarray(np.ceil(inside * 255), dtype=np.uint8)


def cut(
    image: Pixels,
    box: tuple[float, float, float, float],
    label: int,
    mask: npt.NDArray[np.bool_] | None = None,
) -> CutOut | None:
    """The object in a box of an image HWC, with a ring of what is around it; none where its mask is empty there.

    Args:
        image: (H, W, C).
        box: left, top, right, bottom, inside the image.
        label: its class.
        mask: (H, W) its own pixels; without one, its edge is soft.
    """
    left, top, right, bottom = box
    margin = max(RING, math.ceil(0.06 * max(right - left, bottom - top)))
    rows = slice(max(0, math.floor(top) - margin), math.ceil(bottom) + margin)
    columns = slice(max(0, math.floor(left) - margin), math.ceil(right) + margin)
    pixels = np.ascontiguousarray(image[rows, columns])
    if mask is None:
        place = left - columns.start, top - rows.start, right - columns.start, bottom - rows.start
        alpha = soft_alpha(pixels.shape[:2], place)
    else:
        alpha = np.asarray(mask[rows, columns], dtype=np.uint8) * np.uint8(255)
    return CutOut(pixels, alpha, label) if (alpha >= SOLID).any() else None


def transformed(cutout: CutOut, *, scale: float, angle: float = 0.0, flip: bool = False) -> CutOut:
    """A cut-out scaled, turned by `angle` degrees and, before that, mirrored, by bilinear interpolation.

    Where it shrinks, pixels are averaged first, so that none is left out. What comes in at the corners of a turned one
    is its own border, with alpha 0.
    """
    height, width, channels = cutout.pixels.shape
    stack = np.zeros((height, width, 4), dtype=np.uint8)
    stack[:, :, :channels], stack[:, :, 3] = cutout.pixels, cutout.alpha
    if flip:
        stack = np.ascontiguousarray(stack[:, ::-1])
    whole = max(1, int(1 / scale))
    if whole > 1:
        stack, scale = _averaged(stack, whole), scale * whole
        height, width = stack.shape[:2]
    sine, cosine = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    out_width, out_height = (max(1, round(side * scale)) for side in turned_size(width, height, angle))
    x = ((np.arange(out_width, dtype=np.float32) + 0.5) - out_width / 2)[None] / scale
    y = ((np.arange(out_height, dtype=np.float32) + 0.5) - out_height / 2)[:, None] / scale
    made = _bilinear(stack, sine * -x + cosine * y + height / 2 - 0.5, cosine * x + sine * y + width / 2 - 0.5)
    return replace(
        cutout, pixels=np.ascontiguousarray(made[:, :, :channels]), alpha=np.ascontiguousarray(made[:, :, 3])
    )


def turned_size(width: float, height: float, angle: float) -> tuple[float, float]:
    """Width and height of a rectangle turned by `angle` degrees."""
    sine, cosine = abs(math.sin(math.radians(angle))), abs(math.cos(math.radians(angle)))
    return cosine * width + sine * height, sine * width + cosine * height


def _averaged(stack: Pixels, by: int) -> Pixels:
    """Means of squares of `by` pixels; the border is repeated where it does not divide."""
    height, width, channels = stack.shape
    padded = np.pad(stack, ((0, -height % by), (0, -width % by), (0, 0)), mode="edge")
    squares = padded.reshape(padded.shape[0] // by, by, padded.shape[1] // by, by, channels)
    return np.asarray(np.rint(squares.mean((1, 3), dtype=np.float32)), dtype=np.uint8)


def _bilinear(stack: Pixels, rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> Pixels:
    """Values of (h, w, 4) at broadcast (rows, columns): outside those of the border, with a last channel of 0."""
    height, width = stack.shape[:2]
    rows, columns = np.broadcast_arrays(rows, columns)
    outside = (rows < -0.5) | (rows > height - 0.5) | (columns < -0.5) | (columns > width - 0.5)
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    top, left = rows.astype(np.int32), columns.astype(np.int32)
    down, right = (rows - top)[:, :, None], (columns - left)[:, :, None]
    above, far = top * width, np.minimum(left + 1, width - 1)
    below = np.minimum(top + 1, height - 1) * width
    flat = np.ascontiguousarray(stack).view(np.uint32).ravel()  # four bytes are moved at once

    def at(places: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        return flat.take(places).view(np.uint8).reshape(*places.shape, 4).astype(np.float32)

    upper, lower = at(above + left), at(below + left)
    upper += (at(above + far) - upper) * right
    lower += (at(below + far) - lower) * right
    upper += (lower - upper) * down
    made = (upper + 0.5).astype(np.uint8)
    made[outside, 3] = 0
    return made
