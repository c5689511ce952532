import math

import numpy as np
import pytest

from ganaug.errors import DataError
from ganaug.evidence.statistics import paired_interval

# two-sided 95 % points of Student's t, from printed tables
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262}


@pytest.mark.parametrize("count", [2, 3, 4, 5, 10])
def test_interval_is_students(count):
    values = [0.01 * (i * i % 7) - 0.02 for i in range(count)]
    mean = sum(values) / count
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1))
    half = T[count - 1] * spread / math.sqrt(count)
    assert paired_interval(values) == pytest.approx((mean, mean - half, mean + half), abs=1e-4)


def test_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    bounds = [paired_interval(random.normal(0.3, 1, 3).tolist(), level=0.8) for _ in range(2000)]
    covered = np.mean([b.low <= 0.3 <= b.high for b in bounds])
    assert 0.77 < covered < 0.83


def test_equal_differences_have_no_width_but_that_of_their_images():
    assert paired_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1, 0.1))
    images = [1.0] + [0.0] * 9  # one of ten images told right by luck, by every seed
    found = paired_interval([0.1, 0.1, 0.1], per_image=images)
    half = T[9] * math.sqrt(0.1 / 10)
    assert found == pytest.approx((0.1, 0.1 - half, 0.1 + half), abs=1e-4)
    assert found.low < 0


def test_images_never_narrow_the_interval():
    seeds = [0.0, 0.1, 0.3]
    images = (np.arange(400) % 5 == 0).astype(float).tolist()
    alone, both = paired_interval(seeds), paired_interval(seeds, per_image=images)
    assert both.low <= alone.low
    assert both.high >= alone.high


def test_welch_satterthwaite_by_hand():
    seeds, images = [0.2, 0.2 + 1e-3, 0.2 - 1e-3], [0.0, 1.0] * 5
    a = 1e-6 / 3
    b = (10 * 0.25 / 9) / 10
    freedom = (a + b) ** 2 / (a**2 / 2 + b**2 / 9)
    assert freedom == pytest.approx(9, abs=0.01)
    found = paired_interval(seeds, per_image=images)
    assert found.high - found.mean == pytest.approx(T[9] * math.sqrt(a + b), rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([0.1],), "1 paired differences"),
        (([0.1, math.nan],), "not finite"),
        (([],), "0 paired differences"),
    ],
)
def test_too_little_is_an_error(arguments, said):
    with pytest.raises(DataError, match=said):
        paired_interval(*arguments)


def test_level_and_images_are_checked():
    with pytest.raises(DataError, match="level"):
        paired_interval([0.1, 0.2], level=95)
    with pytest.raises(DataError, match="1 test images"):
        paired_interval([0.1, 0.2], per_image=[0.5])
