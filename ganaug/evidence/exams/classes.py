"""The exam of classification: a classifier, and for every image whether it was told right."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ganaug.adapters.torchvision_models import Learner
from ganaug.bank import GeneratorBank
from ganaug.classifier import check_augment, predict, train_classifier
from ganaug.data import LabelledImages, choose_classes
from ganaug.data.images import colour_of
from ganaug.errors import DataError, did_you_mean
from ganaug.evidence.arms import Arm, Control, classical_arms, synthetic_arms, unequal
from ganaug.evidence.gallery import Gallery, draw_samples
from ganaug.evidence.material import Stock, repeated, share_of
from ganaug.evidence.protocol import Outcome
from ganaug.recipe import Compare, Screening
from ganaug.screening import screen
from ganaug.screening.judge import train_judge
from ganaug.showing import TURNS
from ganaug.tasks import get_task

__all__ = ["ClassExam", "Samples", "in_order", "mixed", "read"]

SMOOTHING = 0.05  # of real labels beside soft ones: what the reference classifier does to all where none is soft
_ORDER = ("flip", "crop", "elastic", "trivial", "cutmix")
_BALANCED = "balanced accuracy"
_MOST_CLASSES = 40  # with pictures; the tables name all
_WITHOUT = "Synthetic images as they come, unpicked."
_BENEATH = (
    "Above each line a synthetic image, as it comes; below it the training image of its class that is nearest, "
    "mirrored or moved a little if need be, and how much they differ. A copy shows itself as the same image twice."
)


@dataclass(frozen=True)
class Samples:
    """Synthetic images of each class, `TURNS` a slot, in the order in which a low ratio takes the first of them."""

    images: tuple[Tensor, ...]  # NCHW uint8
    soft: tuple[Tensor, ...] | None = None  # (n, classes) float32


class ClassExam:
    """Noise and class to image; the learner is ganaug's classifier or one of torchvision's (an `Exam`)."""

    fewest = 1
    cell = "reference classifier 1"
    controls: tuple[Control, ...] = ("duplicated", "shuffled")
    commands = ("compare", "screen", "measure", "explore", "report")

    def gallery(self, bank: GeneratorBank, columns: int, real: LabelledImages | None, source: Any) -> Gallery:
        """Samples of each class, with the nearest training image beneath each where those are given."""
        names = bank.class_names[:_MOST_CLASSES]
        told = _WITHOUT if real is None else _BENEATH
        return Gallery(told, {name: draw_samples(bank, name, range(columns), real=real) for name in names})

    def settings(self, settings: Compare) -> Compare:
        """All go with classes of images."""
        return settings

    def metric(self, settings: Compare, train: LabelledImages) -> str:
        """Accuracy, or balanced accuracy, in which every class counts the same, however many images it has."""
        return _BALANCED if settings.balanced and unequal(train.counts()) else "accuracy"

    def learner(self, settings: Compare) -> str:
        """Who learns in every arm, in words."""
        if settings.model is None:
            return "ganaug's reference classifier, from scratch"
        began = "from scratch" if settings.weights is None else f"from the weights {Path(settings.weights).name}"
        return f"torchvision's {settings.model} at {settings.image_size} px, {began}"

    def names(self, bank: GeneratorBank, classes: Sequence[str] | None) -> list[str] | None:
        """Two classes at least."""
        names = choose_classes(bank.class_names, classes)
        if len(names) < 2:
            raise DataError(f"there is one class, {names[0]!r}, so nothing to tell apart; compare on 2 classes or more")
        return names

    def scored(self, names: Sequence[str]) -> tuple[str, ...]:
        """All."""
        return tuple(names)

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
        """See `read`."""
        return read(source, bank, names, what=what, on_bad=on_bad, raw=raw)

    def in_order(self, data: LabelledImages, names: Sequence[str], what: str) -> LabelledImages:
        """See `in_order`."""
        return in_order(data, names, what)

    def classical(self, settings: Compare, flips: bool) -> list[Arm]:
        """Flips are where a mirrored image keeps its class: TrivialAugmentWide, which does not mirror, has them too."""
        return classical_arms(
            settings.augments, flips, parts_of=check_augment, order=_ORDER, mirrored=("flip", "trivial")
        )

    def synthetic(self, settings: Compare, augment: str, train: LabelledImages) -> list[Arm]:
        """Every ratio with every treatment; arms that level classes too, where these are unequal."""
        return synthetic_arms(settings, augment, train.counts())

    def training(self, settings: Compare) -> dict[str, Any]:
        """Steps and batch, and the model where one is named."""
        length: dict[str, Any] = settings.model_dump(include={"steps", "batch"})
        if settings.model is None:
            return length
        learner = {"name": settings.model, "weights": settings.weights, "side": settings.image_size}
        return {**length, "lr": settings.lr, "learner": learner, "weights": _content(settings.weights)}

    def samples(
        self,
        bank: GeneratorBank,
        names: Sequence[str],
        most: Sequence[int],
        run: int,
        seed: int,
        screening: Mapping[str, Any] | None,
    ) -> Samples:
        """`TURNS` for each of `most` slots of a class; screened, the next of what passed, over again if too few did."""
        counts = [TURNS * count for count in most]
        if screening is None:
            drawn = [bank.sample(name, max(1, n), seed=seed + run) for name, n in zip(names, counts, strict=True)]
            return Samples(tuple(drawn))
        images, soft = [], []
        for name, count in zip(names, counts, strict=True):
            kept = screening["kept"].get(name, [])
            taken = (np.arange(run * count, (run + 1) * count) % len(kept)).tolist() if kept else []
            chosen = [kept[place] for place in taken]
            images.append(bank.sample_at(bank.class_index(name), chosen, seed=seed))
            if screening["soft"].get(name):
                soft.append(torch.tensor([screening["soft"][name][place] for place in taken], dtype=torch.float32))
            else:
                soft.append(torch.zeros(len(taken), len(names)))
        return Samples(tuple(images), tuple(soft))

    def tensors(self, stock: Stock, arm: Arm) -> tuple[Tensor, ...]:
        """Images and targets."""
        return mixed(stock, arm)[:2]

    def train(self, stock: Stock, arm: Arm, training: Mapping[str, Any], device: str) -> dict[str, Any]:
        """Train the classifier, and tell for each image held back whether it was right, as 0 or 1."""
        images, targets, added, turns = mixed(stock, arm)
        classes, learner = len(stock.parts.train.class_names), training.get("learner")
        network = train_classifier(
            images,
            targets,
            classes=classes,
            build=(lambda: Learner(classes=classes, section="compare", **learner)) if learner else None,
            seed=stock.seed,
            augment=arm.augment,
            added=added,
            turns=turns,
            fading=arm.annealed,
            device=device,
            **{name: training[name] for name in ("steps", "batch", "lr") if name in training},
        )
        return {
            what: "".join(map(str, (predict(network, part.images) == part.labels).long().tolist()))
            for what, part in stock.parts.judged().items()
        }

    def outcome(self, told: Any, held: LabelledImages, metric: str) -> Outcome:
        """1 where it was right, else 0; weighted where every class counts the same."""
        right = np.array([float(digit) for digit in told])
        labels = held.labels.numpy()
        by_class = {name: right[labels == index] for index, name in enumerate(held.class_names)}
        if metric == _BALANCED:
            counts = np.bincount(labels, minlength=len(by_class))
            right = right * (len(labels) / np.count_nonzero(counts) / np.maximum(counts, 1))[labels]
        return Outcome(right, by_class)

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
        """By class name; with `soft`, what the judge says of the samples and of the real images too."""
        wanted = Screening.model_validate(settings)
        asked = {name: TURNS * n for name, n in count.items() if n}
        found = screen(bank, train, asked, settings=wanted, seed=seed, device=device)
        told: dict[str, Any] = {"kept": {}, "soft": {}, "shortage": found.shortage}
        columns = [found.judged.index(name) for name in train.class_names]
        for index, name in found.names.items():
            told["kept"][name] = found.kept[index].tolist()
            told["soft"][name] = found.soft[index][:, columns].round(4).tolist() if soft else []
        if soft:
            flips = bank.recipe.data.horizontal_flip
            judge = train_judge(
                train, judges=wanted.judges, steps=wanted.steps, flips=flips, seed=seed, device=device
            )  # fmt: skip
            own = judge.probabilities(train.images, torch.arange(len(train)))
            told["own"] = own.numpy().round(4).tolist()
        return told

    def shuffled(self, bank: GeneratorBank) -> GeneratorBank:
        """The same samples under classes that have been dealt out anew."""
        return _Shuffled(bank.manifest, list(bank.generators))


class _Shuffled(GeneratorBank):
    """The same samples under labels that have been dealt out anew."""

    @property
    def fingerprint(self) -> str:
        """Other than that of the bank: its samples are others."""
        return hashlib.sha256(f"shuffled {super().fingerprint}".encode()).hexdigest()[:32]

    def sample_at(self, class_index: int, indices: Sequence[int], *, seed: int = 0) -> Tensor:
        """For each index the sample of any class."""
        found = super().sample_at(class_index, indices, seed=seed)
        random = np.random.default_rng([seed, class_index])
        dealt = random.integers(len(self.class_names), size=max(indices, default=0) + 1)[list(indices)]
        for other in sorted(set(dealt.tolist())):
            rows = np.flatnonzero(dealt == other).tolist()
            found[torch.tensor(rows)] = super().sample_at(other, [indices[row] for row in rows], seed=seed)
        return found


def read(
    source: Any,
    bank: GeneratorBank,
    names: Sequence[str] | None,
    *,
    what: str,
    on_bad: Literal["stop", "skip"],
    raw: Any = None,
) -> LabelledImages:
    """The images of `source` in the bank's size and channels; of `names` only, in that order, where they are given."""
    if not isinstance(source, LabelledImages):
        recipe = bank.recipe.replace({"data.colour": colour_of(bank.channels)})
        least = 2 if what == "data" else 1  # to train on, or to score
        source = get_task(recipe.task).read(source, recipe, classes=names, raw=raw, on_bad=on_bad, least=least)
    wanted = (bank.channels, bank.resolution, bank.resolution)
    got = tuple(source.images.shape[1:])
    if got != wanted:
        raise DataError(f"images of {what} are {got} and the bank's {wanted}; read them like the bank's")
    return source if names is None else in_order(source, names, what)


