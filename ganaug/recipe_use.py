"""The sections of a recipe for what is done with its bank: scenes, screening, the comparison, files and a training."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Field, model_validator

from ganaug.recipe_sections import Section, Share

__all__ = ["Compare", "Export", "Scenes", "Screening", "Train"]


class Scenes(Section):
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

    erased: Share = Field(
        0.5,
        description="where a bank that fills holes is given, share of the scenes whose image first loses all objects "
        "of its own; as many are then pasted as an image has, or more where objects says so",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Scenes:
        if self.gone > 1 - self.hidden:
            raise ValueError("gone must not be above 1 - hidden, what can always be seen; lower one of them")
        return self


class Screening(Section):
    """Which synthetic samples are fit to train on; a reason that is null drops nothing.

    A class's *usual distance* is the median distance from a real image of it to the nearest other one. Pairs of image
    and mask are dropped for doubt and as copies alone.
    """

    doubt: Share | None = Field(
        0.2,
        description="drop a sample if the judge gives its class less than half and is less sure of it than of all but "
        "this share of the class's real images; 1: whenever it is less than half. Drop a pair if segmenters find its "
        "map less well than those of all but this share of the real images, and than that of the nearest one",
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
        3,
        ge=2,
        le=20,
        description="classifiers, or segmenters; each is trained without one part of the real images and judges that",
    )
    steps: int = Field(300, ge=1, le=1_000_000, description="optimiser steps of each judge")
    draw: float = Field(3.0, ge=1, le=100, description="samples drawn for each one wanted, at the most")


class Compare(Section):
    """The question 'does it help?': which arms are tried, on how many splits and seeds, and for how long."""

    augments: tuple[str, ...] = Field(
        ("none", "flip+crop", "trivial", "trivial+cutmix", "elastic+trivial"),
        min_length=1,
        description="classical augmentations that compete first, of real images alone; parts are flip, crop, elastic, "
        "trivial (TrivialAugmentWide) and cutmix, and of images with masks flip, turn, affine, elastic, colour and "
        "cutmix; flips come and go with data.horizontal_flip; with boxes they are mosaic, the detector's own (which of "
        "torchvision zooms, crops, flips and colours), and mosaic+copy-paste, real objects pasted into half of the "
        "images too",
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
    reaches: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (2.0, 3.0),
        description="of variations of real images: times as far as in training that noise goes, each tried with the "
        "best way of mixing, which has noise as in training or as `latent.reach` says",
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
        "a detector of Ultralytics, yolo11n.yaml by default, or of torchvision.models.detection",
    )
    weights: str | None = Field(
        None,
        description="what `model` starts from: a torchvision weights name such as DEFAULT (a download), or a file of "
        "such a model's weights; null: from scratch",
    )
    image_size: int = Field(64, ge=16, le=1024, description="side that images are brought to for `model`")
    lr: float = Field(1e-3, gt=0, le=10, description="highest learning rate of `model`")
    real_equivalent: bool = Field(
        True,
        description="where there is a gain, also train on fewer real images, to say how many more would bring as much",
    )
    minutes: float | None = Field(
        None, gt=0, le=1e5, description="budget of the whole comparison, refits too, that decides how much is tried"
    )

    @model_validator(mode="after")
    def _of_a_model(self) -> Compare:
        if self.weights is not None and self.model is None:
            raise ValueError("weights are those of a model; set compare.model too, as resnet18")
        return self


class Export(Section):
    """Real and synthetic images on disk."""

    format: Literal["imagefolder", "masks", "coco"] = Field(
        "imagefolder", description="masks or coco where labels are masks, masks by default there"
    )
    ratio: float = Field(0.5, ge=0, le=1000)
    out: str


class Train(Section):
    """What is trained on the mixed set.

    A classifier of torchvision; where labels are boxes a detector of Ultralytics or torchvision, where they are masks
    a segmenter of segmentation-models-pytorch.
    """

    model: str = Field(
        "resnet18",
        description="any classification model of torchvision.models; with boxes one of Ultralytics, as yolo11n.yaml, "
        "or of torchvision.models.detection; with masks of segmentation-models-pytorch, as Unet or FPN",
    )
    encoder: str = Field("resnet18", description="with masks: any encoder of segmentation-models-pytorch")
    weights: str | None = Field(
        None,
        description="a torchvision weights name such as DEFAULT (a download), of a torchvision detector that of its "
        "backbone, as IMAGENET1K_V1, of one of Ultralytics a .pt file, with masks those of the encoder, as imagenet; "
        "null: from scratch",
    )
    ratio: Union[Literal["auto"], Annotated[float, Field(ge=0, le=40)]] = "auto"
    epochs: int = Field(20, ge=1, le=10_000)
    batch: int = Field(32, ge=2, le=4096)
    lr: float = Field(1e-3, gt=0, le=10)
    image_size: int = Field(64, ge=16, le=1024)
    workers: int = Field(0, ge=0, le=256)
