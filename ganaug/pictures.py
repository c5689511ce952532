"""Pictures a person looks at: labelled grids of images, and curves. Tensors in, PNG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganaug.output import written_beside

__all__ = [
    "Panel",
    "as_picture",
    "draw_boxes",
    "draw_curves",
    "draw_grid",
    "draw_rows",
    "map_colours",
    "save_picture",
    "stacked",
]

Panel = tuple[str, Mapping[str, Tensor]]
"""A heading, and for each row's name its images NCHW uint8."""

_INK, _PAPER, _FAINT = (28, 30, 34), (255, 255, 255), (110, 115, 122)
_GAP = 12
_WHEEL = (
    (120, 120, 120),
    (240, 228, 66),
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (0, 114, 178),
)  # told apart by the colour-blind (Okabe & Ito)


def draw_grid(panels: Sequence[Panel], *, columns: int = 8, least: int = 64) -> Image.Image:
    """A labelled grid: the rows' names at the left, the panels side by side, at most `columns` images of a row in each.

    Images are enlarged by a whole factor, without smoothing, until they are `least` pixels wide or more.
    """
    rows = list(panels[0][1])
    side = next(iter(panels[0][1].values())).shape[-1]
    cell = side * max(1, -(-least // side))
    font = ImageFont.load_default(15)
    gutter = min(260, 2 * _GAP + max(round(font.getlength(name)) for name in rows))
    widths = [min(columns, max(len(images) for images in panel.values())) * (cell + 2) for _, panel in panels]
    picture = Image.new("RGB", (gutter + sum(widths) + _GAP * len(panels), 34 + len(rows) * (cell + 4) + _GAP), _PAPER)
    pen = ImageDraw.Draw(picture)
    for row, name in enumerate(rows):
        pen.text((_GAP, 34 + row * (cell + 4) + cell // 2 - 9), _shortened(name, font, gutter - 2 * _GAP), _INK, font)
    left = gutter
    for (heading, panel), width in zip(panels, widths, strict=True):
        pen.text((left, 9), _shortened(heading, font, width), _FAINT, font)
        for row, name in enumerate(rows):
            for column, image in enumerate(panel[name][:columns]):
                shown = as_picture(image).convert("RGB").resize((cell, cell), Image.Resampling.NEAREST)
                picture.paste(shown, (left + column * (cell + 2), 34 + row * (cell + 4)))
        left += width + _GAP
    return picture


def draw_rows(headings: tuple[str, str], rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of pictures of any sizes, the first of each apart from the others; a heading over each of the two parts."""
    font = ImageFont.load_default(15)
    widths = [max(row[column].width for row in rows) for column in range(len(rows[0]))]
    heights = [max(picture.height for picture in row) for row in rows]
    lefts = [_GAP + sum(widths[:column]) + 2 * column + (_GAP if column else 0) for column in range(len(widths))]
    height = 34 + sum(heights) + 4 * len(rows) + _GAP
    sheet = Image.new("RGB", (lefts[-1] + widths[-1] + _GAP, height), _PAPER)
    pen, top = ImageDraw.Draw(sheet), 34
    for heading, left, width in zip(headings, lefts, (widths[0], sum(widths[1:])), strict=False):
        pen.text((left, 9), _shortened(heading, font, width), _FAINT, font)
    for row, height in zip(rows, heights, strict=True):
        for picture, left in zip(row, lefts, strict=True):
            sheet.paste(picture, (left, top))
        top += height + 4
    return sheet


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other, on paper as wide as the widest."""
    sheet = Image.new("RGB", (max(one.width for one in pictures), sum(one.height for one in pictures)), _PAPER)
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def draw_boxes(
    picture: Image.Image, boxes: Sequence[Sequence[float]], labels: Sequence[int], classes: Sequence[str], *, side: int
) -> Image.Image:
    """The picture with boxes (left, top, right, bottom) and the names of their classes, a colour for each class.

    Its longer side is brought to `side` pixels: a large one is reduced, a small one enlarged by a whole factor.
    """
    scale = side / max(picture.size)
    scale = scale if scale < 1 else float(int(scale))
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    drawn = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST)
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(11)
    for box, label in zip(boxes, labels, strict=True):
        colour = _WHEEL[1 + label % (len(_WHEEL) - 1)]
        left, top, right, bottom = (scale * edge for edge in box)
        pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=2)
        name = _shortened(classes[label], font, side // 3)
        pen.rectangle(pen.textbbox((left, top), name, font), fill=colour)
        pen.text((left, top), name, _INK, font)
    return drawn


def draw_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    horizontal: str,
    mark: float | None = None,
    events: Sequence[tuple[float, str]] = (),
) -> Image.Image:
    """One small chart for each of `curves` (name to x and y); a dashed line at `mark`, a dotted one for each event."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4 * columns, 2.6 * rows), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    for index, (name, (xs, ys)) in enumerate(curves.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.plot(xs, ys, color="#2563a8", linewidth=1.6, marker="o", markersize=3)
        if mark is not None:
            axes.axvline(mark, color="#b45309", linestyle="--", linewidth=1)
        across = axes.get_xaxis_transform()  # x in the data, y from the bottom to the top of the chart
        for place, kind in events:
            axes.axvline(place, color="#b91c1c", linestyle=":", linewidth=1)
            axes.text(place, 0.98, kind, rotation=90, va="top", ha="right", fontsize=6, transform=across)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(horizontal, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(drawn).convert("RGB")


def map_colours(maps: Tensor) -> Tensor:
    """(N, 3, H, W) uint8 of label maps (N, H, W) uint8: a colour for each class, black for class 0, grey for none."""
    wheel = torch.tensor(_WHEEL, dtype=torch.uint8)
    colours = wheel[torch.arange(256) % len(wheel)]
    colours[0], colours[255] = 0, 128
    return colours[maps.long()].permute(0, 3, 1, 2)


def as_picture(image: Tensor) -> Image.Image:
    """An image CHW uint8, grey or RGB, perhaps with alpha, as PIL has it; of five bands and more the first three."""
    array = (image if image.shape[0] <= 4 else image[:3]).permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def save_picture(picture: Image.Image, path: Path) -> Path:
    """Write a PNG beside `path` and rename it; an OutputError where that cannot be."""
    with written_beside(path) as beside:
        picture.save(beside, "PNG")
    return path


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
