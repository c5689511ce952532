"""A user's dataset of (image, mask) as ganaug sees it: raw pairs below its transforms, and items made as it makes them.

The image and the mask of an item go through a joint transform together, as torchvision's v2 (`transforms(image, mask)`
or `transform(item)`) and albumentations (`transform(image=, mask=)`) take them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ganaug.data.class_tables import ClassTable
from ganaug.data.forms import form_of, in_form
from ganaug.data.images import READ_ERRORS, Pixels, from_square
from ganaug.data.items import join_item, split_item
from ganaug.data.mask_files import MaskFiles
from ganaug.data.mask_values import NO_CLASS, Map, map_from_square, mask_like, mask_values
from ganaug.data.sources import is_plain_subset
from ganaug.data.transforms import apply_stages, read_below
from ganaug.errors import DataError

__all__ = ["MaskView"]

_TRIES = 1000


class MaskView:
    """A map-style dataset of (image, mask), read below its transforms and never changed.

    Args:
        dataset: the user's dataset, or a `Subset` of one; items are pairs, or dicts with "image" and "mask".
        raw: a dataset of the same length whose images are PIL or uint8, where `dataset`'s are not.
        transform: (image, mask) to (image, mask). With `raw` what makes the items of `dataset` of the raw ones; else
            it is applied to every item that the dataset and `compose` yield.
        table: what colours mean.
        numbers: the number of each class, in the order of a bank's label maps; for `compose`.
        ignore: the number that says no class.
        tile: side of the squares that samples are of; whole images where there is none.

    Raises:
        DataError: the dataset is empty, its items are no pairs of image and mask, or its images are floats that have
            been transformed.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        raw: Any = None,
        transform: Callable[[Any, Any], Any] | None = None,
        table: ClassTable | None = None,
        numbers: Sequence[int] = (),
        ignore: int | None = 255,
        tile: int | None = None,
    ) -> None:
        self._tile = tile
        self._numbers = np.full(NO_CLASS + 1, numbers[0] if numbers and ignore is None else ignore or 0)
        self._numbers[: len(numbers)] = numbers
        self.dataset, self._transform, self._has_raw = dataset, transform, raw is not None
        if raw is not None and transform is None:
            raise DataError("raw= came without transform=, which says how the dataset's items are made of the raw ones")
        if raw is not None and len(raw) != len(dataset):
            raise DataError(f"raw= has {len(raw)} items and the dataset {len(dataset)}; wanted the same, in one order")
        source, self._rows = dataset if raw is None else raw, None
        if is_plain_subset(source):
            source, self._rows = source.dataset, [int(index) for index in source.indices]
        if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
            raise DataError(f"the dataset is a {type(source).__name__}; wanted a map-style dataset, or a path")
        self._length = len(source) if self._rows is None else len(self._rows)
        if self._length == 0:
            raise DataError("the dataset holds no images; wanted at least 2, each with its mask")
        self._source, self._table = source, table or getattr(source, "table", None)
        self._below, self._stages = read_below(source, range(min(len(source), _TRIES)))
        image, mask = self._first_readable()
        form_of(image)
        mask_values(mask, self._table)

    def __len__(self) -> int:
        return self._length

    def _first_readable(self) -> tuple[Any, Any]:
        """The first pair that can be read, for a look at its form; what is wrong with others is told when they are."""
        for index in range(min(self._length, _TRIES)):
            with contextlib.suppress(DataError):
                return self.pair(index)
        return self.pair(0)

    @property
    def table(self) -> ClassTable | None:
        """What numbers and colours mean, where that is said."""
        return self._table

    def place(self, index: int) -> str:
        """The file of a mask, or the item's number, for a person."""
        row = index if self._rows is None else self._rows[index]
        return str(self._source.masks[row]) if isinstance(self._source, MaskFiles) else f"item {index} of the dataset"

    def pair(self, index: int) -> tuple[Any, Any]:
        """The raw image and mask."""
        return split_item(self._raw_item(index))

    @property
    def class_names(self) -> None:
        """None: an image has no class of its own."""
        return None

    def class_name(self, label: int) -> str:
        """The name that `label` goes by; all images go by one."""
        return "images"

    def labels(self) -> list[int]:
        """Of every image the same, for it has no class of its own."""
        return [0] * len(self)

    def image(self, index: int) -> Any:
        """The raw image as the dataset holds it."""
        return self.pair(index)[0]

    def read(self, index: int) -> tuple[Any, Map]:
        """The raw image, and the mask's numbers (H, W) int64."""
        image, mask = self.pair(index)
        return image, self._values(mask, index)

    def image_size(self, index: int) -> tuple[int, int]:
        """Height and width that a sample takes in the place of this image: its own, or those of a tile of it."""
        size = form_of(self.image(index)).size
        return size if self._tile is None or min(size) < self._tile else (self._tile, self._tile)

    def real(self, index: int) -> Any:
        """The dataset's own item."""
        return self._finished(self.dataset[index])

    def getitems(self, indices: Sequence[int]) -> list[Any]:
        """The dataset's own items, by its `__getitems__` where it has one."""
        fetch = getattr(self.dataset, "__getitems__", None)
        if callable(fetch):
            return [self._finished(item) for item in fetch(list(indices))]
        return [self.real(index) for index in indices]

    def compose(self, sample: Pixels, label: int, like: int, fit: str) -> Any:
        """The item that the dataset would have yielded, had its item `like` been this sample.

        Args:
            sample: square, HWC uint8: the image, and as the last channel its label map of the bank's classes.
            label: not used: such images have no class of their own.
            like: index of the item whose place, kind, mode and size it takes.
            fit: how images became square, which is undone.
        """
        size = self.image_size(like)
        image = from_square(np.ascontiguousarray(sample[:, :, :-1]), size, fit)
        values = self._numbers[map_from_square(np.ascontiguousarray(sample[:, :, -1]), size, fit)]
        item = self._raw_item(like)
        theirs, mask = split_item(item)
        raw = in_form(image, replace(form_of(theirs), size=size))
        made = join_item(item, raw, mask_like(values, mask, self._table))
        if self._has_raw:
            return self._joined(self.dataset[like], *split_item(made))
        return self._finished(apply_stages(self._source, self._stages, made))

    def _finished(self, item: Any) -> Any:
        if self._transform is None or self._has_raw:
            return item
        return self._joined(item, *split_item(item))

    def _joined(self, like: Any, image: Any, mask: Any) -> Any:
        assert self._transform is not None
        made = self._transform(image, mask)
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            raise DataError(f"transform= gives a {type(made).__name__}; wanted image and mask")
        return join_item(like, *made)

    def _raw_item(self, index: int) -> Any:
        row = index if self._rows is None else self._rows[index]
        try:
            return self._below[row]
        except READ_ERRORS as error:
            said = " ".join(str(error).split())
            raise DataError(f"{self.place(index)}: cannot be read ({said or type(error).__name__})") from error

    def _values(self, mask: Any, index: int = 0) -> Map:
        try:
            return mask_values(mask, self._table)
        except DataError as error:
            raise DataError(f"{self.place(index)}: {error}") from error
