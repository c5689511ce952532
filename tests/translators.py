"""A bank that translates, and has learned nothing."""

from typing import Any

import torch

from ganaug.bank import GeneratorBank
from ganaug.gan.translation import TranslationGenerator, TranslationShape
from ganaug.manifest import Manifest
from ganaug.recipe import load_recipe


def untrained_translator(**manifest: Any) -> GeneratorBank:
    """From day to night, 32 px RGB."""
    shape = TranslationShape(32, 3, 2, 4, 2, 4, 8, "day", 32)
    recipe = load_recipe("translate-64").replace({"resolution": 32, "data.tile": 32})
    values: dict[str, Any] = {
        "task": "translate",
        "class_names": ("night",),
        "label_numbers": (0,),
        "shape": shape.to_dict(),
        "per_class": False,
        "recipe": recipe.model_dump(mode="json"),
        "kimg": 1.0,
        "scores": {"score": 0.5},
        "versions": {"ganaug": "0.1.0"},
        "created": "2025-01-01T00:00:00+00:00",
        "train_fingerprints": (),
    }
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generator = TranslationGenerator(shape)
    generator.sources.random_(256, generator=torch.Generator().manual_seed(0))
    return GeneratorBank(Manifest(**{**values, **manifest}), [generator])
