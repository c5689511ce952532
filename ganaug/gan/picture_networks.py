"""Parts of networks that make a picture of a picture, of any size.

All convolve, and normalise at each pixel over its channels (Karras et al. 2018, 1710.10196, section 4.2), so that
what is made at a place depends on what is around it, and not on the rest of the image or tile: tiles then fit each
other. Instance normalisation, as such networks have it (Johnson et al. 2016, 1603.08155), would also make much of the
little that there is in an empty tile. Sides are multiples of 2 for each `down`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PatchDiscriminator", "PixelNorm", "ResidualBlock", "down", "up"]


class PixelNorm(nn.Module):
    """Each pixel's channels, NCHW, scaled to a root mean square of 1, and then by a learned factor and shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`x`: NCHW; returns NCHW."""
        size = x.float().square().mean(1, keepdim=True).add(1e-6).rsqrt().to(x.dtype)
        return torch.addcmul(self.shift, x * size, self.scale)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity (He et al. 2016, 1603.05027); at first it changes little."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            PixelNorm(channels), nn.LeakyReLU(0.2), nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        )
        self.second = nn.Sequential(
            PixelNorm(channels), nn.LeakyReLU(0.2), nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        )
        last = self.second[-1]
        assert isinstance(last, nn.Conv2d)
        with torch.no_grad():
            last.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """`x`: (N, channels, H, W), H and W at least 2; returns the same form."""
        changed: Tensor = x + self.second(self.first(x))
        return changed


def down(inputs: int, outputs: int) -> nn.Sequential:
    """(N, inputs, 2h, 2w) to (N, outputs, h, w)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, padding_mode="reflect"),
        PixelNorm(outputs),
        nn.LeakyReLU(0.2),
    )


def up(inputs: int, outputs: int) -> nn.Sequential:
    """(N, inputs, h, w) to (N, outputs, 2h, 2w): enlarged, then convolved.

    A transposed convolution leaves a chequered pattern (Odena et al. 2016, Deconvolution and Checkerboard Artifacts).
    """
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect"),
        PixelNorm(outputs),
        nn.LeakyReLU(0.2),
    )


class PatchDiscriminator(nn.Module):
    """A logit for each patch of an image, high for real (Isola et al. 2017, 1611.07004, section 3.2.2); no norm.

    `width` channels after the first of `downs` halvings, doubled by each further one, 4 `width` at the most.
    """

    def __init__(self, channels: int, width: int, downs: int) -> None:
        super().__init__()
        widths = [channels, *(width * min(4, 2**step) for step in range(downs))]
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, h, w) float32 logits for `images` (N, channels, H, W) in [-1, 1]; h is H by 2 for each halving."""
        x = images.contiguous(memory_format=torch.channels_last)
        for layer in (*self.downs, self.last):
            x = functional.leaky_relu(layer(x), 0.2)
        logits: Tensor = self.head(x).float()
        return logits
