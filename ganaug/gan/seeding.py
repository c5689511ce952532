"""Randomness that leaves the caller's alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["seeded"]


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global random state seeded inside, and as it was afterwards: weights, dropout and transforms draw on it.

    Only the states of the CPU and of `device` are used and put back; `torch.manual_seed` would seed every accelerator.
    """
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
