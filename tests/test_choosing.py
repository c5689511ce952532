import functools
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from ganaug import measures
from ganaug.bank import GeneratorBank, Verdict
from ganaug.data import fingerprint
from ganaug.dataset import AnnealedRatio, GanAugmented
from ganaug.errors import LeakError, RecipeError
from ganaug.recipe import Screening
from ganaug.screening import screen

REDUNDANT = Screening(doubt=None, far=None, copies=None, redundant=1.0, judges=2, steps=2, draw=20)
HOPELESS = Screening(doubt=None, far=0.0, copies=None, redundant=None, judges=2, steps=2, draw=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=2))


@pytest.fixture(autouse=True)
def own_pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test has screened is not found."""
    monkeypatch.setattr("ganaug.pool._default_directory", lambda: tmp_path / "pools")


@pytest.fixture
def bank(make_bank: Any) -> GeneratorBank:
    """`tiny_bank` with a recipe that trains its judge for two steps."""
    recipe = make_bank().recipe.replace({f"screening.{name}": value for name, value in REDUNDANT})
    found: GeneratorBank = make_bank(recipe=recipe.model_dump(mode="json"))
    return found


@pytest.fixture
def untrainable(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it, and nothing can be trained any more."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    return lambda: monkeypatch.setattr("ganaug.screening.selection.train_judge", refuse)


@pytest.fixture
def some_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample of dog passes, and two of owl do."""
    from ganaug.screening import selection

    original = selection._chosen

    def chosen(bank: GeneratorBank, index: int, count: int, *rest: Any) -> Any:
        found = original(bank, index, count, *rest)
        keep = {0: count, 1: 0, 2: 2}[index]
        tally = type(found.tally)(asked=count, drawn=found.tally.drawn, kept=keep)
        return type(found)(found.kept[:keep], found.soft[:keep], tally, found.examples)

    monkeypatch.setattr(selection, "_chosen", chosen)


def verdict(ratio: Any, **how: Any) -> Verdict:
    return Verdict(ratio=ratio, gain=0, low=0, high=0, real_only=0, with_synthetic=0, subject="bank", **how)


def slots_of(train: GanAugmented, label: int) -> list[int]:
    return [i for i in range(train.real_length, len(train)) if train.targets[i] == label]


def test_slots_hold_the_samples_that_were_kept(bank: GeneratorBank, pets: ImageFolder) -> None:
    train = GanAugmented(pets, bank, ratio=1.0, screening=REDUNDANT, seed=3, pool_factor=2)
    wanted = {name: 2 * len(slots_of(train, label)) for label, name in enumerate(train.classes)}
    found = screen(bank, pets, wanted, settings=REDUNDANT, seed=3, device="cpu")
    assert any(found.kept[index].tolist() != list(range(len(found.kept[index]))) for index in found.kept)
    for label in range(3):
        expected = bank.sample_at(label, found.kept[label].tolist(), seed=3)
        pool = train._pool
        assert pool is not None
        assert np.array_equal(pool.images(label), expected.permute(0, 2, 3, 1).numpy())


def test_a_second_dataset_trains_nothing(
    bank: GeneratorBank, pets: ImageFolder, untrainable: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"ratio": 0.5, "screening": REDUNDANT, "soft_labels": True, "pool_dir": tmp_path}
    first = GanAugmented(pets, bank, **options)
    untrainable()
    again = GanAugmented(pets, bank, **options)
    for index in range(len(first)):
        assert all(torch.equal(one, other) for one, other in zip(first[index], again[index], strict=True))
    with pytest.raises(AssertionError, match="trained"):
        GanAugmented(pets, bank, **{**options, "seed": 1})


@pytest.mark.parametrize("screening", [False, REDUNDANT])
def test_soft_labels_are_probabilities(bank: GeneratorBank, pets: ImageFolder, screening: Any) -> None:
    hard = GanAugmented(pets, bank, ratio=1.0, screening=screening)
    train = GanAugmented(pets, bank, ratio=1.0, screening=screening, soft_labels=True)
    assert train.targets == hard.targets
    assert train._pool is not None
    assert hard._pool is not None
    assert train._pool.folder != hard._pool.folder
    for index in range(len(train)):
        image, target = train[index]
        assert torch.equal(image, hard[index][0])
        assert (target.shape, target.dtype) == ((3,), torch.float32)
        assert float(target.sum()) == pytest.approx(1, abs=1e-5)
        if index < train.real_length:
            assert target.tolist() == torch.eye(3)[hard[index][1]].tolist()
    assert all(0 < float(train[index][1].max()) < 1 for index in train.synthetic_indices())
    batch = next(iter(DataLoader(train, batch_size=30, shuffle=True)))
    assert batch[1].shape == (30, 3)
    pickled = pickle.loads(pickle.dumps(train))
    assert all(torch.equal(pickled[index][1], train[index][1]) for index in range(len(train)))


def test_soft_labels_reach_dicts_and_slots_that_hold_real_images(bank: GeneratorBank) -> None:
    random = np.random.default_rng(0)
    items = [
        {"image": torch.from_numpy(random.integers(0, 256, (3, 16, 16), dtype=np.uint8)), "label": i % 3, "id": i}
        for i in range(12)
    ]
    schedule = AnnealedRatio(1.0, 0.0, epochs=2)
    train = GanAugmented(Items(items), bank, ratio=schedule, soft_labels=True)
    train.set_epoch(1)
    assert not len(train.synthetic_indices())
    for index, item in enumerate(train.__getitems__(list(range(24)))):
        assert item["label"].tolist() == torch.eye(3)[train.targets[index]].tolist()
    assert items[0]["label"] == 0  # the user's own are as they were


