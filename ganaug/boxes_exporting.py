"""Images with boxes on disk: the user's own, and scenes with generated objects in a folder of their own.

yolo    images/train, images/synthetic, labels/..., data.yaml, whose train: is a list of both folders
coco    images/train, images/synthetic, annotations/instances_train.json of both
voc     JPEGImages/, JPEGImages/synthetic/, Annotations/..., ImageSets/Main/train.txt of both, classes.txt
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from PIL import Image

from ganaug.bank import GeneratorBank
from ganaug.data.box_files import BoxFiles, list_boxes, read_part
from ganaug.data.box_texts import coco_rows, voc_xml, yolo_rows
from ganaug.data.box_values import Target, checked_target
from ganaug.dataset import GanAugmented
from ganaug.errors import RecipeError
from ganaug.exporting import ExportSummary, Link, Writer, built_beside, check_goal

__all__ = ["BoxFormat", "export_boxes"]

BoxFormat = Literal["yolo", "coco", "voc"]
_SYNTHETIC = "synthetic"  # folder of the scenes
_PLAIN = {"L", "RGB"}  # modes that every format takes


def export_boxes(
    bank: GeneratorBank,
    data: str | Path,
    out: str | Path,
    *,
    format: BoxFormat = "yolo",
    ratio: float = 0.5,
    fill: GeneratorBank | str | Path | None = None,
    seed: int = 0,
    link: Link = "auto",
    on_bad: Literal["stop", "skip"] = "stop",
    exist_ok: bool = False,
) -> ExportSummary:
    """Write the images of `data` with scenes beside them, and `ganaug.csv`, which says which is which.

    The user's images and, where they have this format already, their labels are as they were; validation and test parts
    come along without a scene. Scenes are those of `GanAugmented(list_boxes(data), bank, ratio)`: the user's own images
    with generated objects in them. Objects have polygons where every real one has.

    Args:
        bank: fitted on the same images.
        data: images with boxes, as `fit` reads them; not changed.
        out: the folder to make.
        format: "yolo", "coco" or "voc", whatever that of `data` is.
        ratio: scenes for each real image, 0 to 1000.
        fill: a bank that fills holes, as in `GanAugmented`.
        seed: of the scenes.
        link: how real images get there, as for `export`.
        on_bad: "skip" leaves out rows and files that cannot be used, and warns of their number.
        exist_ok: write into `out` though it holds something.

    Raises:
        OutputError: `out` holds something, overlaps the data, or cannot be written.
        DataError: the data cannot be read.
        LeakError: an image was held back from the bank's fit.
        RecipeError: the ratio or the format is out of range.
        BankError: the bank is not for detection, or the other fills no holes.
    """
    bank.check_task("detect", "an export of boxes", "leave --format out, or give --format masks")
    if not (math.isfinite(ratio) and 0 <= ratio <= 1000):
        raise RecipeError(f"ratio is {ratio}; wanted scenes for each real image, 0 to 1000")
    if format not in _SETS:
        raise RecipeError(f"format is {format!r}; choose from: {', '.join(_SETS)}")
    files = list_boxes(data, on_bad=on_bad)
    others = {part: read_part(files.layout, part, on_bad) for part in files.layout.parts if part != "train"}
    others = {part: of_part for part, of_part in others.items() if len(of_part)}
    goal = Path(out).expanduser().resolve()
    check_goal(goal, files.root.resolve(), files.paths, exist_ok)
    with built_beside(goal) as building:
        pool = building / ".pool"
        mixed = GanAugmented(files, bank, ratio=ratio, seed=seed, fill=fill, pool_dir=pool, pool_factor=1)
        made = _SETS[format](Writer(building, link), files, list(others.values()))
        for part, of_part in {"train": files, **others}.items():
            for index in range(len(of_part)):
                made.real(of_part, index, part)
        scenes = mixed.synthetic_indices().tolist()
        prefix = f"ganaug-{seed}-"
        for number, index in enumerate(scenes):
            image, target = mixed[index]
            made.scene(image, target, f"{prefix}{number:06d}")
        made.finish()
        shutil.rmtree(pool, ignore_errors=True)
    apart = {part: len(of_part) for part, of_part in others.items()}
    return ExportSummary(goal, len(files), len(scenes), apart)


class _Set(ABC):
    """A set that is being written."""

    suffix = ".png"
    """Of scenes."""

    def __init__(self, writer: Writer, files: BoxFiles, others: Sequence[BoxFiles]) -> None:
        self._writer, self._form = writer, files.layout.form
        said = itertools.chain(files.classes, *(other.classes for other in others))
        self._names = tuple(dict.fromkeys(said))  # classes of a validation part alone come last
        self._numbers = files.layout.numbers or tuple(range(1, len(self._names) + 1))
        self._masks = files.has_masks
        shaped = (outline is not None for one in files.objects for outline in one.outlines)
        self._as_one = self._masks or not any(shaped)  # some polygons among boxes: all become boxes
        self._stems: set[str] = set()
        self._scenes = 0

    def real(self, files: BoxFiles, index: int, part: str) -> None:
        """Put an image of the user's in place, with its labels."""
        target = files.checked(index)
        places = np.array([self._names.index(name) for name in files.classes], dtype=np.int64)
        target = dataclasses.replace(target, labels=places[target.labels])
        source = files.paths[index]
        place = self._writer.real(source, self._free(self._folder(part), source), copied=self._is_mended(source))
        told = files.said_in[index] if self._is_kept(files, index) else None
        label = self._label(place, files.objects[index].size, target, part, told)
        if part == "train":
            self._writer.note(place, label.as_posix(), "real")

    def scene(self, image: Image.Image, target: Any, stem: str) -> None:
        """Write a scene, with its labels."""
        size = image.height, image.width
        place = self._free(self._folder(_SYNTHETIC), Path(f"{stem}{self.suffix}"))
        file = self._writer.root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        image = image if image.mode in _PLAIN else image.convert("RGB")
        image.save(file, quality=95, compress_level=1)  # of a JPEG and of a PNG
        checked = checked_target(target, size, self._names, stem)
        label = self._label(place, size, checked, _SYNTHETIC, None)
        self._writer.note(place, label.as_posix(), "synthetic")
        self._scenes += 1

    def _free(self, folder: Path, source: Path) -> Path:
        """A place that shares its stem, by which labels are found, with no other."""
        for number in itertools.count(1):
            stem = source.stem if number == 1 else f"{source.stem}-{number}"
            key = (folder / stem).as_posix().casefold()
            if key not in self._stems:
                self._stems.add(key)
                return folder / f"{stem}{source.suffix}"
        raise AssertionError("unreachable")

    def _write(self, place: Path, text: str) -> Path:
        (self._writer.root / place).parent.mkdir(parents=True, exist_ok=True)
        (self._writer.root / place).write_text(text, "utf-8", newline="")
        return place

    def _copy(self, source: Path, place: Path) -> Path:
        (self._writer.root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, self._writer.root / place)
        return place

    def _is_kept(self, files: BoxFiles, index: int) -> bool:
        """Whether the label file of a real image can be as it was."""
        return self._as_one and files.layout.form == self.form and not files.skipped and files.said_in[index].is_file()

    def _is_mended(self, image: Path) -> bool:
        """Whether a program that trains on the set will write to this file, and would to the user's through a link."""
        return False

    form: str

    @abstractmethod
    def _folder(self, part: str) -> Path:
        """The folder of a part's images."""

    @abstractmethod
    def _label(self, place: Path, size: tuple[int, int], target: Target, part: str, kept: Path | None) -> Path:
        """Write the labels of the image at `place`, those in the file `kept` as they are; returns where they are."""

    def finish(self) -> None:
        """Write what is said of the set as a whole."""
        self._writer.write_list()


