import functools
import importlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from drawn_boxes import MAGENTA, square_bank, write_yolo
from fillers import untrained_filler

os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false")
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp())
ultralytics = pytest.importorskip("ultralytics")

from ganaug import measures  # noqa: E402
from ganaug.adapters.detectors import resolve_pasting  # noqa: E402
from ganaug.adapters.ultralytics import SceneDataset, trainer  # noqa: E402
from ganaug.bank import Verdict  # noqa: E402
from ganaug.data.fingerprints import fingerprint  # noqa: E402
from ganaug.data.images import open_image  # noqa: E402
from ganaug.errors import BankError, DataError, LeakError, MissingExtraError, RecipeError  # noqa: E402
from ganaug.recipe import Scenes, load_recipe  # noqa: E402
from ganaug.workflow import run  # noqa: E402

PLAIN = Scenes(blends=("hard",), colour=0.0, rotation=0.0, distractors=0.0, real=0.0)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("yolo")


@pytest.fixture(scope="module")
def bank(place):
    square_bank().save(place / "squares.ganaug")
    return place / "squares.ganaug"


@pytest.fixture(scope="module")
def boxes(place):
    return write_yolo(place / "boxes", counts=(("train", 8), ("val", 2)))


@pytest.fixture(scope="module")
def polygons(place):
    return write_yolo(place / "polygons", counts=(("train", 8), ("val", 2)), polygons=True)


def built(bank, root, place, task="detect", ratio=1.0, check=True, **more):
    kind = trainer(bank, ratio=ratio, task=task, scenes=PLAIN, pool_dir=place / "pools", check=check)
    model = "yolo11n-seg.yaml" if task == "segment" else "yolo11n.yaml"
    settings = {
        "model": model, "data": str(root / "data.yaml"), "imgsz": 64, "batch": 4, "epochs": 2, "device": "cpu",
        "project": str(place / "runs"), "name": task, "exist_ok": True, "plots": False, "close_mosaic": 0, **more,
    }  # fmt: skip
    made = kind(overrides=settings)
    made.model = type("Model", (), {"stride": np.array([32])})()  # all that a dataset wants of it
    return made


def dataset_of(made, mode="train"):
    return made.build_dataset(made.data[mode], mode, 4)


@pytest.fixture(scope="module")
def dataset(bank, boxes, place):
    return dataset_of(built(bank, boxes, place))


def magenta(item):
    """(n,): how much of each box is of the bank's colour."""
    image, shares = item["img"][:, :, ::-1].astype(int), []
    instances = item["instances"]
    instances.convert_bbox("xyxy")
    instances.denormalize(*image.shape[1::-1])
    for left, top, right, bottom in np.rint(instances.bboxes).astype(int):
        shares.append((np.abs(image[top:bottom, left:right] - MAGENTA).max(2) < 60).mean())
    return np.array(shares)


def test_slots_hold_scenes_whose_boxes_lie_on_their_objects(dataset):
    assert isinstance(dataset, SceneDataset)
    assert len(dataset) == 16
    assert dataset.labels[8]["cls"].shape[1] == 1
    pasted = 0
    for index in range(16):
        item = dataset.get_image_and_label(index)
        assert max(item["img"].shape[:2]) == 64
        assert item["ori_shape"] == (64, 80)
        assert len(item["cls"]) == len(item["instances"])
        shares = magenta(item)
        pasted += (shares > 0.85).sum()
        if index < 8:
            assert not (shares > 0.1).any()
    assert pasted > 5


def test_scenes_are_new_each_epoch_and_the_same_within_one(bank, boxes, place, dataset):
    again = dataset_of(built(bank, boxes, place))
    first = [dataset.get_image_and_label(index)["img"] for index in (8, 12)]
    assert all(np.array_equal(again.get_image_and_label(i)["img"], im) for i, im in zip((8, 12), first, strict=True))
    again.mixed.set_epoch(1)
    assert not any(
        np.array_equal(again.get_image_and_label(i)["img"], im) for i, im in zip((8, 12), first, strict=True)
    )


