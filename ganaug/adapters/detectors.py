"""What detectors of all libraries share: how a training ended, and which images may not be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union

from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint, open_image
from ganaug.data.copy_paste import COPY_PASTE, CopyPaste
from ganaug.errors import LeakError, RecipeError
from ganaug.ratios import Ratio
from ganaug.recipe import Scenes

__all__ = ["DetectorResult", "Pasting", "is_of_ultralytics", "refuse_leaks", "resolve_pasting", "with_pasting"]

Pasting = Union[float, Literal["auto"]]
"""Share of the real images that real objects are pasted into, anew each epoch; "auto": as the bank's verdict has it."""

_MOST_CHECKED = 2000  # validation images whose fingerprints are looked at


@dataclass(frozen=True)
class DetectorResult:
    """A trained detector and how it fared on the validation images, after the last epoch."""

    weights: Path
    """Its file: one that `YOLO(weights)` loads, or safetensors of a torchvision model."""
    map50: float
    """Mean over the classes of average precision where boxes overlap by half, in 0..1."""
    map50_95: float
    """Mean of that over overlaps from 0.5 to 0.95."""
    by_class: dict[str, float]
    """Average precision of each class where boxes overlap by half."""


def is_of_ultralytics(model: str) -> bool:
    """Whether a recipe's model is one of Ultralytics, which are files; those of torchvision are names."""
    return Path(model).suffix in {".yaml", ".yml", ".pt"}


def refuse_leaks(paths: Sequence[str | Path], bank: GeneratorBank) -> None:
    """Raises LeakError where a bank was fitted on images to score."""
    seen = set(bank.manifest.train_fingerprints)
    step = max(1, -(-len(paths) // _MOST_CHECKED))
    shared = sum(fingerprint(open_image(Path(path))) in seen for path in paths[::step]) if seen else 0
    if shared:
        raise LeakError(
            f"the bank was fitted on {shared} of the validation images; fit it on the training images alone "
            "(check=False trains anyway)"
        )


def resolve_pasting(copy_paste: Pasting, ratio: Ratio, bank: GeneratorBank) -> float:
    """The share of real images that real objects are pasted into.

    "auto" is half of them where `ratio` is "auto" too and what the bank's verdict speaks of was trained so, else none.

    Raises:
        RecipeError: it is neither "auto" nor 0 to 1.
    """
    if isinstance(copy_paste, str) and copy_paste == "auto":
        augment = bank.verdict.augment if bank.verdict is not None and isinstance(ratio, str) else None
        return COPY_PASTE if "copy-paste" in (augment or "").split("+") else 0.0
    if isinstance(copy_paste, (bool, str)) or not 0 <= copy_paste <= 1:
        raise RecipeError(f"copy_paste is {copy_paste!r}; give a share of the images, 0 to 1, or 'auto'")
    return float(copy_paste)


def with_pasting(real: Any, share: float, bank: GeneratorBank, scenes: Scenes | None, seed: int) -> Any:
    """The real images, with real objects pasted into this share of them as the bank's scenes are made."""
    if not share:
        return real
    recipe = bank.recipe
    return CopyPaste(
        real, probability=share, scenes=scenes or recipe.scenes, flip=recipe.data.horizontal_flip, seed=seed
    )
