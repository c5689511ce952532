"""Images with boxes or polygons as YOLO has them: a text file for each image, and data.yaml.

data.yaml            path, train, val, test; names as a list or by number
images/train/1.jpg   labels/train/1.txt       the last folder named images becomes labels
train/images/1.jpg   train/labels/1.txt       with or without data.yaml; then classes.txt may name the classes
1.jpg  1.txt                                  side by side

A row is `class x y w h`, the box's centre and size, or `class x1 y1 x2 y2 x3 y3 ...`; all are shares of width and
height.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ganaug.data.box_rows import BoxLayout, Entry, Faults, Row, part_of, text_of, upright_size
from ganaug.data.mask_files import image_files
from ganaug.errors import DataError

__all__ = ["YoloLayout", "find_yolo", "label_file"]

_NAMES = ("classes.txt", "obj.names", "names.txt", "labels.txt")
_ABSOLUTE = 1.5  # above which no share has merely been rounded
_ROW = "wanted `class x y w h` or `class x1 y1 x2 y2 x3 y3 ...`"


@dataclass
class YoloLayout(BoxLayout):
    """Where the images of each part are, and what the numbers mean."""

    root: Path
    sources: dict[str, list[Path]]
    """Folders, or text files that list images, of each part."""
    names: tuple[str, ...] | None = None
    keypoints: int = 0
    form: str = field(default="yolo", init=False)

    @property
    def parts(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those that have a source."""
        return tuple(self.sources)

    def images(self, part: str) -> list[Path]:
        """Paths of a part's images, whether there or not."""
        return [image for source in self.sources[part] for image in _images_of(source)]

    def entries(self, part: str, faults: Faults) -> Iterator[Entry]:
        """Every image; one without a label file has no objects."""
        images = self.images(part)
        if not images:
            raise DataError(f"{self.sources[part][0]}: holds no images; look at train: in data.yaml")
        labels = {label_file(image): image for image in images}
        if not any(map(Path.is_file, labels)):
            raise DataError(
                f"{next(iter(labels)).parent}: holds no label file of the {len(images)} images in {images[0].parent}; "
                "wanted a text file of the same stem for each image that has objects"
            )
        for label, image in labels.items():
            with faults.aside():
                size = upright_size(image)
                rows = self._rows(label, size, faults) if label.is_file() else []
                yield Entry(image, label, size, rows)
        for label in self._alone(part, labels):
            faults.found(f"{label}: is a label file without an image")

    def _rows(self, path: Path, size: tuple[int, int], faults: Faults) -> list[Row]:
        lines = [(number, line.split()) for number, line in enumerate(text_of(path).splitlines(), 1) if line.strip()]
        boxes = [number for number, parts in lines if len(parts) == 5]
        polygons = [number for number, parts in lines if _is_polygon(parts)]
        if boxes and polygons and not self.keypoints:
            raise DataError(
                f"{path} row {boxes[0]}: is a box, and row {polygons[0]} a polygon; wanted one kind in a file"
            )
        rows = []
        for number, parts in lines:
            with faults.aside():
                rows.append(_row(parts, size, self.keypoints, f"{path} row {number}"))
        return rows

    def _alone(self, part: str, labels: Mapping[Path, Path]) -> list[Path]:
        """Label files that no image goes with, in folders that hold labels of this part alone."""
        if any(source.is_file() for source in self.sources[part]):
            return []  # a list of images, which may leave some out
        folders = {label.parent for label, image in labels.items() if label.parent != image.parent}
        files = [path for folder in folders if folder.is_dir() for path in folder.glob("*.txt")]
        return sorted(path for path in files if path not in labels and path.name not in _NAMES and path.name[0] != ".")


