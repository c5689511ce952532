"""Objects cut out of images with what is around them: what a fit for detection starts from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganaug.compositing.filling import grounds_of
from ganaug.data.box_files import list_boxes
from ganaug.data.box_values import Boxes, Target
from ganaug.data.box_view import BoxView
from ganaug.data.class_names import choose_classes
from ganaug.data.fingerprints import fingerprint, perceptual_print
from ganaug.data.images import Pixels, is_grey, resize, to_channels, to_uint8
from ganaug.data.labelled import LabelledImages
from ganaug.errors import DataError

__all__ = ["CONTEXT", "ObjectImages", "read_objects"]

CONTEXT = 1.3  # side of a crop, by the longer side of the object's box

_FEW = 20  # objects of a class, below which its generator sees too few
_LEAST_SIDE = 2.0  # pixels of a box's shorter side, below which nothing is seen of it
_MOST_EMPTY, _EMPTY_AN_IMAGE, _TRIES = 512, 8, 40  # places without objects: in all, of an image; tried in it
_LEAST_EMPTY = 32  # below which grounds are filled in as well
_FILTER = 4  # pixels of a crop that a resized one is made of, at the most, to either side
_AT_BORDER = 1.5  # pixels from the image's border within which a box may be of an object that goes on beyond it


@dataclass(frozen=True, eq=False)
class ObjectImages(LabelledImages):
    """Crops of objects, of one size, with their classes; there are fewer fingerprints, one an image, than crops.

    The object's box has its longer side `CONTEXT` times in the crop's, whatever its size was. A crop lies within its
    image where it can, else the image's edge is mirrored.
    """

    inside: Tensor = field(kw_only=True)
    """(N, 4) float32: left, top, right and bottom of the object's box in pixels of its crop."""
    alphas: Tensor | None = field(kw_only=True)
    """(N, R, R) uint8: how much of each pixel is the object; None where its images have no masks."""
    backgrounds: Tensor = field(kw_only=True)
    """(M, C, R, R) uint8: crops of such sizes without an object; where few are found, filled in behind objects too."""
    sources: Tensor = field(kw_only=True)
    """(N,) int64, the place of each crop's image among the fingerprints."""

    @property
    def strata(self) -> Tensor:
        """Of whole images all the same: most show most classes."""
        return torch.zeros(len(self.fingerprints), dtype=torch.int64)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that is learned from."""
        alphas = () if self.alphas is None else (self.alphas,)
        return self.images, self.labels, self.inside, self.backgrounds, *alphas

    def kinds(self) -> dict[str, int]:
        """All in one."""
        return {"the set": len(self.fingerprints)}

    def subset(self, indices: Sequence[int] | Tensor) -> ObjectImages:
        """The crops of these images only, of the same classes; `indices` are of images."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        rows = torch.cat([(self.sources == image).nonzero().flatten() for image in chosen.tolist()])
        places = {image: place for place, image in enumerate(chosen.tolist())}
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            inside=self.inside[rows],
            alphas=None if self.alphas is None else self.alphas[rows],
            sources=torch.tensor([places[image] for image in self.sources[rows].tolist()], dtype=torch.int64),
            fingerprints=tuple(self.fingerprints[image] for image in chosen.tolist()),
            perceptual=tuple(self.perceptual[image] for image in chosen.tolist()) if self.perceptual else (),
        )


@dataclass(frozen=True)
class _Crop:
    """One object, cut out."""

    number: int
    """The user's, of its class."""
    pixels: Pixels
    inside: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.uint8] | None
    whole: bool
    """False where the object may go on beyond the border of its image."""
    source: int


