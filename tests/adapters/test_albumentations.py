import importlib
import json
import pickle
import sys
import warnings

import numpy as np
import pytest
import torch
from drawn_boxes import square_bank
from squares import bank_of_squares, drawn
from torch.utils.data import DataLoader

from ganaug.bank import GeneratorBank, Verdict
from ganaug.errors import BankError, DataError, GanaugError, MissingExtraError, RecipeError

A = pytest.importorskip("albumentations")
adapter = importlib.import_module("ganaug.adapters.albumentations")
SyntheticSwap = adapter.SyntheticSwap

GREY = np.full((20, 24, 3), 128, np.uint8)
SQUARE = GREY[:16, :16]


@pytest.fixture
def pets_bank(tiny_bank, tmp_path):
    return str(tiny_bank.save(tmp_path / "pets.ganaug"))


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A bank of 32 px grey pairs, whose masks hold 0 and 7, and 255 where nothing is said."""
    bank = bank_of_squares()
    bank.generators[0].maps.copy_(drawn(2, 5)[1])
    bank = GeneratorBank(bank.manifest.model_copy(update={"label_numbers": (0, 7)}), list(bank.generators))
    return str(bank.save(tmp_path_factory.mktemp("cells") / "cells.ganaug"))


def verdict(ratio, **more):
    return Verdict(ratio=ratio, gain=0, low=0, high=0, real_only=0, with_synthetic=0, subject="bank", **more)


def swapped(transform, times=40, **call):
    """How many of so many calls show another image."""
    return sum(not np.array_equal(transform(**call)["image"], call["image"]) for _ in range(times))


@pytest.mark.parametrize("label", ["dog", 1, np.int64(1), np.array(1), torch.tensor(1)])
def test_an_image_becomes_a_sample_of_its_class(pets_bank, label):
    made = A.Compose([SyntheticSwap(pets_bank, p=1, num=8, seed=3)], seed=0, strict=True)(image=SQUARE, label=label)
    samples = GeneratorBank.load(pets_bank).sample("dog", 8, seed=3).permute(0, 2, 3, 1).numpy()
    assert any(np.array_equal(made["image"], sample) for sample in samples)
    assert made["label"] is label


@pytest.mark.parametrize("shape", [(20, 24), (24, 20, 1), (20, 24, 3), (7, 7, 3)])
def test_it_has_the_form_of_the_image_that_is_given(pets_bank, shape):
    image = np.full(shape, 128, np.uint8)
    made = SyntheticSwap(pets_bank, p=1, num=8, label="kind")(image=image, kind="owl")["image"]
    assert (made.shape, made.dtype) == (shape, np.uint8)
    assert made.std() > 5
    assert (image == 128).all(), "the user's own"


def test_what_is_drawn_follows_the_seed_of_the_compose(pets_bank):
    def shown(seed):
        transform = A.Compose([SyntheticSwap(pets_bank, p=0.5, num=64), A.HorizontalFlip()], seed=seed)
        return [transform(image=GREY, label=place % 3)["image"] for place in range(60)]

    first = shown(1)
    assert np.array_equal(first, shown(1))
    assert not np.array_equal(first, shown(2))
    assert 15 < sum(not np.array_equal(image, GREY) for image in first) < 45
    assert len({image.tobytes() for image in first}) > 12


def test_it_is_kept_as_plain_values_and_pickles_without_a_generator(pets_bank, cells, tmp_path):
    pipeline = A.Compose([SyntheticSwap(pets_bank, p=1, num=8, seed=2, pool_dir=tmp_path / "pools")], seed=4)
    call = {"image": GREY, "label": "cat"}
    written = json.loads(json.dumps(A.to_dict(pipeline)))
    assert written["transform"]["transforms"][0] == {
        "__class_fullname__": "ganaug.adapters.albumentations.SyntheticSwap", "bank": pets_bank, "p": 1, "num": 8,
        "mode": "pair", "label": "label", "seed": 2, "pool_dir": str(tmp_path / "pools"),
    }  # fmt: skip
    again = A.from_dict(written)
    again.set_random_seed(4)
    sent = pickle.dumps(pipeline)
    copies = [again, pickle.loads(sent)]
    expected = [pipeline(**call)["image"] for _ in range(3)]
    for copy in copies:
        assert np.array_equal([copy(**call)["image"] for _ in range(3)], expected)
    for transform in (sent, pickle.dumps(SyntheticSwap(cells, p=1, mode="paint"))):
        assert b"SyntheticSwap" in transform
        assert b"GeneratorBank" not in transform
    assert "SyntheticSwap(" in repr(pipeline)
    assert pets_bank in repr(pipeline)


class Swapped:
    """A user's dataset."""

    def __init__(self, *calls):
        self.calls = calls

    def __len__(self):
        return 8

    def __getitem__(self, index):
        transform, call = self.calls[index % len(self.calls)]
        return transform(image=SQUARE, **call)["image"]


