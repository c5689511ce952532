"""Folders and files of images with boxes, as YOLO, Pascal VOC or COCO has them, as a dataset of (image, target).

Which part is read: `train:` of data.yaml, ImageSets/Main/train.txt, a folder or JSON file of that name; else all.
box_yolo.py, box_voc.py and box_coco.py say how each is laid out.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision import tv_tensors

from ganaug.data.box_coco import find_coco
from ganaug.data.box_rows import BoxLayout, Entry, Faults, Row
from ganaug.data.box_values import Boxes, Target, box_faults, clipped
from ganaug.data.box_voc import find_voc
from ganaug.data.box_yolo import find_yolo
from ganaug.data.images import open_image
from ganaug.data.outlines import Outline, filled
from ganaug.errors import DataError, did_you_mean

__all__ = ["BoxFiles", "Objects", "find_layout", "holds_boxes", "list_boxes", "read_part"]

_LAYOUT = (
    "wanted YOLO (data.yaml, or images/ and labels/), Pascal VOC (JPEGImages/ and Annotations/) or COCO (a JSON file)"
)


@dataclass(frozen=True, eq=False)
class Objects:
    """What the files say of one image, its masks not drawn yet."""

    size: tuple[int, int]
    boxes: Boxes
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    outlines: tuple[Outline | None, ...]


@dataclass(frozen=True, eq=False)
class BoxFiles:
    """A map-style dataset of (PIL image, target), each file opened when it is asked for.

    A target is as torchvision's detection references have it: "boxes" (n, 4) float32 XYXY and "masks" (n, H, W) uint8,
    where every object of the image has one, as tv_tensors; "labels" (n,) int64; "image_id", the index; "area" (n,)
    float32, of the box; "iscrowd" (n,) int64.
    """

    layout: BoxLayout
    part: str
    classes: tuple[str, ...]
    paths: list[Path]
    said_in: list[Path]
    """The file of each image's boxes; that of a YOLO image without objects need not be there."""
    objects: list[Objects]
    skipped: tuple[str, ...] = ()
    """What was left out, and why."""

    @property
    def root(self) -> Path:
        """The folder that all is in."""
        return self.layout.root

    @property
    def has_masks(self) -> bool:
        """Whether every object has a mask."""
        return all(outline is not None for one in self.objects for outline in one.outlines)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, dict[str, Any]]:
        return open_image(self.paths[index]), self.target(index)

    def checked(self, index: int) -> Target:
        """The objects of an image, with its masks where every one of them has one."""
        said = self.objects[index]
        masks = None
        if all(outline is not None for outline in said.outlines) and (len(said.labels) or self.has_masks):
            where = str(self.paths[index])
            drawn = [filled(outline, said.size, where) for outline in said.outlines if outline is not None]
            masks = np.stack(drawn) if drawn else np.zeros((0, *said.size), dtype=bool)
        return Target(said.boxes, said.labels, masks, said.crowd)

    def target(self, index: int) -> dict[str, Any]:
        """The target of an image, which is not opened."""
        said, size = self.checked(index), self.objects[index].size
        boxes = torch.from_numpy(said.boxes.copy())
        made = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),  # type: ignore[call-arg]
            "labels": torch.from_numpy(said.labels.copy()),
            "image_id": range(len(self))[index],
            "area": (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            "iscrowd": torch.from_numpy(said.crowd.astype(np.int64)),
        }
        if said.masks is not None:
            made["masks"] = tv_tensors.Mask(torch.from_numpy(said.masks.astype(np.uint8)))
        return made

    def counts(self) -> list[int]:
        """Objects of each class."""
        counts = Counter(label for one in self.objects for label in one.labels.tolist())
        return [counts[number] for number in range(len(self.classes))]


def find_layout(path: Path) -> BoxLayout | None:
    """How a set is laid out; none where it is none of images with boxes.

    Raises:
        DataError: it is one, and what describes it cannot be read.
    """
    if path.is_dir() or path.is_file():
        for find in (find_yolo, find_voc, find_coco):
            layout = find(path)
            if layout is not None:
                return layout
    return None


