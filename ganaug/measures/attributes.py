"""What a person would say of an image, in numbers: how bright, how colourful, how large what it shows is, and where.

All take images (N, C, H, W) uint8, grey or RGB, and return (N,) float32. Edges stand for what an image shows: no
mask is known, and neither a bright nor a dark ground has any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = [
    "ATTRIBUTES",
    "across",
    "blue_to_yellow",
    "brightness",
    "contrast",
    "down",
    "extent",
    "filled",
    "green_to_red",
    "saturation",
    "slant",
    "tallness",
]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_FAINT = 1e-6


def brightness(images: Tensor) -> Tensor:
    """Mean luma Y = 0.299 R + 0.587 G + 0.114 B over the pixels, 0 (black) to 1 (white)."""
    return _luma(images).mean((1, 2))


def contrast(images: Tensor) -> Tensor:
    """Standard deviation of luma over the pixels, 0 (flat) to 0.5 (half black, half white)."""
    return _luma(images).flatten(1).std(1, correction=0)


def saturation(images: Tensor) -> Tensor:
    """Mean over the pixels of max(R, G, B) - min(R, G, B), 0 (grey) to 1."""
    colours = images.float() / 255
    return (colours.amax(1) - colours.amin(1)).mean((1, 2))


def green_to_red(images: Tensor) -> Tensor:
    """Mean of R - G, -1 (green) to 1 (red): an opponent axis, for hue has no mean. 0 of grey images."""
    colours = images.float() / 255
    return (colours[:, 0] - colours[:, min(1, images.shape[1] - 1)]).mean((1, 2))


def blue_to_yellow(images: Tensor) -> Tensor:
    """Mean of (R + G) / 2 - B, -1 (blue) to 1 (yellow), the other opponent axis. 0 of grey images."""
    if images.shape[1] == 1:
        return torch.zeros(len(images))
    colours = images.float() / 255
    return ((colours[:, 0] + colours[:, 1]) / 2 - colours[:, 2]).mean((1, 2))


def filled(images: Tensor) -> Tensor:
    """Share of pixels, 0..1, that differ from the ground by more than half of what any differs.

    Ground is the median luma of the border's pixels; differences are absolute. 0 of a flat image.
    """
    luma = _luma(images)
    apart = (luma - _border(luma).median(1).values[:, None, None]).abs()
    most = apart.amax((1, 2), keepdim=True)
    return ((apart > most / 2) & (most > _FAINT)).float().mean((1, 2))


def across(images: Tensor) -> Tensor:
    """Where the edges' centre of mass is between left (-0.5) and right (0.5): sum(w x) / sum(w), w from `_edges`."""
    return _moments(images)[0]


def down(images: Tensor) -> Tensor:
    """Where the edges' centre of mass is between top (-0.5) and bottom (0.5)."""
    return _moments(images)[1]


def extent(images: Tensor) -> Tensor:
    """How far the edges lie from their centre of mass: root mean square distance, in sides of the image, 0..0.71."""
    _, _, xx, yy, _ = _moments(images)
    return (xx + yy).clamp_min(0).sqrt()


def slant(images: Tensor) -> Tensor:
    """How far edges lean: -2 cov(x, y) / (var(x) + var(y)), -1 (top left to bottom right) to 1 (like a slash)."""
    _, _, xx, yy, xy = _moments(images)
    return -2 * xy / (xx + yy).clamp_min(_FAINT)


def tallness(images: Tensor) -> Tensor:
    """(var(y) - var(x)) / (var(y) + var(x)) of the edges' places, -1 (a flat line) to 1 (an upright one)."""
    _, _, xx, yy, _ = _moments(images)
    return (yy - xx) / (xx + yy).clamp_min(_FAINT)


ATTRIBUTES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "brightness": brightness, "contrast": contrast, "saturation": saturation, "green_to_red": green_to_red,
    "blue_to_yellow": blue_to_yellow, "filled": filled, "extent": extent, "across": across, "down": down,
    "slant": slant, "tallness": tallness,
}  # fmt: skip
"""All of them, by name."""


def _luma(images: Tensor) -> Tensor:
    """(N, H, W) float32, 0..1."""
    colours = images.float() / 255
    if images.shape[1] == 1:
        return colours[:, 0]
    return (colours * torch.tensor(_LUMA, device=images.device)[:, None, None]).sum(1)


def _border(luma: Tensor) -> Tensor:
    """(N, pixels) of the outermost rows and columns."""
    return torch.cat([luma[:, 0], luma[:, -1], luma[:, 1:-1, 0], luma[:, 1:-1, -1]], dim=1)


def _edges(luma: Tensor) -> Tensor:
    """(N, H - 1, W - 1): squared length of the gradient, so that faint noise weighs little beside an outline."""
    below = luma[:, 1:, :-1] - luma[:, :-1, :-1]
    beside = luma[:, :-1, 1:] - luma[:, :-1, :-1]
    return below.square() + beside.square()


def _moments(images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Means of x and y, their variances and their covariance, weighted by edges, in sides; 0 where all is flat."""
    weights = _edges(_luma(images))
    height, width = weights.shape[1:]
    weights = weights / weights.sum((1, 2), keepdim=True).clamp_min(_FAINT)
    y = ((torch.arange(height, device=images.device) + 0.5) / height - 0.5)[None, :, None]
    x = ((torch.arange(width, device=images.device) + 0.5) / width - 0.5)[None, None, :]
    mean_x, mean_y = (weights * x).sum((1, 2)), (weights * y).sum((1, 2))
    off_x, off_y = x - mean_x[:, None, None], y - mean_y[:, None, None]
    pairs = ((off_x, off_x), (off_y, off_y), (off_x, off_y))
    xx, yy, xy = ((weights * a * b).sum((1, 2)) for a, b in pairs)
    return mean_x, mean_y, xx, yy, xy