@dataclass
class _Read:
    """What has been read so far."""

    resolution: int
    crops: list[_Crop] = field(default_factory=list)
    empty: list[Pixels] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    perceptual: list[str] = field(default_factory=list)

    def add(self, pixels: Pixels, target: Target) -> None:
        """Keep the objects of one image, and places without any."""
        source = len(self.fingerprints)
        self.fingerprints.append(fingerprint(pixels))
        self.perceptual.append(perceptual_print(pixels))
        height, width = pixels.shape[:2]
        lows, highs = target.boxes[:, :2], target.boxes[:, 2:]
        apart = np.minimum(lows, np.array([width, height]) - highs).min(1, initial=np.inf)  # from the border
        seen = ~target.crowd & ((highs - lows).min(1, initial=np.inf) >= _LEAST_SIDE)
        for row in np.flatnonzero(seen):
            left, top, side = _square(target.boxes[row], (height, width))
            mask = None if target.masks is None else target.masks[row][:, :, None].astype(np.uint8) * 255
            self.crops.append(
                _Crop(
                    number=int(target.labels[row]),
                    pixels=_cut(pixels, left, top, side, self.resolution, "symmetric"),
                    inside=(target.boxes[row] - np.array([left, top] * 2, np.float32)) * (self.resolution / side),
                    alpha=None if mask is None else _cut(mask, left, top, side, self.resolution, "constant")[:, :, 0],
                    whole=bool(apart[row] >= _AT_BORDER),
                    source=source,
                )
            )
        self._keep_empty(pixels, target.boxes, np.random.default_rng(source))

    def _keep_empty(self, pixels: Pixels, boxes: Boxes, random: np.random.Generator) -> None:
        """Crops as large as those of this image's objects, from places that no box reaches into."""
        height, width = pixels.shape[:2]
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) * CONTEXT
        sides = sides[sides <= min(height, width)] if len(boxes) else np.array([min(height, width) / 2])
        kept = 0
        for _ in range(_TRIES if len(sides) and len(self.empty) < _MOST_EMPTY else 0):
            side = float(random.choice(sides))
            left, top = random.random() * (width - side), random.random() * (height - side)
            apart = (boxes[:, 2:] <= (left, top)) | (boxes[:, :2] >= (left + side, top + side))
            if apart.any(1).all():
                self.empty.append(_cut(pixels, left, top, side, self.resolution, "symmetric"))
                kept += 1
            if kept == _EMPTY_AN_IMAGE:
                break


def read_objects(
    dataset: Any,
    *,
    resolution: int,
    classes: Sequence[str] | None = None,
    colour: str = "auto",
    on_bad: Literal["stop", "skip"] = "stop",
    raw: Any = None,
    least: int = 2,
) -> ObjectImages:
    """Read the objects of a VOC, YOLO or COCO set, or of any dataset of (image, {"boxes", "labels", ...}), whole.

    Crowds, and what is less than two pixels wide or high, are left out; so are objects at the border of their image,
    which may be cut off there, where their class has others enough.

    Args:
        dataset: a path, or a dataset.
        resolution: side of the crops. Smaller objects are enlarged.
        classes: names of the classes to read, in this order. All that have objects by default.
        colour: "grey", "rgb", or "auto": grey if every crop is grey.
        on_bad: "stop" raises at the first image or box that cannot be used; "skip" leaves it out and lists it in
            `skipped`.
        raw: the dataset below its transforms, where it has to be given.
        least: objects that a class must have; where `classes` are not said, one with fewer is left out, as `remarks`
            tell.

    Raises:
        DataError: an image or a target cannot be used, a class is unknown, or there are too few objects.
    """
    if isinstance(dataset, (str, Path)):
        dataset = list_boxes(dataset, on_bad=on_bad)
    view = BoxView(dataset, raw=raw, transform=None if raw is None else lambda image, target: (image, target))
    read, skipped = _Read(resolution), list(getattr(dataset, "skipped", ()))
    for index in range(len(view)):
        try:
            image, target = view.read(index)
            read.add(to_uint8(image), target)
        except DataError as error:
            if on_bad == "stop":
                raise DataError(f"{error}; mend or remove it, or skip such: on_bad='skip', --on-bad skip") from error
            skipped.append(str(error))
    numbers = range(len(view.class_names)) if view.class_names is not None else {crop.number for crop in read.crops}
    names = {number: view.object_name(number) for number in sorted(numbers)}
    return _gathered(read, names, classes, colour, least, skipped)


