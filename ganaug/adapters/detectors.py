"""What detectors of all libraries share: how a training ended, and which images may not be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint, open_image
from ganaug.errors import LeakError

__all__ = ["DetectorResult", "is_of_ultralytics", "refuse_leaks"]

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
