"""Images alone, whatever their labels are: what a generator learns from that makes a picture of a picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Subset

from ganaug.data.box_files import holds_boxes, list_boxes
from ganaug.data.folders import ImageFiles, list_all, list_images
from ganaug.data.labelled import LabelledImages, read_images
from ganaug.data.mask_files import holds_masks, list_masks
from ganaug.data.view import DatasetView
from ganaug.errors import DataError

__all__ = ["PICTURES", "read_pictures"]

PICTURES = "images"
"""The name of the one class that such images are of."""


def read_pictures(
    source: Any,
    *,
    resolution: int,
    classes: Sequence[str] | None = None,
    fit: str = "crop",
    colour: str = "auto",
    on_bad: str = "stop",
    raw: Any = None,
    least: int = 2,
    smallest: int = 1,
) -> LabelledImages:
    """All images of a folder, without what else is there, or of a dataset, as those of one class.

    Args:
        source: class folders, a flat folder, a set with masks or boxes, a CSV file, each of which has its training part
            read; a dataset of (image, class); or `LabelledImages`.
        resolution: side of the square images.
        classes: names of the class folders, or of the dataset's classes, whose images are wanted.
        fit: as in `read_images`.
        colour: as in `read_images`.
        on_bad: as in `read_images`.
        raw: as in `read_images`.
        least: images that there must be.
        smallest: an image whose side is below that many pixels is left out; a remark tells how many were.

    Raises:
        DataError: as in `read_images`, or there are fewer than `least` images, or most of them are too small.
    """
    if isinstance(source, LabelledImages):
        if classes is not None and tuple(classes) != source.class_names:
            raise DataError(f"images are of the classes {', '.join(source.class_names)}; leave classes out")
        return _as_one(source, least)
    dataset = _files(Path(source), classes, on_bad) if isinstance(source, (str, Path)) else source
    remarks: tuple[str, ...] = ()
    if smallest > 1:
        large, sides = _large(DatasetView(dataset if raw is None else raw), smallest, fit)
        if len(sides) > 2 * len(large):
            raise DataError(
                f"the images are about {statistics.median(sides):.0f} px and cannot teach what {smallest} px show; "
                f"give images of {smallest} px or more, or a recipe of a lower resolution"
            )
        if missing := len(sides) - len(large):
            remarks = (f"left out: {missing} images below {smallest} px",)
            dataset, raw = _those(dataset, large), None if raw is None else Subset(raw, large)
    chosen = None if isinstance(dataset, ImageFiles) else classes
    data = read_images(
        dataset, resolution=resolution, classes=chosen, fit=fit, colour=colour, on_bad=on_bad, raw=raw, least=1
    )
    return replace(_as_one(data, least), remarks=remarks)


def _as_one(data: LabelledImages, least: int) -> LabelledImages:
    """The same images as those of one class."""
    if len(data) < least:
        raise DataError(f"there {'is one image' if len(data) == 1 else 'are no images'}; wanted {least} at the least")
    labels = torch.zeros(len(data), dtype=torch.int64)
    return LabelledImages(
        data.images, labels, (PICTURES,), (0,), data.fingerprints, data.skipped, data.perceptual, data.remarks
    )


def _files(path: Path, classes: Sequence[str] | None, on_bad: str) -> ImageFiles:
    """The image files of a training part, as one class."""
    if classes is not None:
        chosen = list_images(path, classes=classes)
        root, paths = chosen.root, chosen.paths
    elif holds_masks(path):
        masked = list_masks(path)
        root, paths = masked.root, masked.images
    elif holds_boxes(path):
        boxed = list_boxes(path, on_bad=on_bad)
        root, paths = boxed.root, boxed.paths
    else:
        return list_all(path, PICTURES)
    return ImageFiles(root, [PICTURES], [0] * len(paths), paths, [])


def _large(view: DatasetView, smallest: int, fit: str) -> tuple[list[int], list[int]]:
    """Which images are large enough, and the side of each; one that cannot be read is for who reads it to tell of."""
    rows, sides = [], []
    for index in range(len(view)):
        try:
            side = (max if fit == "pad" else min)(view.image_size(index))
        except DataError:
            side = smallest
        sides.append(side)
        if side >= smallest:
            rows.append(index)
    return rows, sides


def _those(dataset: Any, rows: Sequence[int]) -> Any:
    if isinstance(dataset, ImageFiles):
        paths = [dataset.paths[row] for row in rows]
        return ImageFiles(dataset.root, dataset.classes, [0] * len(paths), paths, dataset.skipped)
    return Subset(dataset, rows)
