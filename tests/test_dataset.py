import copy
import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler, Subset, WeightedRandomSampler
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ganaug.bank import GeneratorBank, Verdict
from ganaug.dataset import AnnealedRatio, GanAugmented
from ganaug.errors import DataError, RecipeError

TO_TENSOR = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
SMALL = v2.Compose([v2.Resize((16, 16)), v2.ToImage()])


class Items(Dataset[Any]):
    """A dataset of what `make(pixels HWC uint8, label)` gives; 12 items, labels 0, 1, 2, 0, ..."""

    def __init__(self, make: Callable[[Any, int], Any], count: int = 12) -> None:
        random = np.random.default_rng(1)
        self.images = random.integers(0, 256, (count, 20, 24, 3), dtype=np.uint8)
        self.make = make

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.make(self.images[index].copy(), index % 3)


class Pair(NamedTuple):
    image: Any
    label: int


def chw(pixels: Any) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


FORMS: dict[str, Callable[[Any, int], Any]] = {
    "PIL": lambda pixels, label: (Image.fromarray(pixels), label),
    "grey PIL": lambda pixels, label: (Image.fromarray(pixels).convert("L"), label),
    "tensor": lambda pixels, label: (chw(pixels), label),
    "array": lambda pixels, label: (pixels, np.int64(label)),
    "list": lambda pixels, label: [Image.fromarray(pixels), label],
    "named tuple": lambda pixels, label: Pair(Image.fromarray(pixels), label),
    "tensor label": lambda pixels, label: (chw(pixels), torch.tensor(label)),
    "tv_tensor": lambda pixels, label: (tv_tensors.Image(chw(pixels)), label),
    "dict": lambda pixels, label: {"image": Image.fromarray(pixels), "label": label, "source": "x"},
    "Hugging Face dict": lambda pixels, label: {"pixel_values": chw(pixels), "labels": label},
}


def form(item: Any) -> Any:
    """Types, shapes and dtypes all the way down, without the values."""
    if isinstance(item, dict):
        return type(item), {key: form(value) for key, value in item.items()}
    if isinstance(item, (tuple, list)):
        return type(item), [form(value) for value in item]
    if isinstance(item, Image.Image):
        return Image.Image, item.mode, item.size
    shape = tuple(item.shape) if hasattr(item, "shape") else ()
    return type(item), shape, getattr(item, "dtype", None)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def labels_of(items: list[Any]) -> list[int]:
    return [int(label) for _, label in items]


def mixed(dataset: Any, bank: GeneratorBank, **options: Any) -> GanAugmented:
    return GanAugmented(dataset, bank, **{"ratio": 1.0, **options})


@pytest.mark.parametrize("name", FORMS)
def test_items_have_the_datasets_own_form(tiny_bank: GeneratorBank, name: str) -> None:
    real = Items(FORMS[name])
    train = mixed(real, tiny_bank)
    assert len(train) == 24
    for index in range(24):
        assert form(train[index]) == form(real[0])
    assert all(same(train[index], real[index]) for index in range(12))
    assert len({np.asarray(next(iter(i.values())) if isinstance(i, dict) else i[0]).tobytes() for i in train}) == 24


def test_synthetic_images_go_through_the_datasets_transforms(tiny_bank: GeneratorBank, image_folder: Path) -> None:
    plain = ImageFolder(str(image_folder))
    changed = ImageFolder(str(image_folder), transform=TO_TENSOR, target_transform=lambda label: 10 * label)
    raw, made = mixed(plain, tiny_bank)[30], mixed(changed, tiny_bank)[30]
    assert torch.equal(made[0], TO_TENSOR(raw[0]))
    assert made[1] == 10 * raw[1]
    assert made[0].shape == (3, 20, 24)
    assert changed.transform is TO_TENSOR  # the dataset is as it was


def test_a_normalised_dataset_needs_its_raw_images(tiny_bank: GeneratorBank) -> None:
    raw = Items(FORMS["PIL"])
    normalised = Items(lambda pixels, label: (TO_TENSOR(Image.fromarray(pixels)).sub(0.5), label))
    with pytest.raises(DataError, match="raw="):
        mixed(normalised, tiny_bank)
    train = mixed(normalised, tiny_bank, raw=raw, transform=lambda image: TO_TENSOR(image).sub(0.5))
    assert form(train[20]) == form(normalised[0])
    assert same(train[3], normalised[3])


def test_slots_hold_the_banks_samples_of_their_class(tiny_bank: GeneratorBank) -> None:
    real = Items(lambda pixels, label: (pixels[:16, :16], label))
    train = mixed(real, tiny_bank, seed=5, pool_factor=2)
    for label in range(3):
        slots = [index for index in range(12, 24) if train[index][1] == label]
        expected = tiny_bank.sample_at(label, range(8), seed=5).permute(0, 2, 3, 1).numpy()
        for epoch in range(3):
            train.set_epoch(epoch)
            found = np.stack([train[slot][0] for slot in slots])
            assert np.array_equal(found, expected[4 * (epoch % 2) :][:4])


