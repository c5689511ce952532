"""Images with their label maps, decoded, square and uint8: what a fit for segmentation starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganaug.data.class_tables import ClassTable
from ganaug.data.fingerprints import fingerprint, perceptual_print
from ganaug.data.images import Pixels, is_grey, to_channels, to_square, to_uint8
from ganaug.data.labelled import LabelledImages
from ganaug.data.mask_files import list_masks
from ganaug.data.mask_values import NO_CLASS, Map, map_to_square
from ganaug.data.mask_view import MaskView
from ganaug.errors import DataError

__all__ = ["MaskedImages", "read_masked"]

_MOST_NUMBERS = 64  # different numbers, above which a mask without a class table is taken for something else
_SAME_SIZE = "wanted a mask of its image's size"


@dataclass(frozen=True, eq=False)
class MaskedImages(LabelledImages):
    """Squares of images with a label map each; `labels` are all 0, for such images have no class of their own.

    Classes are those of the maps' pixels. Several squares may be cut from one image, so that there are fewer
    fingerprints, one an image, than squares.
    """

    maps: Tensor = field(kw_only=True)
    """(N, H, W) uint8, index into `class_names`, 255 where no class is said."""
    sources: Tensor = field(kw_only=True)
    """(N,) int64, the place of each square's image among the fingerprints."""

    def subset(self, indices: Sequence[int] | Tensor) -> MaskedImages:
        """The squares of these images only, of the same classes; `indices` are of images."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        rows = torch.cat([(self.sources == image).nonzero().flatten() for image in chosen.tolist()])
        places = {image: place for place, image in enumerate(chosen.tolist())}
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            maps=self.maps[rows],
            sources=torch.tensor([places[image] for image in self.sources[rows].tolist()], dtype=torch.int64),
            fingerprints=tuple(self.fingerprints[image] for image in chosen.tolist()),
            perceptual=tuple(self.perceptual[image] for image in chosen.tolist()) if self.perceptual else (),
        )

    def counts(self) -> list[int]:
        """Squares in which each class is seen."""
        return [int((self.maps == index).flatten(1).any(1).sum()) for index in range(len(self.class_names))]

    def shares(self) -> list[float]:
        """Share of the pixels that are of each class."""
        pixels = torch.bincount(self.maps.flatten(), minlength=NO_CLASS + 1)[: len(self.class_names)].double()
        shares: list[float] = (pixels / pixels.sum()).tolist()
        return shares


@dataclass
class _Read:
    """What has been read so far."""

    squares: list[Pixels] = field(default_factory=list)
    maps: list[npt.NDArray[Any]] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    perceptual: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def read_masked(
    dataset: Any,
    *,
    resolution: int,
    fit: str = "crop",
    tile: int | None = None,
    colour: str = "auto",
    table: ClassTable | None = None,
    ignore: int | None = 255,
    on_bad: str = "stop",
    raw: Any = None,
    least: int = 2,
) -> MaskedImages:
    """Read a folder, a COCO file or any dataset of (image, mask), whole.

    Args:
        dataset: a path, or a dataset.
        resolution: side of the squares.
        fit: "crop", "pad" or "stretch": how an image that is not square becomes square.
        tile: side of overlapping squares, in pixels of the image, that every larger image is cut into; none takes each
            image whole.
        colour: "grey", "rgb", or "auto": grey if every image is grey.
        table: names of the classes, with their numbers or colours; by default what a table among the files says, else
            the numbers that the masks hold. Where those are 0 and 255 alone, 255 is a class.
        ignore: the number that says no class.
        on_bad: "stop" raises at the first pair that cannot be used; "skip" leaves it out and lists it in `skipped`.
        raw: the dataset below its transforms, where it has to be given.
        least: images that there must be.

    Raises:
        DataError: a pair cannot be used, there are too few, or the masks say nothing that could be learned.
    """
    if isinstance(dataset, (str, Path)):
        dataset = list_masks(dataset, table)
    view = MaskView(dataset, raw=raw, transform=None if raw is None else lambda image, mask: (image, mask), table=table)
    pairs, skipped = _pairs(view, on_bad)
    if len(pairs) < least:
        raise DataError(
            f"there {'is one image' if len(pairs) == 1 else 'are no images'} with a mask; wanted at least {least}"
        )
    classes = view.table or _found_classes(view, pairs, ignore)
    places = _places(classes, ignore)
    read = _Read(skipped=skipped)
    for index, image, values in pairs:
        _add(read, image, _indexed(values, places, view.place(index)), resolution, fit, tile)
    return _gathered(read, classes, colour)


def _pairs(view: MaskView, on_bad: str) -> tuple[list[tuple[int, Pixels, Map]], list[str]]:
    pairs, skipped = [], []
    for index in range(len(view)):
        try:
            image, values = view.read(index)
            pixels = to_uint8(image)
            if pixels.shape[:2] != values.shape:
                (height, width), (high, wide) = pixels.shape[:2], values.shape
                raise DataError(
                    f"{view.place(index)}: is {wide} x {high} pixels and its image {width} x {height}; {_SAME_SIZE}"
                )
            pairs.append((index, pixels, values))
        except DataError as error:
            if on_bad == "stop":
                raise DataError(f"{error}; mend or remove it, or skip such: on_bad='skip', --on-bad skip") from error
            skipped.append(str(error))
    return pairs, skipped


def _found_classes(view: MaskView, pairs: Sequence[tuple[int, Pixels, Map]], ignore: int | None) -> ClassTable:
    """The classes of masks that come without a table: the numbers that they hold."""
    numbers: Counter[int] = Counter()
    for index, _, values in pairs:
        present = np.unique(values)
        if len(present) > _MOST_NUMBERS:
            raise DataError(
                f"{view.place(index)}: holds {len(present)} different numbers; wanted one for each class, so give a "
                "class table (data.table), or masks of classes and not of instances or grey values"
            )
        numbers.update(present.tolist())
    binary = set(numbers) == {0, 255}
    found = sorted(number for number in numbers if binary or number != ignore)
    if len(found) < 2:
        only = f"class {found[0]} alone" if found else "no class at all"
        raise DataError(
            f"all {len(pairs)} masks hold {only}, so there is nothing to learn; look whether they are empty"
        )
    if found in ([0, 255], [0, 1]):
        return ClassTable(("background", "object"), tuple(found))
    return ClassTable(tuple(map(str, found)), tuple(found))


def _places(classes: ClassTable, ignore: int | None) -> dict[int, int]:
    """Index of each number that a mask may hold."""
    if len(classes.names) >= NO_CLASS:
        raise DataError(f"there are {len(classes.names)} classes; wanted at most {NO_CLASS - 1}")
    places = {} if ignore is None else {ignore: NO_CLASS}
    return places | {number: place for place, number in enumerate(classes.numbers)}


def _indexed(values: Map, places: dict[int, int], where: str) -> npt.NDArray[np.uint8]:
    present, inverse = np.unique(values, return_inverse=True)
    for number in present.tolist():
        if number not in places:
            raise DataError(
                f"{where}: holds the number {number}, which is not in the class table "
                f"({', '.join(map(str, sorted(places)))}); add it to the table, or mend the mask"
            )
    return np.array([places[number] for number in present.tolist()], dtype=np.uint8)[inverse].reshape(values.shape)


def _add(
    read: _Read, image: Pixels, values: npt.NDArray[np.uint8], resolution: int, fit: str, tile: int | None
) -> None:
    for top, left, side in _tiles(values.shape, tile):
        part = (slice(top, top + side[0]), slice(left, left + side[1]))
        read.squares.append(to_square(np.ascontiguousarray(image[part]), resolution, fit))
        read.maps.append(map_to_square(np.ascontiguousarray(values[part]), resolution, fit))
        read.sources.append(len(read.fingerprints))
    read.fingerprints.append(fingerprint(image))
    read.perceptual.append(perceptual_print(image))


def _tiles(size: tuple[int, ...], tile: int | None) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Top, left and sides of each part of an image: itself, or squares that overlap by half and reach every edge."""
    height, width = size
    if tile is None or min(size) < tile:
        yield 0, 0, (height, width)
        return
    for top in _starts(height, tile):
        for left in _starts(width, tile):
            yield top, left, (tile, tile)


def _starts(length: int, tile: int) -> list[int]:
    count = 1 + -(-(length - tile) // max(1, tile // 2))
    return [round(index * (length - tile) / max(1, count - 1)) for index in range(count)]


def _gathered(read: _Read, classes: ClassTable, colour: str) -> MaskedImages:
    grey = colour == "grey" or (colour == "auto" and all(map(is_grey, read.squares)))
    squares = np.stack([to_channels(square, 1 if grey else 3).transpose(2, 0, 1) for square in read.squares])
    return MaskedImages(
        images=torch.from_numpy(squares),
        labels=torch.zeros(len(squares), dtype=torch.int64),
        class_names=classes.names,
        label_numbers=classes.numbers,
        fingerprints=tuple(read.fingerprints),
        skipped=tuple(read.skipped),
        perceptual=tuple(read.perceptual),
        maps=torch.from_numpy(np.stack(read.maps)),
        sources=torch.tensor(read.sources, dtype=torch.int64),
    )
