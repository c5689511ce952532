"""Hugging Face datasets, read below their format and `set_transform`. The library is never imported from here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from ganaug.data.forms import ImageForm, file_form, form_of
from ganaug.data.images import READ_ERRORS
from ganaug.data.items import IMAGE_KEYS, LABEL_KEYS, label_like, label_list
from ganaug.data.sources import Source
from ganaug.errors import DataError

__all__ = ["HuggingFaceSource", "is_hugging_face"]


def is_hugging_face(dataset: Any) -> bool:
    """Whether this is a `datasets.Dataset`; several splits at once, or a stream, are a DataError."""
    library = sys.modules.get("datasets")
    if library is None or not hasattr(library, "DatasetDict"):
        return False
    if isinstance(dataset, library.DatasetDict):
        raise DataError(f"the dataset holds several splits ({', '.join(dataset)}); give one, as dataset['train']")
    if isinstance(dataset, library.IterableDataset):
        raise DataError("the dataset is a stream; wanted one with a length: load it with streaming=False")
    return isinstance(dataset, library.Dataset)


class HuggingFaceSource(Source):
    """Rows of a `datasets.Dataset`: an image column and a column of class numbers."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        if len(dataset) == 0:
            raise DataError("the dataset holds no images; wanted at least 2 a class")
        features = dataset.features
        self._image = _column(features, "Image", IMAGE_KEYS, "image")
        self._label = _column(features, "ClassLabel", LABEL_KEYS, "label")
        self._rows = dataset.with_format(None)
        self._bare = self._without_decoding(features[self._image])
        self._mode = getattr(features[self._image], "mode", None)
        self.names = list(getattr(features[self._label], "names", None) or []) or None
        self._format = _RowFormat(dataset.format)
        self._labels = self._read_labels()
        self._forms: dict[int, ImageForm] = {}
        form_of(self._first_image())

    def _without_decoding(self, feature: Any) -> Any:
        if type(feature).__name__ != "Image":
            return self._rows
        return self._rows.cast_column(self._image, type(feature)(mode=feature.mode, decode=False))

    def _read_labels(self) -> list[int]:
        values = self._rows[self._label][:]
        labels = label_list(values, len(self.dataset))
        if labels is None:
            raise DataError(
                f"column {self._label!r} holds {values[0]!r}, of type {type(values[0]).__name__}; wanted class "
                f"numbers: dataset.class_encode_column({self._label!r}) makes them"
            )
        return labels

    def _first_image(self) -> Any:
        for index in range(min(len(self.dataset), 64)):
            try:
                return self.pair(index)[0]
            except DataError:
                continue
        return self.pair(0)[0]

    def __len__(self) -> int:
        return len(self.dataset)

    def pair(self, index: int) -> tuple[Any, Any]:
        """The two columns of a row, the image decoded."""
        try:
            row = self._rows[index]
        except READ_ERRORS as error:
            said = " ".join(str(error).split())
            raise DataError(f"{self._place(index)}: cannot be read ({said or type(error).__name__})") from error
        return row[self._image], row[self._label]

    def _place(self, index: int) -> str:
        stored = self._bare[index][self._image] if self._bare is not self._rows else None
        path = stored.get("path") if isinstance(stored, Mapping) else None
        return str(path) if path else f"image {index} of the dataset"

    def form(self, index: int) -> ImageForm:
        """Read from the header of the stored file once, then remembered."""
        if index not in self._forms:
            self._forms[index] = self._header_form(index) or form_of(self.pair(index)[0])
        return self._forms[index]

    def _header_form(self, index: int) -> ImageForm | None:
        stored = self._bare[index][self._image] if self._bare is not self._rows else None
        file = (stored.get("bytes") or stored.get("path")) if isinstance(stored, Mapping) else None
        try:
            return file_form(file, upright=True, mode=self._mode) if file else None
        except READ_ERRORS:  # as for a path on a server
            return None

    def known_labels(self) -> list[int] | None:
        """The label column."""
        return self._labels

    def compose(self, image: Any, label: int, like: int) -> Any:
        """Row `like` with this image and label, through the format or transform; its other columns stay."""
        row = dict(self._bare[like])
        row[self._image] = image
        row[self._label] = label_like(row[self._label], label)
        return self._format.apply(row)


class _RowFormat:
    """What `dataset[i]` makes of a row of Python objects: the dataset's format and transform."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._columns, self._all_columns = list(settings["columns"]), bool(settings["output_all_columns"])
        self._kind = settings["type"]
        self._transform = self._formatter = None
        if self._kind == "custom":
            self._transform = settings["format_kwargs"]["transform"]
        elif self._kind not in {None, "python"}:
            make = sys.modules["datasets"].formatting.get_formatter
            self._formatter = make(self._kind, features=None, **settings["format_kwargs"])
            if not hasattr(self._formatter, "recursive_tensorize"):
                raise DataError(f"the dataset's format is {self._kind!r}; wanted none, numpy, torch or a transform")

    def apply(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The item made of a row."""
        chosen = {name: value for name, value in row.items() if name in self._columns}
        item: dict[str, Any] = chosen
        if self._transform is not None:
            batch = self._transform({name: [value] for name, value in chosen.items()})
            item = {name: values[0] for name, values in batch.items()}
        elif self._formatter is not None:
            item = dict(self._formatter.recursive_tensorize(_as_numpy(chosen)))
        if self._all_columns:
            item.update({name: value for name, value in row.items() if name not in self._columns})
        return item


def _as_numpy(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with numbers and text as numpy holds them, which is what the library's formatters are given."""
    return {k: np.asarray(v)[()] if isinstance(v, (int, float, str)) else v for k, v in row.items()}


def _column(features: Mapping[str, Any], feature: str, names: tuple[str, ...], what: str) -> str:
    of_type = [name for name, kind in features.items() if type(kind).__name__ == feature]
    if len(of_type) == 1:
        return of_type[0]
    among = of_type or list(features)
    for name in names:
        if name in among:
            return name
    raise DataError(
        f"which column is the {what} is not clear from {', '.join(features)}; name it {what!r} with "
        f"dataset.rename_column, or cast it to {feature}"
    )
