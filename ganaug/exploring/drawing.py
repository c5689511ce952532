"""The sheet of an exploration: blocks of labelled strips."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganaug.pictures import Panel, draw_grid

__all__ = ["Labelled", "Strip", "draw_sheet"]

_INK, _FAINT, _PAPER = (28, 30, 34), (110, 115, 122), (255, 255, 255)
_CAPTION = 56  # pixels above a block's strips
_MOST_ROWS = 12  # strips of a block that are drawn
_MARGIN = 14


@dataclass(frozen=True)
class Strip:
    """Images in a row: of one sample along a direction, or on the way from one sample to another."""

    name: str
    """The class, or the two classes of the ends."""
    images: Tensor
    """(steps, C, H, W) uint8."""
    nearest: Tensor | None = None
    """(2, C, H, W) uint8: the training images nearest to both ends; none without data."""
    apart: tuple[float, float] | None = None
    """How far these are: root mean square difference of pixels, 0..1."""


@dataclass(frozen=True)
class Labelled:
    """Strips with what they show, in words."""

    name: str
    title: str
    told: str
    strips: Sequence[Strip]


def draw_sheet(blocks: Sequence[Labelled]) -> Image.Image:
    """The blocks two by two, each with its title and words above its strips."""
    drawn = [_block(block) for block in blocks]
    columns = min(2, len(drawn))
    rows = [drawn[first : first + columns] for first in range(0, len(drawn), columns)]
    width = max(picture.width for picture in drawn) + _MARGIN
    heights = [max(picture.height for picture in row) + _MARGIN for row in rows]
    sheet = Image.new("RGB", (columns * width + _MARGIN, sum(heights) + _MARGIN), _PAPER)
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (_MARGIN + column * width, top))
        top += height
    return sheet


def _block(block: Labelled) -> Image.Image:
    strips = block.strips[:_MOST_ROWS]
    steps = {strip.name: strip.images for strip in strips}
    panels: list[Panel] = [("", steps)]
    if all(strip.nearest is not None for strip in strips):
        first, last = ({strip.name: _end(strip, end) for strip in strips} for end in (0, 1))
        panels = [("nearest", first), ("", steps), ("nearest", last)]
    grid = draw_grid(panels, columns=max(len(strip.images) for strip in strips))
    picture = Image.new("RGB", (grid.width, grid.height + _CAPTION), _PAPER)
    picture.paste(grid, (0, _CAPTION))
    pen = ImageDraw.Draw(picture)
    bold, plain = ImageFont.load_default(16), ImageFont.load_default(14)
    pen.text((8, 4), block.title, _INK, bold)
    lines = textwrap.wrap(block.told, max(24, grid.width // 7))[:2]
    for number, line in enumerate(lines):
        pen.text((8, 25 + 17 * number), line, _FAINT, plain)
    return picture


def _end(strip: Strip, end: int) -> Tensor:
    assert strip.nearest is not None, "asked before"
    return strip.nearest[end : end + 1]