def _gathered(
    read: _Read,
    names: Mapping[int, str],
    classes: Sequence[str] | None,
    colour: str,
    least: int,
    skipped: Sequence[str],
) -> ObjectImages:
    numbers, remarks = _chosen(read, names, classes, least)
    places = {number: place for place, number in enumerate(numbers)}
    crops = [crop for crop in read.crops if crop.number in places]
    whole = Counter(crop.number for crop in crops if crop.whole)
    crops = [crop for crop in crops if crop.whole or whole[crop.number] < _FEW]
    counts = Counter(crop.number for crop in crops)
    scarce = [f"{names[number]} ({counts[number]})" for number in numbers if counts[number] < _FEW]
    if scarce:
        remarks.append(f"few objects: {', '.join(scarce)}; their synthetic ones will be much alike")
    grey = colour == "grey" or (colour == "auto" and all(is_grey(crop.pixels) for crop in crops))
    images = _stacked([crop.pixels for crop in crops], 1 if grey else 3)
    inside = torch.from_numpy(np.stack([crop.inside for crop in crops]).astype(np.float32))
    backgrounds = _stacked(read.empty, 1 if grey else 3) if read.empty else images[:0]
    if len(backgrounds) < _LEAST_EMPTY:
        rows = torch.arange(min(len(images), _MOST_EMPTY)) * len(images) // min(len(images), _MOST_EMPTY)
        backgrounds = torch.cat([backgrounds, grounds_of(images[rows], inside[rows])])
    alphas = [crop.alpha for crop in crops if crop.alpha is not None]
    return ObjectImages(
        images=images,
        labels=torch.tensor([places[crop.number] for crop in crops], dtype=torch.int64),
        class_names=tuple(names[number] for number in numbers),
        label_numbers=tuple(numbers),
        fingerprints=tuple(read.fingerprints),
        skipped=tuple(skipped),
        perceptual=tuple(read.perceptual),
        remarks=tuple(remarks),
        inside=inside,
        alphas=torch.from_numpy(np.stack(alphas)) if len(alphas) == len(crops) else None,
        backgrounds=backgrounds,
        sources=torch.tensor([crop.source for crop in crops], dtype=torch.int64),
    )


def _chosen(
    read: _Read, names: Mapping[int, str], classes: Sequence[str] | None, least: int
) -> tuple[list[int], list[str]]:
    """The numbers of the classes to read, and what is to be said of others."""
    counts = Counter(crop.number for crop in read.crops)
    if classes is not None:
        by_name = {name: number for number, name in names.items()}
        numbers = [by_name[name] for name in choose_classes(list(by_name), classes)]
        for number in numbers:
            if counts[number] < least:
                raise DataError(f"class {names[number]!r} has {_objects(counts[number])}; wanted at least {least}")
        return numbers, []
    numbers = [number for number in sorted(names) if counts[number] >= least]
    if not numbers:
        raise DataError(f"there is no class with {least} objects or more; look at the boxes")
    left = [f"{names[number]} ({counts[number]})" for number in sorted(names) if number not in numbers]
    return numbers, [f"left out, with too few objects: {', '.join(left)}"] if left else []


def _objects(count: int) -> str:
    return "no objects" if not count else "one object" if count == 1 else f"{count} objects"


def _stacked(crops: Sequence[Pixels], channels: int) -> Tensor:
    """NCHW uint8."""
    return torch.from_numpy(np.stack([to_channels(crop, channels).transpose(2, 0, 1) for crop in crops]))


def _square(box: Boxes, size: tuple[int, int]) -> tuple[float, float, float]:
    """Left, top and side of the crop around a box (4,) in an image of `size` (height, width)."""
    side = float(max(box[2] - box[0], box[3] - box[1])) * CONTEXT
    corner = []
    for centre, length in ((float(box[0] + box[2]) / 2, size[1]), (float(box[1] + box[3]) / 2, size[0])):
        room = length - side
        corner.append(min(max(centre - side / 2, 0.0), room) if room >= 0 else room / 2)
    return corner[0], corner[1], side


def _cut(
    pixels: Pixels, left: float, top: float, side: float, resolution: int, beyond: Literal["symmetric", "constant"]
) -> Pixels:
    """A square of an image, brought to `resolution`; what is beyond the image is its mirrored edge, or 0."""
    height, width = pixels.shape[:2]
    before, above = max(0, -math.floor(left)), max(0, -math.floor(top))
    after, below = max(0, math.ceil(left + side) - width), max(0, math.ceil(top + side) - height)
    if before or above or after or below:
        pixels = np.pad(pixels, ((above, below), (before, after), (0, 0)), mode=beyond)
    left, top = left + before, top + above
    reach = math.ceil(_FILTER * max(1.0, side / resolution))  # what is farther away has no part in the result
    columns = slice(max(0, math.floor(left) - reach), math.ceil(left + side) + reach)
    rows = slice(max(0, math.floor(top) - reach), math.ceil(top + side) + reach)
    pixels, left, top = pixels[rows, columns], left - columns.start, top - rows.start
    box = (left, top, min(left + side, pixels.shape[1]), min(top + side, pixels.shape[0]))
    return resize(np.ascontiguousarray(pixels), (resolution, resolution), box)
