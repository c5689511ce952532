"""`GanAugmented` of images with boxes: a slot holds a whole scene."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from drawn_boxes import COLOURS, MAGENTA, square_bank, write_yolo
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from ganaug import GanAugmented, Scenes
from ganaug.bank import Verdict
from ganaug.data.box_files import list_boxes
from ganaug.data.fingerprints import fingerprint
from ganaug.errors import BankError, DataError, LeakError, RecipeError

VERDICT = Verdict(ratio=0.5, gain=0.1, low=0.05, high=0.2, real_only=0.5, with_synthetic=0.6, subject="bank")
PLAIN = Scenes(blends=("hard",), colour=0.0, rotation=0.0, distractors=0.0, real=0.0)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return list_boxes(write_yolo(tmp_path_factory.mktemp("boxes") / "set"))


@pytest.fixture(scope="module")
def bank():
    return square_bank()


def mixed_of(real, bank, ratio=2.0, scenes=PLAIN, **more):
    return GanAugmented(real, bank, ratio=ratio, scenes=scenes, **more)


def pixels(item):
    return np.asarray(item[0])


def magenta(item):
    """(n,): how much of each box is of the bank's colour."""
    image, shares = pixels(item).astype(int), []
    for left, top, right, bottom in item[1]["boxes"].int().tolist():
        shares.append((np.abs(image[top:bottom, left:right] - MAGENTA).max(2) < 40).mean())
    return np.array(shares)


def test_slots_hold_scenes_with_the_banks_objects(real, bank):
    mixed = mixed_of(real, bank)
    assert len(mixed) == 3 * len(real)
    assert mixed.classes == ["red", "blue"]
    pasted = set()
    for index in range(len(mixed)):
        image, target = mixed[index]
        assert mixed.is_synthetic(index) == (index >= len(real))
        assert list(target) == list(real[0][1])
        shares = magenta((image, target))
        if index < len(real):
            assert torch.equal(target["boxes"], real[index][1]["boxes"])
            assert not shares.any()
            continue
        pasted |= set(target["labels"][torch.from_numpy(shares > 0.9)].tolist())
        for box, label, share in zip(target["boxes"].int().tolist(), target["labels"].tolist(), shares, strict=True):
            if share < 0.9:  # a real one
                left, top, right, bottom = box
                part = pixels((image,)).astype(int)[top:bottom, left:right]
                assert (np.abs(part - COLOURS[label]).max(2) < 12).mean() > 0.6
    assert pasted == {0, 1}


def test_epochs_bring_other_scenes_and_the_same_seed_the_same(real, bank):
    mixed = mixed_of(real, bank)
    first = pixels(mixed[10])
    assert np.array_equal(first, pixels(mixed_of(real, bank)[10]))
    assert np.array_equal(first, pixels(pickle.loads(pickle.dumps(mixed))[10]))
    mixed.set_epoch(1)
    assert not np.array_equal(first, pixels(mixed[10]))
    assert not np.array_equal(first, pixels(mixed_of(real, bank, seed=1)[10]))


def test_real_objects_alone_need_no_pool(real, bank, tmp_path):
    mixed = mixed_of(real, bank, scenes=PLAIN.model_copy(update={"real": 1.0}), pool_dir=tmp_path)
    assert not list(tmp_path.iterdir())
    assert max(len(mixed[index][1]["boxes"]) for index in range(6, 18)) > 2
    assert not any(magenta(mixed[index]).any() for index in range(6, 18))


@pytest.mark.slow
def test_workers_give_the_same_scenes(real, bank):
    mixed = mixed_of(real, bank, transform=as_tensor)
    loader = DataLoader(mixed, batch_size=4, num_workers=2, collate_fn=list, persistent_workers=True)
    for epoch in range(2):
        mixed.set_epoch(epoch)
        loaded = [item for batch in loader for item in batch]
        for index in (7, 12, 17):
            assert torch.equal(loaded[index][0], mixed[index][0])
            assert torch.equal(loaded[index][1]["boxes"], mixed[index][1]["boxes"])


def as_tensor(image, target):
    return v2.functional.to_image(image), target


def test_auto_without_a_verdict_mixes_nothing_and_warns_once(real, bank):
    with pytest.warns(UserWarning, match="the bank has no verdict") as caught:
        mixed = GanAugmented(real, bank)
    assert (len(mixed), len(caught)) == (len(real), 1)
    told = square_bank(verdict=VERDICT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(GanAugmented(real, told)) == 9


def test_images_held_back_from_the_fit_are_an_error(real):
    held = square_bank(held_back_fingerprints=(fingerprint(real[2][0]),))
    with pytest.raises(LeakError, match="1 images"):
        mixed_of(real, held)
    mixed_of(real, held, check=False)


def test_large_objects_are_told(tmp_path, bank):
    big = list_boxes(write_yolo(tmp_path / "set"))
    wide = [(image.resize((800, 640)), {**target, "boxes": target["boxes"] * 10}) for image, target in big]
    with pytest.warns(UserWarning, match="real objects are about 286 px and the bank's 32 px: .*; fit at 64 px"):
        mixed_of(wide, bank)


def test_what_cannot_be_is_said(real, bank, tiny_bank):
    with pytest.raises(BankError, match="scenes wants a bank of task detect"):
        GanAugmented(real, tiny_bank, ratio=1.0, scenes=PLAIN)
    with pytest.raises(BankError, match="soft_labels=True wants a bank of task classify"):
        mixed_of(real, bank, soft_labels=True)
    with pytest.raises(DataError, match="share no class"):
        mixed_of(real, square_bank(class_names=("cat", "dog")))
    with pytest.raises(RecipeError, match="41"):
        mixed_of(real, bank, ratio=41)
