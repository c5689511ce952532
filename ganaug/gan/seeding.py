"""Randomness that leaves the caller's alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ganaug.gan.processes import Processes

__all__ = ["SharedGenerator", "drawn", "seeded"]


class SharedGenerator(torch.Generator):
    """A generator that each of several processes holds in the same state; see `drawn`."""

    processes: Processes = Processes()


def drawn(draw: Callable[[int], Tensor], count: int, generator: torch.Generator | None) -> Tensor:
    """`count` rows of `draw`, which takes a number of rows and draws on `generator`.

    With a `SharedGenerator`, rows are drawn for all its processes and each keeps its own: a group then draws what a
    process on its own would for the whole batch, and its random state stays the same.
    """
    if not isinstance(generator, SharedGenerator):
        return draw(count)
    return generator.processes.mine(draw(count * generator.processes.size))


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