def holds_boxes(path: Path) -> bool:
    """Whether a folder or a file is of images with boxes; what is wrong with such is told by who reads it."""
    try:
        return find_layout(path) is not None
    except DataError:
        return True
    except (OSError, RuntimeError):
        return False


def list_boxes(path: str | Path, *, on_bad: str = "stop", part: str = "train") -> BoxFiles:
    """The images of a set's training part, with their boxes.

    Args:
        path: a folder, a data.yaml, or a COCO file.
        on_bad: "stop" raises at the first row, label file or image that cannot be used; "skip" leaves such out, lists
            them in `skipped`, and warns of their number.
        part: "train", "val" or "test".

    Raises:
        DataError: nothing is there, it is not laid out as wanted, a file or a row cannot be used, or there is no image
            with an object.
    """
    if on_bad not in {"stop", "skip"}:
        raise DataError(f"on_bad is {on_bad!r}; choose from: stop, skip")
    path = Path(path)
    try:
        layout = find_layout(path.expanduser())
        if layout is None:
            kind = "holds no images with boxes" if path.expanduser().exists() else "does not exist"
            raise DataError(f"{path} {kind}; {_LAYOUT}")
        files = read_part(layout, part, on_bad)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~name of nobody's home
        raise DataError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not any(files.counts()):
        raise DataError(f"{path}: none of its {len(files)} images has an object; wanted boxes to learn from")
    return files


def read_part(layout: BoxLayout, part: str, on_bad: str) -> BoxFiles:
    """As `list_boxes`, of a set whose layout is known; there may be no object."""
    if part not in layout.parts:
        raise DataError(f"{layout.root} has no {part} part, only {', '.join(layout.parts)}")
    faults = Faults(on_bad)
    entries = list(layout.entries(part, faults))
    names = layout.names if layout.names is not None else _names_said(layout, part, entries)
    objects = [_objects(entry, names, faults) for entry in entries]
    if faults.skipped:
        told = f"{len(faults.skipped)} rows or files" if len(faults.skipped) > 1 else "one row or file"
        warnings.warn(f"{told} of {layout.root} left out; the first: {faults.skipped[0]}", stacklevel=3)
    paths, said_in = [entry.image for entry in entries], [entry.said_in for entry in entries]
    return BoxFiles(layout, part, names, paths, said_in, objects, tuple(faults.skipped))


def _names_said(layout: BoxLayout, part: str, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Names where no file lists them: those of the training part first, so that every part numbers them alike."""
    training = entries if part == "train" else list(layout.entries("train", Faults("skip")))
    return tuple(dict.fromkeys(name for some in (training, entries) for name in _sorted_names(some)))


def _sorted_names(entries: Sequence[Entry]) -> list[str]:
    """Names in the rows; where they have numbers, all up to the highest."""
    labels = {row.label for entry in entries for row in entry.rows}
    numbers = [label for label in labels if isinstance(label, int)]
    return [str(number) for number in range(max(numbers) + 1)] if numbers else sorted(map(str, labels))


def _objects(entry: Entry, names: tuple[str, ...], faults: Faults) -> Objects:
    boxes = np.array([row.box for row in entry.rows], dtype=np.float64).reshape(-1, 4)
    bad = dict(box_faults(boxes, entry.size))
    kept, labels = [], []
    for place, row in enumerate(entry.rows):
        with faults.aside():
            label = _number(row, names)
            if place in bad:
                raise DataError(f"{row.place}: {bad[place]}")
            kept.append(place)
            labels.append(label)
    rows = [entry.rows[place] for place in kept]
    return Objects(
        entry.size,
        clipped(boxes[kept], entry.size),
        np.array(labels, dtype=np.int64),
        np.array([row.crowd for row in rows], dtype=bool),
        tuple(row.outline for row in rows),
    )


def _number(row: Row, names: tuple[str, ...]) -> int:
    if isinstance(row.label, str):
        if row.label not in names:
            raise DataError(f"{row.place}: there is no class {row.label!r}{did_you_mean(row.label, names)}")
        return names.index(row.label)
    if row.label >= len(names):
        raise DataError(f"{row.place}: has the class {row.label}; wanted 0 to {len(names) - 1}, which have names")
    return row.label
