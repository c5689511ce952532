"""A picture of one domain to the same picture of another, with everything at its place.

A small network of the kind that CUT uses (Park et al. 2020, 2007.15651): an encoder, residual blocks and a decoder.
What is made at a place depends on what is around it alone, so that it runs on images of any size, and in tiles.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganaug.gan.picture_networks import ResidualBlock, down, up

__all__ = ["TranslationGenerator", "TranslationNetwork", "TranslationShape"]


@dataclass(frozen=True)
class TranslationShape:
    """All that is needed to build the networks of one fit; kept in the bank."""

    resolution: int
    """Side of the crops that were trained on."""
    image_channels: int
    latent_dim: int
    width: int
    blocks: int
    discriminator_channels: int
    sources: int
    """Source images that the generator holds, to show what it makes."""
    source_name: str
    tile: int | None
    """Pixels of an image that such a crop shows; None: all of the image."""
    classes: int = 1

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able mapping."""
        return asdict(self)


class TranslationNetwork(nn.Module):
    """Images of the source domain to images of the target domain, NCHW in [-1, 1]; sides are multiples of 4."""

    def __init__(self, shape: TranslationShape) -> None:
        super().__init__()
        width = shape.width
        self.register_buffer("levels", torch.tensor([0.0, 1.0])[None, :, None].repeat(2, 1, shape.image_channels))
        self.levels: Tensor
        """(2, 2, channels): mean and deviation of the images of the source and of the target, in [-1, 1].

        A deviation below 0 shows the encoder the negative: see `translation.invert`.
        """
        self.stem = nn.Sequential(
            nn.Conv2d(shape.image_channels, width, 5, padding=2, padding_mode="reflect"), nn.LeakyReLU(0.2)
        )
        self.down_half, self.down_quarter = down(width, 2 * width), down(2 * width, 4 * width)
        self.blocks = nn.ModuleList(ResidualBlock(4 * width) for _ in range(shape.blocks))
        self.up_half, self.up_whole = up(4 * width, 2 * width), up(2 * width, width)
        self.head = nn.Conv2d(width, shape.image_channels, 5, padding=2, padding_mode="reflect")
        self.feature_widths = (width, 2 * width, 4 * width, 4 * width)

    def forward(self, images: Tensor) -> Tensor:
        """The images translated."""
        return self.both(images, torch.zeros(len(images), dtype=torch.int64, device=images.device))[0]

    def both(self, images: Tensor, domains: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The images translated, or of the target once more, and the features of `encode`."""
        features = self.encode(images, domains)
        x = features[-1]
        for block in list(self.blocks)[self._middle :]:
            x = block(x)
        x = self.up_whole(self.up_half(x) + features[1])
        return torch.tanh(self.head(x + features[0]).float()), features

    def encode(self, images: Tensor, domains: Tensor) -> list[Tensor]:
        """Features NCHW at the full side, half, a quarter, and a quarter after half of the blocks.

        `domains` (N,) int64 is 0 for an image of the source, and 1 for one of the target: each is seen by the levels
        of its domain, so that dark images show as much as bright ones.
        """
        mean, spread = self.levels[domains][..., None, None].unbind(1)
        stem = self.stem(((images - mean) / spread).contiguous(memory_format=torch.channels_last))
        half = self.down_half(stem)
        quarter = self.down_quarter(half)
        x = quarter
        for block in list(self.blocks)[: self._middle]:
            x = block(x)
        return [stem, half, quarter, x]

    @property
    def _middle(self) -> int:
        return len(self.blocks) // 2


class TranslationGenerator(nn.Module):
    """A translator with some of the source images that it learned from, so that there are samples to look at."""

    def __init__(self, shape: TranslationShape, network: TranslationNetwork | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.network: TranslationNetwork = TranslationNetwork(shape) if network is None else network
        side = shape.resolution
        self.register_buffer("sources", torch.zeros(shape.sources, shape.image_channels, side, side, dtype=torch.uint8))
        self.sources: Tensor

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Source images translated, NCHW in [-1, 1]; `noise` (N, latent_dim) says which, `labels` say nothing."""
        return self.translate(self.sources[self.rows(noise)])

    def rows(self, noise: Tensor) -> Tensor:
        """(N,) int64: which source images standard normal `noise` (N, latent_dim) says."""
        place: Tensor = torch.special.ndtr(noise[:, 0].double()) * len(self.sources)
        return place.long().clamp(0, len(self.sources) - 1)

    def translate(self, images: Tensor) -> Tensor:
        """`images` NCHW uint8, with sides that are multiples of 4, translated; in [-1, 1]."""
        translated: Tensor = self.network(images.float().div(127.5).sub(1))
        return translated
