"""Large images made of overlapping tiles, blended so that no seam shows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["in_tiles", "mirrored"]

_STEP = 8  # px: tiles start at multiples of it, so that networks that halve the side three times see one grid


def in_tiles(image: Tensor, size: int, overlap: int, run: Callable[[Tensor], Tensor], scale: int = 1) -> Tensor:
    """What `run` makes of `image`, tile by tile.

    Tiles that overlap are mixed by weights that fall off smoothly towards a tile's border, where `run` knows least of
    what is around. An image is continued by its mirror image to a whole number of steps of 8 px, and to a tile.

    Args:
        image: (C, H, W) of any dtype and size.
        size: side of a tile in pixels, a multiple of 8.
        overlap: pixels that neighbours share at the least, below `size`.
        run: one tile, (1, C, size, size) of the image's dtype, to (1, K, size * scale, size * scale) float.
        scale: how many times larger than the image the result is.

    Returns:
        (K, H * scale, W * scale) float32, on the device that `run` answers on.
    """
    assert size % _STEP == 0, "a multiple of 8"
    assert 0 <= overlap < size, "less than a tile"
    height, width = image.shape[-2:]
    whole = mirrored(image, *(max(size, -(-side // _STEP) * _STEP) for side in (height, width)))
    rows, columns = (_starts(side, size, overlap) for side in whole.shape[-2:])
    fade = _fade(size * scale, overlap * scale)
    window = fade.outer(fade)
    made = weights = torch.zeros(())
    for top in rows:
        for left in columns:
            tile = run(whole[None, :, top : top + size, left : left + size])[0].float()
            if not made.ndim:
                made = tile.new_zeros(len(tile), whole.shape[1] * scale, whole.shape[2] * scale)
                weights, window = tile.new_zeros(made.shape[1:]), window.to(tile)
            down = slice(top * scale, (top + size) * scale)
            across = slice(left * scale, (left + size) * scale)
            made[:, down, across] += window * tile
            weights[down, across] += window
    return (made / weights)[:, : height * scale, : width * scale]


def mirrored(image: Tensor, height: int, width: int) -> Tensor:
    """`image` (..., H, W) continued to the right and below by its mirror image, to `height` and `width` or more."""
    down, across = (_mirror(side, wanted) for side, wanted in zip(image.shape[-2:], (height, width), strict=True))
    return image[..., down.to(image.device)[:, None], across.to(image.device)]


def _mirror(side: int, wanted: int) -> Tensor:
    """(wanted,) places in a row of `side`: up, down and up again, the ends not repeated."""
    period = max(1, 2 * side - 2)
    places = torch.arange(wanted) % period
    return torch.minimum(places, period - places)


def _starts(side: int, size: int, overlap: int) -> list[int]:
    """Where tiles start on a `side`, both multiples of the step: evenly spread, the last one ends with the side."""
    last, most = (side - size) // _STEP, max(1, (size - overlap) // _STEP)
    gaps = -(-last // most)
    return [round(last * place / gaps) * _STEP for place in range(gaps)] + [last * _STEP]


def _fade(side: int, ramp: int) -> Tensor:
    """(side,) weights: 1 inside, a squared sine over `ramp` at both ends; nowhere 0."""
    places = torch.arange(side, dtype=torch.float32) + 0.5
    nearest = torch.minimum(places, side - places)
    return (nearest / max(1, ramp)).clamp(max=1).mul(torch.pi / 2).sin().square()
