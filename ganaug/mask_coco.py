"""Label maps as a COCO file: every connected part of a class an annotation, as run lengths that lose no pixel."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["CocoMaps", "run_lengths"]


class CocoMaps:
    """Collects images with their maps, and writes the annotations.

    Args:
        classes: names by their place.
        numbers: the number that each has in the maps.
        ignore: the number in a map that says no class; none if there is none.

    A first class called background is what is not annotated; any other first class is annotated as the rest are.
    Pixels of no class are a crowd of the first class that is annotated, which readers leave out of account.
    """

    def __init__(self, classes: Sequence[str], numbers: Sequence[int], ignore: int | None) -> None:
        self._ids = {
            number: place + 1
            for place, (name, number) in enumerate(zip(classes, numbers, strict=True))
            if place or name != "background"
        }
        self._categories = [
            {"id": self._ids[n], "name": c} for c, n in zip(classes, numbers, strict=True) if n in self._ids
        ]
        self._ignore = ignore
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, name: str, values: npt.NDArray[np.integer[Any]]) -> None:
        """An image of that file name, with its map (H, W)."""
        image, (height, width) = len(self._images) + 1, values.shape
        self._images.append({"id": image, "file_name": name, "height": height, "width": width})
        for number in np.unique(values).tolist():
            if number == self._ignore and number not in self._ids:
                self._annotate(image, next(iter(self._ids.values())), values == number, crowd=1)
            elif number in self._ids:
                parts, count = ndimage.label(values == number, structure=np.ones((3, 3)))
                for part in range(1, count + 1):
                    self._annotate(image, self._ids[number], parts == part, crowd=0)

    def _annotate(self, image: int, category: int, inside: npt.NDArray[np.bool_], *, crowd: int) -> None:
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        top, left = int(rows[0]), int(columns[0])
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": image,
                "category_id": category,
                "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                "area": int(inside.sum()),
                "iscrowd": crowd,
                "segmentation": {"size": list(inside.shape), "counts": run_lengths(inside)},
            }
        )

    def write(self, path: Path) -> None:
        """The JSON file."""
        said = {"images": self._images, "annotations": self._annotations, "categories": self._categories}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(said), "utf-8")


def run_lengths(inside: npt.NDArray[np.bool_]) -> list[int]:
    """Lengths of runs of a mask (H, W), column by column, the first of pixels outside, as COCO has them.

    >>> run_lengths(np.array([[True, False], [True, True]]))
    [0, 2, 1, 1]
    """
    flat = np.concatenate([[False], inside.ravel(order="F")])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    lengths: list[int] = np.diff(np.concatenate([[0], starts, [inside.size]])).tolist()
    return lengths
