"""New label maps from real ones: moved, scaled and bent whole, and their objects cut out and put together anew.

A map is (H, W) uint8, a class at every pixel, `IGNORED` where none is said. An *object* is a connected part of one
class that does not touch the border and is no larger than a quarter of the map; what surrounds it is its ground. An
object is put only where its own kinds of ground are, so that none ever lies across another (cut and paste of objects:
Dwibedi et al. 2017, 1708.01642; Ghiasi et al. 2020, 2012.07177).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["IGNORED", "MapComposer", "class_shares"]

Map = npt.NDArray[np.uint8]

IGNORED = 255
_LARGEST = 0.25  # of a map's pixels that an object may have
_TRIES = 8  # places tried for an object
_LEAST = 4  # pixels of an object
_REACH = 2  # pixels around an object that are its ground
_KNOTS = 4  # of the field that bends, across and down
_BENT = 0.035  # deviation of that field, by the side
_TURNED = 12.0  # degrees at the most
_SCALED = 0.25  # natural logarithm of the factor, at the most
_MOVED = 0.15  # of the side, at the most


@dataclass(frozen=True)
class _Object:
    """A part cut out of a map."""

    cls: int
    shape: npt.NDArray[np.bool_]
    """(h, w): which pixels of its box are its own."""
    ground: frozenset[int]
    """Classes around it."""


class MapComposer:
    """Composes label maps like those it is given.

    Args:
        maps: (N, H, W) uint8, at least one.
        classes: how many there are.
        mirror: whether a mirrored map may be one.
    """

    def __init__(self, maps: npt.NDArray[np.uint8], classes: int, *, mirror: bool) -> None:
        self._maps, self._classes, self._mirror = maps, classes, mirror
        self._objects = [found for one in maps for found in _objects(one)]
        rarity = 1 / np.maximum(class_shares(maps, classes), 1e-4)
        present = np.bincount([found.cls for found in self._objects], minlength=classes)
        weights = np.array([rarity[found.cls] / present[found.cls] for found in self._objects])
        self._weights = weights / weights.sum() if len(weights) else weights

    def compose(self, random: np.random.Generator) -> tuple[Map, int]:
        """A new map, (H, W) uint8, and the place of the real one that it is made of.

        That one is warped, some of its objects go, and others are put into new places.
        """
        base = int(random.integers(len(self._maps)))
        composed = _warped(self._maps[base], random, mirror=self._mirror)
        if not self._objects:
            return composed, base
        boxes: list[tuple[slice, ...]] = []
        here = _objects(composed, boxes)
        for found, box in zip(here, boxes, strict=True):
            if random.random() < 0.25:
                composed[box][found.shape] = _commonest(found.ground, composed)
        for place in random.choice(len(self._objects), random.integers(0, len(here) // 2 + 2), p=self._weights):
            self._put(composed, self._objects[place], random)
        return composed, base

    def _put(self, composed: Map, found: _Object, random: np.random.Generator) -> None:
        """Put a turned object where its own ground is, if such a place is found."""
        shape = np.rot90(found.shape, int(random.integers(4))) if self._mirror else found.shape
        if self._mirror and random.random() < 0.5:
            shape = shape[:, ::-1]
        wide = ndimage.binary_dilation(np.pad(shape, 1))
        height, width = wide.shape
        if height > composed.shape[0] or width > composed.shape[1]:
            return
        for _ in range(_TRIES):
            top = int(random.integers(composed.shape[0] - height + 1))
            left = int(random.integers(composed.shape[1] - width + 1))
            there = composed[top : top + height, left : left + width]
            if np.isin(there[wide], list(found.ground)).all():
                there[1:-1, 1:-1][shape] = found.cls
                return


def class_shares(maps: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.float64]:
    """(classes,) share of the pixels of `maps` (N, H, W) that are of each class, of those that are of any."""
    pixels = np.bincount(maps.ravel(), minlength=IGNORED + 1)[:classes]
    return np.asarray(pixels / max(1, pixels.sum()))


def _objects(one: Map, boxes: list[tuple[slice, ...]] | None = None) -> list[_Object]:
    """Objects of a map; `boxes`, where given, is filled with where each lies."""
    found = []
    for cls in np.unique(one).tolist():
        if cls == IGNORED:
            continue
        parts, _ = ndimage.label(one == cls)
        for number, box in enumerate(ndimage.find_objects(parts), 1):
            shape = parts[box] == number
            if _touches(box, one.shape) or not _LEAST <= shape.sum() <= _LARGEST * one.size:
                continue
            wider = tuple(slice(max(0, side.start - _REACH), side.stop + _REACH) for side in box)
            inside = parts[wider] == number
            ring = ndimage.binary_dilation(inside, iterations=_REACH) & ~inside
            ground = frozenset(np.unique(one[wider][ring]).tolist()) - {IGNORED, cls}
            if ground:
                found.append(_Object(cls, shape, ground))
                if boxes is not None:
                    boxes.append(box)
    return found


def _touches(box: Sequence[slice], size: tuple[int, ...]) -> bool:
    return any(side.start == 0 or side.stop == length for side, length in zip(box, size, strict=True))


def _commonest(classes: frozenset[int], one: Map) -> int:
    return max(sorted(classes), key=lambda cls: int((one == cls).sum()))


def _warped(one: Map, random: np.random.Generator, *, mirror: bool) -> Map:
    """A map moved, turned, scaled and bent, each pixel the nearest; what moves in at the border is mirrored."""
    height, width = one.shape
    if mirror and random.random() < 0.5:
        one = one[:, ::-1]
    angle = np.deg2rad(random.uniform(-_TURNED, _TURNED))
    scale = np.exp(random.uniform(-_SCALED, _SCALED))
    shift = random.uniform(-_MOVED, _MOVED, 2) * (height, width)
    bent = [ndimage.zoom(field, (height / _KNOTS, width / _KNOTS), order=3, mode="mirror", grid_mode=True)
            for field in random.normal(0, 1, (2, _KNOTS, _KNOTS)) * _BENT * min(height, width)]  # fmt: skip
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    rows = (np.cos(angle) * y - np.sin(angle) * x) / scale + (height - 1) / 2 + shift[0] + bent[0]
    columns = (np.sin(angle) * y + np.cos(angle) * x) / scale + (width - 1) / 2 + shift[1] + bent[1]
    return ndimage.map_coordinates(one, [rows, columns], order=0, mode="mirror")  # type: ignore[no-any-return]
