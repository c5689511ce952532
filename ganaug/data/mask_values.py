"""One mask: class numbers (H, W), of whatever form it came in, made square and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision import tv_tensors

from ganaug.data.class_tables import ClassTable
from ganaug.errors import DataError

__all__ = [
    "NO_CLASS",
    "Map",
    "map_from_square",
    "map_to_square",
    "mask_like",
    "mask_values",
    "numbers_of_places",
    "resize_map",
]

NO_CLASS = 255  # in label maps as read, whatever number the user's masks have for it
Map = npt.NDArray[Any]  # (H, W) integers


def mask_values(mask: Any, table: ClassTable | None = None) -> Map:
    """Class numbers (H, W) int64 of a mask: a PIL image, an array or a tensor.

    A palette's entries are numbers, whatever their colours; 16 bits are read as they are; colours are looked up in
    `table`.

    Raises:
        DataError: the mask holds floats or colours that no table tells the meaning of, or has another shape.
    """
    if isinstance(mask, Image.Image):
        values = np.asarray(mask.convert("RGB") if mask.mode in {"RGBA", "CMYK", "YCbCr"} else mask)
        values = values[..., 0] if mask.mode == "LA" else values
    elif isinstance(mask, torch.Tensor):
        values = mask.detach().as_subclass(torch.Tensor).cpu().numpy()
    elif isinstance(mask, np.ndarray):
        values = mask
    else:
        raise DataError(f"a mask is a {type(mask).__name__}; wanted a PIL image, a tensor or an array")
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[-1]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.dtype.kind not in "biu":
        raise DataError(f"a mask holds {values.dtype}; wanted whole numbers, one for each class")
    if values.ndim == 3 and values.shape[-1] == 3:
        return _numbers_of_colours(values, table)
    if values.ndim != 2:
        raise DataError(f"a mask has shape {values.shape}; wanted height and width")
    return values.astype(np.int64)


def _numbers_of_colours(values: npt.NDArray[Any], table: ClassTable | None) -> Map:
    if (table is None or not table.colours) and bool((values == values[:, :, :1]).all()):
        return values[:, :, 0].astype(np.int64)  # a grey mask saved as RGB
    if table is None or not table.colours:
        raise DataError("is in colours; say what they mean in data.table, as {cell: '#ff0000'}, or in class_dict.csv")
    packed = values.astype(np.int64) @ np.array([65536, 256, 1])
    known = {
        red * 65536 + green * 256 + blue: n for (red, green, blue), n in zip(table.colours, table.numbers, strict=True)
    }
    present, places = np.unique(packed, return_inverse=True)
    for colour in present.tolist():
        if colour not in known:
            raise DataError(
                f"holds the colour #{colour:06x}, which is not in the class table; add it, or mend the mask"
            )
    return np.array([known[colour] for colour in present.tolist()])[places].reshape(packed.shape)


def numbers_of_places(numbers: Sequence[int], ignore: int | None) -> Map:
    """The number (256,) int64 that the user's masks have for each place in a bank's label maps.

    Args:
        numbers: those of the classes, in order.
        ignore: the number that says no class; without one the first class stands in for it.
    """
    found = np.full(NO_CLASS + 1, numbers[0] if numbers and ignore is None else ignore or 0)
    found[: len(numbers)] = numbers
    return found


def resize_map(values: Map, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> Map:
    """Class numbers (H, W) uint8 brought to `size` (height, width), each the nearest; `box` is the part used."""
    image = Image.fromarray(values).resize((size[1], size[0]), Image.Resampling.NEAREST, box)
    return np.asarray(image)


def map_to_square(values: Map, resolution: int, how: str) -> Map:
    """As `to_square` does to the image of these class numbers (H, W) uint8; what pads repeats the edge."""
    height, width = values.shape
    if how == "stretch" or height == width:
        return resize_map(values, (resolution, resolution))
    if how == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return resize_map(values, (resolution, resolution), (left, top, left + side, top + side))
    longest = max(height, width)
    inner = max(1, round(height * resolution / longest)), max(1, round(width * resolution / longest))
    above, before = (resolution - inner[0]) // 2, (resolution - inner[1]) // 2
    borders = (above, resolution - inner[0] - above), (before, resolution - inner[1] - before)
    return np.pad(resize_map(values, inner), borders, mode="edge")


def map_from_square(values: Map, size: tuple[int, int], how: str) -> Map:
    """The way back, as `from_square` takes the image."""
    height, width = size
    if how == "stretch" or height == width:
        return resize_map(values, size)
    if how == "pad":
        longest, side = max(size), values.shape[0]
        inner = height * side / longest, width * side / longest
        top, left = (side - inner[0]) / 2, (side - inner[1]) / 2
        return resize_map(values, size, (left, top, left + inner[1], top + inner[0]))
    shortest = min(size)
    borders = tuple((one // 2, one - one // 2) for one in (height - shortest, width - shortest))
    return np.pad(resize_map(values, (shortest, shortest)), borders, mode="symmetric")


def mask_like(values: Map, like: Any, table: ClassTable | None = None) -> Any:
    """Class numbers (H, W) in the form of another mask: PIL of its mode and palette, tensor or array of its dtype.

    Where that one is in colours, so is this, as `table` says; what is of no class is black.
    """
    coloured = like.mode == "RGB" if isinstance(like, Image.Image) else like.ndim == 3 and like.shape[-1] == 3
    if coloured and table is not None and table.colours:
        painted = np.zeros((*values.shape, 3), dtype=np.uint8)
        for number, colour in zip(table.numbers, table.colours, strict=True):
            painted[values == number] = colour
        return Image.fromarray(painted) if isinstance(like, Image.Image) else _typed(painted, like)
    if isinstance(like, Image.Image):
        if like.mode.startswith("I"):
            return Image.fromarray(values.astype(np.int32 if like.mode == "I" else np.uint16))
        image = Image.fromarray(values.astype(np.uint8))
        if like.mode == "P":
            image.putpalette(like.getpalette() or [])
        return image if like.mode in {"L", "P"} else image.convert(like.mode)
    layout = like.shape
    shaped = values if len(layout) == 2 else values[None] if layout[0] == 1 else values[:, :, None]
    return _typed(shaped, like)


def _typed(shaped: npt.NDArray[Any], like: Any) -> Any:
    if isinstance(like, np.ndarray):
        return np.ascontiguousarray(shaped).astype(like.dtype)
    tensor = torch.from_numpy(np.ascontiguousarray(shaped).astype(np.int64)).to(like.dtype)
    return tv_tensors.Mask(tensor) if isinstance(like, tv_tensors.Mask) else tensor
