from typing import Any

import numpy as np
import pytest

from ganaug.errors import RecipeError
from ganaug.ratios import AnnealedRatio, SlotPlan, interleaved, level_up, per_class_ratio, schedule_of, share_out


@pytest.mark.parametrize(
    ("total", "sizes", "shares"),
    [
        (5, [3, 3, 4], [2, 1, 2]),
        (1, [1, 1, 1], [1, 0, 0]),
        (0, [2, 3], [0, 0]),
        (7, [1, 99], [0, 7]),
        (4, [1, 1], [2, 2]),
    ],
)
def test_largest_remainder(total: int, sizes: list[int], shares: list[int]) -> None:
    assert share_out(total, np.array(sizes)).tolist() == shares


@pytest.mark.parametrize(
    ("total", "sizes", "given"),
    [
        (5, [10, 2, 4], [0, 4, 1]),
        (1, [10, 2, 4], [0, 1, 0]),
        (14, [10, 2, 4], [0, 8, 6]),
        (17, [10, 2, 4], [1, 9, 7]),
        (3, [5, 5], [2, 1]),
        (0, [5, 2], [0, 0]),
        (6, [3], [6]),
    ],
)
def test_the_rarest_are_levelled_up_first(total: int, sizes: list[int], given: list[int]) -> None:
    assert level_up(total, np.array(sizes)).tolist() == given


def test_classes_are_spread_over_all_slots() -> None:
    slots = interleaved(np.array([20, 0, 10]))
    assert np.bincount(slots, minlength=3).tolist() == [20, 0, 10]
    for third in np.split(slots, 3):
        assert 6 <= (third == 0).sum() <= 7


def test_schedules() -> None:
    falling = AnnealedRatio(1.0, 0.0, epochs=5)
    assert [falling(epoch) for epoch in (0, 2, 4, 9)] == [1.0, 0.5, 0.0, 0.0]
    assert falling.highest == 1.0
    listed = schedule_of([0.5, 2, 0])
    assert [listed(epoch) for epoch in (0, 1, 2, 7)] == [0.5, 2, 0, 0]
    assert listed.highest == 2
    called = schedule_of(lambda epoch: 1 + (epoch == 3))
    assert called(2) == called.highest == 1
    with pytest.raises(RecipeError, match="the ratio of epoch 3 is 2, above that of epoch 0"):
        called(3)


def test_no_epoch_fills_more_slots_than_there_are() -> None:
    sizes = (7, 5, 3, 1)
    for balance in (False, True):
        plan = SlotPlan(sizes, schedule_of(np.linspace(1, 0, 30)), balance)
        for epoch in range(31):
            assert (plan.filled(epoch) <= plan.slots()).all()
        assert plan.filled(0).tolist() == plan.slots().tolist()
        assert plan.slots().sum() == 16
        assert plan.filled(30).sum() == 0


@pytest.mark.parametrize("ratio", [-0.1, 41, float("nan"), float("inf"), True, None, [], [0.5, -1], "0.5", ["x"]])
def test_ratios_out_of_range_are_named(ratio: Any) -> None:
    with pytest.raises(RecipeError, match="give "):
        schedule_of(ratio)


def test_annealing_is_checked() -> None:
    for wrong in ({"start": -1}, {"end": 50}, {"epochs": 1}, {"epochs": 2.5}):
        with pytest.raises(RecipeError):
            AnnealedRatio(**{"start": 1.0, "end": 0.0, "epochs": 4, **wrong})  # type: ignore[arg-type]


def test_a_ratio_for_each_class_by_name_or_number() -> None:
    keys: list[set[Any]] = [{"cat", 0}, {"dog", 1}, {"owl", 2}]
    assert per_class_ratio({"owl": 2, 0: 0.5}, keys, set()) == (0.5, 0.0, 2.0)
    assert per_class_ratio({"owl": 2, "fox": 1}, keys, {"fox"}) == (0.0, 0.0, 2.0)
    with pytest.raises(RecipeError, match="'catt' that cannot be had; did you mean 'cat'"):
        per_class_ratio({"catt": 1}, keys, set())
    with pytest.raises(RecipeError, match="the ratio of 'cat' is -1"):
        per_class_ratio({"cat": -1}, keys, set())
