"""Squares cut from any images, and what in them is an object: what a fit that fills holes starts from.

A folder of images of any layout, or a set with boxes or masks, whose objects are then not learned: what fills a hole is
to be ground. Squares have the images' own scale where the objects allow it; larger objects, and larger squares of
images without objects, are reduced, as `ganaug.compositing.hole_windows` will see them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ganaug.compositing.hole_windows import AROUND
from ganaug.compositing.holes import Holes, widened
from ganaug.data.fingerprints import fingerprint, perceptual_print
from ganaug.data.images import Pixels, is_grey, resize, to_channels
from ganaug.data.labelled import LabelledImages
from ganaug.data.marked import MarkedImages, marked_images
from ganaug.errors import DataError

__all__ = ["FillableImages", "read_fillable", "whole_squares"]

_TRIES = 2  # squares cut for each that is wanted, where there are objects: those with most ground are kept
_LEAST_GROUND = 0.25  # of a square
_MOST_AN_IMAGE = 16
_SHAPES = 256  # of objects
_LEAST_SHAPE = 12  # pixels of an object, below which its shape is none


@dataclass(frozen=True, eq=False)
class FillableImages(LabelledImages):
    """Squares of images, all of one class; there are fewer fingerprints, one an image, than squares."""

    objects: Tensor = field(kw_only=True)
    """(N, R, R) bool: where there is an object or its edge."""
    shapes: Tensor = field(kw_only=True)
    """(M, R, R) bool: objects as squares would show them, each at the top left; none where none are known."""
    sources: Tensor = field(kw_only=True)
    """(N,) int64, the place of each square's image among the fingerprints."""

    def subset(self, indices: Sequence[int] | Tensor) -> FillableImages:
        """The squares of these images only; `indices` are of images."""
        chosen = torch.as_tensor(indices, dtype=torch.int64).tolist()
        rows = torch.cat([(self.sources == image).nonzero().flatten() for image in chosen])
        places = {image: place for place, image in enumerate(chosen)}
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            objects=self.objects[rows],
            sources=torch.tensor([places[image] for image in self.sources[rows].tolist()], dtype=torch.int64),
            fingerprints=tuple(self.fingerprints[image] for image in chosen),
            perceptual=tuple(self.perceptual[image] for image in chosen) if self.perceptual else (),
        )


@dataclass
class _Read:
    """What has been read so far."""

    squares: list[Pixels] = field(default_factory=list)
    objects: list[Holes] = field(default_factory=list)
    shapes: list[Holes] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    perceptual: list[str] = field(default_factory=list)
    small: int = 0
    """Images left out, as smaller than a square."""


