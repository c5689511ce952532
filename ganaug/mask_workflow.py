"""What a whole recipe for images with masks does once its bank is compared: pairs on disk, and a segmenter trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ganaug.bank import GeneratorBank
from ganaug.data.mask_files import MaskFiles
from ganaug.mask_exporting import export_masks
from ganaug.recipe import Recipe

if TYPE_CHECKING:
    from ganaug.adapters.segmentation_models_pytorch import SegmenterResult

__all__ = ["check_later_steps", "export_pairs", "train_segmenter"]

Say = Callable[[str], None]


def check_later_steps(recipe: Recipe, classes: int) -> None:
    """Find out before the long fit whether what comes after it can be done.

    Raises:
        GanaugError: as of `build_segmenter`.
    """
    if recipe.train is not None:
        from ganaug.adapters.segmentation_models_pytorch import build_segmenter

        build_segmenter(recipe.train, 3, classes)


def export_pairs(bank: GeneratorBank, pairs: MaskFiles, folder: Path, recipe: Recipe, exist_ok: bool, say: Say) -> Path:
    """Write the training pairs and synthetic ones as the recipe's `export:` section says; returns their folder.

    Raises:
        GanaugError: as of `export_masks`.
    """
    assert recipe.export is not None, "asked for by the recipe"
    assert recipe.export.format != "imagefolder", "refused by the recipe"
    goal = folder / recipe.export.out
    written = export_masks(
        bank, pairs, goal, format=recipe.export.format, ratio=recipe.export.ratio, screening=recipe.screening or False,
        seed=recipe.seed, exist_ok=exist_ok,
    )  # fmt: skip
    say(str(written))
    return goal


def train_segmenter(
    bank: GeneratorBank,
    pairs: MaskFiles,
    val: MaskFiles,
    folder: Path,
    recipe: Recipe,
    device: torch.device,
    say: Say,
) -> SegmenterResult:
    """Train the recipe's segmenter on `pairs` and samples, and tell its Dice on `val`; weights go to `folder`.

    Raises:
        GanaugError: as of `train` of the adapter.
    """
    from ganaug.adapters.segmentation_models_pytorch import train

    assert recipe.train is not None, "asked for by the recipe"
    trained = train(
        pairs, bank, recipe.train, val=val, device=device, seed=recipe.seed, out=folder / "segmenter.safetensors",
        report=say,
    )  # fmt: skip
    assert trained.dice is not None, "there are images to measure it on"
    dice = ", ".join(f"{name} {score:.1%}" for name, score in trained.dice.items())
    say(f"Dice on images that nothing was trained on: {dice}")
    return trained
