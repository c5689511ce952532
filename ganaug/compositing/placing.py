"""How many objects a set's images have, how large, where and how close together: drawn anew from what was counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ClassStatistics", "SceneStatistics", "overlaps"]

Floats = npt.NDArray[np.float32]

_MOVED = 0.05  # deviation from a real object's place, by the sides of the image
_ANYWHERE = 0.3  # of the objects that lie at any place whatever
_ALIKE = 8  # real boxes looked at for one of an object's own proportions


@dataclass(frozen=True)
class ClassStatistics:
    """The real objects of one class, a row each; an object is drawn as one of them was."""

    sizes: Floats
    """(n, 2): width and height, by the square root of the image's area."""
    centres: Floats
    """(n, 2): x and y, by width and height of the image."""
    overlaps: Floats
    """(n,): how much of its box lies in boxes of others."""
    cut_off: float
    """Share of them that touch the border."""

    def side(self, aspect: float, random: np.random.Generator) -> float:
        """Square root of an object's area, by that of the image's: of a real object of much the same proportions.

        `aspect` is the width of what is to be pasted by its height.
        """
        rows = random.integers(len(self.sizes), size=_ALIKE)
        widths, heights = self.sizes[rows].T
        nearest = int(np.abs(np.log(widths / heights) - np.log(aspect)).argmin())
        return float(np.sqrt(widths[nearest] * heights[nearest]))

    def centres_like(self, count: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
        """(count, 2): x and y in 0..1, each near where a real object of the class is, or anywhere."""
        near = self.centres[random.integers(len(self.centres), size=count)] + random.normal(0, _MOVED, (count, 2))
        anywhere = random.random(count) < _ANYWHERE
        return np.clip(np.where(anywhere[:, None], random.random((count, 2)), near), 0, 1)

    def overlap(self, random: np.random.Generator) -> float:
        """How much of its box an object may have in boxes of others."""
        return float(self.overlaps[random.integers(len(self.overlaps))])


@dataclass(frozen=True)
class SceneStatistics:
    """What is known of the scenes of a set."""

    counts: npt.NDArray[np.int64]
    """Objects of each image that has any."""
    classes: dict[int, ClassStatistics]
    """By label; only classes that have an object."""

    @classmethod
    def of(
        cls,
        boxes: Sequence[npt.NDArray[np.floating]],
        labels: Sequence[npt.NDArray[np.int64]],
        sizes: Sequence[tuple[int, int]],
    ) -> SceneStatistics:
        """Count a set: for each image (n, 4) boxes as left, top, right, bottom, their labels, and (height, width)."""
        found: dict[int, list[tuple[Floats, Floats, float, bool]]] = {}
        for these, numbers, (height, width) in zip(boxes, labels, sizes, strict=True):
            spans = np.asarray(these, dtype=np.float32).reshape(-1, 4)
            extents = (spans[:, 2:] - spans[:, :2]) / np.sqrt(height * width)
            centres = (spans[:, 2:] + spans[:, :2]) / 2 / (width, height)
            touching = np.any((spans[:, :2] < 1) | (spans[:, 2:] > np.array([width - 1, height - 1])), axis=1)
            rows = zip(numbers.tolist(), extents, centres, overlaps(spans), touching, strict=True)
            for label, extent, centre, overlap, touches in rows:
                found.setdefault(int(label), []).append((extent, centre, float(overlap), bool(touches)))
        classes = {}
        for label, objects in sorted(found.items()):
            extents, centres, shares, touching = (np.array(column) for column in zip(*objects, strict=True))
            classes[label] = ClassStatistics(
                extents.astype(np.float32),
                centres.astype(np.float32),
                shares.astype(np.float32),
                float(touching.mean()),
            )
        counts = np.array([len(numbers) for numbers in labels if len(numbers)], dtype=np.int64)
        return cls(counts, classes)

    def weights(self, rarity: float) -> dict[int, float]:
        """How often each class is drawn: by its number of objects to the power of minus `rarity`; together 1."""
        raw = {label: float(len(known.sizes)) ** -rarity for label, known in self.classes.items()}
        total = sum(raw.values())
        return {label: weight / total for label, weight in raw.items()}


def overlaps(boxes: npt.NDArray[np.floating], others: npt.NDArray[np.floating] | None = None) -> Floats:
    """(n,): how much of each box the one of `others` covers that covers most of it; by default the other boxes."""
    against = boxes if others is None else others
    if not len(boxes) or not len(against):
        return np.zeros(len(boxes), dtype=np.float32)
    low = np.maximum(boxes[:, None, :2], against[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], against[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    if others is None:
        np.fill_diagonal(shared, 0)
    return np.asarray(shared.max(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1), dtype=np.float32)
