"""A user's dataset whose image and label go through transforms together: what views of masks and of boxes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch.utils.data import Dataset

from ganaug.data.forms import form_of, in_form
from ganaug.data.images import READ_ERRORS, Pixels
from ganaug.data.items import join_item, split_item
from ganaug.data.sources import is_plain_subset
from ganaug.data.transforms import apply_stages, read_below
from ganaug.errors import DataError

__all__ = ["JointView", "Overlay"]

TRIES = 1000  # items looked at, at the most, to find one that can be read


class Overlay(Dataset[Any]):
    """A dataset of the items of another, some of them changed: what else is made of these is made of the other's.

    Args:
        dataset: the other.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)


class JointView:
    """A map-style dataset of (image, label), read below its transforms and never changed.

    Args:
        dataset: the user's dataset, or a `Subset` of one, or an `Overlay` of either.
        raw: a dataset of the same length whose images are PIL or uint8, where `dataset`'s are not.
        transform: (image, label) to (image, label). With `raw` what makes the items of `dataset` of the raw ones; else
            it is applied to every item that the dataset and `_made` yield.
        label: what the label is called in a message.

    Raises:
        DataError: the dataset is empty, or `raw` does not go with it.
    """

    what: ClassVar[str] = "images"
    """What `image_size` tells the size of."""
    class_names: list[str] | None = None
    """None: an image has no class of its own."""

    def __init__(self, dataset: Any, *, raw: Any, transform: Callable[[Any, Any], Any] | None, label: str) -> None:
        self.dataset, self._transform, self._has_raw, self._what = dataset, transform, raw is not None, label
        if raw is not None and transform is None:
            raise DataError("raw= came without transform=, which says how the dataset's items are made of the raw ones")
        if raw is not None and len(raw) != len(dataset):
            raise DataError(f"raw= has {len(raw)} items and the dataset {len(dataset)}; wanted the same, in one order")
        source: Any = raw if raw is not None else dataset.dataset if isinstance(dataset, Overlay) else dataset
        self._rows: list[int] | None = None
        if is_plain_subset(source):
            source, self._rows = source.dataset, [int(index) for index in source.indices]
        if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
            raise DataError(f"the dataset is a {type(source).__name__}; wanted a map-style dataset, or a path")
        self._length = len(source) if self._rows is None else len(self._rows)
        if self._length == 0:
            raise DataError(f"the dataset holds no images; wanted at least 2, each with its {label}")
        self._source = source
        self._below, self._stages = read_below(source, range(min(len(source), TRIES)))

    def __len__(self) -> int:
        return self._length

    def row(self, index: int) -> int:
        """Where an item is in the dataset that a `Subset` is of."""
        return index if self._rows is None else self._rows[index]

    def place(self, index: int) -> str:
        """The item, for a person."""
        return f"item {self.row(index)} of the dataset"

    def class_name(self, label: int) -> str:
        """The name that all images go by, for they have no class of their own."""
        return "images"

    def labels(self) -> list[int]:
        """Of every image the same, for it has no class of its own."""
        return [0] * len(self)

    def pair(self, index: int) -> tuple[Any, Any]:
        """The raw image and label."""
        return split_item(self._raw_item(index))

    def image(self, index: int) -> Any:
        """The raw image as the dataset holds it."""
        return self.pair(index)[0]

    def image_size(self, index: int) -> tuple[int, int]:
        """Height and width of the raw image."""
        return form_of(self.image(index)).size

    def real(self, index: int) -> Any:
        """The dataset's own item."""
        return self._finished(self.dataset[index])

    def getitems(self, indices: Sequence[int]) -> list[Any]:
        """The dataset's own items, by its `__getitems__` where it has one."""
        fetch = getattr(self.dataset, "__getitems__", None)
        if callable(fetch):
            return [self._finished(item) for item in fetch(list(indices))]
        return [self.real(index) for index in indices]

    def with_image(self, image: Pixels, index: int) -> Any:
        """The item that the dataset would have yielded, had its raw image been this one of its size, HWC uint8."""
        item = self._raw_item(index)
        raw, label = split_item(item)
        return self._made(join_item(item, in_form(image, form_of(raw)), label), index)

    def _made(self, item: Any, like: int) -> Any:
        """The item that the dataset would have yielded, had its raw item `like` been this one."""
        if self._has_raw:
            return self._joined(self.dataset[like], *split_item(item))
        return self._finished(apply_stages(self._source, self._stages, item))

    def _finished(self, item: Any) -> Any:
        if self._transform is None or self._has_raw:
            return item
        return self._joined(item, *split_item(item))

    def _joined(self, like: Any, image: Any, label: Any) -> Any:
        assert self._transform is not None
        made = self._transform(image, label)
        if not isinstance(made, (tuple, list)) or len(made) != 2:
            raise DataError(f"transform= gives a {type(made).__name__}; wanted image and {self._what}")
        return join_item(like, *made)

    def _raw_item(self, index: int) -> Any:
        try:
            return self._below[self.row(index)]
        except READ_ERRORS as error:
            said = " ".join(str(error).split())
            raise DataError(f"{self.place(index)}: cannot be read ({said or type(error).__name__})") from error