class Items(torch.utils.data.Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return dict(self.items[index])


def test_the_judge_knows_classes_that_the_bank_does_not(make_bank: Any, bank: GeneratorBank, pets: ImageFolder) -> None:
    with pytest.warns(UserWarning, match="the bank knows no 'cat'"):
        train = GanAugmented(pets, make_bank(("owl", "dog"), recipe=bank.manifest.recipe), ratio=1.0, soft_labels=True)
    assert all(float(train[index][1][0]) > 0 for index in train.synthetic_indices())


def test_what_cannot_be_filled_is_said_and_never_short(
    bank: GeneratorBank, pets: ImageFolder, some_short: None
) -> None:
    with pytest.warns(UserWarning, match=r"too few .* 0 of 24 of 'dog', 2 of 12 of 'owl'"):
        train = GanAugmented(pets, bank, ratio=1.0, screening=REDUNDANT, soft_labels=True)
    assert len(train) == 42
    dogs, owls = slots_of(train, 1), slots_of(train, 2)
    assert [train.is_synthetic(index) for index in dogs] == [False] * 6
    assert set(train.synthetic_indices()) == {*slots_of(train, 0), *owls}
    real = {image.numpy().tobytes() for image, label in pets if label == 1}
    assert {train[index][0].numpy().tobytes() for index in dogs} <= real
    assert len({train._pool[2, j].tobytes() for j in range(12)}) == 2  # type: ignore[index]
    assert all(np.array_equal(train._pool.soft(2, j), train._pool.soft(2, j % 2)) for j in range(12))  # type: ignore[union-attr]


def test_where_nothing_passes_there_are_real_images_alone(bank: GeneratorBank, pets: ImageFolder) -> None:
    bank.sample_at = lambda index, indices, seed=0: torch.full((len(indices), 3, 16, 16), 0)  # type: ignore[method-assign,assignment]
    with pytest.warns(UserWarning, match="too few"):
        train = GanAugmented(pets, bank, ratio=1.0, screening=HOPELESS)
    assert len(train) == 42
    assert not len(train.synthetic_indices())
    assert len(list(train)) == 42


def test_images_that_were_held_back_train_no_judge(make_bank: Any, pets: ImageFolder, untrainable: Any) -> None:
    bank = make_bank(held_back_fingerprints=(fingerprint(pets.loader(pets.samples[0][0])),))
    untrainable()
    with pytest.raises(LeakError, match="held back"):
        GanAugmented(pets, bank, ratio=1.0, screening=REDUNDANT)
    with pytest.raises(AssertionError, match="trained"):
        GanAugmented(pets, bank, ratio=1.0, screening=REDUNDANT, check=False)


@pytest.mark.parametrize(
    ("how", "options", "screened"),
    [
        ({"screened": True}, {}, True),
        ({"screened": True}, {"screening": False}, False),
        ({"screened": False}, {}, False),
        ({"screened": True}, {"ratio": 0.5}, False),
        ({}, {"screening": True}, True),
    ],
)
def test_auto_obeys_what_the_verdict_says_of_screening(
    bank: GeneratorBank, pets: ImageFolder, how: Any, options: Any, screened: bool
) -> None:
    bank = bank.with_verdict(verdict(0.5, **how))
    train = GanAugmented(pets, bank, **options)
    plain = GanAugmented(pets, bank, ratio=0.5)
    assert train._pool is not None
    assert plain._pool is not None
    assert (train._pool.folder != plain._pool.folder) == screened


@pytest.mark.parametrize("ratio", [0.5, {"cat": 0.5, "owl": 2.0}])
def test_a_verdict_of_falling_ratios_needs_the_epochs(bank: GeneratorBank, pets: ImageFolder, ratio: Any) -> None:
    falling = bank.with_verdict(verdict(ratio, annealed=True))
    with pytest.warns(UserWarning, match="epochs=") as caught:
        train = GanAugmented(pets, falling)
    assert len(caught) == 1
    assert len(train) == 21
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train = GanAugmented(pets, falling, epochs=5)
        assert len(GanAugmented(pets, bank.with_verdict(verdict(0.0, annealed=True)))) == 21
    whole = GanAugmented(pets, bank, ratio=ratio)
    assert train.targets == whole.targets
    counts = []
    for epoch in range(6):
        train.set_epoch(epoch)
        counts.append(len(train.synthetic_indices()))
    assert counts[0] == len(whole) - 21
    assert counts == sorted(counts, reverse=True)
    assert 0 < counts[3] < counts[1]
    assert counts[4:] == [0, 0]


def test_a_verdict_of_soft_labels_is_said(bank: GeneratorBank, pets: ImageFolder) -> None:
    bank = bank.with_verdict(verdict(0.5, soft=True))
    with pytest.warns(UserWarning, match="soft_labels=True"):
        train = GanAugmented(pets, bank)
    assert train[0][1] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert GanAugmented(pets, bank, soft_labels=True)[0][1].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "options", [{"screening": "yes"}, {"screening": 0.5}, {"epochs": 0}, {"epochs": 2.5}, {"epochs": True}]
)
def test_settings_out_of_range_are_named(bank: GeneratorBank, pets: ImageFolder, options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(options))):
        GanAugmented(pets, bank, ratio=0.5, **options)
