"""How sure a paired difference is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from ganaug.errors import DataError

__all__ = ["Interval", "paired_interval"]


class Interval(NamedTuple):
    """A mean and the bounds that hold the true one at the stated level."""

    mean: float
    low: float
    high: float


def paired_interval(differences: Sequence[float], *, per_image: Sequence[float] = (), level: float = 0.95) -> Interval:
    """Mean of paired differences, with its interval.

    Student's t over the differences, one for each seed: mean +- t(n - 1) s / sqrt(n). Not a bootstrap: resampling
    two or three numbers can never leave their range, so its interval is far too narrow; t pays for the small n.

    Seeds alone do not say how the answer would change with other test images, and a small test set can agree with
    itself by chance. With `per_image`, the variance of a mean over test images is added, va = s^2 / n and
    vb = s_i^2 / m, with the degrees of freedom of Welch and Satterthwaite,

        (va + vb)^2 / (va^2 / (n - 1) + vb^2 / (m - 1)),

    and the wider of the two intervals is given (sources of variance: Bouthillier et al. 2021, 2103.03098).

    Args:
        differences: one for each seed, at least 2.
        per_image: for each test image, its difference averaged over the seeds; at least 2, or none.
        level: of confidence, inside 0..1.

    Raises:
        DataError: there are too few differences, or one is no finite number.
    """
    if not 0 < level < 1:
        raise DataError(f"level is {level}; wanted a number between 0 and 1, as 0.95")
    values = _checked(differences, "paired differences")
    mean = float(values.mean())
    seeds = float(values.var(ddof=1)) / len(values)
    half = _half_width(seeds, len(values) - 1, level)
    if len(per_image):
        scored = _checked(per_image, "test images")
        images = float(scored.var(ddof=1)) / len(scored)
        both = seeds + images
        if both > 0:
            freedom = both**2 / (seeds**2 / (len(values) - 1) + images**2 / (len(scored) - 1))
            half = max(half, _half_width(both, freedom, level))
    return Interval(mean, mean - half, mean + half)


def _half_width(variance: float, freedom: float, level: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)


def _checked(numbers: Sequence[float], what: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise DataError(f"there are {values.size} {what}; wanted at least 2 for an interval")
    if not np.isfinite(values).all():
        raise DataError(f"the {what} hold a number that is not finite; a training has failed")
    return values
