"""What a recipe may say: typed, documented, validated; YAML in, resolved YAML out.

A recipe is a YAML mapping. Values come from the defaults in recipe_sections.py, recipe_use.py and below, then the
recipe's file, then `--set` (`gan.r1=0.5`), then flags. Everything a fit did can be repeated from the resolved recipe in
its run folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from ganaug.errors import RecipeError, did_you_mean
from ganaug.recipe_latent import Latent
from ganaug.recipe_sections import (
    Data,
    Enlarging,
    Filling,
    Gan,
    Maps,
    Monitor,
    Networks,
    Objects,
    Reconstruction,
    Section,
    Snapshots,
    Translation,
    Unlabelled,
    Variation,
)
from ganaug.recipe_use import Compare, Export, Scenes, Screening, Train

__all__ = [
    "Compare",
    "Data",
    "Enlarging",
    "Export",
    "Filling",
    "Gan",
    "Latent",
    "Maps",
    "Monitor",
    "Networks",
    "Objects",
    "Recipe",
    "Reconstruction",
    "Scenes",
    "Screening",
    "Snapshots",
    "Train",
    "Translation",
    "Unlabelled",
    "Variation",
    "load_recipe",
    "recipe_names",
]

_OF_TASKS: dict[str, dict[str, dict[str, Any]]] = {
    "segment": {
        "compare": {
            "augments": (
                "flip", "flip+affine+colour", "flip+turn+affine+elastic+colour",
                "flip+turn+affine+elastic+colour+cutmix",
            ),
            "screened": (False,),
            "steps": 250,
            "batch": 8,
        },
        "export": {"format": "masks"},
        "train": {"model": "Unet", "image_size": 128, "batch": 8},
    },
    # each training takes minutes
    "detect": {"compare": {"augments": ("mosaic", "mosaic+copy-paste"), "reaches": (), "real_equivalent": False}},
}  # fmt: skip


class Recipe(Section):
    """Everything that decides what a fit does, but for the data and the machine."""

    task: Literal["classify", "segment", "detect", "enlarge", "translate", "fill"] = Field(
        "classify",
        description="what a label is: a class for each image, a map with a class for each pixel, or boxes of objects; "
        "or what is made of a picture: enlarge, one of twice the size; translate, one of another domain; fill, one "
        "without holes",
    )
    resolution: Literal[16, 32, 64, 128] = Field(32, description="side of the generated images, in pixels")
    base: str | None = Field(None, description="a bank of other classes to start from; null: from nothing")
    generator: Literal["image", "variation"] = Field(
        "image", description="what makes a sample: image, of noise and a class; variation, of a real image and noise"
    )
    per_class: bool = Field(False, description="one pair of networks for each class, instead of one for all")
    kimg: float | None = Field(None, gt=0, le=1e6, description="budget: thousands of real images shown")
    minutes: float | None = Field(
        10.0, gt=0, le=1e5, description="budget: turned into kimg by a probe; used where kimg is null"
    )
    seed: int = Field(0, ge=0, lt=2**63)
    data: Data = Data()
    networks: Networks = Networks()
    reconstruction: Reconstruction = Reconstruction()
    variation: Variation = Variation()
    maps: Maps = Maps()
    objects: Objects = Objects()
    enlarging: Enlarging = Enlarging()
    latent: Latent | None = Field(
        None, description="directions that samples are moved along, held at or spread over; null: samples as fitted"
    )
    translation: Translation = Translation()
    filling: Filling = Filling()
    gan: Gan = Gan()
    unlabelled: Unlabelled = Unlabelled()
    scenes: Scenes = Scenes()
    snapshots: Snapshots = Snapshots()
    monitor: Monitor = Monitor()
    screening: Screening | None = Field(
        None, description="null: samples are not screened, unless a comparison or the user says so"
    )
    compare: Compare = Compare()
    export: Export | None = None
    train: Train | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_the_task(cls, values: Any) -> Any:
        """What sections hold where a recipe of this task says nothing else; what it leaves out stays left out."""
        if not isinstance(values, Mapping):
            return values
        for section, usual in _OF_TASKS.get(str(values.get("task")), {}).items():
            said = values.get(section, {} if section == "compare" else None)
            if isinstance(said, Mapping):
                values = {**values, section: {**usual, **said}}
        return values

    @model_validator(mode="after")
    def _bounded(self) -> Recipe:
        if self.kimg is None and self.minutes is None:
            raise ValueError("a budget is needed; set kimg or minutes")
        if self.data.colour == "bands" and self.task != "segment":
            raise ValueError(f"data.colour must be auto, grey or rgb with task {self.task}")
        if self.per_class and (self.base is not None or self.networks.keep):
            raise ValueError("per_class goes with neither base nor networks.keep; leave one out")
        formats = ("masks", "coco") if self.task == "segment" else ("imagefolder",)
        if self.export is not None and self.export.format not in formats:
            raise ValueError(f"export.format must be {' or '.join(formats)} with task {self.task}")
        return self

    @model_validator(mode="after")
    def _for_its_task(self) -> Recipe:
        task = self.task
        if task == "classify":
            return self
        if self.per_class:
            raise ValueError(
                f"per_class does not go with task {task}: one generator makes all classes; set it to false"
            )
        if self.base is not None or self.data.unlabelled is not None or self.networks.keep:
            raise ValueError(f"base, data.unlabelled and networks.keep do not go with task {task}; leave them out")
        varies = self.generator == "variation"
        if varies and task not in ("detect", "segment"):
            raise ValueError(f"generator must be image with task {task}")
        if self.resolution < 32:
            raise ValueError(f"resolution must be 32 or more with task {task}")
        if task != "detect" and not varies and self.latent is not None:
            raise ValueError(f"latent does not go with task {task}; leave it out")
        if task in ("segment", "translate") and not varies and self.reconstruction.share:
            raise ValueError(f"reconstruction.share must be 0 with task {task}, which plays from the first step")
        if task == "translate" and self.gan.loss == "relativistic":
            raise ValueError("gan.loss must be non_saturating or hinge with task translate")
        if task == "detect" and self.objects.alpha == "learned" and not self.reconstruction.share:
            raise ValueError("objects.alpha learned needs reconstruction.share above 0: that is when it is learned")
        return self

    @model_validator(mode="after")
    def _varies_at_full_size(self) -> Recipe:
        if self.task == "classify" or self.generator != "variation":
            return self
        if self.variation.residual:
            what = "objects" if self.task == "detect" else "images"
            raise ValueError(f"variation.residual must be 0 with task {self.task}: {what} are varied at their own size")
        if self.objects.alpha == "learned":
            raise ValueError("objects.alpha learned goes with generator image; choose given or soft, or leave it out")
        return self

    def replace(self, changes: Mapping[str, Any]) -> Recipe:
        """This recipe with dotted settings changed, as in `{"gan.r1": 0.5, "kimg": 20}`, validated anew.

        Setting `minutes` clears `kimg`, and the reverse, unless both are given.
        """
        values = self.model_dump()
        for key, value in changes.items():
            _set(values, key, value)
        if changes.get("minutes") is not None and changes.get("kimg") is None:
            values["kimg"] = None
        return _validated(values, "the recipe")

    def to_yaml(self) -> str:
        """The resolved recipe, every setting said."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """Names of the recipes that ship with ganaug."""
    return sorted(path.stem for path in _shipped().glob("*.yaml"))


def load_recipe(name_or_file: str | Path | Recipe | Mapping[str, Any] = "classify-32") -> Recipe:
    """Read a recipe: a name that ships with ganaug, a YAML file, a mapping, or a `Recipe` as it is.

    Raises:
        RecipeError: there is no such recipe, the file is not a YAML mapping, a key is misspelt (the nearest
            is named), or a value is of the wrong type or out of range.
    """
    if isinstance(name_or_file, Recipe):
        return name_or_file
    if isinstance(name_or_file, Mapping):
        return _validated(dict(name_or_file), "the recipe")
    text, origin = _read(str(name_or_file))
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise RecipeError(f"{origin}{line} is not valid YAML; mend it, or start from: ganaug fit --dry-run") from error
    if not isinstance(values, dict):
        got = "nothing" if values is None else f"a {type(values).__name__}"
        raise RecipeError(f"{origin} holds {got}, not a mapping; write lines such as 'resolution: 32'")
    return _validated(values, origin)


def _shipped() -> Path:
    inside = Path(__file__).parent / "recipes"  # an installed package
    return inside if inside.is_dir() else Path(__file__).parents[1] / "recipes"  # a source tree


def _read(name: str) -> tuple[str, str]:
    if name in recipe_names():
        return (_shipped() / f"{name}.yaml").read_text("utf-8"), f"recipe {name}"
    path = Path(name)
    if path.is_file():
        try:
            return path.read_text("utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"{path} cannot be read as text ({error}); give a YAML file") from error
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        raise RecipeError(
            f"there is no recipe file {name}; give a path that exists, or one of: {', '.join(recipe_names())}"
        )
    raise RecipeError(f"there is no recipe {name!r}{did_you_mean(name, recipe_names())}")


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    for parent in parents:
        if values.get(parent) is None:
            values[parent] = {}
        values = values[parent]
        if not isinstance(values, dict):
            raise RecipeError(f"setting {key!r} goes below {parent!r}, which is a single value")
    values[leaf] = value


def _validated(values: dict[str, Any], origin: str) -> Recipe:
    if values.get("kimg") is not None and "minutes" not in values:
        values = {**values, "minutes": None}
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{origin}: {_first_problem(error)}") from None


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    place = [str(part) for part in problem["loc"]]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        return f"there is no setting {key!r}{did_you_mean(place[-1], _keys(place[:-1]))}"
    if problem["type"] == "missing":
        return f"{key!r} must be said"
    message = problem["msg"].removeprefix("Value error, ")
    got = problem["input"]
    where = f"{key} is {got!r}; " if key and not isinstance(got, (BaseModel, dict)) else ""
    return f"{where}{message[0].lower()}{message[1:]}"


def _keys(place: Sequence[str]) -> Iterator[str]:
    section: Any = Recipe
    for part in place:
        if part not in section.model_fields:  # a key of the user's, as a class's name
            continue
        field = section.model_fields[part].annotation
        section = next(t for t in (field, *get_args(field)) if isinstance(t, type) and issubclass(t, BaseModel))
    yield from section.model_fields


def budget_steps(kimg: float, batch: int) -> int:
    """Steps of `batch` real images that show `kimg` thousand images, at least one."""
    return max(1, math.ceil(kimg * 1000 / batch))
