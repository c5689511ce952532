"""Cut-outs: a generator of objects with alpha, and what alphas are where only boxes are known.

An image has its colours in [-1, 1] and, as one more plane behind them, its alpha in [-1, 1] too: -1 shows nothing of
it, 1 hides what is behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from ganaug.gan.networks import Generator, NetworkShape

__all__ = [
    "ObjectConditions",
    "ObjectGenerator",
    "box_alphas",
    "largest_part",
    "opacity",
    "over",
    "soft_alphas",
    "without_holes",
]

FEATHER = 0.08  # of half an object's sides: from nothing to all of it
_CORNERED, _ROUND = 6.0, 2.0  # exponents of a superellipse
_ROUNDISH = 1.25  # median of the longer side by the shorter, below which objects of a class are taken for round
_AROUND = np.ones((3, 3), dtype=bool)  # neighbours of a pixel, corners too
_SEEN = 0.5  # alpha from which an object is there
_FAINT = 0.06  # alpha below which nothing is


@dataclass(frozen=True)
class ObjectConditions:
    """What the generator of objects is told of each crop, and what it puts objects on."""

    labels: Tensor
    """(N,) int64."""
    inside: Tensor
    """(N, 4) float32: left, top, right and bottom of the object's box in pixels of its crop."""
    alphas: Tensor | None
    """(N, H, W) uint8 where masks say them."""
    backgrounds: Tensor
    """(M, C, H, W) uint8."""


class ObjectGenerator(Generator):
    """Noise and class to an object with alpha; called as a network, to that object over a ground, as crops show it.

    Grounds are real images and no part of what is kept: one that was loaded lays its objects on grey.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__(shape)
        self.to_image = nn.Conv2d(shape.generator_channels, shape.image_channels + 1, 3, padding=1)
        self._grounds: tuple[Tensor, ...] = ()

    def hold(self, grounds: Tensor, labels: Tensor) -> None:
        """Lay objects of each class on those of `grounds` (N, C, H, W) in [-1, 1] that are of its `labels` (N,)."""
        counts = torch.bincount(labels, minlength=self.shape.classes)
        self._grounds = grounds[labels.argsort(stable=True)], counts.cumsum(0) - counts, counts.clamp_min(1)

    def forward(self, noise: Tensor, labels: Tensor, class_strength: float = 1.0) -> Tensor:
        """Images in [-1, 1], NCHW: the objects of `cut_outs`, over the grounds of their class in turn."""
        made = self.cut_outs(noise, labels, class_strength)
        if not self._grounds:
            return over(made, torch.zeros_like(made[:, :-1]))[:, :-1]
        grounds, first, counts = (held.to(made.device) for held in self._grounds)
        turns = torch.arange(len(made), device=made.device) % counts[labels]
        return over(made, grounds[first[labels] + turns])[:, :-1]

    def cut_outs(self, noise: Tensor, labels: Tensor, class_strength: float = 1.0) -> Tensor:
        """Colours and alpha (N, C + 1, H, W) in [-1, 1], from `noise` (N, latent_dim) and `labels` (N,) int64."""
        return self.decode(self.place(noise, labels), labels, class_strength)


def opacity(samples: Tensor) -> Tensor:
    """Alpha (N, 1, H, W) in [0, 1] of colours and alpha (N, C + 1, H, W)."""
    return (samples[:, -1:] + 1) / 2


def over(samples: Tensor, grounds: Tensor) -> Tensor:
    """Colours and alpha (N, C + 1, H, W), laid on `grounds` (N, C, H, W); the alpha stays."""
    shown = torch.lerp(grounds, samples[:, :-1], opacity(samples))
    return torch.cat([shown, samples[:, -1:]], dim=1)


def soft_alphas(inside: Tensor, labels: Tensor, side: int) -> Tensor:
    """(N, side, side) uint8 from boxes `inside` (N, 4) alone: 255 in the middle, 128 at their edge, feathered.

    An ellipse where the boxes of a class (N,) are about as wide as high, as those of round things are, else a
    rectangle with round corners.
    """
    width, height = (inside[:, 2:] - inside[:, :2]).clamp_min(1e-3).unbind(1)
    longer = torch.maximum(width / height, height / width)
    exponents = torch.full_like(width, _CORNERED)
    for label in labels.unique():
        members = labels == label
        if longer[members].median() < _ROUNDISH:
            exponents[members] = _ROUND
    return _superellipses(inside, exponents, side)


def box_alphas(inside: Tensor, side: int) -> Tensor:
    """(N, side, side) uint8: 255 within boxes `inside` (N, 4), feathered around them."""
    grown = torch.cat([inside[:, :2] - FEATHER, inside[:, 2:] + FEATHER], dim=1)
    return _superellipses(grown, torch.full((len(inside),), 40.0), side)


def _superellipses(inside: Tensor, exponents: Tensor, side: int) -> Tensor:
    centre = (inside[:, :2] + inside[:, 2:]) / 2
    half = ((inside[:, 2:] - inside[:, :2]) / 2).clamp_min(0.5)
    places = torch.arange(side) + 0.5
    across = ((places[None, :] - centre[:, :1]) / half[:, :1]).abs()[:, None, :]
    down = ((places[None, :] - centre[:, 1:]) / half[:, 1:]).abs()[:, :, None]
    power = exponents[:, None, None]
    away = (across**power + down**power) ** (1 / power)
    return ((1 - away) / (2 * FEATHER) + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)


def without_holes(alphas: Tensor) -> Tensor:
    """Alphas (N, 1, H, W) in [0, 1] that are 1 wherever they enclose a place."""
    seen = (alphas >= _SEEN)[:, 0].cpu().numpy()
    filled = torch.from_numpy(np.stack([ndimage.binary_fill_holes(one, _AROUND) for one in seen]))
    return torch.where((filled & ~torch.from_numpy(seen)).to(alphas.device)[:, None], torch.ones_like(alphas), alphas)


def largest_part(alphas: Tensor) -> Tensor:
    """Alphas (N, 1, H, W) in [0, 1] of one connected object each: what is apart from its largest part is 0.

    A cut-out's box is where its alpha is: specks beside the object would make it too large.
    """
    peaks = alphas.amax((2, 3), keepdim=True)
    alphas = torch.where(peaks < _SEEN, alphas / peaks.clamp_min(1e-3), alphas)  # a faint object is one all the same
    there = (alphas >= _SEEN)[:, 0].cpu().numpy()
    largest = torch.from_numpy(np.stack([_largest(one) for one in there])).to(alphas.device)[:, None]
    edge = functional.max_pool2d(largest.float(), 7, stride=1, padding=3) * alphas.clamp_max(_SEEN - 0.01)
    kept = torch.where(largest, alphas, edge)
    return torch.where(kept < _FAINT, torch.zeros_like(kept), kept)


def _largest(there: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(H, W): the largest connected part."""
    parts, count = ndimage.label(there, _AROUND)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return np.asarray(parts == 1 + sizes.argmax()) if count else there
