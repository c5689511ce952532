"""Who trains the arms: the user's own trainer, on the user's own dataset with its own transform."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch.utils.data import ConcatDataset, Dataset, Subset

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.data.copy_paste import CopyPaste
from ganaug.dataset import GanAugmented
from ganaug.errors import TrainingError
from ganaug.evidence import material
from ganaug.evidence.arms import Arm, control_arms, synthetic_arms
from ganaug.evidence.cells import Job
from ganaug.evidence.exams import get_exam, get_learner_exam
from ganaug.evidence.exams.boxes import scenes_of_real
from ganaug.evidence.material import Beside
from ganaug.evidence.parts import Parts
from ganaug.evidence.protocol import Cell, Outcome, Part, Round
from ganaug.evidence.trials import Crew, all_rounds, refitted
from ganaug.ratios import share_out
from ganaug.recipe import Compare, Recipe, Scenes

__all__ = ["Lent", "OwnTrials", "TrainAndScore", "places_of"]

_NUMBERS = re.compile(r"[0-9.]+")
"""Two warnings that differ in these alone are one."""

TrainAndScore = Callable[[Dataset[Any], Dataset[Any], int], Any]
"""Training set, set to score and seed to a score in 0..1, or {"score": ..., "per_class": {name: ...}, "also": {...}}.

"also" holds further measures by name, in 0..1 too. They are told, and decide nothing.
"""


@runtime_checkable
class ScoresAll(Protocol):
    """A trainer that is scored on several sets after one training."""

    def score_all(self, train: Any, scored: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
        """What a `TrainAndScore` would return of each of `scored`, by its name."""
        ...


@dataclass(frozen=True)
class Lent:
    """The user's datasets of one split; indices of each, and the datasets that they are of."""

    train: tuple[Any, list[int]]
    choose: tuple[Any, list[int]] | None
    score: tuple[Any, list[int]]


@dataclass
class OwnTrials:
    """The user's own trainer, or one of a library (Trials of the protocol)."""

    task: str
    """Whose exam says what the controls are."""
    trainer: TrainAndScore
    parts: Sequence[Parts]
    """One for each split."""
    lent: Sequence[Lent]
    """The same images as the user's datasets have them."""
    settings: Compare
    seed: int
    crew: Crew
    banks: list[GeneratorBank] = field(default_factory=list)
    recipe: Recipe | None = None
    beside: Beside = field(default_factory=Beside)
    """What refits learn from too."""
    notes: list[str] = field(default_factory=list)
    metric: str = "score"
    """What a score is; the trainer's own."""
    learner: str = "your own trainer"
    by_steps: bool = False
    """Whether it trains by the steps and the batch of the settings."""

    @property
    def rounds(self) -> Sequence[Round]:
        """As the protocol has it."""
        return all_rounds(self.settings)

    @property
    def choosing(self) -> bool:
        """As the protocol has it."""
        return self.parts[0].choose is not None

    def prepare(self) -> None:
        """As the protocol has it."""
        if not self.banks:
            assert self.recipe is not None
            self.banks = refitted(self.recipe, self.parts, self.beside, self.crew)

    def classical(self) -> list[Arm]:
        """Real images alone, augmented as the trainer has it, or with real objects pasted into some of them too."""
        return [Arm(augment) for augment in self.settings.augments]

    def synthetic(self, augment: str) -> list[Arm]:
        """As the protocol has it."""
        return synthetic_arms(self.settings, augment)

    def controls(self, winner: Arm) -> list[Arm]:
        """As the protocol has it; real images repeated are left out where all arms take as many steps anyway."""
        wanted = get_exam(self.task).controls
        return control_arms(winner, [one for one in wanted if not (one == "duplicated" and self.by_steps)])

    def run(self, cells: Sequence[Cell], part: Part) -> list[Outcome]:
        """As the protocol has it."""
        shared = (self.trainer, self.lent, self.parts, self.banks)
        found = self.crew.run([self._job(arm, place, part) for arm, place in cells], shared)
        for worry in (worry for told in found for worry in told["worries"]):
            if _NUMBERS.sub("", worry) not in {_NUMBERS.sub("", note) for note in self.notes}:
                self.notes.append(worry)
        return [
            Outcome(
                np.array([told["score"]]), {name: np.array([one]) for name, one in told["per_class"].items()},
                told["also"],
            )
            for told in (result[part] for result in found)
        ]  # fmt: skip

    def size(self, arm: Arm, place: Round) -> int:
        """As the protocol has it."""
        return len(material.share_of(self.parts[place[0]].train, arm.share, self.seed + place[1]).fingerprints)

    def seconds(self, arm: Arm) -> float:
        """What one training takes."""
        shared = (self.trainer, self.lent, self.parts, self.banks)
        (told,) = self.crew.run(
            [self._job(arm, self.rounds[0], "choose" if self.choosing else "score")], shared, cells=False
        )
        return float(told["seconds"])

    def _job(self, arm: Arm, place: Round, part: Part) -> Job:
        split, run = place
        images = self.parts[split]
        judged: tuple[Part, ...] = tuple(images.judged()) if isinstance(self.trainer, ScoresAll) else (part,)
        key = {
            "what": "own trainer 3", "trainer": _told(self.trainer), "arm": arm.key, "seed": self.seed + run,
            "parts": judged, "split": split, "held": list(images.held), "data": list(images.train.fingerprints),
            "bank": self._fingerprint(split, arm.reach) if arm.ratio and arm.control != "duplicated" else None,
        }  # fmt: skip
        pasting = self._pasting() if "copy-paste" in arm.augment.split("+") else None
        if pasting is not None:
            key["pasting"] = pasting
        name = f"train_and_score with {arm.name} (split {split + 1}, seed {run + 1})"
        return Job(key, train_and_score, (arm, split, judged, self.seed + run, pasting, name), name)

    def _fingerprint(self, split: int, reach: float | None) -> str:
        return material.reaching(self.banks[split], reach).fingerprint

    def _pasting(self) -> dict[str, Any]:
        """How real objects are pasted, as JSON."""
        assert self.recipe is not None, "every bank has one"
        return {"scenes": self.recipe.scenes.model_dump(mode="json"), "flip": self.recipe.data.horizontal_flip}


