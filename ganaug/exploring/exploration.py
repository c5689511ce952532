"""What was found of a generator, as figures and as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ganaug.exploring.drawing import Labelled, Strip, draw_sheet
from ganaug.exploring.wording import effect_words, turn_words
from ganaug.pictures import as_picture

__all__ = ["Direction", "Effect", "Exploration", "Turn"]


@dataclass(frozen=True)
class Effect:
    """What a direction does to a measure, from 2 standard deviations below its middle to 2 above, on average."""

    change: float
    """In the measure's own units."""
    strength: float
    """In standard deviations of the measure within a class; about 4 where the direction decides it alone."""


@dataclass(frozen=True)
class Turn:
    """Samples that the judge sees as their own class at a direction's middle, and as another at an end."""

    one: str
    other: str
    end: str
    """"+" or "-"."""
    share: float
    """Of the samples of class `one` that are seen as such at the middle, 0..1."""

    @property
    def words(self) -> str:
        """In a sentence."""
        return turn_words(self.one, self.other, self.end, self.share)


@dataclass(frozen=True)
class Direction:
    """A principal direction of a generator's codes."""

    number: int
    """As the recipe's `latent` takes it; 0 explains the most."""
    classes: tuple[str, ...]
    """Those that the generator makes; where there is one a class, each has directions of its own."""
    explained: float
    """Share of the variance within classes of what an early layer says, 0..1."""
    effects: Mapping[str, Effect]
    """By measure: those of `ganaug.measures.ATTRIBUTES`, and own_class, the judge's probability of the own class."""
    turns: tuple[Turn, ...]
    """The most frequent first."""
    words: str
    """What its + end does beside its - end."""
    strips: tuple[Strip, ...]
    """One a class: a sample with the direction at -2, -1, 0, 1 and 2 standard deviations."""


@dataclass(frozen=True)
class Exploration:
    """What a generator knows; see `ganaug.explore`."""

    bank: str
    """Fingerprint of the bank."""
    directions: tuple[Direction, ...]
    within: tuple[Strip, ...]
    """From one sample of a class to another."""
    between: tuple[Strip, ...]
    """From a class to the next, everything else kept; none where the generator is not told the class."""
    judge: str
    """Who says which class a sample is of."""
    seen_right: float | None
    """Share of ordinary samples that the judge sees as their class, 0..1; none without a judge."""
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> list[str]:
        """A line for each direction."""
        several = len({direction.classes for direction in self.directions}) > 1
        return [
            f"direction {one.number}{f' of {_few(one.classes)}' if several else ''}: {one.words} "
            f"({one.explained:.0%} of the variance)"
            for one in self.directions
        ]

    def picture(self) -> Image.Image:
        """All strips, labelled, on one sheet."""
        return draw_sheet([*self._ways(), *self._walks()])

    def pictures(self) -> dict[str, Image.Image]:
        """The same one by one: "within", "between", "direction 0", ... ."""
        found = {}
        for labelled in (*self._ways(), *self._walks()):
            name = labelled.name
            found[name if name not in found else f"{name} of {labelled.strips[0].name}"] = draw_sheet([labelled])
        return found

    def to_dict(self, *, pictures: bool = False) -> dict[str, Any]:
        """All of it for JSON; with `pictures` strips hold addresses of their images, as the report takes them."""
        return {
            "summary": self.summary,
            "bank": self.bank,
            "judge": self.judge,
            "seen_right": self.seen_right,
            "seed": self.seed,
            "directions": [_told_direction(direction, pictures) for direction in self.directions],
            "within": [_told_strip(strip, pictures) for strip in self.within],
            "between": [_told_strip(strip, pictures) for strip in self.between],
            "notes": list(self.notes),
        }

    def _ways(self) -> list[Labelled]:
        ways = (
            ("within", "from one sample of a class to another", self.within),
            ("between", "from a class to another, all else kept", self.between),
        )
        return [Labelled(name, name, told, strips) for name, told, strips in ways if strips]

    def _walks(self) -> list[Labelled]:
        return [
            Labelled(
                f"direction {one.number}",
                f"direction {one.number}, {one.explained:.0%} of the variance, - to +",
                one.words,
                one.strips,
            )
            for one in self.directions
        ]


def _told_direction(direction: Direction, pictures: bool) -> dict[str, Any]:
    return {
        "number": direction.number,
        "classes": list(direction.classes),
        "explained": round(direction.explained, 4),
        "words": direction.words,
        "effects": {
            name: {
                "change": round(effect.change, 4),
                "strength": round(effect.strength, 3),
                "words": effect_words(name, effect.strength),
            }
            for name, effect in direction.effects.items()
        },
        "turns": [
            {"from": turn.one, "to": turn.other, "end": turn.end, "share": round(turn.share, 3), "words": turn.words}
            for turn in direction.turns
        ],
        "strips": [_told_strip(strip, pictures) for strip in direction.strips],
    }


def _told_strip(strip: Strip, pictures: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"name": strip.name}
    if strip.apart is not None:
        told["apart"] = [round(apart, 4) for apart in strip.apart]
    if pictures:
        told["images"] = _address(strip.images)
        if strip.nearest is not None:
            told["nearest"] = [_address(image[None]) for image in strip.nearest]
    return told


def _address(images: Tensor) -> str:
    """`images` side by side as an address that holds their PNG."""
    file = io.BytesIO()
    as_picture(torch.cat(list(images), dim=2)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