def test_real_objects_are_pasted_into_real_images_where_that_is_asked(bank, boxes, place):
    kind = trainer(bank, ratio=0.5, scenes=PLAIN.model_copy(update={"objects": 2.0}), copy_paste=1.0)
    made = built(bank, boxes, place)
    made.mixing = kind.mixing
    dataset = dataset_of(made)
    plain = [len(label["cls"]) for label in dataset.labels[:8]]
    shown = [dataset.get_image_and_label(index) for index in range(8)]
    assert sum(len(item["cls"]) for item in shown) > sum(plain) + 4
    for item in shown:
        assert not (magenta(item) > 0.1).any()
    dataset.mixed.set_epoch(1)
    assert not np.array_equal(dataset.get_image_and_label(1)["img"], shown[1]["img"])


def test_grounds_are_erased_where_a_bank_that_fills_is_given(bank, boxes, place):
    filler = untrained_filler().save(place / "filler.ganaug")
    scenes = PLAIN.model_copy(update={"erased": 1.0})
    made = built(bank, boxes, place)
    made.mixing = trainer(bank, ratio=0.5, scenes=scenes, fill=filler, pool_dir=place / "pools").mixing
    dataset = dataset_of(made)
    for index in range(8, 12):
        assert (magenta(dataset.get_image_and_label(index)) > 0.7).all()
    with pytest.raises(BankError, match="fill-64"):
        trainer(bank, fill=bank)


def test_copy_paste_follows_the_verdict(place):
    told = {"gain": 0.0, "low": -0.1, "high": 0.1, "real_only": 0.5, "with_synthetic": 0.5, "subject": "bank"}
    with_it = square_bank(verdict=Verdict(ratio=0.0, augment="mosaic+copy-paste", **told))
    without = square_bank(verdict=Verdict(ratio=0.0, augment="mosaic", **told))
    assert [resolve_pasting("auto", ratio, with_it) for ratio in ("auto", 0.5)] == [0.5, 0.0]
    assert resolve_pasting("auto", "auto", without) == resolve_pasting("auto", "auto", square_bank()) == 0.0
    assert resolve_pasting(0.25, "auto", without) == 0.25
    for wrong in ("always", 2, True):
        with pytest.raises(RecipeError, match="give a share of the images, 0 to 1, or 'auto'"):
            resolve_pasting(wrong, "auto", without)


def test_scenes_go_through_mosaic_with_the_real_images(dataset):
    seen = 0
    for index in range(16):
        item = dataset[index]
        assert tuple(item["img"].shape) == (3, 64, 64)
        assert len(item["bboxes"]) == len(item["cls"])
        pixels = item["img"].permute(1, 2, 0).numpy().astype(int)
        red, green, blue = (pixels[:, :, channel] for channel in range(3))
        seen += index < 8 and ((np.minimum(red, blue) - green) > 100).sum() > 20
    assert seen > 1, "a real image has scenes beside it"
    assert len(dataset.buffer) <= dataset.max_buffer_length
    assert set(dataset._made) <= {*range(8, 16)}


@pytest.mark.slow
def test_workers_see_the_epoch_and_start_anew(bank, boxes, place):
    made = built(bank, boxes, place)
    made.args.workers = 2
    made.train_loader = made.get_dataloader(made.data["train"], batch_size=4, rank=-1)
    assert made.train_loader.num_workers == 2
    made.epoch = 3
    made.run_callbacks("on_train_epoch_start")
    assert made.train_loader.dataset.mixed.epoch == 3
    batches = [batch for batch in made.train_loader]
    assert sum(len(batch["img"]) for batch in batches) == 16
    made.train_loader.close()


def test_segments_follow_the_masks(bank, polygons, place):
    dataset = dataset_of(built(bank, polygons, place, "segment"))
    for index in range(8, 16):
        item = dataset.get_image_and_label(index)
        instances = item["instances"]
        assert len(instances.segments) == len(instances) == len(item["cls"])
        instances.convert_bbox("xyxy")
        if len(instances):
            low, high = instances.segments.min(1), instances.segments.max(1)
            assert np.abs(np.concatenate([low, high], 1) - instances.bboxes).max() < 0.03
        assert "masks" in dataset[index]