@pytest.mark.slow
def test_spawned_workers(pets_bank, cells):
    dataset = Swapped(
        (SyntheticSwap(pets_bank, p=1, num=8), {"label": "cat"}),
        (SyntheticSwap(cells, p=1, mode="paint"), {"mask": np.zeros((16, 16), np.uint8)}),
    )
    (images,) = DataLoader(dataset, 8, num_workers=1, multiprocessing_context="spawn")
    assert images.shape == (8, 16, 16, 3)
    assert (images.float().flatten(1).std(1) > 1).all()


@pytest.mark.parametrize(("shape", "kind"), [((32, 32), np.uint8), ((32, 32, 1), np.int32)])
def test_a_pair_takes_the_place_of_image_and_mask(cells, shape, kind):
    given = {"image": GREY[0, 0, 0].repeat(1024).reshape(32, 32, 1), "mask": np.zeros(shape, kind)}
    transform = A.Compose([SyntheticSwap(cells, p=1, num=8, seed=1)], seed=0, strict=True)
    images, maps = GeneratorBank.load(cells).sample_pairs(8, seed=1)
    seen = set()
    for made in [transform(**given) for _ in range(8)]:
        (row,) = [row for row in range(8) if np.array_equal(made["image"][..., 0], images[row, 0])]
        assert (made["mask"].shape, made["mask"].dtype) == (shape, kind)
        assert np.array_equal(made["mask"].reshape(32, 32), np.array([0, 7, *[255] * 254])[maps[row].numpy()])
        seen |= set(made["mask"].flatten().tolist())
    assert {0, 7} <= seen


def test_a_pair_becomes_as_large_as_the_one_given_and_follows_what_comes_after(cells):
    mask = np.zeros((40, 52), np.uint8)
    pipeline = A.Compose([SyntheticSwap(cells, p=1, num=8), A.PadIfNeeded(64, 64, fill_mask=9)], seed=3)
    made = pipeline(image=np.full((40, 52, 3), 7, np.uint8), mask=mask)
    assert made["image"].shape == (64, 64, 3)
    assert set(np.unique(made["mask"])) <= {0, 7, 9, 255}
    assert (made["mask"] == 9).sum() == 64 * 64 - 40 * 52


def test_an_image_is_painted_from_its_mask(cells, monkeypatch):
    asked = []

    def paint(self, maps, *, seed):
        asked.append((maps, seed))
        return (100 * maps[:, None].clamp(max=2) + 20).byte()

    monkeypatch.setattr(GeneratorBank, "paint", paint)
    mask = np.zeros((64, 96), np.uint8)
    mask[:32, 48:], mask[32:] = 7, 255
    transform = A.Compose([SyntheticSwap(cells, p=1, mode="paint")], seed=0)
    made = [transform(image=np.zeros((64, 96, 3), np.uint8), mask=mask, bboxes=None) for _ in range(2)]
    (maps, seed), (_, other) = asked
    assert maps.shape == (1, 32, 32)
    assert seed != other
    assert (maps[0, :16, :16] == 0).all()
    assert (maps[0, :16, 16:] == 1).all()
    assert (maps[0, 16:] == 255).all()
    assert np.array_equal(made[0]["mask"], mask)
    assert made[0]["image"].shape == (64, 96, 3)
    assert made[0]["image"][[4, 4, 60], [4, 90, 40], 0].tolist() == [20, 120, 220]


def test_auto_obeys_the_verdict(tiny_bank, tmp_path):
    def swap(said):
        return SyntheticSwap(tiny_bank.with_verdict(said).save(tmp_path / "one.ganaug"), num=8)

    with pytest.warns(UserWarning, match="no verdict, so nothing is swapped") as caught:
        none = swap(None)
    assert len(caught) == 1
    assert none.p == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert swap(verdict(0.0)).p == 0
        assert swap(verdict(1.5)).p == pytest.approx(0.6)
        uneven = swap(verdict({"dog": 4.0, "owl": 0.25}))
    assert uneven.p == pytest.approx(0.8)
    transform = A.Compose([uneven], seed=0)
    shares = [swapped(transform, 300, image=SQUARE, label=label) / 300 for label in ("cat", "dog", "owl")]
    assert shares == pytest.approx([0, 0.8, 0.2], abs=0.07)
    assert A.to_dict(uneven)["transform"]["p"] == "auto"
    for more in ({"annealed": True}, {"screened": True}, {"soft": True}):
        with pytest.warns(UserWarning, match="which SyntheticSwap does not make, so nothing is swapped"):
            assert swap(verdict(1.0, **more)).p == 0


