"""How good are a bank's samples? Against real images that nothing was trained on, each measure beside its reference.

The reference is what the training images reach against the same new real images, in equal number: no generator can be
expected to do better, and one that repeats its training images does as well; so copies are looked for apart. Features
that were learned from few training images set these a little apart from new ones, and the reference may then look
worse than synthetic images do: that is no sign that these are better.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganaug import measures
from ganaug.bank import GeneratorBank
from ganaug.classifier import accuracy, per_class_accuracy, predict, train_classifier
from ganaug.data import LabelledImages, choose_classes
from ganaug.errors import DataError, RecipeError
from ganaug.evidence.exams.classes import in_order, read
from ganaug.evidence.measured import NEAR_IDENTICAL, Copying, SampleMeasures, Sides
from ganaug.evidence.parts import refuse_leaks
from ganaug.gan.device import resolve_device

__all__ = ["SampleMeasures", "measure"]

Say = Callable[[str], None]
Features = Callable[[Tensor], Tensor]  # (N, C, H, W) uint8 to (N, D) float32

_CHUNK = 256
_MOST_PAIRED = 5000  # images of a side in the pooled measures, which compare all pairs
_PER_CELL = 20  # held images of a cell of the copying test, about
_MOST_CELLS = 10  # of a class
_STRANGE = 0.1  # share of images that the bank was not fitted on, above which it is said


def measure(
    bank: GeneratorBank,
    data: Any,
    held: Any = None,
    *,
    features: str | nn.Module = "own",
    weights: str | None = None,
    classes: Sequence[str] | None = None,
    per_class: int = 200,
    steps: int | None = None,
    seed: int = 0,
    raw: Any = None,
    on_bad: Literal["stop", "skip"] = "stop",
    device: str | torch.device = "auto",
    report: Say | None = None,
) -> SampleMeasures:
    """Measure a bank's samples, pooled and by class: fidelity, variety, use to a classifier, and copying.

    Args:
        bank: whose samples are measured.
        data: the training images: a path, a dataset as `fit` takes it, or `LabelledImages` in the bank's size.
        held: real images that nothing was trained on, likewise; by default those of `data` that the bank was not fitted
            on.
        features: "own", a small network trained here on the training images; the name of a torchvision model, or of a
            timm model as "timm/NAME", both pretrained; or a module of NCHW float in [-1, 1], in the bank's size and
            channels, to one vector an image. Vectors are scaled to mean 0 and deviation 1 over the training images.
        weights: of a torchvision model; its default ones by default.
        classes: names of the classes to measure; the bank's by default.
        per_class: synthetic images of each class, and real ones at most.
        steps: of both classifiers' training; the recipe's `compare.steps` by default.
        seed: of samples, features and trainings.
        raw: the images of `data` below its transform, where ganaug cannot find them itself.
        on_bad: an unreadable image: "stop" or "skip".
        device: where networks run: "auto", "cpu", "cuda" or "cuda:i".
        report: is given lines of progress.

    Raises:
        LeakError: some of `held` are among the images of the bank's fit or of `data`.
        DataError: images cannot be read, a class has none, or none are left to measure on.
        RecipeError: there are no such features, or their weights cannot be fetched.
    """
    bank.check_task("classify", "measuring", "look at its samples with: ganaug preview")
    say = report or (lambda _: None)
    if per_class < 2 or (steps is not None and steps < 1):
        raise RecipeError(f"per_class is {per_class} and steps {steps}; give 2 or more images and 1 or more steps")
    where = resolve_device(device)
    names = choose_classes(bank.class_names, classes)
    train, new, notes = _images(bank, data, held, names, raw, on_bad)
    say(f"measuring {per_class} samples of each of {len(names)} classes against {len(new)} new real images")
    vectors, described = _features(features, weights, train, seed, where)
    synthetic = torch.cat([bank.sample(name, per_class, seed=seed) for name in names])
    labels = torch.arange(len(names)).repeat_interleave(per_class)
    found = _Material(names, train, new, synthetic, labels, vectors, per_class, seed)
    pooled, by_class, counts = _fidelity(found)
    if len(names) > 1:
        say("training a classifier on synthetic images, and one on as many real ones")
        _add_classifiers(found, pooled, by_class, steps or bank.recipe.compare.steps, where)
    say("looking for copies")
    copying, copying_by_class = _copying(found)
    return SampleMeasures(
        bank=bank.fingerprint,
        features=described,
        pooled=pooled,
        per_class=dict(zip(names, by_class, strict=True)),
        copying=copying,
        copying_per_class=dict(zip(names, copying_by_class, strict=True)),
        counts=dict(zip(names, counts, strict=True)),
        notes=notes,
    )


def _images(
    bank: GeneratorBank,
    data: Any,
    held: Any,
    names: list[str],
    raw: Any,
    on_bad: Literal["stop", "skip"],
) -> tuple[LabelledImages, LabelledImages, tuple[str, ...]]:
    """Training images, new ones, and what is to be said of them."""
    every = read(data, bank, names, what="data", raw=raw, on_bad=on_bad)
    fitted = set(bank.manifest.train_fingerprints)
    if held is None:
        return *_split_by_fit(every, fitted), ()
    new = read(held, bank, None, what="held", on_bad=on_bad)
    notes = refuse_leaks(bank, every, {"held": new}, otherwise="or give as data what the bank was fitted on")
    new = in_order(new, names, "held")
    for name, count in zip(names, new.counts(), strict=True):
        if count == 0:
            raise DataError(f"class {name!r} has no image in held; give some, or leave the class out")
    strange = sum(print_ not in fitted for print_ in every.fingerprints)
    if fitted and strange > _STRANGE * len(every):
        notes = (*notes, f"the bank was not fitted on {strange} of the {len(every)} images of data")
    return every, new, notes


def _split_by_fit(every: LabelledImages, fitted: set[str]) -> tuple[LabelledImages, LabelledImages]:
    """The images that the bank was fitted on, and the others."""
    known = torch.tensor([print_ in fitted for print_ in every.fingerprints])
    train, new = every.subset(known.nonzero().flatten()), every.subset((~known).nonzero().flatten())
    for part, what in ((train, "that the bank was fitted on"), (new, "that it was not fitted on")):
        for name, count in zip(part.class_names, part.counts(), strict=True):
            if count == 0:
                raise DataError(
                    f"class {name!r} has no image in data {what}; give as held (--held) images that nothing was "
                    "trained on, and as data those of the bank's fit"
                )
    return train, new


def _features(
    features: str | nn.Module, weights: str | None, train: LabelledImages, seed: int, device: torch.device
) -> tuple[Features, str]:
    """What makes vectors of images, scaled by the training images, and what it is called."""
    plain: Features
    if isinstance(features, nn.Module):
        plain, described = _of_module(features, device), f"features of a given {type(features).__name__}"
    elif features == "own":
        network = measures.train_features(train.images, train.labels, seed=seed % 2**31)
        plain, described = network.features, "features of a small network trained on the training images"
    elif features.startswith("timm/"):
        from ganaug.adapters import timm as timm_adapter

        plain = timm_adapter.feature_network(features.removeprefix("timm/"), device=device)
        described = f"features of timm's pretrained {features.removeprefix('timm/')}"
    else:
        from ganaug.adapters import torchvision_models

        plain = torchvision_models.feature_network(features, weights, device=device)
        described = f"features of torchvision's pretrained {features}"
    seen = plain(train.images)
    if seen.ndim != 2 or len(seen) != len(train) or not bool(seen.isfinite().all()):
        raise RecipeError(
            f"the features of {len(train)} images have shape {tuple(seen.shape)}; wanted one vector of finite numbers "
            "for each: give a module whose output is pooled"
        )
    centre, scale = seen.mean(0), seen.std(0).clamp_min(1e-3)
    return lambda images: (plain(images) - centre) / scale, described


def _of_module(module: nn.Module, device: torch.device) -> Features:
    module = module.to(device).eval()

    @torch.no_grad()
    def found(images: Tensor) -> Tensor:
        return torch.cat([module(part.to(device).float() / 127.5 - 1).float().cpu() for part in images.split(_CHUNK)])

    return found


@dataclass(frozen=True)
class _Material:
    """All images that are measured, of the same classes in the same order."""

    names: list[str]
    train: LabelledImages
    held: LabelledImages
    synthetic: Tensor  # NCHW uint8, `per_class` of each class
    labels: Tensor  # of the synthetic images
    features: Features
    per_class: int
    seed: int

    def real(self, data: LabelledImages, cls: int, most: int) -> Tensor:
        """At most so many real images of a class, drawn by the seed."""
        images = data.images[data.labels == cls]
        random = torch.Generator().manual_seed(self.seed % 2**31 + cls)
        return images[torch.randperm(len(images), generator=random)[:most]]

    def made(self, cls: int, most: int) -> Tensor:
        """The first so many synthetic images of a class."""
        return self.synthetic[self.labels == cls][:most]


_COMPARED: dict[str, Callable[[Tensor, Tensor], float]] = {
    "kernel_distance": measures.kernel_distance,
    "precision": measures.precision,
    "recall": measures.recall,
    "density": measures.density,
    "coverage": measures.coverage,
}


def _fidelity(found: _Material) -> tuple[dict[str, Sides], list[dict[str, Sides]], list[int]]:
    """Feature measures and spread against held images: pooled, of each class, and the number of images of each."""
    by_class, counts, spreads = [], [], []
    sides: list[tuple[Tensor, Tensor, Tensor]] = []
    for cls in range(len(found.names)):
        count = min(found.train.counts()[cls], found.held.counts()[cls], found.per_class)
        held, train = found.real(found.held, cls, count), found.real(found.train, cls, count)
        made = found.made(cls, count)
        sides.append((found.features(held), found.features(made), found.features(train)))
        spreads.append(Sides(measures.spread(made), measures.spread(train)) if count > 1 else _UNKNOWN)
        by_class.append({**_compared(*sides[-1]), "spread": spreads[-1]})
        counts.append(count)
    held, made, train = (torch.cat(side) for side in zip(*sides, strict=True))
    chosen = torch.arange(min(len(held), _MOST_PAIRED)) * len(held) // min(len(held), _MOST_PAIRED)
    pooled = _compared(held[chosen], made[chosen], train[chosen])
    pooled["spread"] = Sides(_mean([s.synthetic for s in spreads]), _mean([s.reference for s in spreads]))
    return pooled, by_class, counts


def _compared(held: Tensor, made: Tensor, train: Tensor) -> dict[str, Sides]:
    if len(held) < 2:
        return dict.fromkeys(_COMPARED, _UNKNOWN)
    return {name: Sides(measured(held, made), measured(held, train)) for name, measured in _COMPARED.items()}


def _add_classifiers(
    found: _Material,
    pooled: dict[str, Sides],
    by_class: list[dict[str, Sides]],
    steps: int,
    device: torch.device,
) -> None:
    """GAN-train and GAN-test accuracy (Shmelkov et al. 2018, 1807.09499), with as many images of either kind."""
    classes = len(found.names)
    counts = [min(count, found.per_class) for count in found.train.counts()]
    labels = torch.arange(classes).repeat_interleave(torch.tensor(counts))
    right = {}
    for kind in ("synthetic", "real"):
        images = torch.cat(
            [
                found.made(cls, count) if kind == "synthetic" else found.real(found.train, cls, count)
                for cls, count in enumerate(counts)
            ]
        )
        network = train_classifier(images, labels, classes=classes, steps=steps, seed=found.seed % 2**31, device=device)
        right[kind] = accuracy(network, found.held.images, found.held.labels, classes=classes)
    seen = predict(network, found.synthetic)  # by the one that was trained on real images
    told = float((seen == found.labels).double().mean())
    told_by_class = per_class_accuracy(seen, found.labels, classes=classes)
    pooled["gan_train"] = Sides(right["synthetic"][0], right["real"][0])
    pooled["gan_test"] = Sides(told, right["real"][0])
    for cls, measured in enumerate(by_class):
        measured["gan_train"] = Sides(right["synthetic"][1][cls], right["real"][1][cls])
        measured["gan_test"] = Sides(told_by_class[cls], right["real"][1][cls])


@dataclass(frozen=True)
class _Distances:
    """Of one class: how far its images are from the nearest training image, and in which cell they lie."""

    made: Tensor
    held: Tensor
    made_cells: Tensor
    held_cells: Tensor


def _copying(found: _Material) -> tuple[Copying, list[Copying]]:
    by_class = []
    for cls in range(len(found.names)):
        train = found.train.images[found.train.labels == cls]
        held, made = found.real(found.held, cls, found.per_class), found.made(cls, found.per_class)
        cells = max(1, min(_MOST_CELLS, min(len(train), len(held)) // _PER_CELL))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # equal images make fewer cells, which is no matter
            placed = measures.partition(
                found.features(train),
                (found.features(made), found.features(held)),
                cells=cells,
                seed=found.seed % 2**31,
            )
        by_class.append(
            _Distances(
                measures.nearest_tolerant(made, train)[1],
                measures.nearest_tolerant(held, train)[1],
                *(numbers + cls * _MOST_CELLS for numbers in placed),
            )
        )
    told = [_told(distances, _copies(distances)) for distances in by_class]
    whole = _Distances(
        *(
            torch.cat([getattr(distances, part) for distances in by_class])
            for part in ("made", "held", "made_cells", "held_cells")
        )
    )
    # what is near is another matter in each class, so that shares are added and not taken anew
    share = _mean([copying.share for copying in told])
    return _told(whole, sum(copying.copies for copying in told), share), told


def _copies(distances: _Distances) -> int:
    """Nearer than all but a hundredth of new images, and no farther than saving again as JPEG takes an image."""
    bound = min(float(distances.held.quantile(0.01)), NEAR_IDENTICAL)
    return int((distances.made <= bound).sum())


def _told(distances: _Distances, copies: int, share: float | None = None) -> Copying:
    made, held = distances.made, distances.held
    if share is None:
        share = float((made < held.quantile(0.05)).float().mean())
    return Copying(
        share=share,
        c_t=measures.copying_statistic(
            made, held, synthetic_cells=distances.made_cells, held_cells=distances.held_cells
        ),
        nearest_ratio=float(made.median()) / max(1e-6, float(held.median())),
        copies=copies,
        images=len(made),
    )


def _mean(numbers: Sequence[float]) -> float:
    known = [number for number in numbers if not math.isnan(number)]
    return sum(known) / len(known) if known else math.nan


_UNKNOWN = Sides(math.nan, math.nan)
