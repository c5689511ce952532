"""What a bank makes of pictures that it is given, of any size; `GeneratorBank` inherits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.compositing.tiles import in_tiles
from ganaug.errors import BankError
from ganaug.gan.enlarger import EnlargingGenerator
from ganaug.gan.translation import TranslationGenerator

__all__ = ["ENLARGED_MOST", "LEAST_SIDE", "PictureMaking", "check_pictures"]

ENLARGED_MOST = 8  # times the side
LEAST_SIDE = 16  # px of an image that is translated: smaller ones show nothing at a quarter of their side
_TILE, _OVERLAP = 128, 48  # px of an image that is enlarged: what is larger is enlarged in tiles
_LARGEST, _AROUND = 256, 64  # px of a tile that is translated, and shared by neighbours


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

    def translate(self: _Bank, images: Tensor) -> Tensor:
        """Images of the source domain in the target domain, by a bank of a recipe such as translate-64.

        Large ones are translated in overlapping tiles, without seams; what the bank learned from at another scale, or
        whole, is brought to that scale and back.

        Args:
            images: (C, H, W) or (N, C, H, W) uint8 of any size from 16 pixels on; C as the bank's channels. Each is
                translated by itself, so that the result does not depend on the others.

        Returns:
            The same shape, uint8 on the CPU; everything is where it was.

        Raises:
            BankError: the bank is for another task, or the images are of another form.
        """
        self.check_task("translate", "translate", "fit one for it with a recipe such as translate-64")
        batch = images[None] if images.ndim == 3 else images
        check_pictures(batch, self.channels, least=LEAST_SIDE)
        generator = self.generators[0]
        assert isinstance(generator, TranslationGenerator), "what the task builds"
        made = [self._run(lambda image=image: _translated(generator, image.to(self.device))) for image in batch]  # type: ignore[misc]
        found = torch.cat(made) if made else batch.cpu()
        return found[0] if images.ndim == 3 else found


def _translated(generator: TranslationGenerator, image: Tensor) -> Tensor:
    """(1, C, H, W) in [-1, 1] of an image (C, H, W) uint8."""
    size, shape = image.shape[-2:], generator.shape
    factor = shape.resolution / (min(size) if shape.tile is None else shape.tile)
    if factor != 1:
        scaled = [max(LEAST_SIDE, round(side * factor)) for side in size]
        small = functional.interpolate(image[None].float(), scaled, mode="bilinear", antialias=True)
        image = small[0].round().clamp(0, 255).to(torch.uint8)
    side = min(_LARGEST, -(-max(image.shape[-2:]) // 8) * 8)
    made = in_tiles(image, side, min(_AROUND, side // 4), generator.translate)[None]
    if made.shape[-2:] != size:
        made = functional.interpolate(made, size, mode="bicubic", antialias=True, align_corners=False)
    return made


def check_pictures(images: Tensor, channels: int, *, least: int = 1, what: str = "images") -> None:
    """Make sure that `images` are (N, channels, H, W) uint8, neither side below `least` pixels; else a BankError."""
    got = f"{what} are {images.dtype} of shape {tuple(images.shape)}"
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != channels:
        raise BankError(f"{got}; wanted torch.uint8 (N, {channels}, H, W)")
    if min(images.shape[-2:]) < least:
        raise BankError(f"{got}; wanted sides of {least} pixels or more")
