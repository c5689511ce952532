"""What a fit watches of itself, and what it does when it goes wrong.

None of the signals costs a step: the discriminator's word on real images, the losses and a gradient are at hand, and
coverage, spread and confusion are measured at the snapshots. A fit that overfits is answered by augmentation that
follows the discriminator's sign (Karras et al. 2020, 2006.06676, section 3); one that breaks down, loses its variety or
mixes up its classes goes back to the last good snapshot and on with gentler settings, a bounded number of times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ganaug.gan.training import Training
from ganaug.recipe import Recipe

__all__ = ["Event", "Monitor", "Snapshot", "Trouble", "is_good"]

WINDOW = 16  # steps between two looks at the signals: on CUDA a look waits for the device
_RISE = 0.1  # share of the budget in which augmentation can rise by 1 (2006.06676: 500 of 25,000 kimg)
_FEWER = 0.5  # of the best snapshot's coverage or spread: less is a collapse
_SAME = 0.2  # spread of a class by that of its real images: so little twice running is a collapse, unless it is growing
_FIRST = 0.2  # share of reconstruction, and of the game, in which images may still be that alike
_WORSE = 1.2  # reconstruction error by that of the first steps: more is no learning
_EARLIER, _FAIR, _BETTER = 0.7, 0.6, 1.1  # share of the budget; a score; its growth since then: more would help
_GOOD = 0.8  # of the best score: a state that is worth going back to


@dataclass(frozen=True)
class Snapshot:
    """What one look at the generator said."""

    step: int
    kimg: float
    seconds: float
    score: float
    """The higher the better; the snapshot with the highest is kept."""
    measures: dict[str, float]
    """What the score was made of, and the training's own signals, averaged since the last snapshot."""


@dataclass(frozen=True)
class Event:
    """Something went wrong, and what was done about it."""

    step: int
    kimg: float
    kind: str
    """"broken" (not a number, or no learning), "collapse", "confusion", "overfitting", "stopped" or "short"."""
    told: str
    """One line for a person."""


class Trouble(NamedTuple):
    """What is wrong: its kind, as in `Event`, and in words."""

    kind: str
    told: str


