"""Exams: what a comparison asks of a task. What is trained, on what, and how it is scored is said here, once a task.

    classes.py: a classifier, right or wrong on every image    maps.py: a segmenter, Dice on every image
    boxes.py: a detector of a library, trained on the user's own images; average precision

Nothing else of `evidence` knows what a label is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.errors import BankError
from ganaug.evidence.arms import Arm, Control
from ganaug.evidence.exams.boxes import BoxExam
from ganaug.evidence.exams.classes import ClassExam
from ganaug.evidence.exams.maps import MapExam
from ganaug.evidence.gallery import Gallery
from ganaug.evidence.material import Stock
from ganaug.evidence.protocol import Outcome
from ganaug.recipe import Compare

__all__ = [
    "BoxExam",
    "ClassExam",
    "Exam",
    "LearnerExam",
    "LentExam",
    "MapExam",
    "get_exam",
    "get_learner_exam",
    "get_lent_exam",
]


class Exam(Protocol):
    """What a comparison asks of a task."""

    @property
    def controls(self) -> tuple[Control, ...]:
        """What a winner must beat."""
        ...

    @property
    def fewest(self) -> int:
        """Images of each kind that a part to score must have."""
        ...

    @property
    def commands(self) -> tuple[str, ...]:
        """Those that can tell something of such a bank, of compare, screen, measure, explore and report --data."""
        ...

    def gallery(self, bank: GeneratorBank, columns: int, real: LabelledImages | None, source: Any) -> Gallery:
        """What a report shows of the bank's samples; `source` is what the training images `real` were read from."""
        ...

    def settings(self, settings: Compare) -> Compare:
        """As far as they go with this task; a RecipeError where one does not and the user may have meant it."""
        ...

    def names(self, bank: GeneratorBank, classes: Sequence[str] | None) -> list[str] | None:
        """The classes to compare on; none where all of them come with every image."""
        ...

    def scored(self, names: Sequence[str]) -> tuple[str, ...]:
        """Of all class names those that a score speaks of."""
        ...

    def read(
        self,
        source: Any,
        bank: GeneratorBank,
        names: Sequence[str] | None,
        *,
        what: str,
        on_bad: Literal["stop", "skip"],
        raw: Any = None,
    ) -> LabelledImages:
        """The images of `source` in the bank's size and channels; of `names` only, in that order, where given."""
        ...

    def in_order(self, data: LabelledImages, names: Sequence[str], what: str) -> LabelledImages:
        """The same with these classes, numbered in this order."""
        ...


class LearnerExam(Exam, Protocol):
    """An exam with a learner of ganaug's own, trained on tensors."""

    @property
    def cell(self) -> str:
        """Who learns, in the keys of cells; another name once it does so otherwise."""
        ...

    def metric(self, settings: Compare, train: LabelledImages) -> str:
        """What a score is, in words; the higher the better, 0..1."""
        ...

    def learner(self, settings: Compare) -> str:
        """Who learns in every arm, in words."""
        ...

    def classical(self, settings: Compare, flips: bool) -> list[Arm]:
        """Real images alone with each classical augmentation, the plainest first; `flips`: whether mirrors are real."""
        ...

    def synthetic(self, settings: Compare, augment: str, train: LabelledImages) -> list[Arm]:
        """Every way to mix, the plainest first."""
        ...

    def training(self, settings: Compare) -> dict[str, Any]:
        """All that decides how an arm is trained but for its images; as JSON, for keys and for `train`."""
        ...

    def samples(
        self,
        bank: GeneratorBank,
        names: Sequence[str],
        most: Sequence[int],
        run: int,
        seed: int,
        screening: Mapping[str, Any] | None,
    ) -> Any:
        """Samples for one seed, `most` for each of `names`; others than those of any other seed."""
        ...

    def tensors(self, stock: Stock, arm: Arm) -> tuple[Tensor, ...]:
        """All that an arm is trained on."""
        ...

    def train(self, stock: Stock, arm: Arm, training: Mapping[str, Any], device: str) -> dict[str, Any]:
        """Train the learner, and tell how it does on both parts, as JSON; the protocol opens "score" for few arms."""
        ...

    def outcome(self, told: Any, held: LabelledImages, metric: str) -> Outcome:
        """What `train` told of a part, as scores."""
        ...

    def screening(
        self,
        train: LabelledImages,
        bank: GeneratorBank,
        count: Mapping[str, int],
        settings: Mapping[str, Any],
        *,
        seed: int,
        soft: bool,
        device: str,
    ) -> dict[str, Any]:
        """Which samples pass the screening, as JSON that `samples` takes; "shortage" says what could not be had."""
        ...

    def shuffled(self, bank: GeneratorBank) -> GeneratorBank:
        """The same samples under labels that have been dealt out anew: a control."""
        ...


class LentExam(Exam, Protocol):
    """An exam whose learner is a library's, trained on the user's own images as the user's own trainer is."""

    def items(self, source: Any, what: str, on_bad: str) -> Any:
        """The user's images as a dataset; `what` is "data", "val" or "test", `on_bad` "stop" or "skip"."""
        ...

    def trainer(self, settings: Compare, device: str) -> tuple[Any, dict[str, Any]]:
        """Who trains; what `OwnTrials` says of it, and "augments", what real images alone are augmented with."""
        ...


_LEARNERS: dict[str, LearnerExam] = {"classify": ClassExam(), "segment": MapExam()}
_LENT: dict[str, LentExam] = {"detect": BoxExam()}


def get_exam(task: str) -> Exam:
    """That of a task, as a bank says it."""
    exams: dict[str, Exam] = {**_LEARNERS, **_LENT}
    if task not in exams:
        raise BankError(
            f"comparisons and reports are of banks of task {', '.join(exams)}, and this one is of task {task}; look at "
            "what it makes with: ganaug preview"
        )
    return exams[task]


def get_learner_exam(task: str) -> LearnerExam:
    """That of a task whose learner is ganaug's own."""
    return _LEARNERS[task]


def get_lent_exam(task: str) -> LentExam | None:
    """That of a task whose learner is a library's; none of others."""
    return _LENT.get(task)
