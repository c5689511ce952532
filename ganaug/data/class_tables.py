"""Class tables: what a number or a colour in a mask means.

codes.txt, classes.txt      a name a line, numbered from 0 (CamVid as fastai ships it)
class_dict.csv              name,r,g,b with a heading (CamVid as Kaggle ships it)
label_colors.txt            r g b name (CamVid's own)
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ganaug.errors import DataError

__all__ = ["ClassTable", "find_table", "made_table"]

Colour = tuple[int, int, int]
_NAMES, _COLOURS, _DICT = ("classes.txt", "codes.txt"), "label_colors.txt", "class_dict.csv"


@dataclass(frozen=True)
class ClassTable:
    """Names of classes, the number of each, and the colour that stands for it, where colours do."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    colours: tuple[Colour, ...] = ()

    def __post_init__(self) -> None:
        for what, values in (("name", self.names), ("number", self.numbers), ("colour", self.colours)):
            twice = [value for value, times in Counter(values).items() if times > 1]
            if twice:
                raise DataError(f"the class table has the {what} {twice[0]!r} twice; give each class its own")


def made_table(said: Mapping[str, int | str]) -> ClassTable:
    """The table that a recipe says: a number for each name, or a colour as "#00ff80" for each, numbered in order."""
    numbers = [value for value in said.values() if isinstance(value, int)]
    if len(numbers) == len(said):
        return ClassTable(tuple(said), tuple(numbers))
    if numbers:
        raise DataError("data.table gives some classes a number and others a colour; give all of them the same")
    return ClassTable(tuple(said), tuple(range(len(said))), tuple(_colour(str(value)) for value in said.values()))


def _colour(text: str) -> Colour:
    digits = text.removeprefix("#")
    try:
        if len(digits) != 6:
            raise ValueError
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise DataError(f"data.table has the colour {text!r}; wanted one as '#00ff80'") from None
    return red, green, blue


def find_table(*folders: Path) -> ClassTable | None:
    """The table in a file of one of `folders`, of those above; none where there is none.

    Raises:
        DataError: the file is not as it should be.
    """
    for folder in folders:
        for name in (_DICT, _COLOURS, *_NAMES):
            if (folder / name).is_file():
                return _read(folder / name)
    return None


def _read(path: Path) -> ClassTable:
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error})") from error
    if path.name in _NAMES:
        return ClassTable(tuple(lines), tuple(range(len(lines))))
    rows = list(csv.reader(lines[1:])) if path.name == _DICT else [_spaced(line) for line in lines]
    names, colours = [], []
    for row in rows:
        try:
            name, (red, green, blue) = row[0].strip(), map(int, row[1:4])
        except (ValueError, IndexError):
            raise DataError(f"{path} has the line {' '.join(row)!r}; wanted a name and three numbers") from None
        names.append(name)
        colours.append((red, green, blue))
    return ClassTable(tuple(names), tuple(range(len(names))), tuple(colours))


def _spaced(line: str) -> list[str]:
    """Name first, then its colour."""
    parts = line.split()
    return [" ".join(parts[3:]), *parts[:3]]
