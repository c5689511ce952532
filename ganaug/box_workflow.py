"""A whole recipe for images with boxes: fit, preview, the set as YOLO files, and a YOLO model trained with scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ganaug.boxes_exporting import export_boxes
from ganaug.data.box_files import list_boxes
from ganaug.errors import DataError
from ganaug.fitting import fit
from ganaug.output import check_folder, make_folder
from ganaug.recipe import Recipe

if TYPE_CHECKING:
    from ganaug.adapters.ultralytics import YoloResult

__all__ = ["BoxRun", "run_boxes"]


@dataclass(frozen=True)
class BoxRun:
    """What the recipe left behind."""

    bank: Path
    exported: Path
    trained: YoloResult


def run_boxes(
    recipe: Recipe,
    source: Path,
    folder: Path,
    *,
    classes: Sequence[str] | None,
    device: torch.device,
    exist_ok: bool,
    say: Callable[[str], None],
) -> BoxRun:
    """Fit on the training part, write the set as YOLO files, and train a YOLO model with scenes on top of mosaic.

    No comparison is made: the scenes mixed in are as many as `train.ratio` says. Scores are of the validation part,
    which nothing trains on.

    Args:
        recipe: with a `train:` section.
        source: images with boxes.
        folder: for everything that is made.
        classes: to learn objects of; by default all. Detected are all.
        device: of the fit and the training.
        exist_ok: write into `folder` though it holds something.
        say: where lines of progress go.

    Raises:
        MissingExtraError: Ultralytics is not installed.
        DataError: the set has no validation part.
        GanaugError: as of `fit`, `export_boxes` and `ganaug.adapters.ultralytics.train`.
    """
    from ganaug.adapters.ultralytics import build_model, train

    assert recipe.train is not None, "looked at before"
    build_model(recipe.train)  # what is wrong shows before the fit, which is long
    check_folder(folder, exist_ok=exist_ok, apart_from=source)
    if "val" not in list_boxes(source).layout.parts:
        raise DataError(f"{source} has no validation part to score a detector on; add one, as val: in data.yaml")
    make_folder(folder)
    say("fitting the generators")
    bank = fit(source, classes=classes, recipe=recipe, device=device, run_dir=folder / "bank.run")
    bank.save(folder / "bank.ganaug")
    written = export_boxes(bank, source, folder / "yolo", ratio=0, exist_ok=exist_ok)
    say(str(written))
    say(f"training {recipe.train.model} at ratio {recipe.train.ratio}")
    trained = train(
        folder / "yolo" / "data.yaml", folder / "bank.ganaug", recipe.train, folder / "detector", device=device,
        seed=recipe.seed,
    )  # fmt: skip
    scores = ", ".join(f"{name} {score:.1%}" for name, score in trained.by_class.items())
    say(f"mAP50 {trained.map50:.1%}, mAP50-95 {trained.map50_95:.1%} ({scores}) on the validation images")
    say(f"the detector is in {trained.weights}")
    return BoxRun(folder / "bank.ganaug", folder / "yolo", trained)