def test_the_class_travels_as_distributed_training_sends_it(bank, boxes, place):
    pytest.importorskip("cloudpickle")
    from ultralytics.utils.dist import ddp_cleanup, generate_ddp_file
    from ultralytics.utils.patches import torch_load

    made = built(bank, boxes, place)
    made.model = None
    file = generate_ddp_file(made)
    state = torch_load(Path(file).with_suffix(".pt"), map_location="cpu")
    ddp_cleanup(made, file)
    assert state["trainer"].mixing == made.mixing
    again = state["trainer"](overrides=state["args"], _callbacks=state["callbacks"])
    again.model = type("Model", (), {"stride": np.array([32])})()
    assert len(again.callbacks["on_train_epoch_start"]) == len(made.callbacks["on_train_epoch_start"])
    assert len(dataset_of(again)) == 16


@pytest.mark.slow
def test_a_yolo_is_trained_on_both(bank, boxes, place, caplog):
    model = ultralytics.YOLO("yolo11n.yaml")
    epochs = []
    model.add_callback("on_train_epoch_end", lambda one: epochs.append(one.train_loader.dataset.mixed.epoch))
    kind = trainer(bank, ratio=0.5, scenes=PLAIN, pool_dir=place / "pools")
    with caplog.at_level("WARNING"):
        metrics = model.train(
            data=str(boxes / "data.yaml"), trainer=kind, epochs=2, imgsz=32, batch=6, device="cpu", workers=0,
            project=str(place / "runs"), name="whole", plots=False, verbose=False,
        )  # fmt: skip
    assert epochs == [0, 1]
    assert not [record.message for record in caplog.records if "WARNING" in record.message]
    assert 0 <= metrics.box.map50 <= 1


def test_what_does_not_go_is_said(bank, boxes, place, tiny_bank, tmp_path):
    with pytest.raises(RecipeError, match="task is 'pose'"):
        trainer(bank, task="pose")
    with pytest.raises(BankError, match="give the file"):
        trainer(square_bank())
    with pytest.raises(BankError, match="does not exist"):
        trainer(tmp_path / "none.ganaug")
    tiny_bank.save(tmp_path / "tiny.ganaug")
    with pytest.raises(BankError, match="a YOLO trainer wants a bank of task detect"):
        trainer(tmp_path / "tiny.ganaug")
    for wrong in ("rect", "single_cls"):
        with pytest.raises(RecipeError, match="leave them out"):
            built(bank, boxes, place, **{wrong: True})
    square_bank(class_names=("cat", "dog")).save(tmp_path / "cats.ganaug")
    with pytest.raises(DataError, match="share no class"):
        dataset_of(built(tmp_path / "cats.ganaug", boxes, place))


def test_validation_images_that_the_bank_was_fitted_on_are_an_error(boxes, place, tmp_path):
    seen = fingerprint(open_image(boxes / "images/val/0.png"))
    square_bank(train_fingerprints=(seen,)).save(tmp_path / "leak.ganaug")
    with pytest.raises(LeakError, match="1 of the validation images"):
        dataset_of(built(tmp_path / "leak.ganaug", boxes, place), "val")
    assert len(dataset_of(built(tmp_path / "leak.ganaug", boxes, place, check=False), "val")) == 2


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics.data.dataset", None)
    monkeypatch.delitem(sys.modules, "ganaug.adapters.ultralytics")
    with pytest.raises(MissingExtraError, match=r"run: python -m pip install 'ganaug\[ultralytics\]'"):
        importlib.import_module("ganaug.adapters.ultralytics")


@pytest.mark.slow
def test_the_recipe_goes_from_a_set_to_a_detector(boxes, place, monkeypatch):
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
    recipe = load_recipe("detect-64-yolo11n").replace(
        {
            "kimg": 0.032, "resolution": 32, "networks.generator_channels": 8, "networks.discriminator_channels": 8,
            "networks.max_channels": 16, "gan.batch": 4, "snapshots.count": 1, "snapshots.samples": 4,
            "train.epochs": 1, "train.image_size": 32, "train.batch": 6,
        }
    )  # fmt: skip
    said = []
    result = run(recipe, data=boxes, out=place / "run", device="cpu", say=said.append)
    assert (result.bank.is_file(), result.comparison) == (True, None)
    assert result.trained.weights.is_file()
    assert 0 <= result.trained.map50_95 <= result.trained.map50 <= 1
    assert any("on the validation images" in line for line in said)
    with pytest.raises(RecipeError, match="yolo99"):
        run(recipe.replace({"train.model": "yolo99.yaml"}), data=boxes, out=place / "no", device="cpu", say=said.append)
