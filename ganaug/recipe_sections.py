"""The sections of a recipe for its fit: every setting with its type, its default, its bounds and what it is for.

Those for what is done with a fitted bank are in recipe_use.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "Data",
    "Enlarging",
    "Filling",
    "Gan",
    "Monitor",
    "Networks",
    "Objects",
    "Reconstruction",
    "Section",
    "Share",
    "Snapshots",
    "Translation",
    "Unlabelled",
    "Variation",
]

Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """What may be said is listed, and nothing else is taken."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(Section):
    """Which images, and how they are read."""

    path: str | None = Field(None, description="folder or CSV file of the training images; null: the current folder")
    unlabelled: str | None = Field(
        None, description="folder of images without labels, or of unknown ones, that the generators learn from too"
    )
    target: str | None = Field(
        None, description="folder of images of the domain that those of the path are translated into; task translate"
    )
    val: str | None = Field(None, description="folder or CSV file of images that nothing trains on, for comparisons")
    classes: tuple[str, ...] | None = Field(None, description="names of the classes to learn; null: all of them")
    fit: Literal["crop", "pad", "stretch"] = Field(
        "crop", description="how an image that is not square becomes square: its centre, padded, or stretched"
    )
    colour: Literal["auto", "grey", "rgb", "bands"] = Field(
        "auto",
        description="channels of the generated images; auto: grey if every image is grey; bands, of images with masks: "
        "all channels as they are, as of satellite images (auto takes five or more for bands, and a fourth for alpha)",
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
        description="side in pixels of the overlapping squares that images with masks are cut into, and of the crops "
        "that translation is learned from; null: each whole",
    )
    horizontal_flip: bool = Field(
        False,
        description="let the generator learn mirrored images too; leave off where a mirror image is another class or "
        "none at all, as for digits, letters and signs",
    )


class Networks(Section):
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


class Reconstruction(Section):
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


class Variation(Section):
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


class Maps(Section):
    """Images of label maps; used with task segment."""

    sketch: bool = Field(
        True,
        description="tell the generator real pixels, moved and put together as the new map is, which it adds to; the "
        "bank then holds its training images; false: it paints all from the map alone",
    )


class Objects(Section):
    """Where the alpha of objects comes from; used with task detect."""

    alpha: Literal["auto", "given", "learned", "soft"] = Field(
        "auto",
        description="given: by masks; learned: found from boxes, as what the ground around cannot explain; soft: the "
        "boxes with a soft edge; auto: given where there are masks, else learned",
    )


class Enlarging(Section):
    """How an enlarger is taught; used with task enlarge."""

    blocks: int = Field(4, ge=1, le=64, description="residual blocks of the generator")
    blur: float = Field(
        1.2,
        ge=0,
        le=3,
        description="pixels by which a shrunk image is blurred in training, at the most: samples of a bank are softer "
        "than shrunk photographs",
    )
    noise: float = Field(
        0.1, ge=0, le=1, description="deviation of noise added to it, of values in [-1, 1], at the most"
    )
    consistency: float = Field(
        1.0, ge=0, le=1000, description="weight of the error of what a result shrinks to, beside that of the result"
    )


class Translation(Section):
    """How images of one domain become those of another; used with task translate."""

    content: float = Field(
        1.0, gt=0, description="weight of keeping everything at its place: patches are told apart (2007.15651)"
    )
    identity: float = Field(
        1.0, ge=0, description="weight of the same for images of the target domain, which are to stay as they are"
    )
    invert: bool = Field(
        False,
        description="whether what is bright in the source is dark in the target, as nuclei in fluorescence and in "
        "stained tissue: the encoder then sees one of the two as a negative",
    )
    patches: int = Field(256, ge=8, le=4096, description="places of an image at which patches are compared in a step")
    temperature: float = Field(0.07, gt=0, le=1, description="of telling patches apart; the lower, the sharper")
    blocks: int = Field(4, ge=2, le=16, description="residual blocks at a quarter of the side")


class Filling(Section):
    """How holes are filled; used with task fill."""

    squares: int = Field(
        2048, ge=2, le=1_000_000, description="squares cut from the images, at the most; of each image at most 16"
    )
    holes: tuple[Share, Share] = Field(
        (0.02, 0.3), description="least and most part of a square that a hole takes in training"
    )
    margin: Share = Field(
        0.05,
        description="by how much of its longer side an object is taken larger, for its edge and its shadow; 2 pixels "
        "at the least",
    )
    reconstruction: float = Field(
        1.0, ge=0, description="weight of the mean absolute error of what is filled in, beside the adversarial loss"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Filling:
        if not 0 < self.holes[0] <= self.holes[1] <= 0.6:
            raise ValueError("holes must be above 0, at most 0.6 and in order, as [0.02, 0.3]")
        return self


class Gan(Section):
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


class Unlabelled(Section):
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


class Snapshots(Section):
    """When the fit is looked at, scored and saved."""

    count: int = Field(10, ge=1, le=1000, description="snapshots over the whole fit; the best-scoring one is kept")
    samples: int = Field(50, ge=4, le=10_000, description="synthetic images a class that a snapshot is scored on")


class Monitor(Section):
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
