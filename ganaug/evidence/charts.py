"""Charts as numbers: where on an axis each mark lies. The page's template draws them, in colours that it may change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Axis", "Curve", "Mark", "curve", "tone"]

_WIDTH, _HEIGHT = 260.0, 132.0  # of a curve's picture, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 8.0, 8.0, 22.0


@dataclass(frozen=True)
class Axis:
    """A straight axis from `low` to `high`."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Iterable[float | None], *, about: int = 5) -> Axis:
        """An axis that holds all values (None and NaN aside), from tick to tick, with about so many of them."""
        seen = [value for value in values if value is not None and math.isfinite(value)] or [0.0]
        low, high = min(seen), max(seen)
        if high - low < 1e-9 * max(1.0, abs(low)):
            half = 0.5 * abs(low) or 0.5
            low, high = low - half, high + half
        step = _nice((high - low) / about)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = tuple(round(number * step, 12) for number in range(first, last + 1))
        return cls(ticks[0], ticks[-1], ticks)

    def at(self, value: float) -> float:
        """Where a value lies, 0..100; what is beyond an end is put there."""
        return round(min(100.0, max(0.0, 100 * (value - self.low) / (self.high - self.low))), 2)


@dataclass(frozen=True)
class Mark:
    """A row of a chart: a mean, its interval where there is one, and the single results as faint dots."""

    name: str
    mean: float | None
    low: float | None = None
    high: float | None = None
    dots: tuple[float, ...] = ()
    note: str = ""
    value: str = ""
    aside: str = ""
    tone: str = "plain"
    faded: bool = False


@dataclass(frozen=True)
class Curve:
    """One small chart of lines, in the units of a picture of `width` x `height`."""

    name: str
    lines: tuple[str, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    mark: float | None
    last: str
    width: float = _WIDTH
    height: float = _HEIGHT
    left: float = _LEFT
    right: float = _WIDTH - _RIGHT
    bottom: float = _HEIGHT - _BOTTOM
    top: float = _TOP


def curve(
    name: str, lines: Sequence[tuple[Sequence[float], Sequence[float]]], *, mark: float | None = None
) -> Curve | None:
    """Lines of (x, y) as one small chart from x = 0, with a mark at x; None where there is no point but NaN ones."""
    kept = [[(x, y) for x, y in zip(*line, strict=True) if math.isfinite(x) and math.isfinite(y)] for line in lines]
    kept = [points for points in kept if points]
    if not kept:
        return None
    across = Axis.over([0.0, *(x for points in kept for x, _ in points)], about=4)
    up = Axis.over((y for points in kept for _, y in points), about=3)

    def right_of(x: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * across.at(x) / 100, 1)

    def above(y: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * up.at(y) / 100, 1)

    return Curve(
        name=name,
        lines=tuple(" ".join(f"{right_of(x)},{above(y)}" for x, y in points) for points in kept),
        across=tuple((right_of(tick), f"{tick:g}") for tick in across.ticks),
        up=tuple((above(tick), f"{tick:g}") for tick in up.ticks),
        mark=None if mark is None else right_of(mark),
        last=", ".join(f"{points[-1][1]:.3g}" for points in kept[:1]),
    )


def tone(low: float | None, high: float | None) -> str:
    """What an interval of a difference says: "gain" above zero, "loss" below, "unsure" across it or without one."""
    if low is None or high is None:
        return "unsure"
    return "gain" if low > 0 else "loss" if high < 0 else "unsure"


def _nice(step: float) -> float:
    """The nearest of 1, 2, 5, 10, ... that is not smaller."""
    unit = 10.0 ** math.floor(math.log10(step))
    return next(unit * factor for factor in (1.0, 2.0, 5.0, 10.0) if unit * factor >= step * (1 - 1e-9))
