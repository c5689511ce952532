"""What a snapshot is scored on: noise that stays the same, real images, and a judge who has learned to tell these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ganaug import measures
from ganaug.recipe import Recipe

__all__ = ["Exam", "sampled"]


@dataclass
class Exam:
    """The exam of one generator; `images` are real ones in the form of its samples."""

    recipe: Recipe
    judge: measures.FeatureNetwork | None
    """None where the task scores without one."""
    images: Tensor
    """(N, C, H, W) uint8."""
    image_labels: Tensor
    """(N,) int64, the generator's number of each one's class."""
    noise: Tensor
    labels: Tensor
    """(M, latent_dim) float32 and (M,) int64: of the samples."""
    asked: Tensor | None = None
    """(M,) int64: the judge's numbers of the classes asked for; None where it knows no classes."""
    known: int = 1
    """How many classes the judge knows."""
    reader: Callable[[Tensor, Tensor], float] | None = None
    """Where samples have maps: of images NCHW and maps (N, H, W) uint8 the mean Dice of these and what is seen."""
    real_features: Tensor = field(init=False)
    _measured: dict[str, list[float]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.judge is not None:
            self.real_features = self.judge.features(self.images)

    def samples(self, generator: nn.Module) -> Tensor:
        """(M, C, H, W) uint8 on the CPU."""
        return sampled(generator, self.noise, self.labels)

    def distance(self, images: Tensor) -> float:
        """Kernel distance of `images` NCHW uint8, of whatever class, to the real ones."""
        return measures.kernel_distance(self.real_features, self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """(N, D) of the judge, of `images` NCHW uint8."""
        assert self.judge is not None, "a task that asks for features says of what they are learned"
        return self.judge.features(images)

    def seen(self, images: Tensor) -> Tensor:
        """(N,) int64: which of the classes that it knows the judge takes each of `images` NCHW uint8 for."""
        assert self.judge is not None, "as above"
        return self.judge.classes(self.judge.features(images))

    def fidelity(self, synthetic: Tensor) -> tuple[float, dict[str, float]]:
        """One number to choose a snapshot by, and what is worth logging: are samples like real ones, and as varied?

        `synthetic` are those of `noise` and `labels`, NCHW uint8.
        """
        features = self.features(synthetic)
        found = measures.fidelity(self.real_features, self.image_labels, features, self.labels)
        spreads = self._ratios(measures.spread, synthetic)
        seen: dict[str, float] = {}
        if self.asked is not None:
            wrong = float((self.seen(synthetic) != self.asked).float().mean())
            seen = {"confusion": wrong / (1 - 1 / self.known)}  # 1: as by chance
        return found.score, {
            "coverage": found.coverage,
            "kernel_distance": found.kernel_distance,
            "spread_ratio": _mean(spreads),
            "sharpness_ratio": _mean(self._ratios(measures.sharpness, synthetic)),
            "least_coverage": min(found.class_coverage),
            "least_spread": min(spreads),
            **seen,
        }

    def _ratios(self, measure: Callable[[Tensor], float], synthetic: Tensor) -> list[float]:
        """For each class, a measure of the synthetic images by that of the real ones, which is taken once."""
        if measure.__name__ not in self._measured:
            self._measured[measure.__name__] = self._of_each(measure, self.images, self.image_labels)
        ours, theirs = self._of_each(measure, synthetic, self.labels), self._measured[measure.__name__]
        return [made / max(1e-6, real) for made, real in zip(ours, theirs, strict=True)]

    def _of_each(self, measure: Callable[[Tensor], float], images: Tensor, labels: Tensor) -> list[float]:
        return [measure(images[labels == label]) for label in self.labels.unique()]


@torch.no_grad()
def sampled(generator: nn.Module, noise: Tensor, labels: Tensor, chunk: int = 64) -> Tensor:
    """NCHW uint8 on the CPU, from noise (N, latent_dim) and labels (N,)."""
    device = next(generator.parameters()).device
    parts = [
        generator(part.to(device), part_labels.to(device)).add(1).mul(127.5).round().to("cpu", torch.uint8)
        for part, part_labels in zip(noise.split(chunk), labels.split(chunk), strict=True)
    ]
    return torch.cat(parts)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
