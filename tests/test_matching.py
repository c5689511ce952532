import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.datasets import ImageFolder

from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint, perceptual_print
from ganaug.data.images import READ_ERRORS
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, LeakError


class Nameless(Dataset[Any]):
    """12 uint8 images of 20 x 24 px and the labels 0, 1, 2, 0, ..."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return torch.full((3, 20, 24), index, dtype=torch.uint8), index % 3


def mixed(dataset: Any, bank: GeneratorBank, **options: Any) -> GanAugmented:
    return GanAugmented(dataset, bank, **{"ratio": 1.0, **options})


def test_classes_match_by_name_and_labels_are_the_datasets(make_bank: Any, pets: ImageFolder) -> None:
    bank = make_bank(("owl", "fox", "cat"))
    with pytest.warns(UserWarning, match="knows no 'dog'") as caught:
        train = mixed(pets, bank)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.bincount(train.targets[21:], minlength=3).tolist() == [12, 0, 3]


def test_a_slot_holds_a_sample_of_the_class_of_its_name(make_bank: Any) -> None:
    class Named(list[Any]):
        classes = ("cat", "owl")

    bank = make_bank(("owl", "cat"))
    train = mixed(Named([(np.zeros((16, 16, 3), np.uint8), n % 2) for n in range(4)]), bank)
    for name, slot in zip(Named.classes, range(4, 6), strict=True):
        image, label = train[slot]
        assert Named.classes[label] == name
        assert np.array_equal(image, bank.sample(name, 1)[0].permute(1, 2, 0).numpy())


def test_without_names_classes_match_by_number(make_bank: Any) -> None:
    real = Nameless()
    with pytest.warns(UserWarning, match="knows no '1'"):
        train = mixed(real, make_bank(("a", "b"), numbers=(2, 0)))
    assert np.bincount(train.targets[12:], minlength=3).tolist() == [4, 0, 4]
    assert train.classes == ["b", "1", "a"]
    with pytest.raises(DataError, match=r"share no class: the dataset has '0', '1', '2', the bank 'a'"):
        mixed(real, make_bank(("a",), numbers=(7,)))


def test_a_name_is_never_matched_by_its_number(make_bank: Any, pets: ImageFolder) -> None:
    with pytest.raises(DataError, match="share no class: the dataset has 'cat', 'dog', 'owl', the bank 'bird'"):
        mixed(pets, make_bank(("bird", "fish", "newt")))
    assert len(mixed(pets, make_bank(("0", "1", "2")))) == 42  # a bank fitted on data without names


def test_images_that_were_held_back_are_an_error(make_bank: Any, pets: ImageFolder, image_folder: Path) -> None:
    prints = [fingerprint(Image.open(path)) for path, _ in pets.samples]
    leaking = make_bank(train_fingerprints=tuple(prints[:20]), held_back_fingerprints=(prints[20],))
    with pytest.raises(LeakError, match=r"^1 images .* held back"):
        mixed(pets, leaking)
    with pytest.raises(LeakError):
        mixed(pets, leaking, ratio=0)
    assert len(mixed(pets, leaking, check=False)) == 42
    assert len(mixed(Subset(pets, range(20)), leaking)) == 40


def test_images_that_the_bank_was_not_fitted_on_draw_one_warning(make_bank: Any, pets: ImageFolder) -> None:
    prints = [fingerprint(Image.open(path)) for path, _ in pets.samples]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed(pets, make_bank(train_fingerprints=tuple(prints)))
        mixed(pets, make_bank(train_fingerprints=tuple(prints[:19])))  # a tenth may be new
        mixed(pets, make_bank(train_fingerprints=("0",)), check=False)
    with pytest.warns(UserWarning, match="not fitted on 3 of 21 images") as caught:
        mixed(pets, make_bank(train_fingerprints=tuple(prints[:18])))
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="knows no 'dog', 'owl'") as caught:  # it was fitted on every cat
        mixed(pets, make_bank(("cat",), train_fingerprints=tuple(prints[:12])))
    assert len(caught) == 1


def test_much_larger_images_draw_one_warning(tiny_bank: GeneratorBank) -> None:
    large = [(Image.new("RGB", (80, 40)), 0)] * 4
    with pytest.warns(UserWarning, match="about 40 px and the bank's 16 px") as caught:
        train = mixed(large, tiny_bank)
    assert len(caught) == 1
    assert train[5][0].size == (80, 40)


def test_an_unreadable_image_is_left_to_the_training_loop(tiny_bank: GeneratorBank, image_folder: Path) -> None:
    (image_folder / "dog" / "03.png").write_bytes(b"")
    train = mixed(ImageFolder(str(image_folder)), tiny_bank)
    assert len([train[index] for index in train.synthetic_indices()]) == 21
    with pytest.raises(READ_ERRORS):  # ultralytics, once imported, changes which
        train[15]


def test_near_copies_of_images_that_were_held_back_draw_one_warning(make_bank: Any, image_folder: Path) -> None:
    held = np.asarray(Image.open(image_folder / "owl" / "02.png"))
    lighter = perceptual_print((held * 0.9 + 12).astype(np.uint8))
    pets = ImageFolder(str(image_folder))
    assert fingerprint(pets[20][0]) != fingerprint((held * 0.9 + 12).astype(np.uint8))
    with pytest.warns(UserWarning, match="1 of 21 images looked at are near-copies of images .* held back") as caught:
        mixed(pets, make_bank(held_back_fingerprints=("0",), held_back_perceptual=(lighter,)))
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed(Subset(pets, range(20)), make_bank(held_back_fingerprints=("0",), held_back_perceptual=(lighter,)))
