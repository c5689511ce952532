"""One comparison, from images to answer: who trains on what, stage by stage, within the minutes that there are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Union

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.errors import DataError
from ganaug.evidence.arms import Arm
from ganaug.evidence.budget import fit_into, trainings
from ganaug.evidence.exams import LentExam, get_exam, get_learner_exam
from ganaug.evidence.own_trainer import Lent, OwnTrials, places_of
from ganaug.evidence.parts import Parts, given_parts, refuse_leaks, splits
from ganaug.evidence.protocol import Final, changes, compete, contrasts, meet, second_best, sweep, worth_in_real
from ganaug.evidence.result import ClassChange, Comparison, Contrast, Met, Tried
from ganaug.evidence.trials import Crew, ReferenceTrials
from ganaug.planning import plan_fit
from ganaug.recipe import Compare, Recipe, Screening

__all__ = ["Comparing", "Say"]

Say = Callable[[str], None]
Trials = Union[ReferenceTrials, OwnTrials]
_REFITTING = 0.5  # share of a budget that a single refit may take
_FEW = 5  # scored images of a split, below which that is said


class Comparing:
    """One question, from images to answer."""

    def __init__(self, bank: GeneratorBank, settings: Compare, crew: Crew, seed: int, say: Say) -> None:
        self.bank = bank
        self.exam = get_exam(bank.task)
        reaches = {"reaches": settings.reaches if bank.varies else ()}
        self.settings = self.exam.settings(settings).model_copy(update=reaches)
        self.crew = crew
        self.seed = seed
        self.say = say
        self.flips = bank.recipe.data.horizontal_flip
        self.began = time.monotonic()
        self.notes: list[str] = []

    def reference(
        self, source: Any, sets: Mapping[str, Any], *, classes: Sequence[str] | None, raw: Any, on_bad: Any
    ) -> ReferenceTrials:
        """The trials of the reference learner."""
        exam = get_learner_exam(self.bank.task)
        names = exam.names(self.bank, classes)
        train = self.exam.read(source, self.bank, names, what="data", raw=raw, on_bad=on_bad)
        wanted = names if classes is not None else None
        held = {what: self.exam.read(one, self.bank, wanted, what=what, on_bad=on_bad) for what, one in sets.items()}
        classical = exam.classical(self.settings, self.flips)
        arms = exam.synthetic(self.settings, "none", train)
        several = len(classical) > 1 or len(arms) > 1 or bool(self.settings.reaches)
        parts = self._parts(train, held, several)
        screening = self.bank.recipe.screening or Screening()
        return ReferenceTrials(
            self.bank.task, parts, self.settings, self.flips, self.seed, self.crew, self._banks(parts), self._recipe(),
            screening,
        )  # fmt: skip

    def own(
        self,
        trainer: Any,
        real: Any,
        sets: Mapping[str, Any],
        *,
        evaluation: Any = None,
        raw: Any = None,
        on_bad: Any = "stop",
        augments: Sequence[str] = ("own",),
        told: Mapping[str, Any] | None = None,
    ) -> OwnTrials:
        """The trials of a trainer on the user's own dataset: ratios, with the trainer's own augmentation.

        `augments` and `told` are what is said of a trainer that is not the user's.
        """
        if on_bad != "stop":
            raise DataError("on_bad='skip' goes with the reference classifier; leave bad images out of your dataset")
        update = {"schedules": ("constant",), "screened": (False,), "soft": (False,), "augments": tuple(augments)}
        self.settings = self.settings.model_copy(update=update)
        train = self.exam.read(real, self.bank, None, what="data", raw=raw, on_bad="stop")
        names = train.class_names
        held = {what: self.exam.read(one, self.bank, None, what=what, on_bad="stop") for what, one in sets.items()}
        several = len(self.settings.ratios) > 1 or len(augments) > 1 or bool(self.settings.reaches)
        parts = self._parts(train, held, several)
        count = len(train.fingerprints)
        if evaluation is not None and len(evaluation) != count:
            raise DataError(f"evaluation has {len(evaluation)} images and the dataset {count}; wanted the same")
        lent = [self._lent(part, real, train, sets, held, evaluation) for part in parts]
        assert all(part.train.class_names == names for part in parts)
        return OwnTrials(
            self.bank.task, trainer, parts, lent, self.settings, self.seed, self.crew, self._banks(parts),
            self._recipe(), **(told or {}),
        )  # fmt: skip

    def lent(self, exam: LentExam, source: Any, sets: Mapping[str, Any], on_bad: str) -> OwnTrials:
        """The trials of a library's learner on the user's own images."""
        trainer, said = exam.trainer(self.settings, str(self.crew.device))
        told = dict(said)
        augments = told.pop("augments")
        items = {what: exam.items(one, what, on_bad) for what, one in sets.items()}
        return self.own(trainer, exam.items(source, "data", on_bad), items, augments=augments, told=told)

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
            found = splits(train, self.settings.splits, several, self.seed, fewest=self.exam.fewest)
            self.say(
                f"{len(found)} splits of {len(train.fingerprints)} images: {len(found[0].train.fingerprints)} to train "
                f"on and {len(found[0].held)} held back in each"
            )
            return found
        notes = refuse_leaks(self.bank, train, held)
        names = train.class_names
        sets = {what: self.exam.in_order(images, names, what) for what, images in held.items()}
        part = given_parts(train, sets, several, self.seed, fewest=self.exam.fewest)
        return [replace(part, notes=(*part.notes, *notes))]

    def _banks(self, parts: Sequence[Parts]) -> list[GeneratorBank]:
        """The bank as it is; none where its recipe is to be refitted."""
        return [self.bank.to(self.crew.device)] if parts[0].subject == "bank" else []

    def _recipe(self) -> Recipe:
        recipe = self.bank.recipe
        return recipe if recipe.kimg is not None else recipe.replace({"kimg": self.bank.manifest.kimg})

    def carried_out(self, trials: Trials) -> Comparison:
        """The protocol, stage by stage, and what it found."""
        classical = trials.classical()
        keep_until = self._within_budget(trials, classical[0])
        assert self.crew.bar is not None
        classical = trials.classical()  # some may be left out for want of time
        self.crew.bar.expect(trainings(self.settings, len(classical), len(trials.synthetic("none"))))
        baselines, baseline = compete(trials, classical)
        if len(classical) > 1:
            best = next(one.mean for one in baselines if one.arm == baseline)
            self.say(f"of real images alone, {baseline.name} does best: {best:.1%}")
        if not trials.banks:
            self.say(f"refitting the recipe on the training part of {len(trials.parts)} splits")
        trials.prepare()
        also: list[dict[str, Any]] = [{"augment": other} for other in [second_best(baselines)] if other is not None]
        also += [{"reach": reach} for reach in self.settings.reaches]
        swept = sweep(trials, baseline, trials.synthetic(baseline.augment), also=also, over=keep_until)
        self.say(f"with synthetic images: {swept.winner.name}")
        final = meet(trials, baseline, swept.winner)
        few = min(trials.parts[0].train.kinds().values()) < 2  # fewer of those cannot be had
        skipped = few or keep_until() or not self.settings.real_equivalent
        worth = None if skipped else worth_in_real(trials, final)
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

        def classical(settings: Compare) -> int:
            if isinstance(trials, OwnTrials):
                return len(settings.augments)
            return len(trials.exam.classical(settings, self.flips))

        self.settings = fit_into(
            asked, classical, minutes=minutes, training=training, refit=refit, workers=workers
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
        names = self.exam.scored(part.score.class_names)
        gains = [Contrast(name, *found, p_holm) for name, found, p_holm in contrasts(final)]
        scored = len(part.score.fingerprints)
        if scored < _FEW:
            self.notes.append(
                f"{scored} images are scored in each split, which tells little of others: the interval is as wide as "
                "that asks for; more images, or val and test, would tell more"
            )
        if len(gains) == 1:
            self.notes.append("there was no gain for controls to explain, so none were trained")
        recipe = trials.recipe
        refitted = part.subject == "recipe" and recipe is not None
        own = isinstance(trials, OwnTrials) and not trials.by_steps
        told = self.settings.model_dump(mode="json", exclude={"steps", "batch"} if own else set())
        settings = {
            **told,
            "augment": final.baseline.augment,
            "metric": trials.metric,
            "learner": trials.learner,
            "kimg": recipe.kimg if refitted and recipe is not None else self.bank.manifest.kimg,
            "seed": self.seed,
        }
        return Comparison(
            class_names=names,
            baselines=tuple(baselines),
            sweep=tuple(swept),
            chosen=final.winner,
            won=won,
            final=tuple(_met(final)),
            contrasts=tuple(gains),
            changes=tuple(_by_class(final, names)),
            real_equivalent=worth,
            subject=part.subject,
            scored_on=part.scored_on,
            images={
                "training": len(part.train.fingerprints),
                "choosing": len(part.choose.fingerprints) if part.choose is not None else 0,
                "scoring": scored,
            },
            settings=settings,
            class_sizes=tuple(part.train.counts()),
            notes=(*part.notes, *dict.fromkeys(trials.notes), *self.notes),
        )


def _met(final: Final) -> list[Met]:
    roles: dict[Arm, Any] = {final.baseline: "real only", final.winner: "with synthetic"}
    for arm in final.outcomes:
        roles.setdefault(arm, arm.control)
    return [Met(arm, roles[arm], final.accuracies(arm), final.also(arm)) for arm in final.outcomes]


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
