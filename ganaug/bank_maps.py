"""What a bank makes of real images with label maps: variations of them, at their own size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ganaug.bank_moves import CHUNK, VaryingBank, moves_of
from ganaug.data.images import Pixels, to_channels, to_square
from ganaug.data.mask_values import Map
from ganaug.errors import BankError
from ganaug.gan.map_variation import MapVariationGenerator, moved_alike
from ganaug.gan.variation import Moves

__all__ = ["PairVarying", "vary_pair"]


class PairVarying:
    """Variations of images with their label maps, by a bank that was fitted with a recipe such as vary-masks-64."""

    def vary_pairs(
        self: VaryingBank, pairs: Sequence[tuple[Pixels, Map]], *, seed: int = 0, start: int = 0
    ) -> list[tuple[Pixels, Map]]:
        """Another image of the kind of each, as sharp as it is, with its map: variation `start + i` of pair i.

        Args:
            pairs: images HWC uint8 of any size, and maps (H, W) of integers, of any numbers up to 2^24.
            seed: of the noise.
            start: index of the first variation; the same pair, index and seed give the same pixels.

        Returns:
            As many, of the same sizes and channels, maps of the same dtype.

        Raises:
            BankError: the bank is for another task, or paints images of label maps; or a map is not of its image's
                size.
        """
        self.check_task("segment", "vary_pairs", "vary gives variations of whole images")
        self._varying()
        for pixels, values in pairs:
            if pixels.shape[:2] != values.shape:
                raise BankError(f"a map is {values.shape} and its image {pixels.shape[:2]}; wanted the same")
        fit, channels, side = self.recipe.data.fit, self.channels, self.resolution
        squares = (to_square(to_channels(pixels, channels), side, fit) for pixels, _ in pairs)
        seen = (torch.from_numpy(square.transpose(2, 0, 1).copy()) for square in squares)
        moves = moves_of(self, seen, kind="pairs", seed=seed, start=start)
        return [vary_pair(*pair, own, channels=channels, fit=fit) for pair, own in zip(pairs, moves, strict=True)]

    def pair_moves(self: VaryingBank, chunk: int, *, seed: int = 0) -> tuple[Tensor, Moves]:
        """Which of the images held are varied by the samples of a chunk, 64 of them, and how they are moved.

        Returns:
            (64,) int64, and moves of as many; on the CPU.
        """
        generator = self._varying()
        assert isinstance(generator, MapVariationGenerator), "what the task builds"
        noise = self._noise(range(chunk * CHUNK, (chunk + 1) * CHUNK), seed, 0).to(self.device)
        with torch.no_grad():
            codes, rows = generator.chosen(noise)
            moves = generator.moves(generator.sources[rows], codes)
        return rows.cpu(), Moves(*(None if told is None else told.cpu() for told in moves))


def vary_pair(pixels: Pixels, values: Map, moves: Moves, *, channels: int, fit: str) -> tuple[Pixels, Map]:
    """An image HWC uint8 and its class numbers (H, W), moved; on the CPU.

    Args:
        pixels: of any size.
        values: of its size.
        moves: of one image.
        channels: of images that the moves are of; one of others keeps its colours.
        fit: "crop", "pad" or "stretch": how the generator saw it as a square.
    """
    height, width = values.shape
    side = {"crop": min(height, width), "pad": max(height, width)}.get(fit)
    sides = (1.0, 1.0) if side is None else (width / side, height / side)
    if pixels.shape[2] != channels:
        moves = moves._replace(colours=None)
    moves = Moves(*(None if told is None else told.cpu() for told in moves))
    image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float().div(127.5).sub(1)
    told = torch.from_numpy(np.ascontiguousarray(values).astype(np.int64))[None]
    with torch.no_grad():
        varied, classes = moved_alike(image, told, moves, sides=sides)
    shown = varied[0].add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
    return np.ascontiguousarray(shown.numpy()), classes[0].numpy().astype(values.dtype)
