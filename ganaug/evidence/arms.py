"""Arms: the ways to train that are compared. One differs from another in what it trains on, and in nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from ganaug.ratios import level_up, share_out
from ganaug.recipe import Compare

__all__ = ["Arm", "Control", "classical_arms", "control_arms", "fewer_real", "ratio_name", "synthetic_arms", "unequal"]

_UNEQUAL = 1.5  # times the images of the rarest class

Control = Literal["duplicated", "shuffled", "pasted"]

_SPOKEN = {
    "flip": "flip",
    "crop": "crop",
    "affine": "affine maps",
    "elastic": "elastic warps",
    "colour": "colour changes",
    "trivial": "TrivialAugmentWide",
    "cutmix": "CutMix",
    "zoom": "zooming out",
    "boxcrop": "crops",
    "own": "your own training",
    "mosaic": "mosaic and the rest of YOLO's augmentation",
    "copy-paste": "copy-paste of real objects",
}


@dataclass(frozen=True)
class Arm:
    """One way to train. With no ratio it is real images alone."""

    augment: str
    """Of every image, in parts that the learner knows, as "flip+trivial"."""
    ratio: float = 0.0
    """Images added for each real one."""
    annealed: bool = False
    """Whether what is added gives way as training goes on, all of it by the end."""
    screened: bool = False
    """Whether the synthetic images were screened."""
    soft: bool = False
    """Whether what is added bears the screening judge's probabilities, not its class."""
    balanced: bool = False
    """Whether what is added goes to the rarest classes first, and not to all alike."""
    control: Control | None = None
    """Added in the place of synthetic images: "duplicated", real ones once more; "shuffled", synthetic ones whose
    labels have been dealt out anew; "pasted", scenes whose objects are all real ones, cut out and pasted."""
    share: float = 1.0
    """Part of the real images that is trained on; less than all only to see what more real images bring."""
    reach: float | None = None
    """Times as far as in training that the noise of variations goes; none for as far as the bank has it."""

    @property
    def name(self) -> str:
        """The arm in words."""
        words = [_augment_name(self.augment)]
        if self.share < 1:
            words.append(f"{self.share:.0%} of the real images")
        if self.ratio:
            words.append(f"ratio {ratio_name(self.ratio)}")
        told = {
            "rarest classes first": self.balanced,
            "annealed": self.annealed,
            "screened": self.screened,
            "soft labels": self.soft,
            f"reach {self.reach or 1:g}": self.reach is not None,
        }
        words += [word for word, so in told.items() if so]
        named = {"duplicated": "real duplicated", "shuffled": "labels shuffled", "pasted": "real objects pasted"}
        return ", ".join([*words, *([named[self.control]] if self.control else [])])

    def added(self, sizes: Sequence[int]) -> list[int]:
        """How many images are added to classes of these sizes, as `GanAugmented` shares them out."""
        share = level_up if self.balanced else share_out
        counts: list[int] = share(round(self.ratio * sum(sizes)), np.asarray(sizes)).tolist()
        return counts

    @property
    def key(self) -> dict[str, Any]:
        """All of it as JSON, the same for ever."""
        told = asdict(self)
        return told if self.reach is not None else {name: told[name] for name in told if name != "reach"}


def classical_arms(
    augments: Sequence[str],
    flips: bool,
    *,
    parts_of: Callable[[str], Collection[str]],
    order: Sequence[str],
    mirrored: Collection[str],
) -> list[Arm]:
    """Real images alone with each classical augmentation, the plainest first.

    Args:
        augments: which.
        flips: whether a mirrored image is as real. Then all that have a part in `mirrored` have flips, else none.
        parts_of: takes an augmentation apart, and refuses what a learner does not know.
        order: of the parts, for names.
        mirrored: "flip", and what does not mirror but would.
    """
    found = {}
    for augment in augments:
        parts = set(parts_of(augment))
        if flips and parts & set(mirrored):
            parts.add("flip")
        elif not flips:
            parts -= {"flip"}
        found["+".join(part for part in order if part in parts) or "none"] = True
    return [Arm(augment) for augment in found]


def unequal(sizes: Sequence[int]) -> bool:
    """Whether some class has so many more images than another that the rare ones need care."""
    return max(sizes) >= _UNEQUAL * min(sizes)


def synthetic_arms(settings: Compare, augment: str, sizes: Sequence[int] = (1,)) -> list[Arm]:
    """Every ratio with every treatment, the plainest and the lowest ratio first: a tie goes to the earlier.

    Where `sizes`, the images of each class, are unequal, there are also arms that bring every class up to the largest.
    """
    treatments = itertools.product(
        sorted(set(settings.screened)), sorted(set(settings.soft)), sorted(set(settings.schedules), reverse=True)
    )
    arms = [
        Arm(augment, ratio, schedule == "annealed", screened, soft)
        for screened, soft, schedule in _known(treatments)
        for ratio in sorted(set(settings.ratios))
    ]
    if unequal(sizes) and settings.balanced:
        level = (len(sizes) * max(sizes) - sum(sizes)) / sum(sizes)
        arms += [Arm(augment, level, screened=screened, balanced=True) for screened in sorted(set(settings.screened))]
    return arms


def control_arms(winner: Arm, controls: Sequence[Control] = ("duplicated", "shuffled")) -> list[Arm]:
    """What the winner must beat, so that neither more images nor any noise explains its gain: equal in all else."""
    return [replace(winner, control=control) for control in controls]


def fewer_real(baseline: Arm) -> list[Arm]:
    """Real images alone, a quarter and half of them."""
    return [replace(baseline, share=share) for share in (0.25, 0.5)]


def ratio_name(ratio: float) -> str:
    """A ratio as people write it: 0.5, 2."""
    return f"{ratio:.3g}"


def _known(treatments: Any) -> list[tuple[bool, bool, str]]:
    """Without treatments that cannot be: soft labels are the screening judge's. At least the plain one."""
    kept = [(screened, soft, schedule) for screened, soft, schedule in treatments if screened or not soft]
    return list(dict.fromkeys(kept or [(False, False, "constant")]))


def _augment_name(augment: str) -> str:
    """The augmentation in words."""
    if augment == "none":
        return "no augmentation"
    return " + ".join(_SPOKEN.get(part, part) for part in augment.split("+"))
