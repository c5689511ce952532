"""Exploring a bank: its directions, what each does, and ways between samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganaug.bank import GeneratorBank
from ganaug.classifier import train_classifier
from ganaug.data import LabelledImages
from ganaug.data.objects import ObjectImages
from ganaug.errors import BankError, DataError
from ganaug.evidence.exams import get_exam
from ganaug.evidence.exams.classes import in_order
from ganaug.exploring.drawing import Strip
from ganaug.exploring.effects import PLACES, Codes, Looks, as_images, changes, draw_codes, look, render
from ganaug.exploring.exploration import Direction, Exploration
from ganaug.exploring.wording import direction_words
from ganaug.gan.device import resolve_device
from ganaug.gan.object_variation import alphas_of, over_grey
from ganaug.gan.steering import Directions
from ganaug.latent import Space, open_spaces
from ganaug.measures import nearest_tolerant

__all__ = ["explore"]

Say = Callable[[str], None]
_MOST_CLASSES = 32  # of a generator that are looked at
_SAMPLES = 256  # looked at in all, about
_FEWEST = 8  # of a class
_WAY = 7  # images on the way from one sample to another
_JUDGED = 64  # samples of a class that a judge is trained on, without data
_STEPS = 150  # of its training


def explore(
    bank: GeneratorBank,
    data: Any = None,
    *,
    directions: int = 8,
    samples: int | None = None,
    seed: int = 0,
    raw: Any = None,
    on_bad: Literal["stop", "skip"] = "stop",
    device: str | torch.device = "auto",
    report: Say | None = None,
) -> Exploration:
    """What a bank's generators know: principal directions, what each changes, and ways between samples and classes.

    Directions are those of the generators as they were fitted, also where the bank has a setting `latent`. They are the
    same each time, and `bank.with_latent({"exclude": [2], "shift": {0: 1.5}})` takes them by their numbers.

    Args:
        bank: for classification, or for detection, whose objects are then laid on grey.
        data: the training images, as `fit` takes them: the judge learns from them, and the nearest to the ends of each
            strip are shown. Without, the judge learns from other samples.
        directions: how many, of each generator.
        samples: of each class that effects are measured on, 2 or more; by default so many that there are 256 in all.
        seed: of the samples and of the judge, not of the directions.
        raw: the images of `data` below its transform, where ganaug cannot find them itself.
        on_bad: an unreadable image: "stop" or "skip".
        device: where the judge runs: "auto", "cpu", "cuda" or "cuda:i"; generators run where the bank is.
        report: is given lines of progress.

    Raises:
        BankError: the bank has no directions, or not so many; or a number is out of range.
        DataError: `data` cannot be read, or has other classes than the bank.
    """
    if isinstance(directions, bool) or not isinstance(directions, int) or directions < 1:
        raise BankError(f"directions is {directions!r}; give a whole number, 1 or more")
    if samples is not None and samples < 2:
        raise BankError(f"samples is {samples}; effects are measured on 2 samples of a class or more")
    if seed < 0:
        raise BankError(f"seed is {seed}; give a whole number, 0 or more")
    say = report or (lambda _: None)
    where = resolve_device(device)
    spaces = open_spaces(bank.manifest, list(bank.generators))
    found = _Survey(bank, _read(bank, data, raw, on_bad), samples, seed, where)
    say(f"finding {directions} directions of {len(spaces)} generator{'s' if len(spaces) > 1 else ''}")
    walks = [(space, space.directions(directions)) for space in spaces]
    say("training the judge" if len(bank.class_names) > 1 else "a single class: no judge can tell it from others")
    found.train_judge(spaces)
    described: list[Direction] = []
    for space, known in walks:
        described += found.describe(space, known, say)
    within = [strip for space in spaces for strip in found.within(space)]
    between = [strip for space, known in walks for strip in found.between(space, known)]
    return Exploration(
        bank=bank.fingerprint,
        directions=tuple(described),
        within=tuple(within),
        between=tuple(between),
        judge=found.told,
        seen_right=found.seen_right,
        seed=seed,
        notes=tuple(found.notes(spaces)),
    )


def _read(bank: GeneratorBank, data: Any, raw: Any, on_bad: Literal["stop", "skip"]) -> LabelledImages | None:
    """The images of the bank's classes, in their order; none without data."""
    if data is None:
        return None
    read = get_exam(bank.task).read(data, bank, None, what="data", on_bad=on_bad, raw=raw)
    if missing := [name for name in bank.class_names if name not in read.class_names]:
        raise DataError(
            f"data has no class {missing[0]!r} of the bank, only {', '.join(read.class_names[:5])}; give the images "
            "that it was fitted on, or leave data out"
        )
    if isinstance(read, ObjectImages):
        read = _over_grey(read, done=bank.varies)
    return in_order(read, bank.class_names, "data")


