"""What is exported reads the same again, whatever came in; scenes here are drawn by hand."""

import contextlib
import csv
import json
import logging
import os
import tempfile

import numpy as np
import pytest
import torch
import yaml
from drawn_boxes import square_bank, write_yolo
from PIL import Image, ImageDraw

from ganaug import GanAugmented, boxes_exporting
from ganaug.boxes_exporting import export_boxes
from ganaug.data.box_files import list_boxes, read_part
from ganaug.data.fingerprints import fingerprint
from ganaug.errors import BankError, DataError, LeakError, OutputError, RecipeError
from ganaug.planning import choose_recipe

SIZE = (64, 48)  # width, height
NAMES = ("cat", "dog")
FORMATS = ("yolo", "coco", "voc")


class Bank:
    def __init__(self, task="detect"):
        self.task = task

    def check_task(self, task, what, instead):
        if task != self.task:
            raise BankError(f"{what} wants a bank of task {task}; {instead}")


class Scenes:
    """In the place of GanAugmented: scenes with one disc each."""

    def __init__(self, files, bank, *, ratio, seed, fill, pool_dir, pool_factor):
        self.files, self.count = files, round(ratio * len(files))
        pool_dir.mkdir()
        (pool_dir / "samples").write_bytes(b"0")

    def synthetic_indices(self):
        return len(self.files) + np.arange(self.count)

    def __getitem__(self, index):
        number = int(index) - len(self.files)
        image, mask = Image.new("RGB", SIZE, (90, 90, 90 + number)), Image.new("L", SIZE)
        for drawn, fill in ((image, (200, 40, 40)), (mask, 1)):
            ImageDraw.Draw(drawn).ellipse((3 + number, 5, 20 + number, 30), fill=fill)
        target = {"boxes": torch.tensor([[3.0 + number, 5, 21 + number, 31]]), "labels": torch.tensor([1])}
        if self.files.has_masks:
            target["masks"] = torch.from_numpy(np.array(mask))[None]
        return image, target


@pytest.fixture(autouse=True)
def _scenes(monkeypatch, request):
    if "bank" not in request.fixturenames:
        monkeypatch.setattr(boxes_exporting, "GanAugmented", Scenes)


@pytest.fixture(scope="module")
def bank():
    return square_bank()


def row_of(label, box, polygon):
    left, top, right, bottom = (side / SIZE[place % 2] for place, side in enumerate(box))
    if polygon:
        return f"{label} {left} {top} {right} {top} {right} {bottom} {left} {bottom}\n"
    return f"{label} {(left + right) / 2} {(top + bottom) / 2} {right - left} {bottom - top}\n"


BOXES = {"a": [(0, (3, 4, 13, 24)), (1, (30, 10, 64, 40))], "b": [(1, (0.5, 0, 20, 10))], "c": []}


def write(root, form, polygon=False, val=True):
    """Three images for training and one for validation."""
    for part in ("train", "val")[: 1 + val]:
        (root / "images" / part).mkdir(parents=True)
        (root / "labels" / part).mkdir(parents=True)
        for place, name in enumerate(BOXES if part == "train" else "b"):
            Image.new("RGB", SIZE, (place, 80, 80)).save(root / f"images/{part}/{name}.jpg")
            rows = "".join(row_of(*one, polygon) for one in BOXES[name])
            if rows:
                (root / f"labels/{part}/{name}.txt").write_text(rows)
    said = {"train": "images/train", "val": "images/val", "names": list(NAMES)}
    (root / "data.yaml").write_text(yaml.safe_dump(said))
    if form != "yolo":
        export_boxes(Bank(), root, root.with_name("other"), format=form, ratio=0)
        return root.with_name("other")
    return root


def same(ours, theirs):
    assert ours.classes == theirs.classes
    assert len(ours) == len(theirs)
    for index in range(len(theirs)):
        one, other = ours.checked(index), theirs.checked(index)
        assert np.abs(one.boxes - other.boxes).max(initial=0) <= 0.5
        assert np.array_equal(one.labels, other.labels)
        if theirs.has_masks and ours.layout.form != "voc":
            assert (one.masks != other.masks).sum() <= 4 * len(one)  # corners, of which half a pixel is cut off
        assert np.array_equal(np.asarray(ours[index][0]), np.asarray(theirs[index][0]))


