"""A bank that fills holes, without training."""

import torch

from ganaug.bank import GeneratorBank
from ganaug.gan.filling import FillingGenerator, FillingShape
from ganaug.manifest import Manifest
from ganaug.recipe import load_recipe


def untrained_filler(channels=3):
    """A bank of task fill, 32 px, that fills holes with little more than the smooth guess."""
    shape = FillingShape(
        resolution=32, image_channels=channels, generator_channels=4, discriminator_channels=4, held=2,
        latent_dim=1 + 32**2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = FillingGenerator(shape)
    recipe = load_recipe("fill-64").replace({"resolution": 32})
    manifest = Manifest(
        task="fill", class_names=("images",), label_numbers=(0,), shape=shape.to_dict(), per_class=False,
        recipe=recipe.model_dump(mode="json"), kimg=1.0, scores={"score": 0.5}, versions={"ganaug": "0.1.0"},
        created="2025-01-01T00:00:00+00:00", train_fingerprints=(),
    )  # fmt: skip
    return GeneratorBank(manifest, [generator])
