"""Variations of a dataset's own images with their maps: which item each sample is of, and how it is moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganaug.bank import CHUNK, GeneratorBank
from ganaug.bank_maps import vary_pair
from ganaug.bank_moves import rows_of
from ganaug.data.images import Pixels, to_channels
from ganaug.data.mask_values import Map
from ganaug.data.masks import MaskedImages
from ganaug.gan.variation import Moves

__all__ = ["VariedPairs", "of_few_sources", "of_own_pairs"]

_MOST_SOURCES = 8192  # squares of a dataset that are varied; of more so many, evenly spread


def of_own_pairs(bank: GeneratorBank, data: MaskedImages) -> tuple[GeneratorBank, list[tuple[int, int, int]]]:
    """The bank's variations of a dataset's own images, and where in the dataset each of its sources comes from.

    Args:
        bank: that varies images with maps.
        data: the dataset's, in the bank's form.

    Raises:
        BankError: the bank varies none.
    """
    count = min(len(data), _MOST_SOURCES)
    rows = torch.arange(count) * len(data) // count
    own = bank.of_pairs(data.images[rows], data.maps[rows])
    # as in `varying_own`: only leaks are left to look for
    manifest = own.manifest.model_copy(update={"train_fingerprints": data.fingerprints})
    return GeneratorBank(manifest, list(own.generators)), [data.places[row] for row in rows.tolist()]


class VariedPairs:
    """What a worker needs to make variations, without any network: a few hundred numbers a sample (a `Variations`).

    Args:
        bank: of the dataset's own images, as `of_own_pairs` makes it.
        places: of its sources in the dataset.
        indices: of its samples, in the order in which they are asked for.
        seed: of the samples.
        report: called with samples settled and samples in all.
    """

    def __init__(
        self,
        bank: GeneratorBank,
        places: Sequence[tuple[int, int, int]],
        indices: Sequence[int] | npt.NDArray[np.int64],
        *,
        seed: int,
        report: Callable[[int, int], None] | None = None,
    ) -> None:
        self.channels, self._fit = bank.channels, bank.recipe.data.fit
        wanted = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        chunks = (wanted // CHUNK).unique()
        rows = torch.zeros(len(wanted), dtype=torch.int64)
        parts: list[tuple[Tensor, Moves]] = []
        for chunk in chunks.tolist():
            sources, moves = bank.pair_moves(chunk, seed=seed)
            asked = (wanted // CHUNK == chunk).nonzero().flatten()
            within = wanted[asked] % CHUNK
            rows[asked] = sources[within]
            parts.append((asked, rows_of(moves, within)))
            if report is not None:
                report(sum(len(done) for done, _ in parts), len(wanted))
        order = torch.cat([asked for asked, _ in parts]).argsort() if parts else torch.zeros(0, dtype=torch.int64)
        self._moves = Moves(*(_in_order([part for _, part in parts], name, order) for name in Moves._fields))
        self._places = np.array(places, dtype=np.int64)[rows.numpy()]

    def __len__(self) -> int:
        return len(self._places)

    def source(self, sample: int) -> tuple[int, int, int]:
        """See `Variations`."""
        index, top, left = self._places[sample].tolist()
        return index, top, left

    def vary(self, sample: int, pixels: Pixels, values: Map) -> tuple[Pixels, Map]:
        """See `Variations`."""
        if pixels.shape[2] != self.channels:
            pixels = to_channels(pixels, self.channels)
        own = rows_of(self._moves, slice(sample, sample + 1))
        return vary_pair(pixels, values, own, channels=self.channels, fit=self._fit)


def of_few_sources(bank: GeneratorBank, sources: int, noises: int, *, seed: int) -> Tensor:
    """(noises * sources, C, H, W) uint8: images that a bank holds, evenly spread, in turn, each under every noise."""
    held = bank.generators[0].get_buffer("sources").cpu()
    images = held[torch.arange(sources) * len(held) // sources].permute(0, 2, 3, 1).numpy()
    shown = [(image, np.zeros(image.shape[:2], dtype=np.uint8)) for image in images]
    made = np.stack([image for image, _ in bank.vary_pairs(shown * noises, seed=seed)])
    return torch.from_numpy(made).permute(0, 3, 1, 2)


def _in_order(parts: Sequence[Moves], name: str, order: Tensor) -> Tensor | None:
    told = [getattr(part, name) for part in parts]
    return torch.cat(told)[order] if told and told[0] is not None else None
