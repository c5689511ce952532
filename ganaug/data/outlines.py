"""Shapes of objects: polygons and run lengths, as files keep them, and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt
from matplotlib.path import Path as Polygon

from ganaug.errors import DataError, MissingExtraError

__all__ = ["Outline", "filled"]

Ring = npt.NDArray[np.float64]  # (k, 2), x and y in pixels
Outline = Union[Sequence[Ring], Mapping[str, Any]]
"""Rings, or run lengths as COCO has them."""


def filled(outline: Outline, size: tuple[int, int], where: str) -> npt.NDArray[np.bool_]:
    """The pixels (H, W) whose centres lie within an outline; of one between the centres, the nearest.

    Raises:
        DataError: run lengths are not of this size.
    """
    if isinstance(outline, Mapping):
        return _run_lengths(outline, size, where)
    mask = np.zeros(size, dtype=bool)
    for ring in outline:
        left, top = np.clip(np.floor(ring.min(axis=0)).astype(int), 0, [size[1] - 1, size[0] - 1])
        right, bottom = np.clip(np.ceil(ring.max(axis=0)).astype(int), [left + 1, top + 1], [size[1], size[0]])
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        inside = Polygon(ring).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
        mask[top:bottom, left:right] |= inside.reshape(x.shape)
    if not mask.any():
        column, row = np.clip(np.concatenate(list(outline)).mean(axis=0).astype(int), 0, [size[1] - 1, size[0] - 1])
        mask[row, column] = True
    return mask


def _run_lengths(rle: Mapping[str, Any], size: tuple[int, int], where: str) -> npt.NDArray[np.bool_]:
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise MissingExtraError("pycocotools", "segmentation") from error
    try:
        packed = coco.frPyObjects(dict(rle), *size) if isinstance(rle["counts"], list) else rle
        mask: npt.NDArray[np.bool_] = coco.decode(packed).astype(bool)
    except Exception as error:  # pycocotools raises what it likes
        raise DataError(f"{where}: its run lengths cannot be drawn ({error})") from error
    if mask.shape != size:
        high, wide = mask.shape
        raise DataError(
            f"{where}: its run lengths are of {wide} x {high} pixels and the image of {size[1]} x {size[0]}"
        )
    return mask
