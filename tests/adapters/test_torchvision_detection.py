import builtins
import functools

import pytest
import torch
from drawn_boxes import COLOURS, square_bank, write_yolo
from fillers import untrained_filler
from safetensors import safe_open
from torch import nn
from torch.utils.data import ConcatDataset, Subset
from torchvision.models.detection import FasterRCNN

import ganaug
from ganaug import measures
from ganaug.adapters import torchvision_detection as adapter
from ganaug.adapters.torchvision_detection import DetectorTraining, average_precision, build_detector, train
from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint, open_image
from ganaug.data.box_files import list_boxes
from ganaug.data.copy_paste import CopyPaste
from ganaug.dataset import GanAugmented
from ganaug.errors import BankError, DataError, LeakError, MissingExtraError, RecipeError, TrainingError
from ganaug.recipe import Scenes, Train, load_recipe
from ganaug.workflow import run

pytest.importorskip("pycocotools")

PLAIN = Scenes(blends=("hard",), colour=0.0, rotation=0.0, distractors=0.0, real=0.0)
SMALL = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    return write_yolo(tmp_path_factory.mktemp("boxes"), counts=(("train", 8), ("val", 3)))


class Tiny(nn.Module):
    """Learns, as torchvision's detectors do, from images and targets: how red the red objects are."""

    def __init__(self):
        super().__init__()
        self.guess = nn.Parameter(torch.zeros(3))
        self.seen = []

    def forward(self, images, targets=None):
        if targets is None:
            return [self._found(image) for image in images]
        self.seen += [(image.detach(), target) for image, target in zip(images, targets, strict=True)]
        return {"loss": sum((image.mean((1, 2)) - self.guess).square().sum() for image in images)}

    def _found(self, image):
        """The box around pixels of either colour, called by its label."""
        found = {"boxes": [], "labels": [], "scores": []}
        for label, colour in enumerate(COLOURS, 1):
            near = (image - torch.tensor(colour)[:, None, None] / 255).abs().amax(0) < 0.05
            if near.any():
                rows, columns = near.nonzero().unbind(1)
                box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                found["boxes"].append([float(side) for side in box])
                found["labels"].append(label)
                found["scores"].append(0.9)
        return {
            "boxes": torch.tensor(found["boxes"]).reshape(-1, 4), "labels": torch.tensor(found["labels"]).long(),
            "scores": torch.tensor(found["scores"]),
        }  # fmt: skip


class Blind(Tiny):
    def _found(self, image):
        found = super()._found(image)
        return {**found, "boxes": found["boxes"] + 8}


def test_a_detector_that_finds_all_scores_one_and_one_that_misses_less(boxes):
    held = list_boxes(boxes, part="val")
    found = average_precision(Tiny(), held, held.classes, torch.device("cpu"))
    assert found["score"] == pytest.approx(1)
    assert found["also"]["mAP50-95"] == pytest.approx(1)
    assert found["per_class"] == {"red": pytest.approx(1), "blue": pytest.approx(1)}
    worse = average_precision(Blind(), held, held.classes, torch.device("cpu"))
    assert worse["score"] < 0.5
    assert worse["also"]["mAP50-95"] <= worse["score"]


def test_it_is_shown_scenes_with_labels_from_one_on(boxes, tmp_path):
    files = list_boxes(boxes)
    mixed = GanAugmented(files, square_bank(), ratio=1, scenes=PLAIN, pool_dir=tmp_path)
    model = Tiny()
    adapter._fit(model, mixed, 8, 4, 1e-2, 0, torch.device("cpu"), lambda line: None)
    assert len(model.seen) == 32
    assert {number for _, target in model.seen for number in target["labels"].tolist()} == {1, 2}
    for image, target in model.seen:
        assert (image.dtype, image.shape[0], float(image.max()) <= 1) == (torch.float32, 3, True)
        high, wide = image.shape[1:]
        left, top, right, bottom = target["boxes"].unbind(1)
        assert ((left >= 0) & (top >= 0) & (right <= wide) & (bottom <= high) & (left < right) & (top < bottom)).all()
    magenta = [image for image, _ in model.seen if ((image[0] > 0.7) & (image[2] > 0.7) & (image[1] < 0.4)).any()]
    assert magenta  # the bank's objects
    assert model.guess.abs().max() > 0.01


def test_masks_go_with_their_boxes(tmp_path):
    files = list_boxes(write_yolo(tmp_path, polygons=True))
    shown = adapter._Shown(files, adapter._augmented())
    torch.manual_seed(3)
    for index in range(5):
        image, target = shown[index]
        assert target["masks"].shape == (len(target["labels"]), *image.shape[1:])
        for mask, box in zip(target["masks"], target["boxes"], strict=True):
            rows, columns = mask.nonzero().unbind(1)
            seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (seen - box).abs().max() <= 1.5


