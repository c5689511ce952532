"""The training of a translator, on images of two domains that show different things: CUT (2007.15651).

After Park et al. 2020. A discriminator of patches says whether an image is of the target domain. That everything stays
at its place is asked of the translator's own encoder: a patch of the translation must be told, among the patches of the
source image, to be the one at its place. Images of the target domain are to come out as they are (section 3.2).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.gan import losses
from ganaug.gan.augment import augment, mirror_half
from ganaug.gan.average import update_average
from ganaug.gan.optimising import adam, averaged, cooled, set_rate
from ganaug.gan.picture_networks import PatchDiscriminator
from ganaug.gan.players import Players
from ganaug.gan.translation import TranslationGenerator, TranslationNetwork, TranslationShape

__all__ = ["DomainBatches", "PatchHeads", "Pieces", "TranslationTrainer", "TwoDomains", "patch_nce"]

_DOWNS = 3  # halvings of the discriminator: its patches are 38 px


def patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of telling which key each query is of, among those of its image (2007.15651, equation 3).

    `queries` and `keys` are (N, patches, D) of length 1, in the same order. Negatives are of the same image alone
    (section 4.3: those of others hurt).
    """
    similarity = torch.bmm(queries, keys.transpose(1, 2)) / temperature
    wanted = torch.arange(queries.shape[1], device=queries.device).repeat(len(queries))
    return functional.cross_entropy(similarity.flatten(0, 1).float(), wanted)


