"""The averaged generator that samples are drawn from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganaug.gan.networks import Generator

__all__ = ["copy_codes", "recompute_norms", "update_average"]


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Average <- decay * average + (1 - decay) * network, parameters only (Yazici et al. 2018, 1806.04498)."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)


@torch.no_grad()
def copy_codes(average: Generator, generator: Generator) -> None:
    """Give the averaged generator the codes that the trained one keeps; they are not averaged, each is the latest."""
    if generator.shape.codes:
        for name in ("codes", "code_counts", "code_spread"):
            getattr(average, name).copy_(getattr(generator, name))


@torch.no_grad()
def recompute_norms(generator: nn.Module, noise: Tensor, labels: Tensor, chunk: int = 64) -> None:
    """Set the batch-normalisation statistics of averaged weights from a forward pass over `noise` and `labels`.

    The trained network's running statistics do not fit the average of its weights (Izmailov et al. 2018, 1803.05407,
    section 3.2).
    """
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative mean
    generator.train()
    for part, part_labels in zip(noise.split(chunk), labels.split(chunk), strict=True):
        generator(part, part_labels)
    generator.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
