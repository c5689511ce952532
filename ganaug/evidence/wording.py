"""Numbers and names as a reader of the report meets them."""

from __future__ import annotations

from typing import Any

__all__ = ["capital", "figure", "interval", "lines", "p_value", "percent", "points", "said", "sentence", "words"]

Number = float | None
_NONE = "\u2013"  # where nothing was measured


def percent(share: Number, digits: int = 1) -> str:
    """A share of one for people; a dash where there is none."""
    return _NONE if share is None else f"{100 * share:.{digits}f}\u00a0%"


def points(difference: Number, digits: int = 1) -> str:
    """A difference of shares in points, signed."""
    return _NONE if difference is None else f"{100 * difference:+.{digits}f}".replace("-", "−")


def figure(value: Number) -> str:
    """A measure's value."""
    return _NONE if value is None else f"{value:.3g}".replace("-", "−")


def sentence(text: str) -> str:
    """Words as a sentence: a capital first, a full stop last."""
    told = capital(text.strip())
    return told if not told or told[-1] in ".!?" else f"{told}."


def interval(low: Number, high: Number) -> str:
    """An interval of a difference, in points; nothing where there is none."""
    return "" if low is None or high is None else f"{points(low)} to {points(high)}"


def p_value(holm: Number, plain: Number) -> str:
    """What is left to chance: after Holm where that was done."""
    p = plain if holm is None else holm
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def lines(*texts: str) -> str:
    """Those that say something, one below the other."""
    return "\n".join(filter(None, texts))


def said(value: Any) -> str:
    """What JSON holds, in words."""
    if isinstance(value, dict):
        return ", ".join(f"{words(str(name))} {said(of)}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(said, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not said"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def words(name: str) -> str:
    """A name of the code as words."""
    return name.replace("_", " ")


def capital(text: str) -> str:
    """The text with a capital first; the rest as it is."""
    return text[:1].upper() + text[1:]
