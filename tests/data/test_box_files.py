"""One small set, written as YOLO, Pascal VOC and COCO have it, reads the same; faults are told with file and row."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.data.box_files import holds_boxes, list_boxes
from ganaug.errors import DataError

SIZE = (60, 40)  # width, height
BOXES = {"a": [(0, (3, 4, 13, 24)), (1, (30, 10, 60, 40))], "b": [(1, (0, 0, 20, 10))], "c": []}
NAMES = ("cat", "dog")


def images(folder, names=BOXES):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", SIZE, "grey").save(folder / f"{name}.jpg")


def yolo_row(label, box):
    left, top, right, bottom = box
    shares = (
        (left + right) / 2 / SIZE[0],
        (top + bottom) / 2 / SIZE[1],
        (right - left) / SIZE[0],
        (bottom - top) / SIZE[1],
    )
    return " ".join(map(str, (label, *shares)))


def polygon_row(label, box):
    left, top, right, bottom = (side / SIZE[place % 2] for place, side in enumerate(box))
    return " ".join(map(str, (label, left, top, right, top, right, bottom, left, bottom)))


def write_yolo(root, row=yolo_row, images_at="images/train", labels_at="labels/train", said="train: images/train"):
    images(root / images_at)
    (root / labels_at).mkdir(parents=True, exist_ok=True)
    for name, boxes in BOXES.items():
        if boxes:
            (root / labels_at / f"{name}.txt").write_text("\n".join(row(*box) for box in boxes) + "\n")
    if said:
        (root / "data.yaml").write_text(f"path: .\n{said}\nval: images/val\nnames: {{0: cat, 1: dog}}\n")
    else:
        (root / "classes.txt").write_text("cat\ndog\n")
    return root


def annotation(name, boxes):
    things = "".join(
        f"<object><name>{NAMES[label]}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>"
        f"<ymax>{y2}</ymax></bndbox></object>"
        for label, (x1, y1, x2, y2) in boxes
    )
    size = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>"
    return f"<annotation><filename>{name}.jpg</filename>{size}{things}</annotation>"


def write_voc(root, notes="Annotations", images_at="JPEGImages", listed=True):
    images(root / images_at)
    (root / notes).mkdir(exist_ok=True)
    for name, boxes in BOXES.items():
        (root / notes / f"{name}.xml").write_text(annotation(name, boxes))
    if listed:
        (root / "ImageSets/Main").mkdir(parents=True)
        (root / "ImageSets/Main/train.txt").write_text("a\nb\nc\n")
        (root / "ImageSets/Main/val.txt").write_text("a\n")
    return root


def coco(shape=None):
    rows = [
        {"image_id": name, "category_id": 3 + 4 * label, "bbox": [x1, y1, x2 - x1, y2 - y1], **(shape or {})}
        for name, boxes in BOXES.items() for label, (x1, y1, x2, y2) in boxes
    ]  # fmt: skip
    return {
        "images": [{"id": name, "file_name": f"{name}.jpg", "width": SIZE[0], "height": SIZE[1]} for name in BOXES],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, 1)],
    }


def write_coco(root, said=None, images_at="train2017", file="annotations/instances_train2017.json"):
    images(root / images_at)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(said or coco()))
    return root


LAYOUTS = {
    "yolo": write_yolo,
    "yolo list": lambda root: write_yolo(root, said="train: [images/train]"),
    "yolo roboflow": lambda root: write_yolo(root, yolo_row, "train/images", "train/labels", "train: ../train/images"),
    "yolo without yaml": lambda root: write_yolo(root, yolo_row, "images", "labels", ""),
    "yolo side by side": lambda root: write_yolo(root, yolo_row, "", "", ""),
    "voc": write_voc,
    "voc devkit": lambda root: (write_voc(root / "VOCdevkit/VOC2007"), (root / "other").mkdir()),
    "voc without lists": lambda root: write_voc(root, "annotations", "images", False),
    "voc side by side": lambda root: write_voc(root, "", "", False),
    "voc roboflow": lambda root: (write_voc(root / "train", "", "", False), write_voc(root / "valid", "", "", False)),
    "coco": write_coco,
    "coco roboflow": lambda root: write_coco(root, None, "train", "train/_annotations.coco.json"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    LAYOUTS[layout](tmp_path)
    assert holds_boxes(tmp_path)
    files = list_boxes(tmp_path)
    assert files.classes == NAMES
    assert files.layout.form == layout.split()[0]
    assert [path.name for path in files.paths] == ["a.jpg", "b.jpg", "c.jpg"]
    assert files.counts() == [1, 2]
    assert not files.has_masks
    for index, boxes in enumerate(BOXES.values()):
        image, target = files[index]
        assert image.size == SIZE
        assert target["boxes"].canvas_size == SIZE[::-1]
        assert torch.allclose(
            target["boxes"], torch.tensor([box for _, box in boxes]).reshape(-1, 4).float(), atol=1e-4
        )
        assert target["labels"].tolist() == [label for label, _ in boxes]
        assert target["area"].shape == target["iscrowd"].shape == target["labels"].shape
        assert target["image_id"] == index
        assert "masks" not in target


def test_only_the_part_that_is_asked_for_is_read(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a\nb\n")
    (tmp_path / "Annotations/c.xml").write_text("broken")
    assert len(list_boxes(tmp_path)) == 2
    assert len(list_boxes(tmp_path, part="val")) == 1
    (tmp_path / "ImageSets/Main/val.txt").write_text("b\n")
    val = list_boxes(tmp_path, part="val")
    assert val.classes == NAMES  # though there are dogs alone
    assert val.checked(0).labels.tolist() == [1]
    with pytest.raises(DataError, match="has no test part, only train, val"):
        list_boxes(tmp_path, part="test")


def test_a_part_of_yolo_alone_has_the_names_of_the_whole(tmp_path):
    write_yolo(tmp_path, yolo_row, "train/images", "train/labels", "train: ../train/images")
    assert list_boxes(tmp_path / "train").classes == NAMES
    (tmp_path / "data.yaml").unlink()
    assert list_boxes(tmp_path / "train").classes == ("0", "1")


def test_a_voc_file_that_says_no_size_is_read(tmp_path):
    write_voc(tmp_path)
    path = tmp_path / "Annotations/a.xml"
    for size in ("", "<size></size>", "<size><width>0</width><height>0</height></size>"):
        path.write_text(annotation("a", BOXES["a"]).replace("<size><width>60</width><height>40</height></size>", size))
        assert list_boxes(tmp_path).counts() == [1, 2]


def square(box):
    left, top, right, bottom = box
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def test_polygons_and_run_lengths_are_drawn(tmp_path):
    from pycocotools import mask as packed

    write_yolo(tmp_path / "yolo", polygon_row)
    said = coco()
    for row, (_, box) in zip(said["annotations"], (box for boxes in BOXES.values() for box in boxes), strict=True):
        left, top, right, bottom = box
        row["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
        if row["id"] == 2:
            run = packed.encode(np.asfortranarray(square(box)))
            row["segmentation"], row["iscrowd"] = {**run, "counts": run["counts"].decode()}, 1
        if row["id"] == 3:
            counts = np.diff(np.flatnonzero(np.diff(square(box).T.ravel(), prepend=-1, append=-1)))
            row["segmentation"] = {"counts": [0, *counts.tolist()], "size": list(SIZE[::-1])}
    write_coco(tmp_path / "coco", said)
    for name in ("yolo", "coco"):
        files = list_boxes(tmp_path / name)
        assert files.has_masks
        for index, boxes in enumerate(BOXES.values()):
            masks = files.target(index)["masks"]
            assert masks.dtype == torch.uint8
            assert masks.shape == (len(boxes), *SIZE[::-1])
            for mask, (_, box) in zip(masks, boxes, strict=True):
                assert np.array_equal(mask, square(box))
    assert list_boxes(tmp_path / "coco").target(0)["iscrowd"].tolist() == [0, 1]


def test_an_image_some_of_whose_objects_have_no_mask_has_none(tmp_path):
    said = coco()
    said["annotations"][2]["segmentation"] = [[0, 0, 20, 0, 20, 10]]
    files = list_boxes(write_coco(tmp_path, said))
    assert not files.has_masks
    assert ["masks" in files.target(index) for index in range(3)] == [False, True, False]


def change_yolo(old, new):
    def change(root):
        write_yolo(root)
        path = root / "labels/train/a.txt"
        path.write_text(path.read_text().replace(old, new))

    return change


def change_voc(old, new):
    def change(root):
        write_voc(root)
        path = root / "Annotations/a.xml"
        path.write_text(path.read_text().replace(old, new))

    return change


def change_coco(**changes):
    def change(root):
        said = coco()
        said["annotations"][1].update(changes)
        write_coco(root, said)

    return change


def add_yolo(text):
    def change(root):
        write_yolo(root)
        with (root / "labels/train/a.txt").open("a") as file:
            file.write(text)

    return change


def remove(write, path):
    def change(root):
        write(root)
        (root / path).unlink()

    return change


def replace(write, path, text):
    def change(root):
        write(root)
        (root / path).write_text(text)

    return change


FAULTS = {  # what is wrong, what is told, and how many images and objects are left where it is skipped
    "no width": (change_voc("<xmax>13<", "<xmax>3<"), r"a.xml object 1 \(cat\): a box has no width", 3, 2),
    "reversed": (change_voc("<ymin>4<", "<ymin>30<"), "object 1 .* reversed", 3, 2),
    "beyond": (change_voc("<xmax>60<", "<xmax>75<"), r"object 2 \(dog\): a box reaches beyond its image", 3, 2),
    "no number": (change_voc("<ymin>4<", "<ymin>top<"), "object 1 .* wanted numbers for xmin", 3, 2),
    "nan": (change_voc("<ymin>4<", "<ymin>nan<"), "object 1 .* no number", 3, 2),
    "no name": (change_voc("<name>cat</name>", ""), "object 1: has no name", 3, 2),
    "other size": (change_voc("<width>60<", "<width>61<"), "says 61 x 40 pixels, and its image has 60 x 40", 2, 1),
    "broken XML": (replace(write_voc, "Annotations/a.xml", "<annotation><obj"), "a.xml: is not valid XML", 2, 1),
    "no XML": (remove(write_voc, "Annotations/a.xml"), "a.jpg: has no annotation file", 2, 1),
    "no image of VOC": (remove(write_voc, "JPEGImages/a.jpg"), "a.xml: has no image a in", 2, 1),
    "label without a name": (add_yolo("2 .5 .5 .1 .1"), "a.txt row 3: has the class 2; wanted 0 to 1", 3, 3),
    "class no whole number": (add_yolo("0.5 .5 .5 .1 .1"), "a.txt row 3: has the class 0.5", 3, 3),
    "pixels": (add_yolo("1 30 20 10 10"), "a.txt row 3: has coordinates up to 30, in pixels", 3, 3),
    "too few values": (add_yolo("1 .5 .5 .1"), "a.txt row 3: has 4 values", 3, 3),
    "words": (add_yolo("1 .5 .5 .1 big"), "a.txt row 3: .* not all numbers", 3, 3),
    "negative height": (add_yolo("1 .5 .5 .1 -.1"), "a.txt row 3: a box is reversed", 3, 3),
    "half outside": (add_yolo("1 .9 .5 .4 .1"), "a.txt row 3: a box reaches beyond", 3, 3),
    "mixed rows": (add_yolo("1 .1 .1 .2 .1 .2 .2"), "a.txt row 1: is a box, and row 3 a polygon", 2, 1),
    "label without image": (remove(write_yolo, "images/train/a.jpg"), "a.txt: is a label file without an image", 2, 1),
    "broken image": (replace(write_yolo, "images/train/a.jpg", "no"), "a.jpg: is not an image", 2, 1),
    "label no text": (lambda root: (write_yolo(root), (root / "labels/train/a.txt").write_bytes(b"\xff\xfe\xff")),
                      "a.txt: cannot be read as text", 2, 1),
    "category": (change_coco(category_id=9), r"annotation 2 \(a.jpg\): has the category 9", 3, 2),
    "bbox": (change_coco(bbox=[1, 2, 3]), "annotation 2 .* wanted x, y, width and height", 3, 2),
    "empty bbox": (change_coco(bbox=[1, 2, 0, 3]), "annotation 2 .* no width", 3, 2),
    "two points": (change_coco(segmentation=[[1, 2, 3, 4]]), "annotation 2 .* at least 3 points", 3, 2),
    "image_id": (change_coco(image_id="z"), "annotation 2: is of image 'z'", 3, 2),
    "no image of COCO": (remove(write_coco, "train2017/a.jpg"), "a.jpg: does not exist", 2, 1),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_told_or_skipped(tmp_path, fault):
    change, told, images_left, objects_left = FAULTS[fault]
    change(tmp_path)
    with pytest.raises(DataError, match=told) as caught:
        list_boxes(tmp_path)
    assert str(caught.value).count("--on-bad skip") == 1
    with pytest.warns(UserWarning, match="one row or file of .* left out; the first: "):
        files = list_boxes(tmp_path, on_bad="skip")
    assert len(files.skipped) == 1
    assert len(files) == images_left
    assert sum(files.counts()) == objects_left


def test_sets_that_cannot_be_used_are_told(tmp_path):
    shutil.rmtree(write_yolo(tmp_path / "bare") / "labels")
    with pytest.raises(DataError, match="holds no label file of the 3 images"):
        list_boxes(tmp_path / "bare")
    empty = write_yolo(tmp_path / "empty")
    for name in "ab":
        (empty / f"labels/train/{name}.txt").write_text("")
    with pytest.raises(DataError, match="none of its 3 images has an object"):
        list_boxes(empty)
    with pytest.raises(DataError, match="does not exist; wanted YOLO"):
        list_boxes(tmp_path / "nowhere")
    (tmp_path / "classes/cat").mkdir(parents=True)
    images(tmp_path / "classes/cat")
    assert not holds_boxes(tmp_path / "classes")
    with pytest.raises(DataError, match="holds no images with boxes; wanted YOLO"):
        list_boxes(tmp_path / "classes")
    with pytest.raises(DataError, match="choose from: stop, skip"):
        list_boxes(empty, on_bad="ignore")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train: [", "is not valid YAML"),
        ("names: [cat, dog]", "says no train:"),
        ("train: images/other\nnames: [cat, dog]", "train: is .*images/other, which does not exist"),
        ("train: images/train", "says no names:"),
        ("train: images/train\nnames: {1: cat, 2: dog}", "wanted 0, 1, 2 and on"),
        ("train: labels/train\nnames: [cat, dog]", "holds no images"),
    ],
)
def test_faults_of_data_yaml_are_told(tmp_path, text, told):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    assert holds_boxes(tmp_path)
    with pytest.raises(DataError, match=told):
        list_boxes(tmp_path)


def test_faults_of_a_coco_file_are_told(tmp_path):
    write_coco(tmp_path, images_at="", file="all.json")
    assert len(list_boxes(tmp_path / "all.json")) == 3
    (tmp_path / "all.json").write_text('{"images": [], "annotations": []}')
    assert not holds_boxes(tmp_path)
    with pytest.raises(DataError, match="lacks images, annotations or categories"):
        list_boxes(tmp_path / "all.json")
    (tmp_path / "all.json").write_text("{")
    with pytest.raises(DataError, match="is not valid JSON"):
        list_boxes(tmp_path / "all.json")
