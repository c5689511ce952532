"""A bank whose samples are enlarged by another bank, and what the enlarging one does, in pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.bank_pictures import ENLARGED_MOST
from ganaug.data.images import colour_of
from ganaug.data.pictures import read_pictures
from ganaug.errors import BankError, LeakError, OutputError
from ganaug.gan.enlarger import EnlargingGenerator
from ganaug.gan.shrinking import plainly_enlarged, shrunk
from ganaug.pictures import Panel, draw_grid

__all__ = ["EnlargedBank", "enlarged_to", "preview_enlarging"]

_ROWS = 6  # of a preview


class EnlargedBank(GeneratorBank):
    """A bank of classes whose samples another bank enlarges; it is sampled, pooled and written as any bank is.

    Args:
        bank: makes the samples; their noise and order stay as they are.
        enlarger: fitted with a recipe of task enlarge.
        factor: 2, 4 or 8.

    Raises:
        BankError: one of them is for another task, or the two differ in their channels.
        LeakError: the enlarger was fitted on images that the bank holds back for an honest score.
    """

    def __init__(self, bank: GeneratorBank, enlarger: GeneratorBank, factor: int = 2) -> None:
        _check_pair(bank, enlarger)
        super().__init__(bank.manifest, list(bank.generators), bank.kept)
        self.small, self.enlarger, self.factor = bank, enlarger, factor

    @property
    def resolution(self) -> int:
        """Side of the enlarged images in pixels."""
        return self.factor * self.small.resolution

    @property
    def fingerprint(self) -> str:
        """32 hex digits that change with those of either bank and with the factor."""
        told = f"{self.small.fingerprint} {self.enlarger.fingerprint} {self.factor}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def sample_at(self, class_index: int, indices: Sequence[int], *, seed: int = 0) -> Tensor:
        """As `GeneratorBank.sample_at`, enlarged."""
        return self.enlarger.enlarge(self.small.sample_at(class_index, indices, seed=seed), factor=self.factor)

    def save(self, path: str | Path, *, exist_ok: bool = True) -> Path:
        """Refused: an OutputError, for these are two banks with a file each."""
        raise OutputError("an enlarged bank is two banks; save each to a file of its own")


def enlarged_to(bank: GeneratorBank, enlarger: GeneratorBank | str | Path, side: int) -> GeneratorBank:
    """The bank with samples enlarged, as often as they are smaller than `side` pixels, three times at the most.

    Raises:
        BankError, LeakError: as `EnlargedBank` has them, whatever the size.
    """
    enlarger = enlarger if isinstance(enlarger, GeneratorBank) else GeneratorBank.load(enlarger, bank.device)
    _check_pair(bank, enlarger)
    factor = 1
    while factor * bank.resolution < side and factor < ENLARGED_MOST:
        factor *= 2
    return bank if factor == 1 else EnlargedBank(bank, enlarger, factor)


def _check_pair(bank: GeneratorBank, enlarger: GeneratorBank) -> None:
    bank.check_task("classify", "enlarging samples", "use them at the size that they have")
    enlarger.check_task("enlarge", "enlarging samples", "fit one with a recipe such as enlarge-64")
    if bank.channels != enlarger.channels:
        ours, theirs = ("grey" if one.channels == 1 else "colour" for one in (bank, enlarger))
        raise BankError(
            f"the bank's images are {ours} and the enlarger's {theirs}; fit the enlarger with "
            f"data.colour={colour_of(bank.channels)}"
        )
    held_back = set(bank.manifest.held_back_fingerprints)
    if leaked := len(held_back & set(enlarger.manifest.train_fingerprints)):
        raise LeakError(
            f"the enlarger was fitted on {leaked} images that the bank's fit held back for an honest score; fit it on "
            "the training images alone"
        )


def preview_enlarging(bank: GeneratorBank, data: Any, on_bad: Literal["stop", "skip"]) -> Image.Image:
    """Small images, enlarged plainly and by the bank; of `data` beside the real ones, else those it keeps.

    Args:
        bank: of task enlarge.
        data: images to shrink, as `fit` takes them.
        on_bad: as in `read_images`.
    """
    generator, real = bank.generators[0], None
    assert isinstance(generator, EnlargingGenerator), "what the task builds"
    small = generator.small.cpu()
    if data is not None:
        found = read_pictures(
            data, resolution=bank.resolution, fit=bank.recipe.data.fit, colour=colour_of(bank.channels),
            on_bad=on_bad, least=1,
        ).images  # fmt: skip
        real = found[torch.arange(min(_ROWS, len(found))) * len(found) // min(_ROWS, len(found))]
        small = _bytes(shrunk(real.float()))
    small = small[torch.arange(min(_ROWS, len(small))) * len(small) // min(_ROWS, len(small))]
    shown = {
        "small": small, "plain enlargement": _bytes(plainly_enlarged(small.float())), "enlarged": bank.enlarge(small),
    }  # fmt: skip
    if real is not None:
        shown["real"] = real
    panels: list[Panel] = [
        (name, {str(row + 1): image[None] for row, image in enumerate(images)}) for name, images in shown.items()
    ]
    return draw_grid(panels, columns=1, least=2 * bank.resolution)


def _bytes(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)
