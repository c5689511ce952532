"""What scenes are made of: real objects cut out of a set's own images, and those that a bank's samples are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ganaug.compositing import CutOut, cut, transformed
from ganaug.compositing.cutouts import SOLID
from ganaug.compositing.placing import overlaps
from ganaug.data.box_values import Target
from ganaug.data.images import Pixels, to_channels, to_uint8
from ganaug.data.samples import Samples
from ganaug.errors import DataError

__all__ = ["RealObjects", "SceneObjects", "Vary"]

Vary = Callable[[Sequence[CutOut], int], list[CutOut]]
"""Objects and the index of the first variation, to a variation of each."""

_MOST_A_CLASS, _MOST, _LEAST_A_CLASS = 48, 512, 8  # real objects kept: of a class, of all, and yet of a class
_LARGEST = 192  # pixels along the longer side of a real object that is kept; it is shrunk to that
_SMALLEST = 4.0  # pixels along the shorter side of one that is of any use
_APART = 0.25  # of a box that others may cover, if it has no mask to tell them apart
_EVEN = 8.0  # grey levels by which pixels of one ground differ anyway
_SEEN = 0.5  # of the contrast that real objects have, below which a bank's is drawn again
_LEAST_SPAN = 0.45  # of its square that an object of a bank spans, below which it is a piece of one; whole ones: 0.77
_LEAST_SOLID = 0.5  # of the pixels that show anything of it, below which it is a haze around its box; fitted ones: 0.8
_DRAWS = 4  # of a bank's samples, till one is whole and can be seen
_ENOUGH = 8  # objects of a class, above which the less clear ones are left out
_VARIATIONS, _MOST_VARIATIONS = 8, 1024  # of a real object, of all: they are kept in memory


@dataclass(frozen=True)
class RealObjects:
    """Objects of the set, cut out, by class; and the colour of what is around them."""

    cutouts: dict[int, list[CutOut]]
    around: dict[int, npt.NDArray[np.float32]]
    """(C,), a mean over those of the class."""
    contrast: dict[int, float]
    """How far the mean colour of an object of the class is from that around it: of all but a tenth, farther."""

    @classmethod
    def gather(
        cls,
        targets: Mapping[int, Target],
        sizes: Mapping[int, tuple[int, int]],
        read: Callable[[int], tuple[Any, Target]],
        *,
        masks: bool,
    ) -> RealObjects:
        """Cut out up to 48 objects of each class: of twice as many, evenly spaced over the images, the clearer half.

        Whole ones that nothing else covers come first; a class that has few of those takes others too. One is clear
        that stands out from what is around it: of another's edge in the cut, less remains to be seen.

        Args:
            targets: of each image, by its index; masks are not looked at.
            sizes: height and width of each.
            read: gives an image and the same target with its masks; what cannot be read is left out.
            masks: whether there are some.
        """
        wanted: dict[int, list[int]] = {}
        rows = _candidates(targets, sizes, masks)
        most = max(_LEAST_A_CLASS, min(_MOST_A_CLASS, _MOST // max(1, len(rows))))
        for places in rows.values():
            count = min(2 * most, len(places))
            for image, row in (places[number * len(places) // count] for number in range(count)):
                wanted.setdefault(image, []).append(row)
        cutouts: dict[int, list[CutOut]] = {label: [] for label in rows}
        for image, chosen in sorted(wanted.items()):
            try:
                raw, target = read(image)
            except DataError:  # an unreadable image is for the training loop to meet, as it would without ganaug
                continue
            pixels = to_uint8(raw)
            for row in chosen:
                found = _cut_out(pixels, target, row)
                if found is not None:
                    cutouts[found.label].append(found)
        for label, every in cutouts.items():
            every.sort(key=_clarity, reverse=True)
            cutouts[label] = every[: max(_LEAST_A_CLASS, len(every) // 2)]
        known = {label: clear for label, clear in cutouts.items() if clear}
        contrast = {label: float(np.quantile([_contrast(one) for one in clear], 0.1)) for label, clear in known.items()}
        return cls(cutouts, {label: _around(clear) for label, clear in known.items()}, contrast)

    def varied(self, vary: Vary) -> dict[int, list[CutOut]]:
        """As many variations of each as memory is good for, by class."""
        count = sum(len(cutouts) for cutouts in self.cutouts.values())
        copies = max(1, min(_VARIATIONS, _MOST_VARIATIONS // max(1, count)))
        made: dict[int, list[CutOut]] = {}
        done = 0
        for label, cutouts in self.cutouts.items():
            made[label] = vary([one for one in cutouts for _ in range(copies)], done)
            done += copies * len(cutouts)
        return made


class SceneObjects:
    """Gives objects to paste: real ones, or a bank's; of those no mere piece or haze, none that would hardly be seen.

    Args:
        real: those of the set.
        places: place of each class in the bank, by label; of classes that both know.
        counts: samples that the pool has of each class, by its place.
        share: of the objects that are real, where a class has both.
        varied: variations of real ones by label, in the place of samples.
    """

    def __init__(
        self,
        real: RealObjects,
        places: Mapping[int, int],
        counts: Mapping[int, int],
        share: float,
        varied: Mapping[int, list[CutOut]] | None = None,
    ) -> None:
        self._real, self._places, self._counts, self._share = real, dict(places), dict(counts), share
        self._varied = varied or {}

    def draw(self, samples: Samples | None, label: int, channels: int, random: np.random.Generator) -> CutOut | None:
        """An object of a class with so many channels; none where there is none."""
        cutouts, place, varied = self._real.cutouts.get(label, []), self._places.get(label), self._varied.get(label, [])
        count = 0 if place is None or samples is None else self._counts.get(place, 0)
        real = random.random() < self._share or not (count or varied)
        kept = cutouts if real and self._share else varied
        if kept:
            found = kept[int(random.integers(len(kept)))]
            return replace(found, pixels=to_channels(found.pixels, channels))
        if not count or samples is None or place is None:
            return None
        around, least = self._real.around.get(label), _SEEN * self._real.contrast.get(label, 0.0)
        if around is not None and len(around) != channels:
            around = np.full(channels, around.mean(), dtype=np.float32)
        for _ in range(_DRAWS):
            sample = samples[place, int(random.integers(count))]
            pixels = to_channels(np.ascontiguousarray(sample[:, :, :-1]), channels)
            made = CutOut(pixels, np.ascontiguousarray(sample[:, :, -1]), label, around)
            if _spans(made) >= _LEAST_SPAN and _solid(made) >= _LEAST_SOLID and _contrast(made) >= least:
                return made
        return None


def _candidates(
    targets: Mapping[int, Target], sizes: Mapping[int, tuple[int, int]], masks: bool
) -> dict[int, list[tuple[int, int]]]:
    """(image, row) of the objects of each class that are worth cutting out."""
    clear: dict[int, list[tuple[int, int]]] = {}
    others: dict[int, list[tuple[int, int]]] = {}
    for image, target in targets.items():
        height, width = sizes[image]
        spans = target.boxes[:, 2:] - target.boxes[:, :2]
        low, high = target.boxes[:, :2], target.boxes[:, 2:]
        whole = np.asarray(((low >= 1) & (high <= np.array([width - 1, height - 1]))).all(1))
        if not masks:
            whole = whole & (overlaps(target.boxes) <= _APART)
        for row in np.flatnonzero(~target.crowd & (spans.min(1, initial=np.inf) >= _SMALLEST)).tolist():
            kind = clear if whole[row] else others
            kind.setdefault(int(target.labels[row]), []).append((image, row))
    labels = sorted({*clear, *others})
    return {
        label: clear[label] if len(clear.get(label, ())) >= _ENOUGH else [*clear.get(label, ()), *others.get(label, ())]
        for label in labels
    }


def _cut_out(pixels: Pixels, target: Target, row: int) -> CutOut | None:
    left, top, right, bottom = (float(number) for number in target.boxes[row])
    mask = None if target.masks is None else target.masks[row]
    found = cut(pixels, (left, top, right, bottom), int(target.labels[row]), mask)
    if found is None:
        return None
    longer = max(found.alpha.shape)
    return found if longer <= _LARGEST else transformed(found, scale=_LARGEST / longer)


def _clarity(cutout: CutOut) -> float:
    """How far an object's mean colour is from that of the pixels around it, by how much those differ."""
    ring = cutout.pixels[cutout.ground()]
    return _contrast(cutout) / (_EVEN + float(np.linalg.norm(ring.std(0)))) if len(ring) else 0.0