def label_file(image: Path) -> Path:
    """Where the rows of an image are, as ultralytics has it."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _is_polygon(parts: list[str]) -> bool:
    return len(parts) >= 7 and len(parts) % 2 == 1


def _row(parts: list[str], size: tuple[int, int], keypoints: int, place: str) -> Row:
    if keypoints and len(parts) == 5 + keypoints:
        parts = parts[:5]
    if len(parts) != 5 and not _is_polygon(parts):
        raise DataError(f"{place}: has {len(parts)} values; {_ROW}")
    try:
        label, *values = map(float, parts)
    except ValueError:
        raise DataError(f"{place}: {' '.join(parts)[:60]!r} are not all numbers; {_ROW}") from None
    if label != int(label if np.isfinite(label) else -1) or label < 0:
        raise DataError(f"{place}: has the class {parts[0]}; wanted a whole number, 0 or more")
    if max(values) > _ABSOLUTE:
        raise DataError(
            f"{place}: has coordinates up to {max(values):g}, in pixels; wanted shares of width and height, 0 to 1"
        )
    scale = np.array([size[1], size[0]], dtype=np.float64)
    points = np.array(values, dtype=np.float64).reshape(-1, 2) * scale
    if len(parts) == 5:
        lows, highs, outline = points[0] - points[1] / 2, points[0] + points[1] / 2, None
    else:
        lows, highs, outline = points.min(axis=0), points.max(axis=0), [np.clip(points, 0, scale)]
    return Row(place, int(label), (float(lows[0]), float(lows[1]), float(highs[0]), float(highs[1])), outline)


def _images_of(source: Path) -> list[Path]:
    """Images of a folder, or those that a text file lists, as ultralytics reads it."""
    if not source.is_file():
        return image_files(source) if source.is_dir() else []
    lines = [line.strip() for line in text_of(source).splitlines() if line.strip()]
    return [source.parent / line[2:] if line.startswith("./") else Path(line) for line in lines]


# Finding it


def find_yolo(path: Path) -> YoloLayout | None:
    """How a folder, or a data.yaml, is laid out; none where not as YOLO has it.

    Raises:
        DataError: there is a data.yaml that is not as wanted.
    """
    if path.is_file():
        return _of_yaml(path) if path.suffix.lower() in {".yaml", ".yml"} else None
    described = path / "data.yaml"
    if not described.is_file():
        described = next((file for file in sorted(path.glob("*.y*ml")) if _describes(file)), described)
    if described.is_file():
        return _of_yaml(described)
    folders = _folders(path)
    if not any(map(_is_labelled, _images_of(folders["train"]))):
        return None
    return YoloLayout(path, {name: [folder] for name, folder in folders.items()}, _listed_names(path))


def _folders(path: Path) -> dict[str, Path]:
    """The folder of images of each part, where no data.yaml says."""
    images = path / "images"
    within = {part_of(entry.name): entry for entry in sorted(images.iterdir())} if images.is_dir() else {}
    beside = {part_of(entry.name): entry for entry in sorted(path.iterdir()) if entry.is_dir()}
    if "train" in within:
        found = within
    elif "train" in beside:
        found = {name: entry / "images" if (entry / "images").is_dir() else entry for name, entry in beside.items()}
    else:
        found = {"train": images if images.is_dir() else path}
    return {name: found[name] for name in ("train", "val", "test") if name in found}


def _is_labelled(image: Path) -> bool:
    """Whether there is a text file for it whose first row is one of numbers, and no caption."""
    try:
        rows = text_of(label_file(image)).split("\n", 1)[0].split()
        return len(rows) >= 5 and bool([float(value) for value in rows])
    except (DataError, ValueError):
        return False


def _listed_names(path: Path) -> tuple[str, ...] | None:
    places = [path, path / "labels", path / "train", path / "labels" / "train"]
    for file in (place / name for place in places for name in _NAMES):
        if file.is_file():
            return tuple(line.strip() for line in text_of(file).splitlines() if line.strip())
    above = path.parent / "data.yaml"  # where a part alone is given
    return _of_yaml(above).names if _describes(above) else None


def _describes(path: Path) -> bool:
    try:
        said = yaml.safe_load(text_of(path))
    except (DataError, yaml.YAMLError):
        return False
    return isinstance(said, dict) and "train" in said and ("names" in said or "nc" in said)


def _of_yaml(path: Path) -> YoloLayout:
    try:
        said = yaml.safe_load(text_of(path))
    except yaml.YAMLError as error:
        raise DataError(f"{path}: is not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(said, dict) or not said.get("train"):
        raise DataError(f"{path}: says no train:; wanted the folder of the training images there")
    said = {part_of(str(key)) or key: value for key, value in said.items()}
    sources = {name: _sources(path, said, name) for name in ("train", "val", "test") if said.get(name)}
    for source in sources["train"]:
        if not source.exists():
            raise DataError(f"{path}: train: is {source}, which does not exist; mend train: or path:")
    sources = {name: places for name, places in sources.items() if any(place.exists() for place in places)}
    return YoloLayout(path.parent, sources, _names(path, said), _keypoints(said))


def _sources(path: Path, said: Mapping[str, Any], name: str) -> list[Path]:
    """Each place that `name` says: below `path`, which is itself beside the file, or below the working folder."""
    places = said[name] if isinstance(said[name], list) else [said[name]]
    root = Path(str(said.get("path") or "."))
    bases = [path.parent / root, root, path.parent]
    return [_first_there(bases, str(place)) for place in places]


def _first_there(bases: list[Path], place: str) -> Path:
    # "../train/images" is how Roboflow says train/images
    tried = [base / text for base in bases for text in (place, place.removeprefix("../"))]
    return next((one for one in tried if one.exists()), tried[0])


def _names(path: Path, said: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = said.get("names")
    if isinstance(names, list):
        return tuple(map(str, names))
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(
                f"{path}: names: numbers its classes {', '.join(map(str, list(names)[:8]))}; wanted 0, 1, 2 and on"
            )
        return tuple(str(names[number]) for number in range(len(names)))
    if isinstance(said.get("nc"), int):
        return tuple(f"class_{number}" for number in range(said["nc"]))
    raise DataError(f"{path}: says no names:; wanted the names of the classes there")


def _keypoints(said: Mapping[str, Any]) -> int:
    shape = said.get("kpt_shape")
    return int(np.prod(shape)) if isinstance(shape, list) and all(isinstance(side, int) for side in shape) else 0
