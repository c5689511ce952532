"""One step of training: reconstruction alone, or the adversarial game with reconstruction kept beside it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganaug.gan import losses
from ganaug.gan.augment import augment, mirror_half
from ganaug.gan.average import update_average
from ganaug.gan.networks import Discriminators, Encoder, Generator, NetworkShape
from ganaug.recipe import Recipe

__all__ = ["Batch", "Trainer"]


@dataclass(frozen=True)
class Batch:
    """Real images NCHW uint8 with their labels (N,) int64."""

    images: Tensor
    labels: Tensor


@dataclass
class Trainer:
    """The networks of one fit, their optimisers, and the steps that train them.

    The algorithm alone: it knows no file, no dataset and no budget but `progress`, the share of the budget spent.
    """

    recipe: Recipe
    shape: NetworkShape
    device: torch.device
    half: bool = False
    random: torch.Generator = field(default_factory=torch.Generator)
    steps: int = 0

    def __post_init__(self) -> None:
        recipe, device = self.recipe, self.device
        self.generator = Generator(self.shape).to(device, memory_format=torch.channels_last)
        self.discriminator = Discriminators(self.shape, recipe.networks.discriminators).to(
            device, memory_format=torch.channels_last
        )
        self.encoder = Encoder(self.shape).to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = _adam(self.generator, recipe.gan.generator_lr)
        self.discriminator_optimizer = _adam(self.discriminator, recipe.gan.discriminator_lr)
        self.encoder_optimizer = _adam(self.encoder, recipe.gan.reconstruction_lr)
        self.logit_averages = torch.zeros(2, device=device)  # of real and of synthetic, for LeCam

    def step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Train on one batch; returns detached scalars to log. `progress` in [0, 1) is the share of the budget spent."""
        real = batch.images.to(self.device, torch.float32).div(127.5).sub(1)
        if self.recipe.data.horizontal_flip:
            real = mirror_half(real, self.random)
        labels = batch.labels.to(self.device)
        if progress < self.recipe.reconstruction.share:
            logged = self._reconstruct(real, labels, progress / self.recipe.reconstruction.share)
        else:
            logged = self._play(real, labels, progress)
        # Short fits need a young average: the decay grows with the steps taken, up to the recipe's.
        update_average(self.average, self.generator, min(self.recipe.gan.ema, (1 + self.steps) / (10 + self.steps)))
        self.steps += 1
        return logged

    def _reconstruct(self, real: Tensor, labels: Tensor, phase: float) -> dict[str, Tensor]:
        rate = self.recipe.gan.reconstruction_lr * (0.1 + 0.9 * math.cos(math.pi / 2 * phase))
        _set_rate(self.generator_optimizer, rate)
        _set_rate(self.encoder_optimizer, rate)
        with self._autocast():
            error, kl = self._autoencode(real, labels)
        loss = error + self.recipe.reconstruction.kl * kl
        _descend(loss, self.generator_optimizer, self.encoder_optimizer)
        return {"reconstruction": error.detach(), "kl": kl.detach()}

    def _autoencode(self, real: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(real, labels)
        noise = mean + (0.5 * log_variance).exp() * self._noise(len(real))
        rebuilt = self.generator(noise, labels)
        return losses.reconstruction(rebuilt, real), losses.kl_divergence(mean, log_variance)

    def _play(self, real: Tensor, labels: Tensor, progress: float) -> dict[str, Tensor]:
        gan = self.recipe.gan
        _set_rate(self.generator_optimizer, gan.generator_lr)
        _set_rate(self.discriminator_optimizer, gan.discriminator_lr)
        _set_rate(self.encoder_optimizer, gan.generator_lr)
        strength = _ramp(progress, *gan.class_ramp)
        # Rows i and i + N/2 share a class, as the mode-seeking term wants.
        pair_labels = labels[: len(labels) // 2].repeat(2)
        noise = self._noise(len(pair_labels))
        with self._autocast():
            fake = self.generator(noise, pair_labels, strength)
        logged = self._discriminate(real, labels, fake.detach(), pair_labels, strength)
        return logged | self._generate(real, labels, fake, pair_labels, noise, strength)

    def _discriminate(
        self, real: Tensor, labels: Tensor, fake: Tensor, fake_labels: Tensor, strength: float
    ) -> dict[str, Tensor]:
        gan = self.recipe.gan
        real, labels = real[: len(fake)], labels[: len(fake)]
        with self._autocast():
            both = self._judge(torch.cat([real, fake]), torch.cat([labels, fake_labels]), strength)
        real_logits, fake_logits = _halves(both, self.recipe.networks.discriminators)
        loss = losses.discriminator_loss(gan.loss, real_logits, fake_logits)
        if gan.lecam:
            means = torch.stack([real_logits.mean(), fake_logits.mean()]).detach()
            self.logit_averages.lerp_(means, 0.01 if self.logit_averages.any() else 1.0)
            loss = loss + gan.lecam * losses.lecam(real_logits, fake_logits, *self.logit_averages)
        if self.steps % gan.penalty_every == 0:
            loss = loss + self._penalties(real, labels, fake, fake_labels, strength)
        _descend(loss, self.discriminator_optimizer)
        return {
            "discriminator": loss.detach(),
            "real_sign": real_logits.detach().sign().mean(),
            "fake_sign": fake_logits.detach().sign().mean(),
        }

    def _penalties(self, real: Tensor, labels: Tensor, fake: Tensor, fake_labels: Tensor, strength: float) -> Tensor:
        gan = self.recipe.gan
        total = torch.zeros((), device=self.device)
        for gamma, images, image_labels in ((gan.r1, real, labels), (gan.r2, fake, fake_labels)):
            if gamma:
                judge = _bind(self._judge, image_labels, strength)
                total = total + gan.penalty_every * losses.gradient_penalty(judge, images, gamma)
        return total

    def _generate(
        self, real: Tensor, labels: Tensor, fake: Tensor, fake_labels: Tensor, noise: Tensor, strength: float
    ) -> dict[str, Tensor]:
        gan, kept = self.recipe.gan, self.recipe.reconstruction
        self.discriminator.requires_grad_(False)
        with self._autocast():
            fake_logits = self._judge(fake, fake_labels, strength)
            real_logits = None
            if gan.loss == "relativistic":
                real_logits = self._judge(real[: len(fake)], labels[: len(fake)], strength)
        adversarial = losses.generator_loss(gan.loss, fake_logits, real_logits)
        loss = adversarial
        if gan.mode_seeking:
            loss = loss + gan.mode_seeking * losses.mode_seeking(fake, noise)
        logged = {"generator": adversarial.detach()}
        optimizers = [self.generator_optimizer]
        if kept.share and kept.weight:
            with self._autocast():
                error, kl = self._autoencode(real, labels)
            loss = loss + kept.weight * (error + kept.kl * kl) / real[0].numel()
            optimizers.append(self.encoder_optimizer)
            logged |= {"reconstruction": error.detach(), "kl": kl.detach()}
        _descend(loss, *optimizers)
        self.discriminator.requires_grad_(True)
        return logged

    def _judge(self, images: Tensor, labels: Tensor, strength: float) -> Tensor:
        logits: Tensor = self.discriminator(augment(images, self.recipe.gan.augment, self.random), labels, strength)
        return logits

    def _noise(self, count: int) -> Tensor:
        return torch.randn(count, self.shape.latent_dim, generator=self.random).to(self.device)

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)


def _adam(network: nn.Module, rate: float) -> Adam:
    return Adam(network.parameters(), lr=rate, betas=(0.0, 0.99), fused=True)


def _set_rate(optimizer: Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _descend(loss: Tensor, *optimizers: Adam) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()


def _ramp(progress: float, start: float, end: float) -> float:
    """0 before `start`, 1 from `end` on, linear between."""
    if progress >= end:
        return 1.0
    return max(0.0, (progress - start) / (end - start))


def _bind(judge: Callable[[Tensor, Tensor, float], Tensor], labels: Tensor, strength: float) -> Callable[[Tensor], Tensor]:
    return lambda images: judge(images, labels, strength)


def _halves(logits: Tensor, members: int) -> tuple[Tensor, Tensor]:
    """Logits of real and of synthetic images, from those of all members over a batch that holds both in that order."""
    real, fake = logits.view(members, 2, -1).unbind(1)
    return real.flatten(), fake.flatten()
