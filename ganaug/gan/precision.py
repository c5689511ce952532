"""Whether half precision pays on this device."""

from __future__ import annotations

import torch

__all__ = ["half_pays"]


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
