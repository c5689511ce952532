"""An image with holes to the image without: gated convolutions that add to a smooth guess what it lacks.

After free-form inpainting (Yu et al. 2018, 1806.03589). The coarse of its two networks is not learned here: the pull
and push of `fill_in` gives the guess, and the network adds texture and edges to it. Gates have one channel for all
features (Yi et al. 2020, 2005.09704, section 3.2), which costs hardly more than a plain convolution. All convolve, so
that squares of any size, a multiple of 4, can be filled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.compositing.filling import fill_in

__all__ = ["FillingGenerator", "FillingNetwork", "FillingShape", "guessed", "held_ratios"]


@dataclass(frozen=True)
class FillingShape:
    """All that is needed to build the networks of a fit that fills holes; kept in the bank."""

    resolution: int
    image_channels: int
    generator_channels: int
    discriminator_channels: int
    held: int
    """Training squares that the generator holds, with a hole each."""
    latent_dim: int
    """A number that says which of these, and one for each pixel."""
    classes: int = 1

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able mapping."""
        return asdict(self)


class GatedConv(nn.Module):
    """A convolution weighted by a learned mask (1806.03589, equation 3), here of one channel."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = 1 if stride > 1 else dilation * (kernel // 2)
        self.features = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation)
        self.gate = nn.Conv2d(outputs, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x`: NCHW."""
        features = self.features(x)
        weighted: Tensor = functional.leaky_relu(features, 0.2) * torch.sigmoid(self.gate(features))
        return weighted


class FillingNetwork(nn.Module):
    """A guess, its holes and noise to what is to be added to the guess."""

    def __init__(self, shape: FillingShape) -> None:
        super().__init__()
        seen, width = shape.image_channels + 2, shape.generator_channels
        self.first = GatedConv(4 * seen, 2 * width)
        self.down = GatedConv(2 * width, 6 * width, 4, stride=2)
        self.middle = nn.ModuleList(GatedConv(6 * width, 6 * width, dilation=by) for by in (1, 2, 4))
        self.up = GatedConv(6 * width, 2 * width)
        self.last = GatedConv(2 * width, width)
        self.head = nn.Conv2d(width + seen, shape.image_channels, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-2)  # at first the guess stays as it is
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, guess: Tensor, holes: Tensor, noise: Tensor) -> Tensor:
        """(N, C, H, W) float32 to add to `guess`, of that form and in [-1, 1], where `holes` (N, 1, H, W) is 1.

        `noise` (N, 1, H, W) is standard normal.
        """
        seen = torch.cat([guess, holes, noise * holes], dim=1).contiguous(memory_format=torch.channels_last)
        half = self.first(functional.pixel_unshuffle(seen, 2).contiguous(memory_format=torch.channels_last))
        x = self.down(half)
        for layer in self.middle:
            x = x + layer(x)
        x = self.up(functional.interpolate(x, scale_factor=2.0, mode="nearest")) + half
        x = self.last(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        added: Tensor = self.head(torch.cat([x, seen.to(x.dtype)], dim=1)).float()
        return added * holes


def guessed(images: Tensor, unseen: Tensor) -> Tensor:
    """`images` NCHW float32, smoothly filled where `unseen` (N, 1, H, W) is 1."""
    return fill_in(images, 1 - unseen)


class FillingGenerator(nn.Module):
    """Fills holes: those of images that are given, or, to be looked at, those of training squares that it holds."""

    def __init__(self, shape: FillingShape, network: FillingNetwork | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.network: FillingNetwork = FillingNetwork(shape) if network is None else network
        side = shape.resolution
        self.register_buffer("sources", torch.zeros(shape.held, shape.image_channels, side, side, dtype=torch.uint8))
        self.register_buffer("holes", torch.zeros(shape.held, side, side, dtype=torch.bool))
        self.sources: Tensor
        self.holes: Tensor

    @torch.no_grad()
    def hold(self, images: Tensor, holes: Tensor) -> None:
        """Keep training squares (N, C, R, R) uint8, as many as `shape.held`, with holes (N, R, R) bool."""
        self.sources.copy_(images)
        self.holes.copy_(holes)

    def chosen(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Squares held (N, C, R, R) uint8 and their holes (N, R, R) bool, as the first number of `noise` says."""
        rows = (torch.special.ndtr(noise[:, 0].double()) * len(self.sources)).long().clamp(0, len(self.sources) - 1)
        return self.sources[rows], self.holes[rows]

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Squares held, their holes filled: in [-1, 1], NCHW, from standard normal `noise` (N, latent_dim).

        `labels` are those of the one class that there is.
        """
        images, holes = self.chosen(noise)
        side = self.shape.resolution
        return self.fill(images.float().div(127.5).sub(1), holes[:, None].float(), noise[:, 1:].view(-1, 1, side, side))

    def fill(self, images: Tensor, holes: Tensor, noise: Tensor) -> Tensor:
        """`images` NCHW in [-1, 1], filled where `holes` (N, 1, H, W) is 1; `noise` (N, 1, H, W) says with what."""
        return self.add_to(guessed(images, holes), holes, noise)

    def add_to(self, guess: Tensor, holes: Tensor, noise: Tensor) -> Tensor:
        """As `fill`, of images whose holes are smoothly filled already."""
        filled: Tensor = (guess + self.network(guess, holes, noise)).clamp(-1, 1)
        return filled


@torch.no_grad()
def held_ratios(generator: FillingGenerator) -> dict[str, float]:
    """`detail_ratio` and `error_ratio` of the squares that a generator holds; see `FillTask.score`."""
    side, device = generator.shape.resolution, generator.sources.device
    noise = torch.randn(len(generator.sources), 1, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    real, holes = generator.sources.float().div(127.5).sub(1), generator.holes[:, None].float()
    guess = guessed(real, holes)
    filled = generator.add_to(guess, holes, noise)
    detail = [float((_finest(images) * holes).sum()) for images in (filled, real)]
    errors = [float(((images - real).abs() * holes).sum()) for images in (filled, guess)]
    return {"detail_ratio": detail[0] / max(1e-6, detail[1]), "error_ratio": errors[0] / max(1e-6, errors[1])}


def _finest(images: Tensor) -> Tensor:
    """How far each pixel, NCHW, is from the mean of the 3 x 3 around it."""
    return (images - functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)).abs()
