"""Do a dataset and a bank belong together? Classes, fingerprints and image sizes, looked at before any mixing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np
import numpy.typing as npt

from ganaug.bank import GeneratorBank
from ganaug.data import DatasetView, fingerprint, near_copies, perceptual_print
from ganaug.data.class_names import same_classes
from ganaug.data.joint_view import JointView
from ganaug.errors import DataError, LeakError

__all__ = [
    "MatchedClass",
    "larger_images",
    "match_classes",
    "strange_images",
    "unmatched_classes",
    "usual_side",
    "with_size",
]

View = Union[DatasetView, JointView]
MOST_CHECKED = 2000  # images whose fingerprints are looked at
STRANGE_SHARE = 0.1  # images that the bank was not fitted on, above which it is said
MOST_SIZES = 64  # images whose size is looked at
MUCH_LARGER = 2  # times the bank's resolution
_HIGHEST = 128  # resolution that a recipe may have


@dataclass(frozen=True)
class MatchedClass:
    """A class that both the dataset and the bank know."""

    label: int
    """Its number in the dataset."""
    name: str
    """Its name in the dataset; its number where it has no name."""
    bank_index: int
    """Its place in the bank."""
    bank_name: str
    members: npt.NDArray[np.int64]
    """Indices of its real images."""


def match_classes(view: View, labels: npt.NDArray[np.int64], bank: GeneratorBank) -> list[MatchedClass]:
    """Classes of the dataset that the bank knows, by label: matched by name, else by number.

    By number only where one side has no names, so that nothing is matched against its name.

    Raises:
        DataError: there is no such class.
    """
    if not isinstance(view, DatasetView):  # its images have no class of their own
        return [MatchedClass(0, "images", 0, "images", np.arange(len(labels)))]
    present = {int(label): view.class_name(int(label)) for label in np.unique(labels)}
    found = same_classes(present, view.class_names is not None, bank.class_names, bank.label_numbers)
    if not found:
        raise DataError(
            f"the dataset and the bank share no class: the dataset has {_some(list(present.values()))}, "
            f"the bank {_some(bank.class_names)}; give the bank that was fitted on these classes"
        )
    return [
        MatchedClass(label, view.class_name(label), index, bank.class_names[index], np.flatnonzero(labels == label))
        for label, index in found.items()
    ]


def unmatched_classes(
    view: View, labels: npt.NDArray[np.int64], matched: list[MatchedClass], bank: GeneratorBank
) -> str | None:
    """A warning where the bank does not know some classes of the dataset."""
    known = {cls.label for cls in matched}
    missing = [view.class_name(int(label)) for label in np.unique(labels) if int(label) not in known]
    if not missing:
        return None
    return (
        f"the bank knows no {_some(missing)} of the dataset's classes and adds no synthetic images of them; "
        f"it knows {_some(bank.class_names)}"
    )


def strange_images(view: View, matched: Sequence[MatchedClass], bank: GeneratorBank) -> str | None:
    """A warning where the bank was not fitted on the dataset's images, or some all but equal images it held back.

    Up to 2000 images, evenly spaced, are looked at.

    Raises:
        LeakError: some of them are images that the bank lists as held back from its fit.
    """
    fitted, held_back = set(bank.manifest.train_fingerprints), set(bank.manifest.held_back_fingerprints)
    if not fitted and not held_back:
        return None
    of_matched = np.zeros(len(view), dtype=bool)
    for cls in matched:
        of_matched[cls.members] = True
    leaked = compared = strange = 0
    prints = []
    for index in _evenly(len(view), MOST_CHECKED):
        try:
            image = view.image(index)
            found = fingerprint(image)
        except DataError:  # an unreadable image is for the training loop to meet, as it would without ganaug
            continue
        leaked += found in held_back
        if bank.manifest.held_back_perceptual:
            prints.append(perceptual_print(image))
        if of_matched[index]:  # the bank may have been fitted on some of the classes only
            compared += 1
            strange += found not in fitted
    if leaked:
        raise LeakError(
            f"{leaked} images of the dataset are among those that the bank's fit held back for an honest score; "
            "wrap the training images alone, or fit a bank on all of these (check=False mixes anyway)"
        )
    said = []
    if fitted and compared and strange / compared > STRANGE_SHARE:
        said.append(
            f"the bank was not fitted on {strange} of {compared} images looked at; wrap the data it was fitted on"
        )
    if near := len(near_copies(prints, bank.manifest.held_back_perceptual)):
        said.append(
            f"{near} of {len(prints)} images looked at are near-copies of images that the bank's fit held back for an "
            "honest score, which then flatters; leave them out"
        )
    return "; and ".join(said) or None


def larger_images(view: View, bank: GeneratorBank, *, enlarged: bool = False) -> str | None:
    """A warning where real images are much larger than the bank's, be they `enlarged` by another bank already."""
    if bank.varies and bank.task != "classify":  # which are varied at their own size
        return None
    side = usual_side(view)
    if side <= MUCH_LARGER * bank.resolution:
        return None
    way = "enlarge them by a bank of recipe enlarge-64 (enlarge=), " if bank.task == "classify" and not enlarged else ""
    way += f"fit at {2 * bank.resolution} px (resolution), or " if bank.resolution < _HIGHEST else ""
    return (
        f"real {view.what} are about {side} px and the bank's {bank.resolution} px: synthetic {view.what} are "
        f"enlarged to their size and will look soft; {way}shrink the real images first"
    )


def usual_side(view: View) -> int:
    """The median of the shorter sides of up to 64 real images, evenly spaced; 0 where none can be read."""
    shorter = sorted(min(view.image_size(index)) for index in with_size(view, _evenly(len(view), MOST_SIZES)))
    return shorter[len(shorter) // 2] if shorter else 0


def with_size(view: View, indices: Iterable[int]) -> list[int]:
    """Those of the images whose size can be told; the view remembers it, so that no worker has to look again."""
    found = []
    for index in indices:
        try:
            view.image_size(index)
        except DataError:  # as above
            continue
        found.append(index)
    return found


def _evenly(length: int, most: int) -> list[int]:
    count = min(length, most)
    return [index * length // count for index in range(count)]


def _some(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
