"""The training of a generator that varies a real image, on pairs of real images of a class that are alike.

Which of a class's images could come of one another, nobody says; the nearest ones are taken for it. An encoder sees a
pair (x, y) and says in a code what leads from x to y, and the generator, given x and the code, is to make y, as in
BicycleGAN (Zhu et al. 2017, 1711.11586): so the code matters, and holds how a class varies. The discriminator is shown
pairs, as in DAGAN (1711.04340, section 3): real ones are never twice the same image, so that x itself is no answer.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ganaug.gan import losses
from ganaug.gan.augment import augment
from ganaug.gan.average import recompute_norms
from ganaug.gan.batches import BalancedBatches, Batch
from ganaug.gan.game import Game
from ganaug.gan.networks import NetworkShape
from ganaug.gan.seeding import drawn
from ganaug.gan.variation import VariationGenerator, VariationNetwork, VariationShape

__all__ = ["PairBatches", "VariationTrainer", "alike", "variety"]

_LOOKED_AT = 8  # px: the side at which two images are compared
_CHUNK = 512  # images compared with all others of their class at a time
_TURNED, _SCALED, _MOVED = 0.2, 0.12, 0.1  # radians, share, half sides: the most that a pair is moved as one


class PairBatches(BalancedBatches):
    """Random batches of pairs, one after another on the channel axis: an image, and one of the nearest of its class."""

    def __init__(
        self, images: Tensor, labels: Tensor, *, batch: int, balanced: bool, neighbours: int, random: torch.Generator
    ) -> None:
        super().__init__(images, labels, batch=batch, balanced=balanced, codes=0, random=random)
        self.near, self.known = alike(images, labels, neighbours)

    def draw(self) -> Batch:
        """`batch` pairs (batch, 2 C, H, W) with their labels; of the nearest, each equally often."""
        chosen = self.rows()
        which = torch.rand(self.batch, generator=self.random, dtype=torch.double) * self.known[chosen]
        others = self.near[chosen, which.long()]
        pairs = torch.cat([self.images[chosen], self.images[others]], dim=1)
        return Batch(pairs, self.labels[chosen], self.slots[chosen])


def alike(images: Tensor, labels: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """For each of `images` (N, C, H, W) uint8 the `neighbours` nearest others of its class, and how many there are.

    Compared as small grey images of mean 0 and deviation 1, so that another light or colour is no distance.

    Returns:
        (N, neighbours) and (N,) int64; where a class has fewer, those beyond are 0.
    """
    small = functional.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), _LOOKED_AT).flatten(1)
    small = (small - small.mean(1, keepdim=True)) / small.std(1, keepdim=True).clamp_min(1e-3)
    near = torch.zeros(len(images), neighbours, dtype=torch.int64)
    known = torch.zeros(len(images), dtype=torch.int64)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        count = min(neighbours, len(members) - 1)
        known[members] = count
        for start in range(0, len(members), _CHUNK) if count else ():
            part = members[start : start + _CHUNK]
            distances = torch.cdist(small[part], small[members])
            distances[torch.arange(len(part)), torch.arange(start, start + len(part))] = math.inf
            near[part, :count] = members[distances.topk(count, largest=False).indices]
    return near, known


@torch.no_grad()
def variety(
    generator: VariationGenerator, images: Tensor, labels: Tensor, *, sources: int = 64, neighbours: int = 5
) -> dict[str, float]:
    """How far variations of one image are apart and from it, by what its neighbours are; see `ClassifyTask.score`.

    Of `sources` of `images` (N, C, H, W) uint8, evenly spaced, with 3 variations of each.
    """
    near, known = alike(images, labels, neighbours)
    rows = torch.arange(min(sources, len(images))) * len(images) // min(sources, len(images))
    rows = rows[known[rows] > 1]
    if not len(rows):
        return {}
    device = generator.sources.device
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(3, len(rows), generator.shape.latent_dim, generator=random)
    made = torch.stack([generator.vary(images[rows].to(device), part.to(device)).cpu() for part in noise])
    shown = images.float().div(127.5).sub(1)
    first, second = shown[near[rows, 0]], shown[near[rows, 1]]
    return {
        "noise_ratio": _apart(made[0], made[1]) / max(1e-6, _apart(first, second)),
        "source_ratio": _apart(made[2], shown[rows]) / max(1e-6, _apart(first, shown[rows])),
    }


def _apart(first: Tensor, second: Tensor) -> float:
    """Root mean square difference of each pair of images, averaged."""
    return float((first - second).square().flatten(1).mean(1).sqrt().mean())


@dataclass
class VariationTrainer(Game[VariationNetwork]):
    """A real image and noise to another image of its class; pairs of both are judged."""

    shape: VariationShape

    @property
    def sampler(self) -> VariationGenerator:
        """See `Training`; there is one once the images are taken."""
        return self._sampler

    def take(self, images: Tensor, labels: Tensor, random: torch.Generator) -> PairBatches:
        """See `Training`."""
        self._hold(images, labels)
        return self._pairs_of(images, labels, random)

    def _hold(self, images: Tensor, labels: Tensor) -> None:
        """Make the sampler, which holds these images."""
        self._sampler = self._made().to(self.device)
        self._sampler.hold(images, labels)
        self._labels = labels

    def _pairs_of(self, images: Tensor, labels: Tensor, random: torch.Generator) -> PairBatches:
        gan, neighbours = self.recipe.gan, self.recipe.variation.neighbours
        return PairBatches(
            images, labels, batch=gan.batch, balanced=gan.class_balanced, neighbours=neighbours, random=random
        )

    def settle(self, random: torch.Generator) -> None:
        """See `Training`."""
        labels = self._labels[torch.randint(len(self._labels), (512,), generator=random)]
        noise = torch.randn(512, self.shape.latent_dim, generator=random)
        recompute_norms(self._sampler, noise.to(self.device), labels.to(self.device))

    def _made(self) -> VariationGenerator:
        return VariationGenerator(self.shape, self.average)

    def _built(self) -> VariationNetwork:
        return VariationNetwork(self.shape)

    def _judged(self) -> NetworkShape:
        values = NetworkShape.to_dict(self.shape)
        shape = {field.name: values[field.name] for field in dataclasses.fields(NetworkShape)}
        return NetworkShape(**shape | {"image_channels": 2 * self.shape.image_channels})

    def _placed(self, noise: Tensor, labels: Tensor) -> Tensor:
        return noise

    def _decoded(self, codes: Tensor, real: Tensor, labels: Tensor, strength: float) -> Tensor:
        sources = real[:, : self.shape.image_channels]
        return torch.cat([sources, self.generator(sources, codes)], dim=1)

    def _shown(self, real: Tensor) -> Tensor:
        """Pairs, both mirrored or not, and both turned, scaled and moved a little: few images make more pairs so."""
        return _moved(super()._shown(real), self.random)

    def _error(self, made: Tensor, real: Tensor) -> Tensor:
        """At full, half and a quarter of the resolution: where fingers do not meet, hands still may."""
        errors = losses.reconstruction(made, real)
        for factor in (2, 4):
            small, wanted = functional.avg_pool2d(made, factor), functional.avg_pool2d(real, factor)
            errors = errors + factor**2 * losses.reconstruction(small, wanted)
        return errors / 3

    def _augmented(self, samples: Tensor) -> Tensor:
        """Moved and cut as one; colours of a pair are part of the question."""
        policy = [part for part in self.recipe.gan.augment if part != "colour"]
        return augment(samples, policy, self.random, self.strength)


def _moved(images: Tensor, random: torch.Generator) -> Tensor:
    """`images` NCHW in [-1, 1], each turned, scaled and moved a little, mirrored at the border."""
    draws = drawn(lambda count: torch.rand(count, 4, generator=random) * 2 - 1, len(images), random).to(images.device)
    angle, scale = _TURNED * draws[:, 0], 1 + _SCALED * draws[:, 1]
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    across, down = (_MOVED * draws[:, 2:]).unbind(1)
    theta = torch.stack([cosine, -sine, across, sine, cosine, down], 1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved: Tensor = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return moved
