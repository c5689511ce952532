import base64
import dataclasses
import io
import json
import re
import warnings

import numpy as np
import pytest
import torch
from drawn_boxes import MAGENTA, NAMES, square_bank, write_yolo
from PIL import Image
from rich.console import Console

import ganaug
from ganaug.data.box_files import list_boxes
from ganaug.data.objects import read_objects
from ganaug.errors import DataError, LeakError, RecipeError
from ganaug.evidence.exams.boxes import BoxExam
from ganaug.evidence.gallery import draw_scenes
from ganaug.evidence.parts import splits
from ganaug.pictures import _WHEEL
from ganaug.recipe import Compare
from ganaug.run_folder import keep_result

LOW, HIGH = 0.4, 0.7


def pixels_of(item):
    return np.asarray(item[0]).reshape(-1, 3).astype(int)


def learns_magenta(train, score, seed):
    """Does better where the bank's colour was seen, a little better with each image, and tells of a class."""
    seen = any((np.abs(pixels_of(train[index]) - MAGENTA).max(1) < 25).any() for index in range(len(train)))
    assert all(np.abs(pixels_of(item) - MAGENTA).max(1).min() > 25 for item in score)
    value = (HIGH if seen else LOW) + 0.001 * len(train) + 0.01 * seed
    return {"score": value, "per_class": {"red": value}, "also": {"mAP50-95": value / 2}}


class Lent(BoxExam):
    def trainer(self, settings, device):
        return learns_magenta, {"metric": "mAP50", "learner": "a fake", "augments": settings.augments, "by_steps": True}


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    return write_yolo(tmp_path_factory.mktemp("boxes"), counts=(("train", 9), ("val", 4), ("test", 3)))


@pytest.fixture(scope="module")
def fake():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganaug.evidence.exams._LENT", {"detect": Lent()})
        yield


@pytest.fixture(scope="module")
def found(fake, boxes):
    return ganaug.compare(boxes, square_bank(), val=boxes, test=boxes, ratios=[0.5, 1.0], seeds=2)


def test_what_a_library_trains_is_compared_and_the_bank_keeps_it(found, boxes):
    bank = square_bank()
    assert found.settings["metric"] == "mAP50"
    assert found.settings["learner"] == "a fake"
    assert found.settings["steps"] == 400
    assert found.images == {"training": 9, "choosing": 4, "scoring": 3}
    assert found.chosen.ratio == 1.0
    assert [met.role for met in found.final] == ["real only", "with synthetic", "pasted"]
    real, mixed, pasted = (met.mean for met in found.final)
    assert mixed - real == pytest.approx(HIGH - LOW + 0.009)
    assert pasted == pytest.approx(real + 0.009), "no generated object is in those scenes"
    assert [change.name for change in found.changes] == list(NAMES)
    assert found.changes[0].difference == pytest.approx(mixed - real)
    assert np.isnan(found.changes[1].difference), "the trainer said nothing of it"
    verdict = found.apply_to(bank).verdict
    assert verdict.ratio == 1.0
    mixed_set = ganaug.GanAugmented(list_boxes(boxes), found.apply_to(bank))
    assert len(mixed_set) == 18


def test_copy_paste_of_real_objects_competes_with_mosaic_alone_and_scenes_are_added_to_the_best(boxes, monkeypatch):
    called = []

    def learns_objects(train, score, seed):
        """Does the better, the more objects it was shown, whoever pasted them."""
        shown = [len(train[index][1]["labels"]) for index in range(len(train))]
        called.append(type(train).__name__)
        return 0.3 + 0.01 * sum(shown) + 0.001 * seed

    class Counting(BoxExam):
        def trainer(self, settings, device):
            return learns_objects, {"augments": settings.augments, "by_steps": True}

    monkeypatch.setattr("ganaug.evidence.exams._LENT", {"detect": Counting()})
    found = ganaug.compare(boxes, square_bank(), val=boxes, test=boxes, ratios=[0.5], seeds=2)
    assert [one.arm.augment for one in found.baselines] == ["mosaic", "mosaic+copy-paste"]
    assert found.baselines[1].mean > found.baselines[0].mean
    assert [one.arm.augment for one in found.sweep] == ["mosaic+copy-paste", "mosaic"], "the best with the second too"
    assert found.settings["augment"] == found.verdict.augment == "mosaic+copy-paste"
    assert "copy-paste of real objects, ratio 0.5" in found.summary
    assert called.count("CopyPaste") == 4, "chosen and scored, two seeds each"
    called.clear()
    one = ganaug.compare(
        boxes, square_bank(), val=boxes, ratios=[0.5], seeds=2, settings={"augments": ["mosaic"]}
    )  # fmt: skip
    assert one.settings["augment"] == "mosaic"
    assert called == ["Subset", "GanAugmented"] * 2 + ["GanAugmented"] * 2, "two arms, and the control of the gain"


