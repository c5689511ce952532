"""What a comparison found: as numbers, as a table, as a sentence, and as the verdict that a bank keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from ganaug.bank import GeneratorBank, Verdict
from ganaug.evidence.statistics import Interval

__all__ = ["Arm", "Comparison", "ratio_name"]


@dataclass(frozen=True)
class Arm:
    """One way to train: real images alone (ratio 0), or with synthetic ones. Accuracies are in 0..1, one a seed."""

    ratio: float
    choosing: tuple[float, ...] = ()
    """On the images that the ratio was chosen on; none where there was nothing to choose."""
    accuracies: tuple[float, ...] = ()
    """On the images that the answer is given for; only real images alone and the chosen ratio meet them."""

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds; NaN where this arm did not meet those images."""
        return _mean(self.accuracies)


@dataclass(frozen=True)
class Comparison:
    """Real images alone against real and synthetic ones, paired by seed."""

    class_names: tuple[str, ...]
    arms: tuple[Arm, ...]
    """Real images alone first."""
    ratio: float
    """The ratio that met real images alone: the best on the images for choosing, or the only one."""
    difference: Interval
    """Accuracy with synthetic images less that without, at that ratio."""
    per_class: tuple[float, ...]
    """The same for each class; NaN where no image of it was scored."""
    subject: Literal["bank", "recipe"]
    """What the verdict is of: the bank as it is, or its recipe, refitted without the images that were scored."""
    scored_on: str
    """Which images the answer is for, as "test" or "held back"."""
    images: dict[str, int]
    """How many were for training, choosing and scoring."""
    settings: dict[str, Any]
    """What it was measured with: seeds, steps, batch, augmentation, and the refit's kimg."""
    notes: tuple[str, ...] = field(default=())
    """What a reader should know besides."""

    @property
    def real_only(self) -> Arm:
        """The arm without synthetic images."""
        return self.arms[0]

    @property
    def with_synthetic(self) -> Arm:
        """The arm at the chosen ratio."""
        return next(arm for arm in self.arms[1:] if arm.ratio == self.ratio)

    @property
    def helps(self) -> bool:
        """Whether the interval of the gain lies above zero."""
        return self.difference.low > 0

    @property
    def verdict(self) -> Verdict:
        """What `ratio="auto"` obeys: the chosen ratio where its gain's interval lies above zero, else 0."""
        measured = {
            "ratio_tried": self.ratio,
            "ratios": [arm.ratio for arm in self.arms[1:]],
            "scored_on": self.scored_on,
            "images": self.images,
            "classes": list(self.class_names),
            "real_only": list(self.real_only.accuracies),
            "with_synthetic": list(self.with_synthetic.accuracies),
            **self.settings,
        }
        return Verdict(
            ratio=self.ratio if self.helps else 0.0,
            gain=self.difference.mean,
            low=self.difference.low,
            high=self.difference.high,
            real_only=self.real_only.mean,
            with_synthetic=self.with_synthetic.mean,
            subject=self.subject,
            measured=measured,
        )

    def apply_to(self, bank: GeneratorBank) -> GeneratorBank:
        """The bank with this verdict; save it to keep it."""
        return bank.with_verdict(self.verdict)

    @property
    def summary(self) -> str:
        """The answer in one sentence."""
        change = (
            f"accuracy {_percent(self.real_only.mean)} on real images alone, {_percent(self.with_synthetic.mean)} with "
            f"synthetic ones at ratio {ratio_name(self.ratio)}: {self._gain()} points (95 % interval "
            f"{self._interval()}, {self.settings['seeds']} seeds, {self.scored} images {_place(self.scored_on)})"
        )
        of = "This bank" if self.subject == "bank" else "This recipe"
        if self.helps:
            return f"{of} helps: {change}."
        verb = "harms" if self.difference.high < 0 else "is not shown to help"
        return f'{of} {verb}: {change}; ratio="auto" will mix in nothing.'

    @property
    def scored(self) -> int:
        """How many images the answer is for."""
        return self.images["scoring"]

    def rows(self) -> list[tuple[str, str, str, str]]:
        """For each arm: training images, accuracy, difference in points, its 95 % interval."""
        found = []
        for arm in self.arms:
            name = "real" if arm.ratio == 0 else f"real + {ratio_name(arm.ratio)} synthetic"
            score = _percent(arm.mean) if arm.accuracies else f"not chosen ({_percent(_mean(arm.choosing))})"
            asked = arm.ratio == self.ratio
            found.append((name, score, self._gain() if asked else "", self._interval() if asked else ""))
        return found

    def table(self) -> Table:
        """The arms, and the difference of each class, to print."""
        count = f"{self.scored} images {_place(self.scored_on)}, mean of {self.settings['seeds']} seeds"
        table = Table(title=f"Accuracy on {count}", title_justify="left", caption="; ".join(self.notes) or None)
        table.add_column("trained on")
        for heading in ("accuracy", "difference", "95 % interval"):
            table.add_column(heading, justify="right")
        for row in self.rows():
            table.add_row(*row)
        table.add_section()
        for class_name, change in zip(self.class_names, self.per_class, strict=True):
            table.add_row(Text(f"  {class_name}"), "", _points(change), "")
        return table

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON; what was not measured is null."""
        found = asdict(self)
        found["difference"] = self.difference._asdict()
        found["per_class"] = dict(zip(self.class_names, map(_or_none, self.per_class), strict=True))
        for arm, values in zip(self.arms, found["arms"], strict=True):
            values["mean"] = _or_none(arm.mean)
        return {"summary": self.summary, "verdict": self.verdict.model_dump(mode="json"), **found}

    def _gain(self) -> str:
        return _points(self.difference.mean)

    def _interval(self) -> str:
        return f"{_points(self.difference.low)} to {_points(self.difference.high)}"


def ratio_name(ratio: float) -> str:
    """A ratio as people write it: 0.5, 2."""
    return f"{ratio:g}"


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else math.nan


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:+.1f}"


def _place(scored_on: str) -> str:
    return scored_on if scored_on == "held back" else f"of {scored_on}"


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number
