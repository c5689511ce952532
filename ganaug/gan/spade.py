"""Networks for label maps: a generator told a class at every pixel, and a discriminator that answers with one.

The generator's normalisations are scaled and shifted at every pixel by the label map and by noise that has a place as
the map has (SPADE, Park et al. 2019, 1903.07291, section 3; the 3-D noise of OASIS, Sushko et al. 2021, 2012.04781,
section 3.3). The discriminator is a U-Net that segments into the classes and one more, "synthetic" (2012.04781, section
3.1). Both are small enough that two CPU cores fit them in minutes, and neither keeps statistics of a batch: a sample
does not depend on what it is made with, and several processes agree without sharing any.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from ganaug.compositing import Composed, MapComposer, pulled
from ganaug.compositing.filling import fill_in
from ganaug.gan.networks import stage_channels

__all__ = ["IGNORED", "MapGenerator", "MapShape", "SegmentingDiscriminator", "StyleEncoder", "one_hot", "stacked"]

IGNORED = 255  # in a label map: no class is said here
PLACED, PLACES = 2, 4  # channels of noise that differ over an image, and at how many places a side
NEIGHBOURS = 1  # codes that a code is mixed with, as in SMOTE
_BASE = 8  # side of the smallest feature map
_GROUPS = 4
_INSIDE = 0.98  # of a sketch's values: at -1 and 1 themselves nothing added would show


@dataclass(frozen=True)
class MapShape:
    """All that is needed to build the networks of one fit; kept in the bank."""

    resolution: int
    image_channels: int
    classes: int
    style_dim: int = 16
    generator_channels: int = 24
    discriminator_channels: int = 24
    max_channels: int = 96
    maps: int = 1
    """Real images whose label maps and codes the generator keeps, for new ones to be composed from."""
    mirror: bool = False
    """Whether new maps may be mirrored ones."""
    sketched: bool = False
    """Whether the generator is told where real pixels have come to lie, and so keeps the images too."""
    latent_dim: int = field(init=False)
    """Numbers of noise a sample is made from."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "latent_dim", self.style_dim + PLACED * PLACES**2)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able mapping that `MapShape.from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MapShape:
        """The shape that `to_dict` wrote; a TypeError where that is none."""
        return cls(**{name: value for name, value in values.items() if name != "latent_dim"})


def one_hot(maps: Tensor, classes: int) -> Tensor:
    """(N, classes, H, W) float32 of `maps` (N, H, W) integers; zeros where a map says no class (`IGNORED`)."""
    places = torch.arange(classes, device=maps.device)[None, :, None, None]
    return (maps[:, None].to(torch.int64) == places).to(torch.float32)


