"""Labelled images, decoded, square and uint8: what a fit starts from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganaug.data.class_names import choose_classes
from ganaug.data.fingerprints import fingerprint, perceptual_print
from ganaug.data.folders import ImageFiles, list_images
from ganaug.data.images import Pixels, is_grey, to_channels, to_square, to_uint8
from ganaug.data.room import make_room
from ganaug.data.view import DatasetView
from ganaug.errors import DataError

__all__ = ["LabelledImages", "read_images"]

_THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes and hashlib digests without holding the interpreter
_AHEAD = 256  # images asked of the threads at a time


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one size with their classes."""

    images: Tensor  # NCHW uint8, in memory or over a file that is mapped into it
    labels: Tensor  # N int64, index into class_names
    class_names: tuple[str, ...]
    label_numbers: tuple[int, ...]  # the numbers that the user's dataset gives those classes
    fingerprints: tuple[str, ...]  # of the whole images, not of these squares
    skipped: tuple[str, ...] = ()  # a line for each image that could not be read
    perceptual: tuple[str, ...] = ()  # prints of the whole images for near-copies; none where they are not known
    remarks: tuple[str, ...] = ()  # lines for a person, of what was left out or is scarce

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Sequence[int] | Tensor) -> LabelledImages:
        """These images only, of the same classes."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        rows = chosen.tolist()
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            fingerprints=tuple(self.fingerprints[index] for index in rows),
            perceptual=tuple(self.perceptual[index] for index in rows) if self.perceptual else (),
        )

    def counts(self) -> list[int]:
        """Images of each class."""
        counts: list[int] = torch.bincount(self.labels, minlength=len(self.class_names)).tolist()
        return counts

    @property
    def strata(self) -> Tensor:
        """(whole images,) int64: of which kind each is, where every part of a set must have its share of each kind."""
        return self.labels

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that a learner sees of them."""
        return self.images, self.labels

    def kinds(self) -> dict[str, int]:
        """How many whole images there are of each kind, by the kind's name for a person."""
        return {f"class {name!r}": count for name, count in zip(self.class_names, self.counts(), strict=True)}


@dataclass(frozen=True)
class _One:
    """One image, read."""

    square: Pixels
    number: int
    fingerprint: str
    perceptual: str


@dataclass
class _Read:
    """What has been read so far."""

    pixels: npt.NDArray[np.uint8]  # NCHW, filled from the front
    coloured: bool = False
    numbers: list[int] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    perceptual: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, one: _One) -> None:
        """Keep an image."""
        self.coloured = self.coloured or not is_grey(one.square)
        square = to_channels(one.square, self.pixels.shape[1])
        self.pixels[len(self.numbers)] = square.transpose(2, 0, 1)
        self.numbers.append(one.number)
        self.fingerprints.append(one.fingerprint)
        self.perceptual.append(one.perceptual)


def read_images(
    dataset: Any,
    *,
    resolution: int,
    classes: Sequence[str] | None = None,
    fit: str = "crop",
    colour: str = "auto",
    on_bad: str = "stop",
    raw: Any = None,
    least: int = 2,
) -> LabelledImages:
    """Read a folder, a CSV file or any dataset that `DatasetView` takes, whole.

    What is too large a part of the machine's memory lies in a file of the user's cache, mapped into memory, until the
    images are let go of.

    Args:
        dataset: a path, or a dataset.
        resolution: side of the square images.
        classes: names of the classes to read, in this order; a class without a name goes by its number. All by default.
        fit: "crop", "pad" or "stretch": how an image that is not square becomes square.
        colour: "grey", "rgb", or "auto": grey if every image is grey.
        on_bad: "stop" raises at the first image that cannot be read; "skip" leaves it out and lists it in `skipped`.
        raw: the dataset below its transform, where it has to be given.
        least: images that every class must have: 2 to train on, and 1 to measure on.

    Raises:
        DataError: an image cannot be read, a class is unknown, a class has fewer than `least` images, or neither
            memory nor the disk holds them all.
    """
    if colour not in {"auto", "grey", "rgb"}:
        raise DataError(f"colour is {colour!r}; choose from: auto, grey, rgb")
    if on_bad not in {"stop", "skip"}:
        raise DataError(f"on_bad is {on_bad!r}; choose from: stop, skip")
    if isinstance(dataset, (str, Path)):
        dataset = list_images(dataset, on_bad=on_bad, classes=classes)
    view = DatasetView(dataset, raw=raw)
    known = view.known_labels()
    numbers = None if known is None else _choose_numbers(view, known, classes)
    rows = range(len(view)) if known is None else _rows(known, numbers or ())
    read = _Read(make_room((len(rows), 1 if colour == "grey" else 3, resolution, resolution)))
    # Files are ours to open in several threads; what a user's dataset does when it is asked for an item is not known.
    threads = _THREADS if isinstance(dataset, ImageFiles) else 1
    _read_all(read, rows, lambda index: _read_one(view, index, resolution, fit), on_bad, threads)
    if numbers is None:
        numbers = _choose_numbers(view, read.numbers, classes)
    _check_counts(view, read, numbers, least)
    return _gathered(view, read, numbers, grey=colour == "auto" and not read.coloured)