def _over_grey(objects: ObjectImages, *, done: bool) -> LabelledImages:
    """Crops as samples are shown, over grey, which is `done` where variations are learned from them."""
    alphas = alphas_of(objects.alphas, objects.inside, objects.labels, objects.images.shape[-1])
    return LabelledImages(
        objects.images if done else over_grey(objects.images, alphas),
        objects.labels,
        objects.class_names,
        objects.label_numbers,
        tuple(objects.fingerprints[source] for source in objects.sources.tolist()),
    )


@dataclass
class _Survey:
    """One exploration on its way."""

    bank: GeneratorBank
    data: LabelledImages | None
    samples: int | None
    seed: int
    device: torch.device
    judge: nn.Module | None = None
    told: str = "nobody: there is one class"
    right: tuple[int, int] = (0, 0)

    @property
    def seen_right(self) -> float | None:
        """Share of ordinary samples that the judge sees as their class."""
        return self.right[0] / self.right[1] if self.right[1] else None

    def train_judge(self, spaces: Sequence[Space]) -> None:
        """A classifier of the bank's classes, from data or from samples."""
        names = self.bank.class_names
        if len(names) == 1:
            return
        if self.data is not None:
            images, labels = self.data.images, self.data.labels
            self.told = f"a classifier trained on the {len(images):,} images of data"
        else:
            drawn = [draw_codes(s, range(len(s.classes)), _JUDGED, self.seed + 1) for s in spaces]
            shown = zip(spaces, drawn, strict=True)
            images = torch.cat([render(s, one.codes, one.told, self.bank.channels) for s, one in shown])
            labels = torch.cat([
                torch.tensor(self.places(s))[one.labels.cpu()] for s, one in zip(spaces, drawn, strict=True)
            ])  # fmt: skip
            self.told = f"a classifier trained on {len(images):,} other samples"
        self.judge = train_classifier(
            images, labels, classes=len(names), steps=_STEPS, seed=self.seed % 2**31, augment="crop",
            device=self.device,
        )  # fmt: skip

    def places(self, space: Space) -> list[int]:
        """Of each class of a space its place in the bank."""
        return [self.bank.class_names.index(name) for name in space.classes]

    def describe(self, space: Space, known: Directions, say: Say) -> list[Direction]:
        """What each direction of a space does, with a strip of each class."""
        classes = range(min(_MOST_CLASSES, len(space.classes)))
        count = self.samples or max(_FEWEST, _SAMPLES // len(classes))
        drawn = draw_codes(space, classes, count, self.seed)
        usual = look(render(space, drawn.codes, drawn.told, self.bank.channels), self.judge)
        self._count_right(space, drawn, usual)
        typical = _typical(space, known, drawn)
        described = []
        for number in range(len(known)):
            effects, turns = changes(
                space, known, number, drawn, usual, self.judge, channels=self.bank.channels,
                judged_as=self.places(space), names=self.bank.class_names,
            )  # fmt: skip
            strengths = {name: effect.strength for name, effect in effects.items()}
            words = direction_words(strengths, [turn.words for turn in turns])
            strips = self._strips(space, known, number, typical)
            described.append(
                Direction(number, space.classes, known.explained[number], effects, turns, words, tuple(strips))
            )
            say(f"direction {number}: {words}")
        return described

    def within(self, space: Space) -> list[Strip]:
        """Of each class the way from one sample to another, straight through their codes."""
        strips = []
        for cls in range(min(_MOST_CLASSES, len(space.classes))):
            pair = draw_codes(space, [cls], 2, self.seed + 2)
            told = pair.told[:1].expand(_WAY)  # variations stay those of one image
            codes = torch.stack([torch.lerp(pair.codes[0], pair.codes[1], far) for far in torch.linspace(0, 1, _WAY)])
            strips.append(self._strip(space.classes[cls], render(space, codes, told, self.bank.channels), space, cls))
        return strips

    def between(self, space: Space, known: Directions) -> list[Strip]:
        """From each class to the next: codes keep their place about the class's centre, and the class comes in."""
        classes = min(_MOST_CLASSES, len(space.classes))
        if space.between is None or classes < 2:
            return []
        drawn = _typical(space, known, draw_codes(space, range(classes), _FEWEST, self.seed + 2))
        strips = []
        for cls in range(classes if classes > 2 else 1):
            other = (cls + 1) % classes
            codes, one = drawn.codes[cls : cls + 1], drawn.labels[cls : cls + 1]
            shift = (known.centres[other] - known.centres[cls]).to(codes.device)
            there = drawn.labels[other : other + 1]
            with torch.no_grad():
                ways = torch.linspace(0, 1, _WAY).tolist()
                raw = torch.cat([space.between(codes + far * shift, one, there, far) for far in ways])
            name = f"{space.classes[cls]} to {space.classes[other]}"
            strips.append(Strip(name, as_images(raw, self.bank.channels)))
        return strips

    def notes(self, spaces: Sequence[Space]) -> list[str]:
        """What a reader should know besides."""
        notes = []
        if any(len(space.classes) > _MOST_CLASSES for space in spaces):
            notes.append(f"the first {_MOST_CLASSES} classes were looked at")
        if self.bank.recipe.latent is not None:
            notes.append("the bank has a setting latent; directions and samples here are those without it")
        return notes

    def _strips(self, space: Space, known: Directions, number: int, typical: Codes) -> list[Strip]:
        rows, strips = space.rows(typical.labels).cpu(), []
        places = [known.at(typical.codes.cpu(), rows, number, place) for place in PLACES]
        codes = torch.stack(places, 1).to(typical.codes.device)
        for cls, (steps, told) in enumerate(zip(codes, typical.told, strict=True)):
            images = render(space, steps, told.expand(len(PLACES)), self.bank.channels)
            strips.append(self._strip(space.classes[cls], images, space, cls))
        return strips

    def _strip(self, name: str, images: Tensor, space: Space, cls: int) -> Strip:
        """A strip, with the training images of the class that are nearest to its ends."""
        if self.data is None:
            return Strip(name, images)
        real = self.data.images[self.data.labels == self.places(space)[cls]]
        if not len(real):
            return Strip(name, images)
        flips = self.bank.recipe.data.horizontal_flip
        found, apart = nearest_tolerant(images[[0, -1]], real, flips=flips)
        near, far = (apart / 255).tolist()
        return Strip(name, images, real[found], (near, far))

    def _count_right(self, space: Space, drawn: Codes, usual: Looks) -> None:
        if usual.judged is not None:
            own = torch.tensor(self.places(space))[drawn.labels.cpu()]
            right = int((usual.judged.argmax(1) == own).sum())
            self.right = self.right[0] + right, self.right[1] + len(own)


def _typical(space: Space, known: Directions, drawn: Codes) -> Codes:
    """Of each class the sample that lies nearest to the middle of all directions."""
    places = known.places(drawn.codes.cpu(), space.rows(drawn.labels).cpu()).square().sum(1)
    labels = drawn.labels.cpu()
    first = [int(torch.where(labels == cls, places, torch.inf).argmin()) for cls in labels.unique().tolist()]
    return Codes(drawn.codes[first], drawn.told[first], drawn.labels[first])
