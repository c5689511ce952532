"""New label maps from real ones: moved, scaled and bent whole, and their objects cut out and put together anew.

Where the images are given too, their pixels go along: a *sketch* of the image that a new map may be of, which is known
where a real pixel has come to lie, but for seams, and unknown where an object was taken away.

A map is (H, W) uint8, a class at every pixel, `IGNORED` where none is said. An *object* is a connected part of one
class that does not touch the border and is no larger than a quarter of the map; what surrounds it is its ground. An
object is put only where its own kinds of ground are, so that none ever lies across another (cut and paste of objects:
Dwibedi et al. 2017, 1708.01642; Ghiasi et al. 2020, 2012.07177).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["IGNORED", "Composed", "MapComposer", "class_shares", "pulled"]

Map = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

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
_SEAM = 1  # pixels around an object that is put in, and around one that was taken away, that are unknown
_DEEP = 2  # pixels from the border of a class, from where on a pixel shows that class alone
_ALIKE = 0.5  # of the mean distance of an image's colours from others': from so near an object's pixels may come


@dataclass(frozen=True)
class _Object:
    """A part cut out of a map."""

    cls: int
    shape: Mask
    """(h, w): which pixels of its box are its own."""
    ground: frozenset[int]
    """Classes around it."""
    source: int = 0
    """Place of the map that it is of."""
    pixels: Map | None = None
    """(C, h, w) of its box, where there are images."""
    around: npt.NDArray[np.float64] | None = None
    """(C,) mean colour of its ground."""


@dataclass(frozen=True)
class Composed:
    """A new map, and what real pixels say of its image."""

    map: Map
    """(H, W)."""
    base: int
    """Place of the real map that it is made of."""
    sketch: Map | None = None
    """(C, H, W) pixels; of those that are unknown, any."""
    known: Mask | None = None
    """(H, W)."""


class MapComposer:
    """Composes label maps like those it is given.

    Args:
        maps: (N, H, W) uint8, at least one.
        classes: how many there are.
        mirror: whether a mirrored map may be one.
        images: (N, C, H, W) uint8, what the maps are of, for sketches.
    """

    def __init__(self, maps: Map, classes: int, *, mirror: bool, images: Map | None = None) -> None:
        self._maps, self._classes, self._mirror, self._images = maps, classes, mirror, images
        self._objects = []
        for place, one in enumerate(maps):
            self._objects += _objects(one, source=place, image=None if images is None else images[place])
        self._sources = np.array([found.source for found in self._objects])
        self._alike = None if images is None else _alike(images)
        rarity = 1 / np.maximum(class_shares(maps, classes), 1e-4)
        present = np.bincount([found.cls for found in self._objects], minlength=classes)
        weights = np.array([rarity[found.cls] / present[found.cls] for found in self._objects])
        self._weights = weights / weights.sum() if len(weights) else weights

    def compose(self, random: np.random.Generator) -> Composed:
        """A new map, with a sketch where there are images.

        A real one is warped, some of its objects go, and others are put into new places.
        """
        base = int(random.integers(len(self._maps)))
        image = None if self._images is None else self._images[base]
        composed, sketch = _warped(self._maps[base], image, random, mirror=self._mirror)
        known = None if sketch is None else np.ones(composed.shape, dtype=bool)
        if not self._objects:
            return Composed(composed, base, sketch, known)
        boxes: list[tuple[slice, ...]] = []
        here = _objects(composed, boxes)
        for found, box in zip(here, boxes, strict=True):
            if random.random() < 0.25:
                composed[box][found.shape] = _commonest(found.ground, composed)
                if known is not None:
                    wider = tuple(slice(max(0, side.start - _SEAM), side.stop + _SEAM) for side in box)
                    gone = np.zeros(composed.shape, dtype=bool)
                    gone[box] = found.shape
                    known[wider] &= ~ndimage.binary_dilation(gone[wider], iterations=_SEAM)
        weights = self._weights_near(base)
        for place in random.choice(len(self._objects), random.integers(0, len(here) // 2 + 2), p=weights):
            self._put(composed, self._objects[place], random, sketch, known)
        return Composed(composed, base, sketch, known)

    def _weights_near(self, base: int) -> npt.NDArray[np.float64]:
        """How often each object is put in; with pixels, only those of images that look as the base does.

        Where such have no object, any may be put in.
        """
        if self._alike is None:
            return self._weights
        near = self._weights * self._alike[base][self._sources]
        return near / near.sum() if near.any() else self._weights

    def _put(
        self, composed: Map, found: _Object, random: np.random.Generator, sketch: Map | None, known: Mask | None
    ) -> None:
        """Put a turned object where its own ground is, if such a place is found."""
        turns = int(random.integers(4)) if self._mirror else 0
        flipped = self._mirror and random.random() < 0.5
        shape = _turned(found.shape, turns, flipped)
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
                if sketch is not None and known is not None and found.pixels is not None:
                    here = (slice(top, top + height), slice(left, left + width))
                    around = sketch[(slice(None), *here)][:, wide & known[here]]
                    shift = around.mean(1) - found.around if around.size else np.zeros(len(sketch))
                    pixels = _turned(found.pixels, turns, flipped) + shift[:, None, None]
                    inner = (slice(None), *(slice(side.start + 1, side.stop - 1) for side in here))
                    sketch[inner][:, shape] = pixels[:, shape].round().clip(0, 255)
                    known[here] &= ~(wide & ~np.pad(shape, 1))
                    known[inner[1:]] |= ndimage.binary_erosion(shape)
                return


def pulled(asked: npt.NDArray[np.int64], map: Map, image: Map) -> tuple[Map, Mask]:
    """A sketch of the map `asked` (H, W), of pixels of `image` (C, H, W) that shows `map` (H, W).

    Each is the nearest one of the class asked for that lies inside it: beside another class there are halos, which
    would stay where that was. Where the image has none of that class, nothing is known.
    """
    sketch, known = image.copy(), np.zeros(asked.shape, dtype=bool)
    for cls in np.unique(asked).tolist():
        there, here = map == cls, asked == cls
        if there.any():
            inside = _inside(there)
            rows, columns = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
            sketch[:, here] = image[:, rows[here], columns[here]]
            known |= here
    return sketch, known


def _inside(region: Mask) -> Mask:
    """Its pixels that are `_DEEP` from any other, or its deepest, where it has none; beyond the border it goes on."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1, mode="edge"))[1:-1, 1:-1]
    return np.asarray(region & (depth >= min(_DEEP, depth.max())))


