"""Losses of a discriminator that segments, each a pure function (OASIS, Sushko et al. 2021, 2012.04781).

Classes come as (N, classes, H, W) float32, zeros where no class is said; such pixels count nowhere. Logits are
(N, classes + 1, H, W) float32, "synthetic" last.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["class_error", "class_weights", "label_mix", "mix_inconsistency", "realness", "synthetic_error"]


def class_weights(pixels: Tensor) -> Tensor:
    """(classes,) weights for `pixels` (classes,) counted: rare classes weigh more (2012.04781, equation 2).

    Scaled to a mean of 1 over pixels, so that a class of few pixels does not make the whole loss large. Classes
    that are not there weigh nothing.
    """
    there = pixels > 0
    shares = pixels / pixels.sum().clamp_min(1)
    return torch.where(there, 1 / (shares.clamp_min(1e-6) * there.sum().clamp_min(1)), torch.zeros_like(shares))


def class_error(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Balanced cross-entropy: real pixels for the discriminator, all for the generator (equations 1 and 4)."""
    surprise = -functional.log_softmax(logits, dim=1)[:, :-1]
    weighted = (surprise * classes * weights[None, :, None, None]).sum()
    return weighted / classes.sum().clamp_min(1)


def synthetic_error(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of synthetic pixels against the class "synthetic" (equation 1, second term)."""
    surprise = -functional.log_softmax(logits, dim=1)[:, -1]
    said = classes.sum(1)
    return (surprise * said).sum() / said.sum().clamp_min(1)


def label_mix(real: Tensor, synthetic: Tensor, from_real: Tensor) -> Tensor:
    """`real` where `from_real` (N, 1, H, W) is 1, else `synthetic`: borders follow the map's (section 3.2)."""
    return torch.lerp(synthetic, real, from_real.to(real))


def mix_inconsistency(mixed: Tensor, real: Tensor, synthetic: Tensor, from_real: Tensor) -> Tensor:
    """Mean squared distance of logits of a mixed image from the mixture of logits (equation 3)."""
    return (mixed - label_mix(real, synthetic, from_real)).square().mean()


def realness(logits: Tensor) -> Tensor:
    """(N, H, W) log odds that a pixel is of any class and not synthetic: what other discriminators answer."""
    return logits[:, :-1].logsumexp(1) - logits[:, -1]
