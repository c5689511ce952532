"""Holes in images filled in from around them, smoothly: what the ground under an object may look like."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["fill_in", "grounds_of"]


def fill_in(images: Tensor, known: Tensor) -> Tensor:
    """`images` NCHW float32 as they are where `known` (N, 1, H, W) is 1, and filled from there where it is 0.

    Means of what is known at half the size, a quarter, and so on; each hole takes the finest that has any (pull and
    push, Gortler et al. 1996, The Lumigraph, section 3.3.2). Where nothing at all is known, 0.
    """
    if min(images.shape[-2:]) == 1:
        return images * known
    weight = functional.avg_pool2d(known, 2)
    means = functional.avg_pool2d(images * known, 2) / weight.clamp_min(1e-6)
    coarse = fill_in(means, (4 * weight).clamp_max(1))
    around = functional.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(around, images, known)


def grounds_of(crops: Tensor, inside: Tensor) -> Tensor:
    """(N, C, H, W) uint8: `crops` of that form without what is in the boxes `inside` (N, 4), left, top, right, bottom.

    Boxes are taken a pixel larger, for an object's edge goes a little beyond.
    """
    down, across = (torch.arange(side) + 0.5 for side in crops.shape[-2:])
    left, top, right, bottom = (inside + inside.new_tensor([-1, -1, 1, 1]))[:, :, None].unbind(1)
    hidden = ((down > top) & (down < bottom))[:, :, None] & ((across > left) & (across < right))[:, None, :]
    filled = fill_in(crops.float(), (~hidden[:, None]).float())
    return filled.round().clamp(0, 255).to(torch.uint8)
