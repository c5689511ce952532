"""A real image and noise to another image of its class: a smooth flow, a colour transform and a residual.

After DAGAN (Antoniou et al. 2017, 1711.04340), whose generator takes an image and noise, and learned deformations
(Hauberg et al. 2015, 1510.02795). The pixels come from the real image: what is learned is how to move and recolour
them, and a little to add. Nothing is told the class, so that what was learned on some classes applies to others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.gan.networks import BASE, ConditionalNorm, NetworkShape, Trunk, flat, stage_channels
from ganaug.gan.steering import Steering

__all__ = [
    "Moves",
    "VariationGenerator",
    "VariationNetwork",
    "VariationShape",
    "places_from",
    "recoloured",
    "taken",
    "warped",
]

_FLOW_MOST = 0.3  # of half the image's side, that the flow moves a pixel by at the most
_AFFINE_MOST = 0.4  # the most that an entry of the affine part differs from the identity's
_COLOUR_MOST = 0.4  # likewise of the colour transform


@dataclass(frozen=True)
class VariationShape(NetworkShape):
    """All that is needed to build the networks of a fit of variations; kept in the bank."""

    sources: int = 0
    """Training images that the generator holds."""
    flow: bool = True
    colour: bool = True
    residual: float = 0.2
    """The most that the residual adds to a pixel, of values in [-1, 1]; 0 for none."""
    reach: float = 1.0
    """Times as far as in training that noise goes: each image was led to its nearest others alone."""


class Moves(NamedTuple):
    """Where pixels go and what becomes of their colours, of any values; None where that part is switched off."""

    affine: Tensor | None
    """(N, 6)."""
    flow: Tensor | None
    """(N, 2, h, w)."""
    colours: Tensor | None
    """(N, C * (C + 1))."""


class VariationNetwork(nn.Module):
    """Image and noise to the three parts of a variation, and these applied.

    The noise scales and shifts the normalisations, as in `Generator`. At first the three parts change nothing. Flow and
    colour are those of the noise less those of none: noise moves an image to all sides. A mean change, the same for any
    noise, would be learned too, and pulls every image to what its class has in common: colours fade, faces swell.
    """

    def __init__(self, shape: VariationShape) -> None:
        super().__init__()
        self.shape = shape
        channels = stage_channels(shape.resolution, shape.generator_channels, shape.max_channels)
        self.trunk = Trunk(shape, shape.generator_channels, normalised=True)
        width, features = channels[0], self.trunk.out_features + shape.latent_dim
        self.seed = nn.Linear(features, width * BASE * BASE)
        self.whole = nn.Sequential(nn.Linear(features, 128), nn.LeakyReLU(0.2))
        colours = shape.image_channels
        self.affine = _still(nn.Linear(128, 6, bias=False))
        self.colours = _still(nn.Linear(128, colours * (colours + 1), bias=False))
        self.norm = ConditionalNorm(width, shape.latent_dim)
        self.up = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False)
        self.flow_norm = ConditionalNorm(width, shape.latent_dim)
        self.flow = _still(nn.Conv2d(width, 2, 3, padding=1, bias=False))
        rest = [*channels[2:], shape.generator_channels] if len(channels) > 1 else []
        self.norms = nn.ModuleList(ConditionalNorm(before, shape.latent_dim) for before in [width, *rest][: len(rest)])
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            for before, after in zip([width, *rest[:-1]], rest, strict=True)
        )
        last = rest[-1] if rest else width
        self.last_norm = ConditionalNorm(last, shape.latent_dim)
        self.residual = _still(nn.Conv2d(last + shape.image_channels, shape.image_channels, 3, padding=1))
        self.steering = Steering(1, shape.directions, shape.latent_dim) if shape.directions else None

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW, from `images` of that kind and `codes` (N, latent_dim)."""
        codes = self._steered(codes)
        moves, x = self._said(images, codes)
        varied = images
        if moves.affine is not None and moves.flow is not None:
            varied = warped(varied, moves.affine, moves.flow)
        if moves.colours is not None:
            varied = recoloured(varied, moves.colours)
        if self.shape.residual:
            for norm, up in zip(self.norms, self.ups, strict=True):
                x = up(functional.leaky_relu(norm(x, codes), 0.2))
            x = functional.leaky_relu(self.last_norm(x, codes), 0.2)
            added = self.residual(torch.cat([x, varied.to(x.dtype)], dim=1))
            varied = varied + self.shape.residual * torch.tanh(added.float())
        return varied.clamp(-1, 1)

    def moves(self, images: Tensor, codes: Tensor) -> Moves:
        """What `forward` moves and recolours `images` by, for `codes` (N, latent_dim)."""
        return self._said(images, self._steered(codes))[0]

    def _steered(self, codes: Tensor) -> Tensor:
        if self.steering is None:
            return codes
        moved: Tensor = self.steering(codes, torch.zeros(len(codes), dtype=torch.int64, device=codes.device))
        return moved

    def _said(self, images: Tensor, codes: Tensor) -> tuple[Moves, Tensor]:
        """The moves, and features (N, C, 8, 8) that the residual is made of."""
        seen, still = flat(self.trunk(images)), torch.zeros_like(codes)
        told = torch.cat([codes, still])
        features = torch.cat([torch.cat([seen, seen]), told], dim=1)
        settings = self.whole(features)
        x = self.seed(features).view(len(told), -1, BASE, BASE).contiguous(memory_format=torch.channels_last)
        x = self.up(functional.leaky_relu(self.norm(x, told), 0.2))
        affine = flow = colours = None
        if self.shape.flow:
            affine = _less_still(self.affine(settings))
            flow = _less_still(self.flow(functional.leaky_relu(self.flow_norm(x, told), 0.2)))
        if self.shape.colour:
            colours = _less_still(self.colours(settings))
        return Moves(affine, flow, colours), x[: len(codes)]

    def early(self, images: Tensor, codes: Tensor) -> Tensor:
        """What the first layer that is told the codes says of `images` and `codes`: (N, C, 4, 4)."""
        features = torch.cat([flat(self.trunk(images)), codes], dim=1)
        x: Tensor = self.norm(self.seed(features).view(len(codes), -1, BASE, BASE), codes)
        return functional.leaky_relu(x, 0.2)


