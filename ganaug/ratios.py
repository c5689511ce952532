"""How many synthetic samples each class gets: ratios, schedules of them over epochs, and slots shared out by class."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Union

import numpy as np
import numpy.typing as npt

from ganaug.errors import RecipeError, did_you_mean

__all__ = [
    "MAX_RATIO",
    "AnnealedRatio",
    "Ratio",
    "SlotPlan",
    "interleaved",
    "level_up",
    "per_class_ratio",
    "schedule_of",
    "share_out",
]

MAX_RATIO = 40.0

Ratio = Union[float, Mapping[Union[str, int], float], Sequence[float], Callable[[int], float], Literal["auto"]]
"""A ratio for all, one a class, one an epoch (the last holds), any picklable function of the epoch, or "auto"."""

Counts = npt.NDArray[np.int64]


class Schedule(Protocol):
    """The ratio of each epoch, and the highest of them all, which decides how many slots there are."""

    @property
    def highest(self) -> float: ...

    def __call__(self, epoch: int) -> float: ...


@dataclass(frozen=True)
class AnnealedRatio:
    """A straight line from `start` in the first epoch to `end` in the last of `epochs`, and `end` after that.

    High first and real images only at the end: `AnnealedRatio(1.0, 0.0, epochs=20)`.
    """

    start: float
    end: float
    epochs: int

    def __post_init__(self) -> None:
        _checked(self.start, "start")
        _checked(self.end, "end")
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, numbers.Integral) or self.epochs < 2:
            raise RecipeError(f"epochs is {self.epochs!r}; give a whole number of at least 2")

    @property
    def highest(self) -> float:
        """The higher end."""
        return max(self.start, self.end)

    def __call__(self, epoch: int) -> float:
        """The ratio in an epoch."""
        return self.start + (self.end - self.start) * min(1.0, epoch / (self.epochs - 1))


@dataclass(frozen=True)
class _Listed:
    """One ratio an epoch; the last holds."""

    values: tuple[float, ...]

    @property
    def highest(self) -> float:
        return max(self.values)

    def __call__(self, epoch: int) -> float:
        return self.values[min(epoch, len(self.values) - 1)]


class _Called:
    """A function of the epoch; its first ratio is taken for its highest."""

    def __init__(self, function: Callable[[int], float]) -> None:
        self.function = function
        self.highest = _checked(function(0), "the ratio of epoch 0")

    def __call__(self, epoch: int) -> float:
        ratio = _checked(self.function(epoch), f"the ratio of epoch {epoch}")
        if ratio > self.highest:
            raise RecipeError(
                f"the ratio of epoch {epoch} is {ratio:g}, above that of epoch 0, {self.highest:g}, which sets the "
                "length; let it fall, or give a list with one ratio an epoch"
            )
        return ratio


def schedule_of(ratio: Any) -> Schedule:
    """The schedule that a ratio, a list of ratios or a function of the epoch stands for.

    Raises:
        RecipeError: it is none of these, or one of its ratios is negative, not finite or above 40.
    """
    if isinstance(ratio, AnnealedRatio):
        return ratio
    if callable(ratio):
        return _Called(ratio)
    if isinstance(ratio, (Sequence, np.ndarray)) and not isinstance(ratio, str):
        if len(ratio) == 0:
            raise RecipeError("ratio is an empty list; give one ratio an epoch")
        return _Listed(tuple(_checked(value, f"the ratio of epoch {epoch}") for epoch, value in enumerate(ratio)))
    return _Listed((_checked(ratio, "ratio"),))


def per_class_ratio(ratio: Mapping[Any, Any], keys: Sequence[set[Any]], ignored: set[Any]) -> tuple[float, ...]:
    """The ratio of each class, 0 where the mapping does not name it.

    Args:
        ratio: by class name or number.
        keys: what each class may be called.
        ignored: what may be named and has no place here.
    """
    known = set[Any]().union(*keys)
    for key in ratio:
        if key not in known and key not in ignored:
            raise RecipeError(
                f"ratio names a class {key!r} that cannot be had{did_you_mean(str(key), map(str, known))}"
            )
    return tuple(
        next((_checked(ratio[key], f"the ratio of {key!r}") for key in ratio if key in names), 0.0) for names in keys
    )


def _checked(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) <= MAX_RATIO:
        raise RecipeError(f"{name} is {value!r}; give a number from 0 to {MAX_RATIO:g} (synthetic per real sample)")
    return float(value)


@dataclass(frozen=True)
class SlotPlan:
    """How many synthetic samples each class has in each epoch."""

    sizes: tuple[int, ...]
    """Real images of each class that the bank knows."""
    ratio: Union[Schedule, tuple[float, ...]]
    """For all classes, by epoch; or one a class, the same in every epoch."""
    balance: bool
    fade: Union[Schedule, None] = None
    """Multiplies a ratio for each class, by epoch; it never exceeds 1."""

    def slots(self) -> Counts:
        """Synthetic slots of each class, (classes,): as many as any epoch fills."""
        return self._share(self.ratio if isinstance(self.ratio, tuple) else self.ratio.highest)

    def filled(self, epoch: int) -> Counts:
        """How many of each class's slots hold a synthetic sample in an epoch, (classes,)."""
        if isinstance(self.ratio, tuple):
            if self.fade is None:
                return self.slots()
            share = self.fade(epoch)
            return np.minimum(self._share(tuple(share * ratio for ratio in self.ratio)), self.slots())
        # largest remainders may give a class one more of a smaller total: there is no slot for that one
        return np.minimum(self._share(self.ratio(epoch)), self.slots())

    def _share(self, ratio: float | tuple[float, ...]) -> Counts:
        sizes = np.asarray(self.sizes, dtype=np.int64)
        if isinstance(ratio, tuple):
            counts = np.array([round(r * n) for r, n in zip(ratio, self.sizes, strict=True)], dtype=np.int64)
        else:
            counts = share_out(round(ratio * int(sizes.sum())), sizes)
        return level_up(int(counts.sum()), sizes) if self.balance else counts


