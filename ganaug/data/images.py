"""One image: opened, turned into uint8 pixels whatever it was, made square.

Everywhere behind this file an image is HWC uint8 with one channel (grey), three (RGB), or in a set of images of many
bands, as satellites and multispectral cameras take them, with as many as these have.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ganaug.errors import DataError

__all__ = [
    "MOST_BANDS",
    "Pixels",
    "colour_of",
    "from_square",
    "kind_of",
    "open_bands",
    "open_image",
    "resize",
    "straightened",
    "to_channels",
    "to_square",
    "to_uint8",
]

Pixels = npt.NDArray[np.uint8]  # HWC: one channel, three, or many bands

MOST_BANDS = 32
"""Channels that an image may have."""
_WITH_ALPHA = 4
_BANDED = {"LA", "RGBA", "RGBX", "CMYK"}  # modes of PIL images whose channels may be bands

_SHAPE = f"wanted height and width, with 1 to {MOST_BANDS} channels or none"

MAX_PIXELS = 200_000_000
READ_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, Image.DecompressionBombError,
    ModuleNotFoundError,
)  # fmt: skip
"""What Pillow, torchvision's decoders and a user's loader raise on a bad file.

Once ultralytics is imported, Pillow looks for a plug-in to read such a file with, and misses it.
"""


def open_image(path: Path) -> Image.Image:
    """The image in a file, fully decoded and turned upright by its EXIF orientation.

    Raises:
        DataError: the file is missing, empty, no image, cut short or huge (200 megapixels); one line that names it.
    """
    if not path.is_file():
        raise DataError(f"{path}: {_why_no_file(path)}")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty (0 bytes)")
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{path}: is too large ({image.width} x {image.height} pixels)")
            image.load()
            return straightened(image)
    except READ_ERRORS as error:
        raise DataError(f"{path}: {_why_unreadable(error)}") from error


def open_bands(path: Path) -> Image.Image | npt.NDArray[Any]:
    """The image in a file, as `open_image`; also of NumPy (.npy) files, and TIFF of more bands than Pillow reads.

    The pages of a TIFF of several are its bands.

    Raises:
        DataError: as of `open_image`.
    """
    if path.suffix.lower() == ".npy":
        try:
            array = np.asarray(np.load(path, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: is no array that NumPy reads ({' '.join(str(error).split())})") from error
        return _of_file(array, path)
    if path.suffix.lower() in {".tif", ".tiff"} and path.is_file():
        try:
            with Image.open(path) as image:
                pages = getattr(image, "n_frames", 1)
        except READ_ERRORS:
            pages = 0  # as of many bands
        if pages != 1:
            return _open_tiff(path)
    return open_image(path)


def _open_tiff(path: Path) -> npt.NDArray[Any]:
    try:
        import tifffile
    except ImportError as error:
        raise DataError(
            f"{path}: is a TIFF of many bands, or none; to read such: python -m pip install 'ganaug[segmentation]'"
        ) from error
    try:
        array = np.asarray(tifffile.imread(path))
    except Exception as error:  # of many kinds, and some of the library's own
        raise DataError(f"{path}: {_why_unreadable(error)}") from error
    return _of_file(array, path)


def _of_file(array: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    """As it is where it holds bytes or 16 bits, else as bytes."""
    if array.dtype in (np.uint8, np.uint16):
        return array
    try:
        return _eight_bits(array)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _why_no_file(path: Path) -> str:
    if path.is_symlink():
        return "is a link that leads to no file"
    return "is not a file" if path.exists() else "does not exist"


def _why_unreadable(error: BaseException) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, (UnidentifiedImageError, ModuleNotFoundError)):
        return "is not an image in a format that Pillow reads"
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large ({said})"
    if isinstance(error, PermissionError):
        return "may not be read (permission denied)"
    if isinstance(error, EOFError) or "truncated" in said or "incomplete" in said:
        return f"is cut short ({said or 'the data end early'})"
    return f"cannot be decoded ({said})"


def straightened(image: Image.Image) -> Image.Image:
    """The image turned upright by its EXIF orientation; as it is where that cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except (*READ_ERRORS, TypeError, KeyError):
        return image.copy()


