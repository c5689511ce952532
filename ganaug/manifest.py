"""What a bank says of itself: the manifest in its header, and the verdict of a comparison in that."""

from __future__ import annotations

import numbers
from typing import Any, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ganaug.errors import BankError, did_you_mean

__all__ = ["FORMAT", "Happening", "Manifest", "Verdict", "joined_manifests"]

FORMAT = 6  # of the file; raise it when an older ganaug could no longer read what this one writes


class Verdict(BaseModel):
    """The outcome of a comparison: which ratio helped, by how much, with its interval. "None" is an outcome."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    ratio: Union[float, dict[str, float]] = Field(description="the ratio that helped, for all or a class; 0 for none")
    gain: float = Field(description="the score with synthetic images less that without, as a fraction")
    low: float = Field(description="lower end of the 95 % interval of the gain")
    high: float = Field(description="upper end of the 95 % interval of the gain")
    real_only: float = Field(description="mean score on real images alone, 0..1")
    with_synthetic: float = Field(description="mean score on real and synthetic images, 0..1")
    annealed: bool = Field(False, description="whether the ratio falls to 0 over the epochs, instead of staying")
    screened: bool = Field(False, description="whether the synthetic images were screened")
    soft: bool = Field(False, description="whether the synthetic images bore the screening judge's soft labels")
    reach: Union[float, None] = Field(
        None, description="times as far as in training that variations go; null: as far as the bank had it before"
    )
    augment: Union[str, None] = Field(
        None, description="the classical augmentation of every image that did best, as 'flip+trivial'"
    )
    real_equivalent: Union[float, None] = Field(
        None, description="more real images that would have brought the same gain; null where that cannot be told"
    )
    subject: Literal["bank", "recipe"] = Field(description="what was measured: this bank, or refits of its recipe")
    measured: dict[str, Any] = Field(default_factory=dict, description="how it was measured, and every single figure")

    @property
    def metric(self) -> str:
        """What the score is, as accuracy or Dice."""
        return str(self.measured.get("metric", "accuracy"))

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        interval = f"95 % interval {100 * self.low:+.1f} to {100 * self.high:+.1f}"
        subject = "measured on this bank" if self.subject == "bank" else "measured on refits of this recipe"
        if self.augment not in (None, "none", "own"):
            subject += f", all images trained on with {self.augment}"
            alone = self.measured.get("augment", self.augment)
            subject += f" (real images alone with {alone})" if alone != self.augment else ""
        if not (any(self.ratio.values()) if isinstance(self.ratio, dict) else self.ratio):
            return (
                f"no ratio tried was shown to help: {100 * self.gain:+.1f} points of {self.metric} ({interval}; "
                f"{self.real_only:.1%} on real images alone), {subject}"
            )
        said = (
            ", ".join(f"{name} {ratio:g}" for name, ratio in self.ratio.items())
            if isinstance(self.ratio, dict)
            else f"{self.ratio:g}"
        )
        how = "".join(
            f", {word}"
            for word, is_so in (
                ("annealed", self.annealed),
                ("screened", self.screened),
                ("soft labels", self.soft),
                (f"reach {self.reach or 1:g}", self.reach is not None),
            )
            if is_so
        )
        return (
            f"{said} synthetic images per real one{how}: {100 * self.gain:+.1f} points of {self.metric} ({interval}; "
            f"{self.real_only:.1%} to {self.with_synthetic:.1%}), {subject}"
        )


class Happening(BaseModel):
    """Something that went wrong while a part was fitted, and what was done about it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    part: str = Field(description="the pair of networks: all, or class-N")
    kimg: float
    kind: str = Field(description="broken, collapse, confusion, overfitting, stopped or short")
    told: str = Field(description="one line for a person")


