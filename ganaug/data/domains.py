"""Images of two domains, a source and a target, that need not show the same things: what a translator is fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor

from ganaug.data.fingerprints import fingerprint, perceptual_print
from ganaug.data.folders import ImageFiles, list_all
from ganaug.data.images import Pixels, is_grey, resize, to_channels, to_square, to_uint8
from ganaug.data.items import as_label, split_item
from ganaug.data.joint_view import JointView
from ganaug.data.labelled import LabelledImages
from ganaug.data.mask_files import holds_masks, list_masks
from ganaug.data.view import DatasetView
from ganaug.errors import DataError

__all__ = ["DomainImages", "Domains", "any_view", "read_crops", "read_domains"]

_MOST = 4096  # pieces of a domain, unless it has more images
_SKEWED = 0.5  # of brightness: less is neither bright things on dark nor the reverse
_TRIES = 100  # items looked at, at the most, to find one whose form tells that of all
_INNER = {"train", "images", "image", "imgs", "img"}  # folders that a domain is not named after


@dataclass(frozen=True)
class Domains:
    """Where images of two domains are: each a path, or a dataset whose labels are not looked at."""

    source: Any
    target: Any


@dataclass(frozen=True, eq=False)
class DomainImages(LabelledImages):
    """Square pieces of the target's images, of which there is one class, and beside them pieces of the source's.

    An image may have several pieces. Fingerprints are of whole images, the target's first.
    """

    sources: Tensor = field(kw_only=True)
    """(M, C, H, W) uint8, pieces of the source's images, of the size of the target's."""
    source_extents: Tensor = field(kw_only=True)
    target_extents: Tensor = field(kw_only=True)
    """(N, 2) int64: height and width of what is an image in a piece; the rest is empty."""
    source_name: str = field(kw_only=True)
    side: int = field(kw_only=True)
    """Of the crops that they are for."""


@dataclass
class _Read:
    """What has been read of one domain so far."""

    name: str
    pieces: list[Pixels] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    perceptual: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    grey: bool = True


def read_domains(
    domains: Domains,
    *,
    resolution: int,
    tile: int | None,
    fit: str = "crop",
    colour: str = "auto",
    on_bad: str = "stop",
    raw: Any = None,
) -> DomainImages:
    """Read both domains, whole, in any layout.

    Args:
        domains: where they are. Of a folder with masks the images alone are read.
        resolution: side of the crops that are to be trained on.
        tile: pixels of an image that such a crop shows: as many as `resolution` for images at their own scale. None:
            every image whole.
        fit: with whole images, "crop", "pad" or "stretch": how one that is not square becomes square.
        colour: "grey", "rgb", or "auto": that of the images, which must be the same in both domains.
        on_bad: "stop" raises at the first image that cannot be read; "skip" leaves it out and lists it in `skipped`.
        raw: the source's images below their transform, where they have to be given.

    Returns:
        Pieces of up to twice the resolution, for crops anywhere in them; of large sets 4096 of each domain, evenly
        spread over its images.

    Raises:
        DataError: a domain has no images, an image is too small or cannot be read, both domains hold the same image, or
            one is grey and the other in colour.
    """
    names = _names(domains)
    read = [
        _read(part, name, what, resolution, tile, fit, on_bad, beside)
        for part, name, what, beside in zip(
            (domains.source, domains.target), names, ("source", "target"), (raw, None), strict=True
        )
    ]
    source, target = read
    if shared := len(set(source.fingerprints) & set(target.fingerprints)):
        whole = shared == len(set(source.fingerprints)) == len(set(target.fingerprints))
        said = "source and target are the same images" if whole else f"{shared} images are in both source and target"
        raise DataError(f"{said}; give two domains that have no image in common")
    if colour == "auto" and source.grey != target.grey:
        kinds = ["grey" if part.grey else "in colour" for part in read]
        raise DataError(
            f"the source's images are {kinds[0]} and the target's {kinds[1]}; say what both are to be: "
            "data.colour=rgb or data.colour=grey"
        )
    remarks = [
        f"from {source.name} ({len(source.fingerprints)} images, {len(source.pieces)} pieces) to {target.name} "
        f"({len(target.fingerprints)} images, {len(target.pieces)} pieces)"
    ]
    rare = [_rare(part.pieces) for part in read]
    if set(rare) == {"bright", "dark"}:
        remarks.append(
            f"in {source.name} little is {rare[0]}, in {target.name} little is {rare[1]}: where that shows the same "
            "things, set translation.invert=true"
        )
    channels = 1 if colour == "grey" or (colour == "auto" and source.grey) else 3
    side = max(length for part in read for piece in part.pieces for length in piece.shape[:2])
    (sources, source_extents), (targets, target_extents) = (_stacked(part.pieces, channels, side) for part in read)
    return DomainImages(
        images=targets,
        labels=torch.zeros(len(targets), dtype=torch.int64),
        class_names=(target.name,),
        label_numbers=(0,),
        fingerprints=(*target.fingerprints, *source.fingerprints),
        skipped=(*target.skipped, *source.skipped),
        perceptual=(*target.perceptual, *source.perceptual),
        remarks=tuple(remarks),
        sources=sources,
        source_extents=source_extents,
        target_extents=target_extents,
        source_name=source.name,
        side=resolution,
    )


def read_crops(
    domain: Any, *, resolution: int, tile: int | None, channels: int, fit: str = "crop", on_bad: str = "stop"
) -> Tensor:
    """(N, channels, resolution, resolution) uint8: the upper left crop of each piece of one domain; see `read_domains`.

    Raises:
        DataError: as `read_domains`.
    """
    pieces = _read(domain, "", "data", resolution, tile, fit, on_bad, None).pieces
    return _stacked([piece[:resolution, :resolution] for piece in pieces], channels, resolution)[0]


def any_view(
    dataset: Any, *, raw: Any = None, transform: Any = None, alone: bool = False
) -> Union[DatasetView, JointView]:
    """The images of a path in any layout, or of a dataset, whatever its labels are: numbers, masks or boxes.

    With `alone`, images may also have no label at all.
    """
    if isinstance(dataset, (str, Path)):
        return DatasetView(_files(Path(dataset)))
    below = dataset if raw is None else raw
    kind = _label_kind(below)
    if kind == "none" and alone:
        return DatasetView(_Alone(below))
    if kind in ("number", "none"):
        return DatasetView(dataset, raw=raw, transform=transform)
    return JointView(dataset, raw=raw, transform=transform, label=kind)


@dataclass(frozen=True)
class _Alone:
    """Images without labels as pairs."""

    images: Any

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.images[index], 0


def _label_kind(dataset: Any) -> str:
    """What the labels of a dataset are: "number", "mask", "target" (a dict), or "none" where there are images alone."""
    for index in range(min(_TRIES, len(dataset) if hasattr(dataset, "__len__") else 0)):
        try:
            item = dataset[index]
        except Exception:  # a user's code: told by who reads all
            continue
        try:
            label = split_item(item)[1]
        except DataError:
            return "none" if not isinstance(item, (Mapping, tuple, list)) else "number"
        if isinstance(label, Mapping):
            return "target"
        try:
            as_label(label)
        except DataError:
            return "mask"
        return "number"
    return "number"


def _files(path: Path) -> ImageFiles:
    if path.is_dir() and holds_masks(path):
        images = list_masks(path).images
        return ImageFiles(path, ["images"], [0] * len(images), images, [])
    return list_all(path, "images")


def _names(domains: Domains) -> tuple[str, str]:
    """What the domains are called: as their folders are, where these differ."""
    found = []
    for part in (domains.source, domains.target):
        path = Path(part).expanduser().resolve() if isinstance(part, (str, Path)) else None
        while path is not None and path.name.lower() in _INNER:
            path = path.parent
        found.append("" if path is None else path.stem)
    return (found[0], found[1]) if all(found) and found[0] != found[1] else ("source", "target")


def _read(part: Any, name: str, what: str, resolution: int, tile: int | None, fit: str, on_bad: str, raw: Any) -> _Read:
    try:
        view = any_view(part, raw=raw, alone=True)
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
    most = max(1, _MOST // len(view))
    read = _Read(name)
    for index in range(len(view)):
        try:
            pixels = to_uint8(view.image(index))
            pieces = list(_pieces(pixels, resolution, tile, fit))
        except DataError as error:
            if on_bad == "stop":
                raise DataError(
                    f"{what}, image {index}: {error}; mend or remove it, or skip such: on_bad='skip', --on-bad skip"
                ) from error
            read.skipped.append(f"{what}, image {index}: {error}")
            continue
        count = min(most, len(pieces))
        read.pieces.extend(pieces[place * len(pieces) // count] for place in range(count))
        read.fingerprints.append(fingerprint(pixels))
        read.perceptual.append(perceptual_print(pixels))
        read.grey = read.grey and is_grey(pixels)
    if not read.pieces:
        raise DataError(f"{what}: none of the {len(view)} images can be used; the first: {read.skipped[0]}")
    return read


def _rare(pieces: list[Pixels]) -> str | None:
    """What few pixels are, "bright" or "dark", by the skewness of brightness; None where it is neither clearly."""
    values = np.concatenate([piece[::4, ::4].mean(2).ravel() for piece in pieces])
    apart = values - values.mean()
    skewness = (apart**3).mean() / max(1e-6, (apart**2).mean()) ** 1.5
    return None if abs(skewness) < _SKEWED else "bright" if skewness > 0 else "dark"


def _pieces(pixels: Pixels, resolution: int, tile: int | None, fit: str) -> Iterator[Pixels]:
    """Parts of an image of up to twice the resolution, which reach every edge and overlap where they must."""
    if tile is None:
        yield to_square(pixels, resolution, fit)
        return
    height, width = pixels.shape[:2]
    if min(height, width) < tile:
        raise DataError(
            f"is {width} x {height} pixels and crops are {tile}; leave it out, lower resolution and data.tile, or take "
            "images whole (data.tile=null)"
        )
    size = round(height * resolution / tile), round(width * resolution / tile)
    scaled = resize(pixels, size)
    for top, bottom in _parts(size[0], 2 * resolution):
        for left, right in _parts(size[1], 2 * resolution):
            yield scaled[top:bottom, left:right]


def _parts(length: int, most: int) -> list[tuple[int, int]]:
    count = -(-length // most)
    starts = [round(place * (length - most) / max(1, count - 1)) if count > 1 else 0 for place in range(count)]
    return [(start, min(length, start + most)) for start in starts]


def _stacked(pieces: list[Pixels], channels: int, side: int) -> tuple[Tensor, Tensor]:
    """(N, channels, side, side) uint8 with each piece in the upper left corner, and (N, 2) the pieces' own sizes."""
    stacked = np.zeros((len(pieces), channels, side, side), np.uint8)
    for place, piece in enumerate(pieces):
        height, width = piece.shape[:2]
        stacked[place, :, :height, :width] = to_channels(np.ascontiguousarray(piece), channels).transpose(2, 0, 1)
    return torch.from_numpy(stacked), torch.tensor([piece.shape[:2] for piece in pieces])
