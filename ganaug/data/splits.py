"""Holding back a part of the data, the same share of every class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganaug.errors import DataError

__all__ = ["stratified_split"]


def stratified_split(labels: Sequence[int] | Tensor, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices of the rest and of the part held back, each in rising order.

    Every class gives `round(fraction * n)` of its n images, at least one, and keeps at least one. The same labels,
    fraction and seed give the same split.

    Raises:
        DataError: the fraction is not between 0 and 1, or a class has a single image.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the part to hold back is {fraction}; wanted a number between 0 and 1, as 0.2")
    numbers = torch.as_tensor(labels, dtype=torch.int64).flatten().cpu()
    generator = torch.Generator().manual_seed(seed)
    held_back: list[int] = []
    for label in sorted(set(numbers.tolist())):
        members = (numbers == label).nonzero().flatten()
        if len(members) < 2:
            raise DataError(f"class {label} has one image, so none can be held back; give at least 2 a class")
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held_back += members[torch.randperm(len(members), generator=generator)[:count]].tolist()
    chosen = set(held_back)
    return [i for i in range(len(numbers)) if i not in chosen], sorted(held_back)