class _YoloSet(_Set):
    form = "yolo"

    def _folder(self, part: str) -> Path:
        return Path("images") / part

    def _label(self, place: Path, size: tuple[int, int], target: Target, part: str, kept: Path | None) -> Path:
        goal = Path("labels") / part / f"{place.stem}.txt"
        if kept is not None:
            return self._copy(kept, goal)
        rows = yolo_rows(target, size, polygons=self._masks and target.masks is not None)
        return self._write(goal, "".join(f"{row}\n" for row in rows))

    def _is_kept(self, files: BoxFiles, index: int) -> bool:
        if not super()._is_kept(files, index) or files.layout.keypoints:
            return False
        rows = [line for line in files.said_in[index].read_text("utf-8-sig").splitlines() if line.strip()]
        return len(set(rows)) == len(rows)  # a row that is there twice draws a warning of ultralytics

    def _is_mended(self, image: Path) -> bool:
        # ultralytics saves a JPEG anew, in its place, that has no end mark, or something after it
        if image.suffix.lower() not in {".jpg", ".jpeg"}:
            return False
        with image.open("rb") as file:
            file.seek(max(0, image.stat().st_size - 2))
            return file.read() != b"\xff\xd9"

    def finish(self) -> None:
        """The list, and data.yaml; without `path`, so that the folder can be moved."""
        there = [part for part in ("val", "test") if (self._writer.root / "images" / part).is_dir()]
        if "val" not in there:
            told = "there is no val part, which YOLO wants: val: in data.yaml is the real training images"
            warnings.warn(told, stacklevel=3)
        folders = {part: f"images/{part}" for part in there}
        train = ["images/train", *([f"images/{_SYNTHETIC}"] if self._scenes else [])]
        said = {"train": train, "val": "images/train", **folders, "names": dict(enumerate(self._names))}
        self._write(Path("data.yaml"), yaml.safe_dump(said, sort_keys=False, allow_unicode=True))
        super().finish()


