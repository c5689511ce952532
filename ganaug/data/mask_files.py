"""Folders of images and their masks, and COCO files, as a dataset of (image, mask).

DIR/images/7.jpg  DIR/masks/7.png               a mask has its image's stem, or that and an ending such as _mask
DIR/train/images/...  DIR/test/...              the train part is used, the others are never touched
DIR/leftImg8bit/train/...  DIR/gtFine/train/... Cityscapes
DIR/train/  DIR/trainannot/                     CamVid as SegNet's authors ship it
DIR/7.png  DIR/7_mask.png                       side by side
annotations.json                                COCO polygons and run lengths, images beside it or in images/
"""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ganaug.data.class_tables import ClassTable, find_table
from ganaug.data.forms import form_of
from ganaug.data.images import open_bands, open_image
from ganaug.data.mask_values import Map, mask_values
from ganaug.errors import DataError, MissingExtraError

__all__ = ["MaskFiles", "holds_masks", "image_files", "list_masks"]

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_BANDED = _SUFFIXES | {".npy"}  # of images, which may have many bands
_IMAGES = ("images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "701_stillsraw_full", "train")
_MASKS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "gt", "gtfine", "segmentationclass",
    "labeledapproved_full", "trainannot",
)  # fmt: skip
_MASK_ENDINGS = (
    "_gtFine_labelIds", "_mask", "_masks", "_label", "_labels", "_labelIds", "_seg", "_segmentation", "_gt", "_L", "_P",
)  # fmt: skip
_IMAGE_ENDINGS = ("_leftImg8bit", "_image", "_img", "_sat")
_NO_MASKS = ("_gtFine_color", "_gtFine_instanceIds", "_gtFine_labelTrainIds")
_LAYOUT = "wanted images/ and masks/ with files of the same stems, or a COCO file"


@dataclass(frozen=True)
class MaskFiles:
    """A map-style dataset of (image, (H, W) int64 class numbers), each file opened when it is asked for.

    An image is a PIL image, or an array as it is in an .npy file or a TIFF of many bands.
    """

    root: Path
    images: list[Path]
    masks: list[Path]
    """The file of each image's mask; the COCO file where masks come from one."""
    table: ClassTable | None
    coco: dict[int, list[dict[str, Any]]] | None = None
    """Annotations of each image, by its place, where they come from a COCO file."""

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Map]:
        image = open_bands(self.images[index])
        if self.coco is not None:
            return image, _drawn(self.coco[index], form_of(image).size, self.images[index])
        return image, read_mask(self.masks[index], self.table)

    def subset(self, indices: Sequence[int]) -> MaskFiles:
        """Some of them, in that order."""
        coco = None if self.coco is None else {place: self.coco[index] for place, index in enumerate(indices)}
        images, masks = [self.images[index] for index in indices], [self.masks[index] for index in indices]
        return replace(self, images=images, masks=masks, coco=coco)


def holds_masks(path: Path) -> bool:
    """Whether a folder has images and masks in folders of those names, and is thus none of class folders."""
    try:
        folders = _two_folders(path) if path.is_dir() else None
        return (
            folders is not None
            and bool(image_files(folders[0], {*_SUFFIXES, ".npy"}))
            and bool(image_files(folders[1]))
        )
    except OSError:  # told by who reads it
        return False


def read_mask(path: Path, table: ClassTable | None) -> Map:
    """Class numbers (H, W) int64 of a mask file.

    Raises:
        DataError: it is no image, is a JPEG, or is in colours of which the table says nothing.
    """
    try:
        with Image.open(path) as opened:
            lossy = opened.format == "JPEG"
    except OSError:
        lossy = False  # what is wrong with it is said by who opens it whole
    if lossy:
        raise DataError(f"{path}: is a JPEG, whose compression changes a mask's numbers; save masks as PNG")
    try:
        return mask_values(open_image(path), table)
    except DataError as error:
        raise DataError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error


def list_masks(path: str | Path | MaskFiles, table: ClassTable | None = None) -> MaskFiles:
    """The images of a folder or a COCO file that have masks; `table` outdoes one found in the folder.

    What has been listed before is given back as it is.

    Raises:
        DataError: nothing is there, it is not laid out as wanted, or an image lacks its mask, or a mask its image.
    """
    if isinstance(path, MaskFiles):
        return path
    path = Path(path)
    try:
        return _listed(path.expanduser(), table)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~name of nobody's home
        raise DataError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _listed(path: Path, table: ClassTable | None) -> MaskFiles:
    if path.is_file() and path.suffix.lower() == ".json":
        return _list_coco(path, table)
    if not path.is_dir():
        raise DataError(f"{path} is a file; {_LAYOUT}" if path.exists() else f"there is no folder {path}; {_LAYOUT}")
    folders = _two_folders(path)
    if folders is None and (coco := _coco_file(path)) is not None:
        return _list_coco(coco, table)
    images, masks = folders or (path, path)
    pairs = _pairs(images, masks)
    if not pairs:
        raise DataError(f"{path} holds no images with masks; {_LAYOUT}")
    found = table or find_table(path, images.parent, path.parent)
    return MaskFiles(images.parent, [image for image, _ in pairs], [mask for _, mask in pairs], found)


