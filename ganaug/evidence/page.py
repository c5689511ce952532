"""What the report's template shows, made from what was found: headline, charts and tables. No HTML is written here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganaug.bank import GeneratorBank, Verdict
from ganaug.data.images import kind_of
from ganaug.evidence.charts import Axis, Curve, Mark, curve, tone
from ganaug.evidence.findings import Compared, Contrast, Findings, Measured, ScreenedAway, Sides, Trained, Tried
from ganaug.evidence.result import ROLES
from ganaug.evidence.wording import capital, figure, interval, lines, p_value, percent, points, said, sentence, words

__all__ = [
    "Chart",
    "Headline",
    "change_chart",
    "classical_chart",
    "commands",
    "curves",
    "further_rows",
    "gain_chart",
    "headline",
    "measure_rows",
    "settings_rows",
    "sweep_chart",
    "tally_rows",
]

Number = float | None

_AGAINST = {
    "with synthetic - real only": ("With synthetic images, against real images alone", "The answer."),
    "with synthetic - duplicated": (
        "Against real images repeated to the same count",
        "Above zero: it was the new images that helped, not more of the same.",
    ),
    "with synthetic - pasted": (
        "Against scenes of real objects alone, cut out and pasted",
        "Above zero: it was the generated objects that helped, not pasting as such.",
    ),
    "with synthetic - shuffled": (
        "Against synthetic images under shuffled labels",
        "Above zero: it was what the images show that helped, not mere disturbance.",
    ),
}

REASONS = {
    "doubted": ("Doubted", "a judge that was trained on real images alone doubts their class"),
    "far": ("Far from any real image", "no real image of the class is as far from the others"),
    "copy": ("Nearly copies", "almost a training image again, mirrored or moved perhaps"),
    "redundant": ("Redundant", "almost the same as a sample that was kept"),
}

_MEASURES = {
    "kernel_distance": ("Kernel distance", "from the distribution of real images; 0 is none", "lower"),
    "precision": ("Precision", "synthetic images that lie among the real ones", "higher"),
    "recall": ("Recall", "real images that lie among the synthetic ones", "higher"),
    "density": ("Density", "how closely real images surround the synthetic ones; 1 as real ones do", "higher"),
    "coverage": ("Coverage", "real images that have a synthetic one in their neighbourhood", "higher"),
    "gan_train": ("GAN-train accuracy", "a classifier trained on synthetic images, tested on new real ones", "higher"),
    "gan_test": ("GAN-test accuracy", "a classifier trained on real images, tested on synthetic ones", "near real"),
    "spread": ("Spread within a class", "how much the images of a class differ, in grey levels", "near real"),
}

_UNBOUNDED = ("kernel_distance", "spread")  # the others are shares, or about one

_CURVES = ("score", "map_dice", "coverage", "kernel_distance", "spread_ratio", "sharpness_ratio", "reconstruction")


@dataclass(frozen=True)
class Chart:
    """Rows on one axis."""

    axis: Axis
    rows: tuple[Mark, ...]
    unit: str
    """What an axis label is: "points" (signed) or "percent"."""


@dataclass(frozen=True)
class Headline:
    """The verdict, said at once."""

    tone: str
    word: str
    sentence: str
    lede: str


def headline(verdict: Verdict | None, comparison: Compared | None) -> Headline:
    """The verdict in a word, a short sentence and a longer one."""
    if verdict is None:
        return Headline(
            "none",
            "Not measured yet",
            "Whether these synthetic images help has not been measured.",
            'Until it is, ratio="auto" mixes in nothing. A comparison tells in one command.',
        )
    lede = comparison.summary if comparison is not None and comparison.summary else sentence(verdict.sentence)
    change = f"{points(verdict.gain)} points of {verdict.metric}"
    if any(verdict.ratio.values()) if isinstance(verdict.ratio, dict) else verdict.ratio:
        return Headline("gain", "Helps", f"Synthetic images help: {change}.", lede)
    if verdict.high < 0:
        return Headline("loss", "Harms", f"Synthetic images do harm: {change}. None are mixed in.", lede)
    return Headline("unsure", "Not shown to help", "Synthetic images are not shown to help. None are mixed in.", lede)


def gain_chart(verdict: Verdict | None, comparison: Compared | None) -> Chart | None:
    """The winner against real images alone and against each control, with intervals."""
    if comparison is not None and comparison.contrasts:
        rows = [_contrast(contrast, comparison.paired(contrast)) for contrast in comparison.contrasts]
    elif verdict is not None:
        only = Contrast(name="with synthetic - real only", mean=verdict.gain, low=verdict.low, high=verdict.high)
        rows = [_contrast(only, [])]
    else:
        return None
    return _chart(rows, "points", hold=[0.0])


def sweep_chart(comparison: Compared | None) -> Chart | None:
    """What each arm with synthetic images gained over the same training without, on the images for choosing."""
    tried = [arm for arm in comparison.sweep if arm.difference is not None] if comparison is not None else []
    if comparison is None or not tried:
        return None
    chosen = comparison.chosen.get("name")
    shared = _shared_start([arm.name for arm in tried])
    order = sorted(tried, key=lambda arm: (arm.dropped_after is not None, -(arm.difference or 0.0)))
    rows = [
        Mark(
            name=arm.name.removeprefix(shared),
            mean=arm.difference,
            dots=_less(arm.choosing, comparison),
            value=points(arm.difference),
            aside=_tried_aside(arm, chosen),
            tone="chosen" if arm.name == chosen else "plain",
            faded=arm.dropped_after is not None,
        )
        for arm in order
    ]
    return _chart(rows, "points", hold=[0.0])


def classical_chart(comparison: Compared | None) -> Chart | None:
    """The classical augmentations alone, on the images for choosing."""
    if comparison is None or not any(arm.choosing for arm in comparison.baselines):
        return None
    best = _strongest(comparison)
    rows = [
        Mark(
            name=arm.name,
            mean=arm.mean,
            dots=tuple(value for value in arm.choosing if value is not None),
            value=percent(arm.mean),
            aside="carries on" if arm is best else "",
            tone="chosen" if arm is best else "plain",
        )
        for arm in comparison.baselines
    ]
    return _chart(rows, "percent")


def change_chart(comparison: Compared | None) -> Chart | None:
    """The change of each class's score, with its interval; a harmed class is marked."""
    if comparison is None or not comparison.per_class:
        return None
    rows = [
        Mark(
            name=found.name,
            mean=found.difference,
            low=found.low,
            high=found.high,
            note=f"{percent(found.real_only)} to {percent(found.with_synthetic)}",
            value=points(found.difference),
            aside=lines(interval(found.low, found.high), "harmed" if found.name in comparison.harmed else ""),
            tone="loss" if found.name in comparison.harmed else tone(found.low, found.high),
        )
        for found in comparison.per_class
    ]
    return _chart(rows, "points", hold=[0.0])


