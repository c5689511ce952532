"""Pasting an object into a scene in one of several ways, so that a seam tells nothing of what is pasted.

Where the same kinds of seam lie around objects and around pieces of mere ground, a detector cannot learn to find
seams instead of objects (Dwibedi et al. 2017, 1708.01642, section 4.2).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve

from ganaug.compositing.cutouts import SOLID, CutOut

__all__ = ["Blend", "blended", "membrane"]

Floats = npt.NDArray[np.float32]
Blend = Literal["hard", "feathered", "gaussian", "poisson"]

_SOLVED = 24  # pixels along the longer side that a membrane is solved at; it is smooth, and scaled up from there
_FARTHEST = 60.0  # grey levels that a colour is moved, at the most
_GAIN = 1.25  # and how far its contrast is changed
_LEAST = 8  # pixels of ground that a colour is judged by


def blended(
    ground: npt.NDArray[np.uint8], cutout: CutOut, blend: Blend, *, softness: float = 0.5, colour: float = 0.0
) -> npt.NDArray[np.uint8]:
    """The ground with the object on it, (h, w, C) uint8 both.

    Args:
        ground: as large as the cut-out.
        cutout: the object.
        blend: "hard", alpha is 0 or 1; "feathered", as it comes, a little smoothed; "gaussian", the hard one blurred;
            "poisson", the object's gradients on the ground's colours. That needs to know what was around the object;
            where the cut-out does not show it, "feathered".
        softness: 0 to 1: how wide the seam of "feathered" and "gaussian" is.
        colour: 0 to 1: how far the object's colours are moved as what is around it must move to be that ground. Not
            with "poisson", which does so by itself.
    """
    solid = cutout.alpha >= SOLID
    side = math.sqrt(np.count_nonzero(solid))
    theirs = ground.astype(np.float32)
    if blend == "poisson" and cutout.around is None:
        pixels = cutout.pixels.astype(np.float32)
        pixels += _FARTHEST * np.tanh(membrane(theirs - pixels, solid) / np.float32(_FARTHEST))
        weight = solid.astype(np.float32)
    else:
        pixels = _matched(cutout, theirs, colour)
        if blend == "hard":
            weight = solid.astype(np.float32)
        elif blend == "gaussian":
            weight = ndimage.gaussian_filter(solid.astype(np.float32), min(2.0, 0.5 + softness * side / 24))
        else:
            alpha = cutout.alpha * np.float32(1 / 255)
            weight = ndimage.uniform_filter(alpha, 3 if side < 48 or softness < 0.5 else 5)
    pixels -= theirs
    pixels *= weight[:, :, None]
    pixels += theirs
    return np.asarray(np.clip(np.rint(pixels, out=pixels), 0, 255, out=pixels), dtype=np.uint8)


def membrane(edge: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """What is harmonic inside and equals `edge` outside: the correction of Poisson blending (Perez et al. 2003).

        f* = g + m,   laplace(m) = 0 inside,   m = f - g on the pixels around it

    for a ground f and an object g. Pixels beyond the border count as no neighbours. It is solved at 24 pixels a side at
    the most and interpolated from there.

    Args:
        edge: (h, w, C), f - g, of which the pixels outside count.
        inside: (h, w).

    Returns:
        (h, w, C); 0 where every pixel is inside, for then nothing says what is around.
    """
    if inside.all() or not inside.any():
        return np.zeros_like(edge) if inside.all() else edge
    by = -(-max(inside.shape) // _SOLVED)
    if by == 1:
        return _solved(edge, inside)
    known = ~inside
    share = _squares(known[:, :, None].astype(np.float32), by)
    small = _squares(np.where(known[:, :, None], edge, np.float32(0)), by)
    small /= np.where(share > 0, share, np.float32(1))
    coarse: Floats = _solved(small, share[:, :, 0] == 0) if (share == 0).any() else small
    rows = (np.arange(inside.shape[0]) + 0.5) / by - 0.5
    columns = (np.arange(inside.shape[1]) + 0.5) / by - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    planes = [ndimage.map_coordinates(plane, grid, order=1, mode="nearest") for plane in np.moveaxis(coarse, 2, 0)]
    return np.where(inside[:, :, None], np.stack(planes, 2), edge)


def _squares(values: Floats, by: int) -> Floats:
    """Means of squares of `by` pixels; pixels beyond the border are 0."""
    height, width, channels = values.shape
    padded = np.pad(values, ((0, -height % by), (0, -width % by), (0, 0)))
    return padded.reshape(padded.shape[0] // by, by, padded.shape[1] // by, by, channels).mean((1, 3), dtype=np.float32)  # type: ignore[no-any-return]


def _solved(edge: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """The membrane by a direct solution of its five-point equations."""
    height, width = inside.shape
    unknown = np.flatnonzero(inside)
    number = np.full(inside.size, -1)
    number[unknown] = np.arange(len(unknown))
    flat = edge.reshape(inside.size, -1).astype(np.float64)
    degree, known = np.zeros(len(unknown)), np.zeros((len(unknown), flat.shape[1]))
    rows, columns = [], []
    for step, there in (
        (-1, unknown % width > 0), (1, unknown % width < width - 1), (-width, unknown >= width),
        (width, unknown < (height - 1) * width),
    ):  # fmt: skip
        at, beside = np.flatnonzero(there), unknown[there] + step
        degree[at] += 1
        free = inside.ravel()[beside]
        known[at[~free]] += flat[beside[~free]]
        rows.append(at[free])
        columns.append(number[beside[free]])
    every = np.arange(len(unknown))
    row, column = np.concatenate([*rows, every]), np.concatenate([*columns, every])
    values = np.concatenate([np.full(len(row) - len(unknown), -1.0), degree])
    found = spsolve(csr_matrix((values, (row, column)), shape=(len(unknown), len(unknown))), known)
    made = flat.copy()
    made[unknown] = found.reshape(len(unknown), -1)
    return made.reshape(edge.shape).astype(np.float32)


def _matched(cutout: CutOut, ground: Floats, strength: float) -> Floats:
    """The object's pixels (h, w, C) in the light of this ground.

    Mean and deviation of each channel over the pixels that show no object become the ground's, as far as `strength`
    says; 60 levels and a factor of 1.25 at the most, 30 levels where only a class's mean ground is known.
    """
    pixels: Floats = cutout.pixels.astype(np.float32)
    ring = cutout.ground()
    if strength == 0 or np.count_nonzero(ring) < _LEAST:
        return pixels
    theirs = ground[ring]
    if cutout.around is not None:  # a mean of a class, not its own: half as far
        pixels += np.clip(strength * (theirs.mean(0) - cutout.around), -_FARTHEST / 2, _FARTHEST / 2)
        return pixels
    ours = pixels[ring]
    mean = ours.mean(0)
    gain = np.clip((theirs.std(0) + 4) / (ours.std(0) + 4), 1 / _GAIN, _GAIN) ** np.float32(strength)
    moved = np.clip(strength * (theirs.mean(0) - mean), -_FARTHEST, _FARTHEST)
    pixels *= gain
    pixels += mean * (1 - gain) + moved
    return pixels