@pytest.mark.parametrize("polygon", [False, True])
@pytest.mark.parametrize("goes", FORMATS)
@pytest.mark.parametrize("came", FORMATS)
def test_what_is_exported_reads_the_same_again(tmp_path, came, goes, polygon):
    data = write(tmp_path / "data", came, polygon)
    real = list_boxes(data)
    assert real.layout.form == came
    summary = export_boxes(Bank(), data, tmp_path / "out", format=goes, ratio=2, seed=3)
    assert (summary.real, summary.synthetic, summary.apart) == (3, 6, {"val": 1})
    mixed = list_boxes(tmp_path / "out")
    assert mixed.layout.form == goes
    assert mixed.classes == NAMES
    assert mixed.has_masks == (polygon and "voc" not in (came, goes))
    kept = [place for place, path in enumerate(mixed.paths) if path.parent.name != "synthetic"]
    same(_some(mixed, kept), real)
    same(read_part(mixed.layout, "val", "stop"), list_boxes(data, part="val"))
    made = [place for place, path in enumerate(mixed.paths) if path.parent.name == "synthetic"]
    for number, place in enumerate(made):
        target = mixed.checked(place)
        assert np.abs(target.boxes - [[3 + number, 5, 21 + number, 31]]).max() <= 0.5
        assert target.labels.tolist() == [1]
        red = np.asarray(mixed[place][0])[..., 0] > 150
        left, top, right, bottom = target.boxes[0].round().astype(int)
        assert red[top:bottom, left:right].mean() > 0.7
        assert red[top:bottom, left:right].sum() == red.sum()
    listed = list(csv.DictReader((tmp_path / "out/ganaug.csv").open()))
    assert [row["source"] for row in listed] == ["real"] * 3 + ["synthetic"] * 6
    assert all((tmp_path / "out" / row[column]).is_file() for row in listed for column in ("path", "label"))
    assert not (tmp_path / "out/.pool").exists()


def _some(files, places):
    paths, said_in, objects = (
        [column[place] for place in places] for column in (files.paths, files.said_in, files.objects)
    )
    return type(files)(files.layout, files.part, files.classes, paths, said_in, objects)


def test_yolo_is_as_ultralytics_takes_it(tmp_path):
    data = write(tmp_path / "data", "yolo")
    before = {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}
    export_boxes(Bank(), data, tmp_path / "out")
    assert {path: path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()} == before
    said = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert said == {"train": ["images/train", "images/synthetic"], "val": "images/val", "names": {0: "cat", 1: "dog"}}
    for part, name in (("train", "a"), ("train", "b"), ("val", "b")):
        for file in (f"images/{part}/{name}.jpg", f"labels/{part}/{name}.txt"):
            assert (tmp_path / "out" / file).read_bytes() == (data / file).read_bytes()
    assert (tmp_path / "out/images/train/a.jpg").samefile(data / "images/train/a.jpg")
    with (data / "images/train/a.jpg").open("ab") as file:
        file.write(b"more")  # ultralytics will save it anew
    with pytest.raises(OutputError, match="already holds something"):
        export_boxes(Bank(), data, tmp_path / "out")
    export_boxes(Bank(), data, tmp_path / "copied")
    assert not (tmp_path / "copied/images/train/a.jpg").samefile(data / "images/train/a.jpg")
    export_boxes(Bank(), data, tmp_path / "out", ratio=0, exist_ok=True)
    assert not list((tmp_path / "out").rglob("ganaug-*"))
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text())["train"] == ["images/train"]


def test_sets_in_which_something_is_amiss(tmp_path):
    data = write(tmp_path / "data", "yolo", val=False)
    (data / "labels/train/b.txt").write_text(row_of(1, (0, 0, 9, 9), False) * 2)
    with pytest.warns(UserWarning, match="no val part"):
        export_boxes(Bank(), data, tmp_path / "twice", ratio=0)
    assert len((tmp_path / "twice/labels/train/b.txt").read_text().splitlines()) == 1
    (data / "labels/train/b.txt").write_text(row_of(1, (0, 0, 9, 9), True))
    with pytest.warns(UserWarning, match="no val part"):
        export_boxes(Bank(), data, tmp_path / "kinds", ratio=1)
    files = [*(tmp_path / "kinds/labels").rglob("*.txt")]
    assert {len(row.split()) for file in files for row in file.read_text().splitlines()} == {5}
    with (data / "labels/train/a.txt").open("a") as file:
        file.write("0 .5 .5 0 .1\n")
    with pytest.raises(DataError, match=r"a\.txt row 3: a box has no width"):
        export_boxes(Bank(), data, tmp_path / "out")
    with pytest.warns(UserWarning, match="no val part|one row or file"):
        export_boxes(Bank(), data, tmp_path / "out", on_bad="skip")
    assert len((tmp_path / "out/labels/train/a.txt").read_text().splitlines()) == 2


def test_images_that_share_a_stem_keep_their_own_labels(tmp_path):
    said = {"images": [], "annotations": [], "categories": [{"id": 4, "name": "cat"}]}
    for number, name in enumerate(("x/a.png", "y/a.png", "a.jpg"), 1):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(tmp_path / "data" / name)
        said["images"].append({"id": number, "file_name": name})
        said["annotations"].append({"id": number, "image_id": number, "category_id": 4, "bbox": [number, 2, 9, 9]})
    (tmp_path / "data/all.json").write_text(json.dumps(said))
    for goes in FORMATS:
        with contextlib.nullcontext() if goes != "yolo" else pytest.warns(UserWarning, match="no val part"):
            export_boxes(Bank(), tmp_path / "data", tmp_path / goes, format=goes, ratio=0)
        files = list_boxes(tmp_path / goes)
        assert len(files) == 3
        assert sorted(files.checked(index).boxes[0, 0] for index in range(3)) == pytest.approx([1, 2, 3], abs=0.01)
    assert json.loads((tmp_path / "coco/annotations/instances_train.json").read_text())["categories"][0]["id"] == 4