def _spans(cutout: CutOut) -> float:
    """The longer side of an object's box by that of the cut-out."""
    box = cutout.box()
    return 0.0 if box is None else max(box[2] - box[0], box[3] - box[1]) / max(cutout.alpha.shape)


def _solid(cutout: CutOut) -> float:
    """How many of the pixels that show anything of an object are its own."""
    seen = int(np.count_nonzero(~cutout.ground()))
    return int(np.count_nonzero(cutout.alpha >= SOLID)) / max(1, seen)


def _contrast(cutout: CutOut) -> float:
    """How far an object's mean colour is from that of what is around it."""
    ring, solid = cutout.pixels[cutout.ground()], cutout.pixels[cutout.alpha >= SOLID]
    around = cutout.around if cutout.around is not None else ring.mean(0) if len(ring) else None
    return 0.0 if around is None or not len(solid) else float(np.linalg.norm(solid.mean(0) - around))


def _around(cutouts: Sequence[CutOut]) -> npt.NDArray[np.float32]:
    """(C,) mean colour of the pixels around them."""
    means = [found.pixels[found.ground()].mean(0) for found in cutouts if found.ground().any()]
    if not means:
        means = [found.pixels.mean((0, 1)) for found in cutouts]
    return np.asarray(np.mean(means, axis=0), dtype=np.float32)
