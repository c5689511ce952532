"""Which class each unlabelled image is of, as far as the labelled ones tell; of most it may well be none of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.classifier import probabilities, train_classifier
from ganaug.crossfit import fitted_temperature, folds_of
from ganaug.data import LabelledImages
from ganaug.errors import DataError
from ganaug.recipe import Unlabelled

__all__ = ["Guesses", "guess_classes"]

_CHUNK = 512  # images looked at at a time
_REAL = 0.5  # labelled share of what a judge learns from where it learns from its own word too


@dataclass(frozen=True)
class Guesses:
    """What the judges made of unlabelled images."""

    labels: Tensor
    """(N,) int64: the class, or the number of classes where none is sure enough, or -1 for images left out."""
    confidence: Tensor
    """(N,) float32: the judges' mean probability of the likeliest class."""
    thresholds: tuple[float, ...]
    """For each class the confidence from which images join it; above 1 where none does."""
    accuracy: float
    """Share of the labelled images that judges which had not seen them told right."""

    def counts(self) -> list[int]:
        """Images of each class, and last those of none."""
        kept = self.labels[self.labels >= 0]
        counts: list[int] = torch.bincount(kept, minlength=len(self.thresholds) + 1).tolist()
        return counts


def guess_classes(
    data: LabelledImages,
    unlabelled: Tensor,
    rows: Tensor,
    settings: Unlabelled,
    *,
    flips: bool,
    seed: int,
    device: torch.device | str = "cpu",
    half: bool | None = None,
) -> Guesses:
    """Guess the classes of unlabelled images, and leave alone those that cannot be told with some surety.

    Judges are trained on the labelled images, each without one part, which shows how sure to be: an image joins a class
    from the confidence on at which `precision` of the parts left out are of it. All judges must agree, and the image
    lie no farther from the nearest labelled image of the class, in the features of a judge, than these do from each
    other: there may be anything among them. Judges learn from their own word as well, `rounds` times and each still
    without its part (self-training with soft labels, as the noisy student of Xie et al. 2020, 1911.04252).

    Args:
        data: the labelled images.
        unlabelled: (N, C, H, W) uint8, of the size of `data.images`.
        rows: indices (n,) int64 of those to guess, at least one; the others are left out.
        settings: the recipe's section `unlabelled`.
        flips: whether a mirrored image is of the same class.
        seed: of parts and trainings.
        device: to train on.
        half: bfloat16, as in `train_classifier`.

    Raises:
        DataError: all labelled images are copies of one.
        TrainingError: a loss is not finite.
    """
    settled = torch.full((len(unlabelled),), -1)
    classes = len(data.class_names)
    if classes == 1:  # nothing to tell apart, so nothing that an image could be told by
        settled[rows] = 1
        return Guesses(settled, torch.zeros(len(unlabelled)), (2.0,), 1.0)
    folds = folds_of(data, min(settings.judges, len(data)), seed)
    if int(folds.max()) == 0:
        raise DataError(f"the {len(data)} labelled images are copies of one, which tells no classes apart; give more")
    training = {"steps": settings.steps, "augment": "flip+crop" if flips else "crop", "device": device, "half": half}
    parts = [(folds == fold).nonzero().flatten() for fold in range(int(folds.max()) + 1)]
    words = []
    for fold, part in enumerate(parts):
        own, others = data.subset(part), data.subset((folds != fold).nonzero().flatten())
        network = _judge(others, unlabelled, rows, settings.rounds, seed % 2**31 + 31 * fold, training)
        words.append(_word_of(network, own, others, unlabelled, settings.far))
    found = _settled(words, data.labels[torch.cat(parts)], settings.precision)
    settled[rows] = found.labels[rows]
    return replace(found, labels=settled)


@dataclass(frozen=True)
class _Word:
    """What one judge says."""

    own: Tensor
    """(n, classes) log probabilities of the labelled images that it was trained without."""
    others: Tensor
    """(N, classes) log probabilities of the unlabelled ones."""
    near: Tensor
    """(N, classes) bool: whether they are as near to labelled images of a class as those left out are."""


