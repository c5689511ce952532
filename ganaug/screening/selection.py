"""Drawing samples and deciding, one after another, which are kept."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ganaug import measures
from ganaug.bank import CHUNK, GeneratorBank
from ganaug.data import LabelledImages, choose_classes
from ganaug.data.images import colour_of
from ganaug.data.masks import MaskedImages
from ganaug.errors import BankError, DataError, LeakError, did_you_mean
from ganaug.gan.device import resolve_device
from ganaug.measures import FeatureNetwork
from ganaug.measures.copies import nearest_tolerant
from ganaug.recipe import Screening
from ganaug.screening.judge import Judge, train_judge
from ganaug.screening.limits import REASONS, Limits, limits_of, nearest_features, reasons
from ganaug.screening.pairs import screen_pairs
from ganaug.screening.screened import Screened, Tally
from ganaug.tasks import get_task

__all__ = ["refuse_held_back", "screen", "screen_samples"]

Say = Callable[[str], None]
Counts = Union[int, Mapping[str, int], Mapping[int, int], None]

_DRAWN_AT_ONCE = 4 * CHUNK
_EXAMPLES = 8  # dropped samples that are remembered, of each class and reason


def screen(
    bank: GeneratorBank,
    data: Any,
    counts: Counts = None,
    *,
    settings: Screening | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    raw: Any = None,
    on_bad: Literal["stop", "skip"] = "stop",
    device: str | torch.device = "auto",
    report: Say | None = None,
) -> Screened:
    """Choose samples that are fit to train on: drawn until as many are kept as are wanted, within a bound.

    A sample is dropped if a judge trained on the real images doubts its class, if it is far from any real image of its
    class, if it is nearly a copy of one, or if it shows what a kept one shows; see `ganaug.Screening`. A pair of image
    and mask is dropped if the image does not show the mask, or if it is nearly a copy; see `screen_pairs`.

    Args:
        bank: to sample from.
        data: the training images alone: a path, a dataset as `fit` takes it, or `LabelledImages` in the bank's size.
        counts: samples wanted: of every class that the bank and the data know, or of each by name or by its place in
            `bank.class_names`; pairs are all of one, "images". As many as there are real images by default.
        settings: what is dropped; the recipe's by default, and the defaults where it has none.
        classes: names of the data's classes to read and to tell apart; all by default.
        seed: of the samples and of the judge.
        raw: the images of `data` below its transform, where ganaug cannot find them itself.
        on_bad: an unreadable image: "stop" or "skip".
        device: where the judge is trained: "auto", "cpu", "cuda" or "cuda:i".
        report: is given lines of progress.

    Returns:
        Indices of the samples that are kept, with the judge's probabilities, and the counts of those dropped.

    Raises:
        LeakError: some of the images were held back from the bank's fit.
        DataError: the images cannot be read, are not of the bank's size, or share no class with the bank.
        BankError: a count is negative or names a class that the bank does not know, or the bank is for neither classes
            nor segmentation.
    """
    if bank.task != "segment":
        bank.check_task("classify", "screening", "use its samples as they are")
    where = resolve_device(device)
    settings = settings or bank.recipe.screening or Screening()
    data = _read(bank, data, classes, raw, on_bad)
    refuse_held_back(bank, data)
    if isinstance(data, MaskedImages):
        data = data.with_classes(bank.class_names, bank.label_numbers, "data")
        (count,) = _wanted(("images",), {"images": len(data)}, counts).values()
        return screen_pairs(bank, data, count, settings=settings, seed=seed, device=where, report=report)
    shared = {name: had for name, had in zip(data.class_names, data.counts(), strict=True) if name in bank.class_names}
    if not shared:
        raise DataError(
            f"the data and the bank share no class: the data has {', '.join(data.class_names[:8])}, the bank "
            f"{', '.join(bank.class_names[:8])}; give the images that the bank was fitted on"
        )
    wanted = _wanted(bank.class_names, shared, counts)
    places = {index: data.class_names.index(bank.class_names[index]) for index in wanted}
    return screen_samples(bank, data, wanted, places, settings=settings, seed=seed, device=where, report=report)


def screen_samples(
    bank: GeneratorBank,
    data: LabelledImages,
    wanted: Mapping[int, int],
    places: Mapping[int, int],
    *,
    settings: Screening,
    seed: int,
    device: torch.device,
    report: Say | None = None,
) -> Screened:
    """As `screen`, of images that are read and classes that are matched.

    Args:
        bank: to sample from, on the device that it is on.
        data: training images in the bank's size and channels.
        wanted: samples of each class, at least 1, by its place in `bank.class_names`.
        places: place in `data.class_names` of each of these classes.
        settings: what is dropped.
        seed: of the samples and of the judge.
        device: where the judge is trained.
        report: is given lines of progress.
    """
    say = report or (lambda _: None)
    say(f"training {settings.judges} judges on {len(data)} real images")
    flips = bank.recipe.data.horizontal_flip
    judge = train_judge(
        data, judges=settings.judges, steps=settings.steps, flips=flips, seed=seed, device=device
    )  # fmt: skip
    say(f"the judge is right on {judge.accuracy:.1%} of real images that it was not trained on")
    network = measures.train_features(data.images, data.labels, seed=seed % 2**31)
    yardsticks = _yardsticks(data, [places[index] for index in wanted], judge, network, settings)
    choices = {}
    for (index, count), yardstick in zip(wanted.items(), yardsticks, strict=True):
        choices[index] = _chosen(bank, index, count, yardstick, settings, seed)
        say(f"{bank.class_names[index]}: kept {len(choices[index].kept)} of {choices[index].tally.drawn} drawn")
    return Screened(
        bank=bank.fingerprint,
        seed=seed,
        settings=settings,
        names={index: bank.class_names[index] for index in wanted},
        judged=data.class_names,
        kept={index: choice.kept for index, choice in choices.items()},
        soft={index: choice.soft for index, choice in choices.items()},
        tallies={index: choice.tally for index, choice in choices.items()},
        examples={index: choice.examples for index, choice in choices.items()},
        accuracy=judge.accuracy,
        temperature=judge.temperature,
    )


def refuse_held_back(bank: GeneratorBank, data: LabelledImages) -> None:
    """Check that a judge may be trained on these images.

    Raises:
        LeakError: some of them were held back from the bank's fit.
    """
    if shared := len(set(data.fingerprints) & set(bank.manifest.held_back_fingerprints)):
        raise LeakError(
            f"{shared} of the images were held back from the bank's fit for an honest score, and a judge would be "
            "trained on them; give the training images alone"
        )


def _read(
    bank: GeneratorBank, data: Any, classes: Sequence[str] | None, raw: Any, on_bad: Literal["stop", "skip"]
) -> LabelledImages:
    found: LabelledImages
    if not isinstance(data, LabelledImages):
        recipe = bank.recipe.replace({"data.colour": colour_of(bank.channels)})
        found = get_task(recipe.task).read(data, recipe, classes=classes, raw=raw, on_bad=on_bad, least=1)
    elif classes is not None:
        raise DataError("classes= goes with images that are still to be read; these are, so leave it out")
    else:
        found = data
    wanted = (bank.channels, bank.resolution, bank.resolution)
    if (got := tuple(found.images.shape[1:])) != wanted:
        raise DataError(f"the images are {got} and the bank's {wanted}; read them like the bank's")
    if bank.task == "segment" and not isinstance(found, MaskedImages):
        raise DataError("the data has classes of images, and the bank is for segmentation; give images with masks")
    return found


def _wanted(names: Sequence[str], shared: Mapping[str, int], counts: Counts) -> dict[int, int]:
    """Samples of each class, by its place in `names`; `shared` are the real images of those that the data has too."""
    asked: Mapping[Any, Any] = shared if counts is None else counts if isinstance(counts, Mapping) else {}
    if counts is not None and not isinstance(counts, Mapping):
        asked = dict.fromkeys(shared, counts)
    found: dict[int, int] = {}
    for key, count in asked.items():
        name = key if isinstance(key, str) else dict(enumerate(names)).get(key, str(key))
        if name not in names:
            raise BankError(f"the bank knows no class {key!r}{did_you_mean(name, names)}")
        choose_classes(tuple(shared), [name])
        found[list(names).index(name)] = _count(count, name)
    wanted = {index: count for index, count in sorted(found.items()) if count}
    if not wanted:
        raise BankError("no samples are asked for; give a count of at least 1")
    return wanted


def _count(value: Any, name: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise BankError(f"the count of {name!r} is {value!r}; give a whole number, 0 or more")
    return number


@dataclass(frozen=True)
class _Yardstick:
    """What the samples of one class are measured by."""

    place: int  # of the class among the data's
    members: Tensor  # indices of its real images
    images: Tensor
    features: Tensor
    limits: Limits
    judge: Judge
    network: FeatureNetwork


@dataclass(frozen=True)
class _Choice:
    kept: npt.NDArray[np.int64]
    soft: npt.NDArray[np.float32]
    tally: Tally
    examples: dict[str, list[int]]


def _yardsticks(
    data: LabelledImages, places: Sequence[int], judge: Judge, network: FeatureNetwork, settings: Screening
) -> list[_Yardstick]:
    features = network.features(data.images)
    members = [(data.labels == place).nonzero().flatten() for place in places]
    limits = limits_of(
        settings,
        own=[judge.own[chosen] for chosen in members],
        features=[features[chosen] for chosen in members],
        images=[data.images[chosen] for chosen in members],
    )
    return [
        _Yardstick(place, chosen, data.images[chosen], features[chosen], limit, judge, network)
        for place, chosen, limit in zip(places, members, limits, strict=True)
    ]


def _chosen(
    bank: GeneratorBank, index: int, count: int, yardstick: _Yardstick, settings: Screening, seed: int
) -> _Choice:
    """Draw samples 0, 1, 2, ... of a class until `count` are kept or the bound is reached.

    Whether a sample is kept depends on those before it alone: whoever wants more keeps these, and others after them.
    """
    bound = math.ceil(settings.draw * count)
    kept: list[int] = []
    soft: list[Tensor] = []
    features: list[Tensor] = [yardstick.features[:0]]
    dropped: dict[str, list[int]] = {reason: [] for reason in REASONS}
    drawn = 0
    while drawn < bound and len(kept) < count:
        images = bank.sample_at(index, range(drawn, min(drawn + _DRAWN_AT_ONCE, bound)), seed=seed)
        seen = yardstick.network.features(images)
        nearest, pixels = nearest_tolerant(images, yardstick.images)
        told = yardstick.judge.probabilities(images, yardstick.members[nearest])
        found = reasons(
            yardstick.limits,
            told[:, yardstick.place],
            nearest_features(seen, yardstick.features),
            pixels,
            torch.cdist(seen, torch.cat([*features, seen])),
            count - len(kept),
        )
        passed = [row for row, reason in enumerate(found) if reason < 0]
        for row, reason in enumerate(found):
            if reason >= 0:
                dropped[REASONS[reason]].append(drawn + row)
        kept += [drawn + row for row in passed]
        soft.append(told[passed])
        features.append(seen[passed])
        drawn += len(found)
    counts = Counter({reason: len(indices) for reason, indices in dropped.items()})
    return _Choice(
        kept=np.array(kept, dtype=np.int64),
        soft=torch.cat(soft).numpy().astype(np.float32),
        tally=Tally(asked=count, drawn=drawn, kept=len(kept), **counts),
        examples={reason: indices[:_EXAMPLES] for reason, indices in dropped.items() if indices},
    )