def test_a_trainer_that_scores_several_sets_trains_once_for_all(boxes, monkeypatch):
    trained = []

    @dataclasses.dataclass(frozen=True)
    class Once:
        def __call__(self, train, score, seed):
            raise AssertionError("score_all is there")

        def score_all(self, train, scored, seed):
            trained.append((type(train).__name__, seed))
            return {name: 0.5 + 0.01 * len(train) + 0.001 * len(images) for name, images in scored.items()}

    class Lent(BoxExam):
        def trainer(self, settings, device):
            return Once(), {"augments": settings.augments, "by_steps": True}

    monkeypatch.setattr("ganaug.evidence.exams._LENT", {"detect": Lent()})
    found = ganaug.compare(boxes, square_bank(), val=boxes, test=boxes, ratios=[0.5, 1.0], seeds=2)
    assert found.baselines[0].choosing == pytest.approx((0.5 + 0.09 + 0.004,) * 2)
    assert found.final[0].mean == pytest.approx(0.5 + 0.09 + 0.003), "that of three images, of the same trainings"
    assert found.chosen.ratio == 1.0
    arms = 2 + 2 + 1 + 1  # baselines, ratios, the best with the other augmentation, and the control of the gain
    assert len(trained) == 2 * arms


def test_with_few_minutes_one_baseline_is_trained(fake, boxes, monkeypatch):
    monkeypatch.setattr("ganaug.evidence.own_trainer.OwnTrials.seconds", lambda self, arm: 6.0)
    found = ganaug.compare(boxes, square_bank(), val=boxes, test=boxes, ratios=[0.5], seeds=2, minutes=1.3)
    assert [one.arm.augment for one in found.baselines] == ["mosaic+copy-paste"]
    assert any("minutes were good for" in note for note in found.notes)


def test_a_trainer_of_ones_own(boxes):
    files = list_boxes(boxes)
    found = ganaug.compare(
        learns_magenta, files, square_bank(), val=list_boxes(boxes, part="val"), ratios=[0.5], seeds=2
    )
    assert found.settings["learner"] == "your own trainer"
    assert "steps" not in found.settings
    assert found.chosen.ratio == 0.5
    assert found.scored_on == "val"


def test_whole_images_are_held_back_and_their_objects_with_them(boxes):
    data = read_objects(boxes, resolution=32)
    for part in splits(data, 3, True, 0, fewest=BoxExam.fewest):
        prints = [set(images.fingerprints) for images in (part.train, part.choose, part.score)]
        assert sum(map(len, prints)) == len(set.union(*prints)) == len(data.fingerprints)
        assert len(part.score.fingerprints) >= 2
        assert int(part.train.sources.max()) < len(part.train.fingerprints)
        whole = {print_: (data.sources == place).sum().item() for place, print_ in enumerate(data.fingerprints)}
        for images in (part.train, part.choose, part.score):
            counts = torch.bincount(images.sources, minlength=len(images.fingerprints)).tolist()
            assert counts == [whole[print_] for print_ in images.fingerprints]


def test_the_same_images_to_train_on_and_to_score_are_refused(fake, boxes):
    with pytest.raises(LeakError, match="among those that data holds"):
        ganaug.compare(boxes, square_bank(), val=list_boxes(boxes), ratios=[0.5], seeds=2)


def test_what_does_not_go_with_boxes_is_said(fake, boxes):
    bank = square_bank()
    with pytest.raises(DataError, match="classes and raw do not go with images with boxes"):
        ganaug.compare(boxes, bank, val=boxes, classes=["red"])
    with pytest.raises(DataError, match="data is a list; a detector is trained from files: give a path"):
        ganaug.compare([(1, 2)], bank, val=boxes)
    with pytest.raises(RecipeError, match=r"compare.weights are a classifier's"):
        BoxExam().settings(Compare(model="yolo11n.yaml", weights="DEFAULT"))
    with pytest.raises(RecipeError, match=r"compare.augments has 'mosaik'; did you mean 'mosaic'"):
        BoxExam().settings(Compare(augments=("mosaik",)))


