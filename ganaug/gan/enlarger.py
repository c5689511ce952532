"""A network that makes an image of twice the size, of any size: the plain enlargement, and details added to it.

After SRGAN (Ledig et al. 2017, 1609.04802) and EDSR (Lim et al. 2017, 1707.02921): all work is done at the small size,
and without normalisation, which would take from a network how dark or bright a place is. The step to the large size is
a pixel shuffle (Shi et al. 2016, 1609.05158) whose weights begin alike for the four pixels that come of one, so that no
chequered pattern is there to be unlearned (ICNR, Aitken et al. 2017, 1707.02937).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.gan.shrinking import plainly_enlarged, shrunk

__all__ = ["Enlarger", "EnlargerShape", "EnlargingGenerator"]

_CHUNK = 64  # images shrunk at a time


@dataclass(frozen=True)
class EnlargerShape:
    """All that is needed to build the networks of one fit; kept in the bank."""

    resolution: int
    """Side of the enlarged images that it was fitted on."""
    image_channels: int
    generator_channels: int
    discriminator_channels: int
    blocks: int
    shown: int
    """Training images that the generator keeps, shrunk, to show what it does."""
    classes: int = 1
    latent_dim: int = 2
    """Numbers of noise that say which of them is enlarged; the enlarging itself has none."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able mapping."""
        return asdict(self)


class _Block(nn.Module):
    """Two convolutions beside an identity, without normalisation (1707.02921, figure 2); at first it changes little."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.second(functional.leaky_relu(self.first(x), 0.2))
        return x + changed


class Enlarger(nn.Module):
    """Images (N, C, h, w) to (N, C, 2h, 2w), h and w at least 2; at first all but the plain enlargement."""

    def __init__(self, shape: EnlargerShape) -> None:
        super().__init__()
        width = shape.generator_channels
        self.first = nn.Conv2d(shape.image_channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(shape.blocks)))
        self.spread = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.last = nn.Conv2d(width, shape.image_channels, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        with torch.no_grad():  # channel 4c + i is pixel i of channel c
            for parameter in self.spread.parameters():
                parameter.copy_(parameter[::4].repeat_interleave(4, 0))

    def forward(self, images: Tensor) -> Tensor:
        """`images` in [-1, 1]; what comes out may leave that a little, as the plain enlargement does."""
        x = self.first(images.contiguous(memory_format=torch.channels_last))
        x = x + self.blocks(x)
        x = functional.leaky_relu(functional.pixel_shuffle(self.spread(x), 2), 0.2)
        large: Tensor = plainly_enlarged(images.float()) + self.last(x).float()
        return large


class EnlargingGenerator(nn.Module):
    """An enlarger, and a few of the images that it was fitted on, shrunk, to show what it does."""

    def __init__(self, shape: EnlargerShape, network: Enlarger | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.network: Enlarger = Enlarger(shape) if network is None else network
        side = shape.resolution // 2
        self.register_buffer("small", torch.zeros(shape.shown, shape.image_channels, side, side, dtype=torch.uint8))
        self.small: Tensor

    @torch.no_grad()
    def hold(self, images: Tensor) -> None:
        """Keep some of the training images (N, C, resolution, resolution) uint8, evenly spaced and shrunk."""
        rows = torch.arange(len(self.small)) * len(images) // len(self.small)
        for start in range(0, len(rows), _CHUNK):
            small = shrunk(images[rows[start : start + _CHUNK]].float())
            self.small[start : start + _CHUNK] = small.round().clamp(0, 255).to(self.small)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW: of those that are kept the ones that `noise` (N, latent_dim) tells, enlarged.

        `labels` (N,) are all 0.
        """
        places = (torch.special.ndtr(noise[:, 0].double()) * len(self.small)).long()
        return self.enlarge(self.small[places.clamp(0, len(self.small) - 1)])

    def enlarge(self, images: Tensor) -> Tensor:
        """(N, C, 2h, 2w) in [-1, 1] of `images` (N, C, h, w) uint8."""
        made: Tensor = self.network(images.float().div(127.5).sub(1))
        return made.clamp(-1, 1)
