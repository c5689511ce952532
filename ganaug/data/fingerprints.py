"""Telling whether two images are the same image: exactly, by their pixels, or nearly, by what they look like."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

from ganaug.data.images import is_grey, to_channels, to_uint8

__all__ = ["NEAR", "fingerprint", "near_copies", "perceptual_print"]

NEAR = 0.07
"""Distance between perceptual prints up to which two images are near-copies, of at most 2. It lies between what saving
again as JPEG, resizing or brightening an image does and what two images of one class are apart."""

_SIDE = 32  # every image is looked at in this size
_KEPT = 8  # lowest frequencies kept, down and across
_FLAT = 1.0  # deviation of the kept frequencies, in grey levels, below which an image shows nothing
_CHUNK = 2048  # prints compared at a time


def fingerprint(image: Any) -> str:
    """32 hex digits that two images share only if every decoded pixel is the same.

    The form does not count: a PIL image, a tensor and an array of the same pixels agree, and so do a grey image and
    its RGB copy with equal channels.
    """
    pixels = to_uint8(image)
    if is_grey(pixels):
        pixels = pixels[:, :, :1]
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()[:32]


def perceptual_print(image: Any) -> str:
    """84 characters that change little where an image is saved again, resized or brightened; see `near_copies`.

    The low frequencies of its grey values, without the mean and scaled to length 1, each by the square root of its size
    in one byte, in base64. The usual perceptual hash keeps the signs of such numbers alone, and two small images
    with much empty ground agree in most of them. An image that shows nothing, of one colour, has the empty print.
    """
    pixels = to_uint8(image)
    if pixels.shape[-1] not in {1, 3}:
        pixels = pixels.mean(2, keepdims=True).round().astype(np.uint8)  # of bands
    grey = Image.fromarray(to_channels(pixels, 1)[:, :, 0])
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    waves = dctn(small, norm="ortho")[:_KEPT, :_KEPT].ravel()[1:]
    length = float(np.linalg.norm(waves))
    if length < _FLAT * _SIDE:
        return ""
    waves /= length
    levels = np.rint(127 * np.sign(waves) * np.sqrt(np.abs(waves))).astype(np.int8)
    return base64.b64encode(levels.tobytes()).decode()


def near_copies(a: Sequence[str], b: Sequence[str], *, within: float = NEAR) -> list[tuple[int, int]]:
    """Pairs (i, j) where the image of perceptual print a[i] nearly is that of b[j], its nearest in `b`.

    Colour is not looked at, and a mirrored image is another one.

    Args:
        a: perceptual prints; empty ones are near to nothing.
        b: the same.
        within: the largest distance of a pair, from 0 to 2.
    """
    ours, theirs = _known(a), _known(b)
    if not len(ours) or not len(theirs):
        return []
    known, vectors = _vectors(b, theirs), _vectors(a, ours)
    found: list[tuple[int, int]] = []
    for start in range(0, len(ours), _CHUNK):
        alike = vectors[start : start + _CHUNK] @ known.T
        nearest = alike.argmax(1)
        distance = np.sqrt(np.maximum(0, 2 - 2 * alike[np.arange(len(nearest)), nearest]))
        for row in np.flatnonzero(distance <= within):
            found.append((int(ours[start + row]), int(theirs[nearest[row]])))
    return found


def _known(prints: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.array([index for index, print_ in enumerate(prints) if print_], dtype=np.int64)


def _vectors(prints: Sequence[str], indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """(N, 63) of length 1."""
    levels = np.frombuffer(b"".join(base64.b64decode(prints[index]) for index in indices), dtype=np.int8)
    roots = levels.reshape(len(indices), -1).astype(np.float32)
    waves = np.sign(roots) * np.square(roots)
    return waves / np.linalg.norm(waves, axis=1, keepdims=True)  # type: ignore[no-any-return]