def in_order(data: LabelledImages, names: Sequence[str], what: str) -> LabelledImages:
    """The images of these classes, numbered in this order."""
    for name in names:
        if name not in data.class_names:
            raise DataError(f"{what} has no class {name!r}, which is compared{did_you_mean(name, data.class_names)}")
    place = torch.full((len(data.class_names),), -1)
    for index, name in enumerate(names):
        place[data.class_names.index(name)] = index
    labels = place[data.labels]
    kept = data.subset((labels >= 0).nonzero().flatten())
    numbers = tuple(data.label_numbers[data.class_names.index(name)] for name in names)
    return replace(kept, labels=labels[labels >= 0], class_names=tuple(names), label_numbers=numbers)


def mixed(stock: Stock, arm: Arm) -> tuple[Tensor, Tensor, int, int]:
    """What an arm trains on: images NCHW uint8, targets for `train_classifier`, how many are added, in how many turns.

    What is added comes after the real images, shared out over the classes and shown in turn as `GanAugmented` does it.
    """
    real = share_of(stock.parts.train, arm.share, stock.seed)
    if arm.ratio == 0:
        return real.images, real.labels, 0, 1
    counts, again = arm.added(real.counts()), arm.control == "duplicated"
    images, labels, soft = _duplicates(stock, counts) if again else _drawn(stock, arm, counts)
    if arm.control == "shuffled":
        dealt = torch.randperm(len(labels), generator=torch.Generator().manual_seed(stock.seed))
        labels, soft = labels[dealt], None if soft is None else soft[dealt]
    targets = torch.cat([real.labels, labels])
    if arm.soft:
        assert soft is not None
        classes = len(real.class_names)
        certain = functional.one_hot(real.labels, classes).float() * (1 - SMOOTHING) + SMOOTHING / classes
        targets = torch.cat([certain, soft])
    return torch.cat([real.images, images]), targets, len(labels), 1 if again else TURNS