def share_out(total: int, sizes: Counts) -> Counts:
    """`total` split in proportion to `sizes` by largest remainder; the earlier class wins a tie.

    >>> share_out(5, np.array([3, 3, 4])).tolist()
    [2, 1, 2]
    """
    if total == 0 or len(sizes) == 0:
        return np.zeros(len(sizes), dtype=np.int64)
    whole, remainder = np.divmod(total * sizes, sizes.sum())
    order = np.argsort(-remainder, kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return whole


def level_up(total: int, sizes: Counts) -> Counts:
    """`total` given to the rarest classes first, until they are level with the next rarest, and so on.

    >>> level_up(5, np.array([10, 2, 4])).tolist()
    [0, 4, 1]
    """
    given = np.zeros(len(sizes), dtype=np.int64)
    order = np.argsort(sizes, kind="stable")
    left = total
    for rank in range(1, len(order) + 1):
        rarest = order[:rank]
        rise = int(sizes[order[rank]]) - int(sizes[rarest[0]] + given[rarest[0]]) if rank < len(order) else left
        step = min(rise, left // rank)
        given[rarest] += step
        left -= step * rank
        if step < rise or left == 0:  # not enough to come level: one each for the first, and done
            given[rarest[:left]] += 1
            break
    return given


def interleaved(counts: Counts) -> Counts:
    """Class of each slot, (counts.sum(),): every class spread evenly over all slots, in one fixed order.

    >>> interleaved(np.array([4, 2])).tolist()
    [0, 1, 0, 0, 1, 0]
    """
    classes = np.repeat(np.arange(len(counts)), counts)
    place = np.concatenate([(np.arange(count) + 0.5) / count for count in counts if count] or [np.zeros(0)])
    return classes[np.lexsort((classes, place))].astype(np.int64)
