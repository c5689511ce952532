"""Does it help? The same training on real images alone and on real and synthetic ones, scored on other real images.

No image that a bank was fitted on is scored. With `val` or `test` the bank is judged as it is. Without, a part of the
data is held back, several times over, the recipe is refitted on the rest, and what is judged is the recipe. What is
tried, in which order and on which images is in `protocol.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Union

import torch

from ganaug.bank import GeneratorBank
from ganaug.basing import as_base
from ganaug.data import LabelledImages, choose_classes, read_unlabelled
from ganaug.errors import BankError, DataError, RecipeError
from ganaug.evidence.arms import Arm, classical_arms, synthetic_arms
from ganaug.evidence.budget import fit_into, trainings
from ganaug.evidence.material import Beside
from ganaug.evidence.own_trainer import Lent, OwnTrials, places_of
from ganaug.evidence.parts import Parts, given_parts, in_order, read, refuse_leaks, splits
from ganaug.evidence.protocol import Final, changes, compete, contrasts, meet, sweep, worth_in_real
from ganaug.evidence.result import ClassChange, Comparison, Contrast, Met, Tried
from ganaug.evidence.trials import Crew, ReferenceTrials, learner_of
from ganaug.gan.device import resolve_device
from ganaug.planning import plan_fit
from ganaug.progress import CellBar
from ganaug.recipe import Compare, Recipe, Screening

__all__ = ["Comparison", "compare"]

Say = Callable[[str], None]
_OWN = Arm("own")
_REFITTING = 0.5  # share of a budget that a single refit may take


def compare(
    data: Any,
    bank: Any,
    of: GeneratorBank | str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    val: Any = None,
    test: Any = None,
    ratios: Sequence[float] | None = None,
    splits: int | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
    evaluation: Any = None,
    raw: Any = None,
    unlabelled: Any = None,
    base: GeneratorBank | str | Path | None = None,
    on_bad: Literal["stop", "skip"] = "stop",
    folder: str | Path | None = None,
    workers: int = 0,
    cluster: Literal["ray"] | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    report: Say | None = None,
    progress: bool = False,
) -> Comparison:
    """Train with and without synthetic images and say whether they help, and how surely.

    `compare(data, bank)` trains ganaug's reference classifier. `compare(train_and_score, real, bank)` calls your own
    trainer: `train_and_score(train_dataset, score_dataset, seed)` trains from scratch on the one and returns its score
    on the other, a number from 0 to 1 (higher is better), or `{"score": number, "per_class": {name: number}}`. It is
    given subsets of your dataset, `GanAugmented` where there are synthetic images; ratios and controls are compared.

    Args:
        data: the training images: a path, a dataset as `fit` takes it, or `LabelledImages`; or your trainer.
        bank: whose samples are judged, or whose recipe where neither `val` nor `test` is given; after a trainer, your
            dataset.
        of: the bank, after a trainer and a dataset.
        classes: names of the classes to compare on; the bank's by default.
        val: images that nothing was trained on, to choose on, and for the answer where there is no `test`.
        test: such images for the answer alone.
        ratios: synthetic images for each real one, to try; the recipe's by default, as are the next five.
        splits: times that a part is held back; 1 with `val` or `test`.
        seeds: trainings of each arm on each split, 2 at least.
        steps: of the optimiser in every training of the reference classifier.
        batch: images a step.
        minutes: budget of the whole comparison, refits too, which decides how much of it is done.
        settings: others of the recipe's section `compare`, as `{"schedules": ["constant"]}`.
        evaluation: with a trainer: the same images as your dataset's, in the same order, with the transform for
            scoring; your dataset by default.
        raw: the images of `data` below its transform, where ganaug cannot find them itself.
        unlabelled: what the bank's fit had as `unlabelled`, for refits; the path in its recipe by default. Images that
            are held back, and near-copies of them, are left out.
        base: the bank that the bank's fit started from, for refits; the path in its recipe by default.
        on_bad: an unreadable image: "stop" or "skip".
        folder: keeps what is finished, so that the same question goes on where it was stopped.
        workers: processes that train side by side; 0 trains in this one.
        cluster: "ray" trains on a Ray cluster.
        device: "auto", "cpu", "cuda" or "cuda:i".
        seed: of splits, samples and trainings.
        report: is given a line for each stage as it ends.
        progress: show a live bar.

    Returns:
        The comparison; no verdict is written. `comparison.apply_to(bank)` is the bank with its verdict.

    Raises:
        LeakError: images to score are among those of the bank's fit or of `data`.
        DataError: a class is unknown, or has too few images.
        RecipeError: a setting is out of range.
        TrainingError: a training failed, or the budget is too small for any.
    """
    given = {
        "ratios": ratios, "splits": splits, "seeds": seeds, "steps": steps, "batch": batch, "minutes": minutes,
        **(settings or {}),
    }  # fmt: skip
    trainer = data if of is not None else None
    judged, source = (bank, data) if of is None else (of, bank)
    _check_form(trainer, source, judged, classes)
    judged = judged if isinstance(judged, GeneratorBank) else GeneratorBank.load(judged)
    judged.check_task("classify", "a comparison", "train with and without its pairs by GanAugmented")
    wanted = _settings(judged, given, one_split=val is not None or test is not None)
    with CellBar(shown=progress) as bar:
        where = None if folder is None else Path(folder)
        crew = Crew(resolve_device(device), where, workers, cluster, bar)
        comparison = _Comparing(judged, wanted, crew, seed, report or (lambda _: None))
        sets = {what: given for what, given in (("val", val), ("test", test)) if given is not None}
        trials: Trials
        if trainer is not None:
            trials = comparison.own(trainer, source, sets, evaluation=evaluation, raw=raw, on_bad=on_bad)
        else:
            trials = comparison.reference(source, sets, classes=classes, raw=raw, on_bad=on_bad)
        if not trials.banks:
            trials.beside = Beside(_unlabelled(judged, unlabelled, on_bad), _base(judged, base))
        return comparison.carried_out(trials)


Trials = Union[ReferenceTrials, OwnTrials]


def _check_form(trainer: Any, source: Any, bank: Any, classes: Any) -> None:
    if not isinstance(bank, (GeneratorBank, str, Path)):
        raise DataError(
            f"a bank is wanted, got a {type(bank).__name__}; give compare(data, bank) or "
            "compare(train_and_score, dataset, bank)"
        )
    if trainer is None:
        if callable(source) and not hasattr(source, "__len__"):
            raise DataError("a trainer was given, and no dataset for it; give compare(train_and_score, dataset, bank)")
        return
    if not callable(trainer):
        raise DataError(f"train_and_score is a {type(trainer).__name__}; wanted a function of (train, score, seed)")
    if isinstance(source, (str, Path, LabelledImages)):
        raise DataError(f"your trainer needs your own dataset, got a {type(source).__name__}; give a map-style dataset")
    if classes is not None:
        raise DataError("classes= goes with the reference classifier; give your trainer a dataset of those classes")


def _unlabelled(bank: GeneratorBank, given: Any, on_bad: Any) -> LabelledImages | None:
    """The images without labels that the bank's fit learned from, for refits."""
    recipe = bank.recipe
    source = recipe.data.unlabelled if given is None else given
    if source is not None:
        size: dict[str, Any] = {"resolution": bank.resolution, "channels": bank.channels}
        return read_unlabelled(source, fit=recipe.data.fit, on_bad=on_bad, **size)
    if not bank.manifest.unlabelled:
        return None
    raise DataError(
        f"the bank was fitted on {bank.manifest.unlabelled} unlabelled images too, and its recipe has no path of them; "
        "give them as unlabelled (--unlabelled), or give val or test"
    )


