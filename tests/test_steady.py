"""Failures provoked on purpose: a fit still ends with a usable bank, and says what happened."""

import csv
import functools

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug import measures
from ganaug.fitting import fit
from ganaug.gan.step import Trainer


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """disc/ and bar/ with 10 drawn images each of 16 px."""
    original = measures.train_features
    monkeypatch.setattr(measures, "train_features", functools.partial(original, steps=60))
    random, (y, x) = np.random.default_rng(0), np.mgrid[:16, :16]
    for name in ("disc", "bar"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            (across, down), size = random.uniform(5, 11, 2), random.uniform(2, 4)
            inside = (x - across) ** 2 + (y - down) ** 2 < size**2 if name == "disc" else abs(x - across) < size / 2
            pixels = 40 + 30 * random.random(3) + inside[..., None] * (100 + 60 * random.random(3))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def fitted(images, tiny_recipe, **settings):
    """The bank of a fit of 160 steps with 8 snapshots, and what its log says of each."""
    recipe = tiny_recipe.replace(
        {
            "kimg": 160 * 16 / 1000,
            "snapshots": {"count": 8, "samples": 20},
            "networks": {"latent_dim": 8, "generator_channels": 8, "discriminator_channels": 8, "max_channels": 16},
        }
    )
    run = images.parent / "run"
    bank = fit(images, recipe=recipe.replace(settings), run_dir=run, progress=False)
    return bank, list(csv.DictReader((run / "log-all.csv").read_text("utf-8").splitlines()))


def varied(bank):
    samples = bank.sample("disc", 20).float()
    return float(samples.std(0).mean()) > 3 and bool(torch.isfinite(samples).all())


def test_a_far_too_high_rate(drawn, tiny_recipe):
    rates = {"gan.generator_lr": 0.1, "gan.discriminator_lr": 0.1, "gan.reconstruction_lr": 0.1}
    with pytest.warns(UserWarning, match="back to the state at 0.0 kimg, with learning rates x 0.25"):
        bank, rows = fitted(drawn, tiny_recipe, **rates)
    assert bank.manifest.events[0].kind == "broken"
    assert bank.manifest.events[0].told in "".join(row["events"] for row in rows)
    assert bank.manifest.scores["coverage"] > 0.3
    assert varied(bank)


def test_no_augmentation_on_twenty_images(drawn, tiny_recipe):
    bank, rows = fitted(drawn, tiny_recipe, **{"gan.discriminator_lr": 0.005, "monitor.augment_least": 0.0})
    signs = [float(row["real_sign"]) for row in rows if row["real_sign"]]
    strengths = [float(row["augmentation"]) for row in rows if row["augmentation"]]
    assert max(signs) > 0.6
    assert max(strengths) > 0.3
    assert varied(bank)


def test_a_generator_that_collapses(drawn, tiny_recipe, monkeypatch):
    original = Trainer.step

    def collapsing(self, *arguments):
        logged = original(self, *arguments)
        if self.steps == 115:  # every noise and every class give one image
            for network in (self.generator, self.average):
                network.to_image.weight.data.zero_()
        return logged

    monkeypatch.setattr(Trainer, "step", collapsing)
    with pytest.warns(UserWarning, match="1 of 3"):
        bank, rows = fitted(drawn, tiny_recipe)
    assert [event.kind for event in bank.manifest.events] == ["collapse"]
    spread = {int(row["step"]): float(row["least_spread"]) for row in rows}
    assert spread[120] < 0.2
    assert spread[160] > 0.5 * spread[100]
    assert varied(bank)


def test_a_batch_that_gives_no_number(drawn, tiny_recipe, monkeypatch):
    original = Trainer.step

    def broken(self, batch, progress):
        logged = original(self, batch, progress)
        if self.steps == 90:
            for network in (self.generator, self.discriminator):
                next(network.parameters()).data.fill_(float("nan"))
        return logged

    monkeypatch.setattr(Trainer, "step", broken)
    with pytest.warns(UserWarning, match=r"not a number \(after 1.5 kimg\): back to the state at 1.3 kimg"):
        bank, rows = fitted(drawn, tiny_recipe)
    assert [int(row["step"]) for row in rows] == [20, 40, 60, 80, 100, 120, 140, 160]
    assert varied(bank)
