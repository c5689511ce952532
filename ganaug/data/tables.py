"""A CSV file of paths and labels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ganaug.errors import DataError

__all__ = ["Row", "read_table"]

_PATH_COLUMNS = ("path", "file", "filename", "image")
_LABEL_COLUMNS = ("label", "class", "target")


class Row(NamedTuple):
    """One line of the file: its number, and what it says."""

    number: int
    path: str
    label: str


def read_table(file: Path) -> list[Row]:
    """The rows of a CSV file with a header; columns apart by comma, semicolon or tab.

    Raises:
        DataError: the file is no text, lacks a column or has no rows, or a row lacks its path or label.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            reader = csv.DictReader(stream, delimiter=max(",;\t", key=header.count))
            columns = [name for name in reader.fieldnames or [] if name]
            path, label = _column(file, columns, _PATH_COLUMNS), _column(file, columns, _LABEL_COLUMNS)
            rows = [Row(reader.line_num, (r[path] or "").strip(), (r[label] or "").strip()) for r in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read as CSV in UTF-8 ({error})") from error
    for row in rows:
        if not row.path or not row.label:
            raise DataError(f"{file} row {row.number}: the {'label' if row.path else 'path'} is empty; fill it in")
    if not rows:
        raise DataError(f"{file} holds no rows; wanted a header and one row of path and label for each image")
    return rows


def _column(file: Path, columns: Sequence[str], names: Sequence[str]) -> str:
    known = {column.strip().lower(): column for column in reversed(columns)}
    for name in names:
        if name in known:
            return known[name]
    raise DataError(
        f"{file} row 1: no column named {', '.join(names[:-1])} or {names[-1]}; "
        f"the header says: {', '.join(columns) or 'nothing'}"
    )
