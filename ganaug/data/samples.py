"""What a view is given of pools."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ganaug.data.images import Pixels
from ganaug.data.mask_values import Map

__all__ = ["Grounds", "Samples", "Variations"]


class Grounds(Protocol):
    """Images of the set without their objects."""

    def draw(self, random: np.random.Generator) -> tuple[int, Pixels]:
        """Which image of the set one is of, and the ground, HWC uint8 of that image's size and channels."""


class Samples(Protocol):
    """`samples[class_index, j]` is sample j of a class of the bank, HWC uint8, as the bank makes it."""

    def __getitem__(self, at: tuple[int, int]) -> Pixels: ...


class Variations(Protocol):
    """What each sample is a variation of, and what becomes of it."""

    channels: int
    """Of the images that are varied."""

    def source(self, sample: int) -> tuple[int, int, int]:
        """Which item of the dataset sample `sample` is of, and the first row and column of the part that is used."""

    def vary(self, sample: int, pixels: Pixels, values: Map) -> tuple[Pixels, Map]:
        """That part, HWC uint8, and its class numbers (H, W), varied; of the same size."""
