"""The outcome of a screening: which samples of each class are kept, how many were dropped and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from ganaug.bank import GeneratorBank
from ganaug.data import safe_stem
from ganaug.output import check_folder, make_folder
from ganaug.pictures import as_picture, save_picture
from ganaug.recipe import Screening
from ganaug.screening.limits import REASONS

__all__ = ["Screened", "Shown", "Tally", "write_kept"]

_CHUNK = 256  # images in memory at a time
_SHOWN = 8  # classes named in a sentence


@dataclass(frozen=True)
class Tally:
    """How a class fared."""

    asked: int
    drawn: int
    kept: int
    doubted: int = 0
    far: int = 0
    copy: int = 0
    redundant: int = 0


@dataclass(frozen=True)
class Shown:
    """Dice of a class's pixels in maps and of what segmenters see in their images; None where there is no such pixel.

    Segmenters see real images, and pairs that are like them, without having been trained on them.
    """

    real: float | None
    kept: float | None
    dropped: float | None


@dataclass(frozen=True, eq=False)
class Screened:
    """Samples of a bank that are fit to train on. Sample i of a class is `bank.sample_at(class_index, [i], seed=seed)`.

    All mappings are by a class's place in `bank.class_names`; pairs of image and mask are all of one, 0, "images".
    """

    bank: str
    """The bank's fingerprint."""
    seed: int
    """Of the samples."""
    settings: Screening
    names: dict[int, str]
    """The classes that were screened."""
    judged: tuple[str, ...]
    """The classes that the judge tells apart, those of the data; the columns of `soft`."""
    kept: dict[int, npt.NDArray[np.int64]]
    """Indices of samples in rising order, as many as were asked for or fewer."""
    soft: dict[int, npt.NDArray[np.float32]]
    """(n, len(judged)): the judge's probabilities for each sample in `kept`."""
    tallies: dict[int, Tally]
    examples: dict[int, dict[str, list[int]]]
    """Up to 8 indices of dropped samples, by class and reason."""
    accuracy: float
    """Of the judge on the real images, out of fold; with pairs, the mean Dice of their maps and what it sees."""
    temperature: float
    """Of the judge."""
    shown: dict[str, Shown] | None = None
    """With pairs, by the name of a class in their maps; none with classes of images."""

    @property
    def short(self) -> dict[str, tuple[int, int]]:
        """Classes that could not be filled, by name: how many samples were asked for and kept."""
        return {
            self.names[index]: (tally.asked, tally.kept)
            for index, tally in self.tallies.items()
            if tally.kept < tally.asked
        }

    @property
    def shortage(self) -> str | None:
        """One line that says which classes could not be filled; none where all were."""
        if not self.short:
            return None
        told = [f"{kept} of {asked} of {name!r}" for name, (asked, kept) in list(self.short.items())[:_SHOWN]]
        more = ", ..." if len(self.short) > _SHOWN else ""
        return (
            f"too few synthetic samples passed the screening: {', '.join(told)}{more} (up to {self.settings.draw:g} "
            "were drawn for each one wanted); raise screening.draw, or fit the bank for longer"
        )

    @property
    def summary(self) -> str:
        """The outcome in a sentence or two."""
        drawn, kept = (sum(getattr(tally, what) for tally in self.tallies.values()) for what in ("drawn", "kept"))
        dropped = {reason: sum(getattr(tally, reason) for tally in self.tallies.values()) for reason in REASONS}
        told = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count) or "none"
        what = "samples" if self.shown is None else "pairs"
        sentence = f"kept {kept} of {drawn} synthetic {what}; dropped: {told}"
        return sentence if self.shortage is None else f"{sentence}. {self.shortage[0].upper()}{self.shortage[1:]}"

    def table(self) -> Table:
        """Counts of each class, for a terminal."""
        columns = [*Tally.__dataclass_fields__]
        title, caption = f"judge right on {self.accuracy:.1%} of real images that it was not trained on", None
        if self.shown is not None:
            columns = [column for column in columns if column not in ("far", "redundant")]
            title = f"judge finds real maps that it was not trained on with a Dice of {self.accuracy:.1%}"
            caption = "Dice of images with their maps, real, kept, dropped:" + "".join(
                f"\n{name}: {', '.join('-' if value is None else f'{value:.1%}' for value in astuple(dice))}"
                for name, dice in self.shown.items()
            )
        table = Table(title=title, caption=caption)
        table.add_column("class")
        for column in columns:
            table.add_column(column, justify="right")
        for index, tally in self.tallies.items():
            table.add_row(self.names[index], *(str(getattr(tally, column)) for column in columns))
        return table

    def to_dict(self) -> dict[str, Any]:
        """Everything but the soft labels, as JSON takes it; by class name."""
        return {
            "summary": self.summary,
            "bank": self.bank,
            "seed": self.seed,
            "settings": self.settings.model_dump(mode="json"),
            "judge": {"accuracy": self.accuracy, "temperature": self.temperature, "classes": list(self.judged)},
            "per_class": {self.names[index]: asdict(tally) for index, tally in self.tallies.items()},
            "short": {name: list(counts) for name, counts in self.short.items()},
            "examples": {self.names[index]: found for index, found in self.examples.items()},
            **({} if self.shown is None else {"shown": {name: asdict(dice) for name, dice in self.shown.items()}}),
        }


