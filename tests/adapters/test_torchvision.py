import json
import pathlib
import urllib.error
import warnings

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ganaug.adapters import torchvision as adapter
from ganaug.adapters.torchvision import build_model, train
from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint, open_folder
from ganaug.errors import DataError, LeakError, OutputError, RecipeError, TrainingError
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.manifest import Manifest
from ganaug.recipe import Recipe, Train


class Tiny(nn.Module):
    """In place of a resnet18."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.BatchNorm1d(48))
        self.fc = nn.Linear(48, classes)

    def forward(self, images):
        return self.fc(self.body(images))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(adapter.torchvision.models, "get_model", lambda name, weights, num_classes: Tiny(num_classes))


@pytest.fixture
def pets(tmp_path, tiny):
    """Dark cats and bright dogs, 8 each to train on and 4 each beside; a tiny model is all that they need."""
    random = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4)):
        for name, level in (("cat", 60), ("dog", 190)):
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = (level + random.normal(0, 20, (20, 30, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "pets"


def bank_of(names=("cat", "dog"), fitted=(), held_back=()):
    shape = NetworkShape(
        resolution=16, image_channels=3, classes=len(names), latent_dim=4, generator_channels=4, max_channels=8
    )
    manifest = Manifest(
        task="classify",
        class_names=names,
        label_numbers=tuple(range(len(names))),
        shape=shape.to_dict(),
        per_class=False,
        recipe=Recipe(resolution=16).model_dump(mode="json"),
        kimg=1,
        scores={},
        versions={},
        created="",
        train_fingerprints=tuple(fitted),
        held_back_fingerprints=tuple(held_back),
    )
    torch.manual_seed(0)
    return GeneratorBank(manifest, [Generator(shape)])


def prints(folder):
    return [fingerprint(image) for image, _ in open_folder(folder)]


SETTINGS = Train(ratio=0.5, epochs=3, batch=8, image_size=16, lr=0.02)


def test_it_trains_on_the_mixed_set_and_measures_on_val(pets, tmp_path, monkeypatch):
    seen = []
    forward = Tiny.forward
    monkeypatch.setattr(
        Tiny, "forward", lambda self, images: seen.append((self.training, images)) or forward(self, images)
    )
    lines = []
    found = train(pets, bank_of(), SETTINGS, val=pets / "val", report=lines.append, pool_dir=tmp_path / "pool")
    trained = [images for training, images in seen if training]
    assert sum(map(len, trained)) == 3 * (16 + 8)  # half as many synthetic ones
    assert sum(len(images) for training, images in seen if not training) == 3 * 8
    assert trained[0].shape[1:] == (3, 16, 16)
    assert trained[0].min() >= -1
    assert trained[0].max() <= 1
    assert trained[0].min() < 0
    assert found.classes == ("cat", "dog")
    assert found.accuracy == found.history[-1]["accuracy"] >= 0.9
    assert len(found.history) == len(lines) == 3
    assert not found.model.training


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_state(pets, tmp_path):
    bank = bank_of()
    torch.manual_seed(9)
    before = torch.get_rng_state()
    states = []
    for seed in (1, 1, 2):
        found = train(pets, bank, SETTINGS, seed=seed, pool_dir=tmp_path / "pool")
        states.append(found.model.state_dict()["fc.weight"])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_without_images_to_measure_on_there_is_no_accuracy(pets, tmp_path):
    lines = []
    found = train(pets, bank_of(), SETTINGS, report=lines.append, pool_dir=tmp_path / "pool")
    assert found.accuracy is None
    assert "no validation set" in lines[-1]
    assert set(found.history[0]) == {"loss"}


def test_held_indices_are_measured_on_and_not_trained_on(pets, tmp_path, monkeypatch):
    counts = {True: 0, False: 0}
    forward = Tiny.forward

    def counted(self, images):
        counts[self.training] += len(images)
        return forward(self, images)

    monkeypatch.setattr(Tiny, "forward", counted)
    held = [0, 1, -1, -2]
    every = prints(pets)
    bank = bank_of(fitted=every[2:-2], held_back=[every[i] for i in held])
    settings = SETTINGS.model_copy(update={"epochs": 1, "ratio": 0})
    found = train(pets, bank, settings, held=held)
    assert counts == {True: 12, False: 4}
    assert found.accuracy is not None
    with pytest.raises(LeakError, match="4 images to train on were held back"):
        train(pets, bank, settings)
    with pytest.raises(LeakError, match="2 of the 2 images to measure on are in the bank's fit"):
        train(pets, bank_of(fitted=every), settings, held=[0, 1])
    with pytest.raises(LeakError, match="16 of the 16 images to measure on are in this training"):
        train(pets, bank_of(), settings, val=pets)
    with pytest.raises(DataError, match="both val and held"):
        train(pets, bank, settings, val=pets / "val", held=held)


def test_auto_without_a_verdict_mixes_in_nothing(pets, monkeypatch):
    counts = []
    forward = Tiny.forward
    monkeypatch.setattr(Tiny, "forward", lambda self, images: counts.append(len(images)) or forward(self, images))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(pets, bank_of(), Train(epochs=1, batch=8, image_size=16))
    assert sum(counts) == 16
    assert any("verdict" in str(warning.message) or "compare" in str(warning.message) for warning in caught)


def test_a_dataset_is_read_below_its_transform_and_classes_are_picked(pets, tmp_path):
    (pets / "train" / "emu").mkdir()
    for index in range(3):
        Image.new("L", (9, 9), 40 * index).save(pets / "train" / "emu" / f"{index}.png")
    dataset = ImageFolder(str(pets / "train"), transform=lambda image: torch.zeros(1))
    found = train(
        dataset, bank_of(), SETTINGS, val=pets / "val", classes=["dog", "cat"], pool_dir=tmp_path / "pool"
    )  # fmt: skip
    assert found.classes == ("dog", "cat")
    assert found.accuracy >= 0.9
    with pytest.raises(DataError, match="'emu'"):
        train(dataset, bank_of(), SETTINGS, val=pets / "val")


def test_weights_are_written_with_what_is_needed_to_use_them(pets, tmp_path):
    out = tmp_path / "made.safetensors"
    found = train(pets, bank_of(), SETTINGS.model_copy(update={"ratio": 0}), out=out)
    with safe_open(out, "pt") as opened:
        header = opened.metadata()
        assert torch.equal(opened.get_tensor("fc.weight"), found.model.fc.weight)
    assert json.loads(header["classes"]) == ["cat", "dog"]
    assert json.loads(header["mean"]) == [0.5, 0.5, 0.5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.safetensors", "pets"]
    with pytest.raises(OutputError, match="cannot be written"):
        found.save(tmp_path / "nowhere" / "made.safetensors")


def test_a_last_batch_of_one_is_left_out(pets):
    settings = SETTINGS.model_copy(update={"batch": 15, "ratio": 0, "epochs": 1})
    assert np.isfinite(train(pets, bank_of(), settings).history[0]["loss"])


def test_a_loss_that_is_not_finite_is_said(pets, monkeypatch):
    monkeypatch.setattr(Tiny, "forward", lambda self, images: self.fc(self.body(images)) * torch.nan)
    with pytest.raises(TrainingError, match="epoch 1"):
        train(pets, bank_of(), SETTINGS.model_copy(update={"ratio": 0}))


def test_a_model_from_scratch():
    model, mean, std = build_model("resnet18", None, 7)
    assert model.fc.out_features == 7
    assert mean == std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "googlenet"])
def test_a_model_with_weights_gets_new_heads(name, monkeypatch):
    real = torchvision.models.get_model

    def unloaded(name, weights):
        return real(name, weights=None, num_classes=1000, init_weights=True) if name == "googlenet" else real(name)

    monkeypatch.setattr(adapter.torchvision.models, "get_model", unloaded)
    model, mean, _ = build_model(name, "DEFAULT", 3)
    images = torch.zeros(2, 3, 64, 64)
    assert model.eval()(images).shape == (2, 3)
    assert mean == pytest.approx((0.485, 0.456, 0.406))
    outputs = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    assert 1000 not in outputs


def saved(path, model):
    if path.suffix == ".safetensors":
        save_file({name: value.clone() for name, value in model.state_dict().items()}, path)
    else:
        torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["old.safetensors", "old.pth"])
def test_a_model_from_a_file_keeps_all_but_a_head_of_other_classes(tmp_path, name):
    before = torchvision.models.squeezenet1_1(num_classes=5)
    path = saved(tmp_path / name, before)
    for classes in (5, 3):
        found, mean, _ = build_model("squeezenet1_1", str(path), classes)
        assert mean == pytest.approx((0.485, 0.456, 0.406))
        assert found.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, classes)
        alike = [torch.equal(value, before.state_dict()[key]) for key, value in found.state_dict().items()
                 if value.shape == before.state_dict()[key].shape]  # fmt: skip
        assert all(alike)
        assert len(alike) == len(before.state_dict()) - (0 if classes == 5 else 2)


def test_files_that_are_no_weights_of_the_model(tmp_path):
    (tmp_path / "words.pth").write_text("no weights")
    pickled = tmp_path / "code.pth"
    torch.save({"layer": pathlib.Path("x")}, pickled)
    other = saved(tmp_path / "other.pth", torchvision.models.resnet18(num_classes=2))
    torch.save([1, 2], tmp_path / "list.pth")
    for path, said in (
        (tmp_path / "words.pth", "cannot be read as weights"),
        (pickled, "cannot be read as weights"),
        (tmp_path / "list.pth", "cannot be read as weights"),
        (tmp_path / "none.safetensors", "cannot be read as weights"),
        (other, "whose layers are not those of squeezenet1_1"),
    ):
        with pytest.raises(RecipeError, match=said) as raised:
            build_model("squeezenet1_1", str(path), 2, section="compare")
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(f"compare.weights is {path}")


def test_a_learner_sees_what_the_model_was_trained_on(tmp_path):
    model = torchvision.models.squeezenet1_1(num_classes=2).eval()
    path = saved(tmp_path / "weights.safetensors", model)
    learner = adapter.Learner("squeezenet1_1", str(path), 2, side=64, section="compare").eval()
    grey = torch.rand(2, 1, 64, 64)
    shown = v2.functional.normalize(grey.expand(-1, 3, -1, -1), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        assert torch.allclose(learner(grey * 2 - 1), model(shown), atol=1e-4)
        assert learner(torch.zeros(2, 3, 32, 32)).shape == (2, 2)


def test_what_torchvision_does_not_have(monkeypatch):
    with pytest.raises(RecipeError, match=r"did you mean 'resnet18'"):
        build_model("resnet81", None, 2)
    with pytest.raises(RecipeError, match=r"train\.weights is 'DEFALT'.*did you mean 'DEFAULT'"):
        build_model("resnet18", "DEFALT", 2)

    def offline(*_, **__):
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr(adapter.torchvision.models, "get_model", offline)
    with pytest.raises(RecipeError, match=r"set train\.weights to null") as raised:
        build_model("resnet18", "DEFAULT", 2)
    assert "\n" not in str(raised.value)


def test_features_are_what_a_pretrained_model_sees_before_its_last_layer(monkeypatch):
    torch.manual_seed(0)
    made = []
    get_model = torchvision.models.get_model

    def fetch(name, weights):
        assert weights is torchvision.models.ResNet18_Weights.IMAGENET1K_V1
        made.append(get_model(name, weights=None))
        return made[-1]

    monkeypatch.setattr(adapter.torchvision.models, "get_model", fetch)
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    found = adapter.feature_network("resnet18", chunk=2)(images)
    assert found.shape == (3, 512)
    assert isinstance(made[0].fc, nn.Identity)
    preset = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    large = torchvision.transforms.v2.functional.resize(images.expand(-1, 3, -1, -1), [224, 224]) / 255
    shown = torchvision.transforms.v2.functional.normalize(large, preset.mean, preset.std)
    with torch.no_grad():
        assert torch.allclose(found, made[0](shown), atol=1e-3)


def test_features_that_cannot_be_had(monkeypatch):
    with pytest.raises(RecipeError, match="features are 'resnet81', and torchvision has no such model; did you mean"):
        adapter.feature_network("resnet81")
    with pytest.raises(RecipeError, match="resnet18 has no weights 'IMAGENET1K_V7'"):
        adapter.feature_network("resnet18", "IMAGENET1K_V7")

    def fetch(name, weights):
        raise urllib.error.URLError("offline")

    monkeypatch.setattr(adapter.torchvision.models, "get_model", fetch)
    with pytest.raises(
        RecipeError, match=r"IMAGENET1K_V1 of resnet18 cannot be fetched .*; go online once, or take the"
    ):
        adapter.feature_network("resnet18")
