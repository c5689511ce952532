"""How far is far, and how near is a copy: limits of each class, taken from its own real images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganaug.measures.copies import nearest_tolerant
from ganaug.recipe import Screening

__all__ = ["REASONS", "Limits", "limits_of", "nearest_features", "reasons", "usual_pixels"]

REASONS = ("doubted", "far", "copy", "redundant")
"""Why a sample is dropped, in the order in which they are asked; the first that applies is its reason."""

_EVEN = 0.5  # a sample whose class is likelier than not is never doubted


@dataclass(frozen=True)
class Limits:
    """Of one class; an infinite limit drops nothing."""

    doubted: float
    """Probability below which a sample is doubted."""
    far: float
    """Distance in features beyond which a sample is far from any real image."""
    copy: float
    """Distance in pixels up to which a sample is a copy."""
    redundant: float
    """Distance in features below which two samples show the same."""


def limits_of(
    settings: Screening, own: Sequence[Tensor], features: Sequence[Tensor], images: Sequence[Tensor]
) -> list[Limits]:
    """The limits of every class.

    Args:
        settings: what is to be dropped.
        own: for each class (n,), the judge's probability of that class for its real images, out of fold.
        features: for each class (n, D), of its real images.
        images: for each class (n, C, H, W) uint8.
    """
    apart = [_nearest_others(of_class) for of_class in features]
    usual = _usual([float(distances.median()) if len(distances) else math.nan for distances in apart])
    pixels = _usual([usual_pixels(of_class) for of_class in images]) if settings.copies is not None else usual
    found = []
    for place, distances in enumerate(apart):
        doubted, far, copy, redundant = -math.inf, math.inf, -math.inf, -math.inf
        if settings.doubt is not None:
            doubted = min(_EVEN, float(own[place].quantile(settings.doubt)))
        if settings.far is not None and len(distances):
            far = float(distances.quantile(settings.far))
        if settings.copies is not None:
            copy = settings.copies * pixels[place]
        if settings.redundant is not None:
            redundant = settings.redundant * usual[place]
        found.append(Limits(doubted, far, copy, redundant))
    return found


def reasons(limits: Limits, own: Tensor, features: Tensor, pixels: Tensor, alike: Tensor, room: int) -> list[int]:
    """For each of n samples in order its reason's place in REASONS, or -1 where it is kept; ends when `room` are kept.

    Args:
        limits: of the class.
        own: (n,) the judge's probability of the class.
        features: (n,) distance in features to the nearest real image of the class.
        pixels: (n,) distance in pixels to the nearest real image of the class.
        alike: (n, m + n) distance in features to each of m samples kept before and to each of these n.
        room: how many more may be kept, at least 1.
    """
    before = alike.shape[1] - len(own)
    found: list[int] = []
    kept = list(range(before))
    early = torch.stack([own < limits.doubted, features > limits.far, pixels <= limits.copy])
    for row, flags in enumerate(early.T.tolist()):
        reason = flags.index(True) if True in flags else -1
        if reason < 0 and kept and float(alike[row, kept].min()) < limits.redundant:
            reason = REASONS.index("redundant")
        found.append(reason)
        if reason < 0:
            kept.append(before + row)
            if len(kept) - before == room:
                break
    return found


def nearest_features(features: Tensor, real: Tensor) -> Tensor:
    """(n,) distances of `features` (n, D) to the nearest of `real` (m, D)."""
    return torch.cdist(features, real).min(1).values


def _nearest_others(features: Tensor) -> Tensor:
    """(n,) distances of each of (n, D) to the nearest other one; (0,) where there is no other."""
    if len(features) < 2:
        return features.new_empty(0)
    distances = torch.cdist(features, features)
    distances.fill_diagonal_(math.inf)
    return distances.min(1).values


def usual_pixels(images: Tensor) -> float:
    """The median distance in pixels of an image to the nearest in the other half of its class, over both halves."""
    if len(images) < 2:
        return math.nan
    one, other = images[::2], images[1::2]
    return float(torch.cat([nearest_tolerant(one, other)[1], nearest_tolerant(other, one)[1]]).median())


def _usual(medians: Sequence[float]) -> list[float]:
    """Where a class has a single image, the median over the other classes."""
    known = [median for median in medians if not math.isnan(median)]
    instead = float(torch.tensor(known).median()) if known else 0.0
    return [instead if math.isnan(median) else median for median in medians]
