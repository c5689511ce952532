"""How a bank fills the holes of images that it is given, of any size; `GeneratorBank` inherits it."""

from __future__ import annotations

import hashlib
import numbers
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from ganaug.bank_pictures import check_pictures
from ganaug.compositing.hole_windows import Adds, Window, fill_holes, fill_in_turn
from ganaug.errors import BankError
from ganaug.gan.filling import FillingGenerator

__all__ = ["HoleFilling"]


class _Bank(Protocol):
    """What is asked of the bank that inherits."""

    generators: nn.ModuleList

    @property
    def channels(self) -> int: ...

    @property
    def resolution(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    def check_task(self, task: str, what: str, instead: str) -> None: ...

    def _run(self, make: Callable[[], Tensor]) -> Tensor: ...

    def _adds(self, seed: int) -> Adds: ...


class HoleFilling:
    """Images with holes to images without, by a bank of task fill."""

    def fill(self: _Bank, images: Tensor, holes: Tensor, *, seed: int = 0) -> Tensor:
        """Images with their holes filled in, by a bank that was fitted with a recipe of task fill.

        Each hole is seen in a square of twice its longer side, or of the bank's resolution where that is more; a larger
        square is reduced to it, and what is added to a smooth guess enlarged again. So holes larger than half the
        resolution are filled with less detail than the image has.

        Args:
            images: (N, channels, H, W) uint8 of any size.
            holes: (N, H, W) bool, True where something is to be filled in.
            seed: of the noise; another one fills a little differently.

        Returns:
            (N, channels, H, W) uint8 on the CPU; outside the holes every byte is as it was. What fills a hole does not
            depend on the other images.

        Raises:
            BankError: the bank is for another task, images or holes are of another form, nothing is to be filled in, or
                an image is nothing but hole.
        """
        self.check_task("fill", "fill", "fit one for it with a recipe such as fill-64")
        check_pictures(images, self.channels)
        _check_holes(images, holes)
        pairs = zip(images.cpu(), holes.cpu().numpy(), strict=True)
        adds = self._adds(seed)
        return torch.stack([fill_holes(image, hole, self.resolution, adds) for image, hole in pairs])

    def fill_in_turn(self: _Bank, image: Tensor, parts: Tensor, *, seed: int = 0) -> Tensor:
        """An image with its holes filled in one after another, as when its objects are erased.

        Holes that touch are then no large one, of which little more than fog would be seen: each is filled at its own
        scale, from what is known and what has been filled before, that of whose surroundings most is known first.

        Args:
            image: (channels, H, W) uint8 of any size.
            parts: (N, H, W) bool, True where something is to be filled in; parts may overlap.
            seed: of the noise.

        Returns:
            (channels, H, W) uint8 on the CPU; outside the parts every byte is as it was.

        Raises:
            BankError: as `fill` has it.
        """
        self.check_task("fill", "fill_in_turn", "fit one for it with a recipe such as fill-64")
        check_pictures(image[None], self.channels)
        if parts.ndim != 3:
            raise BankError(
                f"parts have shape {tuple(parts.shape)}; wanted (number, {image.shape[1]}, {image.shape[2]})"
            )
        _check_holes(image[None], parts.any(0)[None])
        return fill_in_turn(image.cpu(), list(parts.cpu().numpy()), self.resolution, self._adds(seed))

    def _adds(self: _Bank, seed: int) -> Adds:
        """What the generator adds to a smooth guess, under the noise of a seed."""
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
            raise BankError(f"seed is {seed!r}; give a whole number")
        generator = self.generators[0]
        assert isinstance(generator, FillingGenerator), "what the task builds"

        def adds(guess: Tensor, missing: Tensor, window: Window) -> Tensor:
            noise = _window_noise(int(seed), window, self.resolution)
            shown, where, what = (
                part.to(self.device) for part in (guess.div(127.5).sub(1).clamp(-1, 1), missing, noise)
            )
            return self._run(lambda: generator.add_to(shown, where, what)).float() - guess

        return adds


def _check_holes(images: Tensor, holes: Tensor) -> None:
    wanted = (len(images), *images.shape[-2:])
    if holes.dtype != torch.bool or tuple(holes.shape) != wanted:
        raise BankError(f"holes are {holes.dtype} of shape {tuple(holes.shape)}; wanted torch.bool {wanted}")
    if not holes.any():
        raise BankError("no pixel of the holes is True, so there is nothing to fill in; set those that are to be")
    for number in holes.flatten(1).all(1).nonzero().flatten().tolist():
        raise BankError(f"image {number} is nothing but hole; leave some of it to fill from")


def _window_noise(seed: int, window: Window, side: int) -> Tensor:
    """(1, 1, side, side) float32 on the CPU, the same for the same place in an image."""
    digest = hashlib.sha256(f"{seed}/{window.top}/{window.left}/{window.side}".encode()).digest()
    source = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randn(1, 1, side, side, generator=source)
