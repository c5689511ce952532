"""The form that a dataset's raw images have, and bringing a synthetic image into it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import ExifTags, Image
from torchvision import tv_tensors

from ganaug.data.images import Pixels, array_layout, resize, to_channels, to_uint8
from ganaug.errors import DataError

__all__ = ["ImageForm", "file_form", "form_of", "in_form"]

_SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap height and width


@dataclass(frozen=True)
class ImageForm:
    """What a raw image is: a PIL image of a mode, or a tensor or array of a layout and dtype; and its size."""

    kind: Literal["pil", "tensor", "tv_tensor", "array"]
    size: tuple[int, int]  # height, width
    mode: str = ""  # of a PIL image
    layout: str = ""  # of a tensor or array: HW, CHW or HWC
    channels: int = 0
    wide: bool = False  # uint16, not uint8


def form_of(image: Any) -> ImageForm:
    """The form of a raw image.

    Raises:
        DataError: the image is none of a PIL image and a uint8 (or uint16) tensor or array, as a float tensor after a
            transform; the message says what to do.
    """
    if isinstance(image, Image.Image):
        return ImageForm("pil", (image.height, image.width), mode=image.mode)
    if not isinstance(image, (torch.Tensor, np.ndarray)):
        raise DataError(
            f"the dataset's images are {type(image).__name__}; wanted PIL images, or uint8 tensors or arrays"
        )
    dtype = str(image.dtype).removeprefix("torch.")
    if dtype not in {"uint8", "uint16"}:
        raise DataError(
            f"the dataset yields images of {dtype}, after a transform; wanted PIL or uint8: pass raw= (the same "
            "dataset without its transform) and transform= (what makes its images of the raw ones)"
        )
    if image.ndim not in {2, 3}:
        raise DataError(f"the dataset's images have shape {tuple(image.shape)}; wanted CHW, HWC or HW")
    tensor = isinstance(image, torch.Tensor)
    layout = array_layout(tuple(image.shape), channels_first=tensor)
    axes = dict(zip(layout, image.shape, strict=True))
    kind: Literal["tv_tensor", "tensor", "array"] = "tensor" if tensor else "array"
    if isinstance(image, tv_tensors.Image):
        kind = "tv_tensor"
    size = int(axes["H"]), int(axes["W"])
    return ImageForm(kind, size, layout=layout, channels=int(axes.get("C", 1)), wide=dtype == "uint16")


def file_form(file: Path | bytes, *, upright: bool, mode: str | None = None) -> ImageForm:
    """The form that an image file has once opened, from its header alone.

    Args:
        file: its path, or what is in it.
        upright: whether it is turned by its EXIF orientation when opened.
        mode: the PIL mode it is converted to when opened; its own where none is said.
    """
    with Image.open(BytesIO(file) if isinstance(file, bytes) else file) as image:
        size = (image.height, image.width)
        # a square is as high as it is wide; asking for nothing spares decoding a PNG, whose EXIF may come last
        if upright and size[0] != size[1] and image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS:
            size = size[::-1]
        return ImageForm("pil", size, mode=mode or image.mode)


def in_form(image: Any, form: ImageForm) -> Any:
    """An image, PIL or pixels HWC uint8, as a raw image of this form: its kind, mode or layout, and size."""
    pixels = resize(to_uint8(image, bands=isinstance(image, np.ndarray)), form.size)
    if form.kind == "pil":
        return _as_pil(pixels, form.mode)
    array: Any = _with_channels(pixels, form.channels)
    if form.wide:
        array = array.astype(np.uint16) * np.uint16(257)
    array = {"HW": array[:, :, 0], "CHW": array.transpose(2, 0, 1), "HWC": array}[form.layout]
    array = np.ascontiguousarray(array)
    if form.kind == "array":
        return array
    tensor = torch.from_numpy(array.copy())
    return tv_tensors.Image(tensor) if form.kind == "tv_tensor" else tensor


def _as_pil(pixels: Pixels, mode: str) -> Image.Image:
    if pixels.shape[-1] not in {1, 3}:
        return Image.fromarray(pixels, mode)
    grey = mode in {"1", "L", "LA", "La", "F"} or mode.startswith("I")
    pixels = to_channels(pixels, 1 if grey else 3)
    image = Image.fromarray(pixels[:, :, 0] if grey else pixels)
    if mode.startswith("I;16"):
        return Image.fromarray(np.asarray(image).astype(np.uint16) * np.uint16(257)).convert(mode)
    if mode == "I":
        return Image.fromarray(np.asarray(image).astype(np.int32) * np.int32(257))
    if mode == "P":
        return image.convert("P", palette=Image.Palette.ADAPTIVE)
    return image if image.mode == mode else image.convert(mode)


def _with_channels(pixels: Pixels, channels: int) -> Pixels:
    if pixels.shape[-1] == channels:
        return pixels
    colours = to_channels(pixels, 1 if channels <= 2 else 3)
    if channels not in {2, 4}:
        return to_channels(colours, channels)
    opaque = np.full((*colours.shape[:2], 1), 255, dtype=np.uint8)
    return np.concatenate([colours, opaque], axis=2)


def same_kind(form: ImageForm, other: ImageForm) -> bool:
    """Whether two forms differ in size at the most."""
    return replace(form, size=other.size) == other
