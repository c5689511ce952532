"""Does it help? The same training on real images alone and on real and synthetic ones, scored on other real images.

No image that a bank was fitted on is scored. With `val` or `test` the bank is judged as it is. Without, a part of the
data is held back, several times over, the recipe is refitted on the rest, and what is judged is the recipe. What is
tried, in which order and on which images is in `protocol.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from ganaug.bank import GeneratorBank
from ganaug.basing import as_base
from ganaug.data import LabelledImages, read_unlabelled
from ganaug.errors import BankError, DataError, RecipeError
from ganaug.evidence.comparing import Comparing, Say
from ganaug.evidence.exams import get_lent_exam
from ganaug.evidence.material import Beside
from ganaug.evidence.own_trainer import OwnTrials
from ganaug.evidence.result import Comparison
from ganaug.evidence.trials import Crew, ReferenceTrials
from ganaug.gan.device import resolve_device
from ganaug.progress import CellBar
from ganaug.recipe import Compare

__all__ = ["Comparison", "compare"]


def compare(
    data: Any,
    bank: Any,
    of: GeneratorBank | str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    val: Any = None,
    test: Any = None,
    ratios: Sequence[float] | None = None,
    splits: int | None = None,
    seeds: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    minutes: float | None = None,
    settings: Mapping[str, Any] | None = None,
    evaluation: Any = None,
    raw: Any = None,
    unlabelled: Any = None,
    base: GeneratorBank | str | Path | None = None,
    on_bad: Literal["stop", "skip"] = "stop",
    folder: str | Path | None = None,
    workers: int = 0,
    cluster: Literal["ray"] | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    report: Say | None = None,
    progress: bool = False,
) -> Comparison:
    """Train with and without synthetic images and say whether they help, and how surely.

    `compare(data, bank)` trains ganaug's reference classifier or segmenter, or with boxes a detector of Ultralytics or
    torchvision, from files: of a set that has parts, `val` and `test` are those of these names.

    `compare(train_and_score, real, bank)` calls your own trainer: `train_and_score(train_dataset, score_dataset, seed)`
    trains from scratch on the one and returns its score on the other, a number from 0 to 1 (higher is better), or
    `{"score": number, "per_class": {name: number}, "also": {name: number}}`, where "also" holds further measures, which
    are told and decide nothing. It is given subsets of your dataset, `GanAugmented` where there are synthetic images;
    ratios and controls are compared.

    Args:
        data: the training images: a path, a dataset as `fit` takes it, or `LabelledImages`; or your trainer.
        bank: whose samples are judged, or whose recipe where neither `val` nor `test` is given; after a trainer, your
            dataset.
        of: the bank, after a trainer and a dataset.
        classes: names of the classes to compare on; the bank's by default.
        val: images that nothing was trained on, to choose on, and for the answer where there is no `test`.
        test: such images for the answer alone.
        ratios: synthetic images for each real one, to try; the recipe's by default, as are the next five.
        splits: times that a part is held back; 1 with `val` or `test`.
        seeds: trainings of each arm on each split, 2 at least.
        steps: of the optimiser in every training of the reference learner.
        batch: images a step.
        minutes: budget of the whole comparison, refits too, which decides how much of it is done.
        settings: others of the recipe's section `compare`, as `{"schedules": ["constant"]}`.
        evaluation: with a trainer: the same images as your dataset's, in the same order, with the transform for
            scoring; your dataset by default.
        raw: the images of `data` below its transform, where ganaug cannot find them itself.
        unlabelled: what the bank's fit had as `unlabelled`, for refits; the path in its recipe by default. Images that
            are held back, and near-copies of them, are left out.
        base: the bank that the bank's fit started from, for refits; the path in its recipe by default.
        on_bad: an unreadable image: "stop" or "skip".
        folder: keeps what is finished, so that the same question goes on where it was stopped.
        workers: processes that train side by side; 0 trains in this one.
        cluster: "ray" trains on a Ray cluster.
        device: "auto", "cpu", "cuda" or "cuda:i".
        seed: of splits, samples and trainings.
        report: is given a line for each stage as it ends.
        progress: show a live bar.

    Returns:
        The comparison; no verdict is written. `comparison.apply_to(bank)` is the bank with its verdict.

    Raises:
        LeakError: images to score are among those of the bank's fit or of `data`.
        DataError: a class is unknown, or has too few images.
        RecipeError: a setting is out of range.
        MissingExtraError: with boxes, Ultralytics or pycocotools is not installed.
        TrainingError: a training failed, or the budget is too small for any.
    """
    given = {
        "ratios": ratios, "splits": splits, "seeds": seeds, "steps": steps, "batch": batch, "minutes": minutes,
        **(settings or {}),
    }  # fmt: skip
    trainer = data if of is not None else None
    judged, source = (bank, data) if of is None else (of, bank)
    _check_form(trainer, source, judged, classes)
    judged = judged if isinstance(judged, GeneratorBank) else GeneratorBank.load(judged)
    wanted = _settings(judged, given, one_split=val is not None or test is not None)
    with CellBar(shown=progress) as bar:
        where = None if folder is None else Path(folder)
        crew = Crew(resolve_device(device), where, workers, cluster, bar)
        comparison = Comparing(judged, wanted, crew, seed, report or (lambda _: None))
        sets = {what: given for what, given in (("val", val), ("test", test)) if given is not None}
        trials: ReferenceTrials | OwnTrials
        lent = get_lent_exam(judged.task)
        if trainer is None and lent is not None:
            _check_lent(classes, raw)
            trials = comparison.lent(lent, source, sets, on_bad)
        elif trainer is not None:
            trials = comparison.own(trainer, source, sets, evaluation=evaluation, raw=raw, on_bad=on_bad)
        else:
            trials = comparison.reference(source, sets, classes=classes, raw=raw, on_bad=on_bad)
        if not trials.banks:
            _check_refits(judged)
            trials.beside = Beside(_unlabelled(judged, unlabelled, on_bad), _base(judged, base))
        return comparison.carried_out(trials)


def _check_form(trainer: Any, source: Any, bank: Any, classes: Any) -> None:
    if not isinstance(bank, (GeneratorBank, str, Path)):
        raise DataError(
            f"a bank is wanted, got a {type(bank).__name__}; give compare(data, bank) or "
            "compare(train_and_score, dataset, bank)"
        )
    if trainer is None:
        if callable(source) and not hasattr(source, "__len__"):
            raise DataError("a trainer was given, and no dataset for it; give compare(train_and_score, dataset, bank)")
        return
    if not callable(trainer):
        raise DataError(f"train_and_score is a {type(trainer).__name__}; wanted a function of (train, score, seed)")
    if isinstance(source, (str, Path, LabelledImages)):
        raise DataError(f"your trainer needs your own dataset, got a {type(source).__name__}; give a map-style dataset")
    if classes is not None:
        raise DataError("classes= goes with the reference classifier; give your trainer a dataset of those classes")


def _check_refits(bank: GeneratorBank) -> None:
    if bank.recipe.latent is not None and bank.recipe.latent.numbers:
        raise BankError(
            "the bank's samples are moved along its own directions (latent), and a refit has others of these numbers; "
            "give val or test (--val, --test), so that this bank is judged"
        )


def _check_lent(classes: Any, raw: Any) -> None:
    if classes is not None or raw is not None:
        raise DataError("classes and raw do not go with images with boxes, which hold all classes; leave them out")


def _unlabelled(bank: GeneratorBank, given: Any, on_bad: Any) -> LabelledImages | None:
    """The images without labels that the bank's fit learned from, for refits."""
    recipe = bank.recipe
    source = recipe.data.unlabelled if given is None else given
    if source is not None:
        size: dict[str, Any] = {"resolution": bank.resolution, "channels": bank.channels}
        return read_unlabelled(source, fit=recipe.data.fit, on_bad=on_bad, **size)
    if not bank.manifest.unlabelled:
        return None
    raise DataError(
        f"the bank was fitted on {bank.manifest.unlabelled} unlabelled images too, and its recipe has no path of them; "
        "give them as unlabelled (--unlabelled), or give val or test"
    )


def _base(bank: GeneratorBank, given: GeneratorBank | str | Path | None) -> GeneratorBank | None:
    """The bank that this one's fit started from, for refits."""
    found = as_base(given, bank.recipe)
    if found is None and bank.manifest.base:
        raise BankError(
            f"the bank started from one of {', '.join(bank.manifest.base[:8])}, and its recipe has no path of that; "
            "give it as base (--base), or give val or test"
        )
    return found


def _settings(bank: GeneratorBank, given: Mapping[str, Any], *, one_split: bool) -> Compare:
    settings = bank.recipe.replace({f"compare.{name}": value for name, value in given.items() if value is not None})
    found = settings.compare
    changes: dict[str, Any] = {"ratios": tuple(sorted(set(found.ratios)))}
    if one_split:
        if (given.get("splits") or 1) > 1:
            raise RecipeError("splits is more than 1, and val or test are given, which are one; leave one of them out")
        changes["splits"] = 1
    return found.model_copy(update=changes)