class _Modulation(nn.Module):
    """Normalisation of an image's own features, scaled and shifted at every pixel (1903.07291, equation 1)."""

    def __init__(self, channels: int, condition: int, hidden: int = 32) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels, affine=False)
        self.shared = nn.Conv2d(condition, hidden, 3, padding=1)
        self.affine = nn.Conv2d(hidden, 2 * channels, 1)
        nn.init.zeros_(self.affine.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`x`: NCHW; `condition`: (N, condition, H, W) of the same sides; returns NCHW."""
        scale, shift = self.affine(functional.leaky_relu(self.shared(condition), 0.2)).chunk(2, dim=1)
        return torch.addcmul(shift, self.norm(x), 1 + scale)


class MapGenerator(nn.Module):
    """Noise and label map to image, and where `sketched` a sketch of it as well.

    A sketch is of real pixels that were moved along with the map, and says which are unknown; its colours are a hint,
    for the style has the last word. The generator adds to it, and paints what is unknown.

    It keeps the label maps of the training images, which new ones are composed from, and a code of how each image
    looks: light, stain, focus. A sample's code is mixed from one of these and one of its nearest (SMOTE, Chawla et al.
    2002, 1106.1813), for between codes that lie apart no image was ever encoded.
    """

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        self.shape = shape
        channels = stage_channels(shape.resolution, shape.generator_channels, shape.max_channels)[1:]
        widths = [*channels[1:], shape.generator_channels]
        condition = shape.classes + shape.style_dim + PLACED + (shape.image_channels + 1 if shape.sketched else 0)
        self.seed = nn.Conv2d(condition, channels[0], 3, padding=1)
        self.modulations = nn.ModuleList(_Modulation(width, condition) for width in channels)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
            for before, after in zip(channels, widths, strict=True)
        )
        self.first = _Modulation(shape.generator_channels, condition)
        self.detail = nn.Conv2d(shape.generator_channels, shape.generator_channels, 3, padding=1)
        self.last = _Modulation(shape.generator_channels, condition)
        self.to_image = nn.Conv2d(shape.generator_channels, shape.image_channels, 3, padding=1)
        side = shape.resolution
        self.register_buffer("maps", torch.full((shape.maps, side, side), IGNORED, dtype=torch.uint8))
        if shape.sketched:
            kept = torch.zeros(shape.maps, shape.image_channels, side, side, dtype=torch.uint8)
            self.register_buffer("images", kept)
            with torch.no_grad():
                self.to_image.weight.mul_(0.1)  # at first a sketch is what it was
        self.register_buffer("codes", torch.randn(shape.maps, shape.style_dim))
        self.register_buffer("code_spread", torch.ones(shape.style_dim))
        self.maps: Tensor
        self.images: Tensor
        self.codes: Tensor
        self.code_spread: Tensor
        self._composer: MapComposer | None = None

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW, of new maps, from standard normal `noise` (N, latent_dim).

        `labels` (N,) say nothing here: images of label maps have no class of their own.
        """
        return self.pairs(noise)[0]

    def pairs(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Images as `forward` gives them, and the maps (N, H, W) uint8 that they show."""
        maps, rows, sketches = self.compose(noise)
        return self.paint(self.place(noise, rows), one_hot(maps, self.shape.classes), sketches), maps

    def compose(self, noise: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """New maps (N, H, W) uint8, settled by `noise` (N, latent_dim) alone, and what they are made of.

        Returns:
            The maps; the kept map (N,) that each is of; and where `sketched` the sketches, as `paint` takes them.
        """
        if noise.is_meta:
            rows = torch.zeros(len(noise), dtype=torch.int64, device="meta")
            return self.maps[:1].expand(len(noise), -1, -1), rows, None
        if self._composer is None:
            images = self.images.cpu().numpy() if self.shape.sketched else None
            self._composer = MapComposer(
                self.maps.cpu().numpy(), self.shape.classes, mirror=self.shape.mirror, images=images
            )
        made = []
        for row in noise.detach().cpu().contiguous().numpy():
            seed = int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8], "little")
            made.append(self._composer.compose(np.random.default_rng(seed)))
        maps, rows, sketches = stacked(made)
        where = self.maps.device
        return maps.to(where), rows.to(where), None if sketches is None else sketches.to(where)

    def place(self, noise: Tensor, rows: Tensor) -> Tensor:
        """`noise` (N, latent_dim) with a style near the code of image `rows` (N,).

        For half of it that of any image, mixed with a near one. Where `sketched`, pixels of that image are told too,
        and its own code goes with them.
        """
        style, placed = noise.split([self.shape.style_dim, noise.shape[1] - self.shape.style_dim], dim=1)
        if self.shape.sketched:
            return torch.cat([self.codes[rows] + self.code_spread * style, placed], dim=1)
        other, which, near, far = torch.special.ndtr(style[:, :4].float()).clamp(1e-6, 1 - 1e-6).unbind(1)
        rows = torch.where(other < 0.5, rows, (which * len(self.codes)).long())
        codes = self.codes[rows]
        distances = torch.cdist(codes, self.codes)
        nearest = distances.topk(min(NEIGHBOURS + 1, len(self.codes)), largest=False).indices
        picked = nearest.gather(1, (near * nearest.shape[1]).long()[:, None]).squeeze(1)
        mixed = torch.lerp(codes, self.codes[picked], far[:, None])
        return torch.cat([mixed + self.code_spread * style, placed], dim=1)

    @torch.no_grad()
    def remember(self, rows: Tensor, mean: Tensor, log_variance: Tensor) -> None:
        """Keep codes `mean` (N, style_dim) of the real images `rows` (N,)."""
        self.codes[rows] = mean
        self.code_spread.lerp_((0.5 * log_variance).exp().mean(0), 0.02)

    def sketch(self, maps: Tensor, rows: Tensor) -> Tensor | None:
        """Sketches, as `paint` takes them, of `maps` (N, H, W) that nothing was composed for; none if not `sketched`.

        Pixels are those of the kept images `rows` (N,): see `pulled`.
        """
        if not self.shape.sketched:
            return None
        kept, images = self.maps.cpu().numpy(), self.images.cpu().numpy()
        asked = maps.cpu().numpy().astype(np.int64)
        made = []
        for one, row in zip(asked, rows.tolist(), strict=True):
            sketch, known = pulled(one, kept[row], images[row])
            made.append(Composed(kept[row], row, sketch, known))
        sketches = stacked(made)[2]
        assert sketches is not None, "of images"
        return sketches.to(self.maps.device)

    def paint(self, placed: Tensor, classes: Tensor, sketches: Tensor | None = None) -> Tensor:
        """Images in [-1, 1], NCHW, from noise as `place` gives it and `classes` as `one_hot` gives them.

        `sketches` (N, C + 1, H, W), where `sketched`: pixels in [-1, 1], 0 where unknown, and 1 where they are known,
        else 0; without them nothing is known.
        """
        style, here = placed.split([self.shape.style_dim, placed.shape[1] - self.shape.style_dim], dim=1)
        here = here.view(len(here), PLACED, PLACES, PLACES)
        size = classes.shape[2:]
        here = functional.interpolate(here, size, mode="bilinear")
        told = [classes, style[:, :, None, None].expand(-1, -1, *size), here]
        if self.shape.sketched:
            if sketches is None:
                sketches = classes.new_zeros(len(classes), self.shape.image_channels + 1, *size)
            pixels, known = sketches[:, :-1], sketches[:, -1:]
            filled = fill_in(pixels, known)  # where nothing near is known, 0
            told += [filled, known]
        condition = torch.cat(told, dim=1)
        condition = condition.contiguous(memory_format=torch.channels_last)
        x = self.seed(functional.interpolate(condition, size=(_BASE, _BASE), mode="area"))
        for modulation, up in zip(self.modulations, self.ups, strict=True):
            there = functional.interpolate(condition, size=x.shape[2:], mode="area")
            x = up(functional.leaky_relu(modulation(x, there), 0.2))
        x = x + self.detail(functional.leaky_relu(self.first(x, condition), 0.2))
        x = self.to_image(functional.leaky_relu(self.last(x, condition), 0.2))
        if not self.shape.sketched:
            return torch.tanh(x.float())
        return torch.tanh(torch.atanh(_INSIDE * filled) + x.float())


def stacked(made: Sequence[Composed]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Maps (N, H, W) uint8, the kept map (N,) of each, and sketches as `MapGenerator.paint` takes them, if any."""
    maps = torch.from_numpy(np.stack([one.map for one in made]))
    rows = torch.tensor([one.base for one in made], dtype=torch.int64)
    parts = [(one.sketch, one.known) for one in made if one.sketch is not None and one.known is not None]
    if not parts:
        return maps, rows, None
    known = torch.from_numpy(np.stack([part for _, part in parts]))[:, None].float()
    pixels = torch.from_numpy(np.stack([part for part, _ in parts])).float().div(127.5).sub(1)
    return maps, rows, torch.cat([pixels * known, known], dim=1)


class StyleEncoder(nn.Module):
    """Image to mean and log variance of the style that would make it look so (1903.07291, section 3.2)."""

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        widths = [shape.image_channels, 16, 32, 64]
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(widths[-1], 2 * shape.style_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Two (N, style_dim) float32 tensors for `images` NCHW in [-1, 1]."""
        x = images.contiguous(memory_format=torch.channels_last)
        for down in self.downs:
            x = functional.leaky_relu(down(x), 0.2)
        mean, log_variance = self.head(x.mean((2, 3))).float().chunk(2, 1)
        return mean, log_variance.clamp(-8, 8)


class SegmentingDiscriminator(nn.Module):
    """Image to logits of the classes and of "synthetic" at every pixel: a U-Net under spectral normalisation."""

    def __init__(self, shape: MapShape) -> None:
        super().__init__()
        channels = stage_channels(shape.resolution, shape.discriminator_channels, shape.max_channels)[::-1]
        before = [shape.image_channels, *channels[:-1]]
        self.downs = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in zip(before, channels, strict=True)
        )
        leaving = [channels[max(0, level - 1)] // 2 for level in reversed(range(len(channels)))]
        skipped = [0, *channels[-2::-1]]
        arriving = [a + b for a, b in zip([channels[-1], *leaving[:-1]], skipped, strict=True)]
        self.ups = nn.ModuleList(
            spectral_norm(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1))
            for a, b in zip(arriving, leaving, strict=True)
        )
        self.head = nn.Conv2d(leaving[-1] + shape.image_channels, shape.classes + 1, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes + 1, H, W) float32 logits, "synthetic" last, for `images` NCHW in [-1, 1]."""
        x = images.contiguous(memory_format=torch.channels_last)
        skips = [x]
        for down in self.downs:
            x = functional.leaky_relu(down(x), 0.2)
            skips.append(x)
        skips.pop()
        for up in self.ups:
            x = torch.cat([functional.leaky_relu(up(x), 0.2), skips.pop()], dim=1)
        logits: Tensor = self.head(x)
        return logits.float()
