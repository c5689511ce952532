"""Batches with a fixed share of real samples."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import Sampler

from ganaug.errors import RecipeError

if TYPE_CHECKING:
    from ganaug.dataset import GanAugmented

__all__ = ["FixedShareBatchSampler"]


class FixedShareBatchSampler(Sampler[list[int]]):
    """Batches of a `GanAugmented` that all hold the same number of real samples: `DataLoader(batch_sampler=...)`.

    An epoch goes once through the real samples, in an order of (seed, epoch); synthetic ones are gone through as
    often as that takes. Its number of batches never changes. In an epoch whose schedule leaves no synthetic sample
    the slots' real stand-ins take their places; where there are no slots at all every sample is real. In distributed
    training give each process a seed of its own.

    Args:
        dataset: the mixed one.
        batch_size: samples a batch.
        real_share: part of each batch that is real, above 0 up to 1.
        seed: of the order.
        drop_last: leave out what does not fill a batch; otherwise the last batch is filled with real samples of the
            start of another order.
    """

    def __init__(
        self, dataset: GanAugmented, batch_size: int, real_share: float, *, seed: int = 0, drop_last: bool = False
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise RecipeError(f"batch_size is {batch_size!r}; give a whole number of at least 1")
        if not 0 < real_share <= 1:
            raise RecipeError(f"real_share is {real_share!r}; give a number above 0, up to 1")
        has_slots = len(dataset) > dataset.real_length
        self.real_in_batch = max(1, round(batch_size * real_share)) if has_slots else batch_size
        """Real samples in each batch."""
        self._dataset, self._batch_size, self._seed = dataset, batch_size, seed
        exact = dataset.real_length / self.real_in_batch
        self._batches = math.floor(exact) if drop_last else math.ceil(exact)

    def __len__(self) -> int:
        return self._batches

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the dataset, which is that of the sampler too."""
        self._dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        digest = hashlib.sha256(f"{self._seed}/{self._dataset.epoch}".encode()).digest()
        source = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        slots = torch.from_numpy(self._dataset.synthetic_indices())
        if len(slots) == 0:
            slots = torch.arange(self._dataset.real_length, len(self._dataset))
        per_batch = self._batch_size - self.real_in_batch
        real = _endless(torch.arange(self._dataset.real_length), self._batches * self.real_in_batch, source)
        synthetic = _endless(slots, self._batches * per_batch, source)
        for batch in range(self._batches):
            chosen = real[batch * self.real_in_batch :][: self.real_in_batch]
            made = synthetic[batch * per_batch :][:per_batch]
            yield [*chosen.tolist(), *made.tolist()]


def _endless(indices: Tensor, count: int, source: torch.Generator) -> Tensor:
    """`count` of the indices (N,) int64: all of them in a random order, then all in another, ..."""
    rounds = math.ceil(count / len(indices)) if count else 0
    orders = [indices[torch.randperm(len(indices), generator=source)] for _ in range(rounds)]
    return torch.cat(orders)[:count] if orders else indices[:0]