def test_what_cannot_be_exported_is_told(tmp_path):
    data = write(tmp_path / "data", "yolo")
    with pytest.raises(BankError, match="wants a bank of task detect"):
        export_boxes(Bank("segment"), data, tmp_path / "out")
    with pytest.raises(RecipeError, match="ratio is -1"):
        export_boxes(Bank(), data, tmp_path / "out", ratio=-1)
    with pytest.raises(RecipeError, match="choose from: yolo, coco, voc"):
        export_boxes(Bank(), data, tmp_path / "out", format="csv")
    with pytest.raises(OutputError, match="inside the data"):
        export_boxes(Bank(), data, data / "images/train/out")
    with pytest.raises(OutputError, match="inside the data"):
        export_boxes(Bank(), data / "data.yaml", data / "out")
    assert not (tmp_path / "out").exists()


def test_a_set_of_boxes_is_known_without_a_recipe(tmp_path):
    data = write(tmp_path / "data", "yolo")
    assert choose_recipe(data) == ("detect-64", "there are images with boxes")
    assert choose_recipe(data / "data.yaml")[0] == "detect-64"
    assert choose_recipe(list_boxes(data))[0] == "detect-64"


@pytest.mark.parametrize("polygons", [False, True])
def test_scenes_are_those_of_the_mixed_dataset(bank, tmp_path, polygons):
    data = write_yolo(tmp_path / "data", polygons=polygons)
    summary = export_boxes(bank, data, tmp_path / "out", ratio=1.5, seed=4)
    assert (summary.real, summary.synthetic) == (6, 9)
    real, files = list_boxes(data), list_boxes(tmp_path / "out")
    wanted = GanAugmented(real, bank, ratio=1.5, seed=4, pool_dir=tmp_path / "pool", pool_factor=1)
    made = [place for place, path in enumerate(files.paths) if path.parent.name == "synthetic"]
    for place, index in zip(made, wanted.synthetic_indices().tolist(), strict=True):
        image, target = wanted[index]
        assert np.array_equal(np.asarray(files[place][0]), np.asarray(image))
        assert files.checked(place).labels.tolist() == target["labels"].tolist()
        assert np.abs(files.checked(place).boxes - target["boxes"].numpy()).max(initial=0) <= 0.5
    assert files.has_masks == polygons


def test_an_image_that_was_held_back_is_a_leak(tmp_path, monkeypatch):
    bank = square_bank(held_back_fingerprints=(fingerprint(np.full((48, 64, 3), 9, np.uint8)),))
    data = write(tmp_path / "data", "yolo")
    Image.new("RGB", SIZE, (9, 9, 9)).save(data / "images/train/a.png")
    (data / "images/train/a.jpg").unlink()
    monkeypatch.setattr(boxes_exporting, "GanAugmented", GanAugmented)
    with pytest.raises(LeakError):
        export_boxes(bank, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(bank, tmp_path, ganaug_command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_yolo(tmp_path / "data")
    bank.save(tmp_path / "data.ganaug")
    ended = ganaug_command("export", "data.ganaug", "--data", "data", "--format", "yolo", "--ratio", 2)
    assert ended.code == 0
    assert "wrote 6 real and 12 synthetic images" in ended.err
    assert len(list_boxes(tmp_path / "data-mixed")) == 18
    ended = ganaug_command("export", "data.ganaug", "--data", "data/data.yaml", "--format", "voc", "--out", "voc")
    assert ended.code == 0
    assert len(list_boxes(tmp_path / "voc")) == 9
    assert "yolo, coco or voc" in ganaug_command("export", "data.ganaug", "--data", "data").complaint
    assert "cannot be screened" in ganaug_command("export", "data.ganaug", "--format", "coco", "--screening").complaint


@pytest.mark.slow
@pytest.mark.parametrize("polygons", [False, True])
def test_ultralytics_reads_it_without_a_warning(bank, tmp_path, polygons, monkeypatch):
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    monkeypatch.setenv("YOLO_AUTOINSTALL", "false")
    monkeypatch.setenv("YOLO_CONFIG_DIR", os.environ.get("YOLO_CONFIG_DIR", tempfile.mkdtemp()))
    pytest.importorskip("ultralytics")
    from ultralytics.data import YOLODataset
    from ultralytics.data.utils import check_det_dataset
    from ultralytics.utils import LOGGER

    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())
    LOGGER.addHandler(handler)
    try:
        export_boxes(bank, write_yolo(tmp_path / "data", polygons=polygons), tmp_path / "out", ratio=2)
        said = check_det_dataset(str(tmp_path / "out/data.yaml"), autodownload=False)
        read = YOLODataset(img_path=said["train"], data=said, task="segment" if polygons else "detect", imgsz=64)
    finally:
        LOGGER.removeHandler(handler)
    assert not told
    files = list_boxes(tmp_path / "out")
    assert len(read) == len(files) == 18
    counted = {label["im_file"]: len(label["cls"]) for label in read.labels}
    assert counted == {str(path): len(files.checked(place)) for place, path in enumerate(files.paths)}
