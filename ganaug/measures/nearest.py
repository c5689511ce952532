"""The nearest real image of each synthetic one."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest_images"]


def nearest_images(synthetic: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """For each synthetic image the index of the nearest real one and its distance.

    `synthetic` (N, C, H, W) and `real` (M, C, H, W) of one dtype and range; the distance is the root mean
    square difference of pixels, in the same units. Returns (N,) int64 and (N,) float32.
    """
    distances = torch.cdist(synthetic.flatten(1).float(), real.flatten(1).float())
    nearest = distances.min(1)
    return nearest.indices, nearest.values / real[0].numel() ** 0.5
