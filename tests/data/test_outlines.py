import numpy as np
import pytest
from PIL import Image, ImageDraw

from ganaug.data.box_texts import coco_rows, voc_xml, yolo_rows
from ganaug.data.box_values import Target
from ganaug.data.outlines import filled, joined, rings_of
from ganaug.errors import DataError


def blobs(seed):
    random, image = np.random.default_rng(seed), Image.new("L", (90, 70))
    for _ in range(random.integers(1, 4)):
        (x, y), (w, h) = random.integers(0, 60, 2), random.integers(3, 40, 2)
        ImageDraw.Draw(image).ellipse((x, y, x + w, y + h), fill=1)
    return np.asarray(image).astype(bool)


def bounds(mask):
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("seed", range(8))
def test_a_mask_comes_back_from_its_border_of_few_points(seed):
    mask = blobs(seed)
    rings = rings_of(mask)
    assert (filled(rings, mask.shape, "it") != mask).mean() < 0.003
    one = joined(rings)
    assert (filled([one], mask.shape, "it") != mask).mean() < 0.003
    assert np.abs(np.concatenate([one.min(0), one.max(0)]) - bounds(mask)).max() <= 0.5
    assert len(one) < (mask ^ np.roll(mask, 1, 0)).sum()


def test_what_lies_between_the_pixels_centres_is_one_pixel():
    mask = filled([np.array([[3.1, 2.1], [3.4, 2.1], [3.4, 2.4]])], (6, 8), "it")
    assert np.argwhere(mask).tolist() == [[2, 3]]
    assert not filled([np.array([[0, 0], [4, 0], [4, 3], [0, 3]])], (6, 8), "it")[3:].any()


def test_run_lengths_of_another_size_are_told():
    with pytest.raises(DataError, match=r"7\.jpg: its run lengths are of 3 x 2 pixels and the image of 8 x 6"):
        filled({"counts": [0, 6], "size": [2, 3]}, (6, 8), "7.jpg")
    with pytest.raises(DataError, match=r"7\.jpg: its run lengths cannot be drawn"):
        filled({"counts": ["a"], "size": [2, 3]}, (6, 8), "7.jpg")


def test_rows():
    mask = np.zeros((1, 20, 40), bool)
    mask[0, 5:15, 10:30] = True
    boxes = np.array([[10, 5, 30, 15]], np.float32)
    target = Target(boxes, np.array([1]), mask, np.array([False]))
    twice = Target(boxes.repeat(2, 0), np.array([1, 1]), None, np.array([False, False]))
    assert yolo_rows(twice, (20, 40), polygons=False) == ["1 0.500000 0.500000 0.500000 0.500000"]
    (row,) = yolo_rows(target, (20, 40), polygons=True)
    points = np.array(row.split()[1:], float).reshape(-1, 2)
    assert points.min(0).tolist() == [0.25, 0.25]
    assert points.max(0).tolist() == [0.75, 0.75]
    assert "<name>dog</name>" in voc_xml(target, (20, 40), "7.jpg", ["cat", "dog"])
    (said,) = coco_rows(target, 3, (5, 9), 17)
    assert (said["id"], said["image_id"], said["category_id"], said["area"]) == (17, 3, 9, 200)
    assert said["bbox"] == [10, 5, 20, 10]
    crowd = Target(boxes, np.array([1]), mask, np.array([True]))
    assert not yolo_rows(crowd, (20, 40), polygons=True)
    (said,) = coco_rows(crowd, 3, (5, 9), 17)
    assert np.array_equal(filled(said["segmentation"], (20, 40), "it"), mask[0])


def test_an_object_whose_mask_is_empty_has_its_boxs_border():
    target = Target(np.array([[1, 2, 5, 8]], np.float32), np.array([0]), np.zeros((1, 20, 40), bool), np.array([False]))
    (row,) = yolo_rows(target, (20, 40), polygons=True)
    assert row == "0 0.025000 0.100000 0.125000 0.100000 0.125000 0.400000 0.025000 0.400000"
