"""What the arms of one training have to train on: real images, and synthetic ones of a bank that never saw the rest."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ganaug.adapters.torchvision import Learner
from ganaug.bank import GeneratorBank
from ganaug.classifier import predict, train_classifier
from ganaug.data import LabelledImages, stratified_split, without_copies
from ganaug.evidence.arms import Arm
from ganaug.evidence.parts import Parts
from ganaug.fitting import fit
from ganaug.recipe import Screening
from ganaug.screening import screen
from ganaug.screening.judge import train_judge

__all__ = [
    "Beside",
    "Samples",
    "Stock",
    "as_bank",
    "digest",
    "mixed",
    "refit",
    "repeated",
    "samples_of",
    "screening_of",
    "share_of",
    "train_and_predict",
]

SMOOTHING = 0.05  # of real labels beside soft ones: what the reference classifier does to all where none is soft


@dataclass(frozen=True)
class Samples:
    """Synthetic images of each class, in the order in which a low ratio takes the first of them."""

    images: tuple[Tensor, ...]  # NCHW uint8
    soft: tuple[Tensor, ...] | None = None  # (n, classes) float32


@dataclass(frozen=True)
class Stock:
    """All that the arms of one split and seed are made of and scored on."""

    parts: Parts
    seed: int
    plain: Samples | None = None
    screened: Samples | None = None
    own: Tensor | None = None
    """(N, classes): the judge's out-of-fold probabilities for the real images, for duplicates with soft labels."""

    def digest(self, arm: Arm) -> str:
        """32 hex digits that change with anything that this arm trains on or is scored on."""
        images, targets, _ = mixed(self, arm)
        held = [part for part in (self.parts.choose, self.parts.score) if part is not None]
        return digest(images, targets, *(tensor for part in held for tensor in (part.images, part.labels)))


@dataclass(frozen=True)
class Beside:
    """What a refit learns from beside its labelled images."""

    unlabelled: LabelledImages | None = None
    base: GeneratorBank | None = None

    def digest(self) -> str:
        """32 hex digits that change with any of it."""
        images = [self.unlabelled.images] if self.unlabelled is not None else []
        return digest(*images, *(self.base.generators.state_dict().values() if self.base is not None else []))

    def without(self, part: Parts) -> dict[str, Any]:
        """Arguments of `fit` in which no image of a part that is held back, nor a near-copy of one, is left."""
        if self.unlabelled is None:
            return {"base": self.base}
        held = [images for images in (part.score, part.choose) if images is not None]
        return {"base": self.base, "unlabelled": without_copies(self.unlabelled, held)}


def digest(*tensors: Tensor) -> str:
    """32 hex digits that change with any number or shape."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(json.dumps([str(tensor.dtype), *tensor.shape]).encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


def mixed(stock: Stock, arm: Arm) -> tuple[Tensor, Tensor, int]:
    """What an arm trains on: images NCHW uint8, targets as `train_classifier` takes them, and how many fade out.

    What is added comes after the real images, shared out over the classes as `GanAugmented` does it.
    """
    real = share_of(stock.parts.train, arm.share, stock.seed)
    if arm.ratio == 0:
        return real.images, real.labels, 0
    counts = arm.added(real.counts())
    images, labels, soft = _duplicates(stock, counts) if arm.control == "duplicated" else _drawn(stock, arm, counts)
    if arm.control == "shuffled":
        dealt = torch.randperm(len(labels), generator=torch.Generator().manual_seed(stock.seed))
        labels, soft = labels[dealt], None if soft is None else soft[dealt]
    targets = torch.cat([real.labels, labels])
    if arm.soft:
        assert soft is not None
        classes = len(real.class_names)
        certain = functional.one_hot(real.labels, classes).float() * (1 - SMOOTHING) + SMOOTHING / classes
        targets = torch.cat([certain, soft])
    return torch.cat([real.images, images]), targets, len(labels) if arm.annealed else 0


def train_and_predict(
    stocks: Mapping[tuple[int, int], Stock],
    place: tuple[int, int],
    arm: Arm,
    length: Mapping[str, Any],
    learner: Mapping[str, Any] | None,
    device: str,
) -> dict[str, Any]:
    """A cell: train the learner, and tell for each image held back whether it was right, as 0 or 1.

    Both parts are told of here, so that nothing is trained twice; the protocol opens "score" for the chosen arm alone.
    The learner is the reference classifier, or with `learner` the torchvision model that these arguments of `Learner`
    name.
    """
    began = time.perf_counter()
    stock = stocks[place]
    images, targets, fading = mixed(stock, arm)
    classes = len(stock.parts.train.class_names)
    network = train_classifier(
        images,
        targets,
        classes=classes,
        build=(lambda: Learner(classes=classes, section="compare", **learner)) if learner else None,
        seed=stock.seed,
        augment=arm.augment,
        fading=fading,
        device=device,
        **length,
    )
    held = {"choose": stock.parts.choose, "score": stock.parts.score}
    told = {
        what: "".join(map(str, (predict(network, part.images) == part.labels).long().tolist()))
        for what, part in held.items()
        if part is not None
    }
    return {**told, "seconds": time.perf_counter() - began}


def refit(parts: Sequence[Parts], beside: Beside, split: int, recipe: Mapping[str, Any], device: str) -> dict[str, str]:
    """A cell: the recipe fitted on a split's own training part; the bank's file in base 64."""
    part = parts[split]
    bank = fit(
        part.train, recipe=recipe, device=device, held_back=part.held, progress=False, **beside.without(part)
    )  # fmt: skip
    assert not set(bank.manifest.held_back_fingerprints) & set(part.train.fingerprints)
    with tempfile.TemporaryDirectory() as folder:
        return {"bank": base64.b64encode(bank.save(Path(folder) / "refit.ganaug").read_bytes()).decode()}


def as_bank(result: Mapping[str, str], device: str) -> GeneratorBank:
    """The bank that `refit` made."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "refit.ganaug"
        path.write_bytes(base64.b64decode(result["bank"]))
        return GeneratorBank.load(path, device)


