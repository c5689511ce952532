"""Real and synthetic images on disk, laid out as the user's own, for any trainer that reads folders."""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.data import DatasetView, safe_stem
from ganaug.data.folders import ImageFiles, list_images
from ganaug.enlarging import enlarged_to
from ganaug.errors import DataError, OutputError, RecipeError
from ganaug.matching import usual_side
from ganaug.ratios import share_out
from ganaug.recipe import Screening
from ganaug.screening import screen

__all__ = ["ExportSummary", "Link", "Writer", "bring_along", "built_beside", "check_goal", "export"]

Link = Literal["auto", "copy", "hard", "sym"]
"""How a real image gets there; "auto" makes a hard link, or a copy where the disk will not have links."""

LIST = "ganaug.csv"
_APART = {"dev", "test", "val", "valid", "validation"}  # folders beside `train` that are never added to
_OURS = {".jpg", ".npy", ".png", ".txt", ".xml"}  # endings of synthetic images and their labels
_OTHER_TASKS = "pairs go to --format masks, and scenes with boxes to yolo, coco or voc"
_CHUNK = 256  # synthetic images in memory at a time
_MOST = 1000.0  # synthetic images for each real one


@dataclass(frozen=True)
class ExportSummary:
    """What was written."""

    out: Path
    real: int
    """Real training images."""
    synthetic: int
    apart: dict[str, int] = field(default_factory=dict)
    """Files of validation and test folders, as they were, by folder."""
    unknown: tuple[str, ...] = ()
    """Classes that the bank does not know, so that only their real images are there."""
    short: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Classes of which too few synthetic images passed the screening: how many were wanted and written."""

    def __str__(self) -> str:
        """What was written, in one line."""
        apart = "".join(f"; {name}: {count} files as they were" for name, count in self.apart.items())
        unknown = f"; none for {', '.join(self.unknown)}, which the bank does not know" if self.unknown else ""
        told = ", ".join(f"{written} of {wanted} of {name}" for name, (wanted, written) in self.short.items())
        short = f"; too few passed the screening: {told}" if told else ""
        return f"wrote {self.real} real and {self.synthetic} synthetic images to {self.out}{apart}{unknown}{short}"


def export(
    bank: GeneratorBank,
    data: str | Path,
    out: str | Path,
    *,
    ratio: float = 0.5,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    screening: Screening | bool = False,
    enlarge: GeneratorBank | str | Path | None = None,
    device: str | torch.device = "auto",
    link: Link = "auto",
    exist_ok: bool = False,
) -> ExportSummary:
    """Write `data` with synthetic images beside the real ones, and `ganaug.csv`, which says which is which.

    Class folders keep their names, and those of a CSV file get safe ones. Where `data` has a `train` folder, so has
    `out`, and validation and test folders are brought along as they are, without a synthetic image. The list has the
    columns path, label and source ("real" or "synthetic"), of the training images only. Synthetic images have the
    bank's resolution, or with `enlarge` the first of its doubles that real images do not exceed, 8 times at the most.

    Args:
        bank: where synthetic images come from.
        data: a folder of class folders, with or without `train`, or a CSV file of path and label; it is not changed.
        out: the folder to make. A hard link shares its contents with the user's file: take "copy" to edit them.
        ratio: synthetic images of each class for each real one, 0 to 1000.
        classes: names of the classes to export; all by default.
        seed: of the samples.
        screening: write only samples that are fit to train on: True for the recipe's settings or the defaults, or
            settings of your own. A class of which too few are gets fewer, and the summary says so.
        enlarge: a bank that enlarges, or its file: synthetic images are enlarged by it, as `GanAugmented` has it.
        device: where the screening's judge is trained.
        link: how real images get there.
        exist_ok: write into `out` though it holds something; files of the same names are replaced, and synthetic
            images that an earlier export listed are removed.

    Raises:
        OutputError: `out` holds something, overlaps the data, or cannot be written.
        DataError: the data cannot be read, or the bank knows none of its classes.
        LeakError: the samples are screened, and some of the images were held back from the bank's fit.
        RecipeError: the ratio or the kind of link is not on offer.
    """
    bank.check_task("classify", "an export of class folders", _OTHER_TASKS)
    if not (math.isfinite(ratio) and 0 <= ratio <= _MOST):
        raise RecipeError(f"ratio is {ratio}; wanted synthetic images for each real one, 0 to {_MOST:.0f}")
    if link not in {"auto", "copy", "hard", "sym"}:
        raise RecipeError(f"link is {link!r}; choose from: auto, copy, hard, sym")
    files = list_images(data, classes=classes)
    source = bank if enlarge is None else enlarged_to(bank, enlarge, usual_side(DatasetView(files)))
    present = [files.classes[number] for number in sorted(set(files.targets))]
    unknown = tuple(name for name in present if name not in bank.class_names)
    if len(unknown) == len(present):
        raise DataError(f"the bank knows none of the classes of {data}; it knows {', '.join(bank.class_names[:12])}")
    goal = Path(out).expanduser().resolve()
    check_goal(goal, Path(data).expanduser().resolve(), files.paths, exist_ok)
    with built_beside(goal) as building:
        writer = Writer(building, link)
        part = files.root.name if files.root != Path(data).expanduser() else ""  # "train", where it has one
        real = _place_real(files, Path(part), writer)
        counts = _shares(bank, real, ratio)
        chosen = {name: np.arange(count) for name, count in counts.items()}
        if screening and any(counts.values()):
            settings = screening if isinstance(screening, Screening) else None
            screened = screen(bank, files, counts, settings=settings, seed=seed, device=device)
            chosen = {screened.names[index]: kept for index, kept in screened.kept.items()}
        synthetic = _draw(source, real, chosen, seed, writer)
        apart = bring_along(files.root.parent, writer) if part else {}
        writer.write_list()
    short = {name: (counts[name], len(kept)) for name, kept in chosen.items() if len(kept) < counts[name]}
    return ExportSummary(goal, len(files.paths), synthetic, apart, unknown, short)


# Where it may be written


def check_goal(goal: Path, data: Path, paths: Sequence[Path], exist_ok: bool) -> None:
    """Make sure, before any work, that `goal` neither holds nor lies in the data, and is free.

    Raises:
        OutputError: it is not.
    """
    folders = {path.parent.resolve() for path in paths} | {data}
    originals = {path.resolve().parent for path in paths}
    for place in folders | originals:
        if goal == place or goal in place.parents:
            raise OutputError(f"{goal} holds the data, which is never changed; choose another --out")
    if data.is_dir() and folders & set(goal.parents):
        raise OutputError(f"{goal} lies inside the data, where it would be read as data; choose another --out")
    if goal.exists() and not goal.is_dir():
        raise OutputError(f"{goal} is a file, and a folder is wanted; choose another --out")
    try:
        holds = goal.is_dir() and any(goal.iterdir())
    except OSError as error:
        raise OutputError(f"{goal} cannot be read ({error.strerror}); choose another --out") from error
    if holds and not exist_ok:
        raise OutputError(f"{goal} already holds something; choose another --out, or add --exist-ok")


@contextlib.contextmanager
def built_beside(goal: Path) -> Iterator[Path]:
    """A folder to build in, which becomes `goal`, or is moved into it where that is there, once all has gone well."""
    building = goal.with_name(f".{goal.name}.{os.getpid()}.part")
    try:
        building.mkdir(parents=True)
        yield building
        if goal.exists():
            _remove_earlier(goal)
            _move_into(building, goal)
        else:
            os.replace(building, goal)
    except OSError as error:
        raise OutputError(f"{goal} cannot be written ({error.strerror or error}); choose another --out") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _remove_earlier(goal: Path) -> None:
    """Take away what an earlier export listed as synthetic, with its labels: it would be taken for real."""
    listed = goal / LIST
    if not listed.is_file():
        return
    with listed.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        for path in (goal / (row.get("path") or ""), goal / (row.get("label") or "")):
            ours = row.get("source") == "synthetic" and path.name.startswith("ganaug-") and path.suffix in _OURS
            if ours and goal in path.resolve().parents and path.is_file():
                path.unlink()


def _move_into(building: Path, goal: Path) -> None:
    for path in sorted(building.rglob("*"), key=lambda path: path.name == LIST):  # the list last
        if path.is_dir():
            continue
        target = goal / path.relative_to(building)
        if not target.parent.resolve().is_relative_to(goal):  # a link that may lead to the user's own files
            raise OutputError(f"{target.parent} is a link that leads out of {goal}; remove it, or choose another --out")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)


# What is written


@dataclass
class Writer:
    """Puts images below `root` under names that nothing else has, and remembers what each is."""

    root: Path
    link: Link
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def real(self, source: Path, place: Path, *, copied: bool = False) -> Path:
        """Link or copy a file to `place` below the root; returns where it is. With `copied`, it is no link."""
        for number in itertools.count(2):
            if place.as_posix().casefold() not in self.taken:
                break
            place = place.with_name(f"{source.stem}-{number}{source.suffix}")
        self.taken.add(place.as_posix().casefold())
        target = self.root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        original = source.resolve()
        if not original.is_file():
            raise DataError(f"{source} is not a file that can be read; mend or remove it")
        self._bring(original, target, "copy" if copied else self.link)
        return place

    def _bring(self, original: Path, target: Path, link: Link) -> None:
        if link == "sym":
            target.symlink_to(original)
            return
        if link != "copy":
            try:
                os.link(original, target)
            except OSError as error:
                if link == "hard":
                    raise OutputError(f"{original} cannot be linked to ({error.strerror}); use link='copy'") from error
            else:
                return
        shutil.copy2(original, target)

    def prefix(self, folder: Path, seed: int) -> str:
        """The start of names for synthetic images that no file in `folder` has."""
        for number in itertools.count(1):
            name = f"ganaug-{seed}-" if number == 1 else f"ganaug-{seed}.{number}-"
            if not any(path.startswith((folder / name).as_posix().casefold()) for path in self.taken):
                return name
        raise AssertionError("unreachable")

    def synthetic(self, image: Tensor, place: Path) -> Path:
        """Write an image CHW uint8 as PNG, one of bands as NumPy has it, (H, W, bands); returns where it is."""
        pixels = image.permute(1, 2, 0).numpy()
        if pixels.shape[-1] not in {1, 3}:
            place = place.with_suffix(".npy")
            np.save(self.root / place, pixels)
        else:
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(self.root / place)
        return place

    def note(self, place: Path, label: str, source: str) -> None:
        """Remember an image for the list."""
        self.rows.append((place.as_posix(), label, source))

    def write_list(self) -> None:
        """Write the CSV."""
        with (self.root / LIST).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("path", "label", "source"), *self.rows])


def _place_real(files: ImageFiles, above: Path, writer: Writer) -> dict[str, tuple[Path, int]]:
    """Put the real images in place, below `above`; returns the folder and the number of images of each class."""
    found: dict[str, tuple[Path, int]] = {}
    table = files.root.is_file()
    for path, target in zip(files.paths, files.targets, strict=True):
        name = files.classes[target]
        folder = above / (safe_stem(name) if table else name)
        inside = Path(path.name) if table else path.relative_to(files.root / name)
        writer.note(writer.real(path, folder / inside), name, "real")
        found[name] = (folder, found.get(name, (folder, 0))[1] + 1)
    return found


def _shares(bank: GeneratorBank, real: dict[str, tuple[Path, int]], ratio: float) -> dict[str, int]:
    """Synthetic images of every class that the bank knows."""
    known = {name: count for name, (_, count) in real.items() if name in bank.class_names}
    sizes = np.array(list(known.values()))
    counts: list[int] = share_out(round(ratio * int(sizes.sum())), sizes).tolist()
    return dict(zip(known, counts, strict=True))


def _draw(
    bank: GeneratorBank,
    real: dict[str, tuple[Path, int]],
    chosen: dict[str, npt.NDArray[np.int64]],
    seed: int,
    writer: Writer,
) -> int:
    """Draw and write the chosen samples of every class; returns how many."""
    for name, indices in chosen.items():
        folder, _ = real[name]
        prefix = writer.prefix(folder, seed)
        for start in range(0, len(indices), _CHUNK):
            some = indices[start : start + _CHUNK].tolist()
            images = bank.sample_at(bank.class_index(name), some, seed=seed)
            for index, image in zip(some, images, strict=True):
                place = folder / f"{prefix}{index:06d}.png"
                writer.synthetic(image, place)
                writer.note(place, name, "synthetic")
    return sum(map(len, chosen.values()))


def bring_along(data: Path, writer: Writer) -> dict[str, int]:
    """Bring validation and test folders as they are; returns their numbers of files."""
    counts = {}
    for folder in sorted(data.iterdir()):
        if folder.name.lower() in _APART and folder.is_dir():
            files = list(_files_below(folder, ()))
            for path in files:
                writer.real(path, Path(folder.name) / path.relative_to(folder))
            counts[folder.name] = len(files)
    return counts


def _files_below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link that loops
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from _files_below(entry, (*above, real))
        elif entry.is_file():
            yield entry