def further_rows(comparison: Compared | None) -> dict[str, dict[str, tuple[str, str]]]:
    """By what was trained on and by measure, the mean of a further measure and what synthetic images gain over it."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for one in comparison.also if comparison is not None else []:
        gain = "" if one.difference is None else points(one.difference)
        found.setdefault(capital(ROLES.get(one.role, one.role)), {})[one.name] = percent(one.mean), gain
    return found


def reasons(screening: ScreenedAway | None) -> dict[str, tuple[str, str]]:
    """For each reason that was asked for its name and what it says."""
    if screening is None:
        return REASONS
    settings = {"doubted": "doubt", "far": "far", "copy": "copies", "redundant": "redundant"}
    asked = {name: told for name, told in REASONS.items() if screening.settings.get(settings[name], 0) is not None}
    if screening.shown is not None and "doubted" in asked:
        asked["doubted"] = (
            "Doubted", "the image does not show its map to segmenters that were trained on real pairs alone"
        )  # fmt: skip
    return asked


def tally_rows(screening: ScreenedAway | None) -> list[dict[str, Any]]:
    """For each class the counts, and each as a share of what was drawn, 0..100."""
    rows = []
    for name, counts in (screening.per_class if screening is not None else {}).items():
        drawn = counts.get("drawn", 0)
        known = {what: counts.get(what, 0) for what in ("kept", *REASONS)}
        whole = max(drawn, sum(known.values()), 1)
        shares = {what: round(100 * count / whole, 2) for what, count in known.items()}
        asked = counts.get("asked", 0)
        rows.append(
            {"name": name, "asked": asked, "drawn": drawn, "counts": known, "shares": shares,
             "short": known["kept"] < asked}
        )  # fmt: skip
    return rows


def measure_rows(measures: Measured | None) -> list[dict[str, Any]]:
    """For each measure its name, what it says, both values and where they lie on its own scale, 0..100."""
    return [_measure(key, sides) for key, sides in (measures.pooled if measures is not None else {}).items()]


def measure_name(key: str) -> str:
    """A measure's name for people."""
    return _known(key)[0]


def curves(training: Sequence[Trained]) -> list[Curve]:
    """A small chart for each thing that was logged, a line for each network pair."""
    named = [name for name in _CURVES if any(name in log.columns for log in training)]
    kept = training[0].kept if len(training) == 1 else None
    drawn = [
        curve(
            {"score": "score: the best is kept"}.get(name, name.replace("_", " ")),
            [(log.columns["kimg"], log.columns[name]) for log in training if {"kimg", name} <= set(log.columns)],
            mark=kept,
        )
        for name in named
    ]
    return [chart for chart in drawn if chart is not None]


