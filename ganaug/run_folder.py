"""The folder of one fit: the resolved recipe, sample grids, a metrics log, curves, and the checkpoints."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ganaug.data import LabelledImages
from ganaug.data.masks import MaskedImages
from ganaug.data.objects import ObjectImages
from ganaug.errors import DataError, OutputError
from ganaug.gan.monitor import Event, Snapshot
from ganaug.output import MARK, check_folder, make_folder, write_text
from ganaug.pictures import draw_curves, draw_grid, save_picture
from ganaug.recipe import Recipe, load_recipe

__all__ = ["RunFolder", "check_results", "keep_result"]

_OURS = (
    "checkpoint-*.safetensors", "comparison.json", "curves-*.png", "exploration.json", "images.json", "log-*.csv",
    "measure.json", "recipe.yaml", "report.html", "report.json", "samples-*.png", "screening.json", "unlabelled.csv",
)  # fmt: skip
_GUESSES = "unlabelled.csv"
_CURVES_EVERY = 20.0  # seconds; a drawing takes one, and snapshots may follow each other faster
_MOST_ROWS = 100  # classes in a grid


class RunFolder:
    """Everything of a fit but its bank; a person looks here to see what happened. Nothing is written before `start`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._drawn = time.monotonic()
        self._complained = False

    def start(self, recipe: Recipe, data: LabelledImages, unlabelled: LabelledImages | None = None) -> None:
        """Make the folder for a fit from its beginning: what an earlier one left is taken away.

        Raises:
            OutputError: it cannot be written to.
        """
        make_folder(self.path)
        self._remove()
        write_text(self.path / "images.json", json.dumps(_told(data, unlabelled), indent=2, ensure_ascii=False))
        write_text(self.path / "recipe.yaml", recipe.to_yaml())

    def go_on(self) -> None:
        """Take away the half-written files of a fit that was killed."""
        self._remove(halves=True)

    def discard(self) -> None:
        """Take the folder away where a fit ended before its first checkpoint: there is nothing to look at."""
        if not self.can_go_on() and self.path.is_dir():
            self._remove()
            if [entry.name for entry in self.path.iterdir()] == [MARK]:
                (self.path / MARK).unlink()
                self.path.rmdir()

    def can_go_on(self) -> bool:
        """Whether a fit left a checkpoint here."""
        return any(self.path.glob("checkpoint-*.safetensors"))

    def recipe(self) -> Recipe:
        """The recipe, as resolved, of the fit that was started here."""
        return load_recipe(self.path / "recipe.yaml")

    def check_images(self, data: LabelledImages, unlabelled: LabelledImages | None = None) -> None:
        """Make sure that these are the images and the classes of the fit that was started here.

        Raises:
            DataError: they are not, and the generators would learn other classes than they have learned so far.
        """
        try:
            before = json.loads((self.path / "images.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path / 'images.json'} cannot be read ({error}); choose another --out") from error
        if before != _told(data, unlabelled):
            raise DataError(
                f"the fit in {self.path} was started on other images or classes; give the same --data, --classes and "
                "--unlabelled, or choose another --out"
            )

    def keep_guesses(self, unlabelled: LabelledImages, labels: Sequence[int], confidence: Sequence[float]) -> None:
        """Write which class each unlabelled image has joined: what a fit that goes on must not guess anew."""
        text = io.StringIO(newline="")
        rows = zip(unlabelled.fingerprints, labels, map("{:.4f}".format, confidence), strict=True)
        csv.writer(text).writerows([("fingerprint", "class", "confidence"), *rows])
        write_text(self.path / _GUESSES, text.getvalue())

    def guesses(self) -> list[int]:
        """The class numbers that `keep_guesses` was given.

        Raises:
            DataError: they cannot be read.
        """
        try:
            with (self.path / _GUESSES).open(encoding="utf-8", newline="") as stream:
                return [int(row["class"]) for row in csv.DictReader(stream)]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.path / _GUESSES} cannot be read ({error}); choose another --out") from error

    def checkpoint(self, name: str) -> Path:
        """Where the checkpoint of the network pair `name` lies."""
        return self.path / f"checkpoint-{name}.safetensors"

    def record(
        self,
        name: str,
        history: Sequence[Snapshot],
        synthetic: Mapping[str, Tensor],
        real: Mapping[str, Tensor],
        events: Sequence[Event] = (),
    ) -> None:
        """Write the grid of the last snapshot and the log of all; both mappings are class to NCHW uint8.

        What cannot be written, here and in `draw`, is warned of once and left out: no picture is worth a night's fit.
        """
        last, rows = history[-1], list(real)[:_MOST_ROWS]
        panels = [
            ("real", {row: real[row] for row in rows}),
            (f"synthetic, {last.kimg:.1f} kimg", {row: synthetic[row] for row in rows}),
        ]
        with self._left_out():
            save_picture(draw_grid(panels), self.path / f"samples-{name}-{last.step:06d}.png")
        with self._left_out():
            write_text(self.path / f"log-{name}.csv", _log(history, events))
        if time.monotonic() - self._drawn > _CURVES_EVERY:
            self.draw(name, history, events)

    def draw(self, name: str, history: Sequence[Snapshot], events: Sequence[Event] = ()) -> None:
        """Write the log and draw the curves of all that was measured, with what went wrong marked on them."""
        with self._left_out():  # an event may have followed the last snapshot
            write_text(self.path / f"log-{name}.csv", _log(history, events))
        self._drawn = time.monotonic()
        best = max(history, key=lambda snapshot: snapshot.score)
        curves = {"score (the best is kept)": ([s.kimg for s in history], [s.score for s in history])}
        for measure in _measures(history):
            seen = [s for s in history if measure in s.measures]
            curves[measure.replace("_", " ")] = ([s.kimg for s in seen], [s.measures[measure] for s in seen])
        marked = [(event.kimg, event.kind) for event in events]
        picture = draw_curves(curves, horizontal="kimg", mark=best.kimg, events=marked)
        with self._left_out():
            save_picture(picture, self.path / f"curves-{name}.png")

    @contextlib.contextmanager
    def _left_out(self) -> Iterator[None]:
        try:
            yield
        except OutputError as error:
            if not self._complained:
                warnings.warn(f"{str(error).partition(';')[0]}; training goes on without it", stacklevel=4)
            self._complained = True

    def _remove(self, *, halves: bool = False) -> None:
        """Take away what a fit left here, or only what it left half-written."""
        patterns = [f".{pattern}.*.part" for pattern in _OURS] + [f"{_OURS[0]}.part"]
        try:
            for pattern in patterns if halves else (*_OURS, *patterns):
                for path in self.path.glob(pattern):
                    path.unlink()
        except OSError as error:
            raise OutputError(f"{path} cannot be replaced ({error.strerror}); choose another --out") from error


