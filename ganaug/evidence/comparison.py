"""Does it help? The same classifier on real images alone and on real and synthetic ones, scored on other real images.

No image that the bank was fitted on is scored. With `val` or `test` the bank is judged as it is. Without, a part of
the data is held back, the recipe is refitted on the rest, and what is judged is the recipe. Where there are several
ratios, one is chosen on images of its own, and that one alone meets the images that the answer is given for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.classifier import per_class_accuracy, predict, train_classifier
from ganaug.data import LabelledImages, choose_classes
from ganaug.errors import DataError
from ganaug.evidence.parts import Parts, given_parts, hold_back, in_order, read, refuse_leaks
from ganaug.evidence.result import Arm, Comparison, ratio_name
from ganaug.evidence.statistics import Interval, paired_interval
from ganaug.fitting import fit
from ganaug.gan.device import resolve_device
from ganaug.ratios import share_out
from ganaug.recipe import Compare

__all__ = ["Comparison", "compare"]

Say = Callable[[str], None]


def compare(
    data: Any,
    bank: GeneratorBank,
    *,
    classes: Sequence[str] | None = None,
    val: Any = None,
    test: Any = None,
    ratios: Sequence[float] | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    minutes: float | None = None,
    raw: Any = None,
    on_bad: Literal["stop", "skip"] = "stop",
    device: str | torch.device = "auto",
    seed: int = 0,
    report: Say | None = None,
) -> Comparison:
    """Train a reference classifier with and without synthetic images and say whether they help, and how surely.

    Args:
        data: the training images: a path, a dataset as `fit` takes it, or `LabelledImages`.
        bank: whose samples are judged, or whose recipe where neither `val` nor `test` is given.
        classes: names of the classes to compare on; the bank's by default.
        val: images that nothing was trained on, to choose the ratio on, and for the answer where there is no `test`.
        test: such images for the answer alone.
        ratios: synthetic images for each real one, to try; the recipe's by default, as are the next three.
        seeds: trainings of each arm, 2 at least.
        steps: of the optimiser in every training.
        batch: images a step.
        minutes: for the refit; the recipe's own kimg by default. Unused with `val` or `test`.
        raw: the images of `data` below its transform, where ganaug cannot find them itself.
        on_bad: an unreadable image: "stop" or "skip".
        device: "auto", "cpu", "cuda" or "cuda:i".
        seed: of splits, samples and trainings.
        report: is given a line for each training as it ends.

    Returns:
        The comparison; nothing is written. `comparison.apply_to(bank)` is the bank with its verdict.

    Raises:
        LeakError: images to score are among those of the bank's fit or of `data`.
        DataError: a class is unknown, or has too few images.
        RecipeError: a ratio, `seeds`, `steps`, `batch` or `minutes` is out of range.
    """
    say = report or (lambda _: None)
    settings = _settings(bank, ratios=ratios, seeds=seeds, steps=steps, batch=batch)
    where = resolve_device(device)
    names = choose_classes(bank.class_names, classes)
    if len(names) < 2:
        raise DataError(f"there is one class, {names[0]!r}, so nothing to tell apart; compare on 2 classes or more")
    train = read(data, bank, names, what="data", raw=raw, on_bad=on_bad)
    several = len(settings.ratios) > 1
    if val is None and test is None:
        parts = hold_back(train, several, seed)
        say(f"refitting the recipe on {len(parts.train)} images, {len(train) - len(parts.train)} held back")
        bank = _refit(bank, parts, minutes, where)
    else:
        sets = {
            what: read(source, bank, names if classes is not None else None, what=what, on_bad=on_bad)
            for what, source in (("val", val), ("test", test))
            if source is not None
        }
        refuse_leaks(bank, train, sets)
        parts = given_parts(train, {what: in_order(found, names, what) for what, found in sets.items()}, several, seed)
    return _compared(bank, parts, settings, seed=seed, device=where, say=say)


def _settings(bank: GeneratorBank, **given: Any) -> Compare:
    changes = {f"compare.{name}": value for name, value in given.items() if value is not None}
    settings = bank.recipe.replace(changes).compare
    return settings.model_copy(update={"ratios": tuple(sorted(set(settings.ratios)))})


def _refit(bank: GeneratorBank, parts: Parts, minutes: float | None, device: torch.device) -> GeneratorBank:
    kept_out = [*parts.score.fingerprints, *(parts.choose.fingerprints if parts.choose else ())]
    assert not set(kept_out) & set(parts.train.fingerprints)
    return fit(parts.train, recipe=bank.recipe, minutes=minutes, device=device, held_back=kept_out, progress=False)


def _compared(
    bank: GeneratorBank, parts: Parts, settings: Compare, *, seed: int, device: torch.device, say: Say
) -> Comparison:
    names = parts.train.class_names
    chosen_by: dict[float, list[float]] = {ratio: [] for ratio in (0.0, *settings.ratios)}
    seen: dict[float, list[Tensor]] = {ratio: [] for ratio in chosen_by}
    length = settings.model_dump(include={"steps", "batch"})
    for run in range(settings.seeds):
        synthetic = _samples(bank, parts.train, settings.ratios, seed + run)
        for ratio in chosen_by:
            images, labels = _mixed(parts.train, synthetic, ratio)
            network = train_classifier(images, labels, classes=len(names), seed=seed + run, device=device, **length)
            if parts.choose is not None:
                right = predict(network, parts.choose.images) == parts.choose.labels
                chosen_by[ratio].append(_share(right))
            seen[ratio].append(predict(network, parts.score.images))
            arm = "real images alone" if ratio == 0 else f"ratio {ratio_name(ratio)}"
            say(f"seed {run + 1} of {settings.seeds}: trained on {arm}")
    ratio = max(settings.ratios, key=lambda ratio: sum(chosen_by[ratio]))
    return _judged(bank, parts, settings, ratio, chosen_by, {r: torch.stack(seen[r]) for r in (0.0, ratio)})


def _shares(real: LabelledImages, ratio: float) -> list[int]:
    """Synthetic images of each class at a ratio, shared out as `GanAugmented` does."""
    counts: list[int] = share_out(round(ratio * len(real)), np.asarray(real.counts())).tolist()
    return counts


def _samples(bank: GeneratorBank, real: LabelledImages, ratios: Sequence[float], seed: int) -> list[Tensor]:
    """For each class, NCHW uint8: as many as the highest ratio takes; a lower one takes the first of them."""
    most = [max(counts) for counts in zip(*(_shares(real, ratio) for ratio in ratios), strict=True)]
    return [bank.sample(name, max(1, count), seed=seed) for name, count in zip(real.class_names, most, strict=True)]


def _mixed(real: LabelledImages, synthetic: Sequence[Tensor], ratio: float) -> tuple[Tensor, Tensor]:
    """Real images and `ratio` times as many synthetic ones, with labels."""
    counts = _shares(real, ratio)
    images = torch.cat([real.images, *(samples[:count] for samples, count in zip(synthetic, counts, strict=True))])
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return images, torch.cat([real.labels, labels])


def _judged(
    bank: GeneratorBank,
    parts: Parts,
    settings: Compare,
    ratio: float,
    chosen_by: dict[float, list[float]],
    seen: dict[float, Tensor],  # of real images alone and of the chosen ratio: (seeds, N) int64
) -> Comparison:
    labels, classes = parts.score.labels, len(parts.score.class_names)
    right = {arm: found == labels for arm, found in seen.items()}
    change = right[ratio].double() - right[0.0].double()
    by_class = {
        arm: torch.tensor(
            [per_class_accuracy(one, labels, classes=classes) for one in found], dtype=torch.float64
        ).mean(0)
        for arm, found in seen.items()
    }
    mean, low, high = paired_interval(change.mean(1).tolist(), per_image=change.mean(0).tolist())
    arms = [
        Arm(arm, tuple(chosen_by[arm]), tuple(map(_share, right[arm])) if arm in right else ()) for arm in chosen_by
    ]
    measured = {**settings.model_dump(include={"seeds", "steps", "batch"}), "augment": "TrivialAugmentWide"}
    return Comparison(
        class_names=parts.score.class_names,
        arms=tuple(arms),
        ratio=ratio,
        difference=Interval(mean, max(-1.0, low), min(1.0, high)),  # no accuracy changes by more
        per_class=tuple((by_class[ratio] - by_class[0.0]).tolist()),
        subject=parts.subject,
        scored_on=parts.scored_on,
        images={
            "training": len(parts.train),
            "choosing": len(parts.choose) if parts.choose is not None else 0,
            "scoring": len(parts.score),
        },
        settings={**measured, "kimg": bank.manifest.kimg},
        notes=parts.notes,
    )


def _share(right: Tensor) -> float:
    return float(right.double().mean())
