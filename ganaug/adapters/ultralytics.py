"""Ultralytics: a YOLO trainer that mixes fresh synthetic scenes in, in memory and anew in each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ganaug.adapters.detectors import DetectorResult, Pasting, refuse_leaks, resolve_pasting, with_pasting
from ganaug.bank import GeneratorBank
from ganaug.data.box_files import BoxFiles, Objects
from ganaug.data.box_yolo import YoloLayout
from ganaug.data.copy_paste import CopyPaste
from ganaug.data.outlines import joined, rings_of
from ganaug.dataset import GanAugmented
from ganaug.errors import BankError, DataError, MissingExtraError, RecipeError
from ganaug.gan.device import resolve_device
from ganaug.grounds import check_filler
from ganaug.ratios import Ratio
from ganaug.recipe import Scenes, Train

try:
    import cv2
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.models import YOLO
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.models.yolo.segment import SegmentationTrainer
    from ultralytics.utils import DEFAULT_CFG, LOGGER
except ImportError as error:
    raise MissingExtraError("ultralytics", "ultralytics") from error

__all__ = [
    "MixedTrainer",
    "SceneDataset",
    "build_model",
    "train",
    "trainer",
]

_TASKS = {"detect": DetectionTrainer, "segment": SegmentationTrainer}


@dataclass(frozen=True)
class Mixing:
    """What a trainer mixes in; plain values only, for it travels to the processes of a distributed training."""

    bank: str
    ratio: Any
    scenes: Mapping[str, Any] | None
    seed: int
    pool_dir: str | None
    check: bool
    copy_paste: float
    fill: str | None


def trainer(
    bank: str | Path,
    *,
    ratio: Ratio = "auto",
    task: str = "detect",
    scenes: Scenes | None = None,
    seed: int = 0,
    pool_dir: str | Path | None = None,
    check: bool = True,
    copy_paste: Pasting = "auto",
    fill: str | Path | None = None,
) -> type[DetectionTrainer]:
    """A trainer class for `YOLO("yolo11n.yaml").train(data="data.yaml", trainer=trainer("cells.ganaug", ratio=0.5))`.

    Synthetic scenes are images like all others: they go through mosaic and the rest, into every epoch others. They are
    made by the workers of the loader, of the training images alone. What mixing works on is a detector's or a
    segmenter's dataset of YOLO files; `cache=` is ignored, for scenes are new each epoch.

    Args:
        bank: file of a bank for detection; processes of a distributed training read it too.
        ratio: as in `GanAugmented`: synthetic scenes for each training image.
        task: "detect" or "segment"; that wants labels with polygons.
        scenes: how they are made; by default as the bank's recipe says.
        seed: decides which scenes there are.
        pool_dir: as in `GanAugmented`.
        check: look at fingerprints: no training image may be held back from the bank's fit, and no validation image
            be among those that it was fitted on.
        copy_paste: share of the training images that more real objects are pasted into, others each epoch; "auto":
            half of them where `ratio` is "auto" and the verdict is of training with that, else none.
        fill: file of a bank that fills holes, as in `GanAugmented`.

    Raises:
        RecipeError: there is no such task, or `copy_paste` is out of range.
        BankError: there is no such bank, or it is not for that.
    """
    if task not in _TASKS:
        raise RecipeError(f"task is {task!r}; give 'detect' or 'segment'")
    if not isinstance(bank, (str, Path)):
        raise BankError(
            f"bank is a {type(bank).__name__}; give the file it is saved in, as other processes read it too"
        )
    path = Path(bank).absolute()
    loaded = GeneratorBank.load(path)
    loaded.check_task("detect", "a YOLO trainer", "give one that was fitted on images with boxes")
    if fill is not None:
        check_filler(GeneratorBank.load(fill))
    mixing = Mixing(
        str(path), ratio, None if scenes is None else scenes.model_dump(), seed,
        None if pool_dir is None else str(Path(pool_dir).absolute()), check, resolve_pasting(copy_paste, ratio, loaded),
        None if fill is None else str(Path(fill).absolute()),
    )  # fmt: skip
    # Ultralytics pickles the class by value for distributed training: the bases are found by name, and this is plain
    return type("MixedTrainer", (MixedTrainer, _TASKS[task]), {"mixing": mixing, "__module__": __name__})


def train(
    data: str | Path,
    bank: str | Path,
    settings: Train,
    out: str | Path,
    *,
    device: str | torch.device = "auto",
    seed: int = 0,
    pool_dir: str | Path | None = None,
    fill: str | Path | None = None,
) -> DetectorResult:
    """Train a YOLO model on images with boxes, mosaic and all, with the bank's scenes mixed in.

    AdamW from `settings.lr`; the last epoch's weights are kept and scored: none is picked by its score. Real objects
    are pasted where `trainer` does so by default.

    Args:
        data: the `data.yaml` of a YOLO set that has a validation part.
        bank: file of the bank that was fitted on its training part.
        settings: the recipe's `train:` section; its model is one of Ultralytics, as yolo11n.yaml, which is trained from
            scratch, or as yolo11n-seg.yaml where labels are polygons.
        out: folder for what Ultralytics writes.
        device: "auto", "cpu", "cuda" or "cuda:i".
        seed: of weights, order and scenes.
        pool_dir: as in `GanAugmented`.
        fill: as in `trainer`.

    Raises:
        RecipeError: Ultralytics has no such model.
        LeakError: the bank was fitted on a validation image, or a training image was held back from it.
        DataError: the data and the bank do not go together.
    """
    model = build_model(settings)
    kind = trainer(bank, ratio=settings.ratio, task=str(model.task), seed=seed, pool_dir=pool_dir, fill=fill)
    goal = Path(out).absolute()
    model.train(
        data=str(Path(data).absolute()), trainer=kind, epochs=settings.epochs, batch=settings.batch,
        imgsz=settings.image_size, workers=settings.workers, optimizer="AdamW", lr0=settings.lr, seed=seed,
        device=str(resolve_device(device)), project=str(goal.parent), name=goal.name, exist_ok=True, verbose=False,
        plots=False,
    )  # fmt: skip
    weights = goal / "weights" / "last.pt"
    scored = YOLO(weights).val(
        data=str(Path(data).absolute()), imgsz=settings.image_size, batch=settings.batch, verbose=False, plots=False,
        device=str(resolve_device(device)), workers=0, project=str(goal.parent), name=goal.name, exist_ok=True,
    ).box  # fmt: skip
    names = [model.names[int(number)] for number in scored.ap_class_index]
    by_class = dict(zip(names, map(float, scored.ap50), strict=True))
    return DetectorResult(weights, float(scored.map50), float(scored.map), by_class)


def build_model(settings: Train) -> YOLO:
    """The untrained model that a recipe names, or one that starts from its weights.

    Raises:
        RecipeError: Ultralytics has no such model, or it is for another task.
    """
    start = settings.weights or settings.model
    try:
        model = YOLO(start)
    except (ValueError, OSError, KeyError) as error:
        said = " ".join(str(error).split())
        raise RecipeError(f"train.model {start} cannot be had ({said}); give one such as yolo11n.yaml") from error
    if model.task not in _TASKS:
        raise RecipeError(f"train.model {start} is for {model.task}; give one for boxes or segments, as yolo11n.yaml")
    return model


class MixedTrainer:
    """What `trainer` adds to a trainer of Ultralytics; a base class before it."""

    mixing: ClassVar[Mixing]

    def __init__(self, cfg: Any = DEFAULT_CFG, overrides: Any = None, _callbacks: Any = None) -> None:
        super().__init__(cfg, overrides, _callbacks)  # type: ignore[call-arg]
        if self.args.rect or self.args.single_cls:  # type: ignore[attr-defined]
            raise RecipeError("rect and single_cls do not go with synthetic scenes; leave them out")
        if self.args.cache:  # type: ignore[attr-defined]
            LOGGER.warning("cache= is ignored: synthetic scenes are new in each epoch")
            self.args.cache = False  # type: ignore[attr-defined]
        if _next_epoch not in self.callbacks["on_train_epoch_start"]:  # type: ignore[attr-defined]
            self.add_callback("on_train_epoch_start", _next_epoch)  # type: ignore[attr-defined]

    def build_dataset(self, img_path: Any, mode: str = "train", batch: int | None = None) -> Any:
        """As the trainer builds it, with slots for synthetic scenes where it is trained on."""
        dataset = super().build_dataset(img_path, mode, batch)  # type: ignore[misc]
        if mode == "train":
            return SceneDataset.over(dataset, lambda: self.mixed(dataset))
        self.check(dataset)
        return dataset

    def mixed(self, dataset: Any) -> GanAugmented | CopyPaste:
        """The files that Ultralytics has read, and scenes."""
        mixing, bank = self.mixing, GeneratorBank.load(self.mixing.bank)
        scenes = None if mixing.scenes is None else Scenes(**mixing.scenes)
        files = _files(dataset.im_files, dataset.labels, dataset.data["names"])
        return GanAugmented(
            with_pasting(files, mixing.copy_paste, bank, scenes, mixing.seed), bank, ratio=mixing.ratio,
            epochs=self.args.epochs,  # type: ignore[attr-defined]
            scenes=scenes, seed=mixing.seed, pool_dir=mixing.pool_dir, check=mixing.check, fill=mixing.fill,
        )  # fmt: skip

    def check(self, dataset: Any) -> None:
        """Refuse validation images that the bank was fitted on."""
        if self.mixing.check:
            refuse_leaks(dataset.im_files, GeneratorBank.load(self.mixing.bank))


def _next_epoch(trainer: Any) -> None:
    """Other scenes; the workers, which have fetched ahead, start anew."""
    loader = trainer.train_loader
    loader.dataset.mixed.set_epoch(trainer.epoch)
    if loader.num_workers:
        loader.reset()


class SceneDataset(YOLODataset):  # type: ignore[misc]
    """A `YOLODataset` with slots for scenes after its own images, each made when it is asked for.

    So are those of its images that real objects are pasted into.
    """

    mixed: GanAugmented | CopyPaste
    """Real image i is image i of the files, and slot j is j here as there."""

    @classmethod
    def over(cls, dataset: Any, mixed: Callable[[], GanAugmented | CopyPaste]) -> SceneDataset:
        """A dataset that Ultralytics has built, which becomes one of these; `mixed` has its images in its order.

        So everything that it was told, in this version of Ultralytics or another, stays as it is.
        """
        if type(dataset) is not YOLODataset:
            raise DataError(f"the training data is a {type(dataset).__name__}; synthetic scenes want YOLO files")
        made: Any = dataset
        made.__class__ = cls
        made._mix(mixed())
        return made  # type: ignore[no-any-return]

    def _mix(self, mixed: GanAugmented | CopyPaste) -> None:
        self.mixed = mixed
        real_images = mixed.dataset if isinstance(mixed, GanAugmented) else mixed
        self._pasting = real_images if isinstance(real_images, CopyPaste) else None
        assert len(self.im_files) == mixed.real_length, "Ultralytics has left images out"
        real, slots = self.mixed.real_length, len(self.mixed) - self.mixed.real_length
        LOGGER.info(f"{self.prefix}{real} real images and {slots} synthetic scenes, new ones each epoch")
        # what is counted before the training, as sizes and classes, is counted of real images in their place
        like = [index % real for index in range(slots)]
        self.labels += [self.labels[index] for index in like]
        self.im_files += [self.im_files[index] for index in like]
        self.npy_files += [self.npy_files[index] for index in like]
        self.ni = len(self.labels)
        for kept in (self.ims, self.im_hw0, self.im_hw):
            kept.extend([None] * slots)
        self.max_buffer_length = min(self.ni, self.batch_size * 8, 1000)
        self._made: dict[int, tuple[int, dict[str, Any]]] = {}

    def get_image_and_label(self, index: int) -> dict[str, Any]:
        """An image with its labels, as the transforms take it."""
        if index < self.mixed.real_length and (self._pasting is None or not self._pasting.is_pasted(index)):
            label: dict[str, Any] = super().get_image_and_label(index)
            return label
        epoch = self.mixed.epoch
        if index not in self._made or self._made[index][0] != epoch:
            self._made[index] = epoch, self._scene(index)
            self._remember(index)
        kept = self._made[index][1]
        return self.update_labels_info(  # type: ignore[no-any-return]
            {key: value.copy() if isinstance(value, (np.ndarray, list)) else value for key, value in kept.items()}
        )

    def _scene(self, index: int) -> dict[str, Any]:
        """What `YOLODataset` has of an image, once read."""
        image, target = self.mixed[index]
        pixels = _bgr(image, self.channels)
        height, width = pixels.shape[:2]
        boxes = np.asarray(target["boxes"], dtype=np.float32) / np.array([width, height] * 2, dtype=np.float32)
        segments = _segments(target, (height, width)) if self.use_segments else []
        longest = max(self.imgsz) if isinstance(self.imgsz, (tuple, list)) else int(self.imgsz)
        scale = longest / max(height, width)
        if scale != 1:
            wide, high = (min(math.ceil(side * scale), longest) for side in (width, height))
            pixels = np.asarray(cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
            pixels = pixels.reshape(high, wide, self.channels)
        return {
            "im_file": self.im_files[index],
            "cls": np.asarray(target["labels"], dtype=np.float32)[:, None],
            "bboxes": np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1),
            "segments": segments,
            "keypoints": None,
            "normalized": True,
            "bbox_format": "xywh",
            "img": pixels,
            "ori_shape": (height, width),
            "resized_shape": pixels.shape[:2],
            "ratio_pad": (pixels.shape[0] / height, pixels.shape[1] / width),
        }

    def _remember(self, index: int) -> None:
        """Let mosaics take it as a neighbour, as they take images that were lately read, and let the oldest go."""
        self.buffer.append(index)
        if 1 < len(self.buffer) >= self.max_buffer_length:
            oldest = self.buffer.pop(0)
            self.ims[oldest] = self.im_hw0[oldest] = self.im_hw[oldest] = None
        for gone in set(self._made) - {*self.buffer, index}:
            del self._made[gone]


def _files(paths: list[str], labels: list[dict[str, Any]], names: Mapping[int, str]) -> BoxFiles:
    """Images and labels as Ultralytics has read them, checked and filtered."""
    classes = tuple(str(names[number]) for number in sorted(names))
    files, objects = [Path(path) for path in paths], []
    for label in labels:
        height, width = label["shape"]
        numbers, size = label["cls"][:, 0].astype(np.int64), np.array([width, height], dtype=np.float32)
        centres, spans = label["bboxes"][:, :2] * size, label["bboxes"][:, 2:] * size
        boxes = np.concatenate([centres - spans / 2, centres + spans / 2], axis=1)
        boxes = np.clip(boxes, 0, np.concatenate([size, size])).astype(np.float32)
        seen = (boxes[:, 2:] - boxes[:, :2] > 0).all(1)
        shapes = label["segments"] if len(label["segments"]) == len(numbers) else [None] * len(numbers)
        outlines = tuple(
            None if shape is None else [np.asarray(shape, dtype=np.float64) * size]
            for shape, there in zip(shapes, seen, strict=True)
            if there
        )
        objects.append(Objects((height, width), boxes[seen], numbers[seen], np.zeros(int(seen.sum()), bool), outlines))
    layout = YoloLayout(files[0].parent, {"train": sorted({path.parent for path in files})}, classes)
    return BoxFiles(layout, "train", classes, files, files, objects)


def _bgr(image: Image.Image, channels: int) -> npt.NDArray[np.uint8]:
    """(H, W, channels) uint8, as OpenCV reads it."""
    if channels == 1:
        return np.asarray(image.convert("L"))[:, :, None]
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def _segments(target: Mapping[str, Any], size: tuple[int, int]) -> list[npt.NDArray[np.float32]]:
    """A polygon (k, 2) of each object, in 0..1; its box where there is no mask, or none large enough."""
    boxes = np.asarray(target["boxes"], dtype=np.float64)
    masks = target.get("masks")
    found = []
    for row, (left, top, right, bottom) in enumerate(boxes):
        rings = rings_of(np.asarray(masks[row]).astype(bool)) if masks is not None else []
        ring = joined(rings) if rings else np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        found.append((ring / (size[1], size[0])).astype(np.float32))
    return found
