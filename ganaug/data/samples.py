"""What a view is given of a pool."""

from __future__ import annotations

from typing import Protocol

from ganaug.data.images import Pixels

__all__ = ["Samples"]


class Samples(Protocol):
    """`samples[class_index, j]` is sample j of a class of the bank, HWC uint8, as the bank makes it."""

    def __getitem__(self, at: tuple[int, int]) -> Pixels: ...
