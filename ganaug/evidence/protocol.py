"""The protocol: which arms are trained, in which order, and what may be learned from which images.

1. Classical augmentations of real images alone, on all splits and seeds. The strongest carries on.
2. Synthetic images at every ratio and with every treatment, round by round (a split with a seed); after each round
   the worse half is dropped. The best of them is trained with the second strongest augmentation too: what real images
   want most may be just what synthetic ones bring; and where it shows variations, with some that go farther. Both
   stages look at the part for choosing alone.
3. The best of stage 2 and real images alone meet the part for scoring, on all splits and seeds; if there was a gain,
   so do its controls. What was dropped never does, so nothing was chosen by what the answer comes from.

Every arm is trained for as many steps, from the same start, on the same split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ganaug.evidence.arms import Arm, fewer_real
from ganaug.evidence.result import Tried
from ganaug.evidence.statistics import ClusteredInterval, clustered_interval, holm, real_equivalent

__all__ = [
    "Cell",
    "Final",
    "Outcome",
    "Part",
    "Round",
    "Sweep",
    "Trials",
    "changes",
    "compete",
    "contrasts",
    "meet",
    "second_best",
    "sweep",
    "worth_in_real",
]

Round = tuple[int, int]
"""Number of a split and of a seed."""
Cell = tuple[Arm, Round]
Part = Literal["choose", "score"]
_LEFT = 2  # arms that are never dropped, so that the choice rests on all rounds

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """How one training did on the images of one part."""

    right: Numbers
    """(images,) 1 where it was right, else 0, weighted where every class counts the same; or one score."""
    by_class: Mapping[str, Numbers]
    """The same for each class's own images."""
    also: Mapping[str, float] = field(default_factory=dict)
    """Further measures of the same training by name, as a trainer may tell; they decide nothing."""

    @property
    def accuracy(self) -> float:
        """The mean."""
        return float(self.right.mean())


class Trials(Protocol):
    """Who trains: the reference classifier, or the user's own trainer."""

    @property
    def rounds(self) -> Sequence[Round]:
        """All seeds of all splits, every split once before any comes again."""
        ...

    @property
    def choosing(self) -> bool:
        """Whether there is a part for choosing; without one there is a single arm of either kind."""
        ...

    def prepare(self) -> None:
        """Have the banks ready; called once, before any arm with synthetic images is run."""
        ...

    def synthetic(self, augment: str) -> list[Arm]:
        """The arms with synthetic images."""
        ...

    def controls(self, winner: Arm) -> list[Arm]:
        """What the winner must beat where it gained."""
        ...

    def run(self, cells: Sequence[Cell], part: Part) -> list[Outcome]:
        """Train each of these, unless that is done, and tell how it does on a part."""
        ...

    def size(self, arm: Arm, place: Round) -> int:
        """Real images that an arm trains on."""
        ...


@dataclass(frozen=True)
class Sweep:
    """What the part for choosing told."""

    tried: tuple[Tried, ...]
    winner: Arm
    won: bool
    """Whether the winner did better than real images alone there; true where there was nothing to choose."""


def second_best(tried: Sequence[Tried]) -> str | None:
    """The augmentation that came next to the strongest in stage 1; None where only one was tried."""
    ranked = sorted(tried, key=lambda one: -one.mean)
    return ranked[1].arm.augment if len(ranked) > 1 else None


def compete(trials: Trials, arms: Sequence[Arm]) -> tuple[list[Tried], Arm]:
    """Stage 1: all arms in all rounds, and the best of them by their mean; a tie goes to the earlier."""
    if not trials.choosing:
        assert len(arms) == 1
        return [Tried(arms[0], ())], arms[0]
    cells = [(arm, place) for place in trials.rounds for arm in arms]
    seen: dict[Arm, list[float]] = {arm: [] for arm in arms}
    for (arm, _), outcome in zip(cells, trials.run(cells, "choose"), strict=True):
        seen[arm].append(outcome.accuracy)
    tried = [Tried(arm, tuple(found)) for arm, found in seen.items()]
    return tried, max(tried, key=lambda one: one.mean).arm


