"""Holes drawn at random, to learn to fill in or to hide a part of an image: rectangles, ellipses, strokes, blobs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["Holes", "drawn_hole", "placed", "widened"]

Holes = npt.NDArray[np.bool_]  # (H, W), True where something is to be filled in

_RATIO = 0.3  # least aspect of a rectangle or an ellipse, and its inverse the most, as of random erasing (1708.04896)
_STROKES = 24  # pieces of a brush's path, at the most


def drawn_hole(size: tuple[int, int], share: float, random: np.random.Generator) -> Holes:
    """A rectangle, an ellipse, brush strokes or a blob that hides about `share` of an image of `size` (height, width).

    All four are equally likely. At least a pixel is hidden.
    """
    kinds = (_rectangle, _ellipse, _strokes, _blob)
    hole = kinds[int(random.integers(len(kinds)))](size, share, random)
    if not hole.any():
        hole[int(random.integers(size[0])), int(random.integers(size[1]))] = True
    return hole


def widened(region: Holes, share: float) -> Holes:
    """An object's region and all around it within that share of its longer side, 2 pixels at the least."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if not len(rows):
        return region
    by = max(2, math.ceil(share * max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)))
    near = tuple(slice(max(0, int(ends[0]) - by), int(ends[-1]) + by + 1) for ends in (rows, columns))
    wide = np.zeros_like(region)
    wide[near] = ndimage.maximum_filter(region[near], size=2 * by + 1, mode="constant")
    return wide


def placed(shape: Holes, size: tuple[int, int], random: np.random.Generator) -> Holes:
    """A shape (h, w) mirrored or not, somewhere in an image of `size`, which it must fit into."""
    if random.random() < 0.5:
        shape = shape[:, ::-1]
    hole = np.zeros(size, dtype=bool)
    top, left = (int(random.integers(all_ - own + 1)) for all_, own in zip(size, shape.shape, strict=True))
    hole[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return hole


def _sides(size: tuple[int, int], share: float, random: np.random.Generator) -> tuple[int, int]:
    """Height and width of a box of about that share, of a random aspect, not beyond the image."""
    aspect = math.exp(random.uniform(math.log(_RATIO), -math.log(_RATIO)))
    area = share * size[0] * size[1]
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return min(max(1, height), size[0]), min(max(1, width), size[1])


def _rectangle(size: tuple[int, int], share: float, random: np.random.Generator) -> Holes:
    return placed(np.ones(_sides(size, share, random), dtype=bool), size, random)


def _ellipse(size: tuple[int, int], share: float, random: np.random.Generator) -> Holes:
    height, width = _sides(size, share * 4 / math.pi, random)
    y, x = ((np.arange(side) + 0.5) * 2 / side - 1 for side in (height, width))
    return placed(np.asarray(y[:, None] ** 2 + x**2 <= 1), size, random)


def _strokes(size: tuple[int, int], share: float, random: np.random.Generator) -> Holes:
    """A brush drawn along a random walk until it has hidden enough (Yu et al. 2018, 1806.03589, algorithm 1)."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    hole = np.zeros(size, dtype=bool)
    radius = max(0.7, random.uniform(0.12, 0.3) * math.sqrt(share * size[0] * size[1]))
    place, angle = random.random(2) * size, random.uniform(0, 2 * math.pi)
    for _ in range(_STROKES):
        angle += random.uniform(-math.pi / 2, math.pi / 2)
        step = random.uniform(1, 4) * radius
        end = np.clip(place + step * np.array([math.sin(angle), math.cos(angle)]), 0, np.array(size) - 1)
        along, length = end - place, max(1e-9, float(((end - place) ** 2).sum()))
        part = np.clip(((rows - place[0]) * along[0] + (columns - place[1]) * along[1]) / length, 0, 1)
        away = (rows - place[0] - part * along[0]) ** 2 + (columns - place[1] - part * along[1]) ** 2
        hole |= away <= radius**2
        place = end
        if hole.mean() >= share:
            break
    return hole


def _blob(size: tuple[int, int], share: float, random: np.random.Generator) -> Holes:
    """The highest parts of smooth noise within a box."""
    height, width = _sides(size, min(1.0, 2 * share), random)
    noise = ndimage.gaussian_filter(random.standard_normal((height, width)), max(0.5, min(height, width) / 6))
    y, x = ((np.arange(side) + 0.5) * 2 / side - 1 for side in (height, width))
    hill = noise / max(1e-9, float(noise.std())) - 1.5 * (y[:, None] ** 2 + x**2)  # away from the box's sides
    return placed(np.asarray(hill >= np.quantile(hill, 0.5)), size, random)