def warped(images: Tensor, affine: Tensor, flow: Tensor) -> Tensor:
    """`images` NCHW moved by an affine map and a smooth flow, as `places_from` says."""
    return taken(images, places_from(affine, flow, images.shape[2:]))


def places_from(affine: Tensor, flow: Tensor, size: Sequence[int], sides: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Where each pixel comes from, (N, H, W, 2) in [-1, 1] (Jaderberg et al. 2015, 1506.02025).

    `affine` (N, 6) and `flow` (N, 2, h, w), of any values, are bounded here; at 0 nothing moves. Both are of a square
    in the middle of images of `size` (H, W), which are `sides` (across, down) times as large as it; beyond it the flow
    goes on as it is at its border.
    """
    identity = torch.eye(2, 3, device=affine.device, dtype=torch.float32)
    theta = identity + _AFFINE_MOST * torch.tanh(affine).view(-1, 2, 3)
    bounded, shape = _FLOW_MOST * torch.tanh(flow), [len(flow), 1, *size]
    if sides == (1.0, 1.0):
        smooth = functional.interpolate(bounded, list(size), mode="bicubic", align_corners=False)
        grid = functional.affine_grid(theta, shape, align_corners=False)
        return grid + smooth.permute(0, 2, 3, 1)
    scale = torch.tensor(sides, device=affine.device)
    places = functional.affine_grid(identity.expand_as(theta), shape, align_corners=False) * scale
    straight = torch.einsum("nij,nhwj->nhwi", theta[:, :, :2], places) + theta[:, None, None, :, 2]
    bent = functional.grid_sample(bounded, places, mode="bicubic", padding_mode="border", align_corners=False)
    return (straight + bent.permute(0, 2, 3, 1)) / scale


def taken(images: Tensor, places: Tensor, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """`images` NCHW with each pixel from its place; what comes from beyond the border is the image mirrored there."""
    moved: Tensor = functional.grid_sample(
        images.float(), places, mode=mode, padding_mode="reflection", align_corners=False
    )
    return moved


def recoloured(images: Tensor, colours: Tensor) -> Tensor:
    """Each pixel of `images` NCHW mixed anew by a matrix and an offset of its image: `colours` (N, C * (C + 1)).

    Of any values, bounded here; at 0 nothing changes.
    """
    channels = images.shape[1]
    settings = _COLOUR_MOST * torch.tanh(colours).view(-1, channels, channels + 1)
    mix = torch.eye(channels, device=images.device) + settings[:, :, :channels]
    return torch.einsum("nij,njhw->nihw", mix, images.float()) + settings[:, :, channels, None, None]


class VariationGenerator(nn.Module):
    """Noise and class to a variation of one of the class's training images, which it holds."""

    def __init__(self, shape: VariationShape, network: VariationNetwork | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.network: VariationNetwork = VariationNetwork(shape) if network is None else network
        side = shape.resolution
        self.register_buffer("sources", torch.zeros(shape.sources, shape.image_channels, side, side, dtype=torch.uint8))
        self.register_buffer("source_starts", torch.zeros(shape.classes, dtype=torch.int64))
        self.register_buffer("source_counts", torch.ones(shape.classes, dtype=torch.int64))
        self.sources: Tensor
        self.source_starts: Tensor
        self.source_counts: Tensor

    @torch.no_grad()
    def hold(self, images: Tensor, labels: Tensor) -> None:
        """Keep training images (N, C, H, W) uint8, N at most `shape.sources`, with labels (N,) int64."""
        counts = torch.bincount(labels, minlength=self.shape.classes)
        self.sources[: len(images)] = images[labels.argsort(stable=True)].to(self.sources.device)
        self.source_counts.copy_(counts)
        self.source_starts.copy_(counts.cumsum(0) - counts)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW, from standard normal `noise` (N, latent_dim) and `labels` (N,) int64.

        The first number of the noise says which image, and what this leaves of it is noise again.
        """
        codes, rows = self.place(noise, labels)
        return self.decode(codes, rows)

    def place(self, noise: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, latent_dim), standard normal, and which of the images held (N,) int64 are varied by them."""
        place = torch.special.ndtr(noise[:, 0].double()).clamp(1e-9, 1 - 1e-9) * self.source_counts[labels]
        chosen = place.long()
        left = torch.special.ndtri((place - chosen).clamp(1e-6, 1 - 1e-6)).to(noise.dtype)
        rows = (self.source_starts[labels] + chosen).clamp(0, len(self.sources) - 1)
        return torch.cat([left[:, None], noise[:, 1:]], dim=1), rows

    def decode(self, codes: Tensor, rows: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW: the images held of numbers `rows` (N,) int64, varied by `codes` (N, latent_dim)."""
        return self.vary(self.sources[rows], codes)

    def early(self, codes: Tensor, rows: Tensor) -> Tensor:
        """What the first layer says of `codes` and the images held of numbers `rows`: (N, C, 4, 4)."""
        return self.network.early(self.sources[rows].float().div(127.5).sub(1), codes)

    def vary(self, images: Tensor, noise: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW: `images` NCHW uint8, varied as standard normal `noise` (N, latent_dim) says."""
        varied: Tensor = self.network(images.float().div(127.5).sub(1), self.shape.reach * noise)
        return varied

    def moves(self, images: Tensor, noise: Tensor) -> Moves:
        """What `vary` moves and recolours images by."""
        return self.network.moves(images.float().div(127.5).sub(1), self.shape.reach * noise)


def _less_still(both: Tensor) -> Tensor:
    """What noise says, less what none says: the first half of the rows less the second, as float32."""
    told, still = both.float().chunk(2)
    return told - still


def _still(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """A layer that says all but 0 at first, so that what it moves is still."""
    nn.init.normal_(layer.weight, std=1e-3)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
