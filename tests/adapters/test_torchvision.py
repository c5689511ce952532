import json
import warnings

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from torch import nn
from torchvision.datasets import ImageFolder

from ganaug.adapters.torchvision import train
from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint, open_folder
from ganaug.errors import DataError, LeakError, OutputError, TrainingError
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
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights, num_classes: Tiny(num_classes))


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
