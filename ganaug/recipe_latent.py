"""The section `latent` of a recipe: where the codes of samples go, along a generator's directions and from none."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ganaug.recipe_sections import Section

__all__ = ["Latent", "LatentMoves"]

Deviations = Annotated[float, Field(ge=-6, le=6)]
Width = Annotated[float, Field(ge=0, le=4)]
Number = Annotated[int, Field(ge=0)]


class LatentMoves(Section):
    """Where codes go along the directions that `ganaug explore` numbers, in standard deviations."""

    exclude: tuple[Number, ...] = Field((), description="directions held at one place: 0, or what `shift` says")
    shift: dict[Number, Deviations] = Field({}, description="how far towards an end every sample is moved, as {0: 1.5}")
    spread: dict[Number, Width] = Field({}, description="how widely samples lie along a direction; 1: as they do")

    @model_validator(mode="after")
    def _agree(self) -> LatentMoves:
        if both := set(self.exclude) & set(self.spread):
            raise ValueError(f"direction {min(both)} is excluded, which is a spread of 0; leave it out of spread")
        return self

    @property
    def numbers(self) -> set[int]:
        """The directions that it speaks of."""
        return {*self.exclude, *self.shift, *self.spread}


class Latent(LatentMoves):
    """The same for all classes, and for some of them in its place."""

    reach: float = Field(
        1.0, gt=0, le=4, description="of variations of real images: times as far as in training that noise goes"
    )
    by_class: dict[str, LatentMoves] = Field({}, description="for the classes named, instead of what is said for all")

    @property
    def numbers(self) -> set[int]:
        """The directions that it speaks of, for any class."""
        return super().numbers.union(*(moves.numbers for moves in self.by_class.values()))
