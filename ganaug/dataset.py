"""GanAugmented: a user's dataset with synthetic samples after its own, and items of the same form."""

from __future__ import annotations

import hashlib
import operator
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ganaug.bank import GeneratorBank
from ganaug.choosing import (
    ChosenSamples,
    ScreeningChoice,
    choose_samples,
    hard_labels,
    refuse_unsuited,
    resolve_ratio,
    screening_settings,
    varying_own,
)
from ganaug.data import DatasetView
from ganaug.data.box_view import BoxView
from ganaug.data.copy_paste import CopyPaste
from ganaug.data.domains import any_view
from ganaug.data.items import join_item, split_item
from ganaug.data.joint_view import JointView
from ganaug.data.mask_view import MaskView
from ganaug.enlarging import enlarged_to
from ganaug.errors import RecipeError
from ganaug.grounds import lay_grounds
from ganaug.matching import (
    MatchedClass,
    larger_images,
    match_classes,
    strange_images,
    unmatched_classes,
    usual_side,
    with_size,
)
from ganaug.pool import SamplePool
from ganaug.pool_making import Report
from ganaug.ratios import AnnealedRatio, Ratio, SlotPlan, interleaved, schedule_of
from ganaug.recipe import Scenes
from ganaug.showing import TURNS
from ganaug.tasks import get_task
from ganaug.translated import Translations, translation_chance
from ganaug.varied_pairs import VariedPairs

__all__ = ["AnnealedRatio", "GanAugmented"]

MODELS = 64  # real images of a class whose size and kind its synthetic ones take, in turn


