"""What a comparison found: as numbers, as a table, as a sentence, and as the verdict that a bank keeps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from ganaug.bank import GeneratorBank, Verdict
from ganaug.evidence.arms import Arm
from ganaug.evidence.material import reaching
from ganaug.evidence.statistics import Interval
from ganaug.ratios import MAX_RATIO

__all__ = ["ROLES", "ClassChange", "Comparison", "Contrast", "Further", "Met", "Tried"]

ROLES = {
    "real only": "real images alone",
    "with synthetic": "real and synthetic",
    "duplicated": "control: real repeated",
    "shuffled": "control: labels shuffled",
    "pasted": "control: real objects pasted",
}
_TREATMENTS = ("augment", "ratio", "annealed", "screened", "soft", "balanced", "reach")


@dataclass(frozen=True)
class Tried:
    """An arm on the images for choosing."""

    arm: Arm
    choosing: tuple[float, ...]
    """Score in each round (a split with a seed) that it took part in; none where there was nothing to choose."""
    difference: float | None = None
    """Mean over those rounds, less that of real images alone in the same."""
    p: float | None = None
    """None after a single round, which tells nothing of how others would differ."""
    p_holm: float | None = None
    """Adjusted for as many arms as there are in the sweep."""
    dropped_after: int | None = None
    """The round after which it was dropped; none for those that took part in all."""

    @property
    def mean(self) -> float:
        """Mean score; NaN where there was nothing to choose."""
        return sum(self.choosing) / len(self.choosing) if self.choosing else math.nan


@dataclass(frozen=True)
class Met:
    """An arm on the images that the answer is given for."""

    arm: Arm
    role: Literal["real only", "with synthetic", "duplicated", "shuffled", "pasted"]
    accuracies: tuple[tuple[float, ...], ...]
    """Of each seed, for each split."""
    also: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    """The same of further measures, by name."""

    @property
    def mean(self) -> float:
        """Mean over splits, and over the seeds of each."""
        return _mean(self.accuracies)


@dataclass(frozen=True)
class Further:
    """A further measure of an arm, which decides nothing."""

    name: str
    role: str
    """The arm's."""
    mean: float
    """Over splits, and over the seeds of each."""
    difference: float | None
    """The chosen arm's mean less this one; none for itself, and where its trainings do not tell."""