def _base(bank: GeneratorBank, given: GeneratorBank | str | Path | None) -> GeneratorBank | None:
    """The bank that this one's fit started from, for refits."""
    found = as_base(given, bank.recipe)
    if found is None and bank.manifest.base:
        raise BankError(
            f"the bank started from one of {', '.join(bank.manifest.base[:8])}, and its recipe has no path of that; "
            "give it as base (--base), or give val or test"
        )
    return found


def _settings(bank: GeneratorBank, given: Mapping[str, Any], *, one_split: bool) -> Compare:
    settings = bank.recipe.replace({f"compare.{name}": value for name, value in given.items() if value is not None})
    found = settings.compare
    changes: dict[str, Any] = {"ratios": tuple(sorted(set(found.ratios)))}
    if one_split:
        if (given.get("splits") or 1) > 1:
            raise RecipeError("splits is more than 1, and val or test are given, which are one; leave one of them out")
        changes["splits"] = 1
    return found.model_copy(update=changes)


class _Comparing:
    """One question, from images to answer."""

    def __init__(self, bank: GeneratorBank, settings: Compare, crew: Crew, seed: int, say: Say) -> None:
        self.bank = bank
        self.settings = settings
        self.crew = crew
        self.seed = seed
        self.say = say
        self.flips = bank.recipe.data.horizontal_flip
        self.began = time.monotonic()
        self.notes: list[str] = []

    def reference(
        self, source: Any, sets: Mapping[str, Any], *, classes: Sequence[str] | None, raw: Any, on_bad: Any
    ) -> ReferenceTrials:
        """The trials of the reference classifier."""
        names = choose_classes(self.bank.class_names, classes)
        if len(names) < 2:
            raise DataError(f"there is one class, {names[0]!r}, so nothing to tell apart; compare on 2 classes or more")
        train = read(source, self.bank, names, what="data", raw=raw, on_bad=on_bad)
        wanted = names if classes is not None else None
        held = {what: read(given, self.bank, wanted, what=what, on_bad=on_bad) for what, given in sets.items()}
        several = len(self.classical()) > 1 or len(synthetic_arms(self.settings, "none", train.counts())) > 1
        parts = self._parts(train, held, several)
        screening = self.bank.recipe.screening or Screening()
        return ReferenceTrials(
            parts, self.settings, self.flips, self.seed, self.crew, self._banks(parts), self._recipe(), screening
        )

    def own(
        self, trainer: Any, real: Any, sets: Mapping[str, Any], *, evaluation: Any, raw: Any, on_bad: Any
    ) -> OwnTrials:
        """The trials of the user's own trainer: ratios, with his own augmentation."""
        if on_bad != "stop":
            raise DataError("on_bad='skip' goes with the reference classifier; leave bad images out of your dataset")
        update = {"schedules": ("constant",), "screened": (False,), "soft": (False,), "augments": ("none",)}
        self.settings = self.settings.model_copy(update=update)
        train = read(real, self.bank, None, what="data", raw=raw, on_bad="stop")
        names = train.class_names
        held = {what: read(given, self.bank, None, what=what, on_bad="stop") for what, given in sets.items()}
        parts = self._parts(train, held, len(self.settings.ratios) > 1)
        if evaluation is not None and len(evaluation) != len(train):
            raise DataError(f"evaluation has {len(evaluation)} images and the dataset {len(train)}; wanted the same")
        lent = [self._lent(part, real, train, sets, held, evaluation) for part in parts]
        assert all(part.train.class_names == names for part in parts)
        return OwnTrials(trainer, parts, lent, self.settings, self.seed, self.crew, self._banks(parts), self._recipe())

    def _lent(
        self, part: Parts, real: Any, train: LabelledImages, sets: Mapping[str, Any], held: Any, evaluation: Any
    ) -> Lent:
        def of(images: LabelledImages | None, what: str) -> tuple[Any, list[int]] | None:
            if images is None:
                return None
            if not sets:
                return evaluation if evaluation is not None else real, places_of(train, images)
            whose = what if what in sets else next(iter(sets))
            return sets[whose], places_of(held[whose], images)

        score = of(part.score, "test")
        assert score is not None
        return Lent((real, places_of(train, part.train)), of(part.choose, "val"), score)

    def _parts(self, train: LabelledImages, held: dict[str, LabelledImages], several: bool) -> list[Parts]:
        if not held:
            found = splits(train, self.settings.splits, several, self.seed)
            self.say(
                f"{len(found)} splits of {len(train)} images: {len(found[0].train)} to train on and "
                f"{len(found[0].held)} held back in each"
            )
            return found
        notes = refuse_leaks(self.bank, train, held)
        names = train.class_names
        sets = {what: in_order(images, names, what) for what, images in held.items()}
        part = given_parts(train, sets, several, self.seed)
        return [replace(part, notes=(*part.notes, *notes))]

    def _banks(self, parts: Sequence[Parts]) -> list[GeneratorBank]:
        """The bank as it is; none where its recipe is to be refitted."""
        return [self.bank.to(self.crew.device)] if parts[0].subject == "bank" else []

    def _recipe(self) -> Recipe:
        recipe = self.bank.recipe
        return recipe if recipe.kimg is not None else recipe.replace({"kimg": self.bank.manifest.kimg})

    def classical(self) -> list[Arm]:
        """Arms of real images alone."""
        return classical_arms(self.settings, self.flips)

    def carried_out(self, trials: Trials) -> Comparison:
        """The protocol, stage by stage, and what it found."""
        own = isinstance(trials, OwnTrials)
        keep_until = self._within_budget(trials, _OWN if own else self.classical()[0])
        assert self.crew.bar is not None
        self.crew.bar.expect(trainings(self.settings, self.flips, len(trials.synthetic("none"))))
        classical = [_OWN] if own else self.classical()
        baselines, baseline = compete(trials, classical)
        if len(classical) > 1:
            best = next(one.mean for one in baselines if one.arm == baseline)
            self.say(f"of real images alone, {baseline.name} does best: {best:.1%}")
        if not trials.banks:
            self.say(f"refitting the recipe on the training part of {len(trials.parts)} splits")
        trials.prepare()
        swept = sweep(trials, baseline, trials.synthetic(baseline.augment), over=keep_until)
        self.say(f"with synthetic images: {swept.winner.name}")
        final = meet(trials, baseline, swept.winner)
        few = min(trials.parts[0].train.counts()) < 2  # fewer of those cannot be had
        worth = None if few or keep_until() else worth_in_real(trials, final)
        self.crew.bar.expect(self.crew.bar.done)  # arms that were dropped are not waited for
        return self._told(trials, baselines, swept.tried, swept.won, final, worth)

    def _within_budget(self, trials: Trials, plainest: Arm) -> Callable[[], bool]:
        """Settle how much is done in the minutes; whether it is time for the last stage."""
        minutes = self.settings.minutes
        if minutes is None:
            return lambda: False
        training, refit = trials.seconds(plainest), 0.0
        if not trials.banks:
            assert trials.recipe is not None
            trials.recipe, refit = self._affordable(trials.recipe, trials.parts[0], minutes)
        workers = max(1, self.crew.workers)
        asked = self.settings
        self.settings = fit_into(
            asked, self.flips, minutes=minutes, training=training, refit=refit, workers=workers
        )  # fmt: skip
        trials.settings, trials.parts = self.settings, trials.parts[: self.settings.splits]
        if self.settings != asked:
            kept = [f"{self.settings.splits} splits", f"{self.settings.seeds} seeds"]
            self.notes.append(
                f"{minutes:g} minutes were good for {' x '.join(kept)} and the arms listed, not for all asked"
            )
        last = 2 * self.settings.splits * self.settings.seeds * training / workers
        until = self.began + 60 * minutes - last
        return lambda: time.monotonic() > until

    def _affordable(self, recipe: Recipe, part: Parts, minutes: float) -> tuple[Recipe, float]:
        """The recipe with no more kimg than half of the minutes are good for, and the seconds that its fit takes."""
        plain = recipe.replace(
            {"data.unlabelled": None, "base": None}
        )  # which makes no difference to the time of a step
        a_minute = plan_fit(part.train, recipe=plain, minutes=1.0, device=self.crew.device).recipe.kimg
        assert a_minute is not None
        assert recipe.kimg is not None
        kimg = min(recipe.kimg, max(0.001, _REFITTING * minutes * a_minute))
        if kimg < recipe.kimg:
            self.notes.append(f"refits had {kimg:.3g} kimg, where the bank had {recipe.kimg:.3g}: the minutes are few")
        return recipe.replace({"kimg": kimg}), 60 * kimg / a_minute

    def _told(
        self,
        trials: Trials,
        baselines: Sequence[Tried],
        swept: Sequence[Tried],
        won: bool,
        final: Final,
        worth: float | None,
    ) -> Comparison:
        part = trials.parts[0]
        gains = [Contrast(name, *found, p_holm) for name, found, p_holm in contrasts(final)]
        if len(gains) == 1:
            self.notes.append("there was no gain for controls to explain, so none were trained")
        recipe = trials.recipe
        refitted = part.subject == "recipe" and recipe is not None
        own = isinstance(trials, OwnTrials)
        told = self.settings.model_dump(mode="json", exclude={"steps", "batch"} if own else set())
        settings = {
            **told,
            "augment": final.baseline.augment,
            "metric": "balanced accuracy" if trials.balanced else "accuracy",
            "learner": "your own trainer" if own else learner_of(self.settings),
            "kimg": recipe.kimg if refitted and recipe is not None else self.bank.manifest.kimg,
            "seed": self.seed,
        }
        return Comparison(
            class_names=part.score.class_names,
            baselines=tuple(baselines),
            sweep=tuple(swept),
            chosen=final.winner,
            won=won,
            final=tuple(_met(final)),
            contrasts=tuple(gains),
            changes=tuple(_by_class(final, part.score.class_names)),
            real_equivalent=worth,
            subject=part.subject,
            scored_on=part.scored_on,
            images={
                "training": len(part.train),
                "choosing": len(part.choose) if part.choose is not None else 0,
                "scoring": len(part.score),
            },
            settings=settings,
            class_sizes=tuple(part.train.counts()),
            notes=(*part.notes, *dict.fromkeys(trials.notes), *self.notes),
        )


def _met(final: Final) -> list[Met]:
    roles: dict[Arm, Any] = {final.baseline: "real only", final.winner: "with synthetic"}
    for arm in final.outcomes:
        roles.setdefault(arm, arm.control)
    return [Met(arm, roles[arm], final.accuracies(arm)) for arm in final.outcomes]


def _by_class(final: Final, names: Sequence[str]) -> list[ClassChange]:
    """The change of each class; a trainer need not tell of classes, and a set need not have images of all."""
    found = []
    outcomes = [outcome for arm in (final.baseline, final.winner) for outcome in final.outcomes[arm].values()]
    for name in names:
        if all(name in outcome.by_class and outcome.by_class[name].size for outcome in outcomes):
            alone, mixed = (final.class_mean(arm, name) for arm in (final.baseline, final.winner))
            change = changes(final, final.baseline, final.winner, name)
            found.append(ClassChange(name, alone, mixed, change.mean, change.low, change.high))
        else:
            found.append(ClassChange(name, *[float("nan")] * 5))
    return found
