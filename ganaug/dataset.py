"""GanAugmented: a user's dataset with synthetic samples after its own, and items of the same form."""

from __future__ import annotations

import hashlib
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from ganaug.bank import GeneratorBank
from ganaug.batches import FixedShareBatchSampler
from ganaug.data import from_square
from ganaug.errors import RecipeError
from ganaug.matching import MatchedClass, larger_images, match_classes, strange_images, unmatched_classes, with_size
from ganaug.pool import Report, SamplePool
from ganaug.ratios import AnnealedRatio, Ratio, Schedule, SlotPlan, interleaved, per_class_ratio, schedule_of
from ganaug.tasks import get_task

__all__ = ["AnnealedRatio", "FixedShareBatchSampler", "GanAugmented"]

MODELS = 64  # real images of a class whose size and kind its synthetic ones take, in turn


class GanAugmented(Dataset[Any]):
    """A dataset's real samples, and slots with synthetic ones after them.

    Index i below the number of real samples is real sample i, exactly as the wrapped dataset gives it. Every index
    after that is a slot: it has a class for good and holds a synthetic sample of it, another one each epoch, put
    through the dataset's own transforms. The wrapped dataset is never changed.

    What an index holds depends on (seed, epoch, index) alone, not on workers, batches or processes; the draws of
    random transforms come from the random generators of whoever reads, as for any dataset. For a plain loop:

        for epoch in range(epochs):
            train.set_epoch(epoch)
            for images, labels in loader: ...

    Args:
        dataset: map-style, of (image, class number) pairs or dicts of them.
        bank: fitted on the same images, or its file. It is used now, on its device, and never by a worker.
        ratio: synthetic samples per real one: a number, one for each class by name or number, one for each epoch (a
            list, an `AnnealedRatio`, or any picklable function of the epoch that never exceeds its first value), or
            "auto": what the bank's verdict says.
        balance: spend the same total on the rarest classes first.
        seed: decides which samples are drawn.
        raw: a dataset of the same length whose images are PIL or uint8, where those of `dataset` are floats.
        transform: what makes the images of `dataset` of those of `raw`; without `raw`, applied to every image.
        pool_dir: folder to keep raw samples in; the user's cache by default.
        pool_factor: epochs until a slot sees a sample again, at the cost of that many samples a slot on disk.
        check: look at up to 2000 images' fingerprints: is this the data that the bank was fitted on, and no other?
        report: called with samples made and samples in all while the pool is made.

    Raises:
        LeakError: the dataset has images that the bank's fit held back for an honest score.
        DataError: the dataset cannot be read below its transform, or shares no class with the bank.
        RecipeError: a ratio or another setting is out of range.
        OutputError: the pool cannot be written.
    """

    def __init__(
        self,
        dataset: Any,
        bank: GeneratorBank | str | Path,
        *,
        ratio: Ratio = "auto",
        balance: bool = False,
        seed: int = 0,
        raw: Any = None,
        transform: Callable[[Any], Any] | None = None,
        pool_dir: str | Path | None = None,
        pool_factor: int = 4,
        check: bool = True,
        report: Report | None = None,
    ) -> None:
        self._seed = _whole(seed, "seed", 0, 2**63 - 1)
        self._factor = _whole(pool_factor, "pool_factor", 1, 1000)
        bank = bank if isinstance(bank, GeneratorBank) else GeneratorBank.load(bank)
        self.dataset = dataset
        self._fit = bank.recipe.data.fit
        self._view = get_task(bank.task).view(dataset, raw=raw, transform=transform)
        labels = np.asarray(self._view.labels(), dtype=np.int64)
        self._real_length = len(labels)
        self._matched = match_classes(self._view, labels, bank)
        schedule, unproven = _resolve(ratio, self._matched, bank)
        sizes = tuple(len(cls.members) for cls in self._matched)
        self._plan = SlotPlan(sizes, schedule, balance)
        self._slots = self._plan.slots()
        self._lay_out(labels)
        worries = [unproven]
        if check:
            worries.append(strange_images(self._view, self._matched, bank))
        if self._slots.any():
            worries.append(unmatched_classes(self._view, labels, self._matched, bank))
            worries.append(larger_images(self._view, bank))
        for worry in filter(None, worries):
            warnings.warn(worry, stacklevel=2)
        self._names = _names_by_number(self._view.class_names, self._matched)
        # in shared memory, so that workers that persist see `set_epoch`
        self._epoch = torch.zeros(1, dtype=torch.int64, device="cpu").share_memory_()  # type: ignore[no-untyped-call]
        self._filled_in: tuple[int, npt.NDArray[np.int64]] | None = None
        self._pool: SamplePool | None = None
        if self._slots.any():
            counts: dict[int, int] = {}
            for cls, slots in zip(self._matched, self._slots.tolist(), strict=True):
                # two classes of one name share the samples
                counts[cls.bank_index] = max(self._factor * slots, counts.get(cls.bank_index, 0))
            self._pool = SamplePool.create(bank, counts, seed=self._seed, directory=pool_dir, report=report)

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

    def is_synthetic(self, index: int) -> bool:
        """Whether the index holds a synthetic sample in this epoch."""
        return self._real_at(self._checked(index), self.epoch) is None

    def synthetic_indices(self) -> npt.NDArray[np.int64]:
        """All indices that hold a synthetic sample in this epoch, ascending."""
        return self._real_length + np.flatnonzero(self._slot_rank < self._filled(self.epoch)[self._slot_class])

    def __getitem__(self, index: int) -> Any:
        place = self._checked(index)
        if place < self._real_length:
            return self._view.real(place)
        epoch = self.epoch
        real = self._real_at(place, epoch)
        return self._view.real(real) if real is not None else self._synthetic(place, epoch)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several items at once, the real ones by the dataset's own `__getitems__` where it has one."""
        places, epoch = [self._checked(index) for index in indices], self.epoch
        real = [self._real_at(place, epoch) for place in places]
        wanted = [index for index in real if index is not None]
        fetched = iter(self._view.getitems(wanted) if wanted else ())
        return [
            next(fetched) if index is not None else self._synthetic(place, epoch)
            for place, index in zip(places, real, strict=True)
        ]

    def _checked(self, index: int) -> int:
        place, length = operator.index(index), len(self._targets)
        if not -length <= place < length:
            raise IndexError(f"index {place} is outside a dataset of {length} samples")
        return place + length if place < 0 else place

    def _filled(self, epoch: int) -> npt.NDArray[np.int64]:
        """How many slots of each matched class hold a synthetic sample."""
        if self._filled_in is None or self._filled_in[0] != epoch:
            self._filled_in = epoch, self._plan.filled(epoch)
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
        assert self._pool is not None
        image = self._pool[matched.bank_index, (rank + epoch * slots) % (self._factor * slots)]
        model = int(self._slot_model[slot])
        image = from_square(image, self._view.image_size(model), self._fit)
        return self._view.compose(image, matched.label, model)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()  # a copy's own epoch must reach its own workers

    def __repr__(self) -> str:
        slots = ", ".join(f"{cls.name} {count}" for cls, count in zip(self._matched[:8], self._slots, strict=False))
        more = ", ..." if len(self._matched) > 8 else ""
        return (
            f"GanAugmented({type(self.dataset).__name__}: {self._real_length} real + {len(self) - self._real_length} "
            f"synthetic ({slots}{more}), epoch {self.epoch}, seed {self._seed})"
        )


def _resolve(
    ratio: Any, matched: Sequence[MatchedClass], bank: GeneratorBank
) -> tuple[Schedule | tuple[float, ...], str | None]:
    """The schedule or the ratio of each class, and a warning where "auto" has nothing to go by."""
    ignored: set[Any] = set()
    if isinstance(ratio, str):
        if ratio != "auto":
            raise RecipeError(f"ratio is {ratio!r}; give a number from 0 to 40, or 'auto'")
        if bank.verdict is None:
            return schedule_of(0.0), (
                "ratio='auto' and the bank has no verdict, so nothing synthetic is mixed in; run `ganaug compare`, "
                "or give a ratio"
            )
        ratio, ignored = bank.verdict.ratio, set(bank.class_names)
    if isinstance(ratio, Mapping):
        return per_class_ratio(ratio, [{cls.name, cls.label, cls.bank_name} for cls in matched], ignored), None
    return schedule_of(ratio), None


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
