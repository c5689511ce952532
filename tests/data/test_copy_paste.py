import pickle

import numpy as np
import pytest
import torch
from drawn_boxes import COLOURS, MAGENTA, square_bank, write_yolo
from torch.utils.data import Subset
from torchvision.transforms import v2

from ganaug import CopyPaste, GanAugmented, Scenes
from ganaug.data.box_files import list_boxes
from ganaug.errors import DataError, RecipeError

PLAIN = Scenes(blends=("hard",), colour=0.0, rotation=0.0, distractors=0.0, objects=2.0)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return list_boxes(write_yolo(tmp_path_factory.mktemp("boxes") / "set", counts=(("train", 12),)))


def near(item, colour):
    """(n,): how much of each box is of a colour."""
    image = np.asarray(item[0]).astype(int)
    boxes = item[1]["boxes"].int().tolist()
    return np.array([(np.abs(image[y:b, x:r] - colour).max(2) < 40).mean() for x, y, r, b in boxes])


def test_real_objects_are_pasted_into_some_images_and_boxes_lie_on_them(real):
    pasted = CopyPaste(real, probability=0.5, scenes=PLAIN)
    assert len(pasted) == pasted.real_length == 12
    changed = [index for index in range(12) if pasted.is_pasted(index)]
    assert 2 <= len(changed) <= 10
    more = 0
    for index in range(12):
        item, before = pasted[index], real[index][1]["boxes"]
        if index not in changed:
            assert torch.equal(item[1]["boxes"], before)
            continue
        more += len(item[1]["boxes"]) - len(before)
        for row, label in enumerate(item[1]["labels"].tolist()):
            assert near(item, COLOURS[label])[row] > 0.85
    assert more > len(changed)


def test_what_an_index_holds_depends_on_seed_and_epoch(real):
    first, again, other = (CopyPaste(real, scenes=PLAIN, seed=seed) for seed in (0, 0, 1))

    def shown(pasted):
        return [np.asarray(pasted[index][0]) for index in range(12)]

    def same(one, two):
        return all(np.array_equal(left, right) for left, right in zip(one, two, strict=True))

    at_start = shown(first)
    assert same(at_start, shown(again))
    assert not same(at_start, shown(other))
    copy = pickle.loads(pickle.dumps(first))
    first.set_epoch(1)
    assert not same(at_start, shown(first))
    assert same(at_start, shown(copy)), "a copy has an epoch of its own"
    assert sum(CopyPaste(real, probability=1.0).is_pasted(index) for index in range(12)) == 12
    assert not any(CopyPaste(real, probability=0.0).is_pasted(index) for index in range(12))


def test_changed_images_go_through_the_transforms_of_the_dataset(real):
    class Sized:
        def __init__(self, transforms):
            self.transforms = transforms

        def __len__(self):
            return len(real)

        def __getitem__(self, index):
            return self.transforms(*real[index])

    joint = v2.Compose([v2.ToImage(), v2.Resize((32, 40))])
    pasted = CopyPaste(Sized(joint), probability=1.0, scenes=PLAIN)
    image, target = pasted[1]
    assert tuple(image.shape) == (3, 32, 40)
    assert len(target["boxes"]) > len(real[1][1]["boxes"])
    assert float(target["boxes"].max()) <= 40


def test_scenes_of_a_bank_are_made_of_the_images_as_they_are(real, tmp_path):
    pasted, bank = CopyPaste(Subset(real, range(8)), probability=1.0, scenes=PLAIN), square_bank()
    scenes = PLAIN.model_copy(update={"real": 0.0, "objects": 1.0})

    def mixed_of(dataset):
        return GanAugmented(dataset, bank, ratio=1.0, scenes=scenes, pool_dir=tmp_path)

    mixed, alone = mixed_of(pasted), mixed_of(Subset(real, range(8)))
    assert len(mixed) == 16
    mixed.set_epoch(3)
    alone.set_epoch(3)
    assert pasted.epoch == 3
    for index in range(8):
        assert np.array_equal(np.asarray(mixed[index][0]), np.asarray(pasted[index][0]))
        assert not (near(mixed[index], MAGENTA) > 0.5).any()
        assert np.array_equal(np.asarray(mixed[8 + index][0]), np.asarray(alone[8 + index][0]))
    assert any((near(mixed[index], MAGENTA) > 0.8).any() for index in range(8, 16))


@pytest.mark.parametrize("wrong", [-0.1, 1.5, "half", True, float("nan")])
def test_a_probability_that_is_none_is_said(real, wrong):
    with pytest.raises(RecipeError, match="give how many of the images, 0 to 1"):
        CopyPaste(real, probability=wrong)


def test_a_set_without_objects_is_said(real):
    with pytest.raises(DataError, match="no image of the dataset has an object"):
        CopyPaste(Subset(real, [3]))