def write_kept(bank: GeneratorBank, screened: Screened, out: str | Path, *, exist_ok: bool = False) -> dict[str, int]:
    """Write the samples that are kept as `OUT/class/<index>.png`; returns how many, by class.

    Raises:
        OutputError: `out` holds something and `exist_ok` is not given, or cannot be written to.
    """
    check_folder(Path(out), exist_ok=exist_ok)
    goal = make_folder(Path(out))
    for index, indices in screened.kept.items():
        folder = make_folder(goal / safe_stem(screened.names[index]))
        for start in range(0, len(indices), _CHUNK):
            chosen = indices[start : start + _CHUNK].tolist()
            images = bank.sample_at(index, chosen, seed=screened.seed)
            for number, image in zip(chosen, images, strict=True):
                save_picture(as_picture(image), folder / f"{number:06d}.png")
    return {screened.names[index]: len(indices) for index, indices in screened.kept.items()}


def as_values(screened: Screened) -> dict[str, Any]:
    """All but `kept` and `soft`, as JSON takes it; see `from_values`."""
    return {
        "bank": screened.bank,
        "seed": screened.seed,
        "settings": screened.settings.model_dump(mode="json"),
        "names": {str(index): name for index, name in screened.names.items()},
        "judged": list(screened.judged),
        "tallies": {str(index): asdict(tally) for index, tally in screened.tallies.items()},
        "examples": {str(index): found for index, found in screened.examples.items()},
        "accuracy": screened.accuracy,
        "temperature": screened.temperature,
        "shown": None if screened.shown is None else {name: asdict(dice) for name, dice in screened.shown.items()},
    }


def from_values(
    values: Mapping[str, Any], kept: dict[int, npt.NDArray[np.int64]], soft: dict[int, npt.NDArray[np.float32]]
) -> Screened:
    """The screening that `as_values` was given."""
    return Screened(
        bank=values["bank"],
        seed=values["seed"],
        settings=Screening.model_validate(values["settings"]),
        names={int(index): name for index, name in values["names"].items()},
        judged=tuple(values["judged"]),
        kept=kept,
        soft=soft,
        tallies={int(index): Tally(**tally) for index, tally in values["tallies"].items()},
        examples={int(index): found for index, found in values["examples"].items()},
        accuracy=values["accuracy"],
        temperature=values["temperature"],
        shown=None if values["shown"] is None else {name: Shown(**dice) for name, dice in values["shown"].items()},
    )
