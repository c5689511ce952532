"""Distances between sets of feature vectors: is the synthetic set like the real one, and as varied?

All functions take (N, D) float tensors of features from one network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Fidelity", "coverage", "fidelity", "kernel_distance"]


def kernel_distance(real: Tensor, synthetic: Tensor) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, 1801.01401, equation 4).

    The unbiased estimate, so near 0 (and below it at times) for two draws of one distribution. Sets may differ in
    size, which torchmetrics' estimate does not allow.
    """
    m, n = len(real), len(synthetic)
    within_real = _off_diagonal_mean(_cubic(real, real))
    within_synthetic = _off_diagonal_mean(_cubic(synthetic, synthetic))
    assert m > 1, "an unbiased estimate needs two vectors of each side"
    assert n > 1, "an unbiased estimate needs two vectors of each side"
    return float(within_real + within_synthetic - 2 * _cubic(real, synthetic).mean())


def coverage(real: Tensor, synthetic: Tensor, neighbours: int = 5) -> float:
    """Share of real vectors whose ball holds a synthetic one (Naeem et al. 2020, 2002.09797, equation 8).

    A ball reaches to the vector's `neighbours`-th real neighbour (fewer, where there are fewer).
    """
    distances = torch.cdist(real, real)
    distances.fill_diagonal_(float("inf"))
    neighbours = min(neighbours, len(real) - 1)
    radii = distances.kthvalue(neighbours, dim=1).values
    return float((torch.cdist(real, synthetic).min(1).values <= radii).float().mean())


@dataclass(frozen=True)
class Fidelity:
    """How close synthetic images come to real ones of the same class, in the features of one small network."""

    kernel_distance: float
    """Mean over classes; 0 is best, below 0 is noise."""
    coverage: float
    """Mean over classes, in [0, 1]; 1 is best."""
    class_coverage: tuple[float, ...]

    @property
    def score(self) -> float:
        """One number to choose a snapshot by, in (0, 1]: coverage, discounted by the kernel distance.

        Both are needed: coverage forgives outliers and the kernel distance forgives missing modes.
        """
        return self.coverage / (1 + max(0.0, self.kernel_distance))


def fidelity(real: Tensor, real_labels: Tensor, synthetic: Tensor, synthetic_labels: Tensor) -> Fidelity:
    """Compare class by class the features (N, D) of real and of synthetic images; labels are (N,) int64."""
    distances, coverages = [], []
    for label in real_labels.unique():
        ours, theirs = real[real_labels == label], synthetic[synthetic_labels == label]
        distances.append(kernel_distance(ours, theirs))
        coverages.append(coverage(ours, theirs))
    count = len(coverages)
    return Fidelity(sum(distances) / count, sum(coverages) / count, tuple(coverages))


def _cubic(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _off_diagonal_mean(kernel: Tensor) -> Tensor:
    count = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))
