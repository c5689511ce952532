"""A user's dataset as ganaug sees it: raw images and labels below its transform, and items made as it makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ganaug.data.forms import form_of, in_form, same_kind
from ganaug.data.hugging_face import HuggingFaceSource, is_hugging_face
from ganaug.data.images import from_square
from ganaug.data.items import as_label, item_keys, join_item, label_like, map_image, split_item
from ganaug.data.samples import Samples
from ganaug.data.sources import (
    ConcatSource,
    PlainSource,
    Source,
    SubsetSource,
    is_plain_concat,
    is_plain_subset,
    names_of,
)
from ganaug.errors import DataError

__all__ = ["DatasetView"]


class DatasetView:
    """A map-style dataset of (image, class number), read below its transform and never changed.

    Known datasets (torchvision's, `Subset`, `ConcatDataset`, Hugging Face, and any that keeps its transform as
    `transform`, `target_transform` or `transforms` and does no more to an image than that) are read below theirs. Any
    other must yield PIL or uint8 images, or be given `raw`.

    Args:
        dataset: the user's dataset.
        raw: a dataset of the same length and labels whose images are PIL or uint8, where `dataset`'s are not.
        transform: with `raw`, what makes the images of `dataset` of the raw ones; else it is applied to every image
            that the dataset and `compose` yield.

    Raises:
        DataError: the dataset is empty, its items are no pairs, or its images are floats that have been transformed.
    """

    what: ClassVar[str] = "images"
    """What `image_size` tells the size of."""

    def __init__(self, dataset: Any, *, raw: Any = None, transform: Callable[[Any], Any] | None = None) -> None:
        self.dataset = dataset
        self._transform = transform
        self._source = source_of(dataset if raw is None else raw)
        self._labels: list[int] | None = None
        self._like: Any = None
        self.class_names: list[str] | None = self._source.names
        """Class names by number; none where the dataset names no classes."""
        if raw is not None:
            self._like = self._check_raw()
            self.class_names = _names_above(dataset) or self.class_names

    def _check_raw(self) -> Any:
        if len(self.dataset) != len(self._source):
            raise DataError(
                f"raw= has {len(self._source)} images and the dataset {len(self.dataset)}; "
                "wanted the same, in one order"
            )
        item = self.dataset[0]
        ours, raws = as_label(split_item(item)[1]), self.label(0)
        if ours != raws:
            raise DataError(
                f"image 0 has label {ours} in the dataset and {raws} in raw=; wanted the same, in one order"
            )
        return item

    def __len__(self) -> int:
        return len(self._source)

    def pair(self, index: int) -> tuple[Any, int]:
        """The raw image and its label, read together."""
        image, label = self._source.pair(index)
        return image, as_label(label)

    def image(self, index: int) -> Any:
        """The raw image as the dataset holds it: PIL, or a uint8 tensor or array."""
        return self._source.pair(index)[0]

    def image_size(self, index: int) -> tuple[int, int]:
        """Height and width of the raw image, from a file's header where that is enough."""
        return self._source.form(index).size

    def known_labels(self) -> list[int] | None:
        """Every label where that needs no image to be read, else none."""
        return self._labels if self._labels is not None else self._source.known_labels()

    def label(self, index: int) -> int:
        """The class number of an image, before any target transform."""
        known = self.known_labels()
        return known[index] if known is not None else self.pair(index)[1]

    def labels(self) -> list[int]:
        """The class number of every image; where the dataset does not tell, each is read once."""
        if self._labels is None:
            known = self._source.known_labels()
            self._labels = known if known is not None else [self.pair(index)[1] for index in range(len(self))]
        return self._labels

    def class_name(self, label: int) -> str:
        """The name of a class number; the number itself where it has no name."""
        names = self.class_names
        return names[label] if names is not None and 0 <= label < len(names) else str(label)

    def real(self, index: int) -> Any:
        """The dataset's own item."""
        return self._finished(self.dataset[index])

    def getitems(self, indices: Sequence[int]) -> list[Any]:
        """The dataset's own items, by its `__getitems__` where it has one."""
        fetch = getattr(self.dataset, "__getitems__", None)
        if callable(fetch):
            return [self._finished(item) for item in fetch(list(indices))]
        return [self.real(index) for index in indices]

    def samples_for(self, slots: Mapping[int, int], names: Sequence[str], numbers: Sequence[int]) -> dict[int, int]:
        """Samples of each class that a pool for so many needs: as many."""
        return dict(slots)

    def synthetic(
        self, samples: Samples | None, at: tuple[int, int], label: int, like: int, fit: str, seed: Sequence[int]
    ) -> Any:
        """The item that the dataset would have yielded, had its raw image `like` been that sample; see `compose`."""
        assert samples is not None, "as many as there are slots"
        return self.compose(samples[at], label, like, fit)

    def with_image(self, image: Any, index: int) -> Any:
        """The item that the dataset would have yielded, had its raw image been this one of the same size."""
        return self.compose(image, self.label(index), index)

    def compose(self, image: Any, label: int, like: int, fit: str | None = None) -> Any:
        """The item that the dataset would have yielded, had its raw image `like` been this one, with this label.

        Args:
            image: PIL (RGB or L), or HWC uint8; brought to the kind, mode and size of raw image `like`.
            label: class number, before any target transform.
            like: index of the item whose place it takes.
            fit: how the image became square, which is undone; none where it did not.
        """
        if fit is not None:
            image = from_square(image, self.image_size(like), fit)
        raw = in_form(image, self._source.form(like))
        if self._like is None:
            return self._finished(self._source.compose(raw, label, like))
        item = self.dataset[like] if isinstance(self._like, Mapping) and len(self._like) > 2 else self._like
        made = self._transform(raw) if self._transform is not None else self._as_it_is(raw)
        return join_item(item, made, label_like(item[item_keys(item)[1]], label))

    def _finished(self, item: Any) -> Any:
        if self._transform is None or self._like is not None:
            return item
        return map_image(item, self._transform)

    def _as_it_is(self, raw: Any) -> Any:
        try:
            if same_kind(form_of(split_item(self._like)[0]), form_of(raw)):
                return raw
        except DataError:
            pass
        raise DataError("raw= came without transform=, which says how the dataset's images are made of the raw ones")


def source_of(dataset: Any) -> Source:
    """The source that reads a dataset, composites taken apart."""
    if is_hugging_face(dataset):
        return HuggingFaceSource(dataset)
    if is_plain_subset(dataset):
        return SubsetSource(source_of(dataset.dataset), dataset.indices)
    if is_plain_concat(dataset):
        return ConcatSource([source_of(part) for part in dataset.datasets])
    return PlainSource(dataset)


def _names_above(dataset: Any) -> list[str] | None:
    names = names_of(dataset)
    if names is None and is_plain_subset(dataset):
        return _names_above(dataset.dataset)
    return names
