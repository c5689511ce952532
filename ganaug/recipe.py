"""What a recipe may say: typed, documented, validated; YAML in, resolved YAML out.

A recipe is a YAML mapping. Values come from the defaults below, then the recipe's file, then `--set`
(`gan.r1=0.5`), then flags. Everything a fit did can be repeated from the resolved recipe in its run folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ganaug.errors import RecipeError, did_you_mean

__all__ = [
    "Compare",
    "Data",
    "Export",
    "Gan",
    "Monitor",
    "Networks",
    "Objects",
    "Recipe",
    "Reconstruction",
    "Scenes",
    "Screening",
    "Snapshots",
    "Train",
    "Unlabelled",
    "Variation",
    "load_recipe",
    "recipe_names",
]

Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(_Section):
    """Which images, and how they are read."""

    path: str | None = Field(None, description="folder or CSV file of the training images; null: the current folder")
    unlabelled: str | None = Field(
        None, description="folder of images without labels, or of unknown ones, that the generators learn from too"
    )
    val: str | None = Field(None, description="folder or CSV file of images that nothing trains on, for comparisons")
    classes: tuple[str, ...] | None = Field(None, description="names of the classes to learn; null: all of them")
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="how an image that is not square becomes square: its centre, padded, or stretched"
    )
    colour: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="channels of the generated images; auto: grey if every image is grey"
    )
    table: dict[str, int | str] | None = Field(
        None,
        description="what a mask's numbers or colours mean, as {sky: 0, cell: 1} or {sky: '#0000ff', cell: '#ff0000'}; "
        "null: what a table among the files says, else the numbers that the masks hold",
    )
    ignore: int | None = Field(255, ge=0, le=65535, description="number in a mask that says no class; null: none")
    tile: int | None = Field(
        None,
        ge=8,
        le=65536,
        description="side in pixels of the overlapping squares that images with masks are cut into; null: each whole",
    )
    horizontal_flip: bool = Field(
        False,
        description="let the generator learn mirrored images too; leave off where a mirror image is another class or "
        "none at all, as for digits, letters and signs",
    )


class Networks(_Section):
    """Sizes of the networks."""

    latent_dim: int = Field(64, ge=2, le=1024, description="numbers of noise a sample is made from")
    generator_channels: int = Field(32, ge=4, le=512, description="channels of the generator at its full resolution")
    discriminator_channels: int = Field(
        32, ge=4, le=512, description="channels of the discriminator at full resolution"
    )
    keep: bool = Field(
        False,
        description="keep the discriminators and the encoder in the bank too, which makes it a better base for others "
        "and three times as large",
    )
    max_channels: int = Field(192, ge=8, le=1024, description="channels at the lowest resolutions, at the most")
    discriminators: int = Field(1, ge=1, le=8, description="how many discriminators judge together")


class Reconstruction(_Section):
    """Start from reconstruction: an encoder and the generator as a conditional VAE (VAE/GAN, 1512.09300)."""

    share: Share = Field(0.5, description="part of the budget spent on reconstruction alone; 0 for none")
    weight: float = Field(
        30.0, ge=0, description="weight of the reconstruction loss kept afterwards; 0 drops the encoder"
    )
    kl: float = Field(1.0, ge=0, description="weight of the KL term")
    codes: int = Field(
        512,
        ge=0,
        le=100_000,
        description="codes of real images a class, at the most, that samples are mixed from in pairs; 0: plain noise",
    )


class Variation(_Section):
    """What a generator of variations may do to a real image; used where generator is variation."""

    flow: bool = Field(True, description="move its pixels by an affine map and a smooth flow")
    colour: bool = Field(True, description="mix its channels anew, the same in every pixel")
    residual: float = Field(0.2, ge=0, le=2, description="the most added to a pixel, of values in [-1, 1]; 0: nothing")
    neighbours: int = Field(
        5, ge=1, le=1000, description="an image's nearest others of its class, which it is to become in training"
    )

    @model_validator(mode="after")
    def _varies(self) -> Variation:
        if not (self.flow or self.colour or self.residual):
            raise ValueError("flow, colour and residual are all off, so nothing varies; leave one of them on")
        return self


class Objects(_Section):
    """Where the alpha of objects comes from; used with task detect."""

    alpha: Literal["auto", "given", "learned", "soft"] = Field(
        "auto",
        description="given: by masks; learned: found from boxes, as what the ground around cannot explain; soft: the "
        "boxes with a soft edge; auto: given where there are masks, else learned",
    )


class Gan(_Section):
    """The adversarial game."""

    loss: Literal["non_saturating", "hinge", "relativistic"] = "non_saturating"
    batch: int = Field(16, ge=4, le=4096, description="real images a step; a budget has more steps with fewer")
    generator_lr: float = Field(2e-4, gt=0, le=0.1)
    discriminator_lr: float = Field(2e-4, gt=0, le=0.1)
    reconstruction_lr: float = Field(1e-3, gt=0, le=0.1, description="learning rate while reconstruction is alone")
    r1: float = Field(0.05, ge=0, description="gamma of the gradient penalty on real images (1801.04406)")
    r2: float = Field(0.0, ge=0, description="gamma of the gradient penalty on synthetic images (2501.05441)")
    penalty_every: int = Field(
        8, ge=1, le=64, description="steps between two gradient penalties, each weighted by this"
    )
    lecam: float = Field(0.0, ge=0, description="LeCam regularisation (2104.03310); not with the relativistic loss")
    class_loss: float = Field(
        0.2, ge=0, description="weight of an auxiliary classifier in the discriminator (1610.09585)"
    )
    label_mix: float = Field(
        5.0, ge=0, description="of a segmenting discriminator: weight of its consistency on mixed images (2012.04781)"
    )
    mode_seeking: float = Field(0.0, ge=0, description="weight of the mode-seeking term (1903.05628)")
    augment: tuple[Literal["colour", "translation", "cutout"], ...] = Field(
        ("colour", "translation", "cutout"), description="differentiable augmentation of what the discriminator sees"
    )
    class_ramp: tuple[Share, Share] = Field(
        (0.0, 0.0), description="shares of the budget at which the class condition starts to come in and is in full"
    )
    class_balanced: bool = Field(True, description="show every class equally often, however many images it has")
    ema: float = Field(
        0.999, ge=0, lt=1, description="decay a step of the averaged generator that samples are drawn from"
    )

    @model_validator(mode="after")
    def _agree(self) -> Gan:
        if self.lecam and self.loss == "relativistic":
            raise ValueError("lecam does not go with the relativistic loss; set gan.lecam=0 or another gan.loss")
        if self.class_ramp[0] > self.class_ramp[1]:
            raise ValueError("class_ramp must start before it ends, as in [0.1, 0.3]")
        return self


class Scenes(_Section):
    """How objects are pasted into real images; used with boxes.

    How many there are, how large, where and how close together is drawn from the set's own images.
    """

    objects: float = Field(
        0.5, gt=0, le=10, description="objects pasted into an image, by how many an image of the set has; at least one"
    )
    most: int = Field(30, ge=1, le=1000, description="objects pasted into an image, at the most")
    real: Share = Field(
        0.5, description="share of them that are cut out of the set's own images; the others are the bank's"
    )
    rarity: float = Field(
        0.5,
        ge=0,
        le=4,
        description="a class is drawn by its number of objects to the power of minus this; 0: all equally often",
    )
    scale: float = Field(0.2, ge=0, le=2, description="natural logarithm by which a size is changed, at the most")
    rotation: float = Field(10.0, ge=0, le=180, description="degrees that an object is turned by, at the most")
    hidden: Share = Field(
        0.3, description="part of an object that others or the border may hide; what would hide more goes elsewhere"
    )
    gone: Share = Field(
        0.0, description="a real object of which less than this part can be seen loses its label; 0: never"
    )
    truncated: Share = Field(
        0.25, description="part of an object that the border cuts off, of as many as it cuts off in the set's images"
    )
    blends: tuple[Literal["hard", "feathered", "gaussian", "poisson"], ...] = Field(
        ("hard", "feathered", "gaussian", "poisson"),
        min_length=1,
        description="how an object's edge meets the scene; one of them is drawn for each, so that a seam tells nothing",
    )
    colour: Share = Field(0.8, description="how far an object's colours follow those of the ground, at the most")
    distractors: Share = Field(
        0.3, description="of the objects, with how many a piece of mere ground is pasted elsewhere in the same way"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Scenes:
        if self.gone > 1 - self.hidden:
            raise ValueError("gone must not be above 1 - hidden, what can always be seen; lower one of them")
        return self


class Unlabelled(_Section):
    """Images without labels (`data.unlabelled`): which of them join a class, and how much of a batch they are."""

    share: float = Field(0.5, gt=0, lt=1, description="part of each batch that is unlabelled")
    precision: Share = Field(
        0.8,
        description="an image joins a class from the confidence on at which this share of labelled images left out are "
        "of that class",
    )
    far: Share | None = Field(
        0.95,
        description="an image joins no class where it is farther from the labelled ones than all but this share of "
        "these are from each other; null: however far",
    )
    judges: int = Field(3, ge=2, le=20, description="classifiers, each trained without one part of the labelled images")
    rounds: int = Field(1, ge=0, le=20, description="times that each judge learns from its own word as well")
    steps: int = Field(200, ge=1, le=1_000_000, description="optimiser steps of each judge in each round")


class Snapshots(_Section):
    """When the fit is looked at, scored and saved."""

    count: int = Field(10, ge=1, le=1000, description="snapshots over the whole fit; the best-scoring one is kept")
    samples: int = Field(50, ge=4, le=10_000, description="synthetic images a class that a snapshot is scored on")


class Monitor(_Section):
    """What a fit does about itself when it goes wrong."""

    retries: int = Field(
        3,
        ge=0,
        le=100,
        description="returns to the last good snapshot, with gentler settings, after a collapse, a confusion of "
        "classes or a loss that is not a number; 0: the fit ends there",
    )
    patience: Share | None = Field(
        0.4, description="part of the budget without any improvement after which a fit ends; null: it never does"
    )
    sign_target: float = Field(
        0.6, ge=-1, le=1, description="mean sign of the discriminator on real images that augmentation steers towards"
    )
    augment_least: Share = Field(
        1.0, description="least probability of each part of gan.augment for each image; 1: every image, always"
    )
    augment_most: float = Field(
        2.0, ge=0, le=2, description="the most; what is above 1 is the probability of a second round of all parts"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Monitor:
        if self.augment_least > self.augment_most:
            raise ValueError("augment_least must not be above augment_most; lower it, or raise augment_most")
        return self


class Screening(_Section):
    """Which synthetic samples are fit to train on; a reason that is null drops nothing.

    A class's *usual distance* is the median distance from a real image of it to the nearest other one.
    """

    doubt: Share | None = Field(
        0.2,
        description="drop a sample if the judge gives its class less than half and is less sure of it than of all but "
        "this share of the class's real images; 1: whenever it is less than half",
    )
    far: Share | None = Field(
        0.95,
        description="drop a sample whose features are farther from any real image of its class than those of this "
        "share of the class's real images are from the nearest other one",
    )
    copies: float | None = Field(
        0.1,
        ge=0,
        le=1,
        description="drop a sample whose pixels, mirrored or moved a little, are within this part of the usual "
        "distance of a training image",
    )
    redundant: float | None = Field(
        0.1,
        ge=0,
        le=1,
        description="drop a sample whose features are within this part of the usual distance of one that is kept",
    )
    judges: int = Field(
        3, ge=2, le=20, description="classifiers; each is trained without one part of the real images and judges that"
    )
    steps: int = Field(300, ge=1, le=1_000_000, description="optimiser steps of each judge")
    draw: float = Field(3.0, ge=1, le=100, description="samples drawn for each one wanted, at the most")


class Compare(_Section):
    """The question 'does it help?': which arms are tried, on how many splits and seeds, and for how long."""

    augments: tuple[str, ...] = Field(
        ("none", "flip+crop", "trivial", "trivial+cutmix", "elastic+trivial"),
        min_length=1,
        description="classical augmentations that compete first, of real images alone; parts are flip, crop, elastic, "
        "trivial (TrivialAugmentWide) and cutmix, and of images with masks flip, turn, affine, elastic, colour and "
        "cutmix; flips come and go with data.horizontal_flip",
    )
    ratios: tuple[Annotated[float, Field(gt=0, le=40)], ...] = Field(
        (0.25, 0.5, 1.0), min_length=1, description="synthetic images for each real one"
    )
    schedules: tuple[Literal["constant", "annealed"], ...] = Field(
        ("constant", "annealed"), min_length=1, description="annealed: the ratio falls to 0 as training goes on"
    )
    screened: tuple[bool, ...] = Field((False, True), min_length=1, description="without screening, with it, or both")
    soft: tuple[bool, ...] = Field(
        (False,), min_length=1, description="screened images with their class as label, with the judge's word, or both"
    )
    balanced: bool = Field(
        True,
        description="where classes are unequal in size: also bring every class up to the largest with synthetic "
        "images, and judge by balanced accuracy",
    )
    splits: int = Field(3, ge=1, le=20, description="times that a part is held back; 1 where val or test is given")
    seeds: int = Field(2, ge=2, le=100, description="trainings of each arm on each split")
    steps: int = Field(600, ge=1, le=1_000_000, description="optimiser steps of every training, the same in all arms")
    batch: int = Field(64, ge=2, le=4096)
    model: str | None = Field(
        None,
        description="any classification model of torchvision.models as the learner; null: a small network; with boxes "
        "a model of Ultralytics, yolo11n.yaml by default",
    )
    weights: str | None = Field(
        None,
        description="what `model` starts from: a torchvision weights name such as DEFAULT (a download), or a file of "
        "such a model's weights; null: from scratch",
    )
    image_size: int = Field(64, ge=16, le=1024, description="side that images are brought to for `model`")
    lr: float = Field(1e-3, gt=0, le=10, description="highest learning rate of `model`")
    minutes: float | None = Field(
        None, gt=0, le=1e5, description="budget of the whole comparison, refits too, that decides how much is tried"
    )

    @model_validator(mode="after")
    def _of_a_model(self) -> Compare:
        if self.weights is not None and self.model is None:
            raise ValueError("weights are those of a model; set compare.model too, as resnet18")
        return self


class Export(_Section):
    """Real and synthetic images on disk."""

    format: Literal["imagefolder"] = "imagefolder"
    ratio: float = Field(0.5, ge=0, le=1000)
    out: str


class Train(_Section):
    """A torchvision classifier, or with boxes a YOLO model of Ultralytics, trained on the mixed set."""

    model: str = Field(
        "resnet18",
        description="any classification model of torchvision.models; with boxes one of Ultralytics, as yolo11n.yaml",
    )
    weights: str | None = Field(
        None,
        description="a torchvision weights name such as DEFAULT (a download), or with boxes a .pt file; null: from "
        "scratch",
    )
    ratio: Union[Literal["auto"], Annotated[float, Field(ge=0, le=40)]] = "auto"
    epochs: int = Field(20, ge=1, le=10_000)
    batch: int = Field(32, ge=2, le=4096)
    lr: float = Field(1e-3, gt=0, le=10)
    image_size: int = Field(64, ge=16, le=1024)
    workers: int = Field(0, ge=0, le=256)


_COMPARED: dict[str, dict[str, Any]] = {
    "segment": {
        "augments": (
            "flip", "flip+affine+colour", "flip+turn+affine+elastic+colour", "flip+turn+affine+elastic+colour+cutmix",
        ),
        "screened": (False,),
        "steps": 250,
        "batch": 8,
    },
}  # fmt: skip


class Recipe(_Section):
    """Everything that decides what a fit does, but for the data and the machine."""

    task: Literal["classify", "segment", "detect"] = Field(
        "classify",
        description="what a label is: a class for each image, a map with a class for each pixel, or boxes of objects",
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
    objects: Objects = Objects()
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
        """What a comparison is made of where a recipe of this task says nothing else."""
        said = values.get("compare", {}) if isinstance(values, Mapping) else None
        if not isinstance(said, Mapping) or values.get("task") not in _COMPARED:
            return values
        return {**values, "compare": {**_COMPARED[values["task"]], **said}}

    @model_validator(mode="after")
    def _bounded(self) -> Recipe:
        if self.kimg is None and self.minutes is None:
            raise ValueError("a budget is needed; set kimg or minutes")
        if self.per_class and (self.base is not None or self.networks.keep):
            raise ValueError("per_class goes with neither base nor networks.keep; leave one out")
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
        if self.generator != "image":
            raise ValueError(f"generator must be image with task {task}")
        if self.resolution < 32:
            raise ValueError(f"resolution must be 32 or more with task {task}")
        if task == "segment" and self.reconstruction.share:
            raise ValueError("reconstruction.share must be 0 with task segment, which plays from the first step")
        if task == "detect" and self.objects.alpha == "learned" and not self.reconstruction.share:
            raise ValueError("objects.alpha learned needs reconstruction.share above 0: that is when it is learned")
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
        field = section.model_fields[part].annotation
        section = next(t for t in (field, *get_args(field)) if isinstance(t, type) and issubclass(t, BaseModel))
    yield from section.model_fields


def budget_steps(kimg: float, batch: int) -> int:
    """Steps of `batch` real images that show `kimg` thousand images, at least one."""
    return max(1, math.ceil(kimg * 1000 / batch))