class _VocSet(_Set):
    form, suffix = "voc", ".jpg"  # which many readers of this format take alone

    def __init__(self, writer: Writer, files: BoxFiles, others: Sequence[BoxFiles]) -> None:
        super().__init__(writer, files, others)
        self._listed: dict[str, list[str]] = {"train": []}

    def _folder(self, part: str) -> Path:
        return Path("JPEGImages") / (_SYNTHETIC if part == _SYNTHETIC else "")

    def _label(self, place: Path, size: tuple[int, int], target: Target, part: str, kept: Path | None) -> Path:
        stem = place.relative_to("JPEGImages").with_suffix("")
        self._listed.setdefault("train" if part == _SYNTHETIC else part, []).append(stem.as_posix())
        goal = Path("Annotations") / f"{stem}.xml"
        if kept is not None:
            return self._copy(kept, goal)
        return self._write(goal, voc_xml(target, size, place.name, self._names))

    def finish(self) -> None:
        """The list, the lists of ImageSets, and the names, in their order."""
        self._write(Path("classes.txt"), "".join(f"{name}\n" for name in self._names))
        for part, stems in self._listed.items():
            self._write(Path("ImageSets/Main") / f"{part}.txt", "".join(f"{stem}\n" for stem in stems))
        super().finish()


class _CocoSet(_Set):
    form = "coco"

    def __init__(self, writer: Writer, files: BoxFiles, others: Sequence[BoxFiles]) -> None:
        super().__init__(writer, files, others)
        self._said: dict[str, tuple[list[Any], list[Any]]] = {}

    def _folder(self, part: str) -> Path:
        return Path("images") / part

    def _label(self, place: Path, size: tuple[int, int], target: Target, part: str, kept: Path | None) -> Path:
        part = "train" if part == _SYNTHETIC else part
        images, rows = self._said.setdefault(part, ([], []))
        name = place.relative_to("images").as_posix()
        images.append({"id": len(images) + 1, "file_name": name, "width": size[1], "height": size[0]})
        rows += coco_rows(target, len(images), self._numbers, len(rows) + 1)
        return Path("annotations") / f"instances_{part}.json"

    def finish(self) -> None:
        """The list, and the JSON file of each part."""
        names = zip(self._numbers, self._names, strict=True)
        categories = [{"id": number, "name": name} for number, name in names]
        for part, (images, rows) in self._said.items():
            said = {"images": images, "annotations": rows, "categories": categories}
            self._write(Path("annotations") / f"instances_{part}.json", json.dumps(said, ensure_ascii=False))
        super().finish()


_SETS: dict[str, type[_Set]] = {one.form: one for one in (_YoloSet, _CocoSet, _VocSet)}
