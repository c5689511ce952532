"""Shapes of objects: polygons and run lengths, as files keep them, and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

import contourpy
import numpy as np
import numpy.typing as npt
from matplotlib.path import Path as Polygon

from ganaug.errors import DataError, MissingExtraError

__all__ = ["Outline", "Ring", "filled", "joined", "rings_of"]

Ring = npt.NDArray[np.float64]  # (k, 2), x and y in pixels
Outline = Union[Sequence[Ring], Mapping[str, Any]]
"""Rings, or run lengths as COCO has them."""

_STRAY = 0.35  # pixels that a ring of few points may stray from its mask's border


def filled(outline: Outline, size: tuple[int, int], where: str) -> npt.NDArray[np.bool_]:
    """The pixels (H, W) whose centres lie within an outline; of one between the centres, the nearest.

    Raises:
        DataError: run lengths are not of this size.
    """
    if isinstance(outline, Mapping):
        return _run_lengths(outline, size, where)
    mask = np.zeros(size, dtype=bool)
    for ring in outline:
        left, top = np.clip(np.floor(ring.min(axis=0)).astype(int), 0, [size[1] - 1, size[0] - 1])
        right, bottom = np.clip(np.ceil(ring.max(axis=0)).astype(int), [left + 1, top + 1], [size[1], size[0]])
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        inside = Polygon(ring).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
        mask[top:bottom, left:right] |= inside.reshape(x.shape)
    if not mask.any():
        column, row = np.clip(np.concatenate(list(outline)).mean(axis=0).astype(int), 0, [size[1] - 1, size[0] - 1])
        mask[row, column] = True
    return mask


def _run_lengths(rle: Mapping[str, Any], size: tuple[int, int], where: str) -> npt.NDArray[np.bool_]:
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise MissingExtraError("pycocotools", "segmentation") from error
    try:
        packed = coco.frPyObjects(dict(rle), *size) if isinstance(rle["counts"], list) else rle
        mask: npt.NDArray[np.bool_] = coco.decode(packed).astype(bool)
    except Exception as error:  # pycocotools raises what it likes
        raise DataError(f"{where}: its run lengths cannot be drawn ({error})") from error
    if mask.shape != size:
        high, wide = mask.shape
        raise DataError(
            f"{where}: its run lengths are of {wide} x {high} pixels and the image of {size[1]} x {size[0]}"
        )
    return mask


def rings_of(mask: npt.NDArray[np.bool_]) -> list[Ring]:
    """The outer border of every part of a mask (H, W), of few points, the largest part first."""
    padded = np.pad(mask.astype(np.float64), 1)
    lines = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset).filled(0.5, 2)
    outer = [points[: offsets[1]] - 0.5 for points, offsets in zip(*lines, strict=True)]  # pixel i's centre is i + 0.5
    rings = [_thinned(np.clip(ring, 0, mask.shape[::-1])) for ring in outer]
    return sorted((ring for ring in rings if len(ring) >= 3), key=lambda ring: -abs(_area(ring)))


def _area(ring: Ring) -> float:
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _thinned(ring: Ring) -> Ring:
    """The ring without points near the line between others (Douglas and Peucker 1973); its outermost ones stay."""
    ring = ring[:-1]  # the last is the first again
    fixed = sorted({int(one) for axis in ring.T for one in (axis.argmin(), axis.argmax())})
    closed = np.concatenate([ring, ring[:1]])
    kept, spans = set(fixed), list(zip(fixed, [*fixed[1:], fixed[0] + len(ring)], strict=True))
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        between = closed[np.arange(first + 1, last) % len(ring)] - ring[first]
        along = ring[last % len(ring)] - ring[first]
        away = np.abs(between[:, 0] * along[1] - between[:, 1] * along[0]) / max(float(np.hypot(*along)), 1e-9)
        farthest = int(away.argmax())
        if away[farthest] > _STRAY:
            middle = first + 1 + farthest
            kept.add(middle % len(ring))
            spans += [(first, middle), (middle, last)]
    return ring[sorted(kept)]


def joined(rings: Sequence[Ring]) -> Ring:
    """One ring of several, for files that take no more: a bridge of no width leads to the nearest and back."""
    ring = rings[0]
    for other in rings[1:]:
        apart = np.linalg.norm(ring[:, None] - other[None], axis=2)
        here, there = np.unravel_index(int(apart.argmin()), apart.shape)
        around = np.roll(other, -int(there), axis=0)
        ring = np.concatenate([ring[: here + 1], around, around[:1], ring[here:]])
    return ring