def commands(bank_path: Path, found: Findings, data: Path | None) -> dict[str, str]:
    """What to type for each step, for this bank and data."""
    bank = shlex.quote(str(bank_path))
    source = shlex.quote(str(data)) if data is not None else "DIR"
    repeat = found.comparison.command if found.comparison is not None else ""
    return {
        "compare": repeat or f"ganaug compare {bank} --data {source}",
        "screen": f"ganaug screen {bank} --data {source}",
        "measure": f"ganaug measure {bank} --data {source} --held DIR",
        "explore": f"ganaug explore {bank} --data {source}",
        "report": f"ganaug report {bank} --data {source}",
    }


def settings_rows(bank: GeneratorBank, comparison: Compared | None) -> list[tuple[str, str]]:
    """How it was done, as terms and what they stand for."""
    manifest = bank.manifest
    rows = [
        ("Fitted on", f"{manifest.learned_from}, for {manifest.kimg:,.4g} thousand images shown"),
        ("Held back from the fit", f"{len(manifest.held_back_fingerprints):,} images"),
        ("Images", f"{bank.resolution} px, {kind_of(bank.channels)}"),
        ("Networks", "one pair for each class" if manifest.per_class else "one pair for all classes"),
        ("Made", f"{manifest.created} by " + ", ".join(f"{k} {v}" for k, v in manifest.versions.items())),
    ]
    if comparison is not None:
        subject = "this bank as it is" if comparison.subject == "bank" else "its recipe, refitted for each split"
        rows += [("Judged", subject), ("Scored on", comparison.scored_on)]
        rows += [(f"Images for {words(name)}", said(value)) for name, value in comparison.images.items()]
        rows += [(capital(words(name)), said(value)) for name, value in comparison.settings.items()]
    return rows


def _contrast(contrast: Contrast, dots: Sequence[float]) -> Mark:
    name, note = _AGAINST.get(contrast.name, (capital(contrast.name), ""))
    return Mark(
        name=name,
        mean=contrast.mean,
        low=contrast.low,
        high=contrast.high,
        dots=tuple(dots),
        note=note,
        value=points(contrast.mean),
        aside=lines(interval(contrast.low, contrast.high), p_value(contrast.p_holm, contrast.p)),
        tone=tone(contrast.low, contrast.high),
    )


def _chart(rows: Sequence[Mark], unit: str, *, hold: Sequence[float] = ()) -> Chart:
    shown: Iterable[Number] = [
        *hold, *(value for row in rows for value in (row.mean, row.low, row.high, *row.dots))
    ]  # fmt: skip
    return Chart(Axis.over([None if value is None else 100 * value for value in shown], about=4), tuple(rows), unit)


def _shared_start(names: Sequence[str]) -> str:
    """The words that all names begin with, as far as the comma before "ratio"."""
    starts = {name[: name.find(", ratio") + 2] if ", ratio" in name else "" for name in names}
    return starts.pop() if len(starts) == 1 else ""


def _strongest(comparison: Compared) -> Tried | None:
    scored = [arm for arm in comparison.baselines if arm.mean is not None]
    return max(scored, key=lambda arm: arm.mean or 0.0, default=None)


def _less(values: Sequence[Number], comparison: Compared) -> tuple[float, ...]:
    """An arm's single results less those of real images alone in the same cells."""
    best = _strongest(comparison)
    if best is None or len(values) > len(best.choosing):
        return ()
    pairs = zip(values, best.choosing, strict=False)
    return tuple(value - other for value, other in pairs if value is not None and other is not None)


def _tried_aside(arm: Tried, chosen: Any) -> str:
    if arm.dropped_after is not None:
        return f"dropped after round {arm.dropped_after}"
    return ", ".join(filter(None, ("chosen" if arm.name == chosen else "", p_value(arm.p_holm, arm.p))))


def _measure(key: str, sides: Sides) -> dict[str, Any]:
    name, says, better = _known(key)
    values = [value for value in (sides.synthetic, sides.reference) if value is not None]
    axis = Axis.over([0.0, *([] if key in _UNBOUNDED else [1.0]), *values], about=4)
    places = {
        side: None if value is None else axis.at(value)
        for side, value in (("synthetic", sides.synthetic), ("reference", sides.reference))
    }
    return {
        "name": name, "says": says, "better": better, "places": places,
        "synthetic": figure(sides.synthetic), "reference": figure(sides.reference),
    }  # fmt: skip


def _known(key: str) -> tuple[str, str, str]:
    short = key.removesuffix("_accuracy")
    return _MEASURES.get(short, (capital(words(key)), "", ""))
