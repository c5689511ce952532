"""What a bank makes of pictures that it is given, of any size; `GeneratorBank` inherits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from ganaug.compositing.tiles import in_tiles
from ganaug.errors import BankError
from ganaug.gan.enlarger import EnlargingGenerator

__all__ = ["ENLARGED_MOST", "PictureMaking", "check_pictures"]

ENLARGED_MOST = 8  # times the side
_TILE, _OVERLAP = 128, 48  # px of an image that is enlarged: what is larger is enlarged in tiles


class _Bank(Protocol):
    """What is asked of the bank that inherits."""

    generators: nn.ModuleList

    @property
    def channels(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def check_task(self, task: str, what: str, instead: str) -> None: ...

    def _run(self, make: Callable[[], Tensor]) -> Tensor: ...


class PictureMaking:
    """Pictures of pictures, each by a bank of its own task."""

    def enlarge(self: _Bank, images: Tensor, *, factor: int = 2) -> Tensor:
        """Images of `factor` times the size, by a bank that was fitted with a recipe of task enlarge.

        Args:
            images: (N, channels, H, W) uint8, of any size; each is enlarged by itself, so that the result does not
                depend on the others.
            factor: 2, 4 or 8; more than 2 is 2 several times.

        Returns:
            (N, channels, factor * H, factor * W) uint8 on the CPU.

        Raises:
            BankError: the bank is for another task, the images are of another form, or the factor is not on offer.
        """
        self.check_task("enlarge", "enlarge", "fit one for it with a recipe such as enlarge-64")
        factors = [2**times for times in range(1, ENLARGED_MOST.bit_length())]
        if isinstance(factor, bool) or factor not in factors:
            raise BankError(f"factor is {factor!r}; images are doubled in size, up to three times: give 2, 4 or 8")
        check_pictures(images, self.channels, least=2)
        generator = self.generators[0]
        assert isinstance(generator, EnlargingGenerator), "what the task builds"

        def double(image: Tensor) -> Tensor:
            if max(image.shape[1:]) <= _TILE:
                return generator.enlarge(image[None].to(self.device))
            return in_tiles(image, _TILE, _OVERLAP, lambda tile: generator.enlarge(tile.to(self.device)), scale=2)[None]

        for _ in range(factors.index(factor) + 1):
            made = [self._run(lambda image=image: double(image)) for image in images]  # type: ignore[misc]
            count, channels, height, width = images.shape
            images = torch.cat(made) if made else images.new_empty(count, channels, 2 * height, 2 * width)
        return images


def check_pictures(images: Tensor, channels: int, *, least: int = 1, what: str = "images") -> None:
    """Make sure that `images` are (N, channels, H, W) uint8, neither side below `least` pixels; else a BankError."""
    got = f"{what} are {images.dtype} of shape {tuple(images.shape)}"
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != channels:
        raise BankError(f"{got}; wanted torch.uint8 (N, {channels}, H, W)")
    if min(images.shape[-2:]) < least:
        raise BankError(f"{got}; wanted sides of {least} pixels or more")