def _judge(
    data: LabelledImages, unlabelled: Tensor, rows: Tensor, rounds: int, seed: int, training: dict[str, Any]
) -> nn.Module:
    """A classifier of labelled images, and in `rounds` more of what the one before it says of unlabelled ones."""
    classes = len(data.class_names)
    certain = functional.one_hot(data.labels, classes).float()
    network = train_classifier(data.images, data.labels, classes=classes, seed=seed, **training)
    most = int(training["steps"] * 64 * (1 - _REAL))  # no more than are seen once
    for number in range(1, rounds + 1):
        random = torch.Generator().manual_seed(seed + number)
        some = rows[torch.randperm(len(rows), generator=random)[:most]].sort().values  # in the order of a mapped file
        shown = unlabelled[some]
        said = probabilities(network, shown)
        repeated = torch.arange(max(len(data), round(len(some) * _REAL / (1 - _REAL)))) % len(data)
        network = train_classifier(
            torch.cat([data.images[repeated], shown]), torch.cat([certain[repeated], said]), classes=classes,
            seed=seed + number, **training,
        )  # fmt: skip
    return network


def _word_of(
    network: nn.Module, own: LabelledImages, others: LabelledImages, unlabelled: Tensor, far: float | None
) -> _Word:
    left_out, vectors = _features(network, own.images), _features(network, unlabelled)
    near = torch.ones(len(unlabelled), len(own.class_names), dtype=torch.bool)
    if far is not None:
        known = _features(network, others.images)
        for cls in range(near.shape[1]):
            of_class = known[others.labels == cls]
            usual = _distances(left_out[own.labels == cls], of_class)
            if len(usual):
                near[:, cls] = _distances(vectors, of_class) <= usual.quantile(far)
    return _Word(_told(network, left_out), _told(network, vectors), near)


@torch.no_grad()
def _features(network: nn.Module, images: Tensor) -> Tensor:
    """(N, channels) float32 on the CPU: what a reference classifier sees before its last layer; `images` NCHW uint8."""
    assert isinstance(network, nn.Sequential)
    trunk, device = network[:-2], next(network.parameters()).device  # without dropout and the last layer
    parts = [trunk(part.to(device).float().div(127.5).sub(1)).float().cpu() for part in images.split(_CHUNK)]
    return torch.cat(parts)


@torch.no_grad()
def _told(network: nn.Module, features: Tensor) -> Tensor:
    """(N, classes) log probabilities on the CPU, from what `_features` gives."""
    assert isinstance(network, nn.Sequential)
    logits = network[-1](features.to(next(network.parameters()).device))
    return functional.log_softmax(logits.float().cpu(), dim=1)


def _distances(vectors: Tensor, known: Tensor) -> Tensor:
    """(N,) from each of `vectors` (N, d) to the nearest of `known` (M, d); infinite where there is none."""
    if not len(known):
        return torch.full((len(vectors),), torch.inf)
    parts = [torch.cdist(part, known).amin(1) for part in vectors.split(_CHUNK)]
    return torch.cat(parts) if parts else torch.empty(0)


def _settled(words: list[_Word], labels: Tensor, precision: float) -> Guesses:
    """What all judges say together; `labels` are those of the images that they were trained without, in order."""
    own = torch.cat([word.own for word in words])
    temperature = fitted_temperature(own, labels)
    sure, said = functional.softmax(own / temperature, dim=1).max(1)
    each = torch.stack([functional.softmax(word.others / temperature, dim=1) for word in words])
    confidence, guessed = each.mean(0).max(1)
    near = torch.stack([word.near for word in words]).float().mean(0) > 0.5
    able = (each.argmax(2) == guessed).all(0) & near.gather(1, guessed[:, None]).flatten()
    classes = own.shape[1]
    thresholds = tuple(_threshold(sure[said == cls], labels[said == cls] == cls, precision) for cls in range(classes))
    joins = able & (confidence >= torch.tensor(thresholds)[guessed])
    accuracy = float((said == labels).double().mean())
    return Guesses(torch.where(joins, guessed, classes), confidence, thresholds, accuracy)


def _threshold(sure: Tensor, right: Tensor, precision: float) -> float:
    """The least confidence from which on `precision` are right, of answers `sure` (n,) that are `right` (n,) or not.

    One more answer that is wrong is reckoned with, so that a few lucky ones prove nothing; above 1 where there is none.
    """
    order = sure.argsort(descending=True, stable=True)
    shares = right[order].double().cumsum(0) / (torch.arange(len(order)) + 2)
    good = (shares >= precision).nonzero().flatten()
    return float(sure[order[good[-1]]]) if len(good) else 2.0
