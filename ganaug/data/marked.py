"""Any images with what is said of where their objects are: by boxes, by masks, or nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from ganaug.compositing.holes import Holes
from ganaug.data.box_files import BoxFiles, holds_boxes, list_boxes
from ganaug.data.box_values import Target
from ganaug.data.box_view import BoxView
from ganaug.data.class_names import choose_classes
from ganaug.data.folders import ImageFiles, list_all, list_images
from ganaug.data.images import Pixels, to_uint8
from ganaug.data.items import as_label, split_item
from ganaug.data.mask_files import MaskFiles, holds_masks, list_masks
from ganaug.data.mask_view import MaskView
from ganaug.data.view import DatasetView
from ganaug.errors import DataError

__all__ = ["Marked", "MarkedImages", "marked_images", "regions_of"]


@dataclass(frozen=True, eq=False)
class Marked:
    """An image HWC uint8 and the regions (H, W) of its objects: of the classes that were chosen, and of others."""

    pixels: Pixels
    objects: list[Holes]
    others: list[Holes]


class MarkedImages(ABC):
    """Images that are read one at a time."""

    kind: Literal["images", "boxes", "masks"]
    paths: Sequence[Path] | None = None
    """The files, where there are some."""
    skipped: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> Marked:
        """An image; a DataError where it cannot be used."""


def marked_images(
    dataset: Any, *, classes: Sequence[str] | None = None, on_bad: str = "stop", raw: Any = None
) -> MarkedImages:
    """The training images of a path, in any layout, or of a dataset.

    Args:
        dataset: a VOC, YOLO or COCO set, a folder of images and masks, any other folder of images or a CSV file; or a
            dataset of (image, {"boxes", ...}), (image, mask) or (image, class).
        classes: of which objects are looked for; by default all, of masks all but the first, the background. Of images
            without either, the classes that are read.
        on_bad: "stop" or "skip", for rows and label files of boxes.
        raw: the dataset below its transforms, where it has to be given.

    Raises:
        DataError: there is none of this, or a class is unknown.
    """
    source = dataset
    if isinstance(dataset, (str, Path)):
        source = _listed(Path(dataset), classes, on_bad)
    kind = _kind(source if raw is None else raw)
    if kind == "boxes":
        return _Boxes(source, classes, raw)
    return _Masks(source, classes, raw) if kind == "masks" else _Images(source, raw)


def regions_of(target: Target, size: tuple[int, ...]) -> list[Holes]:
    """Where each object is in an image of `size` (height, width): its mask, or its box where there are no masks."""
    if target.masks is not None:
        return list(target.masks)
    regions = []
    for box in target.boxes:
        left, top, right, bottom = (int(side) for side in (*np.floor(box[:2]), *np.ceil(box[2:])))
        region = np.zeros(size, dtype=bool)
        region[top:bottom, left:right] = True
        regions.append(region)
    return regions


def _listed(path: Path, classes: Sequence[str] | None, on_bad: str) -> BoxFiles | MaskFiles | ImageFiles:
    if holds_boxes(path):
        return list_boxes(path, on_bad=on_bad)
    if holds_masks(path):
        return list_masks(path)
    return list_all(path, "images") if classes is None else list_images(path, on_bad=on_bad, classes=classes)


def _kind(source: Any) -> Literal["images", "boxes", "masks"]:
    if isinstance(source, (BoxFiles, MaskFiles, ImageFiles)):
        return "boxes" if isinstance(source, BoxFiles) else "masks" if isinstance(source, MaskFiles) else "images"
    try:
        label = split_item(source[0])[1]
    except Exception:  # a user's code, or no dataset at all: told by the view that reads it
        return "images"
    if isinstance(label, Mapping):
        return "boxes"
    try:
        as_label(label)
    except DataError:
        return "masks"
    return "images"


class _Images(MarkedImages):
    kind = "images"

    def __init__(self, source: Any, raw: Any) -> None:
        self._view = DatasetView(source, raw=raw)
        self.paths = source.paths if isinstance(source, ImageFiles) else None

    def __len__(self) -> int:
        return len(self._view)

    def read(self, index: int) -> Marked:
        return Marked(to_uint8(self._view.image(index)), [], [])


class _Boxes(MarkedImages):
    kind = "boxes"

    def __init__(self, source: Any, classes: Sequence[str] | None, raw: Any) -> None:
        self._view = BoxView(source, raw=raw, transform=None if raw is None else lambda image, target: (image, target))
        self.paths = source.paths if isinstance(source, BoxFiles) else None
        self.skipped = tuple(getattr(source, "skipped", ()))
        self._chosen: set[int] | None = None
        if classes is not None:
            known = self._view.class_names
            if known is None:
                raise DataError("the dataset names no classes; leave classes out")
            self._chosen = {known.index(name) for name in choose_classes(known, classes)}

    def __len__(self) -> int:
        return len(self._view)

    def read(self, index: int) -> Marked:
        image, target = self._view.read(index)
        pixels = to_uint8(image)
        objects: list[Holes] = []
        others: list[Holes] = []
        for region, label in zip(regions_of(target, pixels.shape[:2]), target.labels.tolist(), strict=True):
            if region.any():
                (objects if self._chosen is None or label in self._chosen else others).append(region)
        return Marked(pixels, objects, others)


class _Masks(MarkedImages):
    kind = "masks"

    def __init__(self, source: Any, classes: Sequence[str] | None, raw: Any) -> None:
        self._view = MaskView(source, raw=raw, transform=None if raw is None else lambda image, mask: (image, mask))
        self.paths = source.images if isinstance(source, MaskFiles) else None
        table = self._view.table
        self._ground = table.numbers[0] if table is not None else 0
        self._chosen: set[int] | None = None
        if classes is not None:
            names = dict(zip(table.names, table.numbers, strict=True)) if table is not None else {}
            known = [*names, *(str(number) for number in range(256))] if table is None else list(names)
            chosen = choose_classes(known, classes)
            self._chosen = {names[name] if table is not None else int(name) for name in chosen}

    def __len__(self) -> int:
        return len(self._view)

    def read(self, index: int) -> Marked:
        image, values = self._view.read(index)
        pixels = to_uint8(image)
        if pixels.shape[:2] != values.shape:
            raise DataError(f"{self._view.place(index)}: is not of its image's size; wanted a mask of that size")
        objects: list[Holes] = []
        others: list[Holes] = []
        for number in np.unique(values).tolist():
            if number == self._ground and (self._chosen is None or number not in self._chosen):
                continue
            parts, count = ndimage.label(values == number, structure=np.ones((3, 3)))
            regions = [parts == part for part in range(1, count + 1)]
            (objects if self._chosen is None or number in self._chosen else others).extend(regions)
        return Marked(pixels, objects, others)
