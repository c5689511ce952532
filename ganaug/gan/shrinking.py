"""Images of half the size and back: how small ones come about, and how near enlarged ones are to what they show.

All are NCHW float in [-1, 1], of any size whose sides are even.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ganaug.gan.seeding import drawn

__all__ = ["blurred", "degraded", "detail", "plainly_enlarged", "shrunk"]

_REACH = 3  # px that a blur reaches to each side


def shrunk(images: Tensor) -> Tensor:
    """Half the size, antialiased: (N, C, 2h, 2w) to (N, C, h, w), by the kernel that Pillow calls bicubic."""
    small: Tensor = functional.interpolate(images, scale_factor=0.5, mode="bicubic", antialias=True)
    return small


def plainly_enlarged(images: Tensor) -> Tensor:
    """Twice the size without anything learned: (N, C, h, w) to (N, C, 2h, 2w), as Pillow's bicubic filter does it."""
    large: Tensor = functional.interpolate(images, scale_factor=2.0, mode="bicubic", antialias=True)
    return large


def blurred(images: Tensor, deviations: Tensor) -> Tensor:
    """Each of `images` under a Gaussian of its own of `deviations` (N,) pixels, at least 0; mirrored at the border."""
    count, channels = images.shape[:2]
    places = torch.arange(-_REACH, _REACH + 1, dtype=torch.float32, device=images.device)
    weights = torch.exp(-0.5 * (places / deviations.float().clamp_min(0.05)[:, None]).square())
    weights = (weights / weights.sum(1, keepdim=True)).to(images.dtype).repeat_interleave(channels, 0)[:, None, :, None]
    padded = functional.pad(images, (_REACH,) * 4, mode="reflect").flatten(0, 1)[None]
    down = functional.conv2d(padded, weights, groups=count * channels)
    across = functional.conv2d(down, weights.transpose(2, 3), groups=count * channels)
    made: Tensor = across[0].unflatten(0, (count, channels))
    return made


def degraded(images: Tensor, blur: float, noise: float, random: torch.Generator | None) -> Tensor:
    """`images` as a generator's samples are beside shrunk photographs: softer, grained and woven.

    Each is blurred by 0 to `blur` pixels and has noise of deviation 0 to `noise` added, of three kinds in equal parts:
    as fine as the pixels; softer; and softer but of another sign in every second row, column or both, as transposed
    convolutions leave it. Random degradation, and not a single one, is what lets such a network be used on images
    of unknown origin (Zhang et al. 2021, 2103.14006; Wang et al. 2021, 2107.10833).
    """
    shape = images.shape[1:]
    draws = drawn(lambda count: torch.rand(count, 3, generator=random), len(images), random).to(images)
    fine, soft, woven = drawn(
        lambda count: torch.randn(count, 3, *shape, generator=random), len(images), random
    ).to(images).unbind(1)  # fmt: skip
    wide = torch.ones(len(images), device=images.device)
    soft, woven = (2 * math.sqrt(math.pi) * blurred(one, wide) for one in (soft, woven))  # of deviation 1 again
    grain = (fine + soft + woven * _weave(draws[:, 2], *shape[1:])) / math.sqrt(3)
    return blurred(images, blur * draws[:, 0]) + (noise * draws[:, 1])[:, None, None, None] * grain


def _weave(draws: Tensor, height: int, width: int) -> Tensor:
    """(N, 1, height, width) of 1 and -1 in turn, along rows, columns or both as `draws` (N,) in [0, 1) say."""
    down = 1 - 2 * (torch.arange(height, device=draws.device) % 2)[:, None].expand(height, width)
    across = 1 - 2 * (torch.arange(width, device=draws.device) % 2).expand(height, width)
    return torch.stack([down, across, down * across])[(3 * draws).long().clamp(0, 2)][:, None].to(draws)


def detail(images: Tensor) -> Tensor:
    """What `shrunk` and `plainly_enlarged` lose of images, of the same shape."""
    return images - plainly_enlarged(shrunk(images))
