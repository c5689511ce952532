"""What the files beside a bank tell of it: the comparison, the screening, the measures, and how the training went.

    pets.ganaug    pets.run/comparison.json  screening.json  measure.json  exploration.json  log-*.csv

A result of another bank (one that was fitted before, under the same name) is told apart and left out.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ganaug.bank import GeneratorBank
from ganaug.errors import DataError
from ganaug.evidence.explored import Explored

__all__ = ["Compared", "Contrast", "Findings", "Measured", "ScreenedAway", "Trained", "find"]

_RESULTS = {"compare": "comparison", "screen": "screening", "measure": "measure", "explore": "exploration"}

Number = float | None


class _Told(BaseModel):
    """Part of a result; what is not known here is passed over, so that a later ganaug may say more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Sides(_Told):
    """A measure of synthetic images, and the same of real ones against other real ones."""

    synthetic: Number = None
    reference: Number = None


class Copying(_Told):
    """How near samples are to the training images, beside how near new real images are."""

    share: Number = None
    c_t: Number = None
    nearest_ratio: Number = None
    copies: int | None = None
    images: int | None = None


class Copies(_Told):
    """Whether the bank only repeats its training images."""

    words: str = ""
    per_class: dict[str, Copying] = {}


class Measured(_Told):
    """Of `measure.json`."""

    made_by: ClassVar[str] = "measure"
    summary: list[str] = []
    features: str = ""
    pooled: dict[str, Sides] = {}
    per_class: dict[str, dict[str, Sides]] = {}
    copies: Copies | None = None


class ScreenedAway(_Told):
    """Of `screening.json`."""

    made_by: ClassVar[str] = "screen"
    summary: str = ""
    seed: int = 0
    settings: dict[str, Any] = {}
    per_class: dict[str, dict[str, int]] = {}
    examples: dict[str, dict[str, list[int]]] = {}
    shown: dict[str, dict[str, Number]] | None = None
    """Of pairs: by class of their maps the Dice with what is seen, "real", "kept" and "dropped"."""


class Tried(_Told):
    """An arm on the images for choosing: a classical augmentation alone, or with synthetic images."""

    name: str
    augment: str = ""
    ratio: float = 0.0
    choosing: list[Number] = []
    mean: Number = None
    difference: Number = None
    p: Number = None
    p_holm: Number = None
    dropped_after: int | None = None


class Met(_Told):
    """An arm on the images that the answer is given for; scores by split and seed."""

    name: str = ""
    role: str = ""
    accuracies: list[list[float]] = []
    mean: Number = None


class Contrast(_Told):
    """A difference between two of them, with its 95 % interval."""

    name: str
    mean: Number = None
    low: Number = None
    high: Number = None
    p: Number = None
    p_holm: Number = None


class ClassChange(_Told):
    """The score of a class with and without synthetic images."""

    name: str
    real_only: Number = None
    with_synthetic: Number = None
    difference: Number = None
    low: Number = None
    high: Number = None


class Further(_Told):
    """A further measure of an arm, and what the chosen arm gains over it."""

    name: str
    role: str = ""
    mean: Number = None
    difference: Number = None


class Compared(_Told):
    """Of `comparison.json`."""

    made_by: ClassVar[str] = "compare"
    summary: str = ""
    scored_on: str = ""
    subject: str = "bank"
    images: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    baselines: list[Tried] = []
    sweep: list[Tried] = []
    chosen: dict[str, Any] = {}
    final: list[Met] = []
    contrasts: list[Contrast] = []
    also: list[Further] = []
    per_class: list[ClassChange] = []
    harmed: list[str] = []
    notes: list[str] = []
    command: str = ""

    def paired(self, contrast: Contrast) -> list[float]:
        """The difference of each split and seed; none where the two arms of `contrast` were not all run."""
        ours, _, theirs = contrast.name.partition(" - ")
        arms = {arm.role: [value for split in arm.accuracies for value in split] for arm in self.final}
        first, second = arms.get(ours.strip(), []), arms.get(theirs.strip(), [])
        if len(first) != len(second):
            return []
        return [value - other for value, other in zip(first, second, strict=True)]


@dataclass(frozen=True)
class Trained:
    """The log of one network pair: a list of numbers for each column, NaN where a row has none."""

    name: str
    columns: dict[str, list[float]]

    @property
    def kept(self) -> float | None:
        """After how many kimg the kept generator was."""
        kimg, scores = self.columns.get("kimg", []), self.columns.get("score", [])
        seen = [(score, at) for score, at in zip(scores, kimg, strict=False) if math.isfinite(score)]
        return max(seen, key=lambda pair: pair[0])[1] if seen else None


@dataclass(frozen=True)
class Findings:
    """All that is there; None or empty is what has not been measured."""

    comparison: Compared | None = None
    screening: ScreenedAway | None = None
    measures: Measured | None = None
    exploration: Explored | None = None
    training: tuple[Trained, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict)
    """The results as their files say them, by command."""
    notes: tuple[str, ...] = ()
    """What was left out, and why."""


def find(bank: GeneratorBank, folder: Path) -> Findings:
    """Read what `folder`, the run folder of `bank`, holds; it need not be there.

    Raises:
        DataError: a result is damaged.
    """
    raw: dict[str, Any] = {}
    notes = []
    for command, name in _RESULTS.items():
        values = _read(folder / f"{name}.json", command)
        if values is None:
            continue
        if _is_of(values, bank, command):
            raw[command] = values
        else:
            notes.append(f"{name}.json is of another bank that was here before; ganaug {command} measures this one")
    return Findings(
        comparison=_told(Compared, raw, folder / "comparison.json"),
        screening=_told(ScreenedAway, raw, folder / "screening.json"),
        measures=_told(Measured, raw, folder / "measure.json"),
        exploration=_told(Explored, raw, folder / "exploration.json"),
        training=tuple(_log(path) for path in sorted(folder.glob("log-*.csv"), key=_in_order)),
        raw=raw,
        notes=tuple(notes),
    )


def _read(path: Path, command: str) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it, or run ganaug {command} again") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no mapping; remove it, or run ganaug {command} again")
    return values


def _is_of(values: dict[str, Any], bank: GeneratorBank, command: str) -> bool:
    """Whether a result is of this bank, as far as it says so; a comparison's verdict is in the bank too."""
    if values.get("bank", bank.fingerprint) != bank.fingerprint:
        return False
    if command != "compare":
        return True
    said, kept = values.get("verdict"), bank.verdict
    if kept is None or not isinstance(said, dict):
        return False
    return all(said.get(name) == getattr(kept, name) for name in ("gain", "low", "high"))


_Result = TypeVar("_Result", Compared, ScreenedAway, Measured, Explored)


def _told(kind: type[_Result], raw: dict[str, Any], path: Path) -> _Result | None:
    if kind.made_by not in raw:
        return None
    try:
        return kind.model_validate(raw[kind.made_by])
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(
            f"{path} is wrong at {where} ({problem['msg']}); remove it, or run ganaug {kind.made_by} again"
        ) from None


def _log(path: Path) -> Trained:
    """A log as the run folder keeps it; what is no number there is none here."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it") from error
    names: Sequence[str] = list(rows[0]) if rows else []
    return Trained(
        name=path.stem.removeprefix("log-"),
        columns={name: [_number(row[name]) for row in rows] for name in names if isinstance(name, str)},
    )


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def _in_order(path: Path) -> tuple[int, str]:
    """class-2 before class-10."""
    return len(path.stem), path.stem
