"""What a bank makes of pictures that it is given, of any size; `GeneratorBank` inherits it."""

from __future__ import annotations

import torch
from torch import Tensor

from ganaug.errors import BankError

__all__ = ["check_pictures"]


def check_pictures(images: Tensor, channels: int, *, least: int = 1, what: str = "images") -> None:
    """Make sure that `images` are (N, channels, H, W) uint8, neither side below `least` pixels; else a BankError."""
    got = f"{what} are {images.dtype} of shape {tuple(images.shape)}"
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != channels:
        raise BankError(f"{got}; wanted torch.uint8 (N, {channels}, H, W)")
    if min(images.shape[-2:]) < least:
        raise BankError(f"{got}; wanted sides of {least} pixels or more")