class PatchHeads(nn.Module):
    """Two layers for the features of each level, to vectors that patches are told apart by (section 3.2)."""

    def __init__(self, widths: Sequence[int], dim: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, dim), nn.LeakyReLU(0.2), nn.Linear(dim, dim)) for width in widths
        )

    def forward(self, features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """(N, patches, dim) vectors of length 1 for each level: of `features` NCHW at `places` (patches,) int64."""
        found = []
        for head, level, chosen in zip(self.heads, features, places, strict=True):
            vectors = level.permute(0, 2, 3, 1).flatten(1, 2)[:, chosen]
            found.append(functional.normalize(head(vectors), dim=-1))
        return found


@dataclass(frozen=True)
class Pieces:
    """Pieces of images of one domain."""

    images: Tensor
    """(N, C, H, W) uint8."""
    extents: Tensor
    """(N, 2) int64: height and width of what is an image in each, from its upper left corner."""

    def levels(self) -> Tensor:
        """(2, C): mean and deviation of each channel, of values in [-1, 1]."""
        size = 0
        sums, squares = torch.zeros(2, self.images.shape[1], dtype=torch.float64).unbind()
        for image, (height, width) in zip(self.images, self.extents.tolist(), strict=True):
            values = image[:, :height, :width].flatten(1).double().div(127.5).sub(1)
            size, sums, squares = size + values.shape[1], sums + values.sum(1), squares + values.square().sum(1)
        mean = sums / size
        return torch.stack([mean, (squares / size - mean.square()).clamp_min(1e-4).sqrt()])

    def crops(self, count: int, side: int, random: torch.Generator) -> Tensor:
        """(count, C, side, side) uint8: squares from anywhere in pieces drawn with replacement."""
        rows = torch.randint(len(self.images), (count,), generator=random)
        free = self.extents[rows] - side + 1
        corners = (torch.rand(count, 2, generator=random, dtype=torch.double) * free).long()
        places = zip(rows.tolist(), corners.tolist(), strict=True)
        return torch.stack([self.images[row, :, y : y + side, x : x + side] for row, (y, x) in places])


@dataclass(frozen=True)
class TwoDomains:
    """What a translator learns from."""

    source: Pieces
    target: Pieces


@dataclass
class DomainBatches:
    """Random crops of both domains, (batch, 2, C, side, side) uint8."""

    source: Pieces
    target: Pieces
    batch: int
    side: int
    random: torch.Generator

    def draw(self) -> Tensor:
        """The source's crops at 0 and the target's at 1."""
        return torch.stack([part.crops(self.batch, self.side, self.random) for part in (self.source, self.target)], 1)


@dataclass
class TranslationTrainer(Players):
    """A translator, a discriminator of patches and the heads by which patches are told apart; see `Training`."""

    shape: TranslationShape

    played = ("generator", "discriminator", "heads")

    def __post_init__(self) -> None:
        super().__post_init__()
        shape, gan, device = self.shape, self.recipe.gan, self.device
        self.generator = TranslationNetwork(shape).to(device).to(memory_format=torch.channels_last)
        judge = PatchDiscriminator(shape.image_channels, shape.discriminator_channels, _DOWNS)
        self.discriminator: PatchDiscriminator = judge.to(device).to(memory_format=torch.channels_last)
        self.heads: PatchHeads = PatchHeads(self.generator.feature_widths).to(device)
        self.average: TranslationNetwork = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = adam(self.generator, gan.generator_lr)
        self.discriminator_optimizer = adam(self.discriminator, gan.discriminator_lr)
        self.heads_optimizer = adam(self.heads, gan.generator_lr)
        self.random.processes = self.processes

    @property
    def sampler(self) -> TranslationGenerator:
        """See `Training`; there is one once the images are taken."""
        return self._sampler

    def take(self, images: Tensor, labels: TwoDomains, random: torch.Generator) -> DomainBatches:
        """See `Training`: `images` are the target's, and `labels` the pieces of both domains."""
        side = self.shape.resolution
        self._sampler = TranslationGenerator(self.shape, self.average).to(self.device)
        shown = labels.source.crops(self.shape.sources, side, torch.Generator().manual_seed(0))
        self._sampler.sources.copy_(shown)
        seen = torch.stack([labels.source.levels(), labels.target.levels()])
        seen[1, 1] *= -1 if self.recipe.translation.invert else 1
        for network in (self.generator, self.average):
            network.levels.copy_(seen)
        return DomainBatches(labels.source, labels.target, self.recipe.gan.batch, side, random)

    def settle(self, random: torch.Generator) -> None:
        """Nothing to do; see `Training`."""

    def step(self, batch: Tensor, progress: float) -> dict[str, Tensor]:
        """See `Training`; `batch` is what `DomainBatches` draw."""
        gan = self.recipe.gan
        both = self.processes.mine(batch).to(self.device, torch.float32).div(127.5).sub(1)
        shown = both.transpose(0, 1).flatten(0, 1)  # all of the source, then all of the target
        if self.recipe.data.horizontal_flip:
            shown = mirror_half(shown, self.random)
        for optimizer, rate in (
            (self.generator_optimizer, gan.generator_lr), (self.discriminator_optimizer, gan.discriminator_lr),
            (self.heads_optimizer, gan.generator_lr),
        ):  # fmt: skip
            set_rate(optimizer, rate * self.ease * cooled(progress))
        count = len(both)
        domains = torch.arange(2, device=self.device).repeat_interleave(count)
        taken = len(shown) if self.recipe.translation.identity else count
        with self._autocast():
            made, features = self.generator.both(shown[:taken], domains[:taken])
        real, fake = shown[count:], made[:count]
        logged = self._discriminate(real, fake.detach())
        logged |= self._translate(fake, made, features)
        if self.steps % gan.penalty_every == 0:
            logged["gradient"] = self._gradient_size()
        update_average(self.average, self.generator, min(gan.ema, (1 + self.steps) / (10 + self.steps)))
        self.steps += 1
        return averaged(logged, self.processes)

    def _discriminate(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        gan = self.recipe.gan
        with self._autocast():
            real_logits, fake_logits = self._judge(torch.cat([real, fake])).chunk(2)
        loss = losses.discriminator_loss(gan.loss, real_logits, fake_logits)
        if gan.r1 and self.steps % gan.penalty_every == 0:
            with self._autocast(wide=True):
                penalty = losses.gradient_penalty(
                    lambda images: self._judge(images).mean((1, 2, 3)), real, gan.r1 * self.hold
                )
            loss = loss + gan.penalty_every * penalty
        self._descend(loss, self.discriminator_optimizer)
        return {
            "discriminator": loss.detach(),
            "real_sign": real_logits.detach().sign().mean(),
            "fake_sign": fake_logits.detach().sign().mean(),
        }

    def _translate(self, fake: Tensor, made: Tensor, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """A step of the translator: `made` are the translations, `fake`, and images of the target once more."""
        gan, settings = self.recipe.gan, self.recipe.translation
        self.discriminator.requires_grad_(False)
        with self._autocast():
            adversarial = losses.generator_loss(gan.loss, self._judge(fake))
            places = [self._places(level) for level in features]
            with torch.no_grad():
                keys = self.heads(features, places)
            queries = self.heads(self.generator.encode(made, made.new_ones(len(made), dtype=torch.int64)), places)
        self.discriminator.requires_grad_(True)
        loss, logged = adversarial, {"generator": adversarial.detach()}
        own, again = slice(len(fake)), slice(len(fake), None)
        for name, weight, rows in (("content", settings.content, own), ("identity", settings.identity, again)):
            if weight:
                levels = zip(queries, keys, strict=True)
                error = torch.stack([patch_nce(q[rows], k[rows], settings.temperature) for q, k in levels]).mean()
                loss, logged[f"{name}_error"] = loss + weight * error, error.detach()
        self._descend(loss, self.generator_optimizer, self.heads_optimizer)
        return logged

    def _places(self, level: Tensor) -> Tensor:
        """(patches,) int64: where patches are compared, the same in all images and processes."""
        count = level.shape[2] * level.shape[3]
        chosen = torch.randperm(count, generator=self.random)[: self.recipe.translation.patches]
        return chosen.to(level.device)

    def _judge(self, images: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(augment(images, self.recipe.gan.augment, self.random, self.strength))
        return logits
