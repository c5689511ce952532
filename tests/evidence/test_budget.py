import pytest
from planned_trials import Planned

from ganaug.errors import TrainingError
from ganaug.evidence.arms import Arm, synthetic_arms
from ganaug.evidence.budget import fit_into, trainings
from ganaug.evidence.exams import ClassExam
from ganaug.evidence.protocol import compete, meet, sweep, worth_in_real
from ganaug.recipe import Compare

WHOLE = Compare(splits=3, seeds=3)


def classical(settings):
    return len(ClassExam().classical(settings, False))


@pytest.mark.parametrize(
    "changes", [{}, {"ratios": (1.0,)}, {"splits": 1, "schedules": ("annealed",)}, {"reaches": (3.0,)}, {"reaches": ()}]
)
def test_the_count_of_trainings_is_that_of_the_protocol(changes):
    settings = WHOLE.model_copy(update=changes)
    trials = Planned(lambda arm, *_: 0.3 + 0.1 * arm.ratio, splits=settings.splits, seeds=settings.seeds)
    compete(trials, ClassExam().classical(settings, True))
    also = [{"augment": "trivial"}, *({"reach": reach} for reach in settings.reaches)]
    found = sweep(trials, Arm("none"), synthetic_arms(settings, "none"), also=also)
    worth_in_real(trials, meet(trials, Arm("none"), found.winner))
    assert len({(arm, place) for arm, place, _ in trials.ran}) == trainings(settings, classical(settings))


def test_a_large_budget_changes_nothing():
    assert fit_into(WHOLE, classical, minutes=1e4, training=1.0, refit=60.0) == WHOLE


def test_less_is_done_in_fewer_minutes_and_never_nothing():
    sizes = []
    for minutes in (100, 30, 10, 5, 3):
        found = fit_into(WHOLE, classical, minutes=minutes, training=5.0, refit=20.0)
        judging = 10 if any(found.screened) else 0
        assert trainings(found, classical(found)) * 5 + found.splits * (20 + judging) <= 60 * minutes
        assert found.seeds >= 2
        sizes.append(trainings(found, classical(found)))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_what_goes_first_is_how_far_variations_reach():
    whole = trainings(WHOLE, classical(WHOLE)) * 5 / 60
    found = fit_into(WHOLE, classical, minutes=whole - 1, training=5.0, refit=0)
    assert found == WHOLE.model_copy(update={"reaches": ()})


def test_workers_do_more_in_the_same_time():
    one, four = (fit_into(WHOLE, classical, minutes=5, training=5.0, refit=0, workers=n) for n in (1, 4))
    assert trainings(four, classical(four)) > trainings(one, classical(one))


def test_a_budget_too_small_for_any_is_one_line():
    with pytest.raises(
        TrainingError, match=r"0.1 minutes is too small: the smallest comparison takes about 2"
    ) as raised:
        fit_into(WHOLE, classical, minutes=0.1, training=10.0, refit=0.0)
    assert "\n" not in str(raised.value)
