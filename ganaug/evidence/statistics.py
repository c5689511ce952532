"""How sure a paired difference is, among how many, and how many real images it is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from ganaug.errors import DataError

__all__ = [
    "DOUBLINGS",
    "ClusteredInterval",
    "Interval",
    "clustered_interval",
    "holm",
    "learning_curve",
    "paired_interval",
    "real_equivalent",
]

DOUBLINGS = 3
"""A learning curve is not followed beyond so many doublings of the real images: nothing was measured there."""

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Counts = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Interval(NamedTuple):
    """A mean and the bounds that hold the true one at the stated level."""

    mean: float
    low: float
    high: float


class ClusteredInterval(NamedTuple):
    """A mean, the bounds that hold the true one at the stated level, and the p of there being no change."""

    mean: float
    low: float
    high: float
    p: float


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


def clustered_interval(
    changes: Sequence[Any], *, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> ClusteredInterval:
    """Mean change over data splits, with an interval clustered by split.

    A bootstrap of three levels: splits are drawn with replacement, then the seeds of each drawn split, then its
    images, the same for all of its seeds. All that was done on one split shares its training images and its fitted
    generators, so the splits are what may be counted; seeds and images alone would give an interval far too narrow.

    Splits are few, and so few resampled vary less than they do. So d, the distances of the resampled means from the
    mean, are multiplied by w = 1 + 0.7 / splits (1 + 1.75 / splits where a split has one seed): the interval is
    mean +- w q, q the quantile of |d| at `level`, and p the share of w |d| that reach |mean|. The factor was found by
    simulation: without any true change, with standard deviations of 1 point between splits, 1.5 between seeds and
    200 to 2000 images, low > 0 in at most 2.5 of 100 at 1 to 5 splits. One split tells nothing of how others would
    differ; its factor covers that 1 point, and no more: at 2 points and 2000 images, about 8 of 100 are false. Nor can
    splits of the same images tell what all of them share: the interval speaks of other splits, not of other data sets.

    Where a split has few images, w is multiplied by 1 + 5 / (splits images^2), for two or three images resampled vary
    far less than new ones would: found likewise, with standard deviations of 2 to 10 points between images. A split
    that has a single score, as a user's own trainer gives it, tells nothing of images and is not widened for them.

    Args:
        changes: for each split, (seeds, images): what each image was scored with the change, less without it; -1, 0
            or 1 for right and wrong. Splits weigh the same, and may have other images, and numbers of them.
        level: of confidence, inside 0..1; the factors were found for 0.95.
        resamples: of the bootstrap, 100 at least.
        seed: of the bootstrap.

    Raises:
        DataError: one split of one seed, an empty split, or a number that is not finite.
    """
    if not 0 < level < 1:
        raise DataError(f"level is {level}; wanted a number between 0 and 1, as 0.95")
    if resamples < 100:
        raise DataError(f"resamples is {resamples}; wanted 100 at least, as 4000")
    splits = _checked_splits(changes)
    mean = float(np.mean([split.mean() for split in splits]))
    counted = [_counted(split) for split in splits]
    random = np.random.default_rng(seed)
    drawn = random.integers(len(splits), size=(resamples, len(splits)))
    means = np.zeros(resamples)
    for place in drawn.T:  # one drawn split of every resample
        for number, (kinds, times) in enumerate(counted):
            where = np.flatnonzero(place == number)
            means[where] += _resampled(kinds, times, len(where), random) / len(splits)
    fewest = [min(split.shape[axis] for split in splits) for axis in (0, 1)]
    distances = _widening(len(splits), *fewest) * np.abs(means - mean)
    half = float(np.quantile(distances, level))
    reached = np.count_nonzero(distances >= abs(mean) - 1e-12)  # means that are equal but for rounding are equal
    return ClusteredInterval(mean, mean - half, mean + half, (1 + int(reached)) / (1 + resamples))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p, in the order given (Holm 1979: the i-th smallest of m times m - i + 1, never falling).

    Raises:
        DataError: one is no number inside 0..1.
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise DataError(f"the p are {list(p)}; wanted numbers between 0 and 1")
    order = np.argsort(values, kind="stable")
    raised = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, raised)
    return [float(value) for value in adjusted]


def learning_curve(sizes: Sequence[float], accuracies: Sequence[float]) -> tuple[float, float]:
    """Intercept and slope of accuracy = intercept + slope log2(size), by least squares.

    Args:
        sizes: numbers of real images, 2 different ones at least, which may come again (other splits and seeds).
        accuracies: one for each of them, 0..1.

    Raises:
        DataError: they are not as many, too few, or not finite; or a size is not positive.
    """
    if len(sizes) != len(accuracies):
        raise DataError(f"there are {len(sizes)} sizes and {len(accuracies)} accuracies; wanted one for each size")
    scored = _checked(accuracies, "accuracies")
    counted = _checked(sizes, "sizes")
    if counted.min() <= 0 or counted.min() == counted.max():
        raise DataError(f"the sizes are {sorted(set(sizes))}; wanted 2 different ones at least, above 0")
    doublings = np.log2(counted)
    apart = doublings - doublings.mean()
    slope = float(apart @ scored / (apart @ apart))
    return float(scored.mean() - slope * doublings.mean()), slope


def real_equivalent(sizes: Sequence[float], accuracies: Sequence[float], gain: float, n: float) -> float | None:
    """How many more real images than `n` would have brought the same gain, by the learning curve of real images.

    n (2^(gain / slope) - 1), at most n (2^DOUBLINGS - 1), which stands for "as many or more"; below zero for a loss.

    Args:
        sizes: as `learning_curve` takes them, as are the next.
        accuracies: of training on so many real images alone.
        gain: in accuracy, of what is judged.
        n: real images that it was judged with.

    Returns:
        The number, or None where the curve does not rise, so that no number of real images would do.

    Raises:
        DataError: as `learning_curve`.
    """
    _, slope = learning_curve(sizes, accuracies)
    if slope <= 0:
        return None
    return float(n * (2.0 ** min(gain / slope, DOUBLINGS) - 1))


def _widening(splits: int, seeds: int, images: int) -> float:
    """Just above the least that the simulation of tests/evidence/test_clustered.py asks for, in every setting of it."""
    few = 5 / (splits * images**2) if images > 1 else 0.0
    return (1 + (0.7 if seeds > 1 else 1.75) / splits) * (1 + few)


def _counted(split: Array) -> tuple[Array, Counts]:
    kinds, times = np.unique(split.T, axis=0, return_counts=True)
    return kinds, times.astype(np.int64)


def _resampled(kinds: Array, times: Counts, count: int, random: np.random.Generator) -> Array:
    """`count` means of one split, its seeds and its images drawn with replacement.

    Images that changed alike, in every seed, are of one kind; how often a kind is drawn is all that matters.

    Args:
        kinds: (kinds, seeds), the changes.
        times: (kinds,), how many images are of each.
        count: of means.
        random: is drawn from.
    """
    seeds, images = kinds.shape[1], times.sum()
    of_images = random.multinomial(images, times / images, size=count) @ kinds / images  # (count, seeds)
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=count) / seeds
    means: Array = (of_images * of_seeds).sum(1)
    return means


def _checked_splits(changes: Sequence[Any]) -> list[Array]:
    splits = [np.asarray(change, dtype=np.float64) for change in changes]
    for number, split in enumerate(splits):
        if split.ndim != 2 or not split.size:
            raise DataError(f"split {number} has the shape {split.shape}; wanted (seeds, images), one of each at least")
        if not np.isfinite(split).all():
            raise DataError(f"split {number} holds a number that is not finite; a training has failed")
    if sum(len(split) for split in splits) < 2:
        raise DataError(
            f"there are {len(splits)} splits and {sum(len(split) for split in splits)} trainings; wanted 2 trainings "
            "at least for an interval"
        )
    return splits


def _half_width(variance: float, freedom: float, level: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(variance)


def _checked(numbers: Sequence[float], what: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.asarray(numbers, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise DataError(f"there are {values.size} {what}; wanted at least 2 for an interval")
    if not np.isfinite(values).all():
        raise DataError(f"the {what} hold a number that is not finite; a training has failed")
    return values