def test_banks_of_before_copy_paste_was_tried_try_it_too():
    assert BoxExam().settings(Compare()).augments == ("mosaic", "mosaic+copy-paste")
    assert BoxExam().settings(Compare(augments=("mosaic",))).augments == ("mosaic",)


def test_a_detector_of_torchvision_has_its_own_augmentation_in_the_place_of_mosaic():
    pytest.importorskip("pycocotools")
    settings = BoxExam().settings(Compare(model="fasterrcnn_mobilenet_v3_large_320_fpn"))
    _, told = BoxExam().trainer(settings, "cpu")
    assert told["augments"] == ("zoom+boxcrop+flip+colour", "zoom+boxcrop+flip+colour+copy-paste")


def test_a_report_shows_the_objects(found, tmp_path):
    found.apply_to(square_bank()).save(tmp_path / "b.ganaug")
    keep_result(tmp_path / "b.ganaug", "comparison.json", found.to_dict())
    page = ganaug.report(tmp_path / "b.ganaug").read_text()
    assert "Generated objects, as they come" in page
    assert "mAP50" in page
    row = page[page.index(">Control: real objects pasted</th>") :].split("</tr>")[0]
    assert f"<td>{100 * found.also[2].mean:.1f}\u00a0%" in row
    assert f"({100 * found.also[2].difference:+.1f})" in row


def test_a_report_draws_scenes_of_images_that_the_bank_was_fitted_on(boxes, tmp_path):
    data = read_objects(boxes, resolution=32)
    square_bank(train_fingerprints=data.fingerprints[:6]).save(tmp_path / "b.ganaug")
    page = ganaug.report(tmp_path / "b.ganaug", data=boxes).read_text()
    scenes = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="A training image with more objects', page)
    assert len(scenes) == 4
    assert "about 50% of those generated" in page
    assert "Without the training images" not in page
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(scene)))).astype(int) for scene in scenes]
    assert {pixels.shape for pixels in shown} == {(384, 480, 3)}, "those of 64 x 80, six times"
    yellow, blue = ((np.abs(np.stack(shown) - colour).max(-1) < 40).any((1, 2)) for colour in _WHEEL[1:3])
    assert (yellow | blue).all(), "every scene has a box"
    assert yellow.any()
    assert blue.any()
    without = ganaug.report(tmp_path / "b.ganaug").read_text()
    assert "data:image/jpeg" not in without
    assert "Without the training images" in without


def test_no_scenes_where_none_of_the_objects_are_of_the_banks_classes(boxes):
    files, data = list_boxes(boxes), read_objects(boxes, resolution=32)
    bank = square_bank(train_fingerprints=data.fingerprints, class_names=("owl", "cow"))
    assert draw_scenes(bank, files, 4) == ()


def test_further_measures_are_told_of_every_arm(found):
    told = json.loads(json.dumps(found.to_dict()))
    assert [one["role"] for one in told["also"]] == ["real only", "with synthetic", "pasted"]
    for met, one in zip(told["final"], told["also"], strict=True):
        assert met["also"] == {"mAP50-95": [[pytest.approx(value / 2) for value in met["accuracies"][0]]]}
        assert one["name"] == "mAP50-95"
        assert one["mean"] == pytest.approx(met["mean"] / 2)
    assert told["also"][0]["difference"] == pytest.approx(found.difference.mean / 2)
    console = Console(file=io.StringIO(), width=200)
    console.print(found.table())
    printed = console.file.getvalue()
    assert "also mAP50-95" in printed
    assert f"{50 * found.with_synthetic.mean:.1f} %" in printed


def test_what_every_training_is_warned_of_is_said_once(fake, boxes, monkeypatch):
    monkeypatch.setattr("ganaug.dataset.larger_images", lambda view, bank, **_: f"objects are about {id(view)} px")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ganaug.compare(boxes, square_bank(), val=boxes, test=boxes, ratios=[0.5], seeds=2)
    assert len([note for note in found.notes if note.endswith(" px")]) == 1