@dataclass
class Monitor:
    """Watches one fit of `steps` steps; everything it knows can be written down and read back."""

    recipe: Recipe
    steps: int
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Of each signal since the last snapshot, () float32 on the trainer's device."""
    counts: dict[str, int] = field(default_factory=dict)
    seen: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Sums and counts as they were at the last look."""
    events: list[Event] = field(default_factory=list)
    retries: int = 0
    ease: float = 1.0
    """Factor of the learning rates; falls with every return to a good state."""
    strength: float = field(init=False)
    """Of augmentation: up to 1 the probability of each part for each image, above it of a second round as well."""
    least: float = field(init=False)
    first_error: float | None = None
    """Reconstruction error of the first steps."""
    stopped: bool = False

    def __post_init__(self) -> None:
        self.strength = self.least = self.recipe.monitor.augment_least

    def add(self, logged: Mapping[str, Tensor]) -> None:
        """Note the signals of a step, () tensors each, without waiting for the device."""
        for name, value in logged.items():
            before = self.sums.get(name)
            self.sums[name] = value.float() if before is None else before + value.float()
            self.counts[name] = self.counts.get(name, 0) + 1

    def look(self, step: int) -> Trouble | None:
        """Every few steps: is a signal not a number, is nothing learned? Lets augmentation follow overfitting."""
        if step % WINDOW or not self.sums:
            return None
        values = self._totals()
        recent = self._recent(values)
        if not all(math.isfinite(value) for value in values.values()):
            return Trouble("broken", "a loss is not a number")
        if "real_sign" in recent:
            self._follow(recent["real_sign"])
        elif "reconstruction" in recent:
            self.first_error = self.first_error or recent["reconstruction"]
            if recent["reconstruction"] > _WORSE * self.first_error:
                return Trouble("broken", "reconstruction is worse than at the start")
        return None

    def means(self) -> dict[str, float]:
        """Mean of each signal since the last snapshot, and how strong augmentation is."""
        means = {name: total / self.counts[name] for name, total in self._totals().items()}
        return means | ({"augmentation": self.strength} if "real_sign" in means else {})

    def turn(self) -> None:
        """Begin to add up anew: a snapshot was taken, or the fit went back."""
        self.sums, self.counts, self.seen = {}, {}, {}

    def judge(self, snapshot: Snapshot, before: Sequence[Snapshot]) -> Trouble | None:
        """What is wrong with a snapshot, seen beside the ones before it."""
        now = snapshot.measures
        if not all(math.isfinite(value) for value in (snapshot.score, *now.values())):
            return Trouble("broken", "a loss or a measure is not a number")
        began = self.events[-1].step if self.events else 0
        if snapshot.step - began < WINDOW:
            return None  # too early to tell
        done, game = snapshot.step, self._game()
        if not before:
            return None
        late = done > _FIRST * game if done <= game else done - game > _FIRST * (self.steps - game)
        spread, past = now.get("least_spread", 1.0), before[-1].measures.get("least_spread", 1.0)
        if late and max(spread, past) < _SAME and spread <= 1.1 * past:
            # Reconstruction alone does not lose variety: where there is none it never began to learn.
            kind = "broken" if done <= game else "collapse"
            return Trouble(kind, "the samples of a class are nearly the same image")
        best = max(before, key=lambda past: past.score)
        for name, said in (("least_spread", "the samples of a class are alike"), ("coverage", "variety is lost")):
            if now.get(name, 1.0) < _FEWER * best.measures.get(name, 0.0):
                return Trouble("collapse", f"{said}: {name} {now[name]:.2f}, {best.measures[name]:.2f} at the best")
        if now.get("confusion", 0.0) > (best.measures.get("confusion", 1.0) + 1) / 2:
            said = f"{now['confusion']:.2f}, {best.measures['confusion']:.2f} at the best, 1 by chance"
            return Trouble("confusion", f"the samples are of other classes than those asked for ({said})")
        helpless = self.strength >= self.recipe.monitor.augment_most or not self.recipe.gan.augment
        if helpless and now.get("real_sign", 0.0) > self.recipe.monitor.sign_target and not is_good(snapshot, before):
            return Trouble("overfitting", f"the discriminator knows the real images (sign {now['real_sign']:.2f})")
        return None

    def has_had_enough(self, snapshot: Snapshot, before: Sequence[Snapshot]) -> Trouble | None:
        """Whether nothing has improved for so long that the rest of the budget would be spent for nothing."""
        patience = self.recipe.monitor.patience
        if patience is None or snapshot.step >= self.steps:
            return None
        best = max([*before, snapshot], key=lambda past: past.score)
        since = max(best.step, self._game(), self.events[-1].step if self.events else 0)
        if snapshot.step - since < patience * self.steps:
            return None
        return Trouble("stopped", f"nothing has improved since {best.kimg:.1f} kimg")

    def note_end(self, history: Sequence[Snapshot]) -> Event | None:
        """Write down that the budget has ended while samples that are not good yet were still getting better."""
        before = [past.score for past in history if past.step <= _EARLIER * self.steps]
        if self.stopped or not before:
            return None
        last = history[-1]
        best = max(past.score for past in history)
        if last.score < best or best >= _FAIR or best < _BETTER * max(before):
            return None
        told = (
            f"the budget has ended while the samples were still getting better (score {max(before):.2f} after "
            f"{_EARLIER:.0%} of it, {best:.2f} at its end, of 1): give more minutes or kimg"
        )
        self.events.append(Event(last.step, last.kimg, "short", told))
        return self.events[-1]

    def settle(self, trouble: Trouble, step: int, good_step: int) -> bool:
        """Make the settings gentler and write the event down; False if the fit is to end here."""
        done = step / self.steps
        self.stopped = trouble.kind == "stopped" or self.retries >= self.recipe.monitor.retries or done >= 1
        kimg = self.recipe.gan.batch / 1000
        if self.stopped:
            what = "the best snapshot is kept"
        else:
            self.retries += 1
            # A rate that breaks the numbers is far too high and not a little.
            self.ease *= 0.25 if trouble.kind == "broken" else 0.5
            self.least = min(self.recipe.monitor.augment_most, self.least + 0.25)
            self.strength = max(self.strength, self.least)
            what = (
                f"back to the state at {good_step * kimg:.1f} kimg, with learning rates x {self.ease:g} "
                f"({self.retries} of {self.recipe.monitor.retries})"
            )
        told = f"{trouble.told} (after {step * kimg:.1f} kimg): {what}"
        self.events.append(Event(step, step * kimg, trouble.kind, told))
        self.turn()
        return not self.stopped

    def guide(self, trainer: Training) -> None:
        """Give a trainer the settings that the fit goes on with."""
        trainer.ease, trainer.strength, trainer.hold = self.ease, self.strength, 1.5**self.retries

    def notes(self) -> dict[str, Any]:
        """JSON-able state, all of it but the sums."""
        return {
            "counts": self.counts, "seen": self.seen, "events": [asdict(event) for event in self.events],
            "retries": self.retries, "ease": self.ease, "strength": self.strength, "least": self.least,
            "first_error": self.first_error, "stopped": self.stopped,
        }  # fmt: skip

    def restore(self, sums: Mapping[str, Tensor], notes: Mapping[str, Any], device: torch.device) -> None:
        """Put back what `sums` held and `notes` gave."""
        for name, value in notes.items():
            setattr(self, name, value)
        self.sums = {name: total.to(device) for name, total in sums.items()}
        self.seen = {name: (total, count) for name, (total, count) in notes["seen"].items()}
        self.events = [Event(**event) for event in notes["events"]]

    def _totals(self) -> dict[str, float]:
        """The sums, as numbers: here, and nowhere else, the device is waited for."""
        if not self.sums:
            return {}
        return dict(zip(self.sums, torch.stack(list(self.sums.values())).tolist(), strict=True))

    def _game(self) -> float:
        return self.recipe.reconstruction.share * self.steps

    def _recent(self, values: Mapping[str, float]) -> dict[str, float]:
        """Means since the last look."""
        recent = {}
        for name, total in values.items():
            past, count = self.seen.get(name, (0.0, 0))
            if self.counts[name] > count:
                recent[name] = (total - past) / (self.counts[name] - count)
            self.seen[name] = (total, self.counts[name])
        return recent

    def _follow(self, sign: float) -> None:
        """Let augmentation rise while the mean sign of D on real images is above the target, and fall below it."""
        monitor = self.recipe.monitor
        change = WINDOW / (_RISE * self.steps) * ((sign > monitor.sign_target) - (sign < monitor.sign_target))
        self.strength = min(monitor.augment_most, max(self.least, self.strength + change))


def is_good(snapshot: Snapshot, before: Sequence[Snapshot]) -> bool:
    """Whether a snapshot is varied, and near enough to the best one before it, to be worth going back to."""
    varied = snapshot.measures.get("least_spread", 1.0) >= _SAME
    return varied and snapshot.score >= _GOOD * max((past.score for past in before), default=0.0)
