"""What files of boxes say, row by row, and what becomes of rows that cannot be used."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ganaug.data.forms import file_form
from ganaug.data.images import MAX_PIXELS, READ_ERRORS, open_image
from ganaug.data.outlines import Outline
from ganaug.errors import DataError

__all__ = ["BoxLayout", "Entry", "Faults", "Row", "part_of", "text_of", "upright_size"]

_PARTS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One object, as its file says it."""

    place: str
    """The file and the row, for messages."""
    label: int | str
    """A number among the set's names, or a name."""
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels."""
    outline: Outline | None = None
    crowd: bool = False


@dataclass(frozen=True)
class Entry:
    """One image, and all that is said of it."""

    image: Path
    said_in: Path
    """The file that its rows are in."""
    size: tuple[int, int]
    """Height and width, turned upright."""
    rows: list[Row]


class _StoppedError(DataError):
    """A fault that has been told of."""


@dataclass
class Faults:
    """Stops at the first fault, or leaves out what it is in and goes on."""

    on_bad: str
    skipped: list[str] = field(default_factory=list)

    def found(self, fault: str) -> None:
        """Tell of a fault.

        Raises:
            DataError: it is one to stop at.
        """
        if self.on_bad == "stop":
            raise _StoppedError(f"{fault}; mend or remove it, or skip such: on_bad='skip', --on-bad skip")
        self.skipped.append(fault)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside is left unfinished at a fault."""
        try:
            yield
        except _StoppedError:
            raise
        except DataError as error:
            self.found(str(error))


class BoxLayout(ABC):
    """A set of images with boxes on disk."""

    form: str
    """"yolo", "voc" or "coco"."""
    root: Path
    parts: tuple[str, ...]
    """Of train, val and test those that there are."""
    names: tuple[str, ...] | None
    """Class names by number, where a file lists them; else they are those that the rows say."""
    numbers: tuple[int, ...] | None = None
    """The set's own number of each class, where those are not 0 and up."""
    keypoints: int = 0
    """Numbers that a row has after those of its box."""

    @abstractmethod
    def entries(self, part: str, faults: Faults) -> Iterator[Entry]:
        """Every image of a part. A fault inside one is a DataError in `faults`."""


def part_of(name: str) -> str | None:
    """The part that a folder or a list of this name is."""
    return _PARTS.get(name.lower())


def text_of(path: Path) -> str:
    """What is in a text file.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({getattr(error, 'strerror', None) or error})") from error


def upright_size(path: Path) -> tuple[int, int]:
    """Height and width of the image in a file, from its header.

    Raises:
        DataError: it is no image that can be opened.
    """
    with contextlib.suppress(*READ_ERRORS):
        height, width = file_form(path, upright=True).size
        if 0 < height * width <= MAX_PIXELS:
            return height, width
    image = open_image(path)  # says what is wrong with it
    return image.height, image.width
