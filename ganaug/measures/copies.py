"""Is a synthetic image only a training image again? Nearest images that forgive a mirror or a small shift."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from sklearn.cluster import KMeans
from torch import Tensor

__all__ = ["copying_statistic", "mann_whitney_z", "nearest_tolerant", "partition"]

_SYNTHETIC = 512  # synthetic images compared at a time
_REAL = 64 * 2**20  # values of real images compared at a time


def nearest_tolerant(synthetic: Tensor, real: Tensor, *, flips: bool = True, shift: int = 2) -> tuple[Tensor, Tensor]:
    """For each synthetic image the index of the nearest real one and its distance, however mirrored or moved.

    The distance is the least over both mirrorings and all moves of up to `shift` pixels down and across; a moved
    image is compared where both overlap. It is the root mean square difference of pixels, in the units of
    `nearest_images`, and never above the distance that this gives.

    Args:
        synthetic: (N, C, H, W), of one dtype and range with `real`.
        real: (M, C, H, W), M at least 1.
        flips: compare mirrored images too; not where left and right make another class.
        shift: pixels, less than half of the images' sides; larger ones are cut down to that.

    Returns:
        (N,) int64 and (N,) float32.
    """
    height, width = real.shape[-2:]
    shift = max(0, min(shift, (min(height, width) - 1) // 2))
    moves = sorted(
        ((down, across) for down in range(-shift, shift + 1) for across in range(-shift, shift + 1)),
        key=lambda move: abs(move[0]) + abs(move[1]),  # of equals the least moved is kept
    )
    index = torch.zeros(len(synthetic), dtype=torch.int64)
    distance = torch.full((len(synthetic),), float("inf"))
    middle = float(real[:64].float().mean())  # small numbers lose less to float32
    for start in range(0, len(real), chunk := max(1, _REAL // real[0].numel())):
        part = real[start : start + chunk].float() - middle
        for first in range(0, len(synthetic), _SYNTHETIC):
            rows = slice(first, first + _SYNTHETIC)
            shown = synthetic[rows].float() - middle
            for down, across in moves:
                theirs = _overlap(part, -down, -across)
                for mirrored in (False, True) if flips else (False,):
                    ours = _overlap(shown.flip(-1) if mirrored else shown, down, across)
                    found, apart = _nearest(ours, theirs)
                    closer = apart < distance[rows]
                    index[rows] = torch.where(closer, found + start, index[rows])
                    distance[rows] = torch.where(closer, apart, distance[rows])
    return index, distance


def _overlap(images: Tensor, down: int, across: int) -> Tensor:
    """The part (N, C * h * w) of `images` that another set covers when that lies `down` and `across` pixels away."""
    height, width = images.shape[-2:]
    rows = slice(max(0, down), height + min(0, down))
    columns = slice(max(0, across), width + min(0, across))
    return images[:, :, rows, columns].flatten(1)


def _nearest(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """For each row of `a` its nearest row of `b`, and the root mean square difference, computed exactly."""
    index = torch.addmm(b.square().sum(1), a, b.T, alpha=-2).argmin(1)
    return index, (a - b[index]).square().mean(1).sqrt()


def mann_whitney_z(synthetic: Tensor, held: Tensor) -> float:
    """Are synthetic images nearer to the training images than new real ones are? The z-score of Mann and Whitney's U.

    U counts the pairs where the synthetic distance is the larger, ties by half; under "no difference" its mean is
    m n / 2 and its variance m n (m + n + 1) / 12, less for ties. Far below 0 is copying (Meehan, Chaudhuri and
    Dasgupta 2020, 2004.05675, section 3.2). It grows with the square root of the images: say how many there were.

    Args:
        synthetic: (m,) distances of synthetic images to their nearest training images.
        held: (n,) the same of real images that nothing was trained on.

    Returns:
        The score; NaN where a side is empty or all distances are equal.
    """
    m, n = len(synthetic), len(held)
    if m == 0 or n == 0:
        return math.nan
    both = torch.cat([synthetic, held]).double().numpy()
    u = stats.rankdata(both)[:m].sum() - m * (m + 1) / 2
    ties = np.unique(both, return_counts=True)[1].astype(np.float64)
    total = m + n
    variance = m * n / 12 * (total + 1 - (ties**3 - ties).sum() / (total * (total - 1)))
    return float((u - m * n / 2) / math.sqrt(variance)) if variance > 0 else math.nan


def copying_statistic(
    synthetic: Tensor, held: Tensor, *, synthetic_cells: Tensor, held_cells: Tensor, least: int = 5
) -> float:
    """C_T: the z-scores of all cells of the image space, weighted by their held images (2004.05675, section 3.3).

    Copying may happen in one region and hide in the whole. Distances here are to the nearest of all training images
    of the class and not only of the cell, for a copy across a border is a copy too.

    Args:
        synthetic: (m,) distances to the nearest training image, as is `held` (n,).
        held: of real images that nothing was trained on.
        synthetic_cells: (m,) int64, the cell of each, as is `held_cells` (n,).
        held_cells: as above.
        least: cells with fewer images of either side tell too little and are left out.

    Returns:
        The weighted mean; NaN where no cell is left.
    """
    total, weights = 0.0, 0
    for cell in held_cells.unique():
        ours, theirs = synthetic[synthetic_cells == cell], held[held_cells == cell]
        z = mann_whitney_z(ours, theirs)
        if min(len(ours), len(theirs)) >= least and not math.isnan(z):
            total += z * len(theirs)
            weights += len(theirs)
    return total / weights if weights else math.nan


def partition(train: Tensor, others: tuple[Tensor, ...], *, cells: int, seed: int) -> list[Tensor]:
    """The cell of each vector of `others`, (N,) int64 each: k-means of the training vectors `train` (M, D)."""
    means = KMeans(max(1, min(cells, len(train))), n_init=3, random_state=seed).fit(_array(train))
    return [torch.from_numpy(means.predict(_array(vectors)).astype(np.int64)) for vectors in others]


def _array(vectors: Tensor) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = np.ascontiguousarray(vectors.float().numpy())
    return found
