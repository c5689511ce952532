"""Variations that go farther than in training: what a comparison tries of them, and what it keeps in the bank."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import ganaug
from ganaug.dataset import GanAugmented
from ganaug.evidence import material
from ganaug.evidence.arms import Arm
from ganaug.evidence.comparison import compare
from ganaug.evidence.exams import classes
from ganaug.evidence.material import reaching
from ganaug.gan.variation import VariationGenerator, VariationShape

NAMES = ("ant", "bee", "cow", "doe")
PLAIN = {"augments": ["none"], "schedules": ["constant"], "screened": [False]}


@pytest.fixture
def bank(make_bank):
    """Variations, by colour alone, of one grey image a class."""
    shape = VariationShape(
        16, 1, 4, latent_dim=4, generator_channels=4, max_channels=8, discriminator_channels=4, sources=4, flow=False,
        residual=0.0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = VariationGenerator(shape)
        torch.nn.init.normal_(generator.network.colours.weight, std=1.0)
    generator.hold(torch.full((4, 1, 16, 16), 100, dtype=torch.uint8), torch.arange(4))
    manifest = make_bank(NAMES, channels=1).manifest
    return ganaug.GeneratorBank(manifest.model_copy(update={"shape": shape.to_dict()}), [generator])


def how_far(images):
    """From the images that are varied, in grey levels."""
    return float((images.float() - 100).abs().mean())


@pytest.fixture
def trained(monkeypatch):
    """Trainings that take no time: the better the farther variations go, but for those beyond `most`."""

    def use(most):
        seen = []

        def train(images, labels, *, added, **rest):
            far = how_far(images[len(images) - added :]) if added else 0.0
            seen.append(far)
            return 0.5 + (min(far, 80) / 200 if far < most else 0.0)

        def predict(score, images):
            right = torch.arange(len(images)) < round(score * len(images))
            truth = images[:, 0, 0, 0].long() % 4
            return torch.where(right, truth, (truth + 1) % 4)

        monkeypatch.setattr(classes, "train_classifier", train)
        monkeypatch.setattr(classes, "predict", predict)
        return seen

    return use


@pytest.fixture
def marked(labelled):
    def make(per_class, seed):
        data = labelled(per_class, seed)
        data.images[:, 0, 0, 0] = 4 * (data.images[:, 0, 0, 0] // 4) + data.labels.byte()
        return data

    return make


def far_of(bank, reach):
    return how_far(bank.with_latent({"reach": reach}).sample("ant", 200))


def test_the_reach_that_did_best_is_kept_in_the_bank(bank, trained, marked, tmp_path):
    far = [far_of(bank, reach) for reach in (1, 2, 3)]
    assert far == sorted(far)
    trained((far[1] + far[2]) / 2)
    settings = {"ratios": [1], "seeds": 2, "settings": PLAIN}
    found = compare(marked(20, 1), bank, val=marked(20, 2), test=marked(40, 3), **settings)
    assert [one.arm for one in found.sweep] == [Arm("none", 1.0, reach=reach) for reach in (None, 2.0, 3.0)]
    assert found.chosen.reach == 2
    assert found.helps
    assert {met.arm.reach for met in found.final[1:]} == {2.0}  # the controls too
    assert found.to_dict()["sweep"][1]["reach"] == 2
    kept = ganaug.load(found.apply_to(bank).save(tmp_path / "far.ganaug"))
    assert (kept.verdict.reach, kept.recipe.latent.reach) == (2, 2)
    assert "1 synthetic images per real one, reach 2: +" in kept.verdict.sentence
    assert torch.equal(kept.sample("bee", 70), bank.with_latent({"reach": 2}).sample("bee", 70))
    lost = replace(found, won=False)
    assert lost.chosen.reach == 2
    assert lost.apply_to(bank).fingerprint == bank.fingerprint
    assert lost.verdict.reach is None
    # asked again it starts from there
    again = compare(marked(20, 1), kept, val=marked(20, 2), test=marked(40, 3), **settings)
    assert again.chosen.reach is None
    assert again.apply_to(kept).fingerprint == kept.fingerprint


def test_where_variations_do_not_help_the_bank_stays_as_it_was(bank, trained, marked):
    trained(0)
    found = compare(marked(20, 1), bank, val=marked(20, 2), test=marked(40, 3), ratios=[1], seeds=2, settings=PLAIN)
    kept = found.apply_to(bank)
    assert (kept.verdict.ratio, kept.verdict.reach, kept.recipe.latent) == (0, None, None)
    assert kept.fingerprint == bank.fingerprint


def test_no_other_bank_is_asked_how_far(make_bank, trained, marked):
    trained(0)
    plain = make_bank(NAMES, channels=1)
    found = compare(marked(20, 1), plain, test=marked(40, 3), ratios=[1], seeds=2, settings=PLAIN)
    assert [one.arm for one in found.sweep] == [Arm("none", 1.0)]
    assert found.images["choosing"] == 0
    assert found.settings["reaches"] == []


def test_a_refit_goes_as_far_as_the_bank_and_farther_where_that_is_tried(bank, trained, marked, monkeypatch):
    asked, far = [], [far_of(bank, reach) for reach in (1.5, 3)]

    def fit(data, *, recipe, **arguments):
        asked.append(recipe["latent"]["reach"])
        manifest = bank.manifest.model_copy(update={"held_back_fingerprints": tuple(arguments["held_back"])})
        refit = ganaug.GeneratorBank(manifest, list(bank.generators))
        return reaching(refit, recipe["latent"]["reach"])

    monkeypatch.setattr(material, "fit", fit)
    seen = trained(256)
    moved = bank.with_latent({"reach": 1.5})
    settings = {**PLAIN, "reaches": [3]}
    found = compare(marked(20, 1), moved, ratios=[1], seeds=2, splits=1, settings=settings)
    assert asked == [1.5]
    assert found.chosen.reach == 3
    assert seen[2:4] == pytest.approx([far[0]] * 2, rel=0.1)
    assert seen[4:6] == pytest.approx([far[1]] * 2, rel=0.1)


class Pictures(Dataset):
    """Grey images as arrays (H, W) uint8, as a user might keep them."""

    def __init__(self, data):
        self.images, self.targets = data.images[:, 0].numpy(), data.labels.tolist()
        self.classes = list(data.class_names)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.images[index], self.targets[index]


def test_your_own_trainer_is_shown_variations_that_go_farther(bank, labelled):
    def train_and_score(train, score, seed):
        if not isinstance(train, GanAugmented):
            return 0.5
        shown = torch.from_numpy(np.stack([train[index][0] for index in train.synthetic_indices()]))
        return 0.5 + min(80, how_far(shown)) / 200

    data = Pictures(labelled(20, 1))
    held = {"val": Pictures(labelled(10, 2)), "test": Pictures(labelled(10, 3))}
    found = compare(train_and_score, data, bank, **held, ratios=[1], seeds=2, settings={"reaches": [3]})
    assert [one.arm.reach for one in found.sweep] == [None, 3.0]
    assert found.sweep[1].mean > found.sweep[0].mean + 0.02
    assert found.apply_to(bank).recipe.latent.reach == 3
