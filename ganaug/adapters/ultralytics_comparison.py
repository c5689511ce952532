"""Ultralytics in a comparison: a YOLO model trained from scratch on a set of files or a mixed one, and its score."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from torch.utils.data import ConcatDataset

from ganaug.adapters.ultralytics import MixedTrainer, build_model
from ganaug.data.box_files import BoxFiles
from ganaug.data.box_texts import yolo_rows
from ganaug.data.copy_paste import CopyPaste
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, MissingExtraError, RecipeError
from ganaug.recipe import Train

try:
    from ultralytics.models import YOLO
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.utils import LOGGER
except ImportError as error:
    raise MissingExtraError("ultralytics", "ultralytics") from error

__all__ = ["HeldTrainer", "YoloTraining"]


class HeldTrainer(MixedTrainer, DetectionTrainer):
    """A trainer of a mixed set that is there already, for one process."""

    held: ClassVar[GanAugmented | CopyPaste]

    def mixed(self, dataset: Any) -> GanAugmented | CopyPaste:
        """What it was given."""
        return self.held

    def check(self, dataset: Any) -> None:
        """The comparison has seen to it."""


@dataclass(frozen=True)
class YoloTraining:
    """Trains a YOLO model from scratch and scores it: `train_and_score` of a comparison.

    Sets are `Subset`s of `BoxFiles`, several of these one after another, `CopyPaste` around one, or `GanAugmented`
    around one of them. The steps are
    the same whatever the number of images, to half an epoch; warm-up and the epochs without mosaic are shares of them.
    """

    model: str
    """One of Ultralytics for boxes, as yolo11n.yaml."""
    steps: int
    """Of the optimiser."""
    batch: int
    size: int
    """Side that images are brought to."""
    lr: float
    device: str

    def check(self) -> None:
        """Raises RecipeError where Ultralytics has no such model for boxes."""
        if build_model(Train(model=self.model)).task != "detect":
            raise RecipeError(f"compare.model {self.model} is not for boxes; give one such as yolo11n.yaml")

    def __call__(self, train: Any, score: Any, seed: int) -> dict[str, Any]:
        """mAP50 in 0..1 of the last epoch's weights on `score`, average precision of each class there, and mAP50-95."""
        return self.score_all(train, {"score": score}, seed)["score"]

    def score_all(self, train: Any, scored: Mapping[str, Any], seed: int) -> dict[str, dict[str, Any]]:
        """The same of each of `scored`, by its name, after one training."""
        real = train
        while isinstance(real, (GanAugmented, CopyPaste)):
            real = real.dataset
        with tempfile.TemporaryDirectory() as folder, _quiet():
            names = next(_placed(real))[0].classes
            for part, images in {"train": real, **scored}.items():
                _write_yolo(images, Path(folder) / "images" / part)
            files = {part: _described(Path(folder), part, names) for part in scored}
            kind: Any = DetectionTrainer
            if isinstance(train, (GanAugmented, CopyPaste)):
                kind = type("HeldTrainer", (HeldTrainer,), {"held": train, "__module__": __name__})
            epochs = max(1, round(self.steps * self.batch / len(train)))
            run: dict[str, Any] = {
                "imgsz": self.size, "batch": self.batch, "device": self.device, "workers": 0, "plots": False,
                "verbose": False, "project": folder, "exist_ok": True,
                "amp": False,  # whether it works is asked of a model that would be downloaded
            }  # fmt: skip
            model = build_model(Train(model=self.model))
            model.train(
                trainer=kind, epochs=epochs, optimizer="AdamW", lr0=self.lr, nbs=self.batch, seed=seed, val=False,
                warmup_epochs=0.1 * epochs, close_mosaic=round(0.15 * epochs), name="run",
                data=str(next(iter(files.values()))), **run,
            )  # fmt: skip
            trained = YOLO(Path(folder) / "run" / "weights" / "last.pt")
            found = {part: trained.val(name="scored", data=str(file), **run).box for part, file in files.items()}
        return {part: _told(boxes, names) for part, boxes in found.items()}


def _described(folder: Path, part: str, names: Sequence[str]) -> Path:
    """A `data.yaml` whose validation images are those of a part."""
    told = {"path": str(folder), "train": "images/train", "val": f"images/{part}", "names": dict(enumerate(names))}
    file = folder / f"{part}.yaml"
    file.write_text(yaml.safe_dump(told))
    return file


def _told(boxes: Any, names: Sequence[str]) -> dict[str, Any]:
    """What a comparison is told of what Ultralytics has found."""
    by_class = {names[int(number)]: float(one) for number, one in zip(boxes.ap_class_index, boxes.ap50, strict=True)}
    return {"score": float(boxes.map50), "per_class": by_class, "also": {"mAP50-95": float(boxes.map)}}


@contextmanager
def _quiet() -> Iterator[None]:
    """Ultralytics says nothing but what is wrong: a comparison has many trainings, and a bar of its own."""
    before = LOGGER.level
    LOGGER.setLevel(logging.ERROR)
    try:
        yield
    finally:
        LOGGER.setLevel(before)


def _placed(dataset: Any) -> Iterator[tuple[BoxFiles, int]]:
    """The files that a dataset is of, and the place of each image in them."""
    if isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from _placed(part)
        return
    files, places = dataset.dataset, dataset.indices
    if not isinstance(files, BoxFiles):
        raise DataError(f"the images are of a {type(files).__name__}; a YOLO model is trained from files: give a path")
    yield from ((files, place) for place in places)


def _write_yolo(dataset: Any, folder: Path) -> None:
    """Images and rows of boxes, by names that sort as the dataset has them."""
    labels = folder.parents[1] / "labels" / folder.name
    folder.mkdir(parents=True)
    labels.mkdir(parents=True)
    for number, (files, place) in enumerate(_placed(dataset)):
        said, path = files.objects[place], files.paths[place]
        (folder / f"{number:06d}{path.suffix}").symlink_to(path.absolute())
        (labels / f"{number:06d}.txt").write_text(
            "\n".join(yolo_rows(files.checked(place), said.size, polygons=False)) + "\n"
        )
