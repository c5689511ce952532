"""What every trainer does with a loss and with what it logs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganaug.gan.processes import Processes

__all__ = ["adam", "averaged", "cooled", "descend", "gradient_size", "set_rate"]


def adam(network: nn.Module, rate: float) -> Adam:
    """The optimiser that every network has."""
    return Adam(network.parameters(), lr=rate, betas=(0.0, 0.99), fused=True)


def set_rate(optimizer: Adam, rate: float) -> None:
    """Give all parameters of `optimizer` this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def cooled(phase: float) -> float:
    """Factor of the learning rates at `phase` in [0, 1] of a part of the fit: a quarter cosine from 1 to a tenth."""
    return 0.1 + 0.9 * math.cos(math.pi / 2 * phase)


def descend(loss: Tensor, *optimizers: Adam, processes: Processes, scaler: torch.amp.GradScaler) -> None:
    """One step of each of `optimizers` down the mean of the processes' losses; none where `scaler` finds overflow."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    # Before an overflow is looked for, so that all processes find it or none.
    processes.average_gradients(p for optimizer in optimizers for p in optimizer.param_groups[0]["params"])
    for optimizer in optimizers:
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
    scaler.update()


def gradient_size(network: nn.Module) -> Tensor:
    """Euclidean norm of all gradients, ()."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    size: Tensor = torch.stack(torch._foreach_norm(gradients)).norm()
    return size


def averaged(logged: Mapping[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """What a step logs, () tensors, as the mean over the processes: all log the same."""
    if processes.size == 1:
        return dict(logged)
    means = processes.mean(torch.stack([value.float() for value in logged.values()]))
    return dict(zip(logged, means, strict=True))