def check_results(bank: Path) -> None:
    """Make sure, before any work, that a result can be kept beside the file of a bank; nothing is made.

    Raises:
        OutputError: the run folder cannot be written to, or holds something that ganaug did not write.
    """
    folder = bank.with_suffix(".run")
    check_folder(folder, exist_ok=True)
    ours = (MARK, "recipe.yaml")
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).is_file() for name in ours):
        raise OutputError(f"{folder} is where results go, and it holds something else; move it, or rename the bank")


def keep_result(bank: Path, name: str, values: Mapping[str, Any]) -> Path:
    """Write a command's figures as JSON into the run folder beside the file of a bank, for `ganaug report`.

    Raises:
        OutputError: it cannot be written.
    """
    path = make_folder(bank.with_suffix(".run")) / name
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False))
    return path


def _told(data: LabelledImages, unlabelled: LabelledImages | None) -> dict[str, Any]:
    """What tells one set of images from another."""
    told = {"classes": dict(zip(data.class_names, data.counts(), strict=True)), "digest": _digest(data)}
    return told if unlabelled is None else {**told, "unlabelled": _digest(unlabelled)}


def _digest(data: LabelledImages) -> str:
    digest = hashlib.sha256(json.dumps([data.fingerprints, data.labels.tolist()]).encode())
    if isinstance(data, MaskedImages):
        digest.update(data.maps.numpy().tobytes())
    if isinstance(data, ObjectImages):
        digest.update(data.images.numpy().tobytes())
    return digest.hexdigest()[:32]


def _log(history: Sequence[Snapshot], events: Sequence[Event]) -> str:
    """A CSV of a row for each snapshot; what happened since the one before is in the column `events`, if anything did.

    What happened after the last snapshot is in its row.
    """
    text, last = io.StringIO(newline=""), 0
    names = ["step", "kimg", "seconds", "score", *_measures(history)]
    writer = csv.DictWriter(text, [*names, "events"] if events else names, restval="", extrasaction="ignore")
    writer.writeheader()
    for snapshot in history:
        until = math.inf if snapshot is history[-1] else snapshot.step
        row: dict[str, Any] = {"step": snapshot.step, "kimg": snapshot.kimg, "seconds": round(snapshot.seconds, 2)}
        row |= {"score": snapshot.score, **snapshot.measures}
        row["events"] = "; ".join(event.told for event in events if last < event.step <= until)
        writer.writerow(row)
        last = snapshot.step
    return text.getvalue()


def _measures(history: Sequence[Snapshot]) -> list[str]:
    return list(dict.fromkeys(name for snapshot in history for name in snapshot.measures))
