"""One step of training: reconstruction alone, or the adversarial game with reconstruction kept beside it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam

from ganaug.gan import losses
from ganaug.gan.augment import augment, mirror_half
from ganaug.gan.average import copy_codes, recompute_norms, update_average
from ganaug.gan.batches import BalancedBatches, Batch
from ganaug.gan.mixed import MixedBatches, Others
from ganaug.gan.networks import Discriminators, Encoder, Generator, NetworkShape
from ganaug.gan.processes import Processes, join_norms
from ganaug.gan.seeding import SharedGenerator, drawn
from ganaug.gan.start import Start
from ganaug.gan.training import Batches
from ganaug.recipe import Recipe

__all__ = ["Trainer"]


@dataclass(frozen=True)
class _Fakes:
    """Synthetic images of one step: the first `rebuilt` from encoded real images, the others from `noise`, in pairs."""

    images: Tensor
    labels: Tensor
    strength: float
    rebuilt: int
    noise: Tensor
    kl: Tensor | None = None


@dataclass
class Trainer:
    """The networks of one fit, their optimisers, and the steps that train them.

    The algorithm alone: it knows no file, no dataset and no budget but `progress`, the share of the budget spent.
    """

    recipe: Recipe
    shape: NetworkShape
    device: torch.device
    half: bool = False
    random: SharedGenerator = field(default_factory=SharedGenerator)
    steps: int = 0
    processes: Processes = field(default_factory=Processes)
    others: Others | None = None
    """Images without labels; the last class is then for those that belong to none."""
    start: Start | None = None
    """What the networks start from; None for nothing."""
    ease: float = 1.0
    """Factor of all learning rates."""
    hold: float = 1.0
    """Factor of what holds the game back: the gradient penalties, and the reconstruction that is kept."""
    strength: float = 1.0
    """Of augmentation, as in `augment`."""

    def __post_init__(self) -> None:
        recipe, device = self.recipe, self.device
        self.generator = Generator(self.shape).to(device).to(memory_format=torch.channels_last)
        self.discriminator = Discriminators(self.shape, recipe.networks.discriminators)
        self.discriminator.to(device).to(memory_format=torch.channels_last)
        self.encoder = Encoder(self.shape).to(device).to(memory_format=torch.channels_last)
        if self.start is not None:
            self.start.give(self.generator, self.discriminator, self.encoder)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = _adam(self.generator, recipe.gan.generator_lr)
        self.discriminator_optimizer = _adam(self.discriminator, recipe.gan.discriminator_lr)
        self.encoder_optimizer = _adam(self.encoder, recipe.gan.reconstruction_lr)
        self.logit_averages = torch.zeros(2, device=device)  # of real and of synthetic, for LeCam
        self.random.processes = self.processes
        if self.processes.size > 1:
            for network in (self.generator, self.encoder):
                join_norms(network, self.processes)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """See `Training`."""
        return {
            "generator": self.generator, "discriminator": self.discriminator, "encoder": self.encoder,
            "average": self.average,
        }  # fmt: skip

    @property
    def optimizers(self) -> dict[str, Adam]:
        """See `Training`."""
        return {
            "generator_optimizer": self.generator_optimizer, "discriminator_optimizer": self.discriminator_optimizer,
            "encoder_optimizer": self.encoder_optimizer,
        }  # fmt: skip

    @property
    def running(self) -> dict[str, Tensor]:
        """See `Training`."""
        return {"logit_averages": self.logit_averages}

    @property
    def sampler(self) -> Generator:
        """See `Training`."""
        return self.average

    def take(self, images: Tensor, labels: Tensor, random: torch.Generator) -> Batches:
        """See `Training`."""
        gan, codes, batch = self.recipe.gan, self.shape.codes, self.recipe.gan.batch
        self._labels = labels
        if self.others is not None:
            batch -= max(1, min(batch - 2, round(batch * self.recipe.unlabelled.share)))
        labelled = BalancedBatches(images, labels, batch=batch, balanced=gan.class_balanced, codes=codes, random=random)
        batches: BalancedBatches | MixedBatches = labelled
        if self.others is not None:
            batches = MixedBatches(labelled, self.others, classes=self.shape.classes, batch=gan.batch, codes=codes)
        if codes:
            self.generator.code_counts.copy_(batches.counts.clamp_max(codes))
        return batches

    def settle(self, random: torch.Generator) -> None:
        """See `Training`."""
        labels = self._labels[torch.randint(len(self._labels), (512,), generator=random)]
        if self.recipe.gan.class_balanced:
            labels = torch.arange(512) % (self.shape.classes - (self.others is not None))
        noise = torch.randn(512, self.shape.latent_dim, generator=random)
        copy_codes(self.average, self.generator)
        recompute_norms(self.average, noise.to(self.device), labels.to(self.device))

    def step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Training`."""
        batch = Batch(*map(self.processes.mine, (batch.images, batch.labels, batch.slots)))
        real = batch.images.to(self.device, torch.float32).div(127.5).sub(1)
        if self.recipe.data.horizontal_flip:
            real = mirror_half(real, self.random)
        labels, slots = batch.labels.to(self.device), batch.slots.to(self.device)
        if progress < self.recipe.reconstruction.share:
            logged = self._reconstruct(real, labels, slots, progress / self.recipe.reconstruction.share)
        else:
            logged = self._play(real, labels, slots, progress)
        if self.steps % self.recipe.gan.penalty_every == 0:
            logged["gradient"] = _gradient_size(self.generator)
        # Short fits need a young average: the decay grows with the steps taken, up to the recipe's.
        update_average(self.average, self.generator, min(self.recipe.gan.ema, (1 + self.steps) / (10 + self.steps)))
        self.steps += 1
        if self.processes.size > 1:
            means = self.processes.mean(torch.stack([value.float() for value in logged.values()]))
            logged = dict(zip(logged, means, strict=True))
        return logged

    def _reconstruct(self, real: Tensor, labels: Tensor, slots: Tensor, phase: float) -> dict[str, Tensor]:
        rate = self.recipe.gan.reconstruction_lr * self.ease * _cooled(phase)
        _set_rate(self.generator_optimizer, rate)
        _set_rate(self.encoder_optimizer, rate)
        with self._autocast():
            mean, log_variance = self.encoder(real, labels)
            rebuilt = self.generator.decode(self._drawn(mean, log_variance), labels)
        self._remember(labels, slots, mean, log_variance)
        error, kl = losses.reconstruction(rebuilt, real), losses.kl_divergence(mean, log_variance)
        loss = error + self.recipe.reconstruction.kl * kl
        self._descend(loss, self.generator_optimizer, self.encoder_optimizer)
        return {"reconstruction": error.detach(), "kl": kl.detach()}

    def _play(self, real: Tensor, labels: Tensor, slots: Tensor, progress: float) -> dict[str, Tensor]:
        gan = self.recipe.gan
        share = self.recipe.reconstruction.share
        cooled = self.ease * _cooled((progress - share) / (1 - share))
        _set_rate(self.generator_optimizer, gan.generator_lr * cooled)
        _set_rate(self.discriminator_optimizer, gan.discriminator_lr * cooled)
        _set_rate(self.encoder_optimizer, gan.generator_lr * cooled)
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
        pair_labels = labels[rebuilt : rebuilt + pairs].repeat(2)  # rows i and i + pairs share a class
        noise = self._noise(len(pair_labels))
        with self._autocast():
            if not rebuilt:
                return _Fakes(self.generator(noise, pair_labels, strength), pair_labels, strength, 0, noise)
            mean, log_variance = self.encoder(real[:rebuilt], labels[:rebuilt])
            self._remember(labels[:rebuilt], slots[:rebuilt], mean, log_variance)
            codes = torch.cat([self._drawn(mean, log_variance), self.generator.place(noise, pair_labels)])
            all_labels = torch.cat([labels[:rebuilt], pair_labels])
            images = self.generator.decode(codes, all_labels, strength)
        return _Fakes(images, all_labels, strength, rebuilt, noise, losses.kl_divergence(mean, log_variance))

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
                    with self._autocast():
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
        error = losses.reconstruction(fakes.images[: fakes.rebuilt], real[: fakes.rebuilt])
        kept = self.recipe.reconstruction
        # A value a pixel, as an adversarial loss is: the two then weigh alike at every size of image.
        loss = loss + self.hold * kept.weight * (error + kept.kl * fakes.kl) / real[0].numel()
        self._descend(loss, self.generator_optimizer, self.encoder_optimizer)
        return logged | {"reconstruction": error.detach(), "kl": fakes.kl.detach()}

    def _keeps_reconstruction(self) -> bool:
        return self.recipe.reconstruction.share > 0 and self.recipe.reconstruction.weight > 0

    def _judge(self, images: Tensor, labels: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        shown = augment(images, self.recipe.gan.augment, self.random, self.strength)
        judged: tuple[Tensor, Tensor] = self.discriminator(shown, labels, strength)
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

    def _remember(self, labels: Tensor, slots: Tensor, mean: Tensor, log_variance: Tensor) -> None:
        """Keep the codes of all processes' real images."""
        self.generator.remember(*map(self.processes.rows, (labels, slots, mean, log_variance)))

    def _descend(self, loss: Tensor, *optimizers: Adam) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.average_gradients(p for optimizer in optimizers for p in optimizer.param_groups[0]["params"])
        for optimizer in optimizers:
            optimizer.step()

    def _drawn(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return mean + (0.5 * log_variance).exp() * self._noise(len(mean))

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)


def _adam(network: nn.Module, rate: float) -> Adam:
    return Adam(network.parameters(), lr=rate, betas=(0.0, 0.99), fused=True)


def _set_rate(optimizer: Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _gradient_size(network: nn.Module) -> Tensor:
    """Euclidean norm of all gradients, ()."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    size: Tensor = torch.stack(torch._foreach_norm(gradients)).norm()
    return size


def _cooled(phase: float) -> float:
    """Factor of the learning rates at `phase` in [0, 1] of a part of the fit: a quarter cosine from 1 to a tenth."""
    return 0.1 + 0.9 * math.cos(math.pi / 2 * phase)


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