def sweep(
    trials: Trials,
    baseline: Arm,
    arms: Sequence[Arm],
    *,
    also: Sequence[Mapping[str, Any]] = (),
    over: Callable[[], bool] = lambda: False,
) -> Sweep:
    """Stage 2: successive halving (Jamieson and Talwalkar 2016, 1502.07943), by rounds, not by longer training.

    Args:
        trials: who trains.
        baseline: real images alone.
        arms: with synthetic images; a tie goes to the earlier.
        also: changes to the best arm, as `{"augment": "crop"}`, each tried in as many rounds; what was better stays.
        over: whether time is up; asked after each round.
    """
    if not trials.choosing:
        assert len(arms) == 1
        return Sweep((Tried(arms[0], ()),), arms[0], True)
    seen: dict[Arm, list[Outcome]] = {arm: [] for arm in (baseline, *arms)}
    running, dropped = list(arms), dict[Arm, int]()
    for number, place in enumerate(trials.rounds, 1):
        cells = [(arm, place) for arm in (baseline, *running)]
        for (arm, _), outcome in zip(cells, trials.run(cells, "choose"), strict=True):
            seen[arm].append(outcome)
        if number == len(trials.rounds) or over():
            break
        worse = _best_first(running, seen)[max(_LEFT, math.ceil(len(running) / 2)) :]
        dropped |= dict.fromkeys(worse, number)
        running = [arm for arm in running if arm not in dropped]
    winner = _best_first(running, seen)[0]
    arms = list(arms)
    for change in also:
        if over():
            break
        arms.append(replace(winner, **change))
        seen[arms[-1]] = trials.run([(arms[-1], place) for place in trials.rounds[: len(seen[winner])]], "choose")
        winner = _best_first([winner, arms[-1]], seen)[0]
    won = _mean(seen[winner]) > _mean(seen[baseline][: len(seen[winner])])
    return Sweep(tuple(_judged(trials.rounds, baseline, arms, seen, dropped)), winner, won)


def _best_first(arms: Sequence[Arm], seen: Mapping[Arm, Sequence[Outcome]]) -> list[Arm]:
    return sorted(arms, key=lambda arm: -_mean(seen[arm]))  # sorted keeps the order of what is equal


def _mean(outcomes: Sequence[Outcome]) -> float:
    return sum(outcome.accuracy for outcome in outcomes) / len(outcomes)


def _judged(
    rounds: Sequence[Round],
    baseline: Arm,
    arms: Sequence[Arm],
    seen: Mapping[Arm, Sequence[Outcome]],
    dropped: Mapping[Arm, int],
) -> list[Tried]:
    paired = [
        {place: new.right - old.right for place, old, new in zip(rounds, seen[baseline], seen[arm], strict=False)}
        for arm in arms
    ]
    p = [clustered_interval(_by_split(found)).p if len(found) > 1 else None for found in paired]
    adjusted = holm([1.0 if one is None else one for one in p])
    return [
        Tried(
            arm,
            tuple(outcome.accuracy for outcome in seen[arm]),
            float(np.mean([change.mean() for change in found.values()])),
            one,
            None if one is None else p_holm,
            dropped.get(arm),
        )
        for arm, found, one, p_holm in zip(arms, paired, p, adjusted, strict=True)
    ]


@dataclass(frozen=True)
class Final:
    """What the part for scoring told: each arm's outcome in each round."""

    baseline: Arm
    winner: Arm
    outcomes: Mapping[Arm, Mapping[Round, Outcome]]

    def accuracies(self, arm: Arm) -> tuple[tuple[float, ...], ...]:
        """Those of each seed, for each split."""
        return self._by_split(arm, lambda outcome: outcome.accuracy)

    def also(self, arm: Arm) -> dict[str, tuple[tuple[float, ...], ...]]:
        """The same of every further measure that all trainings of the arm told."""

        def of(name: str) -> tuple[tuple[float, ...], ...]:
            return self._by_split(arm, lambda outcome: outcome.also[name])

        told = [outcome.also for outcome in self.outcomes[arm].values()]
        return {name: of(name) for name in told[0] if all(name in others for others in told)}

    def mean(self, arm: Arm) -> float:
        """Mean accuracy over splits, and over the seeds of each."""
        return float(np.mean([np.mean(seeds) for seeds in self.accuracies(arm)]))

    def class_mean(self, arm: Arm, class_name: str) -> float:
        """The same of one class's images."""
        found = self._by_split(arm, lambda outcome: float(outcome.by_class[class_name].mean()))
        return float(np.mean([np.mean(seeds) for seeds in found]))

    def _by_split(self, arm: Arm, of: Callable[[Outcome], float]) -> tuple[tuple[float, ...], ...]:
        by_split: dict[int, list[float]] = {}
        for (split, _), outcome in sorted(self.outcomes[arm].items(), key=lambda pair: pair[0]):
            by_split.setdefault(split, []).append(of(outcome))
        return tuple(map(tuple, by_split.values()))


