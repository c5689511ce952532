import importlib
import json
import pickle

import numpy as np
import pytest
import torch
from fillers import untrained_filler
from torch.utils.data import DataLoader

from ganaug.errors import BankError, DataError, RecipeError

A = pytest.importorskip("albumentations")
SyntheticErasing = importlib.import_module("ganaug.adapters.albumentations").SyntheticErasing

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return str(untrained_filler().save(tmp_path_factory.mktemp("banks") / "ground.ganaug"))


def test_a_region_is_hidden_and_all_else_stays(bank):
    mask, boxes = np.arange(40 * 48, dtype=np.int32).reshape(40, 48), np.array([[1, 2, 30, 30]], dtype=np.float32)
    transform = A.Compose(
        [SyntheticErasing(bank, scale=(0.1, 0.3), p=1), A.NoOp()], seed=0, strict=True,
        bbox_params=A.BboxParams("pascal_voc", label_fields=["kinds"]),
    )  # fmt: skip
    made = transform(image=IMAGE, mask=mask, bboxes=boxes, kinds=[3])
    changed = (made["image"] != IMAGE).any(2)
    assert (made["image"].shape, made["image"].dtype) == (IMAGE.shape, np.uint8)
    assert 0.05 < changed.mean() < 0.5
    assert np.array_equal(made["mask"], mask)
    assert np.allclose(made["bboxes"], boxes, atol=1e-3)
    assert made["kinds"] == [3]


def test_a_mask_is_filled_where_that_is_asked_and_there_alone(bank):
    masks = [np.full((40, 48), 9, np.uint8), np.full((40, 48), 8, np.uint8)]
    made = SyntheticErasing(bank, scale=(0.1, 0.3), fill_mask=255, p=1)(image=IMAGE, mask=masks[0], masks=masks)
    hole = made["mask"] == 255
    assert 0.05 < hole.mean() < 0.5
    assert not (made["image"] != IMAGE).any(2)[~hole].any()
    assert all(np.array_equal(one == 255, hole) for one in made["masks"])
    assert (masks[0] == 9).all(), "the user's own"


@pytest.mark.parametrize("shape", [(40, 48), (48, 40, 1), (40, 48, 3), (17, 70, 3)])
def test_it_has_the_form_of_the_image_that_is_given(bank, shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    made = SyntheticErasing(bank, p=1)(image=image)["image"]
    assert (made.shape, made.dtype) == (shape, np.uint8)
    assert not np.array_equal(made, image)


def test_what_is_drawn_follows_the_seed_and_is_kept_as_plain_values(bank):
    def shown(transform):
        return [transform(image=IMAGE)["image"] for _ in range(12)]

    pipeline = A.Compose([SyntheticErasing(bank, p=0.5)], seed=4)
    written = json.loads(json.dumps(A.to_dict(pipeline)))
    assert written["transform"]["transforms"][0] == {
        "__class_fullname__": "ganaug.adapters.albumentations_erasing.SyntheticErasing", "bank": bank, "p": 0.5,
        "scale": [0.02, 0.33], "fill_mask": None,
    }  # fmt: skip
    again = A.from_dict(written)
    again.set_random_seed(4)
    copy = pickle.loads(pickle.dumps(pipeline))
    first = shown(pipeline)
    assert np.array_equal(first, shown(again))
    assert np.array_equal(first, shown(copy))
    assert not np.array_equal(first, shown(A.Compose([SyntheticErasing(bank, p=0.5)], seed=5)))
    assert 2 <= sum(not np.array_equal(image, IMAGE) for image in first) <= 10


class Erased:
    """A user's dataset."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.from_numpy(self.transform(image=IMAGE)["image"])


@pytest.mark.slow
def test_it_works_in_workers(bank):
    loader = DataLoader(Erased(A.Compose([SyntheticErasing(bank, p=1)], seed=0)), batch_size=2, num_workers=2)
    made = torch.cat(list(loader))
    assert all(not torch.equal(image, torch.from_numpy(IMAGE)) for image in made)


def test_what_cannot_be_is_said_in_one_line(bank, tiny_bank, tmp_path):
    pets = str(tiny_bank.save(tmp_path / "pets.ganaug"))
    cases = (
        (lambda: SyntheticErasing(pets), BankError, "SyntheticErasing wants a bank of task fill"),
        (lambda: SyntheticErasing(bank, p=2), RecipeError, "p is 2; wanted a probability"),
        (lambda: SyntheticErasing(bank, scale=(0.5, 0.1)), RecipeError, "the lesser first"),
        (lambda: SyntheticErasing(bank, fill_mask=0.5), RecipeError, "fill_mask is 0.5"),
        (lambda: SyntheticErasing(bank, p=1)(image=IMAGE / np.float32(255)), DataError, "before what makes floats"),
        (lambda: SyntheticErasing(bank, p=1)(image=IMAGE[:, :, :2]), DataError, "with 1 or 3 channels or none"),
        (lambda: SyntheticErasing(bank, p=1)(images=IMAGE[None]), DataError, "the call has no image"),
    )
    for make, kind, said in cases:
        with pytest.raises(kind, match=said) as caught:
            make()
        assert "\n" not in str(caught.value)
