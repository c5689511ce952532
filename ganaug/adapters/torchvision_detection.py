"""A torchvision detector trained on the mixed set, and its average precision; no Ultralytics is needed for it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.adapters.detectors import DetectorResult, refuse_leaks, resolve_pasting, with_pasting
from ganaug.adapters.torchvision_models import save_weights
from ganaug.bank import GeneratorBank
from ganaug.data.box_files import BoxFiles, list_boxes
from ganaug.data.copy_paste import CopyPaste
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, MissingExtraError, RecipeError, TrainingError, did_you_mean
from ganaug.gan.device import resolve_device
from ganaug.gan.seeding import seeded
from ganaug.output import make_folder
from ganaug.recipe import Train

__all__ = ["DetectorTraining", "average_precision", "build_detector", "check_measure", "train"]

Say = Callable[[str], None]
_SIDED = ("fasterrcnn", "maskrcnn", "retinanet", "fcos")  # whose images may be of any size
_WARM_UP = 0.1  # of the steps
_CLIPPED = 5.0  # norm of a gradient, at the most: boxes that are far off, early on, give large ones


def train(
    data: str | Path,
    bank: str | Path | GeneratorBank,
    settings: Train,
    out: str | Path,
    *,
    device: str | torch.device = "auto",
    seed: int = 0,
    pool_dir: str | Path | None = None,
    fill: str | Path | None = None,
    report: Say | None = None,
) -> DetectorResult:
    """Train a detector of torchvision on images with boxes, with the bank's scenes mixed in.

    AdamW, a warm-up and a cosine; images are zoomed out, cropped, mirrored and recoloured, as torchvision's references
    train an SSD. The last epoch's weights are kept and scored: none is picked by its score. Where `settings.ratio` is
    "auto" and the bank's verdict is of training with copy-paste, real objects are pasted into half of the real images.

    Args:
        data: a YOLO, Pascal VOC or COCO set that has a validation part.
        bank: fitted on its training part, or its file.
        settings: the recipe's `train:` section; its model is one of `torchvision.models.detection`.
        out: folder for `detector.safetensors`.
        device: "auto", "cpu", "cuda" or "cuda:i".
        seed: of weights, order and scenes.
        pool_dir: as in `GanAugmented`.
        fill: as in `GanAugmented`.
        report: is given a line for each epoch.

    Raises:
        RecipeError: torchvision has no such model or weights.
        LeakError: the bank was fitted on a validation image, or a training image was held back from it.
        DataError: the data and the bank do not go together.
        MissingExtraError: pycocotools is not installed.
    """
    check_measure()
    loaded = bank if isinstance(bank, GeneratorBank) else GeneratorBank.load(bank)
    real, held = list_boxes(data), list_boxes(data, part="val")
    refuse_leaks(held.paths, loaded)
    where, say = resolve_device(device), report or (lambda _: None)
    with seeded(seed, where):
        model = build_detector(settings.model, settings.weights, len(real.classes), settings.image_size).to(where)
        pasted = with_pasting(real, resolve_pasting("auto", settings.ratio, loaded), loaded, None, seed)
        mixed = GanAugmented(
            pasted, loaded, ratio=settings.ratio, epochs=settings.epochs, seed=seed, pool_dir=pool_dir, fill=fill
        )
        steps = settings.epochs * math.ceil(len(mixed) / settings.batch)
        _fit(model, mixed, steps, settings.batch, settings.lr, seed, where, say, workers=settings.workers)
    found = average_precision(model, held, real.classes, where)
    weights = make_folder(Path(out)) / "detector.safetensors"
    save_weights(model, weights, {"model": settings.model, "classes": list(real.classes), "size": settings.image_size})
    return DetectorResult(weights, found["score"], found["also"]["mAP50-95"], found["per_class"])


@dataclass(frozen=True)
class DetectorTraining:
    """Trains a detector of torchvision from scratch and scores it: `train_and_score` of a comparison."""

    model: str
    """One of `torchvision.models.detection`."""
    steps: int
    """Of the optimiser, whatever the number of images."""
    batch: int
    size: int
    """Shorter side that images are brought to; an SSD has one of its own."""
    lr: float
    device: str

    def check(self) -> None:
        """Raises what would stop a training: RecipeError, or MissingExtraError without pycocotools."""
        check_measure()
        build_detector(self.model, None, 1, self.size, section="compare")

    def __call__(self, train: Any, score: Any, seed: int) -> dict[str, Any]:
        """mAP50 in 0..1 of the last weights on `score`, average precision of each class there, and mAP50-95."""
        return self.score_all(train, {"score": score}, seed)["score"]

    def score_all(self, train: Any, scored: Mapping[str, Any], seed: int) -> dict[str, dict[str, Any]]:
        """The same of each of `scored`, by its name, after one training."""
        classes, where = _classes(train), torch.device(self.device)
        with seeded(seed, where):
            model = build_detector(self.model, None, len(classes), self.size, section="compare").to(where)
            _fit(model, train, self.steps, self.batch, self.lr, seed, where, lambda _: None)
        return {name: average_precision(model, images, classes, where) for name, images in scored.items()}


def build_detector(name: str, weights: str | None, classes: int, size: int, *, section: str = "train") -> nn.Module:
    """A detector of torchvision for `classes` classes; its label 0 is for what is none of them.

    Args:
        name: one of `torchvision.models.detection`, as fasterrcnn_mobilenet_v3_large_320_fpn.
        weights: a torchvision weights name for its backbone (a download), as IMAGENET1K_V1; None for a random start.
        classes: how many there are.
        size: shorter side that images are brought to, in pixels; an SSD has one of its own.
        section: of the recipe that they come from, for messages.

    Raises:
        RecipeError: there is no such model, or its weights cannot be had.
    """
    known = [
        one for one in torchvision.models.list_models(module=torchvision.models.detection) if "keypoint" not in one
    ]
    if name not in known:
        raise RecipeError(
            f"{section}.model is {name!r}, which torchvision has no detector of{did_you_mean(name, known)}; one of "
            "Ultralytics ends in .yaml"
        )
    sides = {"min_size": size, "max_size": 2 * size} if name.startswith(_SIDED) else {}
    try:
        model: nn.Module = torchvision.models.get_model(
            name, weights=None, weights_backbone=weights, num_classes=classes + 1, **sides
        )
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        said = " ".join(str(error).split())
        raise RecipeError(f"{section}.weights {weights} of {name} cannot be had ({said}); set it to null") from error
    return model


def average_precision(model: nn.Module, dataset: Any, classes: tuple[str, ...], device: torch.device) -> dict[str, Any]:
    """Mean average precision of a detector on a dataset of (image, {"boxes", "labels", "iscrowd"}), in 0..1.

    Returns:
        "score", of boxes that overlap by half (mAP50); "per_class", the same by name, of classes that are there;
        "also", {"mAP50-95": the mean over overlaps from 0.5 to 0.95}.
    """
    from torchmetrics.detection import MeanAveragePrecision

    half, all_overlaps = MeanAveragePrecision(iou_thresholds=[0.5], class_metrics=True), MeanAveragePrecision()
    model.eval()
    with torch.no_grad():
        shown = _Shown(dataset, _as_tensors())
        for image, target in map(shown.__getitem__, range(len(shown))):
            (found,) = model([image.to(device)])
            said = [{name: found[name].cpu() for name in ("boxes", "scores", "labels")}]
            for measure in (half, all_overlaps):
                measure.update(said, [target])
    at_half = half.compute()
    numbers, values = at_half["classes"].reshape(-1).tolist(), at_half["map_per_class"].reshape(-1).tolist()
    return {
        "score": max(0.0, float(at_half["map"])),
        "per_class": {classes[n - 1]: value for n, value in zip(numbers, values, strict=True) if value >= 0},
        "also": {"mAP50-95": max(0.0, float(all_overlaps.compute()["map"]))},
    }


def check_measure() -> None:
    """Raises MissingExtraError where pycocotools, which counts average precision, is not installed."""
    try:
        import pycocotools  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("pycocotools", "detection") from error


class _Shown(Dataset[Any]):
    """Items as torchvision's detectors take them: float images in 0..1, and labels from 1 on."""

    def __init__(self, dataset: Any, transform: v2.Transform) -> None:
        self.dataset, self.transform = dataset, transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image, target = self.dataset[index]
        single = torch.as_tensor(target["iscrowd"]) == 0  # a crowd's box is not of one object
        kept = {name: target[name][single] for name in ("boxes", "labels", "masks") if name in target}
        for name in {"boxes", "masks"} & set(kept):  # a part of them is a plain tensor, which no transform would move
            kept[name] = tv_tensors.wrap(kept[name], like=target[name])
        image, kept = self.transform(image.convert("RGB"), kept)
        return image, {**kept, "labels": kept["labels"] + 1}