def _choose_numbers(view: DatasetView, present: Sequence[int], classes: Sequence[str] | None) -> list[int]:
    """The class numbers wanted, in order; all that are present where none is said."""
    numbers = sorted(set(present))
    if classes is None:
        _check_names([view.class_name(number) for number in numbers])
        return numbers
    every = sorted({*numbers, *range(len(view.class_names or ()))})
    names = {view.class_name(number): number for number in every}
    _check_names([view.class_name(number) for number in every])
    by_number = {str(number): view.class_name(number) for number in every}
    if not isinstance(classes, str):
        classes = [name if name in names else by_number.get(str(name), name) for name in classes]
    return [names[name] for name in choose_classes(list(names), classes)]


def _check_names(names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise DataError(f"the dataset gives {times} classes the same name, {name!r}; give each its own")


def _rows(known: Sequence[int], numbers: Sequence[int]) -> list[int]:
    wanted = set(numbers)
    return [index for index, number in enumerate(known) if number in wanted]


def _read_one(view: DatasetView, index: int, resolution: int, fit: str) -> _One | DataError:
    try:
        image, number = view.pair(index)
        pixels = to_uint8(image)
    except DataError as error:
        return error
    return _One(to_square(pixels, resolution, fit), number, fingerprint(pixels), perceptual_print(pixels))


def _read_all(
    read: _Read, rows: Sequence[int], one: Callable[[int], _One | DataError], on_bad: str, threads: int
) -> None:
    """Read the images of `rows` by `one`, in their order whichever thread is first."""
    for found in _in_order(one, rows, threads):
        if isinstance(found, _One):
            read.add(found)
        elif on_bad == "stop":
            raise DataError(f"{found}; mend or remove it, or skip such images: on_bad='skip', --on-bad skip") from found
        else:
            read.skipped.append(str(found))


def _in_order(one: Callable[[int], _One | DataError], rows: Sequence[int], threads: int) -> Iterator[_One | DataError]:
    if threads == 1:
        yield from map(one, rows)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(rows), _AHEAD):  # no more than that lies decoded at a time
            yield from pool.map(one, rows[start : start + _AHEAD])


def _check_counts(view: DatasetView, read: _Read, numbers: Sequence[int], least: int) -> None:
    counts = Counter(read.numbers)
    beside = f" beside {len(read.skipped)} that cannot be read, the first: {read.skipped[0]}" if read.skipped else ""
    if not any(counts[number] for number in numbers):
        raise DataError(f"the dataset holds no images{beside}; wanted at least {least} a class")
    for number in numbers:
        if counts[number] < least:
            had = "one image" if counts[number] else "no images"
            raise DataError(f"class {view.class_name(number)!r} has {had}{beside}; wanted at least {least}")


def _gathered(view: DatasetView, read: _Read, numbers: Sequence[int], *, grey: bool) -> LabelledImages:
    place = {number: index for index, number in enumerate(numbers)}
    kept = [index for index, number in enumerate(read.numbers) if number in place]
    for row, index in enumerate(kept):
        if row != index:
            read.pixels[row] = read.pixels[index]
    pixels = read.pixels[: len(kept), : 1 if grey else None]
    if not isinstance(pixels, np.memmap):
        pixels = np.ascontiguousarray(pixels)
    return LabelledImages(
        images=torch.from_numpy(pixels),
        labels=torch.tensor([place[read.numbers[index]] for index in kept], dtype=torch.int64),
        class_names=tuple(view.class_name(number) for number in numbers),
        label_numbers=tuple(numbers),
        fingerprints=tuple(read.fingerprints[index] for index in kept),
        skipped=tuple(read.skipped),
        perceptual=tuple(read.perceptual[index] for index in kept),
    )
