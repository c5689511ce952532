"""Losses of the adversarial game, each a pure function with its source.

Logits are float32 tensors of any shape, high for real; every loss is a mean over their elements.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "discriminator_loss",
    "generator_loss",
    "gradient_penalty",
    "kl_divergence",
    "lecam",
    "mean_of",
    "mode_seeking",
    "reconstruction",
]


def mean_of(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of all `values`, (); with `weights` of that shape (N, ...) each of N counts alike."""
    if weights is None:
        return values.mean()
    sums, sizes = (values * weights).flatten(1).sum(1), weights.flatten(1).sum(1)
    return (sums / sizes.clamp_min(1e-6)).mean()


def discriminator_loss(kind: str, real: Tensor, fake: Tensor, weights: Tensor | None = None) -> Tensor:
    """What the discriminator minimises; E is `mean_of`, by `weights` where there are some.

    non_saturating: E[softplus(-real)] + E[softplus(fake)] (Goodfellow et al. 2014, 1406.2661, equation 1).
    hinge: E[relu(1 - real)] + E[relu(1 + fake)] (Miyato et al. 2018, 1802.05957, equation 16).
    relativistic: E[softplus(fake - real)] over pairs (Huang et al. 2024, 2501.05441, equation 2).
    """
    if kind == "non_saturating":
        return mean_of(functional.softplus(-real), weights) + mean_of(functional.softplus(fake), weights)
    if kind == "hinge":
        return mean_of(functional.relu(1 - real), weights) + mean_of(functional.relu(1 + fake), weights)
    return mean_of(functional.softplus(fake - real), weights)


def generator_loss(kind: str, fake: Tensor, real: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """What the generator minimises; `real` is needed by the relativistic loss alone, `weights` as above."""
    if kind == "non_saturating":
        return mean_of(functional.softplus(-fake), weights)
    if kind == "hinge":
        return -mean_of(fake, weights)
    assert real is not None, "the relativistic loss compares with real logits"
    return mean_of(functional.softplus(real - fake), weights)


def gradient_penalty(judge: Callable[[Tensor], Tensor], images: Tensor, gamma: float) -> Tensor:
    """gamma/2 E[|grad_x D(x)|^2]: R1 on real images, R2 on synthetic (Mescheder et al. 2018, 1801.04406, equation 9).

    Augmentation of the discriminator's input belongs inside `judge`, so that the penalty is on images themselves.
    """
    images = images.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(judge(images).sum(), images, create_graph=True)
    return gamma / 2 * gradient.float().square().flatten(1).sum(1).mean()


def lecam(real: Tensor, fake: Tensor, real_average: Tensor, fake_average: Tensor) -> Tensor:
    """E[relu(real - fake_avg)^2] + E[relu(real_avg - fake)^2] (Tseng et al. 2021, 2104.03310, equation 5).

    As in the authors' code, only deviations away from the other side's running average count.
    """
    return functional.relu(real - fake_average).square().mean() + functional.relu(real_average - fake).square().mean()


def mode_seeking(images: Tensor, noise: Tensor, over_all: Callable[[Tensor], Tensor] = lambda mean: mean) -> Tensor:
    """Inverse of how far images move with their noise (Mao et al. 2019, 1903.05628, equation 4).

    `images` NCHW and `noise` (N, latent_dim) hold pairs of one class: rows i and i + N/2. Mean absolute distances.
    `over_all` makes of this batch's mean that of all batches that are trained on at once.
    """
    first, second = images.chunk(2)
    apart = (first - second).abs().flatten(1).mean(1)
    noise_apart = (noise[: len(first)] - noise[len(first) :]).abs().mean(1)
    return 1 / (over_all((apart / noise_apart).mean()) + 1e-5)


def reconstruction(images: Tensor, targets: Tensor) -> Tensor:
    """Half mean squared plus mean absolute error, for [-1, 1] images of either side NCHW.

    Scaled by half the values of an image, so that against the KL term the two act as a Gaussian and a Laplace
    likelihood whose widths are near those of small photographs.
    """
    values = images[0].numel()
    difference = images - targets
    return values / 2 * (0.5 * difference.square().mean() + difference.abs().mean())


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)), summed over the latent, mean over the batch (1312.6114, appendix)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
