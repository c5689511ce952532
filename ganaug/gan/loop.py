"""The loop of one fit: batches in, steps taken, snapshots scored, the best one kept, checkpoints written."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganaug.errors import OutputError, TrainingError
from ganaug.gan.checkpoint import below, read_checkpoint, restore_trainer, trainer_tensors, write_checkpoint
from ganaug.gan.interruption import Interrupted, Interruption
from ganaug.gan.memory import freed_memory_kept
from ganaug.gan.monitor import Event, Monitor, Snapshot, Trouble, is_good
from ganaug.gan.precision import Precision, fastest_precision
from ganaug.gan.processes import Processes
from ganaug.gan.seeding import seeded
from ganaug.gan.training import Batches, BuildTraining, Shape, Training
from ganaug.recipe import Recipe, budget_steps

__all__ = ["Fit", "Snapshot", "seconds_per_step"]

_SAVED_EVERY = 120.0  # seconds between two checkpoints at the most, however far apart the snapshots are
_ASKED_EVERY = 16  # steps; asking all processes takes a message


@dataclass
class Fit:
    """One fit of one pair of networks, from its start or its last checkpoint to the end of its budget."""

    images: Tensor
    """(N, C, H, W) uint8."""
    labels: Any
    """What the task tells the generator of each image: its class (N,), its label map (N, H, W), or more."""
    recipe: Recipe
    shape: Shape
    build: BuildTraining
    device: torch.device
    kimg: float
    evaluate: Callable[[nn.Module], tuple[float, dict[str, float]]]
    """Score and measures of an averaged generator in evaluation mode."""
    seed: int = 0
    checkpoint: Path | None = None
    resume: bool = False
    precision: Precision | None = None
    """None for the fastest on `device`."""
    processes: Processes = field(default_factory=Processes)
    """All make the same fit of the same images; the first examines it, keeps its files and calls back."""
    on_step: Callable[[int, int], None] = lambda step, steps: None
    on_snapshot: Callable[[Snapshot, nn.Module], None] = lambda snapshot, generator: None
    on_event: Callable[[Event], None] = lambda event: None
    history: list[Snapshot] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    good: dict[str, Tensor] = field(default_factory=dict)
    """All tensors of the trainer at the last good snapshot, on the CPU; at first those of its beginning."""
    good_step: int = 0
    seconds: float = 0.0
    saved: int | None = None
    """The step that the last whole checkpoint is of."""

    @freed_memory_kept()
    def run(self) -> nn.Module:
        """Train, and return the averaged generator of the best snapshot, on the CPU in evaluation mode.

        Raises:
            TrainingError: a loss is not a number, gentler settings did not mend it, and there is no snapshot to fall
                back on.
            Interrupted: with a `checkpoint`, Ctrl-C or SIGTERM came; one of that step was written.
        """
        with Interruption(active=self.checkpoint is not None) as interruption:
            return self._train(interruption)

    def _train(self, interruption: Interruption) -> nn.Module:
        trainer, batches = self._begin()
        steps = budget_steps(self.kimg, self.recipe.gan.batch)
        marks = _marks(steps, self.recipe.snapshots.count)
        self._began = self._last_saved = time.perf_counter()
        self._seconds_before = self.seconds
        while trainer.steps < steps and not self.monitor.stopped:
            self.monitor.guide(trainer)
            self.monitor.add(trainer.step(batches.draw(), trainer.steps / steps))
            if self.processes.first:
                self.on_step(trainer.steps, steps)
            trouble = self.monitor.look(trainer.steps)
            if trainer.steps in marks:
                self._time()
                trouble = trouble or self._look(trainer)
            if trouble:
                self._answer(trouble, trainer)
            stops = self._told_to_stop(interruption, trainer.steps)
            late = time.perf_counter() - self._last_saved > _SAVED_EVERY
            if stops is not None or late or (trainer.steps in marks and self.best):
                self._save(trainer, batches)
            if stops is not None:
                # The others wait here until the first has written.
                raise Interrupted(stops, trainer.steps, steps, self.processes.told(lambda: self.saved))
        short = self.monitor.note_end(self.history)
        if short is not None and self.processes.first:
            self.on_event(short)
        if not self.best:
            raise TrainingError(
                f"the loss is not a number after {trainer.steps} steps; lower gan.generator_lr, gan.discriminator_lr "
                "and gan.reconstruction_lr"
            )
        trainer.networks["average"].load_state_dict(self.best)
        return trainer.sampler.to("cpu").eval().requires_grad_(False)

    def _begin(self) -> tuple[Training, Batches]:
        with seeded(self.seed, self.device):
            trainer = self.build(self.recipe, self.shape, self.device, self._precision(), processes=self.processes)
        trainer.random.manual_seed(self.seed)
        batches = trainer.take(self.images, self.labels, torch.Generator().manual_seed(self.seed + 1))
        self.monitor = Monitor(self.recipe, budget_steps(self.kimg, self.recipe.gan.batch))
        if self.resume and self.checkpoint and self.checkpoint.exists():
            self._restore(trainer, batches)
        self._agree(trainer)
        if not self.good:
            self._hold_good(trainer)
        return trainer, batches

    @property
    def events(self) -> list[Event]:
        """What went wrong, and what was done about it."""
        return self.monitor.events

    def _agree(self, trainer: Training) -> None:
        """Start all processes from the same weights, whatever their machines make of a seed."""
        starts = self.processes.gathered(trainer.steps)
        if len(set(starts)) > 1:
            raise TrainingError(
                f"the processes of this fit would go on from different steps ({min(starts)} to {max(starts)}); give an "
                "--out on a disk that all machines share"
            )
        for network in trainer.networks.values():
            self.processes.share(network.state_dict().values())

    def _told_to_stop(self, interruption: Interruption, step: int) -> int | None:
        """The signal that came to this process or, asked now and then, to any of several: all stop at one step."""
        if self.processes.size == 1:
            return interruption.number
        if step % _ASKED_EVERY:
            return None
        return next((number for number in self.processes.gathered(interruption.number) if number is not None), None)

    def _time(self) -> None:
        self.seconds = self._seconds_before + time.perf_counter() - self._began

    def _precision(self) -> Precision:
        return self.processes.told(lambda: self.precision or fastest_precision(self.device))

    def _look(self, trainer: Training) -> Trouble | None:
        """Score the averaged generator and keep it if it is the best; what is wrong with it, if anything is."""
        signals = self.monitor.means()
        broken = Trouble("broken", "a loss or a weight is not a number")
        networks = dict(trainer.networks)
        average = networks["average"]
        if not all(map(math.isfinite, signals.values())) or not self._finite(networks.pop("generator"), average):
            return broken
        trainer.settle(torch.Generator().manual_seed(self.seed + 2))
        score, measures = self.processes.told(lambda: self.evaluate(trainer.sampler))
        if not math.isfinite(score) or not self._finite(*networks.values()):
            return broken
        kimg = trainer.steps * self.recipe.gan.batch / 1000
        snapshot = Snapshot(trainer.steps, kimg, self.seconds, score, measures | signals)
        trouble = self.monitor.judge(snapshot, self.history)
        if not self.history or score > max(past.score for past in self.history):
            self.best = {name: tensor.detach().to("cpu", copy=True) for name, tensor in average.state_dict().items()}
        if trouble is None and is_good(snapshot, self.history):
            self._hold_good(trainer)
        trouble = trouble or self.monitor.has_had_enough(snapshot, self.history)
        self.monitor.turn()
        self.history.append(snapshot)
        if self.processes.first:
            self.on_snapshot(snapshot, trainer.sampler)
        return trouble

    def _finite(self, *networks: nn.Module) -> bool:
        tensors = [tensor for network in networks for tensor in network.state_dict().values()]
        return all(self.processes.gathered(all(bool(tensor.isfinite().all()) for tensor in tensors)))

    def _hold_good(self, trainer: Training) -> None:
        self.good_step = trainer.steps
        held = trainer_tensors(trainer).items()
        # The random state runs on when the fit goes back: the same draws might end the same way.
        self.good = {name: tensor.detach().to("cpu", copy=True) for name, tensor in held if name != "random"}

    def _answer(self, trouble: Trouble, trainer: Training) -> None:
        """Go back to the last good state, or end. The steps count on: a fit that went back takes no longer."""
        if self.monitor.settle(trouble, trainer.steps, self.good_step):
            state = self.good | {"random": trainer.random.get_state()}
            restore_trainer(trainer, state, trainer.steps)
        if self.processes.first:
            self.on_event(self.monitor.events[-1])

    def _save(self, trainer: Training, batches: Batches) -> None:
        if self.checkpoint is None or not self.processes.first:
            return
        self._time()
        self._last_saved = time.perf_counter()
        tensors = trainer_tensors(trainer) | {"batches": batches.random.get_state()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"good/{name}": tensor for name, tensor in self.good.items()}
        tensors |= {f"sums/{name}": tensor for name, tensor in self.monitor.sums.items()}
        notes: dict[str, Any] = {
            "steps": trainer.steps,
            "kimg": self.kimg,
            "precision": trainer.precision,
            "seconds": self.seconds,
            "good_step": self.good_step,
            "monitor": self.monitor.notes(),
            "history": [asdict(snapshot) for snapshot in self.history],
            "recipe": self.recipe.model_dump(mode="json"),
            "shape": self.shape.to_dict(),
        }
        try:
            write_checkpoint(self.checkpoint, tensors, notes)
            self.saved = trainer.steps
        except OutputError as error:
            last = "there is none yet" if self.saved is None else f"the last whole one is of step {self.saved}"
            warnings.warn(f"{error}; training goes on without new checkpoints, and {last}; make room", stacklevel=2)

    def _restore(self, trainer: Training, batches: Batches) -> None:
        assert self.checkpoint is not None
        tensors, notes = read_checkpoint(self.checkpoint)
        wanted = {"shape": self.shape.to_dict(), "recipe": self.recipe.model_dump(mode="json"), "kimg": self.kimg}
        if any(notes.get(name) != value for name, value in wanted.items()):
            raise TrainingError(
                f"{self.checkpoint} is of another recipe or other classes; repeat the first command with --resume, "
                "or give another --out"
            )
        try:
            trainer.compute_in(notes["precision"])
            restore_trainer(trainer, tensors, notes["steps"])
            batches.random.set_state(tensors["batches"])
            self.best, self.good = below(tensors, "best/"), below(tensors, "good/")
            self.good_step = notes["good_step"]
            self.monitor.restore(below(tensors, "sums/"), notes["monitor"], self.device)
            self.history = [Snapshot(**snapshot) for snapshot in notes["history"]]
            self.seconds, self.saved = notes["seconds"], notes["steps"]
        except (KeyError, TypeError, RuntimeError) as error:
            why = str(error).partition("\n")[0].rstrip(":")
            raise TrainingError(
                f"{self.checkpoint} was written by another version of ganaug ({why}); go on with that version, or give "
                "another --out"
            ) from error


@freed_memory_kept()
def seconds_per_step(
    recipe: Recipe,
    shape: Shape,
    build: BuildTraining,
    device: torch.device,
    images: Tensor,
    labels: Any,
    processes: Processes | None = None,
) -> float:
    """Mean seconds of a step over the whole budget, measured on a trainer that is thrown away."""
    processes = processes or Processes()
    with seeded(0, device):
        trainer = build(recipe, shape, device, fastest_precision(device), processes=processes)
    batches = trainer.take(images, labels, torch.Generator().manual_seed(0))
    share = recipe.reconstruction.share
    phases = [(weight, progress) for weight, progress in ((share, 0.0), (1 - share, (1 + share) / 2)) if weight > 0]
    total = 0.0
    trainer.random.manual_seed(0)  # the same in all processes
    for weight, progress in phases:
        trainer.step(batches.draw(), progress)  # the first step prepares the kernels
        blocks = [_block_seconds(trainer, batches, progress, recipe.gan.penalty_every) for _ in range(3)]
        total += weight * min(blocks)  # what else the machine does slows some of them, and will not go on for ever
    return processes.told(lambda: total)


def _block_seconds(trainer: Training, batches: Batches, progress: float, steps: int) -> float:
    """Mean seconds of `steps` steps, among them one with a gradient penalty."""
    began = time.perf_counter()
    for _ in range(steps):
        trainer.step(batches.draw(), progress)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    return (time.perf_counter() - began) / steps


def _marks(steps: int, count: int) -> set[int]:
    """Steps at which to look: `count` of them, evenly spread, the last among them."""
    return {max(1, round(steps * (i + 1) / count)) for i in range(count)}
