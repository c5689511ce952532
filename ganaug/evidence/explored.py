"""An exploration as the report reads it back and shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Along", "Explored", "without_pictures"]

Picture = Annotated[str, Field(pattern=r"^data:image/png;base64,[A-Za-z0-9+/]+=*$")]
Number = float | None


class _Told(BaseModel):
    """Part of a result; what is not known here is passed over, as in findings.py."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Walk(_Told):
    """A strip of images as an address that holds them, and those of the training images nearest to its ends."""

    name: str
    images: Picture
    nearest: list[Picture] = []
    apart: list[Number] = []


class Changed(_Told):
    """What a direction does to a measure."""

    strength: Number = None
    words: str = ""


class Turned(_Told):
    """Samples that are seen as another class at an end of a direction."""

    words: str = ""


class Along(_Told):
    """A direction of the latent space."""

    number: int
    classes: list[str] = []
    explained: Number = None
    words: str = ""
    effects: dict[str, Changed] = {}
    turns: list[Turned] = []
    strips: list[Walk] = []

    @property
    def strongest(self) -> list[Changed]:
        """Its effects, the strongest first."""
        return sorted(self.effects.values(), key=lambda effect: -abs(effect.strength or 0.0))


class Explored(_Told):
    """Of `exploration.json`."""

    made_by: ClassVar[str] = "explore"
    judge: str = ""
    seen_right: Number = None
    directions: list[Along] = []
    within: list[Walk] = []
    between: list[Walk] = []
    notes: list[str] = []


def without_pictures(values: Mapping[str, Any] | None) -> Any:
    """An exploration as its file says it, but for what the page alone shows."""
    if isinstance(values, Mapping):
        return {name: without_pictures(value) for name, value in values.items() if name not in ("images", "nearest")}
    return [without_pictures(value) for value in values] if isinstance(values, list) else values
