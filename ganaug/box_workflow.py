"""A whole recipe for images with boxes: fit, and a detector trained with scenes, of Ultralytics or of torchvision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ganaug.adapters.detectors import DetectorResult, is_of_ultralytics
from ganaug.bank import GeneratorBank
from ganaug.boxes_exporting import export_boxes
from ganaug.data.box_files import list_boxes
from ganaug.errors import DataError
from ganaug.fitting import fit
from ganaug.grounds import check_filler
from ganaug.output import check_folder, make_folder
from ganaug.recipe import Recipe, Train

__all__ = ["BoxRun", "run_boxes"]


@dataclass(frozen=True)
class BoxRun:
    """What the recipe left behind."""

    bank: Path
    exported: Path | None
    """The set as YOLO files, where one was written."""
    trained: DetectorResult


def run_boxes(
    recipe: Recipe,
    source: Path,
    folder: Path,
    *,
    classes: Sequence[str] | None,
    fill: Path | None,
    device: torch.device,
    exist_ok: bool,
    say: Callable[[str], None],
) -> BoxRun:
    """Fit on the training part, and train the recipe's detector with scenes.

    For one of Ultralytics, which has mosaic too, the set is written as YOLO files. No comparison is made: the scenes
    mixed in are as many as `train.ratio` says. Scores are of the validation part, which nothing trains on.

    Args:
        recipe: with a `train:` section.
        source: images with boxes.
        folder: for everything that is made.
        classes: to learn objects of; by default all. Detected are all.
        fill: a bank that fills holes, which erases the grounds of some scenes.
        device: of the fit and the training.
        exist_ok: write into `folder` though it holds something.
        say: where lines of progress go.

    Raises:
        MissingExtraError: Ultralytics is not installed, or pycocotools for a detector of torchvision.
        DataError: the set has no validation part.
        GanaugError: as of `fit`, `export_boxes` and of `train` of the two adapters.
    """
    settings = recipe.train
    assert settings is not None, "looked at before"
    _check_model(settings)  # what is wrong shows before the fit, which is long
    if fill is not None:
        check_filler(GeneratorBank.load(fill))
    check_folder(folder, exist_ok=exist_ok, apart_from=source)
    if "val" not in list_boxes(source).layout.parts:
        raise DataError(f"{source} has no validation part to score a detector on; add one, as val: in data.yaml")
    make_folder(folder)
    say("fitting the generators")
    bank = fit(source, classes=classes, recipe=recipe, device=device, run_dir=folder / "bank.run")
    bank.save(folder / "bank.ganaug")
    if is_of_ultralytics(settings.model):
        exported, trained = _with_ultralytics(bank, source, folder, recipe, fill, device, exist_ok, say)
    else:
        exported, trained = None, _with_torchvision(bank, source, folder, recipe, fill, device, say)
    scores = ", ".join(f"{name} {score:.1%}" for name, score in trained.by_class.items())
    say(f"mAP50 {trained.map50:.1%}, mAP50-95 {trained.map50_95:.1%} ({scores}) on the validation images")
    say(f"the detector is in {trained.weights}")
    return BoxRun(folder / "bank.ganaug", exported, trained)


def _check_model(settings: Train) -> None:
    if is_of_ultralytics(settings.model):
        from ganaug.adapters.ultralytics import build_model

        build_model(settings)
    else:
        from ganaug.adapters.torchvision_detection import build_detector, check_measure

        check_measure()
        build_detector(settings.model, settings.weights, 1, settings.image_size)


def _with_ultralytics(
    bank: GeneratorBank,
    source: Path,
    folder: Path,
    recipe: Recipe,
    fill: Path | None,
    device: torch.device,
    exist_ok: bool,
    say: Callable[[str], None],
) -> tuple[Path, DetectorResult]:
    from ganaug.adapters.ultralytics import train

    assert recipe.train is not None
    exported = folder / "yolo"
    say(str(export_boxes(bank, source, exported, ratio=0, exist_ok=exist_ok)))
    say(f"training {recipe.train.model} at ratio {recipe.train.ratio}")
    trained = train(
        exported / "data.yaml", folder / "bank.ganaug", recipe.train, folder / "detector", device=device,
        seed=recipe.seed, fill=fill,
    )  # fmt: skip
    return exported, trained


def _with_torchvision(
    bank: GeneratorBank,
    source: Path,
    folder: Path,
    recipe: Recipe,
    fill: Path | None,
    device: torch.device,
    say: Callable[[str], None],
) -> DetectorResult:
    from ganaug.adapters.torchvision_detection import train

    assert recipe.train is not None
    say(f"training {recipe.train.model} at ratio {recipe.train.ratio}")
    goal = folder / "detector"
    return train(source, bank, recipe.train, goal, device=device, seed=recipe.seed, fill=fill, report=say)