def to_uint8(image: Any, *, bands: bool = False) -> Pixels:
    """HWC uint8 pixels, one channel or three, of an image in any of the forms that datasets hold.

    A PIL image of any mode (alpha is laid on white, 16 bits are scaled to 8), a tensor CHW, HWC or HW, or an array
    HWC, CHW or HW: uint8, bool, uint16 scaled by its range, other integers within 0..255, floats within 0..1. Five
    channels and more are bands and stay as they are; so do two and four with `bands`, else their last one is alpha.

    Raises:
        DataError: it is none of these, or a float image that has been normalised.
    """
    if isinstance(image, Image.Image):
        upright = straightened(image)
        return _whole(np.asarray(upright)) if bands and upright.mode in _BANDED else _from_pil(upright)
    if isinstance(image, torch.Tensor):
        tensor = image.detach().as_subclass(torch.Tensor).cpu()
        array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        return _from_array(array, channels_first=True, bands=bands)
    if isinstance(image, np.ndarray):
        return _from_array(image, channels_first=False, bands=bands)
    raise DataError(f"an image is a {type(image).__name__}; wanted a PIL image, a tensor or an array")


def _from_pil(image: Image.Image) -> Pixels:
    mode = image.mode
    if mode.startswith("I"):
        return _whole(_scale_wide(np.asarray(image).astype(np.int64)))
    if mode == "F":
        return _whole(_scale_float_pil(np.asarray(image, dtype=np.float64)))
    if mode in {"RGBa", "La"}:
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[mode])
    if image.has_transparency_data:
        grey = image.mode in {"L", "LA", "1"}
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer).convert("L" if grey else "RGB")
    elif mode == "LAB":
        image = _lab_to_rgb(image)
    elif mode not in {"L", "RGB"}:
        image = image.convert("L" if mode in {"1", "LA"} else "RGB")
    return _whole(np.asarray(image, dtype=np.uint8))


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    turned = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, rgb, "LAB", "RGB"))
    assert turned is not None  # only an in-place transform gives none
    return turned


def _scale_wide(values: npt.NDArray[np.int64]) -> Pixels:
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise DataError(f"an image holds values {values.min()} to {values.max()}; wanted 16 bits, 0 to 65535")
    return ((values + 128) // 257).astype(np.uint8)


def _scale_float_pil(values: npt.NDArray[np.float64]) -> Pixels:
    # a float PIL image has no range of its own: those of unit, 8-bit and 16-bit images are told apart by what is there
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not np.isfinite(values).all() or low < 0 or high > 65535:
        raise DataError(f"a float image holds values {low:.4g} to {high:.4g}; wanted 0 to 1, 0 to 255 or 0 to 65535")
    scale = 255.0 if high <= 1 else 1.0 if high <= 255 else 1 / 257
    return np.rint(values * scale).astype(np.uint8)


def _from_array(array: npt.NDArray[Any], *, channels_first: bool, bands: bool) -> Pixels:
    pixels = _eight_bits(_channels_last(array, channels_first=channels_first))
    if pixels.shape[-1] in {1, 3} or bands or pixels.shape[-1] > _WITH_ALPHA:
        return _whole(pixels)
    return _from_pil(Image.fromarray(np.ascontiguousarray(pixels), "LA" if pixels.shape[-1] == 2 else "RGBA"))


def _channels_last(array: npt.NDArray[Any], *, channels_first: bool) -> npt.NDArray[Any]:
    if array.ndim == 2:
        return array[:, :, None]
    if array.ndim != 3:
        raise DataError(f"an image has shape {tuple(array.shape)}; {_SHAPE}")
    if array_layout(array.shape, channels_first=channels_first) == "CHW":
        return array.transpose(1, 2, 0)
    return array


def array_layout(shape: tuple[int, ...], *, channels_first: bool) -> str:
    """HW, CHW or HWC, by which axis is short enough to be channels; `channels_first` decides where both are.

    Of bands, which may be as many as a small image is high, it is the shorter one.
    """
    if len(shape) == 2:
        return "HW"
    first, last = 1 <= shape[0] <= _WITH_ALPHA, 1 <= shape[-1] <= _WITH_ALPHA
    if first or last:
        return "CHW" if first and (channels_first or not last) else "HWC"
    if 1 <= min(shape[0], shape[-1]) <= MOST_BANDS:
        return "CHW" if shape[0] < shape[-1] or (channels_first and shape[0] == shape[-1]) else "HWC"
    raise DataError(f"an image has shape {tuple(shape)}; {_SHAPE}")


def _eight_bits(array: npt.NDArray[Any]) -> Pixels:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return _scale_wide(array.astype(np.int64))
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if np.issubdtype(array.dtype, np.integer):
        if low < 0 or high > 255:
            raise DataError(f"an image of {array.dtype} holds values {low} to {high}; wanted 0 to 255")
        return array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"an image holds {array.dtype}; wanted uint8")
    if not np.isfinite(array).all() or low < 0 or high > 1:
        raise DataError(
            f"a float image holds values {low:.4g} to {high:.4g}, not 0 to 1: it has been normalised; "
            "give raw= (the images before their transform) or images that are not normalised"
        )
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)