def train_and_score(
    trainer: TrainAndScore,
    lent: Sequence[Lent],
    parts: Sequence[Parts],
    banks: Sequence[GeneratorBank],
    arm: Arm,
    split: int,
    judged: Sequence[Part],
    seed: int,
    pasting: Mapping[str, Any] | None,
    name: str,
) -> dict[str, Any]:
    """A cell: give the user's trainer the arm's dataset and the parts to score, and check what it returns.

    One that has `score_all(train, {name: dataset}, seed)` trains once for all of them: `{name: as of one}`.
    """
    began = time.perf_counter()
    held: dict[str, Any] = {}
    for part in judged:
        images = lent[split].choose if part == "choose" else lent[split].score
        assert images is not None
        held[part] = Subset(*images)
    with tempfile.TemporaryDirectory() as folder:
        with warnings.catch_warnings(record=True) as warned:  # all arms' are alike: they are told once, as notes
            warnings.simplefilter("always", UserWarning)
            bank = material.reaching(banks[split], arm.reach) if arm.ratio else None
            train = _dataset(lent[split], parts[split].train, bank, arm, seed, pasting, folder)
        if isinstance(trainer, ScoresAll):
            found = trainer.score_all(train, held, seed)
        else:
            found = {part: trainer(train, images, seed) for part, images in held.items()}
        told = {part: _checked(found[part], name) for part in held}
    worries = [str(one.message) for one in warned if one.filename == __file__]  # GanAugmented's, not a library's
    return {**told, "worries": worries, "seconds": time.perf_counter() - began}


def places_of(whole: LabelledImages, part: LabelledImages | None) -> list[int]:
    """Indices of the images of a part, copies of them too."""
    prints = set() if part is None else set(part.fingerprints)
    return [index for index, print_ in enumerate(whole.fingerprints) if print_ in prints]


def _dataset(
    lent: Lent,
    read: LabelledImages,
    bank: GeneratorBank | None,
    arm: Arm,
    seed: int,
    pasting: Mapping[str, Any] | None,
    folder: str,
) -> Dataset[Any]:
    real, places = lent.train
    if arm.share < 1:
        kept = set(material.share_of(read, arm.share, seed).fingerprints)
        places = [place for place, print_ in zip(places, read.fingerprints, strict=True) if print_ in kept]
    subset: Dataset[Any] = Subset(real, places)
    if pasting is not None:
        subset = CopyPaste(subset, scenes=Scenes(**pasting["scenes"]), flip=pasting["flip"], seed=seed)
    if bank is None:
        return subset
    if arm.control == "duplicated":
        sizes = list(read.kinds().values())
        counts = share_out(round(arm.ratio * sum(sizes)), np.asarray(sizes)).tolist()
        again = material.repeated(read.strata, counts, seed).tolist()
        return ConcatDataset([subset, Subset(real, [places[index] for index in again])])
    if arm.control == "shuffled":
        bank = get_learner_exam(bank.task).shuffled(bank)
    scenes = scenes_of_real(bank) if arm.control == "pasted" else {}
    return GanAugmented(subset, bank, ratio=arm.ratio, seed=seed, pool_dir=folder, check=False, **scenes)


def _checked(told: Any, name: str) -> dict[str, Any]:
    """What a trainer returned, as {"score", "per_class", "also"}."""
    said = told if isinstance(told, Mapping) else {"score": told}
    found: dict[str, Any] = {"score": _share(said.get("score"), "a score", name)}
    for key, what in (("per_class", "a score of class"), ("also", "a measure")):
        by_name = said.get(key) or {}
        if not isinstance(by_name, Mapping):
            raise TrainingError(f"{name} returned {key} of {by_name!r}; wanted {{name: number}}, or leave it out")
        found[key] = {str(one): _share(value, f"{what} {one!r}", name) for one, value in by_name.items()}
    return found


def _share(value: Any, what: str, name: str) -> float:
    """A number from 0 to 1."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise TrainingError(
            f"{name} returned {what} of {value!r}; wanted a number from 0 to 1, as accuracy is, or "
            '{"score": number, "per_class": {name: number}, "also": {name: number}}; what was finished before is kept'
        )
    return number


def _told(trainer: TrainAndScore) -> str:
    """What tells one trainer from another: its name, and its text or its settings where they can be had."""
    if dataclasses.is_dataclass(trainer):
        return repr(trainer)
    try:
        text = inspect.getsource(trainer)
    except (OSError, TypeError):
        text = ""
    name = getattr(trainer, "__qualname__", type(trainer).__qualname__)
    return f"{getattr(trainer, '__module__', '')}.{name} {hashlib.sha256(text.encode()).hexdigest()[:16]}"
