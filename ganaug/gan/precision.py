"""Whether half precision pays on this device."""

from __future__ import annotations

import time

import torch
from torch import nn

from ganaug.gan.seeding import seeded

__all__ = ["half_pays"]


def half_pays(device: torch.device) -> bool:
    """Whether bfloat16 convolutions, forward and backward, are at least a tenth faster than float32 on `device`.

    Measured in some tens of milliseconds, for no list of processors stays true. On CUDA the hardware tells.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False

    def seconds(half: bool) -> float:
        layer = nn.Conv2d(32, 32, 3, padding=1).to(memory_format=torch.channels_last)
        images = torch.randn(32, 32, 16, 16).contiguous(memory_format=torch.channels_last)
        times = []
        for _ in range(6):
            began = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                result = layer(images)
            result.float().square().mean().backward()
            times.append(time.perf_counter() - began)
        return min(times[1:])  # the first one prepares the kernels

    with seeded(0, device):
        return seconds(True) < 0.9 * seconds(False)
