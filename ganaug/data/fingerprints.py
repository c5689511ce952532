"""Telling whether two images are the same image, by their decoded pixels."""

from __future__ import annotations

import hashlib
from typing import Any

from ganaug.data.images import is_grey, to_uint8

__all__ = ["fingerprint"]


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