def test_a_verdict_of_pairs_says_nothing_of_painting(cells, tmp_path):
    path = GeneratorBank.load(cells).with_verdict(verdict(1.0)).save(tmp_path / "cells.ganaug")
    assert SyntheticSwap(path, num=8).p == 0.5
    with pytest.warns(UserWarning, match="samples with new masks"):
        assert SyntheticSwap(path, mode="paint").p == 0


def test_nothing_is_made_where_nothing_is_swapped(pets_bank, tmp_path):
    transform = SyntheticSwap(pets_bank, p=0, pool_dir=tmp_path / "pools")
    assert not (tmp_path / "pools").exists()
    assert swapped(transform, image=GREY, label="cat") == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"image": GREY}, r"the call has no 'label'; wanted transform\(image=..., label=...\)"),
        ({"image": GREY, "label": "catt"}, "knows no class 'catt'; did you mean 'cat'"),
        ({"image": GREY, "label": 3}, "knows no class 3; choose from: 0, 1, 2"),
        ({"image": GREY, "label": [1]}, r"knows no class \[1\]"),
        ({"image": GREY / np.float32(255), "label": 1}, "the image is of float32; wanted a uint8 array"),
        ({"image": np.zeros((9, 9, 4), np.uint8), "label": 1}, r"the image has shape \(9, 9, 4\); wanted"),
        (
            {"image": GREY, "label": 1, "mask": GREY[..., 0]},
            "the call has 'mask', which a synthetic image does not have",
        ),
        ({"image": GREY, "label": 1, "bboxes": np.zeros((1, 4))}, "the call has 'bboxes'"),
        ({"images": GREY[None], "label": 1}, r"no image; wanted transform\(image=...\)"),
    ],
)
def test_calls_that_cannot_be_answered_are_one_line(pets_bank, call, said):
    with pytest.raises(GanaugError, match=said) as caught:
        SyntheticSwap(pets_bank, p=1, num=8)(**call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["pair", "paint"])
@pytest.mark.parametrize(
    ("mask", "said"),
    [(None, "the call has no mask"), (np.zeros((20, 24)), "a mask holds float64; wanted whole numbers")],
)
def test_masks_that_say_nothing(cells, mode, mask, said):
    with pytest.raises(DataError, match=said):
        SyntheticSwap(cells, p=1, num=8, mode=mode)(image=GREY, mask=mask)


def test_numbers_that_the_bank_does_not_know_are_not_painted(cells):
    with pytest.raises(
        DataError, match="the mask holds the number 3, which the bank does not know; it knows 0, 7, 255"
    ):
        SyntheticSwap(cells, p=1, mode="paint")(image=GREY, mask=np.full((20, 24), 3))


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"p": 1.5}, RecipeError, "p is 1.5; give a number from 0 to 1, or 'auto'"),
        ({"p": "often"}, RecipeError, "p is 'often'"),
        ({"p": 0.5, "num": 0}, RecipeError, "num is 0; give a whole number from 1 to"),
        ({"p": 0.5, "mode": "draw"}, RecipeError, "mode is 'draw'; give 'pair' or 'paint'"),
        (
            {"p": 0.5, "mode": "paint"},
            BankError,
            "mode='paint' wants a bank of task segment, and this one is of task clas",
        ),
        ({"bank": "none.ganaug"}, BankError, "none.ganaug does not exist"),
    ],
)
def test_settings_out_of_range_are_named(pets_bank, settings, kind, said):
    with pytest.raises(kind, match=said):
        SyntheticSwap(**{"bank": pets_bank, **settings})


def test_a_bank_of_objects_is_left_to_the_mixed_dataset(tmp_path):
    with pytest.raises(BankError, match="this one is of task detect; mix scenes of its objects in with"):
        SyntheticSwap(square_bank().save(tmp_path / "cells.ganaug"), p=0.5)


def test_without_albumentations_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations.core.transforms_interface", None)
    for name in [name for name in sys.modules if name.startswith("ganaug.adapters.albumentations")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"pip install 'ganaug\[albumentations\]'"):
        importlib.import_module("ganaug.adapters.albumentations")