def _whole(pixels: Pixels) -> Pixels:
    """HWC and contiguous; an image of no pixels is an error."""
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.size == 0:
        raise DataError(f"an image has no pixels (shape {pixels.shape})")
    return np.ascontiguousarray(pixels)


def resize(pixels: Pixels, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> Pixels:
    """Pixels HWC brought to `size` (height, width), antialiased; `box` (left, top, right, bottom) is the part used."""
    height, width = pixels.shape[:2]
    box = box or (0, 0, width, height)
    if size == (height, width) and box == (0, 0, width, height):
        return pixels
    if pixels.shape[-1] not in {1, 3}:
        return np.concatenate([resize(band, size, box) for band in np.split(pixels, pixels.shape[-1], axis=2)], axis=2)
    shrinks = size[0] * size[1] < (box[2] - box[0]) * (box[3] - box[1])
    filter_ = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels)
    return _whole(np.asarray(image.resize((size[1], size[0]), filter_, box)))


def to_square(image: Pixels, resolution: int, how: str) -> Pixels:
    """Pixels HWC uint8 of any size made `resolution` x `resolution`.

    Args:
        image: HWC uint8.
        resolution: side of the result in pixels.
        how: "crop" keeps the centre, "pad" keeps everything and repeats the edge, "stretch" gives up the aspect.
    """
    height, width = image.shape[:2]
    if how == "stretch" or height == width:
        return resize(image, (resolution, resolution))
    if how == "crop":
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        return resize(image, (resolution, resolution), (left, top, left + side, top + side))
    if how != "pad":
        raise DataError(f"images cannot be made square by {how!r}; choose from: crop, pad, stretch")
    longest = max(height, width)
    inner = max(1, round(height * resolution / longest)), max(1, round(width * resolution / longest))
    small = resize(image, inner)
    above, before = (resolution - inner[0]) // 2, (resolution - inner[1]) // 2
    borders = (above, resolution - inner[0] - above), (before, resolution - inner[1] - before), (0, 0)
    return np.pad(small, borders, mode="edge")


def from_square(image: Pixels, size: tuple[int, int], how: str) -> Pixels:
    """The way back from `to_square`: a square image as one of `size`, with what it shows at its true aspect.

    Args:
        image: HWC uint8, as high as it is wide.
        size: height and width wanted.
        how: as in `to_square`: after "crop" the margins that were cut off are filled by reflection, after "pad" those
            that were added are cut off, after "stretch" the image is stretched back.
    """
    height, width = size
    if how == "stretch" or height == width:
        return resize(image, size)
    if how == "pad":
        longest, side = max(size), image.shape[0]
        inner = height * side / longest, width * side / longest
        top, left = (side - inner[0]) / 2, (side - inner[1]) / 2
        return resize(image, size, (left, top, left + inner[1], top + inner[0]))
    shortest = min(size)
    missing = height - shortest, width - shortest
    borders = tuple((one // 2, one - one // 2) for one in missing)
    return np.pad(resize(image, (shortest, shortest)), (*borders, (0, 0)), mode="symmetric")


def is_grey(image: Pixels) -> bool:
    """Whether pixels HWC have one channel, or three that are equal everywhere."""
    return image.shape[-1] == 1 or bool((image == image[:, :, :1]).all())


def to_channels(image: Pixels, channels: int) -> Pixels:
    """Pixels HWC with one channel (the luma of RGB, exact where channels are equal) or three (grey repeated).

    Raises:
        DataError: the image has bands, and not as many.
    """
    if image.shape[-1] == channels:
        return image
    if image.shape[-1] not in {1, 3} or channels not in {1, 3}:
        raise DataError(
            f"an image has {image.shape[-1]} channels and {channels} are wanted; images of many bands go with masks "
            "alone, all with the same bands (data.colour=bands)"
        )
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    return _whole(np.asarray(Image.fromarray(image).convert("L")))


def colour_of(channels: int) -> str:
    """What `data.colour` says of images of so many channels."""
    return {1: "grey", 3: "rgb"}.get(channels, "bands")


def kind_of(channels: int) -> str:
    """What a person calls images of so many channels."""
    return {1: "grey", 3: "colour"}.get(channels, f"{channels} bands")
