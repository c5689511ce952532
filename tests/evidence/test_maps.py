"""Comparisons of banks for segmentation."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from squares import bank_of_squares, masked
from torch.utils.data import Dataset

import ganaug
from ganaug.data.masks import MaskedImages
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, LeakError, RecipeError
from ganaug.evidence import material
from ganaug.evidence.arms import Arm, control_arms
from ganaug.evidence.comparison import compare
from ganaug.evidence.exams import MapExam, get_exam, maps
from ganaug.evidence.exams.maps import Pairs, mixed
from ganaug.evidence.material import Stock, share_of
from ganaug.evidence.parts import Parts, splits
from ganaug.recipe import Compare, Recipe

PLAIN = {"augments": ["flip"], "schedules": ["constant"]}
EXAM = MapExam()


@pytest.fixture
def oracle(monkeypatch):
    """Trainings that take no time: a segmenter that sees `share(added, arguments)` of each square, and nothing else."""

    def use(share):
        trained = []
        monkeypatch.setattr(maps, "train_segmenter", lambda *a, **k: (trained.append((*a, k)), share(k["added"], k))[1])

        def predict(share, images):
            bright = torch.nn.functional.avg_pool2d(images.float(), 5, 1, 2)[:, 0] > 115
            chosen = torch.rand(images.shape[-2:], generator=torch.Generator().manual_seed(0)) < share
            return (bright & chosen).byte()

        monkeypatch.setattr(maps, "predict_maps", predict)
        return trained

    return use


@pytest.fixture
def stock():
    data = masked(6, 1, squares=2)
    images, drawn = masked(48, 2).images, masked(48, 2).maps
    return Stock(Parts(data, masked(2, 3), masked(3, 4), "bank", "test"), 7, Pairs(images, drawn))


def test_pairs_come_after_the_real_ones_so_many_in_each_turn(stock):
    real = stock.parts.train
    images, found, added, turns = mixed(stock, Arm("flip", 0.5))
    assert (len(images), added, turns) == (12 + 24, 24, 4)
    assert torch.equal(images[:12], real.images)
    assert torch.equal(found[12:], stock.plain.maps[:24])
    duplicated, shuffled = (mixed(stock, arm) for arm in control_arms(Arm("flip", 0.5)))
    assert duplicated[2:] == (6, 1)
    for image, one in zip(duplicated[0][12:], duplicated[1][12:], strict=True):
        (row,) = (real.images == image).flatten(1).all(1).nonzero().flatten().tolist()
        assert torch.equal(one, real.maps[row])
    assert torch.equal(shuffled[0], images)
    assert not torch.equal(shuffled[1][12:], found[12:])
    assert sorted(one.sum().item() for one in shuffled[1][12:]) == sorted(one.sum().item() for one in found[12:])
    assert mixed(stock, Arm("flip"))[2:] == (0, 1)
    assert len(mixed(stock, Arm("flip", share=0.5))[0]) == 6, "squares of three whole images"


def test_dice_is_of_images_and_of_the_classes_that_they_have():
    held = dataclasses.replace(masked(4, 1), class_names=("background", "cell", "dirt"), label_numbers=(0, 1, 2))
    told = [
        [[90, 95, 92], [4, 5, 8], [0, 0, 0]],  # no dirt, none seen
        [[90, 95, 92], [2, 4, 4], [0, 2, 0]],  # dirt seen where none is
        [[90, 95, 92], [0, 0, 5], [3, 3, 3]],
        [[100, 100, 100], [0, 0, 0], [0, 0, 0]],  # nothing there, nothing seen
    ]
    found = EXAM.outcome(told, held, "Dice")
    assert found.right.tolist() == pytest.approx([8 / 13, 0.25, 0.5, 1.0])
    assert set(found.by_class) == {"cell", "dirt"}
    assert found.by_class["cell"].tolist() == pytest.approx([8 / 13, 0.5, 0.0])
    assert found.by_class["dirt"].tolist() == [1.0]
    assert EXAM.scored(("sky", "road", "car")) == ("sky", "road", "car")
    assert EXAM.scored(("rest", "car")) == ("car",)


@pytest.mark.parametrize(("count", "parts"), [(10, (6, 2, 2)), (5, (2, 1, 2)), (30, (19, 5, 6))])
def test_splits_are_of_whole_images(count, parts):
    data = masked(count, 1, squares=3)
    found = splits(data, 3, True, 0, fewest=EXAM.fewest)
    for part in found:
        sizes = tuple(len(one.fingerprints) for one in (part.train, part.choose, part.score))
        assert sizes == parts
        assert [len(one) for one in (part.train, part.choose, part.score)] == [3 * size for size in parts]
        prints = [set(one.fingerprints) for one in (part.train, part.choose, part.score)]
        assert len(set.union(*prints)) == count
    assert len({part.score.fingerprints for part in found}) > 1
    assert len(share_of(data, 0.5, 0).fingerprints) == round(count / 2 + 0.01)


def test_four_images_are_too_few():
    with pytest.raises(DataError, match="the set has 4 images in data; this comparison needs 5 different ones at leas"):
        splits(masked(4, 1), 3, True, 0, fewest=EXAM.fewest)


@pytest.mark.slow
def test_true_pairs_help_and_false_ones_do_harm():
    asked = {"val": masked(16, 2), "ratios": [8.0], "seeds": 2, "steps": 24, "batch": 6, "settings": PLAIN}
    found = compare(masked(2, 1), bank_of_squares(), **asked)
    assert found.difference.low > 0
    assert found.summary.startswith("This bank helps: Dice ")
    assert found.class_names == ("object",)
    assert found.apply_to(bank_of_squares()).verdict.ratio == 8.0
    assert found.settings["metric"] == "Dice"
    worse = compare(masked(2, 1), bank_of_squares(truthful=False), **asked)
    assert worse.difference.high < 0
    assert worse.verdict.ratio == 0


def test_a_whole_comparison_of_a_recipe(oracle, monkeypatch):
    trained = oracle(lambda added, k: 0.6 + 0.3 * (added > 0) * ("affine" in k["augment"]) + 0.1 * k["seed"] % 0.02)
    bank, fitted = bank_of_squares(), []

    def fit(data, **arguments):
        fitted.append((data, arguments))
        manifest = bank.manifest.model_copy(update={"held_back_fingerprints": tuple(arguments["held_back"])})
        return ganaug.GeneratorBank(manifest, list(bank.generators))

    monkeypatch.setattr(material, "fit", fit)
    data = masked(12, 1, squares=2)
    said = []
    found = compare(data, bank, ratios=[0.5], settings={"augments": ["flip", "flip+affine"]}, report=said.append)
    assert len(fitted) == 3
    for part, arguments in fitted:
        assert isinstance(part, MaskedImages)
        assert not set(arguments["held_back"]) & set(part.fingerprints)
    assert found.images == {"training": 8, "choosing": 2, "scoring": 2}
    assert found.subject == "recipe"
    assert [one.arm.name for one in found.baselines] == ["flip", "flip + affine maps"]
    assert {k["steps"] for *_, k in trained} == {250}
    assert "Dice" in found.summary
    assert "accuracy" not in json.dumps({k: v for k, v in found.to_dict().items() if k != "final"})
    assert said[0] == "3 splits of 12 images: 8 to train on and 4 held back in each"


def test_the_verdict_is_obeyed(oracle, tmp_path):
    oracle(lambda added, k: 0.5 + 0.4 * (added > 0))
    bank = bank_of_squares()
    found = compare(masked(4, 1), bank, test=masked(12, 2), ratios=[0.5], settings=PLAIN)
    assert found.helps
    assert [met.role for met in found.final] == ["real only", "with synthetic", "duplicated", "shuffled"]
    proven = found.apply_to(bank)
    train = GanAugmented(Squares(masked(4, 1)), proven, pool_dir=tmp_path)
    assert len(train) == 6


class Squares(Dataset):
    """A user's dataset of images and masks."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data.images[index, 0].numpy(), self.data.maps[index].numpy()


