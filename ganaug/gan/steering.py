"""Directions of a generator's codes: found as GANSpace finds them, and codes moved along them.

GANSpace (Harkonen et al. 2020, 2004.02546): principal components of what an early layer says of many samples, and the
codes regressed on these. Here within classes, for what tells classes apart is the class's own embedding; and in codes
that are whitened within their class, so that a place along a direction is in standard deviations and a move along one
direction leaves the places along all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Directions", "Steering", "find_directions"]

_FLOOR = 1e-6  # of the largest variance of codes, below which a direction of them counts as none
_CHUNK = 128  # samples run together


class Steering(nn.Module):
    """Moves codes along directions: a place t becomes shift + spread * t, in standard deviations.

    Args:
        rows: classes, or 1 where the same is done whatever the class.
        directions: how many.
        latent_dim: numbers of a code.
    """

    def __init__(self, rows: int, directions: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(rows, latent_dim))
        self.register_buffer("steps", torch.zeros(directions, latent_dim))
        self.register_buffer("readings", torch.zeros(directions, latent_dim))
        self.register_buffer("shift", torch.zeros(rows, directions))
        self.register_buffer("spread", torch.ones(rows, directions))
        self.centres: Tensor
        self.steps: Tensor
        self.readings: Tensor
        self.shift: Tensor
        self.spread: Tensor

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Codes (N, latent_dim) moved as rows `labels` (N,) int64 say."""
        places = (codes - self.centres[labels]) @ self.readings.T
        return codes + (self.shift[labels] + (self.spread[labels] - 1) * places) @ self.steps


@dataclass(frozen=True)
class Directions:
    """The principal directions of a generator's codes, the strongest first; float32 on the CPU."""

    centres: Tensor
    """(groups, latent_dim): mean code of each group, as a class."""
    steps: Tensor
    """(directions, latent_dim): what one standard deviation towards the + end adds to a code."""
    readings: Tensor
    """(directions, latent_dim): a code less its centre, times this, is its place along the direction."""
    explained: tuple[float, ...]
    """Share of the early layer's variance within groups that each explains, 0..1, falling."""

    def __len__(self) -> int:
        return len(self.steps)

    def places(self, codes: Tensor, groups: Tensor) -> Tensor:
        """(N, directions): where `codes` (N, latent_dim) of `groups` (N,) lie, in standard deviations."""
        return (codes - self.centres[groups]) @ self.readings.T

    def at(self, codes: Tensor, groups: Tensor, number: int, place: float) -> Tensor:
        """The codes (N, latent_dim) brought to one place along direction `number`; along all others they stay."""
        return codes + (place - self.places(codes, groups)[:, number : number + 1]) * self.steps[number]


@torch.no_grad()
def find_directions(
    place: Callable[[Tensor, Tensor], Tensor],
    early: Callable[[Tensor, Tensor], Tensor],
    groups: Tensor,
    count: int,
    *,
    latent_dim: int,
    samples: int = 1024,
) -> Directions:
    """The first `count` principal directions: the same each time, and those of fewer are the first of more.

    With y what the early layer says of samples and z their codes, each less its group's mean: x = y V, V the leading
    eigenvectors of the covariance of y; directions are Q of the QR decomposition of W^T x, with W = z S^-1/2 the
    whitened codes, S their covariance. One standard deviation is then S^1/2 q, and a place z S^-1/2 q.

    Args:
        place: of noise (N, latent_dim) and groups (N,) int64 to codes (N, latent_dim).
        early: of codes and groups to features (N, D) of an early layer.
        groups: what is told apart before variance is looked at, as class numbers; all on the CPU.
        count: at most latent_dim.
        latent_dim: numbers of a code, and of the noise.
        samples: in all, at least 8 of each group.
    """
    told = groups.repeat_interleave(max(8, samples // len(groups)))
    source = torch.Generator(device="cpu").manual_seed(0)
    with torch.autocast("cpu", enabled=False):  # a caller's must not change what a direction is
        codes = place(torch.randn(len(told), latent_dim, generator=source), told)
        parts = zip(codes.split(_CHUNK), told.split(_CHUNK), strict=True)
        seen = torch.cat([early(*part).flatten(1) for part in parts])
    rows = torch.arange(len(groups)).repeat_interleave(len(told) // len(groups))
    z, centres = _centred(codes.double(), rows, len(groups))
    y, _ = _centred(seen.double(), rows, len(groups))
    variances, axes = torch.linalg.eigh(z.T @ z / len(z))
    kept = variances > _FLOOR * variances[-1]
    root = variances[kept].sqrt()
    whitened = z @ axes[:, kept] / root
    wide = y.shape[1] > len(y)  # the smaller of two matrices with the same spectrum
    spectrum, components = torch.linalg.eigh(y @ y.T if wide else y.T @ y)
    leading = (components if wide else y @ components)[:, -count:].flip(1)
    directions = _orthonormal(whitened.T @ leading)
    steps = (axes[:, kept] * root) @ directions
    readings = (axes[:, kept] / root) @ directions
    # which end is + is a matter of taste, and must be the same next time
    largest = steps.abs().argmax(0)
    signs = steps[largest, torch.arange(steps.shape[1])].sign()
    shares = (spectrum[-count:].flip(0) / spectrum.sum().clamp_min(1e-12)).clamp_min(0)
    return Directions(
        centres.float(),
        (steps * signs).T.float().contiguous(),
        (readings * signs).T.float().contiguous(),
        tuple(shares[: steps.shape[1]].tolist()),
    )


def _centred(values: Tensor, rows: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """`values` (N, D) less the mean of their group, and these means (groups, D)."""
    sums = torch.zeros(groups, values.shape[1], dtype=values.dtype).index_add_(0, rows, values)
    means = sums / torch.bincount(rows, minlength=groups)[:, None]
    return values - means[rows], means


def _orthonormal(columns: Tensor) -> Tensor:
    """Gram-Schmidt on `columns` (D, K), in order; at most D of them."""
    found, triangle = torch.linalg.qr(columns[:, : columns.shape[0]])
    signs = triangle.diagonal().sign()
    oriented: Tensor = found * torch.where(signs == 0, torch.ones_like(signs), signs)
    return oriented