def _drawn(stock: Stock, arm: Arm, counts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """The first samples of each class, turn by turn, with labels, and the judge's probabilities for a soft arm."""
    samples = stock.screened if arm.screened else stock.plain
    assert isinstance(samples, Samples)

    def in_turns(of_classes: Sequence[Tensor]) -> list[Tensor]:
        return [
            made[turn * count : (turn + 1) * count]
            for turn in range(TURNS)
            for made, count in zip(of_classes, counts, strict=True)
        ]

    images = in_turns(samples.images)
    sizes = torch.tensor([len(made) for made in images])
    labels = torch.arange(len(counts)).repeat(TURNS).repeat_interleave(sizes)
    if not arm.soft:
        return torch.cat(images), labels, None
    assert samples.soft is not None
    return torch.cat(images), labels, torch.cat(in_turns(samples.soft))


def _duplicates(stock: Stock, counts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """As many real images once more."""
    real = stock.parts.train
    chosen = repeated(real.labels, counts, stock.seed)
    return real.images[chosen], real.labels[chosen], None if stock.own is None else stock.own[chosen]


def _content(weights: str | None) -> str | None:
    """What a file of weights holds, as a digest: a name may come to hold others."""
    path = Path(weights) if weights is not None else None
    return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.is_file() else None
