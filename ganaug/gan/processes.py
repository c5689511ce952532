"""What the training asks of a group of processes, on one machine or on many, that fit one set of networks together.

Every process draws the same batch and the same noise, and works on its own rows of them: rows rank, rank + size, ...
What depends on a whole batch is then brought together here, so that a group learns what one process would from the same
batch. Gradients are averaged explicitly, in one message a network; a wrapper such as DistributedDataParallel, which
listens to every backward pass, does not go together with gradient penalties.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from ganaug.errors import LostProcessError

__all__ = ["Group", "Processes", "join_norms"]

Told = TypeVar("Told")


class Processes:
    """A process on its own: nothing to bring together. `Group` is several."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def mine(self, rows: Tensor) -> Tensor:
        """Of rows that all processes hold alike, those that this one works on."""
        return rows

    def rows(self, mine: Tensor) -> Tensor:
        """The rows of all processes, in the order that `mine` took them from; without a gradient."""
        return mine

    def mean(self, values: Tensor) -> Tensor:
        """The mean of `values` over the processes, elementwise; gradients flow back to every process."""
        return values

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of the gradients."""

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values, in place."""

    def told(self, tell: Callable[[], Told]) -> Told:
        """What the first process finds; the others wait for it and do not call `tell`."""
        return tell()

    def gathered(self, value: Told) -> list[Told]:
        """Every process's value, by rank."""
        return [value]


class Group(Processes):
    """The processes of the default group of torch.distributed.

    A LostProcessError in any method tells that another of them has ended.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def mine(self, rows: Tensor) -> Tensor:
        """Every `size`-th row from row `rank` on."""
        return rows[self.rank :: self.size]

    def rows(self, mine: Tensor) -> Tensor:
        """See `Processes.rows`."""
        mine = mine.detach().contiguous()
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with _lost():
            distributed.all_gather(found, mine)
        return torch.stack(found, 1).flatten(0, 1)

    def mean(self, values: Tensor) -> Tensor:
        """See `Processes.mean`."""
        total: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
        return total / self.size

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """See `Processes.average_gradients`; a parameter without a gradient must lack it in all processes."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        _sum_in_place(flat)
        flat /= self.size
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view(gradient.shape))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """See `Processes.share`."""
        for tensor in tensors:
            held = tensor.detach().contiguous()
            with _lost():
                distributed.broadcast(held, src=0)
            tensor.detach().copy_(held)

    def told(self, tell: Callable[[], Told]) -> Told:
        """See `Processes.told`."""
        held: list[Any] = [tell() if self.first else None]
        with _lost():
            distributed.broadcast_object_list(held, src=0)
        told: Told = held[0]
        return told

    def gathered(self, value: Told) -> list[Told]:
        """See `Processes.gathered`."""
        found: list[Any] = [None] * self.size
        with _lost():
            distributed.all_gather_object(found, value)
        return found


def join_norms(network: nn.Module, processes: Processes) -> None:
    """Let a network's batch normalisations see the rows of all processes as one batch, on any device.

    Statistics of a process's own rows would be noisier than those of the batch, and the networks of a group then others
    than those of one process.
    """
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _JoinedBatchNorm  # parameters, buffers and their names stay
            module.processes = processes  # type: ignore[assignment]


class _JoinedBatchNorm(nn.BatchNorm2d):
    processes: Processes

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)  # type: ignore[no-untyped-call]
        own_variance, own_mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        mean, square = self.processes.mean(torch.stack([own_mean, own_variance + own_mean.square()])).unbind()
        variance = (square - mean.square()).clamp_min(0)
        self._keep(mean.detach(), variance.detach(), self.processes.size * x.numel() // x.shape[1])
        scale = (variance + self.eps).rsqrt()
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        return torch.addcmul(shift[:, None, None], x.float(), scale[:, None, None]).to(x.dtype)

    def _keep(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """The running statistics, as BatchNorm2d keeps them."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


class _Sum(torch.autograd.Function):
    """The sum over processes of what each holds; the gradient of each is the sum of what all say of that sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _sum_in_place(values.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum_in_place(gradients[0].clone(memory_format=torch.contiguous_format))


def _sum_in_place(values: Tensor) -> Tensor:
    with _lost():
        distributed.all_reduce(values)
    return values


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # its text is the network library's
        raise LostProcessError("another process of this fit has ended; what it said tells why") from error
