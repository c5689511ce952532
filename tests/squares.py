"""A small world whose truth is known: a bright square in noise, its map, and a bank whose pairs are true or false."""

import torch

from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint
from ganaug.data.masks import MaskedImages
from ganaug.gan.spade import MapGenerator, MapShape
from ganaug.manifest import Manifest
from ganaug.recipe import Recipe

SIDE = 32
NAMES = ("background", "object")


def drawn(count, seed):
    """(count, 1, 32, 32) uint8 images and (count, 32, 32) uint8 maps."""
    random = torch.Generator().manual_seed(seed)
    maps = torch.zeros(count, SIDE, SIDE, dtype=torch.uint8)
    places = torch.randint(1, SIDE - 11, (count, 2), generator=random).tolist()
    for one, (top, left) in zip(maps, places, strict=True):
        one[top : top + 10, left : left + 10] = 1
    noise = torch.randint(0, 90, (count, 1, SIDE, SIDE), generator=random)
    return (40 + 60 * maps[:, None] + noise).byte(), maps


def masked(count, seed, squares=1):
    """So many images, each cut into so many squares."""
    images, maps = drawn(count * squares, seed)
    return MaskedImages(
        images=images,
        labels=torch.zeros(len(images), dtype=torch.int64),
        class_names=NAMES,
        label_numbers=(0, 1),
        fingerprints=tuple(fingerprint(image) for image in images[::squares]),
        maps=maps,
        sources=torch.arange(count).repeat_interleave(squares),
    )


class SquaresBank(GeneratorBank):
    """A bank whose pairs are drawn as the real ones are; or with the map of another."""

    truthful = True

    def sample_at(self, class_index, indices, *, seed=0):
        images, maps = drawn(max(indices) + 2, 900 + seed)
        rows = list(indices)
        return torch.cat([images[rows], maps[rows if self.truthful else [row + 1 for row in rows], None]], 1)


def bank_of_squares(truthful=True, fitted=(), **settings):
    """An untrained bank, planted."""
    recipe = Recipe(task="segment", resolution=SIDE, kimg=0.001, reconstruction={"share": 0.0})
    recipe = recipe.replace({"data.horizontal_flip": True, **settings})
    shape = MapShape(
        resolution=SIDE, image_channels=1, classes=2, style_dim=4, generator_channels=4, discriminator_channels=4,
        max_channels=8, maps=2, mirror=True,
    )  # fmt: skip
    manifest = Manifest(
        task="segment",
        class_names=NAMES,
        label_numbers=(0, 1),
        shape=shape.to_dict(),
        per_class=False,
        recipe=recipe.model_dump(mode="json"),
        kimg=0.001,
        scores={},
        versions={},
        created="2024-01-01",
        train_fingerprints=tuple(fitted),
    )
    bank = SquaresBank(manifest, [MapGenerator(shape)])
    bank.truthful = truthful
    return bank