def read_fillable(
    dataset: Any,
    *,
    resolution: int,
    squares: int,
    margin: float,
    classes: Sequence[str] | None = None,
    colour: str = "auto",
    on_bad: Literal["stop", "skip"] = "stop",
    raw: Any = None,
    least: int = 2,
) -> FillableImages:
    """Read a folder of images in any layout, a set with boxes or masks, or a dataset of these forms.

    Args:
        dataset: a path, a dataset of (image, class), (image, {"boxes", ...}) or (image, mask), or `LabelledImages`,
            which are squares already.
        resolution: side of the squares.
        squares: about how many are cut, at the most; of each image at most 16.
        margin: by how much of its longer side an object is taken larger, for its edge and its shadow.
        classes: the classes whose objects are not to be learned; all by default, of masks all but the first. Of
            images without boxes or masks, leave it out.
        colour: "grey", "rgb", or "auto": grey if every square is grey.
        on_bad: "stop" raises at the first image that cannot be used; "skip" leaves it out and lists it in `skipped`.
        raw: the dataset below its transforms, where it has to be given.
        least: images that there must be.

    Raises:
        DataError: an image cannot be used, there are too few, all are smaller than a square, or objects leave no
            ground.
    """
    if isinstance(dataset, LabelledImages):
        return dataset if isinstance(dataset, FillableImages) else whole_squares(dataset)
    marked = marked_images(dataset, classes=classes, on_bad=on_bad, raw=raw)
    read, skipped = _Read(), list(marked.skipped)
    many = max(1, min(_MOST_AN_IMAGE, squares // max(1, len(marked))))
    for index in range(len(marked)):
        try:
            one = marked.read(index)
            _add(read, one.pixels, one.objects, resolution, many, margin)
        except DataError as error:
            if on_bad == "stop":
                raise DataError(f"{error}; mend or remove it, or skip such: on_bad='skip', --on-bad skip") from error
            skipped.append(str(error))
    if len(read.fingerprints) < least:
        if read.small:
            raise DataError(
                f"{read.small} images are smaller than squares of {resolution} px; fit with --set resolution=32, or "
                "give larger images"
            )
        found = "is one image" if len(read.fingerprints) == 1 else "are no images"
        raise DataError(f"there {found}; wanted at least {least}")
    return _gathered(read, marked, skipped, squares, colour)


def whole_squares(data: LabelledImages) -> FillableImages:
    """Images that are squares already, of whatever classes, none of which shows an object."""
    none = torch.zeros(len(data), *data.images.shape[-2:], dtype=torch.bool)
    return FillableImages(
        images=data.images,
        labels=torch.zeros(len(data), dtype=torch.int64),
        class_names=("images",),
        label_numbers=(0,),
        fingerprints=data.fingerprints,
        skipped=data.skipped,
        perceptual=data.perceptual,
        objects=none,
        shapes=none[:0],
        sources=torch.arange(len(data)),
    )


def _add(read: _Read, pixels: Pixels, objects: Sequence[Holes], resolution: int, many: int, margin: float) -> None:
    """Cut squares from one image with `objects`, (H, W) each."""
    size = pixels.shape[:2]
    if min(size) < resolution:
        read.small += 1
        return
    source = len(read.fingerprints)
    read.fingerprints.append(fingerprint(pixels))
    read.perceptual.append(perceptual_print(pixels))
    random = np.random.default_rng(source)
    wide = [widened(one, margin) for one in objects]
    region = np.any(wide, axis=0) if wide else np.zeros(size, dtype=bool)
    sides = [_seen_in(one, resolution, min(size)) for one in wide]
    for side, one in zip(sides, wide, strict=True):
        if len(read.shapes) < _SHAPES * 4:
            read.shapes.append(_reduced(_bounded(one), resolution, side))
    for _ in range(many * (_TRIES if wide else 1) if min(size) > resolution else 1):
        if wide:
            side = sides[int(random.integers(len(sides)))]
        else:
            side = round(math.exp(random.uniform(math.log(resolution), math.log(min(size)))))
        top, left = (int(random.integers(length - side + 1)) for length in size)
        part = slice(top, top + side), slice(left, left + side)
        read.squares.append(resize(np.ascontiguousarray(pixels[part]), (resolution, resolution)))
        read.objects.append(_any_of(region[part], resolution))
        read.sources.append(source)


def _seen_in(region: Holes, resolution: int, most: int) -> int:
    """Side of the square that a hole of this shape would be seen in."""
    longest = max(int(region.any(1).sum()), int(region.any(0).sum()))
    return min(most, max(resolution, math.ceil(AROUND * longest)))


def _bounded(region: Holes) -> Holes:
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _reduced(shape: Holes, resolution: int, side: int) -> Holes:
    """A shape as a square of `side` shows it at `resolution`, at the top left of (resolution, resolution)."""
    scale = resolution / side
    height, width = (min(resolution, max(1, round(length * scale))) for length in shape.shape)
    small = resize(shape[:, :, None].astype(np.uint8) * 255, (height, width))[:, :, 0] >= 128
    made = np.zeros((resolution, resolution), dtype=bool)
    made[:height, :width] = small
    return made


def _any_of(region: Holes, resolution: int) -> Holes:
    """A square region at `resolution`: set where any of its pixels is."""
    if region.shape[0] == resolution:
        return region.copy()
    pooled = torch.nn.functional.adaptive_max_pool2d(torch.from_numpy(region)[None].float(), resolution)
    return np.asarray(pooled[0].numpy() > 0)


def _gathered(read: _Read, marked: MarkedImages, skipped: Sequence[str], squares: int, colour: str) -> FillableImages:
    ground = np.array([1 - region.mean() for region in read.objects])
    kept = np.flatnonzero(ground >= _LEAST_GROUND)
    if not len(kept):
        raise DataError("the objects leave no ground between them to learn from; give more images, or --classes")
    if len(kept) > squares:  # those with most ground, in their order
        kept = np.sort(kept[np.argsort(-ground[kept], kind="stable")[:squares]])
    chosen = [read.squares[row] for row in kept]
    grey = colour == "grey" or (colour == "auto" and all(map(is_grey, chosen)))
    images = np.stack([to_channels(square, 1 if grey else 3).transpose(2, 0, 1) for square in chosen])
    shapes = [shape for shape in read.shapes if shape.sum() >= _LEAST_SHAPE]
    shapes = [shapes[row * len(shapes) // min(_SHAPES, len(shapes))] for row in range(min(_SHAPES, len(shapes)))]
    side = images.shape[-1]
    remarks = [f"left out, as smaller than {side} px: {read.small} images"] if read.small else []
    if marked.kind != "images":
        bare = sum(not read.objects[row].any() for row in kept)
        remarks.append(f"objects: hidden in training; {bare} of {len(kept)} squares show none")
    return FillableImages(
        images=torch.from_numpy(images),
        labels=torch.zeros(len(images), dtype=torch.int64),
        class_names=("images",),
        label_numbers=(0,),
        fingerprints=tuple(read.fingerprints),
        skipped=tuple(skipped),
        perceptual=tuple(read.perceptual),
        remarks=tuple(remarks),
        objects=torch.from_numpy(np.stack([read.objects[row] for row in kept])),
        shapes=torch.from_numpy(np.stack(shapes)) if shapes else torch.zeros(0, side, side, dtype=torch.bool),
        sources=torch.tensor([read.sources[row] for row in kept], dtype=torch.int64),
    )
