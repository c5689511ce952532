"""A set's images without their objects: how one is made, and those that scenes are laid on, kept on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganaug.bank import GeneratorBank
from ganaug.compositing.holes import Holes, widened
from ganaug.data.box_view import BoxView
from ganaug.data.fingerprints import fingerprint
from ganaug.data.images import Pixels, is_grey, to_channels, to_uint8
from ganaug.data.marked import Marked, regions_of
from ganaug.errors import BankError, DataError, LeakError
from ganaug.image_pool import FORMAT, ImagePool, Shape
from ganaug.pool import pool_home
from ganaug.recipe import Scenes

__all__ = ["ErasedGrounds", "check_filler", "erased", "lay_grounds", "parts_of"]

_MOST = 256  # grounds that a pool holds
_HIDDEN = 0.8  # of an image that objects may hide, above which too little is left to fill from


class ErasedGrounds:
    """Images of a set, up to 256 evenly spaced, with their objects erased; pickles as its path.

    Regions that are said to hold many objects at once (iscrowd) stay as they are, and so do objects there.

    Args:
        view: the set.
        bank: of task fill.
        directory: folder that pools are kept in; the user's cache by default.

    Raises:
        DataError: no image has objects that can be erased.
        OutputError: the pool cannot be written.
    """

    def __init__(self, view: BoxView, bank: GeneratorBank, directory: str | Path | None = None) -> None:
        self._of, shapes, prints = _usable(view, bank)
        key = json.dumps(["grounds", FORMAT, bank.fingerprint, prints])
        folder = pool_home(directory) / hashlib.sha256(key.encode()).hexdigest()[:32]

        def make(place: int) -> Pixels:
            marked = _marked(view, self._of[place])
            made = erased(bank, marked, parts_of(marked, bank.recipe.filling.margin))
            return to_channels(made.permute(1, 2, 0).numpy(), marked.pixels.shape[2])

        self._images = ImagePool(folder, shapes, make, doing="erasing the objects of")

    def __len__(self) -> int:
        return len(self._of)

    def draw(self, random: np.random.Generator) -> tuple[int, Pixels]:
        """Which image of the set one is of, and the ground, HWC uint8 of that image's size and channels."""
        place = int(random.integers(len(self)))
        return self._of[place], self._images[place]


def lay_grounds(
    view: Any,
    bank: GeneratorBank,
    fill: GeneratorBank | str | Path | None,
    settings: Scenes,
    *,
    wanted: bool = True,
    directory: str | Path | None = None,
) -> None:
    """Have a view lay some of its scenes on images without their objects.

    Args:
        view: a `BoxView`.
        bank: whose objects are pasted.
        fill: of task fill, or its file; None: nothing is done.
        settings: of the scenes.
        wanted: whether there are scenes at all.
        directory: as `ErasedGrounds` has it.

    Raises:
        BankError: one of the banks is for another task.
        LeakError: the second was fitted on images that the first holds back for an honest score.
        DataError, OutputError: as `ErasedGrounds` has them.
    """
    if fill is None:
        return
    bank.check_task("detect", "scenes on erased grounds", "leave fill out")
    fill = fill if isinstance(fill, GeneratorBank) else GeneratorBank.load(fill, bank.device)
    check_filler(fill)
    held_back = set(bank.manifest.held_back_fingerprints)
    if leaked := len(held_back & set(fill.manifest.train_fingerprints)):
        raise LeakError(
            f"the bank that fills was fitted on {leaked} images that the other's fit held back for an honest score; "
            "fit it on the training images alone"
        )
    if wanted and settings.erased:
        assert isinstance(view, BoxView), "of a bank for detection"
        view.lay_on(ErasedGrounds(view, fill, directory))


def check_filler(bank: GeneratorBank) -> None:
    """Raise a BankError where a bank fills no holes."""
    bank.check_task("fill", "erasing the grounds of scenes", "fit one for it with a recipe such as fill-64")


def parts_of(marked: Marked, margin: float) -> Holes:
    """(N, H, W): where each object of an image is, with a margin, but for what belongs to those that stay."""
    parts = np.zeros((len(marked.objects), *marked.pixels.shape[:2]), dtype=bool)
    for part, region in zip(parts, marked.objects, strict=True):
        part[:] = widened(region, margin)
    for region in marked.others:
        parts &= ~region
    return parts


def erased(bank: GeneratorBank, marked: Marked, parts: Holes, seed: int = 0) -> torch.Tensor:
    """An image without its objects, (C, H, W) uint8 of the bank's channels.

    Raises:
        BankError: the image has colours, and the bank fills grey ones.
    """
    pixels, channels = marked.pixels, bank.channels
    if channels == 1 and not is_grey(pixels):
        raise BankError("the images have colours and the bank fills grey ones; fit one with data.colour=rgb")
    image = torch.from_numpy(np.ascontiguousarray(to_channels(pixels, channels).transpose(2, 0, 1)))
    return bank.fill_in_turn(image, torch.from_numpy(parts), seed=seed)


def _marked(view: BoxView, index: int) -> Marked:
    """An image, its objects, and the crowds that stay."""
    image, target = view.read(index)
    pixels = to_uint8(image)
    regions = regions_of(target, pixels.shape[:2])
    return Marked(
        pixels,
        [region for region, crowd in zip(regions, target.crowd, strict=True) if not crowd],
        [region for region, crowd in zip(regions, target.crowd, strict=True) if crowd],
    )


def _usable(view: BoxView, bank: GeneratorBank) -> tuple[list[int], list[Shape], list[str]]:
    """Which images have objects that can be erased, the shapes of all, and what tells them apart."""
    indices: list[int] = []
    shapes: list[Shape] = []
    prints: list[str] = []
    for index in range(0, len(view), max(1, -(-len(view) // _MOST))):
        try:
            marked = _marked(view, index)
        except DataError:  # an unreadable image is for the training loop to meet, as it would without ganaug
            continue
        parts = parts_of(marked, bank.recipe.filling.margin)
        if 0 < parts.any(0).mean() <= _HIDDEN:
            height, width, channels = marked.pixels.shape
            indices.append(index)
            shapes.append((height, width, channels))
            prints.append(fingerprint(marked.pixels) + hashlib.sha256(np.packbits(parts).tobytes()).hexdigest())
    if not indices:
        raise DataError(
            f"no image has objects that can be erased: there are none, or they hide more than {_HIDDEN:.0%} of each; "
            "leave fill out"
        )
    return indices, shapes, prints
