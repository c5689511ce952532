"""Fits that start from a bank: whether they can, and what they take over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ganaug.bank import GeneratorBank
from ganaug.errors import LeakError, RecipeError
from ganaug.gan.checkpoint import below
from ganaug.gan.networks import NetworkShape
from ganaug.gan.start import Start
from ganaug.recipe import Recipe

__all__ = ["as_base", "check_base", "recipe_of_base", "refuse_held_back", "start_of"]

_FREE = {"classes", "codes", "directions", "reach", "sources"}  # what may differ from the base


def as_base(base: GeneratorBank | str | Path | None, recipe: Recipe | None = None) -> GeneratorBank | None:
    """The bank to start from: as given, or of the recipe's path; a BankError where a path is no bank's."""
    source = base if base is not None or recipe is None else recipe.base
    return GeneratorBank.load(source) if isinstance(source, (str, Path)) else source


def recipe_of_base(base: GeneratorBank) -> Recipe:
    """The base's recipe for other data, with a budget of its own."""
    recipe = base.recipe
    fresh = Recipe(resolution=recipe.resolution)
    return recipe.replace(
        {
            "kimg": None, "minutes": fresh.minutes, "base": None, "export": None, "latent": None,
            "train": None,
            "data.path": None, "data.val": None, "data.unlabelled": None, "data.classes": None,
            "data.colour": "rgb" if base.channels == 3 else "auto",
        }
    )  # fmt: skip


def check_base(base: GeneratorBank, recipe: Recipe, shape: NetworkShape) -> None:
    """Make sure that networks of this shape can start from the base's.

    Raises:
        RecipeError: they have another task or other sizes, or the base has a network for each class.
    """
    if base.task != recipe.task:
        raise RecipeError(f"the base is for the task {base.task!r} and this fit for {recipe.task!r}; give another base")
    if base.manifest.per_class or recipe.per_class:
        raise RecipeError("one pair of networks for each class has no base; set per_class=false, or give another base")
    if base.varies != (recipe.generator == "variation"):
        kinds = ("makes images of noise", "varies real images")
        raise RecipeError(
            f"the base {kinds[base.varies]} and this fit {kinds[not base.varies]}; give another base, or set generator"
        )
    known = base.manifest.shape
    if (known["resolution"], known["image_channels"]) != (shape.resolution, shape.image_channels):
        raise RecipeError(
            f"the base makes {_images(known['resolution'], known['image_channels'])} and this fit is for "
            f"{_images(shape.resolution, shape.image_channels)}; give a base of that kind, or set resolution and "
            "data.colour to the base's"
        )
    for name, value in shape.to_dict().items():
        if name not in _FREE and known.get(name) != value:
            raise RecipeError(
                f"the base has networks.{name} {known.get(name)} and this fit {value}; give the base's, or another base"
            )
    members = sum(name.endswith(".head.bias") for name in below(base.kept, "discriminator."))
    if members not in (0, recipe.networks.discriminators):
        raise RecipeError(
            f"the base keeps {members} discriminators and this fit has {recipe.networks.discriminators}; set "
            f"networks.discriminators={members}, or give another base"
        )


def refuse_held_back(base: GeneratorBank, trained: Sequence[str], held_back: Sequence[str]) -> None:
    """Make sure that an image that one fit learns from is not held back by the other, by their fingerprints.

    Raises:
        LeakError: there is such an image.
    """
    if shared := len(set(trained) & set(base.manifest.held_back_fingerprints)):
        raise LeakError(f"{shared} images to train on were held back from the base's fit to be scored; leave them out")
    if shared := len(set(held_back) & set(base.manifest.train_fingerprints)):
        raise LeakError(f"{shared} images held back for an honest score are among those that the base was fitted on")


def start_of(base: GeneratorBank) -> Start:
    """What networks take over from a base: its generator, and the encoder and discriminators where it keeps them."""
    kept = {name: below(base.kept, f"{name}.") for name in ("discriminator", "encoder")}
    state = {name: tensor.cpu() for name, tensor in base.generators[0].state_dict().items()}
    return Start(below(state, "network.") if base.varies else state, **kept)


def _images(resolution: int, channels: int) -> str:
    return f"{resolution} px {'grey' if channels == 1 else 'colour'} images"