def test_indices_are_a_sequences(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train = mixed(pets, tiny_bank)
    assert len(train) == 42
    assert train.real_length == 21
    assert same(train[-1], train[41])
    assert same(train[-42], pets[0])
    assert same(train[np.int64(3)], pets[3])
    assert same(train[torch.tensor(3)], pets[3])
    for outside in (42, -43):
        with pytest.raises(IndexError):
            train[outside]
        with pytest.raises(IndexError):
            train.is_synthetic(outside)
    assert [train.is_synthetic(index) for index in (0, 20, 21, 41, -1)] == [False, False, True, True, True]
    assert train.synthetic_indices().tolist() == list(range(21, 42))
    assert len(list(train)) == 42


def test_targets_and_classes_are_true_in_every_epoch(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train = mixed(pets, tiny_bank, ratio=AnnealedRatio(1.0, 0.0, epochs=3))
    assert train.classes == ["cat", "dog", "owl"]
    assert np.bincount(train.targets).tolist() == [24, 12, 6]
    for epoch in range(4):
        train.set_epoch(epoch)
        assert labels_of([train[index] for index in range(len(train))]) == train.targets


def test_the_total_is_the_ratio_and_balance_spends_it_on_the_rarest(
    tiny_bank: GeneratorBank, pets: ImageFolder
) -> None:
    def slots(**options: Any) -> list[int]:
        return np.bincount(mixed(pets, tiny_bank, **options).targets[21:], minlength=3).tolist()

    assert slots(ratio=0.5) == [6, 3, 1]
    assert slots(ratio=0.5, balance=True) == [0, 3, 7]
    assert slots(ratio=1.0, balance=True) == [2, 8, 11]
    assert slots(ratio={"owl": 3, 1: 0.5}) == [0, 3, 9]
    assert slots(ratio=40)[0] == 480


def test_what_an_index_holds_depends_on_seed_epoch_and_index_alone(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train, again, other = (mixed(pets, tiny_bank, seed=seed) for seed in (1, 1, 2))
    first = [train[index] for index in range(42)]
    assert same(first, [again[index] for index in reversed(range(42))][::-1])
    assert same(first, train.__getitems__(list(range(42))))
    assert not any(same(train[index], other[index]) for index in range(21, 42))
    train.set_epoch(1)
    assert same(first[:21], [train[index] for index in range(21)])
    assert not any(same(first[index], train[index]) for index in range(21, 42))
    train.set_epoch(4)  # the pool begins anew
    assert same(first, [train[index] for index in range(42)])


def epochs(train: GanAugmented, *, loader: Any = None, count: int = 3, **options: Any) -> list[Any]:
    """Images and labels of some epochs through a loader."""
    loader = loader or DataLoader(train, batch_size=5, **options)
    found = []
    for epoch in range(count):
        train.set_epoch(epoch)
        batches = list(loader)
        found.append((torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])))
    return found


@pytest.mark.parametrize("options", [{"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
def test_workers_make_no_difference(tiny_bank: GeneratorBank, pets: ImageFolder, options: dict[str, Any]) -> None:
    ratio = AnnealedRatio(1.0, 0.5, epochs=3)
    expected = epochs(mixed(pets, tiny_bank, ratio=ratio))
    assert not torch.equal(expected[0][0], expected[1][0])
    assert same(epochs(mixed(pets, tiny_bank, ratio=ratio), multiprocessing_context="fork", **options), expected)


def test_spawned_workers_that_persist_see_the_epoch(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train = mixed(pets, tiny_bank, ratio=AnnealedRatio(1.0, 0.0, epochs=3))
    expected = epochs(train)
    train.set_epoch(0)
    found = epochs(train, num_workers=1, persistent_workers=True, multiprocessing_context="spawn")
    assert same(found, expected)


def test_random_transforms_repeat_with_the_seed_of_the_loader(tiny_bank: GeneratorBank, image_folder: Path) -> None:
    real = ImageFolder(str(image_folder), transform=v2.Compose([v2.RandomHorizontalFlip(), SMALL]))
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        train = mixed(real, tiny_bank)
        runs.append(epochs(train, count=2, shuffle=True, num_workers=2, multiprocessing_context="fork"))
    assert same(*runs)


def test_a_copy_has_its_own_epoch_and_its_own_workers_see_it(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train = mixed(pets, tiny_bank)
    for other in (copy.deepcopy(train), pickle.loads(pickle.dumps(train))):
        expected = epochs(train)
        assert same(epochs(other, num_workers=1, persistent_workers=True, multiprocessing_context="fork"), expected)
        train.set_epoch(9)
        assert other.epoch == 2


def test_it_carries_no_generator(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train = mixed(pets, tiny_bank)

    class NoModules(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            assert not isinstance(value, (torch.nn.Parameter, GeneratorBank))
            return NotImplemented

    NoModules(io.BytesIO()).dump(train)


def test_samplers_and_subsets_around_it(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train = mixed(pets, tiny_bank)
    weights = (1 / torch.bincount(torch.tensor(train.targets)))[train.targets]
    images, labels = next(iter(DataLoader(train, batch_size=30, sampler=WeightedRandomSampler(weights.tolist(), 30))))
    assert images.shape == (30, 3, 16, 16)
    assert set(labels.tolist()) == {0, 1, 2}
    ranks = [DistributedSampler(train, num_replicas=2, rank=rank, seed=1) for rank in (0, 1)]
    seen = [
        label for sampler in ranks for _, labels in DataLoader(train, 5, sampler=sampler) for label in labels.tolist()
    ]
    assert sorted(seen) == sorted(train.targets)
    part = Subset(train, [0, 25, 41])
    assert same(part.__getitems__([2, 0, 1]), [train[41], train[0], train[25]])
    assert len(ConcatDataset([train, pets])) == 63


def test_real_items_of_a_batch_are_fetched_at_once(tiny_bank: GeneratorBank) -> None:
    class Batched(Items):
        asked: ClassVar[list[list[int]]] = []

        def __getitems__(self, indices: list[int]) -> list[Any]:
            self.asked.append(indices)
            return [self[index] for index in indices]

    real = Batched(FORMS["PIL"])
    train = mixed(real, tiny_bank)
    items = train.__getitems__([20, 3, 15, 1, -24])
    assert real.asked == [[3, 1, 0]]
    assert same(items, [train[20], real[3], train[15], real[1], real[0]])
    train.__getitems__([13, 14])
    assert len(real.asked) == 1


def test_a_schedule_puts_real_images_of_the_class_into_slots_it_takes_away(
    tiny_bank: GeneratorBank, pets: ImageFolder
) -> None:
    train = mixed(pets, tiny_bank, ratio=[1.0, 0.5, 0.0])
    reals = {pets[index][0].numpy().tobytes(): pets[index][1] for index in range(21)}
    held = []
    for epoch, count in enumerate([21, 10, 0, 0]):
        train.set_epoch(epoch)
        assert len(train) == 42
        assert len(train.synthetic_indices()) == count
        for index in range(21, 42):
            image, label = train[index]
            assert (image.numpy().tobytes() in reals) is not train.is_synthetic(index)
            assert reals.get(image.numpy().tobytes(), label) == label == train.targets[index]
        held.append([train[index] for index in range(21, 42)])
    assert not same(held[2], held[3])  # other stand-ins in another epoch


def test_a_function_of_the_epoch_may_not_exceed_its_first(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train = mixed(pets, tiny_bank, ratio=lambda epoch: 0.5 if epoch != 2 else 0.6)
    train.set_epoch(1)
    with pytest.raises(RecipeError, match="epoch 2"):
        train.set_epoch(2)
    assert train.epoch == 1


def verdict(ratio: Any) -> Verdict:
    return Verdict(ratio=ratio, gain=0, low=0, high=0, real_only=0, with_synthetic=0, subject="bank")


def test_auto_obeys_the_verdict(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    with pytest.warns(UserWarning, match="no verdict") as caught:
        train = GanAugmented(pets, tiny_bank)
    assert len(caught) == 1
    assert len(train) == 21
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(GanAugmented(pets, tiny_bank.with_verdict(verdict(0.0)))) == 21
        assert len(GanAugmented(pets, tiny_bank.with_verdict(verdict(0.5)))) == 31
        assert len(GanAugmented(pets, tiny_bank.with_verdict(verdict({"owl": 2.0})))) == 27


def test_no_pool_is_made_for_nothing(tiny_bank: GeneratorBank, pets: ImageFolder, tmp_path: Path) -> None:
    train = mixed(pets, tiny_bank, ratio=0, pool_dir=tmp_path / "pools")
    assert not (tmp_path / "pools").exists()
    assert same([train[index] for index in range(21)], [pets[index] for index in range(21)])


def test_a_bank_may_be_given_by_its_file(tiny_bank: GeneratorBank, pets: ImageFolder, tmp_path: Path) -> None:
    path = tiny_bank.save(tmp_path / "pets.ganaug")
    assert same(mixed(pets, str(path))[30], mixed(pets, tiny_bank)[30])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"ratio": -1}, {"ratio": 40.5}, {"ratio": float("nan")}, {"ratio": "half"}, {"ratio": {"catt": 1}},
        {"ratio": []}, {"seed": -1}, {"seed": 0.5}, {"pool_factor": 0},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(tiny_bank: GeneratorBank, pets: ImageFolder, options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(options))):
        mixed(pets, tiny_bank, **options)


def test_it_says_what_it_is(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    said = repr(mixed(pets, tiny_bank, ratio=0.5))
    assert said == "GanAugmented(ImageFolder: 21 real + 10 synthetic (cat 6, dog 3, owl 1), epoch 0, seed 0)"