def test_scenes_are_others_in_each_epoch_and_the_same_for_a_seed(boxes, tmp_path):
    files = list_boxes(boxes)

    def shown(seed):
        mixed = GanAugmented(files, square_bank(), ratio=1, scenes=PLAIN, pool_dir=tmp_path)
        torch.manual_seed(seed)
        model = Tiny()
        adapter._fit(model, mixed, 4, 8, 1e-2, seed, torch.device("cpu"), lambda line: None)
        return [image for image, _ in model.seen], mixed.epoch

    (first, epoch), (again, _), (other, _) = shown(0), shown(0), shown(1)
    assert epoch == 1
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(one.shape == two.shape and torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_any_set_of_files_is_trained_on_and_no_other(boxes, tmp_path, monkeypatch):
    monkeypatch.setattr(adapter, "build_detector", lambda *args, **settings: Tiny())
    files, held = list_boxes(boxes), list_boxes(boxes, part="val")
    training = DetectorTraining(SMALL, steps=2, batch=2, size=64, lr=1e-3, device="cpu")
    subset = Subset(files, [6, 0, 3])
    for real in (subset, ConcatDataset([subset, Subset(files, [6])]), CopyPaste(subset)):
        assert training(real, Subset(held, [1, 0]), 0)["score"] == pytest.approx(1)
    mixed = GanAugmented(subset, square_bank(), ratio=1, scenes=PLAIN, pool_dir=tmp_path)
    assert training(mixed, Subset(held, [1, 0]), 0)["score"] == pytest.approx(1)
    both = training.score_all(subset, {"choose": Subset(held, [0]), "score": Subset(held, [1])}, 0)
    assert list(both["choose"]["per_class"]) == ["red"]
    assert list(both["score"]["per_class"]) == ["red", "blue"]
    with pytest.raises(DataError, match="the images are of a list; a detector is trained from files"):
        training(Subset([1, 2], [0]), held, 0)


def test_a_loss_that_is_no_number_is_an_error(boxes):
    model = Tiny()
    model.forward = lambda images, targets: {"loss": model.guess.sum() * float("nan")}
    with pytest.raises(TrainingError, match=r"the loss of the detector became nan in step 1; lower train\.lr"):
        adapter._fit(model, list_boxes(boxes), 3, 2, 1e-3, 0, torch.device("cpu"), lambda line: None)


def test_a_model_is_built_for_the_classes_and_the_size():
    model = build_detector(SMALL, None, 3, 96)
    assert isinstance(model, FasterRCNN)
    assert model.roi_heads.box_predictor.cls_score.out_features == 4
    assert (model.transform.min_size, model.transform.max_size) == ((96,), 192)
    with pytest.raises(RecipeError, match=r"train.model is 'yolo12', which torchvision has no detector of"):
        build_detector("yolo12", None, 3, 96)
    with pytest.raises(RecipeError, match="keypointrcnn"):
        build_detector("keypointrcnn_resnet50_fpn", None, 3, 96)
    with pytest.raises(RecipeError, match=r"train.weights BEST of .* cannot be had .*; set it to null"):
        build_detector(SMALL, "BEST", 3, 96)


def test_validation_images_that_the_bank_was_fitted_on_are_an_error(boxes, tmp_path):
    seen = fingerprint(open_image(boxes / "images/val/0.png"))
    with pytest.raises(LeakError, match="1 of the validation images"):
        train(boxes, square_bank(train_fingerprints=(seen,)), Train(model=SMALL), tmp_path)


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "pycocotools":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"run: python -m pip install 'ganaug\[detection\]'"):
        DetectorTraining(SMALL, steps=2, batch=2, size=64, lr=1e-3, device="cpu").check()


@pytest.mark.slow
def test_the_recipe_goes_from_a_set_to_a_detector(boxes, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
    recipe = load_recipe("detect-64-torchvision").replace(
        {
            "kimg": 0.032, "resolution": 32, "networks.generator_channels": 8, "networks.discriminator_channels": 8,
            "networks.max_channels": 16, "gan.batch": 4, "snapshots.count": 1, "snapshots.samples": 4,
            "train.epochs": 1, "train.image_size": 64, "train.batch": 4,
        }
    )  # fmt: skip
    said = []
    filled, filler = [], untrained_filler().save(tmp_path / "ground.ganaug")
    fill_in_turn = GeneratorBank.fill_in_turn
    monkeypatch.setattr(
        GeneratorBank, "fill_in_turn", lambda *args, **more: filled.append(1) or fill_in_turn(*args, **more)
    )
    result = run(recipe, data=boxes, out=tmp_path / "run", fill=filler, device="cpu", say=said.append)
    assert filled  # the grounds of half of the scenes
    assert (result.bank.is_file(), result.comparison, result.exported) == (True, None, None)
    assert 0 <= result.trained.map50_95 <= result.trained.map50 <= 1
    assert any(line.startswith("epoch 1") for line in said)
    with safe_open(result.trained.weights, framework="pt") as kept:
        assert kept.metadata()["classes"] == '["red", "blue"]'
    with pytest.raises(BankError, match="recipe such as fill-64"):
        run(recipe, data=boxes, out=tmp_path / "no", fill=result.bank, say=said.append)
    with pytest.raises(RecipeError, match="no detector of"):
        run(recipe.replace({"train.model": "fasterrcnn"}), data=boxes, out=tmp_path / "no", say=said.append)


def test_a_comparison_can_be_of_a_torchvision_detector(boxes, monkeypatch):
    monkeypatch.setattr(adapter, "build_detector", lambda *args, **settings: Tiny())
    settings = {"model": SMALL, "augments": ["mosaic"]}
    found = ganaug.compare(
        boxes, square_bank(), val=boxes, ratios=[0.5], seeds=2, steps=2, batch=2, settings=settings
    )  # fmt: skip
    assert found.to_dict()["settings"]["learner"] == f"{SMALL} of torchvision at 320 px, from scratch"
    assert found.verdict.ratio == 0  # it found all of them before
    assert "crops" in found.chosen.name
