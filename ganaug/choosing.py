"""What a dataset is mixed with: how much, which of a bank's samples, and how sure a judge is of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages, read_images
from ganaug.data.images import colour_of
from ganaug.data.masks import MaskedImages
from ganaug.errors import RecipeError
from ganaug.matching import MatchedClass
from ganaug.ratios import AnnealedRatio, Schedule, per_class_ratio, schedule_of
from ganaug.recipe import Screening
from ganaug.screening import Screened, kept_screening, refuse_held_back
from ganaug.tasks import get_task
from ganaug.varied_pairs import of_own_pairs

__all__ = [
    "ChosenSamples",
    "ScreeningChoice",
    "choose_samples",
    "hard_labels",
    "refuse_unsuited",
    "resolve_ratio",
    "screening_settings",
    "varying_own",
]

ScreeningChoice = Union[Screening, bool, None]
"""Settings, the recipe's, none, or what the verdict says."""

_log = logging.getLogger("ganaug")
_NO_VERDICT = (
    "ratio='auto' and the bank has no verdict, so nothing synthetic is mixed in; run `ganaug compare`, or give a ratio"
)
_NO_EPOCHS = (
    "ratio='auto' and the bank's verdict is that synthetic images help if they give way to real ones over the epochs, "
    "so nothing synthetic is mixed in; say how many there are: epochs="
)
_HARD_LABELS = (
    "the bank's verdict was measured with soft labels, and these are hard; give soft_labels=True, and a loss that "
    "takes probabilities"
)


@dataclass(frozen=True)
class ChosenSamples:
    """Samples of each class, by the class's place in the bank."""

    indices: dict[int, npt.NDArray[np.int64]] | None
    """None: samples 0, 1, 2, ..."""
    soft: dict[int, npt.NDArray[np.float32]] | None
    """(n, classes): probabilities by the dataset's class numbers; none where they are not wanted."""
    shortage: str | None = None
    """A warning where a class could not be filled."""

    def barren(self, class_index: int) -> bool:
        """Whether no sample of a class is fit to train on."""
        return self.indices is not None and len(self.indices[class_index]) == 0


def varying_own(
    bank: GeneratorBank, dataset: Any, raw: Any, *, asked: bool
) -> tuple[GeneratorBank, list[tuple[int, int, int]]]:
    """The bank's variations of a dataset's own images, where samples are these; the bank as it is where they are not.

    They are where they are `asked` for, class by class, whatever the classes are; and by a bank for segmentation that
    varies images, always. One that varies objects makes its scenes of the dataset's own objects anyway.

    Returns:
        The bank, and where in the dataset each of its sources comes from; nothing where no item is varied at its size.

    Raises:
        BankError: variations are asked for and the bank varies no images.
        DataError: those of the dataset cannot be read.
    """
    if asked:
        bank.refuse_to_vary()  # said before anything is read
    if bank.task == "segment" and bank.varies:
        pairs = _read_for(bank, dataset, raw)
        assert isinstance(pairs, MaskedImages), "read by the task"
        return of_own_pairs(bank, pairs)
    if not asked or bank.task != "classify":
        return bank, []
    data = _read_for(bank, dataset, raw)
    classes = dict(zip(data.label_numbers, data.class_names, strict=True))
    own = bank.of_sources(data.images, data.labels, classes)
    # Whose images are varied, those are what the bank makes samples of: only leaks are left to look for.
    manifest = own.manifest.model_copy(update={"train_fingerprints": data.fingerprints})
    return GeneratorBank(manifest, list(own.generators)), []


def resolve_ratio(
    ratio: Any, matched: Sequence[MatchedClass], bank: GeneratorBank, epochs: int | None
) -> tuple[Schedule | tuple[float, ...], Schedule | None, str | None]:
    """The schedule, or the ratio of each class; what multiplies those; and a warning where "auto" is at a loss.

    Args:
        ratio: as `GanAugmented` takes it.
        matched: classes that the dataset and the bank know.
        bank: whose verdict "auto" obeys.
        epochs: of the training, where they are known.

    Raises:
        RecipeError: the ratio, or one of its ratios, is out of range, or it names a class that cannot be had.
    """
    ignored: set[Any] = set()
    fade: Schedule | None = None
    if isinstance(ratio, str):
        if ratio != "auto":
            raise RecipeError(f"ratio is {ratio!r}; give a number from 0 to 40, or 'auto'")
        if bank.verdict is None:
            return schedule_of(0.0), None, _NO_VERDICT
        ratio, ignored = bank.verdict.ratio, set(bank.class_names)
        if bank.verdict.annealed and (any(ratio.values()) if isinstance(ratio, Mapping) else ratio):
            if epochs is None:
                return schedule_of(0.0), None, _NO_EPOCHS
            if not isinstance(ratio, Mapping):
                return AnnealedRatio(ratio, 0.0, epochs), None, None
            fade = AnnealedRatio(1.0, 0.0, epochs)
    if isinstance(ratio, Mapping):
        return per_class_ratio(ratio, [{cls.name, cls.label, cls.bank_name} for cls in matched], ignored), fade, None
    return schedule_of(ratio), None, None


