"""Fixtures of a small world whose truth is known: four faint patterns in strong noise, and true and false banks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages, fingerprint
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.manifest import Manifest
from ganaug.recipe import Recipe

NAMES = ("ant", "bee", "cow", "doe")
RESOLUTION = 16


def draw(label: int, count: int, seed: int, noise: float = 100.0) -> Tensor:
    """(count, 1, 16, 16) uint8 of a class: its pattern of blocks, seen through noise."""
    pattern = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(100 + label)).round() * 2 - 1
    pattern = torch.nn.functional.interpolate(pattern, RESOLUTION)
    random = torch.Generator().manual_seed(1000 * seed + label)
    grain = torch.randn(count, 1, RESOLUTION, RESOLUTION, generator=random)
    return (128 + 40 * pattern + noise * grain).clamp(0, 255).to(torch.uint8)


def labelled(per_class: int, seed: int, names: tuple[str, ...] = NAMES) -> LabelledImages:
    numbers = [NAMES.index(name) for name in names]
    images = torch.cat([draw(number, per_class, seed) for number in numbers])
    return LabelledImages(
        images=images,
        labels=torch.arange(len(names)).repeat_interleave(per_class),
        class_names=names,
        label_numbers=tuple(numbers),
        fingerprints=tuple(fingerprint(image) for image in images),
    )


class PlantedBank(GeneratorBank):
    """A bank whose samples the test decides."""

    planted: Callable[[str, int, int], Tensor]

    def sample(self, cls, n, *, seed=0, start=0):
        return self.planted(cls, n, seed)


def bank_of(planted=None, fitted=(), held_back=(), **settings) -> PlantedBank:
    recipe = Recipe(resolution=16, kimg=0.001).replace(settings)
    shape = NetworkShape(
        resolution=16, image_channels=1, classes=len(NAMES), latent_dim=4, generator_channels=4, max_channels=8
    )
    manifest = Manifest(
        task="classify",
        class_names=NAMES,
        label_numbers=tuple(range(len(NAMES))),
        shape=shape.to_dict(),
        per_class=False,
        recipe=recipe.model_dump(mode="json"),
        kimg=0.001,
        scores={},
        versions={},
        created="2024-01-01",
        train_fingerprints=tuple(fitted),
        held_back_fingerprints=tuple(held_back),
    )
    bank = PlantedBank(manifest, [Generator(shape)])
    bank.planted = planted or truthful
    return bank


def truthful(cls: str, n: int, seed: int) -> Tensor:
    return draw(NAMES.index(cls), n, 500 + seed)


def lying(cls: str, n: int, seed: int) -> Tensor:
    """Another class's images under this name."""
    return draw((NAMES.index(cls) + 1) % len(NAMES), n, 500 + seed)


@pytest.fixture(name="labelled")
def _labelled():
    return labelled


@pytest.fixture(name="bank_of")
def _bank_of():
    return bank_of


@pytest.fixture(name="lying")
def _lying():
    return lying
