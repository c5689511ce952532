import json

import numpy as np
import pytest

from ganaug.mask_coco import CocoMaps, run_lengths


def written(tmp_path, values, names, numbers, ignore=255):
    maps = CocoMaps(names, numbers, ignore)
    maps.add("a.png", values)
    maps.write(tmp_path / "annotations.json")
    return json.loads((tmp_path / "annotations.json").read_text())


def test_run_lengths_are_what_pycocotools_reads():
    coco = pytest.importorskip("pycocotools.mask")
    for seed in range(5):
        inside = np.random.default_rng(seed).random((7, 9)) < 0.5
        read = coco.decode(coco.frPyObjects({"size": [7, 9], "counts": run_lengths(inside)}, 7, 9))
        assert np.array_equal(read.astype(bool), inside)


def test_every_connected_part_is_an_annotation(tmp_path):
    values = np.zeros((6, 8), np.int64)
    values[1:3, 1:4], values[4:, 6:], values[0, 7] = 2, 2, 5
    said = written(tmp_path, values, ("background", "cell", "dirt"), (0, 2, 5))
    assert said["categories"] == [{"id": 2, "name": "cell"}, {"id": 3, "name": "dirt"}]
    assert [row["bbox"] for row in said["annotations"]] == [[1, 1, 3, 2], [6, 4, 2, 2], [7, 0, 1, 1]]
    assert [row["area"] for row in said["annotations"]] == [6, 4, 1]
    assert [row["category_id"] for row in said["annotations"]] == [2, 2, 3]
    assert said["images"] == [{"id": 1, "file_name": "a.png", "height": 6, "width": 8}]


def test_pixels_of_no_class_are_a_crowd_and_a_first_class_with_a_name_is_annotated(tmp_path):
    values = np.array([[0, 0, 1, 255]])
    said = written(tmp_path, values, ("sky", "tree"), (0, 1))
    assert [(row["category_id"], row["iscrowd"]) for row in said["annotations"]] == [(1, 0), (2, 0), (1, 1)]
    # 255 is a class where masks hold 0 and 255 alone
    said = written(tmp_path, values, ("background", "cell"), (0, 255))
    assert [(row["category_id"], row["iscrowd"]) for row in said["annotations"]] == [(2, 0)]
