"""How far the tints of one set of images are from those of another, wherever they lie in them."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

__all__ = ["tint_distance"]

_QUANTILES = 256


def tint_distance(first: Tensor, second: Tensor) -> float:
    """Distance between the tints of two sets of images NCHW uint8 of as many channels, 0 to 510; 0 of grey ones.

    The 2-Wasserstein distance of the differences of neighbouring channels, which light hardly changes, over all pixels:
    the root mean square difference of their quantiles. So a few pixels of a strong tint count.
    """
    apart = [
        (_quantiles(ours) - _quantiles(theirs)).square().mean()
        for ours, theirs in zip(_tints(first), _tints(second), strict=True)
    ]
    return float(torch.stack(apart).mean().sqrt()) if apart else 0.0


def _tints(images: Tensor) -> list[Tensor]:
    return [one - other for one, other in itertools.pairwise(images.float().unbind(1))]


def _quantiles(values: Tensor) -> Tensor:
    ordered = values.flatten().sort().values
    return ordered[((torch.arange(_QUANTILES) + 0.5) / _QUANTILES * len(ordered)).long()]
