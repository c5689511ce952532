"""What was measured of a bank's samples, and how it is said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

__all__ = ["MEASURES", "NEAR_IDENTICAL", "Copying", "SampleMeasures", "Sides"]

MEASURES = {
    "kernel_distance": "kernel distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "gan_train": "GAN-train accuracy",
    "gan_test": "GAN-test accuracy",
    "spread": "spread within a class",
}
NEAR_IDENTICAL = 8.0
"""Root mean square difference, of 255 grey levels, below which an image may be another one again: about what JPEG of
quality 50 does to a small image."""

_MEMORISED = 0.05  # share of near-identical images from which a bank is said to memorise
_CLEAR = 3.0  # C_T beyond which it is no accident


@dataclass(frozen=True)
class Sides:
    """A measure of synthetic images, and the same of as many real ones; NaN where it could not be told."""

    synthetic: float
    reference: float


@dataclass(frozen=True)
class Copying:
    """How near synthetic images come to the training images, against how near new real images come."""

    share: float
    """Of synthetic images nearer to a training image than all but the nearest twentieth of new real images are."""
    c_t: float
    """Meehan et al. 2020: a z-score, below 0 where synthetic images are nearer; NaN for too few images."""
    nearest_ratio: float
    """Median distance to the nearest training image, by that of new real images."""
    copies: int
    """Synthetic images that are all but a training image again, mirrored or moved perhaps."""
    images: int
    """How many synthetic images there were."""

    @property
    def memorises(self) -> bool:
        """Whether a twentieth or more are copies."""
        return self.copies >= _MEMORISED * self.images

    @property
    def words(self) -> str:
        """What that means, in a sentence."""
        few = f"{self.copies} of {self.images} synthetic images {'is' if self.copies == 1 else 'are'}"
        if self.memorises:
            return f"The bank memorises: {few} all but copies of training images."
        if math.isnan(self.c_t):
            told = "There are too few images to tell whether synthetic ones are nearer to the training images"
        elif self.c_t < -_CLEAR:
            told = (
                "Synthetic images are nearer to the training images than new real ones are: "
                f"{self.nearest_ratio:.2f} times as far at the median, {self.share:.0%} of them nearer than all "
                f"but 5 % of new ones (C_T {self.c_t:.1f})"
            )
        elif self.c_t > _CLEAR:
            told = f"Synthetic images are farther from the training images than new real ones are (C_T {self.c_t:+.1f})"
        else:
            told = f"Synthetic images are no nearer to the training images than new real ones are (C_T {self.c_t:+.1f})"
        copied = f"{few} all but copies" if self.copies else f"none of {self.images} is all but a copy"
        return f"{told}; {copied}."

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what could not be told is null."""
        return {
            "share": _or_none(self.share),
            "c_t": _or_none(self.c_t),
            "nearest_ratio": _or_none(self.nearest_ratio),
            "copies": self.copies,
            "images": self.images,
        }


@dataclass(frozen=True)
class SampleMeasures:
    """Measures of a bank's samples, in all and of each class, each beside the same of real images.

    The figures depend on the features that they are taken in and compare with nothing taken in others. None is an FID.
    """

    bank: str
    """Fingerprint of the bank."""
    features: str
    """Where feature vectors come from."""
    pooled: Mapping[str, Sides]
    per_class: Mapping[str, Mapping[str, Sides]]
    copying: Copying
    copying_per_class: Mapping[str, Copying]
    counts: Mapping[str, int]
    """Images of each side, of each class, that the feature measures compare."""
    notes: Sequence[str] = ()
    """What a reader should know besides."""

    @property
    def summary(self) -> list[str]:
        """A few sentences, the one about copies first."""
        found = [self.copying.words]
        copied = [name for name, copying in self.copying_per_class.items() if copying.memorises]
        if copied and (not self.copying.memorises or len(copied) < len(self.copying_per_class)):
            found.append(f"It memorises {', '.join(copied)}.")
        near, among = self.pooled["coverage"], self.pooled["precision"]
        if not math.isnan(near.synthetic):
            found.append(
                f"{near.synthetic:.0%} of new real images have a synthetic one in their neighbourhood, where as many "
                f"training images reach {near.reference:.0%}; {among.synthetic:.0%} of synthetic images lie among real "
                f"ones (training images: {among.reference:.0%})."
            )
        if "gan_train" in self.pooled:
            trained = self.pooled["gan_train"]
            found.append(
                f"A classifier trained on synthetic images alone is right on {trained.synthetic:.1%} of new real "
                f"images; trained on as many real ones, on {trained.reference:.1%}."
            )
        return [*found, *(f"{note[0].upper()}{note[1:]}." for note in self.notes)]

    def table(self) -> Table:
        """The measures in all, and the main ones of each class, to print."""
        table = Table(title=f"Synthetic against new real images, in {self.features}", title_justify="left")
        table.add_column("measure")
        table.add_column("synthetic", justify="right")
        table.add_column("training images", justify="right")
        for name, sides in self.pooled.items():
            table.add_row(MEASURES[name], _figure(sides.synthetic), _figure(sides.reference))
        table.add_section()
        for name, found in self.per_class.items():
            covered, copying = found["coverage"], self.copying_per_class[name]
            label = Text(f"  {name}: coverage ({copying.copies} copies, C_T {_figure(copying.c_t)})")
            table.add_row(label, _figure(covered.synthetic), _figure(covered.reference))
        return table

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON; what could not be told is null."""
        return {
            "summary": self.summary,
            "bank": self.bank,
            "features": self.features,
            "images": dict(self.counts),
            "pooled": _told(self.pooled),
            "per_class": {name: _told(found) for name, found in self.per_class.items()},
            "copies": {
                "words": self.copying.words,
                "pooled": self.copying.to_dict(),
                "per_class": {name: copying.to_dict() for name, copying in self.copying_per_class.items()},
            },
        }


def _told(found: Mapping[str, Sides]) -> dict[str, dict[str, float | None]]:
    return {
        name: {"synthetic": _or_none(sides.synthetic), "reference": _or_none(sides.reference)}
        for name, sides in found.items()
    }


def _figure(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.3f}" if abs(number) < 10 else f"{number:.1f}"


def _or_none(number: float) -> float | None:
    return number if math.isfinite(number) else None
