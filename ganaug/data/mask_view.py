"""A user's dataset of (image, mask) as ganaug sees it: raw pairs below its transforms, and items made as it makes them.

The image and the mask of an item go through a joint transform together, as torchvision's v2 (`transforms(image, mask)`
or `transform(item)`) and albumentations (`transform(image=, mask=)`) take them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ganaug.data.class_tables import ClassTable
from ganaug.data.forms import form_of, in_form
from ganaug.data.images import Pixels, from_square, to_uint8
from ganaug.data.items import join_item, split_item
from ganaug.data.joint_view import TRIES, JointView
from ganaug.data.mask_files import MaskFiles
from ganaug.data.mask_values import Map, map_from_square, mask_like, mask_values, numbers_of_places
from ganaug.data.samples import Samples, Variations
from ganaug.errors import DataError

__all__ = ["MaskView"]


class MaskView(JointView):
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
        self._variations: Variations | None = None
        self._numbers = numbers_of_places(numbers, ignore)
        super().__init__(dataset, raw=raw, transform=transform, label="mask")
        self._table = table or getattr(self._source, "table", None)
        image, mask = self._first_readable()
        form_of(image)
        mask_values(mask, self._table)

    def _first_readable(self) -> tuple[Any, Any]:
        """The first pair that can be read, for a look at its form; what is wrong with others is told when they are."""
        for index in range(min(len(self), TRIES)):
            with contextlib.suppress(DataError):
                return self.pair(index)
        return self.pair(0)

    @property
    def table(self) -> ClassTable | None:
        """What numbers and colours mean, where that is said."""
        return self._table

    def place(self, index: int) -> str:
        """The file of a mask, or the item's number, for a person."""
        masks = self._source.masks if isinstance(self._source, MaskFiles) else None
        return super().place(index) if masks is None else str(masks[self.row(index)])

    def read(self, index: int) -> tuple[Any, Map]:
        """The raw image, and the mask's numbers (H, W) int64."""
        image, mask = self.pair(index)
        return image, self._values(mask, index)

    def image_size(self, index: int) -> tuple[int, int]:
        """Height and width that a sample takes in the place of this image: its own, or those of a tile of it."""
        size = form_of(self.image(index)).size
        return size if self._tile is None or min(size) < self._tile else (self._tile, self._tile)

    def vary_by(self, variations: Variations) -> None:
        """Samples are variations of the dataset's own items then, of their own size."""
        self._variations = variations

    def samples_for(self, slots: Mapping[int, int], names: Sequence[str], numbers: Sequence[int]) -> dict[int, int]:
        """Samples of each class that a pool for so many needs: as many; none of its own items' variations."""
        return dict(slots) if self._variations is None else {}

    def synthetic(
        self, samples: Samples | None, at: tuple[int, int], label: int, like: int, fit: str, seed: Sequence[int]
    ) -> Any:
        """The item that the dataset would have yielded, had its item `like` been that sample; see `compose`.

        A variation is one of its own item, whatever `like` is.
        """
        if self._variations is not None:
            return self._varied(self._variations, at[1])
        assert samples is not None, "as many as there are slots"
        return self.compose(samples[at], label, like, fit)

    def _varied(self, variations: Variations, sample: int) -> Any:
        """The item that the dataset would have yielded, had that of a variation been it."""
        index, top, left = variations.source(sample)
        item = self._raw_item(index)
        image, mask = split_item(item)
        part = self.cut(image, self._values(mask, index), top, left, bands=variations.channels not in {1, 3})
        pixels, values = variations.vary(sample, *part)
        raw = in_form(pixels, replace(form_of(image), size=values.shape))
        return self._made(join_item(item, raw, mask_like(values, mask, self._table)), index)

    def cut(self, image: Any, values: Map, top: int, left: int, *, bands: bool) -> tuple[Pixels, Map]:
        """Pixels HWC uint8 and numbers (H, W) of an image, or of a tile of it that begins there; see `to_uint8`."""
        pixels = to_uint8(image, bands=bands)
        if self._tile is None or min(values.shape) < self._tile:
            return pixels, values
        part = slice(top, top + self._tile), slice(left, left + self._tile)
        return np.ascontiguousarray(pixels[part]), np.ascontiguousarray(values[part])

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
        return self._made(made, like)

    def _values(self, mask: Any, index: int = 0) -> Map:
        try:
            return mask_values(mask, self._table)
        except DataError as error:
            raise DataError(f"{self.place(index)}: {error}") from error
