"""A set's images without their objects: holes where these are, filled with ground."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganaug.bank import GeneratorBank
from ganaug.data.marked import marked_images
from ganaug.errors import DataError
from ganaug.exporting import built_beside, check_goal
from ganaug.grounds import erased, parts_of
from ganaug.pictures import as_picture, save_picture

__all__ = ["ErasedSet", "erase"]

LIST = "erased.csv"


@dataclass(frozen=True)
class ErasedSet:
    """What was written."""

    folder: Path
    images: int
    objects: int
    without: int
    """Images that show no such object, and were not written."""
    covered: int
    """Images that are nothing but objects, and were not written."""

    def __str__(self) -> str:
        told = f"wrote {self.images} images without their {self.objects} objects into {self.folder}"
        if self.without:
            told += f"; {self.without} show none and were left out"
        return told + (f"; {self.covered} show nothing else and were left out" if self.covered else "")


def erase(
    bank: GeneratorBank,
    data: Any,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    on_bad: str = "stop",
    exist_ok: bool = False,
) -> ErasedSet:
    """Write the images of a set's training part with their objects erased, as OUT/NAME.png, and a list of them.

    An object is erased with a margin (`filling.margin` of the bank's recipe). What belongs to an object that stays is
    not touched, and no more is any other pixel that is not to be erased. Labels are not written.

    Args:
        bank: of task fill.
        data: a set with boxes or masks, as `fit` reads it; not changed.
        out: the folder to make.
        classes: whose objects go; by default all, of masks all but the first class.
        seed: of the noise.
        on_bad: "skip" leaves out what cannot be used.
        exist_ok: write into `out` though it holds something.

    Raises:
        BankError: the bank is for another task, or other channels.
        DataError: the data cannot be read, or there is no object to erase.
        OutputError: `out` holds something, overlaps the data, or cannot be written.
    """
    bank.check_task("fill", "erase", "fit one for it with a recipe such as fill-64")
    marked = marked_images(data, classes=classes, on_bad=on_bad)
    if marked.kind == "images":
        raise DataError(
            f"{data} has neither boxes nor masks, so there is no object to erase; fill holes with bank.fill"
        )
    goal, paths = Path(out).expanduser().resolve(), list(marked.paths or ())
    root = Path(data).expanduser().resolve() if isinstance(data, (str, Path)) else goal.parent / "nowhere"
    check_goal(goal, root if root.is_dir() else root.parent, paths, exist_ok)
    margin, rows = bank.recipe.filling.margin, []
    taken: set[str] = set()
    without = covered = objects = 0
    with built_beside(goal) as building:
        for index in range(len(marked)):
            try:
                one = marked.read(index)
            except DataError:
                if on_bad == "stop":
                    raise
                continue
            parts = parts_of(one, margin)
            hidden = int(parts.any(0).sum())
            if hidden in (0, one.pixels[:, :, 0].size):
                without, covered = without + (not hidden), covered + bool(hidden)
                continue
            name = _free(paths[index].stem if paths else f"{index:06d}", taken)
            save_picture(as_picture(erased(bank, one, parts, seed)), building / name)
            rows.append((name, str(paths[index]) if paths else str(index), len(one.objects)))
            objects += len(one.objects)
        if not rows:
            raise DataError(f"there is no object to erase in the {len(marked)} images; look at --data and --classes")
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("path", "source", "objects"), *rows])
        (building / LIST).write_text(text.getvalue(), "utf-8", newline="")
    return ErasedSet(goal, len(rows), objects, without, covered)


def _free(stem: str, taken: set[str]) -> str:
    """A file name that no image has yet, whatever the case of its letters."""
    for number in itertools.count(1):
        name = f"{stem}.png" if number == 1 else f"{stem}-{number}.png"
        if name.casefold() not in taken:
            taken.add(name.casefold())
            return name
    raise AssertionError("unreachable")
