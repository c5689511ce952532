import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganaug.evidence.charts import Axis, curve, tone

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(numbers, min_size=1, max_size=20))
def test_an_axis_holds_every_value_between_round_ticks(values):
    axis = Axis.over(values)
    rounding = 1e-6 * max(map(abs, values)) + 1e-9
    assert axis.low <= min(values) + rounding
    assert axis.high >= max(values) - rounding
    assert axis.ticks[0] == axis.low
    assert axis.ticks[-1] == axis.high
    assert 2 <= len(axis.ticks) <= 9
    gaps = [after - before for before, after in itertools.pairwise(axis.ticks)]
    assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-6)


def test_where_values_lie():
    axis = Axis.over([-1.2, None, math.nan, 3.9])
    assert axis.ticks == (-2, 0, 2, 4)
    assert [axis.at(value) for value in (-2, 1, 4)] == [0, 50, 100]
    assert axis.at(-50) == 0
    assert axis.at(math.inf) == 100


def test_an_axis_of_one_value_or_none_has_a_length():
    assert Axis.over([0.7]).low < 0.7 < Axis.over([0.7]).high
    assert Axis.over([]).low < 0 < Axis.over([]).high


def test_a_curve_starts_at_zero_and_leaves_out_what_is_no_number():
    drawn = curve("loss", [([10.0, 20.0, 40.0], [1.0, math.nan, 2.0])], mark=20.0)
    points = [tuple(map(float, point.split(","))) for point in drawn.lines[0].split()]
    assert len(points) == 2
    (x, y), (later, higher) = points
    assert drawn.left < x < drawn.mark < later == drawn.right
    assert drawn.top == higher < y == drawn.bottom  # down is more in a picture
    assert [label for _, label in drawn.across] == ["0", "10", "20", "30", "40"]
    assert drawn.last == "2"


def test_there_is_no_curve_without_points():
    assert curve("loss", [([1.0], [math.nan])]) is None
    assert curve("loss", []) is None


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.2, "gain"), (-0.2, -0.1, "loss"), (-0.1, 0.1, "unsure"), (0.0, 0.1, "unsure"), (None, 0.1, "unsure")],
)
def test_the_tone_of_an_interval(low, high, said):
    assert tone(low, high) == said
