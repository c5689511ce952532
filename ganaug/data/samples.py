"""What a view is given of pools."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ganaug.data.images import Pixels

__all__ = ["Grounds", "Samples"]


class Grounds(Protocol):
    """Images of the set without their objects."""

    def draw(self, random: np.random.Generator) -> tuple[int, Pixels]:
        """Which image of the set one is of, and the ground, HWC uint8 of that image's size and channels."""


class Samples(Protocol):
    """`samples[class_index, j]` is sample j of a class of the bank, HWC uint8, as the bank makes it."""

    def __getitem__(self, at: tuple[int, int]) -> Pixels: ...
