"""A user's own trainer, which tells what it was given."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import ganaug
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, TrainingError
from ganaug.evidence import material
from ganaug.evidence.comparison import compare
from ganaug.evidence.exams import get_exam

NAMES = ("ant", "bee", "cow", "doe")


class Pictures(Dataset):
    """Grey images as arrays (H, W) uint8, as a user might keep them."""

    def __init__(self, data, transform=None):
        self.images, self.targets = data.images[:, 0].numpy(), data.labels.tolist()
        self.classes, self.transform = list(data.class_names), transform

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        image = self.images[index]
        return (image if self.transform is None else self.transform(image)), self.targets[index]


@pytest.fixture
def bank(make_bank):
    return make_bank(NAMES, channels=1)


@pytest.fixture
def refits(monkeypatch, bank):
    """Refits that take no time; what each was asked for."""
    asked = []

    def fit(data, **arguments):
        asked.append((data, arguments))
        manifest = bank.manifest.model_copy(update={"held_back_fingerprints": tuple(arguments["held_back"])})
        return ganaug.GeneratorBank(manifest, list(bank.generators))

    monkeypatch.setattr(material, "fit", fit)
    return asked


def synthetic_share(train):
    return len(train.synthetic_indices()) / train.real_length if isinstance(train, GanAugmented) else 0.0


def test_the_trainer_is_given_its_arms_and_no_image_of_one_part_is_in_another(labelled, bank, refits):
    data, seen = labelled(12, 1), []

    def train_and_score(train, score, seed):
        seen.append((train, score, seed))
        return 0.5 + 0.2 * (synthetic_share(train) == 1.0)

    found = compare(train_and_score, Pictures(data), bank, ratios=[0.5, 1.0], splits=2, seeds=2)
    assert found.ratio == 1.0
    assert found.won
    assert found.subject == "recipe"
    assert found.difference.mean == pytest.approx(0.2)
    assert len(refits) == 2
    assert [one.arm.ratio for one in found.sweep] == [0.5, 1.0]
    assert found.settings["learner"] == "your own trainer"
    prints = {image.tobytes(): index for index, image in enumerate(Pictures(data).images)}
    for train, score, _ in seen:
        real = train.real_length if isinstance(train, GanAugmented) else len(train)
        trained = {prints[np.asarray(train[index][0]).tobytes()] for index in range(real)}
        assert not trained & {prints[image.tobytes()] for image, _ in score}
    per_split = {frozenset(prints[image.tobytes()] for image, _ in score) for _, score, _ in seen}
    assert len(per_split) == 4  # a part for choosing and one for scoring, in each of two splits


def test_controls_have_as_many_images(labelled, bank, refits):
    sizes = []

    def train_and_score(train, score, seed):
        sizes.append((len(train), synthetic_share(train)))
        return 0.5 + 0.1 * (synthetic_share(train) > 0)

    found = compare(train_and_score, Pictures(labelled(12, 1)), bank, ratios=[0.5], splits=1, seeds=2)
    n = found.images["training"]
    assert [met.role for met in found.final] == ["real only", "with synthetic", "duplicated", "shuffled"]
    more = n + n // 2
    assert sizes[:8] == [(n, 0.0), (more, 0.5)] * 2 + [(more, 0.0), (more, 0.5)] * 2
    assert all(size < n and share == 0 for size, share in sizes[8:])  # what a gain is worth in real images


def test_shuffled_samples_bear_any_label(bank):
    shuffled = get_exam("classify").shuffled(bank)
    assert shuffled.fingerprint != bank.fingerprint
    found = shuffled.sample_at(1, range(40), seed=3)
    of = [
        [torch.equal(found[i], bank.sample_at(cls, [i], seed=3)[0]) for cls in range(4)].index(True) for i in range(40)
    ]
    assert set(of) == {0, 1, 2, 3}
    assert torch.equal(shuffled.sample_at(1, [5, 2], seed=3), found[[5, 2]])


def test_the_bank_as_it_is_with_a_test_set_and_classes_told(labelled, bank):
    test = Pictures(labelled(5, 2))

    def train_and_score(train, score, seed):
        assert len(score) == 20
        gain = 0.25 if synthetic_share(train) else 0.0
        return {"score": 0.5 + gain, "per_class": {"ant": 0.5, "bee": 0.5 - gain}}

    found = compare(train_and_score, Pictures(labelled(4, 1)), bank, test=test, ratios=[1.0], seeds=2)
    assert (found.subject, found.scored_on) == ("bank", "test")
    assert found.per_class[:2] == pytest.approx((0.0, -0.25))
    assert math.isnan(found.per_class[2])
    assert found.to_dict()["per_class"][2]["difference"] is None
    assert found.verdict.augment == "own"


def test_further_measures_are_told_of_the_arms_whose_trainings_all_tell_them(labelled, bank):
    calls = []

    def train_and_score(train, score, seed):
        calls.append(seed)
        gain = 0.2 if synthetic_share(train) else 0.0
        also = {"F1": 0.5 + gain + 0.1 * seed, "kappa": 0.3 + gain}
        return {"score": 0.5, "also": also if gain or seed else {"F1": 0.5}}

    found = compare(train_and_score, Pictures(labelled(4, 1)), bank, test=Pictures(labelled(4, 2)), ratios=[1], seeds=2)
    assert [met.also for met in found.final] == [
        {"F1": ((0.5, 0.6),)}, {"F1": (pytest.approx((0.7, 0.8)),), "kappa": ((0.5, 0.5),)}
    ]  # fmt: skip
    told = [(one.name, one.role, one.mean, one.difference) for one in found.also]
    assert told[0] == ("F1", "real only", pytest.approx(0.55), pytest.approx(0.2))
    assert told[1:] == [("F1", "with synthetic", pytest.approx(0.75), None), ("kappa", "with synthetic", 0.5, None)]
    assert not found.helps, "they decide nothing"


def test_another_transform_for_scoring(labelled, bank, refits):
    data = labelled(8, 1)
    plain = Pictures(data, transform=lambda image: ("scored", image))

    def train_and_score(train, score, seed):
        assert score[0][0][0] == "scored"
        assert isinstance(train[0][0], np.ndarray)
        return 0.5

    compare(train_and_score, Pictures(data), bank, ratios=[1.0], splits=1, seeds=2, evaluation=plain)
    with pytest.raises(DataError, match="evaluation has 16 images and the dataset 32"):
        compare(train_and_score, Pictures(data), bank, evaluation=Pictures(labelled(4, 1)))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (math.nan, "a score of nan; wanted a number from 0 to 1"),
        (87.5, "a score of 87.5"),
        (None, "a score of None"),
        ({"per_class": {}}, "a score of None"),
        ({"score": 0.5, "per_class": {"ant": math.inf}}, "a score of class 'ant' of inf"),
        ({"score": 0.5, "also": {"F1": 51.2}}, "a measure 'F1' of 51.2; wanted a number from 0 to 1"),
        ({"score": 0.5, "also": {"F1": None}}, "a measure 'F1' of None"),
        ({"score": 0.5, "also": 0.4}, r"also of 0.4; wanted \{name: number\}"),
    ],
)
def test_a_score_that_is_none_is_one_line(labelled, bank, returned, said):
    with pytest.raises(TrainingError, match=said) as raised:
        compare(lambda *_: returned, Pictures(labelled(4, 1)), bank, test=Pictures(labelled(4, 2)), ratios=[1], seeds=2)
    assert "\n" not in str(raised.value)
    assert "train_and_score with your own training" in str(raised.value)


def test_what_was_finished_before_a_trainer_failed_is_not_trained_again(labelled, bank, tmp_path):
    calls = []

    def train_and_score(train, score, seed):
        calls.append(synthetic_share(train))
        if len(calls) == 3:
            raise ValueError("out of\npatience")
        return 0.5 + 0.1 * (calls[-1] > 0)

    def ask():
        sets = {"test": Pictures(labelled(4, 2))}
        return compare(train_and_score, Pictures(labelled(4, 1)), bank, **sets, ratios=[1], seeds=2, folder=tmp_path)

    with pytest.raises(TrainingError, match=r"training \(split 1, seed 2\) failed with ValueError: out of patience"):
        ask()
    ask()
    assert len(calls) == 3 + 10  # of twelve cells, four of them on fewer real images, two were finished


def test_what_is_no_trainer_and_no_dataset(labelled, bank, tmp_path):
    def good(*_):
        return 0.5

    for arguments, said in (
        (("x", Pictures(labelled(4, 1)), bank), "train_and_score is a str"),
        ((good, str(tmp_path), bank), "needs your own dataset, got a str"),
        ((good, bank), "no dataset for it"),
        ((Pictures(labelled(4, 1)), good), "a bank is wanted, got a function"),
    ):
        with pytest.raises(DataError, match=said):
            compare(*arguments)
    with pytest.raises(DataError, match="classes= goes with"):
        compare(good, Pictures(labelled(4, 1)), bank, classes=["ant"])
