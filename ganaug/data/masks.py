"""Images with their label maps, decoded, square and uint8: what a fit for segmentation starts from."""

from __future__ import annotations

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
from ganaug.data.mask_values import NO_CLASS, map_to_square
from ganaug.data.mask_view import MaskView
from ganaug.errors import DataError

__all__ = ["MaskedImages", "read_masked", "scored_classes"]

_MOST_NUMBERS = 64  # different numbers, above which a mask without a class table is taken for something else
_LARGEST = 65535  # number that a mask may hold
_SAME_SIZE = "wanted a mask of its image's size"
_GROUND = {"0", "back", "background", "bg", "ground", "none", "unlabeled", "unlabelled", "void"}


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
    places: tuple[tuple[int, int, int], ...] = field(default=(), kw_only=True)
    """Of each square the item of the dataset that it was cut from, and the row and column where it begins."""

    def subset(self, indices: Sequence[int] | Tensor) -> MaskedImages:
        """The squares of these images only, of the same classes; `indices` are of images."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        none = torch.empty(0, dtype=torch.int64)
        rows = torch.cat([none, *((self.sources == image).nonzero().flatten() for image in chosen.tolist())])
        places = {image: place for place, image in enumerate(chosen.tolist())}
        return replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            maps=self.maps[rows],
            places=tuple(self.places[row] for row in rows.tolist()) if self.places else (),
            sources=torch.tensor([places[image] for image in self.sources[rows].tolist()], dtype=torch.int64),
            fingerprints=tuple(self.fingerprints[image] for image in chosen.tolist()),
            perceptual=tuple(self.perceptual[image] for image in chosen.tolist()) if self.perceptual else (),
        )

    def counts(self) -> list[int]:
        """Squares in which each class is seen."""
        return [int((self.maps == index).flatten(1).any(1).sum()) for index in range(len(self.class_names))]

    @property
    def strata(self) -> Tensor:
        """Of whole images all the same: their squares go together, and most images show most classes."""
        return torch.zeros(len(self.fingerprints), dtype=torch.int64)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that a learner sees of them, and which squares are of one image."""
        return self.images, self.maps, self.sources

    def kinds(self) -> dict[str, int]:
        """All in one."""
        return {"the set": len(self.fingerprints)}

    def shares(self) -> list[float]:
        """Share of the pixels that are of each class."""
        pixels = torch.bincount(self.maps.flatten(), minlength=NO_CLASS + 1)[: len(self.class_names)].double()
        shares: list[float] = (pixels / pixels.sum()).tolist()
        return shares

    def with_classes(self, names: Sequence[str], numbers: Sequence[int], what: str) -> MaskedImages:
        """The same with these classes: a set in which one is never seen has fewer, perhaps by other names.

        Raises:
            DataError: they are neither of these names nor of these numbers; `what` says whose they are.
        """
        if set(self.class_names) <= set(names):
            places = [list(names).index(name) for name in self.class_names]
        elif set(self.label_numbers) <= set(numbers):
            places = [list(numbers).index(number) for number in self.label_numbers]
        else:
            raise DataError(
                f"{what} has the classes {', '.join(self.class_names)} and the bank {', '.join(names)}; give masks of "
                "the bank's classes"
            )
        index = torch.full((NO_CLASS + 1,), NO_CLASS, dtype=torch.uint8)
        index[: len(places)] = torch.tensor(places, dtype=torch.uint8)
        return replace(
            self, maps=index[self.maps.long()], class_names=tuple(names), label_numbers=tuple(numbers)
        )  # fmt: skip


def scored_classes(names: Sequence[str]) -> tuple[int, ...]:
    """Places of the classes that a score speaks of: all but the ground that others lie on, the first where it is one.

    It is where there are two classes, or where it is called so.
    """
    return tuple(range(1 if len(names) == 2 or names[0].lower() in _GROUND else 0, len(names)))


@dataclass(frozen=True)
class _One:
    """One image with its mask, read: its squares, for whole images may be more than memory holds."""

    place: str
    numbers: list[int]
    """All that its whole mask holds."""
    squares: list[Pixels]
    maps: list[npt.NDArray[np.int32]]
    """Of the user's numbers."""
    places: list[tuple[int, int, int]]
    """See `MaskedImages`."""
    fingerprint: str
    perceptual: str


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
        colour: "grey", "rgb", "bands": all channels as they are, or "auto": bands from five channels on, else grey if
            every image is grey.
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
    read, skipped = _read_all(view, on_bad, resolution, fit, tile, bands=colour == "bands")
    if len(read) < least:
        found = "is one image with a mask" if len(read) == 1 else "are no images with masks"
        raise DataError(f"there {found}; wanted at least {least}")
    classes = view.table or _found_classes(read, ignore)
    return _gathered(read, skipped, classes, _places(classes, ignore), colour)


def _read_all(
    view: MaskView, on_bad: str, resolution: int, fit: str, tile: int | None, *, bands: bool
) -> tuple[list[_One], list[str]]:
    read, skipped = [], []
    for index in range(len(view)):
        try:
            read.append(_read_one(view, index, resolution, fit, tile, bands))
        except DataError as error:
            if on_bad == "stop":
                raise DataError(f"{error}; mend or remove it, or skip such: on_bad='skip', --on-bad skip") from error
            skipped.append(str(error))
    return read, skipped


