"""Which images train, which choose, which are scored; and that none does two of these."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages, near_copies, stratified_split
from ganaug.errors import DataError, LeakError, did_you_mean

__all__ = ["Parts", "given_parts", "hold_back", "refuse_leaks", "splits"]

_TINY = 10  # images of the rarest class below which a third is held back, not a fifth


@dataclass(frozen=True)
class Parts:
    """Images that share none, all of the same classes in the same order."""

    train: LabelledImages
    choose: LabelledImages | None
    score: LabelledImages
    subject: Literal["bank", "recipe"]
    scored_on: str
    notes: tuple[str, ...] = ()

    @property
    def held(self) -> tuple[str, ...]:
        """Fingerprints of all that is not trained on."""
        return tuple(print_ for part in self.judged().values() for print_ in part.fingerprints)

    def judged(self) -> dict[Literal["choose", "score"], LabelledImages]:
        """The parts that a learner is tried on."""
        return {"score": self.score, **({"choose": self.choose} if self.choose is not None else {})}


def refuse_leaks(
    bank: GeneratorBank,
    train: LabelledImages,
    sets: dict[str, LabelledImages],
    *,
    otherwise: str = "or give neither val nor test",
) -> tuple[str, ...]:
    """Check that no image of `sets` (name to images) has been trained on or is in two of them.

    Returns:
        A note for each set that holds near-copies of such images: saved again, resized or brightened.

    Raises:
        LeakError: there is such an image.
        DataError: a set has a class that the bank does not know.
    """
    fitted = set(bank.manifest.train_fingerprints)
    like = [*bank.manifest.train_perceptual, *train.perceptual]
    notes = []
    seen: dict[str, Collection[str]] = {"the bank was fitted on": fitted, "data holds": set(train.fingerprints)}
    for what, found in sets.items():
        unknown = [name for name in found.class_names if name not in bank.class_names]
        if unknown:
            raise DataError(
                f"{what} has class {unknown[0]!r}, which the bank does not know"
                f"{did_you_mean(unknown[0], bank.class_names)}; or name the classes to compare on"
            )
        for whose, prints in seen.items():
            shared = sum(print_ in prints for print_ in found.fingerprints)
            if shared:
                raise LeakError(
                    f"{shared} of the {len(found.fingerprints)} images of {what} are among those that {whose}; "
                    f"an honest answer needs others: leave them out, {otherwise}"
                )
        seen[f"{what} holds"] = set(found.fingerprints)
        if near := len(near_copies(found.perceptual, like)):
            notes.append(
                f"{near} of the {len(found.fingerprints)} images of {what} are near-copies of images that were trained "
                "on or that another set holds, and flatter the answer"
            )
        like += found.perceptual
    return tuple(notes)


def given_parts(
    train: LabelledImages, sets: dict[str, LabelledImages], several: bool, seed: int, *, fewest: int = 1
) -> Parts:
    """The parts where the user gives the images to score: "val", "test" or both; with several ratios, one is chosen.

    `fewest` images of each kind are scored, as in `hold_back`.
    """
    for what, found in sets.items():
        _need(found, fewest, what)
    if len(sets) == 2:
        return Parts(train, sets["val"] if several else None, sets["test"], "bank", "test")
    (what, found), *_ = sets.items()
    if not several:
        return Parts(train, None, found, "bank", what)
    chosen, scored = _split_apart(found, 0.5, seed, what, 2 * fewest)
    note = f"half of {what} chose the ratio and the other half was scored; give both val and test to spend each whole"
    return Parts(train, chosen, scored, "bank", f"half of {what}", (note,))


def hold_back(data: LabelledImages, several: bool, seed: int, *, fewest: int = 1) -> Parts:
    """A fifth to score, and of the rest a fifth to choose a ratio where there are several; thirds of tiny sets.

    Parts are of whole images. At least `fewest` of each kind are scored.
    """
    share = 1 / 3 if min(_distinct(data).kinds().values()) < _TINY else 1 / 5
    least = max(4 if several else 3, 3 * fewest - 1)  # a third of which is `fewest`
    rest, score = _split_apart(data, share, seed, "data", least)
    choose = None
    if several:
        rest, choose = _split_apart(rest, share, seed + 1, "data")
    return Parts(rest, choose, score, "recipe", "held back")


def splits(data: LabelledImages, count: int, several: bool, seed: int, *, fewest: int = 1) -> list[Parts]:
    """`hold_back`, so many times over with other images each time."""
    return [hold_back(data, several, seed + 1009 * split, fewest=fewest) for split in range(count)]


def _split_apart(
    data: LabelledImages, share: float, seed: int, what: str, least: int = 2
) -> tuple[LabelledImages, LabelledImages]:
    """The rest and the part held back, which has no copy of an image of the rest, nor two of one.

    Nor has the rest near-copies of what is held back, such as the same photograph re-encoded.
    """
    distinct = _distinct(data)
    _need(distinct, least, what)
    _, indices = stratified_split(distinct.strata, share, seed)
    held = distinct.subset(indices)
    known = set(held.fingerprints)
    rest = data.subset([index for index, print_ in enumerate(data.fingerprints) if print_ not in known])
    near = {index for index, _ in near_copies(rest.perceptual, held.perceptual)}
    rest = rest.subset([index for index in range(len(rest.fingerprints)) if index not in near])
    _need(rest, 1, what)
    return rest, held


def _distinct(data: LabelledImages) -> LabelledImages:
    """The first of each image."""
    first = {print_: index for index, print_ in reversed(list(enumerate(data.fingerprints)))}
    return data.subset(sorted(first.values()))


def _need(data: LabelledImages, count: int, what: str) -> None:
    for kind, had in data.kinds().items():
        if had < count:
            raise DataError(
                f"{kind} has {had} images in {what}; this comparison needs {count} different ones at least: "
                f"give more images{', or leave the class out' if len(data.kinds()) > 1 else ''}"
            )