def screening_of(
    parts: Sequence[Parts],
    banks: Sequence[GeneratorBank],
    split: int,
    count: Mapping[str, int],
    settings: Mapping[str, Any],
    seed: int,
    soft: bool,
    device: str,
) -> dict[str, Any]:
    """A cell: which samples of a split's bank pass the screening, by class name.

    With `soft`, what the judge says of them and of the real images too.
    """
    train, bank, wanted = parts[split].train, banks[split], Screening.model_validate(settings)
    found = screen(bank, train, {name: n for name, n in count.items() if n}, settings=wanted, seed=seed, device=device)
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


def samples_of(
    bank: GeneratorBank,
    names: Sequence[str],
    most: Sequence[int],
    run: int,
    seed: int,
    screening: Mapping[str, Any] | None,
) -> Samples:
    """Samples for one seed: `most` of each class, others than those of any other seed.

    Args:
        bank: to draw from.
        names: of the classes.
        most: how many of each, for the highest ratio.
        run: number of the seed, from 0; its samples are the next `most` of those that passed the screening.
        seed: of the comparison.
        screening: what `screening_of` told; None for samples as they come. Where too few passed, they are repeated.
    """
    if screening is None:
        drawn = [bank.sample(name, max(1, count), seed=seed + run) for name, count in zip(names, most, strict=True)]
        return Samples(tuple(drawn))
    images, soft = [], []
    for name, count in zip(names, most, strict=True):
        kept = screening["kept"].get(name, [])
        taken = (np.arange(run * count, (run + 1) * count) % len(kept)).tolist() if kept else []
        chosen = [kept[place] for place in taken]
        images.append(bank.sample_at(bank.class_index(name), chosen, seed=seed))
        if screening["soft"].get(name):
            soft.append(torch.tensor([screening["soft"][name][place] for place in taken], dtype=torch.float32))
        else:
            soft.append(torch.zeros(len(taken), len(names)))
    return Samples(tuple(images), tuple(soft))


def share_of(data: LabelledImages, share: float, seed: int) -> LabelledImages:
    """A part of the images, the same of every class; each keeps one at least."""
    return data if share == 1 else data.subset(stratified_split(data.labels, 1 - share, seed)[0])


def repeated(labels: Tensor, counts: Sequence[int], seed: int) -> Tensor:
    """Indices of so many images of each class, each as often as any other of its class, give or take once."""
    random = torch.Generator().manual_seed(seed)
    places = []
    for label, count in enumerate(counts):
        members = (labels == label).nonzero().flatten()
        shuffled = members[torch.randperm(len(members), generator=random)]
        places.append(shuffled[torch.arange(count) % max(1, len(members))])
    return torch.cat(places)


def _drawn(stock: Stock, arm: Arm, counts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """The first samples of each class, with labels, and the judge's probabilities where the arm is soft."""
    samples = stock.screened if arm.screened else stock.plain
    assert samples is not None
    images = [made[:count] for made, count in zip(samples.images, counts, strict=True)]
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor([len(made) for made in images]))
    if not arm.soft:
        return torch.cat(images), labels, None
    assert samples.soft is not None
    return torch.cat(images), labels, torch.cat([s[:count] for s, count in zip(samples.soft, counts, strict=True)])


def _duplicates(stock: Stock, counts: Sequence[int]) -> tuple[Tensor, Tensor, Tensor | None]:
    """As many real images once more."""
    real = stock.parts.train
    chosen = repeated(real.labels, counts, stock.seed)
    return real.images[chosen], real.labels[chosen], None if stock.own is None else stock.own[chosen]