def class_shares(maps: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.float64]:
    """(classes,) share of the pixels of `maps` (N, H, W) that are of each class, of those that are of any."""
    pixels = np.bincount(maps.ravel(), minlength=IGNORED + 1)[:classes]
    return np.asarray(pixels / max(1, pixels.sum()))


def _turned(values: npt.NDArray[Any], turns: int, flipped: bool) -> npt.NDArray[Any]:
    """`values` (..., h, w) turned by quarters, and mirrored after that."""
    turned = np.rot90(values, turns, axes=(-2, -1))
    return turned[..., ::-1] if flipped else turned


def _alike(images: Map) -> Mask:
    """(N, N): whether image j looks as image i does, by mean and deviation of colours, itself too."""
    flat = images.reshape(*images.shape[:2], -1).astype(np.float64)
    looks = np.concatenate([flat.mean(2), flat.std(2)], axis=1)
    apart = np.linalg.norm(looks[:, None] - looks[None], axis=2)
    return np.asarray(apart <= _ALIKE * apart.mean(axis=1, keepdims=True))


def _objects(
    one: Map, boxes: list[tuple[slice, ...]] | None = None, *, source: int = 0, image: Map | None = None
) -> list[_Object]:
    """Objects of a map, with pixels where its image is given; `boxes` is filled with where each lies."""
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
                looks: dict[str, Any] = {}
                if image is not None:
                    around = image[(slice(None), *wider)][:, ring].mean(1)
                    looks = {"pixels": image[(slice(None), *box)], "around": around}
                found.append(_Object(cls, shape, ground, source, **looks))
                if boxes is not None:
                    boxes.append(box)
    return found


def _touches(box: Sequence[slice], size: tuple[int, ...]) -> bool:
    return any(side.start == 0 or side.stop == length for side, length in zip(box, size, strict=True))


def _commonest(classes: frozenset[int], one: Map) -> int:
    return max(sorted(classes), key=lambda cls: int((one == cls).sum()))


def _warped(one: Map, image: Map | None, random: np.random.Generator, *, mirror: bool) -> tuple[Map, Map | None]:
    """A map moved, turned, scaled and bent, each pixel the nearest, and its image with it, interpolated.

    What moves in at the border is mirrored.
    """
    height, width = one.shape
    if mirror and random.random() < 0.5:
        one, image = one[:, ::-1], None if image is None else image[..., ::-1]
    angle = np.deg2rad(random.uniform(-_TURNED, _TURNED))
    scale = np.exp(random.uniform(-_SCALED, _SCALED))
    shift = random.uniform(-_MOVED, _MOVED, 2) * (height, width)
    bent = [ndimage.zoom(field, (height / _KNOTS, width / _KNOTS), order=3, mode="mirror", grid_mode=True)
            for field in random.normal(0, 1, (2, _KNOTS, _KNOTS)) * _BENT * min(height, width)]  # fmt: skip
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    rows = (np.cos(angle) * y - np.sin(angle) * x) / scale + (height - 1) / 2 + shift[0] + bent[0]
    columns = (np.sin(angle) * y + np.cos(angle) * x) / scale + (width - 1) / 2 + shift[1] + bent[1]
    moved = ndimage.map_coordinates(one, [rows, columns], order=0, mode="mirror")
    if image is None:
        return moved, None
    return moved, np.stack([ndimage.map_coordinates(plane, [rows, columns], order=1, mode="mirror") for plane in image])
