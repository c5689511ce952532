import pytest
import torch
from planted import draw, labelled

from ganaug import guesses
from ganaug.errors import DataError
from ganaug.guesses import guess_classes
from ganaug.recipe import Unlabelled

NAMES = ("ant", "bee")
FEW = Unlabelled(judges=2, rounds=1, steps=25, precision=0.9)


def guessed(data, unlabelled, rows=None, settings=FEW, seed=0):
    rows = torch.arange(len(unlabelled)) if rows is None else rows
    return guess_classes(data, unlabelled, rows, settings, flips=False, seed=seed, half=False)


@pytest.fixture(scope="module")
def clear():
    """24 labelled images of two classes that are told apart at a glance, and 40 others: of each, and of a third."""
    data = labelled(12, 0, NAMES)
    data = type(data)(**{**vars(data), "images": torch.cat([draw(label, 12, 0, noise=30.0) for label in (0, 1)])})
    others = torch.cat([draw(0, 10, 7, noise=30.0), draw(1, 10, 7, noise=30.0), 255 - draw(0, 20, 7, noise=30.0)])
    return data, others


def test_sure_images_join_their_class_and_strange_ones_none(clear):
    data, others = clear
    found = guessed(data, others)
    assert found.accuracy > 0.9
    right = found.labels[:20] == torch.arange(2).repeat_interleave(10)
    assert right.float().mean() > 0.6
    assert (found.labels[:20][~right] == 2).all(), "what is not told right joins none"
    assert (found.labels[20:] == 2).float().mean() > 0.8
    assert sum(found.counts()) == 40
    again = guessed(data, others)
    assert torch.equal(again.labels, found.labels)
    assert torch.equal(again.confidence, found.confidence)


def test_images_that_are_left_out_have_no_class(clear):
    data, others = clear
    rows = torch.tensor([0, 3, 11, 30])
    found = guessed(data, others, rows)
    assert (found.labels[rows] >= 0).all()
    assert (found.labels == -1).sum() == 36
    assert sum(found.counts()) == 4


def test_nothing_joins_where_classes_cannot_be_told_apart():
    data = labelled(12, 0, NAMES)
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (34, 1, 16, 16), dtype=torch.uint8, generator=random)
    data = type(data)(**{**vars(data), "images": noise[:24]})
    found = guessed(data, noise[24:], settings=FEW.model_copy(update={"precision": 0.95}))
    assert found.counts() == [0, 0, 10]


def test_with_a_single_class_none_joins(clear):
    _, others = clear
    found = guessed(labelled(4, 0, ("ant",)), others)
    assert found.counts() == [0, 40]


def test_copies_of_one_image_tell_nothing(clear):
    data, others = clear
    same = type(data)(**{**vars(data), "fingerprints": ("a",) * 24})
    with pytest.raises(DataError, match="copies of one, which tells no classes apart"):
        guessed(same, others)


def test_a_threshold_reckons_with_one_wrong_answer_more():
    sure = torch.tensor([0.9, 0.8, 0.7, 0.6])
    right = torch.tensor([True, True, True, False])
    assert guesses._threshold(sure, right, 0.75) == pytest.approx(0.7)  # 3 of 4
    assert guesses._threshold(sure, right, 0.6) == pytest.approx(0.6)  # 3 of 5
    assert guesses._threshold(sure, right, 0.8) == 2.0
    assert guesses._threshold(sure[:0], right[:0], 0.5) == 2.0


def test_an_image_joins_where_all_judges_agree_and_it_is_near():
    sure, torn = torch.tensor([0.95, 0.05]).log(), torch.tensor([0.45, 0.55]).log()
    own = torch.tensor([[0.95, 0.05], [0.05, 0.95]]).repeat(10, 1).log()  # of the images left out: all told right
    near, far = torch.tensor([True, True]), torch.tensor([False, True])
    words = [
        guesses._Word(own, torch.stack([sure, torn, sure]), torch.stack([near, near, far])),
        guesses._Word(own, torch.stack([sure, sure, sure]), torch.stack([near, near, far])),
    ]
    found = guesses._settled(words, torch.tensor([0, 1]).repeat(20), precision=0.5)
    assert found.labels.tolist() == [0, 2, 2]  # agreed and near; disagreed; too far
