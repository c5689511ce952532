"""Is a synthetic image only a training image again? Nearest images that forgive a mirror or a small shift."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nearest_tolerant"]

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
