"""Images with boxes, polygons and run lengths as COCO has them: one JSON file for each part.

annotations/instances_train2017.json  train2017/1.jpg     images beside the file, in images/, or in the part's folder
train/_annotations.coco.json  train/1.jpg                 as Roboflow exports it
FILE.json                                                 that file alone
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ganaug.data.box_rows import BoxLayout, Entry, Faults, Row, part_of, text_of, upright_size
from ganaug.data.outlines import Outline
from ganaug.errors import DataError

__all__ = ["CocoLayout", "find_coco"]

_KEYS = ("images", "annotations", "categories")
_WANTED = "wanted a COCO file, with images, annotations and categories"


@dataclass
class CocoLayout(BoxLayout):
    """The file of each part."""

    root: Path
    files: dict[str, Path]
    names: tuple[str, ...] | None
    numbers: tuple[int, ...] | None
    form: str = field(default="coco", init=False)

    @property
    def parts(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those that have a file."""
        return tuple(self.files)

    def entries(self, part: str, faults: Faults) -> Iterator[Entry]:
        """Every image that the file lists."""
        path = self.files[part]
        said = _load(path)
        by_image = self._annotations(path, said, faults)
        for number, row in enumerate(said["images"], 1):
            with faults.aside():
                if not isinstance(row, dict) or not isinstance(row.get("file_name"), str) or "id" not in row:
                    raise DataError(f"{path} image {number}: has no id or file_name")
                image = _find_image(path, row["file_name"])
                size = upright_size(image)
                told = row.get("height") or size[0], row.get("width") or size[1]
                if told != size:
                    raise DataError(
                        f"{path}: says {told[1]} x {told[0]} pixels of {image}, which has {size[1]} x {size[0]}"
                    )
                yield Entry(image, path, size, self._rows(path, by_image.get(row["id"], []), image, faults))

    def _annotations(self, path: Path, said: Mapping[str, Any], faults: Faults) -> dict[Any, list[dict[str, Any]]]:
        """Annotations by the id of their image."""
        by_image: dict[Any, list[dict[str, Any]]] = {
            row["id"]: [] for row in said["images"] if isinstance(row, dict) and "id" in row
        }
        for number, row in enumerate(said["annotations"], 1):
            with faults.aside():
                image = row.get("image_id") if isinstance(row, dict) else None
                if not isinstance(image, (int, str)) or image not in by_image:
                    raise DataError(f"{path} annotation {number}: is of image {image!r}, which the file does not list")
                by_image[image].append({**row, "place": f"{path} annotation {row.get('id', number)}"})
        return by_image

    def _rows(self, path: Path, said: list[dict[str, Any]], image: Path, faults: Faults) -> list[Row]:
        rows = []
        for row in said:
            with faults.aside():
                place = f"{row['place']} ({image.name})"
                rows.append(_row(row, place, self._index(row.get("category_id"), place)))
        return rows

    def _index(self, number: Any, place: str) -> int:
        assert self.numbers is not None
        if number not in self.numbers:
            raise DataError(f"{place}: has the category {number!r}, which the file does not list")
        return self.numbers.index(number)


def _row(said: Mapping[str, Any], place: str, label: int) -> Row:
    try:
        left, top, width, height = map(float, said["bbox"])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{place}: its bbox is {said.get('bbox')!r}; wanted x, y, width and height") from None
    outline = _outline(said.get("segmentation"), place)
    return Row(place, label, (left, top, left + width, top + height), outline, bool(said.get("iscrowd")))


def _outline(said: Any, place: str) -> Outline | None:
    if not said:
        return None
    if isinstance(said, dict) and {"counts", "size"} <= set(said):
        return said
    try:
        rings = [np.array(ring, dtype=np.float64).reshape(-1, 2) for ring in said]
    except (TypeError, ValueError):
        rings = [np.zeros((0, 2))]
    if any(len(ring) < 3 or not np.isfinite(ring).all() for ring in rings):
        raise DataError(f"{place}: its segmentation is no polygon and no run lengths; wanted x, y of at least 3 points")
    return rings


def _load(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(text_of(path))
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON ({error}); {_WANTED}") from error
    if not isinstance(said, dict) or not all(isinstance(said.get(key), list) for key in _KEYS):
        raise DataError(f"{path}: lacks images, annotations or categories; {_WANTED}")
    return said


def _find_image(path: Path, name: str) -> Path:
    """A file beside the JSON, in images/, or in a folder named as the part, as train2017/."""
    part = path.stem.removeprefix("instances_")
    above = (path.parent, path.parent.parent)
    places = [folder / inside / name for folder in above for inside in (".", "images", part, f"images/{part}")]
    return next((place for place in places if place.is_file()), places[0])


# Finding it


def find_coco(path: Path) -> CocoLayout | None:
    """How a folder, or a JSON file, is laid out; none where not as COCO has it.

    Raises:
        DataError: a JSON file is named and is no COCO file.
    """
    if path.is_file():
        if path.suffix.lower() != ".json":
            return None
        beside = {name: path.with_name(path.name.replace("train", name)) for name in ("val", "test")}
        files = {"train": path, **{name: file for name, file in beside.items() if file != path and file.is_file()}}
        return _of_files(path.parent, files)
    found = _files(path)
    try:
        return _of_files(path, found) if "train" in found else None
    except DataError:
        if any("instances_" in file.name or "coco" in file.name for file in found.values()):
            raise
        return None  # a JSON file about something else


def _files(path: Path) -> dict[str, Path]:
    """The file of each part, by its name or that of its folder; one alone is of the training part."""
    folders = [path, *(entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.name.startswith("."))]
    folders = [folder for folder in folders if folder == path or folder.name == "annotations" or part_of(folder.name)]
    files = [file for folder in folders for file in sorted(folder.glob("*.json"))]
    files = [file for file in files if file.name.startswith("instances_")] or files
    found: dict[str, Path] = {}
    for file in files:
        part = part_of(file.parent.name) or next((name for name in ("train", "val", "test") if name in file.stem), None)
        found.setdefault(part or "", file)
    if "train" not in found and len(files) == 1 and "" in found:
        return {"train": files[0]}
    return {name: found[name] for name in ("train", "val", "test") if name in found}


def _of_files(root: Path, files: dict[str, Path]) -> CocoLayout:
    path = files["train"]
    said = _load(path)
    try:
        rows = sorted(((int(row["id"]), str(row["name"])) for row in said["categories"]), key=lambda row: row[0])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{path}: a category has no id or name; {_WANTED}") from None
    return CocoLayout(root, files, tuple(name for _, name in rows), tuple(number for number, _ in rows))
