"""Where raw items come from: a plain dataset, a subset of one, several one after another.

A source reads a user's dataset below its transforms and makes items as the dataset would. Sources nest as the
datasets do; that of a Hugging Face dataset is in hugging_face.py.
"""

from __future__ import annotations

import bisect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import ConcatDataset, Subset
from torchvision import get_image_backend
from torchvision.datasets import DatasetFolder
from torchvision.datasets.folder import default_loader, pil_loader

from ganaug.data.folders import ImageFiles
from ganaug.data.forms import ImageForm, file_form, form_of
from ganaug.data.images import READ_ERRORS
from ganaug.data.items import as_label, item_keys, join_item, label_like, label_list, split_item
from ganaug.data.transforms import apply_stages, read_below
from ganaug.errors import DataError

__all__ = ["ConcatSource", "PlainSource", "Source", "SubsetSource"]

_TRIES = 1000  # images looked at, at the most, to find one that can be read


class Source(ABC):
    """A dataset read below its transform. Indices run from 0 to len - 1."""

    names: list[str] | None = None
    """Class names by number."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def pair(self, index: int) -> tuple[Any, Any]:
        """The raw image and label; a file that cannot be read is a DataError."""

    @abstractmethod
    def form(self, index: int) -> ImageForm:
        """The form of the raw image, without decoding it where that can be known."""

    @abstractmethod
    def known_labels(self) -> list[int] | None:
        """Every label, where the dataset tells them without reading its images."""

    @abstractmethod
    def compose(self, image: Any, label: int, like: int) -> Any:
        """The item that the dataset would make of this raw image and label in the place of item `like`."""


class PlainSource(Source):
    """A map-style dataset that is no composite of others."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._length = _length_of(dataset)
        self._below, self._stages = read_below(dataset, range(min(self._length, _TRIES)))
        first = self._first_readable()
        self._like = self._read(first)
        image, label = split_item(self._like)
        form_of(image)
        as_label(label)
        self._has_more = isinstance(self._like, Mapping) and len(self._like) > 2
        if not self._has_more:
            self._like = join_item(self._like, None, label)  # only its form is needed: let the image go
        self.names = names_of(dataset)
        self._labels = self._find_labels({first, self._length // 2, self._length - 1})
        self._forms: dict[int, ImageForm] = {}

    def __len__(self) -> int:
        return self._length

    def _first_readable(self) -> int:
        for index in range(min(self._length, _TRIES)):
            try:
                self._read(index)
            except DataError:
                continue
            return index
        return 0

    def _find_labels(self, looked_at: set[int]) -> list[int] | None:
        """The labels that the dataset keeps, if they are those of its items; looked at in a few places."""
        found = list(_kept_labels(self.dataset, self._length))
        for index in sorted(looked_at) if found else ():
            try:
                label = as_label(split_item(self._read(index))[1])
            except DataError:
                continue
            found = [labels for labels in found if labels[index] == label]
        return found[0] if found else None

    def _read(self, index: int) -> Any:
        try:
            return self._below[index]
        except READ_ERRORS as error:
            said = " ".join(str(error).split())
            raise DataError(f"{self._place(index)}: cannot be read ({said or type(error).__name__})") from error

    def _place(self, index: int) -> str:
        for samples in _kept_samples(self.dataset, self._length):
            path = samples[index][0] if isinstance(samples[index], (tuple, list)) else samples[index]
            if isinstance(path, (str, Path)):
                return str(path)
        return f"image {index} of the dataset"

    def pair(self, index: int) -> tuple[Any, Any]:
        """The dataset's item below its transforms."""
        return split_item(self._read(index))

    def form(self, index: int) -> ImageForm:
        """Read from the file's header, or from the image once, then remembered."""
        if index not in self._forms:
            self._forms[index] = _header_form(self.dataset, index) or form_of(self.pair(index)[0])
        return self._forms[index]

    def known_labels(self) -> list[int] | None:
        """The labels that the dataset keeps, where it does."""
        return self._labels

    def compose(self, image: Any, label: int, like: int) -> Any:
        """Through the dataset's own transforms, as it applies them."""
        item = self._read(like) if self._has_more else self._like
        raw = join_item(item, image, label_like(item[item_keys(item)[1]], label))
        return apply_stages(self.dataset, self._stages, raw)


class SubsetSource(Source):
    """`torch.utils.data.Subset`, as `random_split` makes them."""

    def __init__(self, child: Source, indices: Sequence[Any]) -> None:
        self._child, self._indices = child, [int(index) + (len(child) if index < 0 else 0) for index in indices]
        if not self._indices:
            raise DataError("the dataset is a subset of no images; wanted at least 2 images a class")
        self.names = child.names

    def __len__(self) -> int:
        return len(self._indices)

    def pair(self, index: int) -> tuple[Any, Any]:
        """That of the parent."""
        return self._child.pair(self._indices[index])

    def form(self, index: int) -> ImageForm:
        """That of the parent."""
        return self._child.form(self._indices[index])

    def known_labels(self) -> list[int] | None:
        """Those of the parent, where it knows them."""
        labels = self._child.known_labels()
        return None if labels is None else [labels[index] for index in self._indices]

    def compose(self, image: Any, label: int, like: int) -> Any:
        """As the parent does."""
        return self._child.compose(image, label, self._indices[like])


class ConcatSource(Source):
    """`torch.utils.data.ConcatDataset`; the parts that name their classes must name the same."""

    def __init__(self, children: Sequence[Source]) -> None:
        self._children = list(children)
        self._ends = list(itertools.accumulate(map(len, self._children)))
        named = [child.names for child in self._children if child.names is not None]
        for names in named:
            if names != named[0]:
                raise DataError(
                    f"the concatenated datasets name their classes differently, {_some(named[0])} and {_some(names)}; "
                    "concatenate datasets with the same classes in the same order"
                )
        self.names = named[0] if named else None

    def __len__(self) -> int:
        return self._ends[-1]

    def _find(self, index: int) -> tuple[Source, int]:
        part = bisect.bisect_right(self._ends, index)
        return self._children[part], index - (self._ends[part - 1] if part else 0)

    def pair(self, index: int) -> tuple[Any, Any]:
        """That of the part."""
        child, inside = self._find(index)
        return child.pair(inside)

    def form(self, index: int) -> ImageForm:
        """That of the part."""
        child, inside = self._find(index)
        return child.form(inside)

    def known_labels(self) -> list[int] | None:
        """Those of all parts, where all know them."""
        every: list[int] = []
        for child in self._children:
            labels = child.known_labels()
            if labels is None:
                return None
            every += labels
        return every

    def compose(self, image: Any, label: int, like: int) -> Any:
        """As the part does in which `like` lies."""
        child, inside = self._find(like)
        return child.compose(image, label, inside)


def _kept_samples(dataset: Any, length: int) -> Iterator[Sequence[Any]]:
    for name in ("samples", "_samples", "imgs"):
        samples = getattr(dataset, name, None)
        if isinstance(samples, Sequence) and len(samples) == length:
            yield samples


def _kept_labels(dataset: Any, length: int) -> Iterator[list[int]]:
    kept = [getattr(dataset, name, None) for name in ("targets", "labels", "_labels")]
    for samples in _kept_samples(dataset, length):
        if all(isinstance(sample, (tuple, list)) and len(sample) == 2 for sample in samples):
            kept.append([sample[1] for sample in samples])
    for numbers in kept:
        labels = label_list(numbers, length)
        if labels is not None:
            yield labels


def is_plain_subset(dataset: Any) -> bool:
    """Whether the dataset is a `Subset` that gives its parent's items as they are."""
    return isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__


def is_plain_concat(dataset: Any) -> bool:
    """Whether the dataset is a `ConcatDataset` that gives its parts' items as they are."""
    return isinstance(dataset, ConcatDataset) and type(dataset).__getitem__ is ConcatDataset.__getitem__


def names_of(dataset: Any) -> list[str] | None:
    """Class names by number, as torchvision's datasets keep them; numbers that have no name are named by themselves."""
    classes = getattr(dataset, "classes", None)
    numbers = getattr(dataset, "class_to_idx", None)
    if isinstance(numbers, dict) and all(isinstance(n, int) and n >= 0 for n in numbers.values()):
        named = {number: str(name) for name, number in numbers.items()}
        if named and len(named) == len(numbers):  # ImageNet has several names a class: its `classes` has them in order
            return [named.get(number, str(number)) for number in range(max(named) + 1)]
    if not isinstance(classes, (list, tuple)) or not classes:
        return None
    return [", ".join(map(str, name)) if isinstance(name, (list, tuple)) else str(name) for name in classes]


def _length_of(dataset: Any) -> int:
    if isinstance(dataset, Mapping) or not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise DataError(
            f"the dataset is a {type(dataset).__name__}, which has no length or items by index; "
            "wanted a map-style dataset, or the path of a folder of images"
        )
    if len(dataset) == 0:
        raise DataError("the dataset holds no images; wanted at least 2 a class")
    return len(dataset)


def _header_form(dataset: Any, index: int) -> ImageForm | None:
    """The form of an image that is a file, where it is known how the dataset opens it."""
    try:
        if isinstance(dataset, ImageFiles):
            return file_form(dataset.paths[index], upright=True)
        if (
            isinstance(dataset, DatasetFolder)
            and type(dataset).__getitem__ is DatasetFolder.__getitem__
            and (dataset.loader is pil_loader or (dataset.loader is default_loader and get_image_backend() == "PIL"))
        ):
            return file_form(Path(dataset.samples[index][0]), upright=False, mode="RGB")
    except READ_ERRORS:
        return None
    return None


def _some(names: list[str]) -> str:
    return f"[{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}]"