def _two_folders(path: Path) -> tuple[Path, Path] | None:
    """The folders of images and of masks; those of a `train` part where there is one."""
    inside = {entry.name.lower(): entry for entry in sorted(path.iterdir()) if entry.is_dir()}
    masks = next((inside[name] for name in _MASKS if name in inside), None)
    images = next((inside[name] for name in _IMAGES if name in inside), None)
    if masks is None or images is None:
        return _two_folders(inside["train"]) if "train" in inside else None
    if (images / "train").is_dir() and (masks / "train").is_dir():
        return images / "train", masks / "train"
    return images, masks


def _pairs(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    together = images == masks
    files = image_files(images, _BANDED)
    ours = {path: path.relative_to(images).with_suffix("").as_posix() for path in files}
    theirs = {path: path.relative_to(masks).with_suffix("").as_posix() for path in image_files(masks)}
    theirs = {path: stem for path, stem in theirs.items() if not stem.endswith(_NO_MASKS)}
    if together:
        theirs = {path: stem for path, stem in theirs.items() if stem.endswith(_MASK_ENDINGS)}
        ours = {path: stem for path, stem in ours.items() if path not in theirs}
    by_stem: dict[str, Path] = {}
    for path, stem in theirs.items():
        for key in _keys(stem, _MASK_ENDINGS)[1 if together else 0 :]:
            by_stem.setdefault(key, path)
    pairs, taken = [], set()
    for path, stem in ours.items():
        mask = next((by_stem[key] for key in _keys(stem, _IMAGE_ENDINGS) if key in by_stem), None)
        if mask is None:
            raise DataError(f"{path}: has no mask in {masks}; add one of the same stem, or remove the image")
        pairs.append((path, mask))
        taken.add(mask)
    if alone := sorted(set(theirs) - taken):
        raise DataError(f"{alone[0]}: is a mask without an image in {images}; add the image, or remove the mask")
    return pairs


def image_files(folder: Path, suffixes: Set[str] = _SUFFIXES) -> list[Path]:
    """Image files in a folder and those below it, sorted; hidden ones are passed over."""
    return sorted(
        path for path in folder.rglob("*")
        if path.is_file() and path.suffix.lower() in suffixes and not path.name.startswith(".")
    )  # fmt: skip


def _keys(stem: str, endings: tuple[str, ...]) -> list[str]:
    """A stem as it is, and without an ending that says what the file is."""
    return [stem, *(stem.removesuffix(ending) for ending in endings if stem.endswith(ending))]


# COCO


def _coco_file(folder: Path) -> Path | None:
    files = sorted(folder.glob("*.json"))
    return files[0] if len(files) == 1 else None


def _list_coco(path: Path, table: ClassTable | None) -> MaskFiles:
    try:
        said = json.loads(path.read_text("utf-8"))
        numbers = {
            row["id"]: place for place, row in enumerate(sorted(said["categories"], key=lambda row: row["id"]), 1)
        }
        names = ("background", *(row["name"] for row in sorted(said["categories"], key=lambda row: row["id"])))
        by_image: dict[Any, list[dict[str, Any]]] = {row["id"]: [] for row in said["images"]}
        for row in said["annotations"]:
            by_image[row["image_id"]].append({**row, "number": numbers[row["category_id"]]})
        files = [_beside(path, row["file_name"]) for row in said["images"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no COCO file ({type(error).__name__}: {error}); {_LAYOUT}") from error
    if table is not None:
        raise DataError(f"{path} names its own classes; leave data.table out")
    kept = ClassTable(names, tuple(range(len(names))))
    return MaskFiles(path.parent, files, [path] * len(files), kept, dict(enumerate(by_image.values())))


def _beside(path: Path, name: str) -> Path:
    places = [folder / name for folder in (path.parent, path.parent / "images", path.parent.parent / "images")]
    return next((place for place in places if place.is_file()), places[0])


def _drawn(rows: list[dict[str, Any]], size: tuple[int, int], image: Path) -> npt.NDArray[np.int64]:
    """All annotations of an image as class numbers; a crowd says no class. Small ones lie on top of large ones."""
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise MissingExtraError("pycocotools", "segmentation") from error
    height, width = size
    values = np.zeros(size, dtype=np.int64)
    for row in sorted(rows, key=lambda row: -float(row.get("area", 0))):
        shape = row["segmentation"]
        try:
            if isinstance(shape, list):
                encoded = coco.merge(coco.frPyObjects(shape, height, width))
            else:
                encoded = coco.frPyObjects(shape, height, width) if isinstance(shape["counts"], list) else shape
            inside = coco.decode(encoded).astype(bool)
            values[inside] = 255 if row.get("iscrowd") else row["number"]
        except Exception as error:  # pycocotools raises what it likes
            raise DataError(f"{image}: annotation {row.get('id')} cannot be drawn ({error})") from error
    return values