def _as_tensors() -> v2.Transform:
    return v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


def _augmented() -> v2.Transform:
    """What torchvision's references train an SSD with."""
    grey: dict[Any, Any] = {tv_tensors.Image: 114, "others": 0}  # around masks there is no object
    return v2.Compose(
        [
            v2.ToImage(), v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=grey, side_range=(1.0, 2.0)),
            v2.RandomIoUCrop(), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, scale=True),
            v2.SanitizeBoundingBoxes(),
        ]
    )  # fmt: skip


def _fit(
    model: nn.Module,
    dataset: Any,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    device: torch.device,
    say: Say,
    *,
    workers: int = 0,
) -> None:
    """Train for `steps` steps, over as many epochs as they take."""
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=lr)
    warm = max(1, round(_WARM_UP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (step + 1) / warm if step < warm else _cooled((step - warm) / max(1, steps - warm))
    )
    model.train()
    epoch, losses = 0, list[Tensor]()
    for step, (images, targets) in enumerate(itertools.islice(_batches(dataset, batch, seed, workers), steps)):
        told = [{name: value.to(device) for name, value in target.items()} for target in targets]
        loss = sum(model([image.to(device) for image in images], told).values(), start=torch.zeros((), device=device))
        if not loss.isfinite():
            value = float(loss.detach())
            raise TrainingError(f"the loss of the detector became {value} in step {step + 1}; lower train.lr")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIPPED)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        if len(losses) * batch >= len(dataset):
            epoch, mean = epoch + 1, float(torch.stack(losses).mean())
            losses.clear()
            say(f"epoch {epoch}, step {step + 1} of {steps}: loss {mean:.3f}")


def _cooled(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _batches(dataset: Any, batch: int, seed: int, workers: int) -> Iterator[tuple[list[Tensor], list[Any]]]:
    """Epoch after epoch, each with scenes of its own."""
    loader = DataLoader(
        _Shown(dataset, _augmented()), batch, shuffle=True, num_workers=workers, collate_fn=_lists,
        drop_last=len(dataset) > batch, persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    for epoch in itertools.count():
        if isinstance(dataset, (GanAugmented, CopyPaste)):
            dataset.set_epoch(epoch)
        yield from loader


def _lists(items: list[Any]) -> tuple[list[Tensor], list[Any]]:
    return [image for image, _ in items], [target for _, target in items]


def _classes(dataset: Any) -> tuple[str, ...]:
    """Names of the classes of files, whatever is around them."""
    if isinstance(dataset, ConcatDataset):
        return _classes(dataset.datasets[0])
    if isinstance(dataset, (GanAugmented, CopyPaste, Subset)):
        return _classes(dataset.dataset)
    if not isinstance(dataset, BoxFiles):
        raise DataError(f"the images are of a {type(dataset).__name__}; a detector is trained from files: give a path")
    return dataset.classes
