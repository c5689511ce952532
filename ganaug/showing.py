"""In which order a learner is shown its images: as often one as another, whatever their number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["TURNS", "epochs", "faded", "in_turn"]

TURNS = 4
"""Samples that a slot shows in turn, epoch by epoch: of `GanAugmented` by default, and so of a comparison."""


def epochs(count: int, wanted: int, seed: int) -> Tensor:
    """`wanted` indices below `count`: shuffled epochs, one after another."""
    random = torch.Generator().manual_seed(seed)
    rounds = math.ceil(wanted / count)
    return torch.cat([torch.randperm(count, generator=random) for _ in range(rounds)])[:wanted]


def faded(order: Tensor, classes: Tensor, fading: int, seed: int) -> Tensor:
    """`order` with the last `fading` indices given up on a straight line over its length, the highest first."""
    if fading == 0:
        return order
    random = torch.Generator().manual_seed(seed + 1)
    staying = len(classes) - fading
    left = 1 - torch.arange(len(order)) / max(1, len(order) - 1)
    gone = order - staying >= left * fading
    faded = order.clone()
    for cls in classes.unique():
        members = (classes[:staying] == cls).nonzero().flatten()
        places = (gone & (classes[order] == cls)).nonzero().flatten()
        if len(members):
            faded[places] = members[torch.randint(len(members), (len(places),), generator=random)]
    return faded


def in_turn(order: Tensor, real: int, slots: int, turns: int) -> Tensor:
    """`order` over `real` images and `slots` for others, with another of `turns` images in each slot every epoch.

    What `GanAugmented` does with a pool of so many samples a slot. The others are numbered from `real` on, those of
    the first epoch first.
    """
    epoch = torch.arange(len(order)) // max(1, real + slots)
    taken = order - real + (epoch % turns) * slots
    return torch.where(order < real, order, real + taken)
