"""How varied and how sharp images are, straight from their pixels."""

from __future__ import annotations

from torch import Tensor

__all__ = ["sharpness", "spread"]


def spread(images: Tensor) -> float:
    """Standard deviation of each pixel over `images` (N, C, H, W; any dtype), averaged over pixels; 0 for one image."""
    if len(images) < 2:
        return 0.0
    return float(images.float().std(0).mean())


def sharpness(images: Tensor) -> float:
    """Mean gradient magnitude of `images` (N, C, H, W; any dtype): forward differences in both directions."""
    images = images.float()
    down = images[:, :, 1:, :-1] - images[:, :, :-1, :-1]
    across = images[:, :, :-1, 1:] - images[:, :, :-1, :-1]
    return float((down.square() + across.square()).sqrt().mean())
