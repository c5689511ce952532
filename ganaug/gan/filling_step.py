"""One step of training a network that fills holes: the game is played inside them."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.gan import losses
from ganaug.gan.average import update_average
from ganaug.gan.filling import FillingGenerator, FillingNetwork, FillingShape, guessed
from ganaug.gan.hole_batches import Grounds, HoleBatch, HoleBatches
from ganaug.gan.optimising import adam, averaged, cooled, set_rate
from ganaug.gan.picture_networks import PatchDiscriminator
from ganaug.gan.players import Players
from ganaug.gan.seeding import drawn

__all__ = ["FillingTrainer"]

_DOWNS = 3  # halvings of the discriminator: a logit then sees 38 px


@dataclass
class FillingTrainer(Players):
    """The networks of one fit, their optimisers, and the step that trains them; see `Training`.

    The discriminator is shown images and where their holes are, and its logits count by how much of the hole lies in
    their patch (after SN-PatchGAN, 1806.03589, section 3.3). Around holes real and filled images are the same.
    """

    shape: FillingShape

    def __post_init__(self) -> None:
        super().__post_init__()
        channels, device = self.shape.image_channels + 1, self.device
        self.generator: FillingNetwork = FillingNetwork(self.shape).to(device).to(memory_format=torch.channels_last)
        self.discriminator: PatchDiscriminator = PatchDiscriminator(channels, self.shape.discriminator_channels, _DOWNS)
        for layer in self.discriminator.modules():
            if isinstance(layer, nn.Conv2d):  # what tells a smooth guess from ground is faint
                nn.init.kaiming_normal_(layer.weight, 0.2)
        self.discriminator.to(device).to(memory_format=torch.channels_last)
        self.average: FillingNetwork = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = adam(self.generator, self.recipe.gan.generator_lr)
        self.discriminator_optimizer = adam(self.discriminator, self.recipe.gan.discriminator_lr)
        self.random.processes = self.processes

    @property
    def sampler(self) -> FillingGenerator:
        """See `Training`; there is one once the images are taken."""
        return self._sampler

    def take(self, images: Tensor, labels: Grounds, random: torch.Generator) -> HoleBatches:
        """See `Training`."""
        filling = self.recipe.filling
        batches = HoleBatches(images, labels, shares=filling.holes, batch=self.recipe.gan.batch, random=random)
        kept = batches.at(torch.arange(self.shape.held) * len(images) // self.shape.held)
        self._sampler = FillingGenerator(self.shape, self.average).to(self.device)
        self._sampler.hold(kept.images, kept.holes)
        return batches

    def settle(self, random: torch.Generator) -> None:
        """See `Training`: nothing is to be done."""

    def step(self, batch: HoleBatch, progress: float) -> dict[str, Tensor]:
        """See `Training`: at first reconstruction alone, then the game with it."""
        gan, share = self.recipe.gan, self.recipe.reconstruction.share
        real = self.processes.mine(batch.images).to(self.device, torch.float32).div(127.5).sub(1)
        holes, hidden = (self.processes.mine(part)[:, None].to(self.device) for part in (batch.holes, batch.hidden))
        if self.recipe.data.horizontal_flip:
            real, holes, hidden = self._mirrored(real, holes, hidden)
        wanted = holes.float()
        ease = self.ease * cooled(progress)
        set_rate(self.generator_optimizer, gan.generator_lr * ease)
        set_rate(self.discriminator_optimizer, gan.discriminator_lr * ease)
        filled = self._filled(real, wanted, (holes | hidden).float())
        error = losses.mean_of((filled - real).abs().mean(1, keepdim=True), wanted)
        if progress < share:
            self._descend(error, self.generator_optimizer)
            logged = {"reconstruction": error.detach()}
        else:
            logged = self._play(real, filled, wanted, error)
        if self.steps % gan.penalty_every == 0:
            logged["gradient"] = self._gradient_size()
        update_average(self.average, self.generator, min(gan.ema, (1 + self.steps) / (10 + self.steps)))
        self.steps += 1
        return averaged(logged, self.processes)

    def _mirrored(self, real: Tensor, holes: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        turned = drawn(lambda rows: torch.rand(rows, generator=self.random), len(real), self.random) < 0.5
        chosen = turned.to(self.device)[:, None, None, None]
        flipped = [torch.where(chosen, part.flip(3), part) for part in (real, holes, hidden)]
        return flipped[0], flipped[1], flipped[2]

    def _filled(self, real: Tensor, wanted: Tensor, unseen: Tensor) -> Tensor:
        """Real images, but for their holes; `unseen` are these and hidden objects, of which nothing is learned."""
        side = self.shape.resolution
        noise = drawn(lambda rows: torch.randn(rows, 1, side, side, generator=self.random), len(real), self.random)
        guess = guessed(real, unseen)
        with self._autocast():
            added = self.generator(guess, unseen, noise.to(self.device))
        return torch.lerp(real, guess + added, wanted)

    def _play(self, real: Tensor, filled: Tensor, wanted: Tensor, error: Tensor) -> dict[str, Tensor]:
        gan = self.recipe.gan
        weights = functional.avg_pool2d(wanted, 2**_DOWNS)
        with self._autocast():
            real_logits, fake_logits = self._judged(
                torch.cat([real, filled.detach()]), wanted.repeat(2, 1, 1, 1)
            ).chunk(2)
        loss = losses.discriminator_loss(gan.loss, real_logits, fake_logits, weights)
        if gan.r1 and self.steps % gan.penalty_every == 0:
            shares = weights / weights.sum((2, 3), keepdim=True).clamp_min(1e-6)
            with self._autocast(wide=True):
                penalty = losses.gradient_penalty(
                    lambda images: self._judged(images, wanted) * shares, real, gan.r1 * self.hold
                )
            loss = loss + gan.penalty_every * penalty
        self._descend(loss, self.discriminator_optimizer)
        self.discriminator.requires_grad_(False)
        with self._autocast():
            now = self._judged(filled, wanted)
            beside = self._judged(real, wanted) if gan.loss == "relativistic" else None
        self.discriminator.requires_grad_(True)
        adversarial = losses.generator_loss(gan.loss, now, beside, weights)
        whole = adversarial + self.hold * self.recipe.filling.reconstruction * error
        self._descend(whole, self.generator_optimizer)
        return {
            "discriminator": loss.detach(),
            "generator": adversarial.detach(),
            "reconstruction": error.detach(),
            "real_sign": losses.mean_of(real_logits.detach().sign(), weights),
            "fake_sign": losses.mean_of(fake_logits.detach().sign(), weights),
        }

    def _judged(self, images: Tensor, wanted: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(torch.cat([images, wanted], dim=1))
        return logits