def meet(trials: Trials, baseline: Arm, winner: Arm) -> Final:
    """Stage 3: the winner and real images alone on the part for scoring, in all rounds; and if it gained, the controls.

    What the controls might explain is a gain. Without one they would cost half of this stage and tell nothing.
    """
    final = Final(baseline, winner, _scored(trials, [baseline, winner]))
    if final.mean(winner) <= final.mean(baseline):
        return final
    return Final(baseline, winner, {**final.outcomes, **_scored(trials, trials.controls(winner))})


def _scored(trials: Trials, arms: Sequence[Arm]) -> dict[Arm, dict[Round, Outcome]]:
    cells = [(arm, place) for place in trials.rounds for arm in arms]
    outcomes: dict[Arm, dict[Round, Outcome]] = {arm: {} for arm in arms}
    for (arm, place), outcome in zip(cells, trials.run(cells, "score"), strict=True):
        outcomes[arm][place] = outcome
    return outcomes


def changes(final: Final, less: Arm, more: Arm, class_name: str | None = None) -> ClusteredInterval:
    """How much better `more` did than `less`, paired by split, seed and image; of one class's images, or of all."""

    def of(arm: Arm, place: Round) -> Numbers:
        outcome = final.outcomes[arm][place]
        return outcome.right if class_name is None else outcome.by_class[class_name]

    found = clustered_interval(_by_split({at: of(more, at) - of(less, at) for at in final.outcomes[more]}))
    return found._replace(low=max(-1.0, found.low), high=min(1.0, found.high))  # no accuracy changes by more


def contrasts(final: Final) -> list[tuple[str, ClusteredInterval, float]]:
    """The winner against real images alone and against each control, with p adjusted after Holm."""
    against = {
        "real only": final.baseline,
        **{str(arm.control): arm for arm in final.outcomes if arm.control is not None},
    }
    found = [changes(final, arm, final.winner) for arm in against.values()]
    adjusted = holm([interval.p for interval in found])
    names = [f"with synthetic - {name}" for name in against]
    return list(zip(names, found, adjusted, strict=True))


def worth_in_real(trials: Trials, final: Final) -> float | None:
    """About how many more real images would have brought the winner's gain, by training on fewer of them.

    None where nothing was gained, or where accuracy does not rise with the number of real images.
    """
    gain = final.mean(final.winner) - final.mean(final.baseline)
    if gain <= 0:
        return None
    arms = fewer_real(final.baseline)
    cells = [(arm, place) for place in trials.rounds for arm in arms]
    outcomes = trials.run(cells, "score")
    sizes = [trials.size(arm, place) for arm, place in cells]
    accuracies = [outcome.accuracy for outcome in outcomes]
    whole = [trials.size(final.baseline, place) for place in trials.rounds]
    accuracies += [final.outcomes[final.baseline][place].accuracy for place in trials.rounds]
    if len({*sizes, *whole}) < 2:
        return None
    return real_equivalent([*sizes, *whole], accuracies, gain, float(np.mean(whole)))


def _by_split(found: Mapping[Round, Numbers]) -> list[Any]:
    """For each split an array (seeds, images)."""
    by_split: dict[int, list[Numbers]] = {}
    for (split, _), values in found.items():
        by_split.setdefault(split, []).append(values)
    return [np.stack(seeds) for seeds in by_split.values()]
