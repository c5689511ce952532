"""In which precision a device computes fastest."""

from __future__ import annotations

from typing import Literal

import torch

__all__ = ["Precision", "fastest_precision", "half_pays"]

Precision = Literal["float32", "bfloat16", "float16"]


def half_pays(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16 by instructions of its own; where it only emulates them, float32 is faster.

    Asked of the processor and not of a clock: a timing on a busy machine would answer differently from one fit to
    the next, and a seed would no longer fix what comes out.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # no public ones yet, so they may go away
    return any(bool(getattr(torch.cpu, question, lambda: False)()) for question in questions)


def fastest_precision(device: torch.device) -> Precision:
    """bfloat16 where it pays; else float16 on a card with tensor cores (Volta and Turing), else float32."""
    if half_pays(device):
        return "bfloat16"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0):
        return "float16"
    return "float32"