def test_a_users_own_segmenter_is_given_its_arms(tmp_path):
    seen = []

    def train_and_score(train, score, seed):
        share = len(train.synthetic_indices()) / train.real_length if isinstance(train, GanAugmented) else 0.0
        seen.append((len(train), len(score), share))
        image, mask = train[len(train) - 1]
        assert image.shape == mask.shape == (32, 32)
        return {"score": 0.5 + 0.3 * (share > 0), "per_class": {"object": 0.5 + 0.3 * (share > 0)}}

    found = compare(train_and_score, Squares(masked(8, 1)), bank_of_squares(), test=Squares(masked(3, 2)), ratios=[0.5])
    assert found.difference.mean == pytest.approx(0.3)
    assert seen[:4] == [(8, 3, 0.0), (12, 3, 0.5)] * 2
    assert [len_ for len_, _, share in seen[4:8]] == [12] * 4, "controls have as many"
    assert found.changes[0].name == "object"
    assert found.summary.startswith("This bank helps: score ")


def test_the_shuffled_bank_has_the_same_images_and_other_maps():
    bank = bank_of_squares()
    shuffled = get_exam("segment").shuffled(bank)
    assert shuffled.fingerprint != bank.fingerprint
    plain = ganaug.GeneratorBank(bank.manifest, list(bank.generators))
    images, drawn = shuffled.sample_pairs(6, seed=2)
    assert torch.equal(images, plain.sample_pairs(6, seed=2)[0])
    assert torch.equal(drawn, plain.sample_pairs(6, seed=2, start=1)[1])


