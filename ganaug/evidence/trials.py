"""Who trains the arms: the reference learner, on real images and on samples of banks that never saw the others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union

import numpy as np
import torch

from ganaug.bank import GeneratorBank
from ganaug.evidence import material
from ganaug.evidence.arms import Arm, control_arms
from ganaug.evidence.cells import Job, run_jobs
from ganaug.evidence.exams import LearnerExam, get_learner_exam
from ganaug.evidence.material import Beside, Stock, as_bank, digest
from ganaug.evidence.parts import Parts
from ganaug.evidence.protocol import Cell, Outcome, Part, Round
from ganaug.progress import CellBar
from ganaug.recipe import Compare, Recipe, Screening
from ganaug.tasks import get_task

Lot = tuple[Round, Union[float, None]]
"""A round, and how far variations go in it."""

__all__ = ["Crew", "ReferenceTrials", "all_rounds", "refitted"]


@dataclass
class Crew:
    """Where jobs run, and where their results are kept."""

    device: torch.device
    folder: Path | None = None
    workers: int = 0
    cluster: Literal["ray"] | None = None
    bar: CellBar | None = None

    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Results by the names of their files: a stage may ask for what an earlier one has trained."""

    def run(self, jobs: Sequence[Job], shared: tuple[Any, ...], *, cells: bool = True) -> list[dict[str, Any]]:
        """The result of each job; those that are no `cells` do not move the bar."""
        left = [job for job in jobs if job.file not in self.done]
        found = run_jobs(
            left,
            shared=shared,
            folder=self.folder,
            workers=self.workers,
            cluster=self.cluster,
            gpus=1.0 if self.device.type == "cuda" else 0.0,
            bar=self.bar if cells else None,
        )
        for job, result in zip(left, found, strict=True):
            assert result is not None  # no deadline was given
            self.done[job.file] = result
        return [self.done[job.file] for job in jobs]


def all_rounds(settings: Compare) -> list[Round]:
    """Every split once with the first seed, then with the next."""
    return [(split, run) for run in range(settings.seeds) for split in range(settings.splits)]


def refitted(recipe: Recipe, parts: Sequence[Parts], beside: Beside, crew: Crew) -> list[GeneratorBank]:
    """For each split the bank of this recipe, fitted on its training part alone."""
    told = recipe.model_dump(mode="json", exclude={"compare", "export", "train", "screening", "minutes"})
    values, device = recipe.model_dump(mode="json"), str(crew.device)
    jobs = [
        Job(
            key={
                "what": "refit 2", "recipe": told, "classes": list(part.train.class_names), "held": list(part.held),
                "data": digest(*part.train.tensors), "beside": beside.digest(),
            },
            function=material.refit,
            arguments=(split, values, device),
            name=f"the refit for split {split + 1}",
        )
        for split, part in enumerate(parts)
    ]  # fmt: skip
    return [as_bank(result, device) for result in crew.run(jobs, (parts, beside), cells=False)]


def train_and_tell(
    stocks: Mapping[Lot, Stock], lot: Lot, task: str, arm: Arm, training: Mapping[str, Any], device: str
) -> dict[str, Any]:
    """A cell: train the task's learner, and tell how it does on both parts, so that nothing is trained twice."""
    began = time.perf_counter()
    told = get_learner_exam(task).train(stocks[lot], arm, training, device)
    return {**told, "seconds": time.perf_counter() - began}


def screening_of(
    parts: Sequence[Parts],
    banks: Sequence[GeneratorBank],
    split: int,
    task: str,
    count: Mapping[str, int],
    settings: Mapping[str, Any],
    seed: int,
    soft: bool,
    device: str,
) -> dict[str, Any]:
    """A cell: which samples of a split's bank pass the screening."""
    return get_learner_exam(task).screening(
        parts[split].train, banks[split], count, settings, seed=seed, soft=soft, device=device
    )  # fmt: skip


