"""The training of an enlarger: real images, shrunk and spoilt, are to be made again, and judged patch by patch.

First by their error alone, then against a discriminator too, with the error kept beside it (1609.04802, section 2.2):
of all images that could have been shrunk to one, the error alone asks for their mean, which is blurred.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ganaug.gan import losses
from ganaug.gan.augment import augment, mirror_half
from ganaug.gan.average import update_average
from ganaug.gan.batches import BalancedBatches, Batch
from ganaug.gan.enlarger import Enlarger, EnlargerShape, EnlargingGenerator
from ganaug.gan.optimising import adam, averaged, cooled, set_rate
from ganaug.gan.picture_networks import PatchDiscriminator
from ganaug.gan.players import Players
from ganaug.gan.shrinking import degraded, detail, shrunk

__all__ = ["EnlargingTrainer"]

_DOWNS = 2  # halvings of the discriminator: details are a matter of few pixels
_CLEARLY = 4.0  # times that details are shown to it beside the image, in which they are faint


@dataclass
class EnlargingTrainer(Players):
    """The networks of one fit, their optimisers, and the steps that train them; see `Training`."""

    shape: EnlargerShape

    def __post_init__(self) -> None:
        super().__post_init__()
        shape, gan = self.shape, self.recipe.gan
        self.generator: Enlarger = Enlarger(shape).to(self.device).to(memory_format=torch.channels_last)
        self.discriminator = PatchDiscriminator(2 * shape.image_channels, shape.discriminator_channels, _DOWNS)
        self.discriminator.to(self.device).to(memory_format=torch.channels_last)
        self.average: Enlarger = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = adam(self.generator, gan.generator_lr)
        self.discriminator_optimizer = adam(self.discriminator, gan.discriminator_lr)
        self.random.processes = self.processes

    @property
    def sampler(self) -> EnlargingGenerator:
        """See `Training`; there is one once the images are taken."""
        return self._sampler

    def take(self, images: Tensor, labels: Tensor, random: torch.Generator) -> BalancedBatches:
        """See `Training`."""
        self._sampler = EnlargingGenerator(self.shape, self.average).to(self.device)
        self._sampler.hold(images)
        return BalancedBatches(images, labels, batch=self.recipe.gan.batch, balanced=False, codes=0, random=random)

    def settle(self, random: torch.Generator) -> None:
        """See `Training`: nothing in these networks is measured over images."""

    def step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Training`."""
        real = self.processes.mine(batch.images).to(self.device, torch.float32).div(127.5).sub(1)
        real = mirror_half(real, self.random) if self.recipe.data.horizontal_flip else real
        enlarging = self.recipe.enlarging
        small = shrunk(real)
        with self._autocast():
            made = self.generator(degraded(small, enlarging.blur, enlarging.noise, self.random))
        share = self.recipe.reconstruction.share
        if progress < share:
            logged = self._reconstruct(made, real, small, progress / share)
        else:
            logged = self._play(made, real, small, (progress - share) / (1 - share))
        if self.steps % self.recipe.gan.penalty_every == 0:
            logged["gradient"] = self._gradient_size()
        update_average(self.average, self.generator, min(self.recipe.gan.ema, (1 + self.steps) / (10 + self.steps)))
        self.steps += 1
        return averaged(logged, self.processes)

    def _reconstruct(self, made: Tensor, real: Tensor, small: Tensor, phase: float) -> dict[str, Tensor]:
        set_rate(self.generator_optimizer, self.recipe.gan.reconstruction_lr * self.ease * cooled(phase))
        loss, error = self._error(made, real, small)
        self._descend(loss, self.generator_optimizer)
        return {"reconstruction": error.detach()}

    def _play(self, made: Tensor, real: Tensor, small: Tensor, phase: float) -> dict[str, Tensor]:
        gan, ease = self.recipe.gan, self.ease * cooled(phase)
        set_rate(self.generator_optimizer, gan.generator_lr * ease)
        set_rate(self.discriminator_optimizer, gan.discriminator_lr * ease)
        logged = self._discriminate(real, made.detach())
        self.discriminator.requires_grad_(False)
        with self._autocast():
            fake_logits = self._judge(made)
            real_logits = self._judge(real) if gan.loss == "relativistic" else None
        adversarial = losses.generator_loss(gan.loss, fake_logits, real_logits)
        self.discriminator.requires_grad_(True)
        loss, error = self._error(made, real, small)
        kept = self.hold * self.recipe.reconstruction.weight
        self._descend(adversarial + kept * loss, self.generator_optimizer)
        return {**logged, "generator": adversarial.detach(), "reconstruction": error.detach()}

    def _discriminate(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        gan = self.recipe.gan
        with self._autocast():
            real_logits, fake_logits = self._judge(torch.cat([real, fake])).chunk(2)
        loss = losses.discriminator_loss(gan.loss, real_logits, fake_logits)
        if gan.r1 and self.steps % gan.penalty_every == 0:
            with self._autocast(wide=True):
                penalty = losses.gradient_penalty(self._judge_whole, real, gan.r1 * self.hold)
            loss = loss + gan.penalty_every * penalty
        self._descend(loss, self.discriminator_optimizer)
        return {
            "discriminator": loss.detach(),
            "real_sign": real_logits.detach().sign().mean(),
            "fake_sign": fake_logits.detach().sign().mean(),
        }

    def _error(self, made: Tensor, real: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
        """The error of a value, of the images and of what they shrink to, and that of the images alone, as logged."""
        error = losses.reconstruction(made, real)
        shrunken = losses.reconstruction(shrunk(made), small)
        loss = error / real[0].numel() + self.recipe.enlarging.consistency * shrunken / small[0].numel()
        return loss, error

    def _judge(self, images: Tensor) -> Tensor:
        """(N, 1, h, w) logits of images as the discriminator sees them: with their details once more, by themselves."""
        shown = augment(images, self.recipe.gan.augment, self.random, self.strength)
        logits: Tensor = self.discriminator(torch.cat([shown, _CLEARLY * detail(shown)], dim=1))
        return logits

    def _judge_whole(self, images: Tensor) -> Tensor:
        """(N,) logits: the patches of an image together."""
        return self._judge(images).mean((1, 2, 3))