def test_a_set_in_which_a_class_is_never_seen_has_the_banks_classes(stock):
    three = bank_of_squares()
    three.manifest = three.manifest.model_copy(
        update={"class_names": ("0", "1", "7"), "label_numbers": (0, 1, 7), "shape": three.manifest.shape}
    )
    data = masked(3, 1)  # background and object, as masks of 0 and 1 alone are called
    found = EXAM.read(data, three, None, what="val", on_bad="stop")
    assert found.class_names == ("0", "1", "7")
    assert torch.equal(found.maps, data.maps)
    other = dataclasses.replace(data, class_names=("0", "7"), label_numbers=(0, 7))
    assert set(EXAM.read(other, three, None, what="val", on_bad="stop").maps.unique().tolist()) == {0, 2}
    strange = dataclasses.replace(data, class_names=("0", "9"), label_numbers=(0, 9))
    with pytest.raises(DataError, match="val has the classes 0, 9 and the bank 0, 1, 7; give masks of the bank's"):
        EXAM.read(strange, three, None, what="val", on_bad="stop")


def test_what_does_not_go_with_maps_is_one_line(labelled):
    bank, data = bank_of_squares(), masked(6, 1)
    for arguments, error, said in (
        ({"classes": ["object"]}, DataError, "a label map holds all its classes; leave classes out"),
        ({"settings": {"model": "resnet18"}}, RecipeError, "compare.model is a classifier"),
        ({"settings": {"augments": ["trivial"]}}, RecipeError, "no augmentation 'trivial' of images with masks"),
        ({"test": masked(6, 1)}, LeakError, "6 of the 6 images of test are among those that data holds"),
        ({"test": masked(1, 2)}, DataError, "the set has 1 images in test; this comparison needs 2"),
    ):
        with pytest.raises(error, match=said) as raised:
            compare(data, bank, **arguments)
        assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match="data has classes of images"):
        compare(labelled(4, 1), bank)


def test_a_recipe_for_segmentation_compares_as_segmentation_does():
    settings = Recipe(task="segment", resolution=64, reconstruction={"share": 0.0}, compare={"seeds": 3}).compare
    assert (settings.seeds, settings.batch) == (3, 8)
    arms = EXAM.classical(settings, True)
    assert [arm.augment for arm in arms][:2] == ["flip", "flip+affine+colour"]
    assert all("flip" not in arm.augment for arm in EXAM.classical(settings, False))
    assert Recipe(compare={"seeds": 3}).compare == Compare(seeds=3)
    assert math.isclose(np.mean([arm.ratio for arm in EXAM.synthetic(settings, "flip", masked(2, 1))]), 1.75 / 3)
