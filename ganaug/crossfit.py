"""Judging honestly with few images: parts that each do without, and how sure a classifier may be of what it says."""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from ganaug.data import LabelledImages

__all__ = ["fitted_temperature", "folds_of"]

_COLDEST, _HOTTEST = 0.2, 20.0  # temperatures that are looked at


def folds_of(data: LabelledImages, count: int, seed: int) -> Tensor:
    """(whole images,) int64 in 0..count-1: parts of one size in which every kind is spread evenly; copies share one."""
    random = torch.Generator().manual_seed(seed)
    kinds = data.strata
    shuffled = torch.randperm(len(kinds), generator=random)
    order = shuffled[torch.argsort(kinds[shuffled], stable=True)]
    folds = torch.empty(len(kinds), dtype=torch.int64)
    folds[order] = torch.arange(len(kinds)) % count
    first: dict[str, int] = {}
    for index, print_ in enumerate(data.fingerprints):
        folds[index] = folds[first.setdefault(print_, index)]
    numbered: Tensor = folds.unique(return_inverse=True)[1]  # without parts that copies have left empty
    return numbered


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature at which `logits` (N, classes) tell `labels` (N,) int64 with the least cross-entropy."""
    known = logits.double()

    def entropy(log_temperature: float) -> float:
        return float(functional.cross_entropy(known / math.exp(log_temperature), labels))

    bounds = (math.log(_COLDEST), math.log(_HOTTEST))
    return math.exp(float(minimize_scalar(entropy, bounds=bounds, method="bounded").x))
