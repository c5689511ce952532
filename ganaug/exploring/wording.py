"""What a direction does, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["LEAST", "direction_words", "effect_words", "turn_words"]

LEAST = 0.8
"""Standard deviations of a measure within a class, from one end of a direction to the other, that are worth words."""
_MUCH = 2.0
_MOST = 3  # effects said of a direction

_WORDS = {
    "brightness": ("makes it darker", "makes it brighter"),
    "contrast": ("takes contrast away", "adds contrast"),
    "saturation": ("takes colour away", "adds colour"),
    "green_to_red": ("makes it greener", "makes it redder"),
    "blue_to_yellow": ("makes it bluer", "makes it yellower"),
    "filled": ("leaves more ground", "fills more of the picture"),
    "extent": ("makes it smaller", "makes it larger"),
    "across": ("moves it left", "moves it right"),
    "down": ("moves it up", "moves it down"),
    "slant": ("leans it left", "leans it right"),
    "tallness": ("makes it wider", "makes it taller"),
    "own_class": ("makes it less like its class", "makes it more like its class"),
}


def effect_words(measure: str, strength: float) -> str:
    """What the + end of a direction does by a measure, beside its - end; `strength` in standard deviations."""
    said = _WORDS[measure][strength > 0]
    return f"{said} (strongly)" if abs(strength) >= _MUCH else said


def turn_words(one: str, other: str, end: str, share: float) -> str:
    """That samples of a class are seen as another at an end of a direction."""
    return f"turns {one} into {other} at {end} ({share:.0%} of them)"


def direction_words(strengths: Mapping[str, float], turns: Sequence[str]) -> str:
    """The strongest effects of a direction's + end, and the first of the classes that it turns into others."""
    ranked = sorted(strengths.items(), key=lambda pair: -abs(pair[1]))
    said = [effect_words(measure, strength) for measure, strength in ranked if abs(strength) >= LEAST][:_MOST]
    return ", ".join([*said, *turns[:1]]) or "changes nothing that is measured here"