class Manifest(BaseModel):
    """What a bank says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: int = FORMAT
    task: str
    class_names: tuple[str, ...] = Field(min_length=1)
    label_numbers: tuple[int, ...] = Field(description="the user's number of each class")
    shape: dict[str, Any] = Field(description="of each generator; its `classes` is 1 where there is one a class")
    per_class: bool
    recipe: dict[str, Any] = Field(description="as resolved")
    kimg: float
    scores: dict[str, float]
    events: tuple[Happening, ...] = Field(default=(), description="in the order in which they happened")
    versions: dict[str, str]
    created: str
    train_fingerprints: tuple[str, ...]
    held_back_fingerprints: tuple[str, ...] = ()
    train_perceptual: tuple[str, ...] = Field(default=(), description="perceptual prints; older banks have none")
    held_back_perceptual: tuple[str, ...] = ()
    unlabelled: int = Field(0, description="how many of the images trained on had no label")
    joined: dict[str, int] = Field(default_factory=dict, description="of those, how many joined which class")
    base: tuple[str, ...] = Field(default=(), description="classes of the bank that it started from")
    added: tuple[dict[str, Any], ...] = Field(
        default=(), description="shapes of generators that were added later, each of so many of the last classes"
    )
    verdict: Union[Verdict, None] = None

    @model_validator(mode="after")
    def _agree(self) -> Manifest:
        count = len(self.class_names)
        if len(self.label_numbers) != count:
            raise ValueError(f"there are {count} class names and {len(self.label_numbers)} label numbers")
        if len(set(self.class_names)) != count or len(set(self.label_numbers)) != count:
            raise ValueError("a class is named or numbered twice")
        if self.first_classes < 1:
            raise ValueError("more classes were added than there are")
        wanted = 1 if self.per_class else self.first_classes
        if self.shape.get("classes") != wanted:
            raise ValueError(f"its shape is for {self.shape.get('classes')} classes, where {wanted} are wanted")
        return self

    @property
    def learned_from(self) -> str:
        """How many images the generators learned from, and which, in words."""
        told = f"{len(self.train_fingerprints):,} images"
        if self.unlabelled:
            told += f", {self.unlabelled:,} of them without labels"
        if self.base:
            told += f", with those of a bank of {', '.join(self.base)} that it started from"
        return told

    @property
    def first_classes(self) -> int:
        """How many classes the bank was fitted on at first, before any were added."""
        later = [shape.get("classes") for shape in self.added]
        sizes = [size if isinstance(size, int) and size > 0 else len(self.class_names) for size in later]
        return len(self.class_names) - sum(sizes)

    @property
    def shapes(self) -> list[dict[str, Any]]:
        """The shape of each generator."""
        return [self.shape] * (self.first_classes if self.per_class else 1) + list(self.added)

    def class_index(self, cls: str | int) -> int:
        """Place of a class in `class_names`, by its name or the user's label number; a BankError where it has none."""
        if isinstance(cls, str) and cls in self.class_names:
            return self.class_names.index(cls)
        if isinstance(cls, numbers.Integral) and not isinstance(cls, bool) and int(cls) in self.label_numbers:
            return self.label_numbers.index(int(cls))
        known = self.class_names if isinstance(cls, str) else [str(number) for number in self.label_numbers]
        raise BankError(f"the bank knows no class {cls!r}{did_you_mean(str(cls), known)}")


def joined_manifests(first: Manifest, later: Manifest) -> Manifest:
    """What a bank says of itself to which the classes of another were added; see `GeneratorBank.joined`."""
    taken = list(first.label_numbers)
    for number in later.label_numbers:
        taken.append(number if number not in taken else max(taken) + 1)
    sizes = len(first.class_names), len(later.class_names)
    scores = {
        name: (sizes[0] * value + sizes[1] * later.scores[name]) / sum(sizes)
        for name, value in first.scores.items()
        if name in later.scores
    }
    prints = {
        name: tuple(dict.fromkeys((*getattr(first, name), *getattr(later, name))))
        for name in ("train_fingerprints", "held_back_fingerprints", "train_perceptual", "held_back_perceptual")
    }
    return first.model_copy(
        update={
            "format": FORMAT,
            "class_names": (*first.class_names, *later.class_names),
            "label_numbers": tuple(taken),
            "added": (*first.added, *later.shapes),
            "kimg": first.kimg + later.kimg,
            "scores": scores,
            "events": (*first.events, *later.events),
            "versions": later.versions,
            "created": later.created,
            "unlabelled": first.unlabelled + later.unlabelled,
            "joined": {**first.joined, **later.joined},
            "verdict": None,
            **prints,
        }
    )
