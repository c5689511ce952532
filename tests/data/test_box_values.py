import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from ganaug.data.box_values import checked_target
from ganaug.errors import DataError

SIZE = (40, 60)
GOOD = {"boxes": [[1, 2, 11, 22], [0, 0, 60, 40]], "labels": [1, 0]}


def test_forms_of_targets_are_read_alike():
    wanted = np.array(GOOD["boxes"], dtype=np.float32)
    centred = torch.tensor([[6.0, 12, 10, 20], [30, 20, 60, 40]])
    for boxes in (
        wanted,
        torch.tensor(wanted),
        tv_tensors.BoundingBoxes(centred, format="CXCYWH", canvas_size=SIZE),
    ):
        read = checked_target({"boxes": boxes, "labels": torch.tensor([1, 0])}, SIZE, ("a", "b"), "7.jpg")
        assert np.array_equal(read.boxes, wanted)
        assert read.boxes.dtype == np.float32
        assert read.labels.tolist() == [1, 0]
        assert read.masks is None
        assert not read.crowd.any()
    masks = torch.zeros(2, *SIZE, dtype=torch.uint8)
    masks[0, 2:22, 1:11] = 1
    read = checked_target({**GOOD, "masks": masks, "iscrowd": [0, 1]}, SIZE, {0: "a", 1: "b"}, "7.jpg")
    assert read.masks.dtype == bool
    assert read.masks.sum() == 200
    assert read.crowd.tolist() == [False, True]


def test_no_objects():
    for target in (
        {"image_id": 3},
        {"boxes": [], "labels": []},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)},
    ):
        read = checked_target(target, SIZE, ("a",), "7.jpg")
        assert read.boxes.shape == (0, 4)
        assert len(read) == 0


def test_a_box_that_has_been_rounded_over_the_border_is_cut_off():
    read = checked_target({"boxes": [[-0.9, 2, 60.4, 40.9]], "labels": [9]}, SIZE, None, "7.jpg")
    assert read.boxes.tolist() == [[0, 2, 60, 40]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"boxes": [[5, 2, 5, 9], [0, 0, 1, 1]]}, "7.jpg box 1: a box has no width"),
        ({"boxes": [[0, 0, 1, 1], [5, 9, 6, 9]]}, "box 2: a box has no height"),
        ({"boxes": [[0, 0, 1, 1], [9, 2, 5, 9]]}, "box 2: a box is reversed"),
        ({"boxes": [[0, 0, 1, 1], [9, 2, 62, 9]]}, "beyond its image .* the image is 60 x 40"),
        ({"boxes": [[0, 0, 1, 1], [60.5, 2, 60.9, 9]]}, "beyond its image"),
        ({"boxes": [[0, 0, 1, 1], [9, float("nan"), 12, 9]]}, "no number"),
        ({"boxes": [[0, 0, 1]] * 2}, "four numbers a box"),
        ({"boxes": [["a", 0, 1, 1]] * 2}, "are no numbers"),
        ({"labels": [1]}, "2 boxes and 1 labels"),
        ({"labels": [1, 2]}, "box 2: has the label 2; wanted a class's number, 0 to 1"),
        ({"labels": [0.5, 1.0]}, "whole numbers"),
        ({"masks": np.zeros((2, 60, 40))}, "masks have shape"),
        ({"iscrowd": [0]}, "1 iscrowd"),
    ],
)
def test_faults_are_told_with_their_place(change, told):
    with pytest.raises(DataError, match=told):
        checked_target({**GOOD, **change}, SIZE, ("a", "b"), "7.jpg")


def test_other_targets_are_told():
    with pytest.raises(DataError, match="wrap_dataset_for_transforms_v2"):
        checked_target([{"bbox": [1, 2, 3, 4]}], SIZE, None, "7.jpg")
    with pytest.raises(DataError, match="no 'labels'"):
        checked_target({"boxes": [[0, 0, 1, 1]]}, SIZE, None, "7.jpg")
    turned = tv_tensors.BoundingBoxes(torch.ones(1, 5), format="XYWHR", canvas_size=SIZE)
    with pytest.raises(DataError, match="upright"):
        checked_target({"boxes": turned, "labels": [0]}, SIZE, None, "7.jpg")