class GanAugmented(Dataset[Any]):
    """A dataset's real samples, and slots with synthetic ones after them.

    Index i below the number of real samples is real sample i, exactly as the wrapped dataset gives it. Every index
    after that is a slot: it has a class for good and holds a synthetic sample of it, another one each epoch, put
    through the dataset's own transforms. The wrapped dataset is never changed.

    What an index holds depends on (seed, epoch, index) alone, not on workers, batches or processes; the draws of
    random transforms come from the random generators of whoever reads, as for any dataset. A class of which no sample
    passes the screening has real images in its slots. For a plain loop:

        for epoch in range(epochs):
            train.set_epoch(epoch)
            for images, labels in loader: ...

    Args:
        dataset: map-style, of (image, class number) pairs or dicts of them; with a bank for segmentation of (image,
            mask), with one for detection of (image, {"boxes", "labels", ...}) as torchvision's detection references
            have it, or such in a `CopyPaste`. Then `targets` are all 0: such images have no class of their own.
        bank: fitted on the same images, or its file. It is used now, on its device, and never by a worker.
        ratio: synthetic samples per real one: a number, one for each class by name or number, one for each epoch (a
            list, an `AnnealedRatio`, or any picklable function of the epoch that never exceeds its first value), or
            "auto": what the bank's verdict says.
        mode: "sample" for what the bank makes by itself; "variation" for variations of the dataset's own images, of any
            classes, by a bank that was fitted with a recipe of variations, as vary-32 (one of vary-objects-32 or
            vary-masks-64 never does anything else, and varies objects or images at their own size); "translation" for
            the dataset's own images in another domain, by a bank that was fitted with a recipe such as translate-64.
            Then there are no slots: an index holds its real sample or, by `probability`, the same with its image
            translated and put through the dataset's transforms, and its class, mask or boxes as they are.
        probability: with mode "translation", that an image is translated in an epoch, 0 to 1; 0.5 by default.
        epochs: how many the training has; where the verdict is of synthetic images that give way to real ones over the
            epochs, "auto" needs it.
        screening: use only samples that are fit to train on: True for the recipe's settings or the defaults, settings
            of your own, or False. By default what the verdict says where `ratio` is "auto", else False. Classifiers,
            or segmenters, are trained on the dataset's images for it, once.
        soft_labels: give every target as probabilities of the classes, (classes,) float32: of a real image 1 for its
            own, of a synthetic one what classifiers say that were trained on real images.
        balance: spend the same total on the rarest classes first.
        seed: decides which samples are drawn.
        raw: a dataset of the same length whose images are PIL or uint8, where those of `dataset` are floats.
        transform: what makes the images of `dataset` of those of `raw`; without `raw`, applied to every image. With
            masks or boxes, what makes (image, mask) or (image, target) of such a pair.
        scenes: with a bank for detection, how its objects are pasted into real images; as its recipe says by default.
        enlarge: a bank that enlarges (recipe enlarge-64), or its file: samples of a bank of classes are enlarged by it
            before they are kept, where the dataset's images are larger than these, twice or thrice where need be.
        fill: a bank that fills holes (recipe fill-64), or its file: with a bank for detection, `scenes.erased` of the
            scenes are of images whose own objects it has erased. These are made once, up to 256.
        pool_dir: folder to keep raw samples in; the user's cache by default.
        pool_factor: epochs until a slot sees a sample again, at the cost of that many samples a slot on disk.
        check: look at up to 2000 images' fingerprints: is this the data that the bank was fitted on, and no other?
        report: called with samples made and samples in all while the pool is made.

    Raises:
        LeakError: the dataset has images that the bank's fit held back for an honest score (not with check=False).
        DataError: the dataset cannot be read below its transform, or shares no class with the bank.
        BankError: mode is "variation" and the bank varies no images, or "translation" and it translates none, or one of
            the banks is not for what it is given.
        RecipeError: a ratio or another setting is out of range.
        OutputError: the pool cannot be written.
    """

    def __init__(
        self,
        dataset: Any,
        bank: GeneratorBank | str | Path,
        *,
        ratio: Ratio = "auto",
        mode: Literal["sample", "variation", "translation"] = "sample",
        probability: float | None = None,
        epochs: int | None = None,
        screening: ScreeningChoice = None,
        soft_labels: bool = False,
        balance: bool = False,
        seed: int = 0,
        raw: Any = None,
        transform: Callable[[Any], Any] | None = None,
        scenes: Scenes | None = None,
        enlarge: GeneratorBank | str | Path | None = None,
        fill: GeneratorBank | str | Path | None = None,
        pool_dir: str | Path | None = None,
        pool_factor: int = TURNS,
        check: bool = True,
        report: Report | None = None,
    ) -> None:
        self._seed = _whole(seed, "seed", 0, 2**63 - 1)
        self._factor = _whole(pool_factor, "pool_factor", 1, 1000)
        bank = bank if isinstance(bank, GeneratorBank) else GeneratorBank.load(bank)
        unsuited = soft_labels or screening or balance or scenes is not None or not isinstance(ratio, str)
        chance = translation_chance(mode, probability, unsuited=bool(unsuited) or fill is not None)
        bank, places = varying_own(bank, dataset, raw, asked=mode == "variation")
        refuse_unsuited(bank, soft_labels=soft_labels, screening=bool(screening))
        self.dataset = dataset
        self._translations: Translations | None = None
        if chance is not None:
            self._translate(bank, chance, raw, transform, pool_dir, check, report)
            return
        recipe = bank.recipe
        if scenes is not None:
            bank.check_task("detect", "scenes", "leave scenes out")
            recipe = recipe.model_copy(update={"scenes": scenes})
        self._fit = recipe.data.fit
        self._view = get_task(bank.task).view(dataset, recipe, bank.label_numbers, raw=raw, transform=transform)
        labels = np.asarray(self._view.labels(), dtype=np.int64)
        self._real_length = len(labels)
        source = bank if enlarge is None else enlarged_to(bank, enlarge, usual_side(self._view))
        self._matched = match_classes(self._view, labels, bank)
        length = None if epochs is None else _whole(epochs, "epochs", 1, 2**31)
        auto = isinstance(ratio, str)
        schedule, fade, unproven = resolve_ratio(ratio, self._matched, bank, length)
        settings = screening_settings(screening, bank, auto=auto)
        sizes = tuple(len(cls.members) for cls in self._matched)
        self._plan = SlotPlan(sizes, schedule, balance, fade)
        self._slots = self._plan.slots()
        self._lay_out(labels)
        worries = [unproven]
        if check:
            worries.append(strange_images(self._view, self._matched, bank))
        if self._slots.any():
            worries.append(unmatched_classes(self._view, labels, self._matched, bank))
            worries.append(larger_images(self._view, source, enlarged=enlarge is not None))
            worries.append(hard_labels(bank, auto, soft_labels))
        self._names = _names_by_number(self._view.class_names, self._matched)
        self._soft_classes = max(len(self._names), max(self._targets) + 1) if soft_labels else None
        self._begin()
        if bank.task == "detect" and bank.varies:
            assert isinstance(self._view, BoxView), "of this task"
            self._view.vary_by(lambda objects, start: bank.vary_objects(objects, seed=self._seed, start=start))
        lay_grounds(self._view, bank, fill, recipe.scenes, wanted=bool(self._slots.any()), directory=pool_dir)
        if self._slots.any():
            counts: dict[int, int] = {}
            for cls, slots in zip(self._matched, self._slots.tolist(), strict=True):
                # two classes of one name share the samples
                counts[cls.bank_index] = max(self._factor * slots, counts.get(cls.bank_index, 0))
            chosen = choose_samples(
                dataset, bank, self._matched, counts, raw=raw, settings=settings, soft_classes=self._soft_classes,
                seed=self._seed, directory=pool_dir, check=check,
            )  # fmt: skip
            worries.append(chosen.shortage)
            self._fill(source, counts, chosen, places, pool_dir, report)
        for worry in filter(None, worries):
            warnings.warn(worry, stacklevel=2)

    def _begin(self) -> None:
        """Set what changes with the epochs, and what is made later."""
        # in shared memory, so that workers that persist see `set_epoch`
        self._epoch = torch.zeros(1, dtype=torch.int64, device="cpu").share_memory_()  # type: ignore[no-untyped-call]
        self._filled_in: tuple[int, npt.NDArray[np.int64]] | None = None
        self._pool: SamplePool | None = None
        self._barren = np.zeros(len(self._matched), dtype=bool)

    def _translate(
        self,
        bank: GeneratorBank,
        chance: float,
        raw: Any,
        transform: Callable[[Any], Any] | None,
        pool_dir: str | Path | None,
        check: bool,
        report: Report | None,
    ) -> None:
        """Make the translations; there are no slots."""
        bank.check_task("translate", "mode='translation'", "fit one with a recipe such as translate-64")
        self._view = any_view(self.dataset, raw=raw, transform=transform)
        labels = np.asarray(self._view.labels(), dtype=np.int64)
        self._real_length, self._soft_classes = len(labels), None
        self._matched, self._slots = [], np.zeros(0, dtype=np.int64)
        self._plan = SlotPlan((), schedule_of(0.0), False)
        names = self._view.class_names
        self._names = names if names is not None else [str(number) for number in range(int(labels.max()) + 1)]
        self._lay_out(labels)
        self._begin()
        worry = strange_images(self._view, (), bank) if check else None
        self._translations = Translations(
            self._view, bank, probability=chance, seed=self._seed, directory=pool_dir, report=report
        )
        if worry:
            warnings.warn(worry, stacklevel=3)

    def _fill(
        self,
        bank: GeneratorBank,
        counts: dict[int, int],
        chosen: ChosenSamples,
        places: list[tuple[int, int, int]],
        pool_dir: str | Path | None,
        report: Report | None,
    ) -> None:
        """Make the pool of the chosen samples; slots of a class that has none are left to real images.

        Of pairs that are varied, whose `places` in the dataset are given, nothing but how they are moved is kept.
        """
        filled = {index: count for index, count in counts.items() if count and not chosen.barren(index)}
        self._barren = np.array([cls.bank_index not in filled for cls in self._matched])
        if places:
            assert isinstance(self._view, MaskView), "of this task"
            indices = range(counts[0]) if chosen.indices is None else chosen.indices[0]
            self._view.vary_by(VariedPairs(bank, places, indices, seed=self._seed, report=report))
        wanted = self._view.samples_for(filled, bank.class_names, bank.label_numbers) if filled else {}
        if wanted:
            self._pool = SamplePool.create(
                bank, wanted, seed=self._seed, directory=pool_dir, chosen=chosen.indices, soft=chosen.soft,
                report=report,
            )  # fmt: skip

    def _lay_out(self, labels: npt.NDArray[np.int64]) -> None:
        """Fix what never changes: each slot's class, its place among the slots of that class, its real model."""
        self._slot_class = interleaved(self._slots)
        self._slot_rank = np.empty_like(self._slot_class)
        self._slot_model = np.empty_like(self._slot_class)
        for place, cls in enumerate(self._matched):
            slots = np.flatnonzero(self._slot_class == place)
            self._slot_rank[slots] = np.arange(len(slots))
            if len(slots):
                self._slot_model[slots] = np.resize(self._models(cls), len(slots))
        numbers = np.array([cls.label for cls in self._matched], dtype=np.int64)
        self._targets: list[int] = [*labels.tolist(), *numbers[self._slot_class].tolist()]

    def _models(self, cls: MatchedClass) -> list[int]:
        """Real images of a class, evenly spaced, whose kind and size its synthetic ones take in turn."""
        count = min(MODELS, len(cls.members))
        candidates = cls.members[np.arange(count) * len(cls.members) // count].tolist()
        return with_size(self._view, candidates) or candidates

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def real_length(self) -> int:
        """Number of real samples; slots start at this index."""
        return self._real_length

    @property
    def targets(self) -> list[int]:
        """Class number of every index, in every epoch; before any target transform, as torchvision keeps them."""
        return self._targets

    @property
    def classes(self) -> list[str]:
        """Class names by number."""
        return self._names

    @property
    def epoch(self) -> int:
        """The epoch, for every process that shares this dataset."""
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, before the loader is iterated; workers that persist see it too."""
        number = _whole(epoch, "epoch", 0, 2**31)
        self._filled(number)  # a schedule that cannot be kept is an error here, not in a worker
        self._epoch[0] = number
        if isinstance(self.dataset, CopyPaste):
            self.dataset.set_epoch(number)

    def is_synthetic(self, index: int) -> bool:
        """Whether the index holds a synthetic sample, or a translated one, in this epoch."""
        real = self._real_at(self._checked(index), self.epoch)
        return real is None or self._is_translated(real, self.epoch)

    def synthetic_indices(self) -> npt.NDArray[np.int64]:
        """All indices that hold a synthetic sample, or a translated one, in this epoch, ascending."""
        if self._translations is not None:
            return np.flatnonzero([self._is_translated(index, self.epoch) for index in range(self._real_length)])
        return self._real_length + np.flatnonzero(self._slot_rank < self._filled(self.epoch)[self._slot_class])

    def __getitem__(self, index: int) -> Any:
        place = self._checked(index)
        epoch = self.epoch
        real = self._real_at(place, epoch)
        if real is None:
            return self._synthetic(place, epoch)
        return self._translated(real) if self._is_translated(real, epoch) else self._told(self._view.real(real), real)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several items at once, the real ones by the dataset's own `__getitems__` where it has one."""
        places, epoch = [self._checked(index) for index in indices], self.epoch
        real = [self._real_at(place, epoch) for place in places]
        wanted = [index for index in real if index is not None and not self._is_translated(index, epoch)]
        fetched = iter(self._view.getitems(wanted) if wanted else ())
        made = []
        for place, index in zip(places, real, strict=True):
            if index is None:
                made.append(self._synthetic(place, epoch))
            elif self._is_translated(index, epoch):
                made.append(self._translated(index))
            else:
                made.append(self._told(next(fetched), index))
        return made

    def _is_translated(self, index: int, epoch: int) -> bool:
        """Whether a real sample's image is translated in an epoch."""
        return self._translations is not None and self._translations.chosen(index, epoch)

    def _translated(self, index: int) -> Any:
        """The item of a real sample with its image translated."""
        assert self._translations is not None, "made with the mode"
        assert isinstance(self._view, (DatasetView, JointView)), "as the mode views datasets"
        return self._view.with_image(self._translations[index], index)

    def _told(self, item: Any, index: int) -> Any:
        """The item of a real sample, with a soft label where those are wanted."""
        if self._soft_classes is None:
            return item
        certain = torch.zeros(self._soft_classes)
        certain[self._targets[index]] = 1
        return join_item(item, split_item(item)[0], certain)

    def _checked(self, index: int) -> int:
        place, length = operator.index(index), len(self._targets)
        if not -length <= place < length:
            raise IndexError(f"index {place} is outside a dataset of {length} samples")
        return place + length if place < 0 else place

    def _filled(self, epoch: int) -> npt.NDArray[np.int64]:
        """How many slots of each matched class hold a synthetic sample."""
        if self._filled_in is None or self._filled_in[0] != epoch:
            self._filled_in = epoch, np.where(self._barren, 0, self._plan.filled(epoch))
        return self._filled_in[1]

    def _real_at(self, place: int, epoch: int) -> int | None:
        """The real sample that an index holds; none where it holds a synthetic one."""
        slot = place - self._real_length
        if slot < 0:
            return place
        cls = self._slot_class[slot]
        if self._slot_rank[slot] < self._filled(epoch)[cls]:
            return None
        members = self._matched[cls].members  # the schedule took the slot away
        digest = hashlib.sha256(f"{self._seed}/{epoch}/{place}".encode()).digest()
        return int(members[int.from_bytes(digest[:8], "little") % len(members)])

    def _synthetic(self, place: int, epoch: int) -> Any:
        slot = place - self._real_length
        cls, rank, slots = self._slot_class[slot], int(self._slot_rank[slot]), int(self._slots[self._slot_class[slot]])
        matched = self._matched[cls]
        sample = (rank + epoch * slots) % (self._factor * slots)
        item = self._view.synthetic(
            self._pool, (matched.bank_index, sample), matched.label, int(self._slot_model[slot]), self._fit,
            (self._seed, epoch, place),
        )  # fmt: skip
        if self._soft_classes is None:
            return item
        assert self._pool is not None, "made with its soft labels"
        return join_item(item, split_item(item)[0], torch.from_numpy(self._pool.soft(matched.bank_index, sample)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()  # a copy's own epoch must reach its own workers

    def __repr__(self) -> str:
        if self._translations is not None:
            return f"GanAugmented({type(self.dataset).__name__}: {self._translations}, epoch {self.epoch})"
        slots = ", ".join(f"{cls.name} {count}" for cls, count in zip(self._matched[:8], self._slots, strict=False))
        more = ", ..." if len(self._matched) > 8 else ""
        return (
            f"GanAugmented({type(self.dataset).__name__}: {self._real_length} real + {len(self) - self._real_length} "
            f"synthetic ({slots}{more}), epoch {self.epoch}, seed {self._seed})"
        )


def _names_by_number(names: list[str] | None, matched: Sequence[MatchedClass]) -> list[str]:
    if names is not None:
        return list(names)
    known = {cls.label: cls.bank_name for cls in matched}
    return [known.get(number, str(number)) for number in range(max(known) + 1)]


def _whole(value: Any, name: str, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or not low <= number <= high:
        raise RecipeError(f"{name} is {value!r}; give a whole number from {low} to {high}")
    return number