def _read_one(view: MaskView, index: int, resolution: int, fit: str, tile: int | None, bands: bool) -> _One:
    image, values = view.read(index)
    pixels, place = to_uint8(image, bands=bands), view.place(index)
    if pixels.shape[:2] != values.shape:
        (height, width), (high, wide) = pixels.shape[:2], values.shape
        raise DataError(f"{place}: is {wide} x {high} pixels and its image {width} x {height}; {_SAME_SIZE}")
    numbers = np.unique(values)
    if numbers[0] < 0 or numbers[-1] > _LARGEST:
        raise DataError(f"{place}: holds the numbers {numbers[0]} to {numbers[-1]}; wanted 0 to {_LARGEST}")
    squares, maps, places = [], [], []
    for part in _tiles(values.shape, tile):
        squares.append(to_square(np.ascontiguousarray(pixels[part]), resolution, fit))
        maps.append(map_to_square(np.ascontiguousarray(values[part], dtype=np.int32), resolution, fit))
        places.append((index, part[0].start or 0, part[1].start or 0))
    return _One(place, numbers.tolist(), squares, maps, places, fingerprint(pixels), perceptual_print(pixels))


def _found_classes(read: Sequence[_One], ignore: int | None) -> ClassTable:
    """The classes of masks that come without a table: the numbers that they hold."""
    numbers: set[int] = set()
    for one in read:
        if len(one.numbers) > _MOST_NUMBERS:
            raise DataError(
                f"{one.place}: holds {len(one.numbers)} different numbers; wanted one for each class, so give a "
                "class table (data.table), or masks of classes and not of instances or grey values"
            )
        numbers.update(one.numbers)
    binary = numbers == {0, 255}
    found = sorted(number for number in numbers if binary or number != ignore)
    if len(found) < 2:
        only = f"class {found[0]} alone" if found else "no class at all"
        raise DataError(f"all {len(read)} masks hold {only}, so there is nothing to learn; look whether they are empty")
    if found in ([0, 255], [0, 1]):
        return ClassTable(("background", "object"), tuple(found))
    return ClassTable(tuple(map(str, found)), tuple(found))


def _places(classes: ClassTable, ignore: int | None) -> dict[int, int]:
    """Index of each number that a mask may hold."""
    if len(classes.names) >= NO_CLASS:
        raise DataError(f"there are {len(classes.names)} classes; wanted at most {NO_CLASS - 1}")
    places = {} if ignore is None else {ignore: NO_CLASS}
    return places | {number: place for place, number in enumerate(classes.numbers)}


def _gathered(
    read: Sequence[_One], skipped: Sequence[str], classes: ClassTable, places: dict[int, int], colour: str
) -> MaskedImages:
    index = np.full(_LARGEST + 1, NO_CLASS, dtype=np.uint8)
    index[list(places)] = list(places.values())
    for one in read:
        for number in one.numbers:
            if number not in places:
                raise DataError(
                    f"{one.place}: holds the number {number}, which is not in the class table "
                    f"({', '.join(map(str, sorted(places)))}); add it to the table, or mend the mask"
                )
    squares = [square for one in read for square in one.squares]
    channels = _channels(read, colour)
    images = np.stack([to_channels(square, channels).transpose(2, 0, 1) for square in squares])
    sources = [place for place, one in enumerate(read) for _ in one.squares]
    return MaskedImages(
        images=torch.from_numpy(images),
        labels=torch.zeros(len(squares), dtype=torch.int64),
        class_names=classes.names,
        label_numbers=classes.numbers,
        fingerprints=tuple(one.fingerprint for one in read),
        skipped=tuple(skipped),
        perceptual=tuple(one.perceptual for one in read),
        maps=torch.from_numpy(index[np.stack([square for one in read for square in one.maps])]),
        sources=torch.tensor(sources, dtype=torch.int64),
        places=tuple(place for one in read for place in one.places),
    )


def _channels(read: Sequence[_One], colour: str) -> int:
    """Channels of the images, which all have the same where they are bands."""
    found: dict[int, str] = {}
    for one in read:
        found.setdefault(one.squares[0].shape[-1], one.place)
    if colour == "bands" or (colour == "auto" and max(found) > 3):
        if len(found) > 1:
            (first, place), (second, other) = list(found.items())[:2]
            raise DataError(
                f"the image of {place} has {first} channels and that of {other} {second}; wanted the same bands in all"
            )
        return max(found)
    grey = colour == "grey" or (colour == "auto" and all(is_grey(square) for one in read for square in one.squares))
    return 1 if grey else 3


def _tiles(size: tuple[int, ...], tile: int | None) -> Iterator[tuple[slice, slice]]:
    """Each part of an image: itself, or squares that overlap by half and reach every edge."""
    height, width = size
    if tile is None or min(size) < tile:
        yield slice(None), slice(None)
        return
    for top in _starts(height, tile):
        for left in _starts(width, tile):
            yield slice(top, top + tile), slice(left, left + tile)


def _starts(length: int, tile: int) -> list[int]:
    count = 1 + -(-(length - tile) // max(1, tile // 2))
    return [round(index * (length - tile) / max(1, count - 1)) for index in range(count)]