@dataclass
class ReferenceTrials:
    """The reference learner of a task (Trials of the protocol)."""

    task: str
    parts: Sequence[Parts]
    """One for each split."""
    settings: Compare
    flips: bool
    seed: int
    crew: Crew
    banks: list[GeneratorBank] = field(default_factory=list)
    """One for each split; made by `prepare` where there are none."""
    recipe: Recipe | None = None
    """To refit where there are no banks; its kimg is set."""
    screening: Screening = field(default_factory=Screening)
    beside: Beside = field(default_factory=Beside)
    """What refits learn from too."""
    notes: list[str] = field(default_factory=list)
    """What screenings could not do."""
    _screened: dict[float | None, list[dict[str, Any]]] = field(default_factory=dict)
    _samples: dict[tuple[Lot, bool], Any] = field(default_factory=dict)

    @property
    def exam(self) -> LearnerExam:
        """What is trained and how it is scored."""
        return get_learner_exam(self.task)

    @property
    def rounds(self) -> Sequence[Round]:
        """As the protocol has it."""
        return all_rounds(self.settings)

    @property
    def choosing(self) -> bool:
        """As the protocol has it."""
        return self.parts[0].choose is not None

    @property
    def metric(self) -> str:
        """What a score is."""
        return self.exam.metric(self.settings, self.parts[0].train)

    @property
    def learner(self) -> str:
        """Who learns."""
        return self.exam.learner(self.settings)

    def classical(self) -> list[Arm]:
        """Arms of real images alone."""
        return self.exam.classical(self.settings, self.flips)

    def synthetic(self, augment: str) -> list[Arm]:
        """As the protocol has it."""
        return self.exam.synthetic(self.settings, augment, self.parts[0].train)

    def controls(self, winner: Arm) -> list[Arm]:
        """As the protocol has it."""
        return control_arms(winner, self.exam.controls)

    def run(self, cells: Sequence[Cell], part: Part) -> list[Outcome]:
        """As the protocol has it."""
        lots = [(place, arm.reach) for arm, place in cells]
        arms = [arm for arm, _ in cells]
        stocks = {lot: self._stock(lot, [arm for arm, at in zip(arms, lots, strict=True) if at == lot]) for lot in lots}
        jobs = [self._job(arm, lot, stocks[lot]) for arm, lot in zip(arms, lots, strict=True)]
        found = self.crew.run(jobs, (stocks,))
        self._samples = {key: kept for key, kept in self._samples.items() if key[0] in stocks}  # the last ones only
        return [self._outcome(result, place, part) for result, (_, place) in zip(found, cells, strict=True)]

    def size(self, arm: Arm, place: Round) -> int:
        """As the protocol has it."""
        return len(material.share_of(self.parts[place[0]].train, arm.share, self._seed(place)).fingerprints)

    def seconds(self, arm: Arm) -> float:
        """What one training takes."""
        lot = (self.rounds[0], arm.reach)
        stock = self._stock(lot, [arm])
        (result,) = self.crew.run([self._job(arm, lot, stock)], ({lot: stock},), cells=False)
        return float(result["seconds"])

    def prepare(self) -> None:
        """As the protocol has it: the recipe is fitted on each split's own training part."""
        if not self.banks:
            assert self.recipe is not None
            self.banks = refitted(self.recipe, self.parts, self.beside, self.crew)

    @property
    def _device(self) -> str:
        return str(self.crew.device)

    def _job(self, arm: Arm, lot: Lot, stock: Stock) -> Job:
        place, _ = lot
        training, judged = self.exam.training(self.settings), stock.parts.judged()
        shown = [part.tensors for name in ("choose", "score") if (part := judged.get(name)) is not None]
        data = digest(*self.exam.tensors(stock, arm), *(tensor for tensors in shown for tensor in tensors))
        key = {
            "what": self.exam.cell, "arm": arm.key, **training, "seed": stock.seed, "data": data,
            "classes": len(stock.parts.train.class_names),
        }  # fmt: skip
        name = f"{arm.name} (split {place[0] + 1}, seed {place[1] + 1})"
        return Job(key, train_and_tell, (lot, self.task, arm, training, self._device), name)

    def _stock(self, lot: Lot, arms: Sequence[Arm]) -> Stock:
        """What these arms of a round need, and no more: it is sent to every worker."""
        place, reach = lot
        split, _ = place
        drawn = [arm for arm in arms if arm.ratio and arm.control != "duplicated"]
        soft = any(arm.soft for arm in arms)
        return Stock(
            parts=self.parts[split],
            seed=self._seed(place),
            plain=self._drawn(lot, False) if any(not arm.screened for arm in drawn) else None,
            screened=self._drawn(lot, True) if any(arm.screened for arm in drawn) else None,
            own=torch.tensor(self._screenings(reach)[split]["own"], dtype=torch.float32) if soft else None,
        )

    def _seed(self, place: Round) -> int:
        """The same for all arms of a round."""
        return self.seed + place[1] + 1009 * place[0]

    def _drawn(self, lot: Lot, screened: bool) -> Any:
        if (lot, screened) not in self._samples:
            (split, run), reach = lot
            most = self._most(split)
            screening = self._screenings(reach)[split] if screened else None
            bank = material.reaching(self.banks[split], reach)
            self._samples[lot, screened] = self.exam.samples(
                bank, list(most), list(most.values()), run, self.seed, screening
            )  # fmt: skip
        return self._samples[lot, screened]

    def _most(self, split: int) -> dict[str, int]:
        """Samples of each class, or of all alike where samples have none, that the greediest of the arms takes."""
        train = self.parts[split].train
        names = get_task(self.task).groups(train)
        sizes = torch.bincount(train.labels, minlength=len(names)).tolist()
        most = np.max([arm.added(sizes) for arm in self.synthetic("none")], axis=0).tolist()
        return dict(zip(names, most, strict=True))

    def _screenings(self, reach: float | None) -> list[dict[str, Any]]:
        """That of each split's bank; made when it is first asked for."""
        if reach not in self._screened:
            banks = [material.reaching(bank, reach) for bank in self.banks]
            found = self.crew.run(self._screening_jobs(banks), (self.parts, banks), cells=False)
            self.notes += [told["shortage"] for told in found if told["shortage"]]
            self._screened[reach] = found
        return self._screened[reach]

    def _screening_jobs(self, banks: Sequence[GeneratorBank]) -> list[Job]:
        soft, jobs = any(self.settings.soft), []
        told = self.screening.model_dump(mode="json")
        for split, (part, bank) in enumerate(zip(self.parts, banks, strict=True)):
            wanted = {name: self.settings.seeds * count for name, count in self._most(split).items()}
            key = {
                "what": "screening 1", "bank": bank.fingerprint, "settings": told, "wanted": wanted, "soft": soft,
                "seed": self.seed, "data": digest(*part.train.tensors), "flips": self.flips,
            }  # fmt: skip
            arguments = (split, self.task, wanted, told, self.seed, soft, self._device)
            jobs.append(Job(key, screening_of, arguments, f"the screening for split {split + 1}"))
        return jobs

    def _outcome(self, result: Mapping[str, Any], place: Round, part: Part) -> Outcome:
        return self.exam.outcome(result[part], self.parts[place[0]].judged()[part], self.metric)