@dataclass(frozen=True)
class Contrast:
    """One arm less another on the images that the answer is given for, paired by split, seed and image."""

    name: str
    mean: float
    low: float
    high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class ClassChange:
    """What synthetic images did to one class; NaN where no image of it was scored."""

    name: str
    real_only: float
    with_synthetic: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Real images alone against real and synthetic ones, paired by split and seed."""

    class_names: tuple[str, ...]
    baselines: tuple[Tried, ...]
    """Real images alone with each classical augmentation."""
    sweep: tuple[Tried, ...]
    """Synthetic images too, with the strongest of those augmentations; the best of these with other changes too."""
    chosen: Arm
    """The best of the sweep on the images for choosing, or the only one."""
    won: bool
    """Whether it did better there than real images alone; true where there was nothing to choose."""
    final: tuple[Met, ...]
    """Real images alone, the chosen arm, and the controls."""
    contrasts: tuple[Contrast, ...]
    """The chosen arm less real images alone, and less each control."""
    changes: tuple[ClassChange, ...]
    """Class by class, the chosen arm against real images alone."""
    real_equivalent: float | None
    """About so many more real images would have brought the same gain; none where that cannot be told."""
    subject: Literal["bank", "recipe"]
    """What the verdict is of: the bank as it is, or its recipe, refitted without the images that were scored."""
    scored_on: str
    """Which images the answer is for, as "test" or "held back"."""
    images: dict[str, int]
    """How many were for training, choosing and scoring, in the first split."""
    settings: dict[str, Any]
    """What it was measured with."""
    class_sizes: tuple[int, ...] = ()
    """Training images of each class, in the first split."""
    notes: tuple[str, ...] = field(default=())
    """What a reader should know besides."""
    command: str = ""
    """What asks the same again."""

    @property
    def real_only(self) -> Met:
        """Real images alone on the images that the answer is for."""
        return self.final[0]

    @property
    def with_synthetic(self) -> Met:
        """The chosen arm on the images that the answer is for."""
        return self.final[1]

    @property
    def ratio(self) -> float:
        """The chosen ratio."""
        return self.chosen.ratio

    @property
    def difference(self) -> Interval:
        """Score with synthetic images less that without."""
        found = self.contrasts[0]
        return Interval(found.mean, found.low, found.high)

    @property
    def per_class(self) -> tuple[float, ...]:
        """The same for each class; NaN where no image of it was scored."""
        return tuple(change.difference for change in self.changes)

    @property
    def harmed(self) -> tuple[str, ...]:
        """Classes that do worse, with all of the interval below zero."""
        return tuple(change.name for change in self.changes if change.high < 0)

    @property
    def helps(self) -> bool:
        """Whether the interval of the gain lies above zero, and the images for choosing had said the same."""
        return self.won and self.difference.low > 0

    @property
    def also(self) -> tuple[Further, ...]:
        """Further measures, each of all arms that tell it."""
        names = dict.fromkeys(name for met in self.final for name in met.also)
        ours = {name: _mean(found) for name, found in self.with_synthetic.also.items()}
        found = []
        for name, met in itertools.product(names, self.final):
            if name in met.also:
                mean = _mean(met.also[name])
                less = name in ours and met is not self.with_synthetic
                found.append(Further(name, met.role, mean, ours[name] - mean if less else None))
        return tuple(found)

    @property
    def verdict(self) -> Verdict:
        """What `ratio="auto"` obeys: the chosen ratio and treatment where they help, else ratio 0."""
        measured = {
            "tried": self.chosen.name,
            "won_on_choosing": self.won,
            "scored_on": self.scored_on,
            "images": self.images,
            "classes": list(self.class_names),
            "harmed": list(self.harmed),
            **{met.role.replace(" ", "_"): [list(seeds) for seeds in met.accuracies] for met in self.final},
            **self.settings,
        }
        return Verdict(
            ratio=self._ratio_to_use() if self.helps else 0.0,
            annealed=self.helps and self.chosen.annealed,
            screened=self.helps and self.chosen.screened,
            soft=self.helps and self.chosen.soft,
            reach=self.chosen.reach if self.helps else None,
            augment=(self.chosen if self.helps else self.real_only.arm).augment,
            gain=self.difference.mean,
            low=self.difference.low,
            high=self.difference.high,
            real_only=self.real_only.mean,
            with_synthetic=self.with_synthetic.mean,
            real_equivalent=self.real_equivalent,
            subject=self.subject,
            measured=measured,
        )

    def _ratio_to_use(self) -> float | dict[str, float]:
        """The ratio, one a class where the rarest come first."""
        if not self.chosen.balanced:
            return self.ratio
        sizes = self.class_sizes
        added = self.chosen.added(sizes)
        found = {n: min(MAX_RATIO, more / size) for n, more, size in zip(self.class_names, added, sizes, strict=True)}
        return {name: round(ratio, 4) for name, ratio in found.items()}

    def apply_to(self, bank: GeneratorBank) -> GeneratorBank:
        """The bank with this verdict, and variations that go as far as helps; save it to keep it."""
        return reaching(bank, self.chosen.reach if self.helps else None).with_verdict(self.verdict)

    @property
    def summary(self) -> str:
        """The answer in one sentence."""
        splits, seeds = self.settings["splits"], self.settings["seeds"]
        of_splits = f"{splits} splits x " if splits > 1 else ""
        alone = self.real_only.arm
        with_another = f" ({alone.name})" if alone.augment != self.chosen.augment else ""
        change = (
            f"{self.metric} {_percent(self.real_only.mean)} on real images alone{with_another}, "
            f"{_percent(self.with_synthetic.mean)} with synthetic ones ({self.chosen.name}): "
            f"{_points(self.difference.mean)} points (95 % interval "
            f"{_interval(self.difference)}, {of_splits}{seeds} seeds, {self.scored} images {_place(self.scored_on)})"
        )
        of = "This bank" if self.subject == "bank" else "This recipe"
        if self.helps:
            worth = self.real_equivalent
            as_many = f"; as much as about {worth:.0f} more real images would bring" if worth else ""
            harm = f"; worse for {', '.join(self.harmed)}" if self.harmed else ""
            rival = next((c for c in self.contrasts if c.name.endswith("duplicated")), None)
            as_well = "" if rival is None or rival.low > 0 else "; repeating real images was not shown to do less"
            return f"{of} helps: {change}{as_many}{harm}{as_well}."
        verb = "harms" if self.difference.high < 0 else "is not shown to help"
        lost = (
            "" if self.won or self.difference.low <= 0 else "; but real images alone did as well when arms were chosen"
        )
        return f'{of} {verb}: {change}{lost}; ratio="auto" will mix in nothing.'

    @property
    def metric(self) -> str:
        """What a score is: accuracy, balanced accuracy (every class counts the same), Dice, or a trainer's own."""
        return str(self.settings.get("metric", "accuracy"))

    @property
    def scored(self) -> int:
        """How many images the answer is for, in each split."""
        return self.images["scoring"]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """For each arm that met the images of the answer: what it is, its score, and what the chosen one gains."""
        gains = {"with synthetic": "", **{c.name.removeprefix("with synthetic - "): c for c in self.contrasts}}
        found = []
        for met in self.final:
            gain = gains[met.role]
            told = (_points(gain.mean), _interval(gain)) if isinstance(gain, Contrast) else ("", "")
            found.append((ROLES[met.role], _percent(met.mean), *told))
        return found

    def table(self) -> Table:
        """What was chosen from, the answer, and the difference of each class, to print."""
        splits = f"{self.settings['splits']} splits x " if self.settings["splits"] > 1 else ""
        count = f"{self.scored} images {_place(self.scored_on)}, mean of {splits}{self.settings['seeds']} seeds"
        table = Table(
            title=f"{self.chosen.name}: {self.metric} on {count}",
            title_justify="left",
            caption="; ".join(self.notes) or None,
        )
        table.add_column("trained on")
        for heading in (self.metric, "synthetic gains", "95 % interval"):
            table.add_column(heading, justify="right")
        for name, accuracy, gain, interval in self.rows():
            table.add_row(Text(name), accuracy, gain, interval)
        for name, measures in itertools.groupby(self.also, key=lambda one: one.name):
            table.add_section()
            table.add_row(Text(f"also {name}"), "", "", "")
            for one in measures:
                gain = "" if one.difference is None else _points(one.difference)
                table.add_row(Text(f"  {ROLES[one.role]}"), _percent(one.mean), gain, "")
        table.add_section()
        for change in self.changes:
            table.add_row(
                Text(f"  {change.name}"), _percent(change.with_synthetic), _points(change.difference), _interval(change)
            )
        tried = [one for one in (*self.baselines, *self.sweep) if one.choosing]
        if tried:
            table.add_section()
            table.add_row("on the images for choosing", "", "", "")
        for arm in tried:
            rounds = "" if arm.dropped_after is None else f"dropped after {arm.dropped_after}"
            gain = "" if arm.difference is None else _points(arm.difference)
            table.add_row(Text(f"  {arm.arm.name}"), _percent(arm.mean), gain, rounds)
        return table

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON; what was not measured is null."""
        return {
            "summary": self.summary,
            "verdict": self.verdict.model_dump(mode="json"),
            "helps": self.helps,
            "scored_on": self.scored_on,
            "subject": self.subject,
            "images": self.images,
            "settings": self.settings,
            "class_names": list(self.class_names),
            "baselines": [_tried(one, ("augment",)) for one in self.baselines],
            "sweep": [_tried(one, _TREATMENTS) for one in self.sweep],
            "chosen": {"name": self.chosen.name, **asdict(self.chosen)},
            "won_on_choosing": self.won,
            "final": [
                {
                    "name": met.arm.name,
                    "role": met.role,
                    "accuracies": [list(s) for s in met.accuracies],
                    "mean": met.mean,
                    "also": {name: [list(seeds) for seeds in found] for name, found in met.also.items()},
                }
                for met in self.final
            ],
            "also": [asdict(one) for one in self.also],
            "contrasts": [asdict(contrast) for contrast in self.contrasts],
            "per_class": [{key: _or_none(value) for key, value in asdict(c).items()} for c in self.changes],
            "harmed": list(self.harmed),
            "real_equivalent": self.real_equivalent,
            "notes": list(self.notes),
            "command": self.command,
        }


def _tried(one: Tried, fields: Sequence[str]) -> dict[str, Any]:
    told = {"name": one.arm.name, **{name: getattr(one.arm, name) for name in fields}}
    told |= {"choosing": list(one.choosing), "mean": _or_none(one.mean)}
    if "ratio" in fields:
        told |= {name: getattr(one, name) for name in ("difference", "p", "p_holm", "dropped_after")}
    return told


def _mean(by_split: Sequence[Sequence[float]]) -> float:
    """Over splits, and over the seeds of each."""
    return sum(sum(seeds) / len(seeds) for seeds in by_split) / len(by_split)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:+.1f}"


def _interval(found: Interval | Contrast | ClassChange) -> str:
    return "-" if math.isnan(found.low) else f"{_points(found.low)} to {_points(found.high)}"


def _place(scored_on: str) -> str:
    return scored_on if scored_on == "held back" else f"of {scored_on}"


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
