"""A bank whose samples are of known kinds: good ones, and some that each deserve to be dropped for one reason."""

import functools
from dataclasses import replace

import planted
import pytest
import torch

from ganaug import measures
from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint
from ganaug.recipe import Screening
from ganaug.screening import screen

KINDS = ("good", "doubted", "far", "copy", "redundant", "good", "good", "good")  # of sample i: that at i modulo 8
NOISE = 50.0


class KindsBank(GeneratorBank):
    def sample_at(self, class_index, indices, *, seed=0):
        return torch.stack([self.one(class_index, int(index), seed) for index in indices])

    def one(self, label, index, seed):
        kind, own = KINDS[index % len(KINDS)], 10_000 * (seed + 1) + index
        if kind == "doubted":
            return planted.draw((label + 1) % len(planted.NAMES), 1, own, NOISE)[0]
        if kind == "far":  # hardly a grain of noise, and all contrast there is
            return ((planted.draw(label, 1, own, 8.0)[0].float() - 128) * 3.2 + 128).clamp(0, 255).to(torch.uint8)
        if kind == "copy":
            copied = real_images().images[40 * label + index % 20]
            return copied.flip(-1) if index % 16 == 3 else copied
        if kind == "redundant":
            return self.one(label, index - 4, seed)
        return planted.draw(label, 1, own, NOISE)[0]


def real_images():
    """40 images of each class."""
    images = torch.cat([planted.draw(label, 40, 1, NOISE) for label in range(len(planted.NAMES))])
    prints = tuple(fingerprint(image) for image in images)
    return replace(planted.labelled(40, 1), images=images, fingerprints=prints)


def kinds_bank(**settings):
    plain = planted.bank_of(**settings)
    return KindsBank(plain.manifest, list(plain.generators))


@pytest.fixture(scope="session", autouse=True)
def fewer_steps():
    """Features that do for four plain patterns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=60))
        torch.set_num_threads(1)
        yield


@pytest.fixture
def quick(monkeypatch):
    """Settings that take no time; what they find is worth little."""
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=2))
    return Screening(doubt=None, far=None, redundant=None, judges=2, steps=2)


@pytest.fixture(scope="session")
def real():
    return real_images()


@pytest.fixture(scope="session")
def bank():
    return kinds_bank()


@pytest.fixture(scope="session")
def settings():
    return Screening(steps=30)


@pytest.fixture(scope="session")
def kinds():
    """The kind of a sample, by its index."""
    return lambda index: KINDS[int(index) % len(KINDS)]


@pytest.fixture
def bank_with():
    """The same bank with other settings in its recipe, or another manifest."""
    return kinds_bank


@pytest.fixture(scope="session")
def found(bank, real, settings):
    """30 samples wanted of each class."""
    return screen(bank, real, 30, settings=settings, device="cpu")