def hard_labels(bank: GeneratorBank, auto: bool, soft_labels: bool) -> str | None:
    """A warning where the verdict is of soft labels, which change the form of targets and so must be asked for."""
    if not auto or soft_labels or bank.verdict is None or not bank.verdict.soft:
        return None
    return _HARD_LABELS


def refuse_unsuited(bank: GeneratorBank, *, soft_labels: bool, screening: bool) -> None:
    """Raises BankError where samples of this bank cannot have soft labels, or cannot be screened."""
    if soft_labels:
        bank.check_task("classify", "soft_labels=True", "leave it out")
    if screening and bank.task != "segment":
        bank.check_task("classify", "screening", "leave it out")


def screening_settings(screening: ScreeningChoice, bank: GeneratorBank, *, auto: bool) -> Screening | None:
    """What is dropped; none where samples are not screened.

    Args:
        screening: settings; True for the recipe's, or the defaults where it has none; None for what the verdict says.
        bank: whose recipe and verdict are asked.
        auto: whether the verdict is obeyed.

    Raises:
        RecipeError: `screening` is none of these.
    """
    if isinstance(screening, Screening):
        return screening
    if screening is not None and not isinstance(screening, bool):
        raise RecipeError(f"screening is {screening!r}; give True, False or ganaug.Screening(...)")
    told = auto and bank.verdict is not None and bank.verdict.screened
    return (bank.recipe.screening or Screening()) if screening or (screening is None and told) else None


def choose_samples(
    dataset: Any,
    bank: GeneratorBank,
    matched: Sequence[MatchedClass],
    counts: Mapping[int, int],
    *,
    raw: Any,
    settings: Screening | None,
    soft_classes: int | None,
    seed: int,
    directory: str | Path | None,
    check: bool,
) -> ChosenSamples:
    """Screen samples and ask the judge for soft labels, as wanted; what was done before is read from disk.

    Args:
        dataset: the user's, whose images the judge is trained on.
        bank: to sample from.
        matched: classes that both know.
        counts: samples of each class, by its place in the bank.
        raw: the dataset below its transform, where it has to be given.
        settings: what is dropped; none for nothing.
        soft_classes: how many class numbers the dataset has, where soft labels are wanted.
        seed: of the samples and of the judge.
        directory: folder that pools are kept in.
        check: refuse images that were held back from the bank's fit.

    Raises:
        LeakError: the dataset has such images.
        DataError: its images cannot be read, or two of its classes have one name.
        OutputError: the folder cannot be written.
    """
    if settings is None and soft_classes is None:
        return ChosenSamples(None, None)
    data = _read_for(bank, dataset, raw)
    if check:
        refuse_held_back(bank, data)
    places = {
        cls.bank_index: 0 if isinstance(data, MaskedImages) else data.label_numbers.index(cls.label)
        for cls in matched
        if counts.get(cls.bank_index, 0) > 0
    }
    screened = kept_screening(
        bank, data, {index: counts[index] for index in places}, places,
        settings=settings or _dropping_nothing(bank), seed=seed, directory=directory, report=_log.info,
    )  # fmt: skip
    soft = None if soft_classes is None else _by_number(screened, data, soft_classes)
    return ChosenSamples(None if settings is None else screened.kept, soft, screened.shortage)


def _read_for(bank: GeneratorBank, dataset: Any, raw: Any) -> LabelledImages:
    """A dataset's images in the bank's form, with their maps where it is for segmentation."""
    if bank.task == "segment":
        recipe = bank.recipe.replace({"data.colour": colour_of(bank.channels)})
        pairs = get_task(bank.task).read(dataset, recipe, raw=raw, on_bad="skip", least=1)
        assert isinstance(pairs, MaskedImages), "read by the task"
        return pairs.with_classes(bank.class_names, bank.label_numbers, "the dataset")
    return read_images(
        dataset,
        resolution=bank.resolution,
        fit=bank.recipe.data.fit,
        colour=colour_of(bank.channels),
        on_bad="skip",  # an unreadable image is for the training loop to meet, as it would without ganaug
        raw=raw,
        least=1,
    )


def _dropping_nothing(bank: GeneratorBank) -> Screening:
    """Settings by which a judge is trained and every sample is kept."""
    settings = bank.recipe.screening or Screening()
    return settings.model_copy(update={"doubt": None, "far": None, "copies": None, "redundant": None})


def _by_number(screened: Screened, data: LabelledImages, classes: int) -> dict[int, npt.NDArray[np.float32]]:
    """The judge's probabilities with a column for each of the dataset's class numbers."""
    if min(data.label_numbers) < 0:
        raise RecipeError(
            f"soft_labels needs class numbers from 0, and the dataset has {min(data.label_numbers)}; number them anew"
        )
    found = {}
    for index, probabilities in screened.soft.items():
        found[index] = np.zeros((len(probabilities), classes), dtype=np.float32)
        found[index][:, list(data.label_numbers)] = probabilities
    return found
