"""Distances between sets of feature vectors: is the synthetic set like the real one, and as varied?

All functions take (N, D) float tensors of features from one network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Fidelity", "coverage", "density", "fidelity", "kernel_distance", "precision", "recall"]


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
    return float((torch.cdist(real, synthetic).min(1).values <= _radii(real, neighbours)).float().mean())


def precision(real: Tensor, synthetic: Tensor, neighbours: int = 5) -> float:
    """Share of synthetic vectors in the ball of a real one (Kynkaanniemi et al. 2019, 1904.06991, equation 1).

    Balls are those of `coverage`; in 0..1.
    """
    inside = torch.cdist(synthetic, real) <= _radii(real, neighbours)
    return float(inside.any(1).float().mean())


def recall(real: Tensor, synthetic: Tensor, neighbours: int = 5) -> float:
    """Share of real vectors in the ball of a synthetic one (Kynkaanniemi et al. 2019, 1904.06991, equation 2).

    In 0..1. Sets of one size should be compared: more synthetic vectors have smaller balls.
    """
    return precision(synthetic, real, neighbours)


def density(real: Tensor, synthetic: Tensor, neighbours: int = 5) -> float:
    """How many real balls hold a synthetic vector, on average, by how many do in real data (2002.09797, equation 7).

    About 1 for two draws of one distribution, and above 1 where synthetic vectors crowd where real ones do. Unlike
    precision, one real outlier with a large ball cannot pass many.
    """
    neighbours = min(neighbours, len(real) - 1)
    inside = torch.cdist(synthetic, real) <= _radii(real, neighbours)
    return float(inside.float().sum(1).mean()) / neighbours


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


def _radii(vectors: Tensor, neighbours: int) -> Tensor:
    """(N,) distances of each vector to its `neighbours`-th nearest other one (the last, where there are fewer)."""
    distances = torch.cdist(vectors, vectors)
    distances.fill_diagonal_(float("inf"))
    return distances.kthvalue(min(neighbours, len(vectors) - 1), dim=1).values


def _cubic(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _off_diagonal_mean(kernel: Tensor) -> Tensor:
    count = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))
