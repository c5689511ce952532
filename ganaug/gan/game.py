"""One step of training: reconstruction alone, or the adversarial game with reconstruction kept beside it.

`Game` is what all generators share; what they are told, and what is judged, is said by those who inherit from it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.gan import losses
from ganaug.gan.augment import augment, mirror_half
from ganaug.gan.average import update_average
from ganaug.gan.batches import Batch
from ganaug.gan.mixed import Others
from ganaug.gan.networks import Discriminators, Encoder, NetworkShape
from ganaug.gan.optimising import adam, averaged, cooled, set_rate
from ganaug.gan.players import Players
from ganaug.gan.processes import join_norms
from ganaug.gan.seeding import drawn
from ganaug.gan.start import Start

__all__ = ["Game"]


@dataclass(frozen=True)
class _Fakes:
    """Synthetic images of one step: the first `rebuilt` from encoded real images, the others from `noise`, in pairs."""

    images: Tensor
    labels: Tensor
    strength: float
    rebuilt: int
    noise: Tensor
    kl: Tensor | None = None


Made = TypeVar("Made", bound=nn.Module)


@dataclass
class Game(Players, ABC, Generic[Made]):
    """The networks of one fit, their optimisers, and the steps that train them; see `Training`.

    The algorithm alone: it knows no file, no dataset and no budget but `progress`, the share of the budget spent.
    """

    shape: NetworkShape
    others: Others | None = None
    """Images without labels; the last class is then for those that belong to none."""
    start: Start | None = None
    """What the networks start from; None for nothing."""

    played = ("generator", "discriminator", "encoder")

    def __post_init__(self) -> None:
        super().__post_init__()
        recipe, device = self.recipe, self.device
        judged = self._judged()
        self.generator: Made = self._built().to(device).to(memory_format=torch.channels_last)
        self.discriminator: Discriminators = Discriminators(judged, recipe.networks.discriminators)
        self.discriminator.to(device).to(memory_format=torch.channels_last)
        self.encoder: Encoder = Encoder(judged).to(device).to(memory_format=torch.channels_last)
        if self.start is not None:
            self.start.give(self.generator, self.discriminator, self.encoder)
        self.average: Made = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = adam(self.generator, recipe.gan.generator_lr)
        self.discriminator_optimizer = adam(self.discriminator, recipe.gan.discriminator_lr)
        self.encoder_optimizer = adam(self.encoder, recipe.gan.reconstruction_lr)
        self.logit_averages = torch.zeros(2, device=device)  # of real and of synthetic, for LeCam
        self.random.processes = self.processes
        if self.processes.size > 1:
            for network in (self.generator, self.encoder):
                join_norms(network, self.processes)

    @property
    def running(self) -> dict[str, Tensor]:
        """See `Training`."""
        return {"logit_averages": self.logit_averages}

    @abstractmethod
    def _built(self) -> Made:
        """The untrained generator."""

    @abstractmethod
    def _judged(self) -> NetworkShape:
        """The shape of the networks that look at real samples: discriminator and encoder."""

    @abstractmethod
    def _placed(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Codes (N, latent_dim) for standard normal `noise` of that shape."""

    @abstractmethod
    def _decoded(self, codes: Tensor, real: Tensor, labels: Tensor, strength: float) -> Tensor:
        """Synthetic samples in the form of the real ones, of `codes` and of what `real` ones beside them tell."""

    def _shown(self, real: Tensor) -> Tensor:
        """Real samples as they are trained on."""
        return mirror_half(real, self.random) if self.recipe.data.horizontal_flip else real

    def _remember(self, labels: Tensor, slots: Tensor, mean: Tensor, log_variance: Tensor) -> None:
        """What a generator keeps of the codes of real samples."""

    def _error(self, made: Tensor, real: Tensor) -> Tensor:
        """How far samples are from the real ones that they rebuild."""
        return losses.reconstruction(made, real)

    def _augmented(self, samples: Tensor) -> Tensor:
        """What the discriminator sees of real or synthetic samples."""
        return augment(samples, self.recipe.gan.augment, self.random, self.strength)

    def step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Training`."""
        batch = Batch(*map(self.processes.mine, (batch.images, batch.labels, batch.slots)))
        real = self._shown(batch.images.to(self.device, torch.float32).div(127.5).sub(1))
        labels, slots = batch.labels.to(self.device), batch.slots.to(self.device)
        if progress < self.recipe.reconstruction.share:
            logged = self._reconstruct(real, labels, slots, progress / self.recipe.reconstruction.share)
        else:
            logged = self._play(real, labels, slots, progress)
        if self.steps % self.recipe.gan.penalty_every == 0:
            logged["gradient"] = self._gradient_size()
        # Short fits need a young average: the decay grows with the steps taken, up to the recipe's.
        update_average(self.average, self.generator, min(self.recipe.gan.ema, (1 + self.steps) / (10 + self.steps)))
        self.steps += 1
        return averaged(logged, self.processes)

    def _reconstruct(self, real: Tensor, labels: Tensor, slots: Tensor, phase: float) -> dict[str, Tensor]:
        rate = self.recipe.gan.reconstruction_lr * self.ease * cooled(phase)
        set_rate(self.generator_optimizer, rate)
        set_rate(self.encoder_optimizer, rate)
        with self._autocast():
            mean, log_variance = self.encoder(real, labels)
            rebuilt = self._decoded(self._drawn(mean, log_variance), real, labels, 1.0)
        self._remember(labels, slots, mean, log_variance)
        error, kl = self._error(rebuilt, real), losses.kl_divergence(mean, log_variance)
        loss = error + self.recipe.reconstruction.kl * kl
        self._descend(loss, self.generator_optimizer, self.encoder_optimizer)
        return {"reconstruction": error.detach(), "kl": kl.detach()}

    def _play(self, real: Tensor, labels: Tensor, slots: Tensor, progress: float) -> dict[str, Tensor]:
        gan = self.recipe.gan
        share = self.recipe.reconstruction.share
        ease = self.ease * cooled((progress - share) / (1 - share))
        set_rate(self.generator_optimizer, gan.generator_lr * ease)
        set_rate(self.discriminator_optimizer, gan.discriminator_lr * ease)
        set_rate(self.encoder_optimizer, gan.generator_lr * ease)
        fakes = self._fakes(real, labels, slots, _ramp(progress, *gan.class_ramp))
        logged = self._discriminate(real, labels, fakes)
        return logged | self._generate(real, labels, fakes)

    def _fakes(self, real: Tensor, labels: Tensor, slots: Tensor, strength: float) -> _Fakes:
        """As many synthetic images as real ones: from noise, and where reconstruction is kept half of them rebuilt.

        Judging what is rebuilt too teaches the generator details where it knows the answer (1512.09300, section 2.3),
        and costs no image more.
        """
        rebuilt = len(real) // 2 if self._keeps_reconstruction() else 0
        pairs = (len(real) - rebuilt) // 2
        rows = torch.arange(rebuilt, rebuilt + pairs, device=real.device).repeat(2)  # i and i + pairs are told the same
        noise = self._noise(len(rows))
        rows = torch.cat([torch.arange(rebuilt, device=real.device), rows])
        told, codes, kl = labels[rows], [], None
        with self._autocast():
            if rebuilt:
                mean, log_variance = self.encoder(real[:rebuilt], labels[:rebuilt])
                self._remember(labels[:rebuilt], slots[:rebuilt], mean, log_variance)
                kl = losses.kl_divergence(mean, log_variance)
                codes = [self._drawn(mean, log_variance)]
            codes = [*codes, self._placed(noise, told[rebuilt:])]
            images = self._decoded(torch.cat(codes), real[rows], told, strength)
        return _Fakes(images, told, strength, rebuilt, noise, kl)

    def _discriminate(self, real: Tensor, labels: Tensor, fakes: _Fakes) -> dict[str, Tensor]:
        gan, count = self.recipe.gan, len(fakes.images)
        real, labels, fake = real[:count], labels[:count], fakes.images.detach()
        with self._autocast():
            both, classes = self._judge(torch.cat([real, fake]), torch.cat([labels, fakes.labels]), fakes.strength)
        members = self.recipe.networks.discriminators
        real_logits, fake_logits = _halves(both, members)
        loss = losses.discriminator_loss(gan.loss, real_logits, fake_logits)
        if gan.class_loss:  # learned from real images alone: synthetic ones would teach it their own mistakes
            loss = loss + gan.class_loss * self._class_error(_halves(classes, members)[0], labels.repeat(members))
        if gan.lecam:
            means = self.processes.mean(torch.stack([real_logits.mean(), fake_logits.mean()]).detach())
            self.logit_averages.lerp_(means, 0.01 if self.logit_averages.any() else 1.0)
            loss = loss + gan.lecam * losses.lecam(real_logits, fake_logits, *self.logit_averages)
        if self.steps % gan.penalty_every == 0:
            for gamma, images, image_labels in ((gan.r1, real, labels), (gan.r2, fake, fakes.labels)):
                if gamma:
                    judge = _bind(self._judge, image_labels, fakes.strength)
                    with self._autocast(wide=True):
                        penalty = losses.gradient_penalty(judge, images, gamma * self.hold)
                    loss = loss + gan.penalty_every * penalty
        self._descend(loss, self.discriminator_optimizer)
        return {
            "discriminator": loss.detach(),
            "real_sign": real_logits.detach().sign().mean(),
            "fake_sign": fake_logits.detach().sign().mean(),
        }

    def _generate(self, real: Tensor, labels: Tensor, fakes: _Fakes) -> dict[str, Tensor]:
        gan, count = self.recipe.gan, len(fakes.images)
        self.discriminator.requires_grad_(False)
        with self._autocast():
            fake_logits, classes = self._judge(fakes.images, fakes.labels, fakes.strength)
            real_logits = None
            if gan.loss == "relativistic":
                real_logits, _ = self._judge(real[:count], labels[:count], fakes.strength)
        loss = adversarial = losses.generator_loss(gan.loss, fake_logits, real_logits)
        if gan.class_loss:
            members = self.recipe.networks.discriminators
            class_error = self._class_error(classes, fakes.labels.repeat(members))
            loss = loss + fakes.strength * gan.class_loss * class_error
        self.discriminator.requires_grad_(True)
        logged = {"generator": adversarial.detach()}
        if gan.mode_seeking:
            loss = loss + gan.mode_seeking * losses.mode_seeking(
                fakes.images[fakes.rebuilt :], fakes.noise, self.processes.mean
            )
        if fakes.kl is None:
            self._descend(loss, self.generator_optimizer)
            return logged
        error = self._error(fakes.images[: fakes.rebuilt], real[: fakes.rebuilt])
        kept = self.recipe.reconstruction
        # A value a pixel, as an adversarial loss is: the two then weigh alike at every size of image.
        loss = loss + self.hold * kept.weight * (error + kept.kl * fakes.kl) / real[0].numel()
        self._descend(loss, self.generator_optimizer, self.encoder_optimizer)
        return logged | {"reconstruction": error.detach(), "kl": fakes.kl.detach()}

    def _keeps_reconstruction(self) -> bool:
        return self.recipe.reconstruction.share > 0 and self.recipe.reconstruction.weight > 0

    def _judge(self, images: Tensor, labels: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        judged: tuple[Tensor, Tensor] = self.discriminator(self._augmented(images), labels, strength)
        return judged

    def _class_error(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy, of images that belong to a class: what belongs to none may show any of them."""
        if self.others is None:
            return functional.cross_entropy(logits, labels)
        none = self.shape.classes - 1
        error = functional.cross_entropy(logits, labels, ignore_index=none, reduction="sum")
        return error / self.processes.mean((labels != none).sum().float()).clamp_min(1)

    def _noise(self, count: int) -> Tensor:
        latent = self.shape.latent_dim
        return drawn(lambda rows: torch.randn(rows, latent, generator=self.random), count, self.random).to(self.device)

    def _drawn(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return mean + (0.5 * log_variance).exp() * self._noise(len(mean))


def _ramp(progress: float, start: float, end: float) -> float:
    """0 before `start`, 1 from `end` on, linear between."""
    if progress >= end:
        return 1.0
    return max(0.0, (progress - start) / (end - start))


def _bind(
    judge: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]], labels: Tensor, strength: float
) -> Callable[[Tensor], Tensor]:
    return lambda images: judge(images, labels, strength)[0]


def _halves(logits: Tensor, members: int) -> tuple[Tensor, Tensor]:
    """Logits of real and of synthetic images, from those of all members over a batch that holds both in that order."""
    real, fake = logits.view(members, 2, -1, *logits.shape[1:]).unbind(1)
    return real.flatten(0, 1), fake.flatten(0, 1)
