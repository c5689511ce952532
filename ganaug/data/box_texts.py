"""Boxes of one image as rows of a YOLO file, as an XML file of Pascal VOC, and as annotations of a COCO file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ganaug.data.box_values import Target
from ganaug.data.outlines import Ring, joined, rings_of

__all__ = ["coco_rows", "voc_xml", "yolo_rows"]

_DIGITS = 2  # of pixels


def yolo_rows(target: Target, size: tuple[int, int], *, polygons: bool) -> list[str]:
    """A row for each object, of polygons where `polygons` and else of boxes; no row twice, and none for a crowd.

    Shares are of the image's `size`, height and width.
    """
    rows = []
    for place in np.flatnonzero(~target.crowd).tolist():
        shares = np.array([size[1], size[0]], dtype=np.float64)
        if polygons:
            points = joined(_rings(target, place)) / shares
        else:
            box = target.boxes[place].astype(np.float64).reshape(2, 2) / shares
            points = np.stack([box.mean(axis=0), box[1] - box[0]])
        rows.append(f"{target.labels[place]} " + " ".join(f"{share:.6f}" for share in points.ravel()))
    return list(dict.fromkeys(rows))


def voc_xml(target: Target, size: tuple[int, int], name: str, classes: Sequence[str]) -> str:
    """The XML file of the image called `name`."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    sides = ElementTree.SubElement(root, "size")
    for side, length in (("width", size[1]), ("height", size[0])):
        ElementTree.SubElement(sides, side).text = str(length)
    for box, label in zip(target.boxes.tolist(), target.labels.tolist(), strict=True):
        thing = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(thing, "name").text = classes[label]
        ElementTree.SubElement(thing, "difficult").text = "0"
        corners = ElementTree.SubElement(thing, "bndbox")
        for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(corners, side).text = f"{round(value, _DIGITS):g}"
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def coco_rows(target: Target, image: int, numbers: Sequence[int], first: int) -> list[dict[str, Any]]:
    """Annotations of the image with the id `image`, numbered from `first`; `numbers` are the ids of the classes."""
    rows = []
    for place, (left, top, right, bottom) in enumerate(target.boxes.astype(np.float64).tolist()):
        row: dict[str, Any] = {
            "id": first + place,
            "image_id": image,
            "category_id": numbers[int(target.labels[place])],
            "bbox": [round(value, _DIGITS) for value in (left, top, right - left, bottom - top)],
            "area": round((right - left) * (bottom - top), _DIGITS),
            "iscrowd": int(target.crowd[place]),
        }
        if target.masks is not None:
            mask = target.masks[place]
            row["area"] = int(mask.sum())
            if target.crowd[place]:
                row["segmentation"] = {"counts": _run_lengths(mask), "size": list(mask.shape)}
            else:
                row["segmentation"] = [ring.round(_DIGITS).ravel().tolist() for ring in _rings(target, place)]
        rows.append(row)
    return rows


def _rings(target: Target, place: int) -> list[Ring]:
    """Borders of an object's mask; those of its box where no pixel is marked, as in some files."""
    assert target.masks is not None, "polygons are of sets with masks"
    left, top, right, bottom = target.boxes[place].tolist()
    return rings_of(target.masks[place]) or [np.array([(left, top), (right, top), (right, bottom), (left, bottom)])]


def _run_lengths(mask: Any) -> list[int]:
    """Lengths of runs down the columns, of 0 first, as COCO keeps them uncompressed."""
    flat = mask.T.ravel().astype(np.int8)
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs: list[int] = np.diff([0, *ends, len(flat)]).tolist()
    return [0, *runs] if flat[0] else runs
