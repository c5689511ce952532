"""How much of a comparison a budget of minutes is good for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from ganaug.errors import TrainingError
from ganaug.evidence.arms import synthetic_arms
from ganaug.recipe import Compare

__all__ = ["fit_into", "trainings"]

_JUDGING = 2.0  # a screening, in trainings of an arm: it trains the judge


def trainings(settings: Compare, classical: int, synthetic: int | None = None) -> int:
    """Trainings of the reference learner that the protocol takes at the most.

    `classical` and `synthetic` are the numbers of arms without and with synthetic images; the latter by default that
    for classes of equal size.
    """
    rounds = settings.splits * settings.seeds
    running = len(synthetic_arms(settings, "none")) if synthetic is None else synthetic
    swept = 0
    for _ in range(rounds):
        swept += running
        running = max(min(2, running), math.ceil(running / 2))
    # the best of them with the second strongest augmentation, and with every reach
    swept += rounds * ((classical > 1) + len(settings.reaches))
    finals = 2 * rounds  # the controls; the winner and real images alone are trained by then
    return classical * rounds + swept + finals + 2 * rounds  # and real images alone, fewer of them


def fit_into(
    settings: Compare,
    classical: Callable[[Compare], int],
    *,
    minutes: float,
    training: float,
    refit: float,
    workers: int = 1,
) -> Compare:
    """The largest part of a comparison that the minutes are good for, by what its pieces take.

    Args:
        settings: all of it.
        classical: how many arms without synthetic images some settings have.
        minutes: the budget.
        training: seconds that one training of the reference learner takes.
        refit: seconds that one fit of the generators takes; 0 where none is needed.
        workers: how many run at a time.

    Raises:
        TrainingError: not even the smallest fits in.
    """
    sized = sorted(
        ((_seconds(part, classical(part), training, refit) / max(1, workers), part) for part in _parts(settings)),
        key=_by_size,
    )
    within = [part for seconds, part in sized if seconds <= 60 * minutes]
    if not within:
        raise TrainingError(
            f"a budget of {minutes:g} minutes is too small: the smallest comparison takes about "
            f"{sized[0][0] / 60:.2g} minutes here; give more minutes, fewer steps, or val and test, which need no refit"
        )
    return within[-1]


def _by_size(sized: tuple[float, Compare]) -> float:
    return sized[0]


def _seconds(settings: Compare, classical: int, training: float, refit: float) -> float:
    judging = _JUDGING * training if any(settings.screened) else 0.0
    return trainings(settings, classical) * training + settings.splits * (refit + judging)


def _parts(settings: Compare) -> Iterator[Compare]:
    """The settings and all smaller ones that are worth while: at least one of everything, and two seeds."""
    for splits, seeds, augments, ratios, schedules, screened, reaches in itertools.product(
        range(1, settings.splits + 1),
        range(2, settings.seeds + 1),
        _shorter(settings.augments, settings.augments[-1]),
        _shorter(settings.ratios, sorted(settings.ratios)[len(settings.ratios) // 2]),
        _shorter(settings.schedules, settings.schedules[0]),
        _shorter(settings.screened, settings.screened[0]),
        sorted({(), settings.reaches}),
    ):
        yield settings.model_copy(
            update={
                "splits": splits,
                "seeds": seeds,
                "augments": augments,
                "ratios": ratios,
                "schedules": schedules,
                "screened": screened,
                "reaches": reaches,
            }
        )


def _shorter(values: Sequence[object], one: object) -> list[tuple[object, ...]]:
    """All of them, or one alone."""
    return [tuple(values)] if len(values) == 1 else [(one,), tuple(values)]
