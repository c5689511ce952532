"""One step of training on images with label maps: the game of a generator against a discriminator that segments."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ganaug.compositing import MapComposer
from ganaug.gan import losses, semantic
from ganaug.gan.augment import augment, mirror_half
from ganaug.gan.average import update_average
from ganaug.gan.map_batches import MapBatch, MapBatches
from ganaug.gan.optimising import adam, averaged, cooled, set_rate
from ganaug.gan.players import Players
from ganaug.gan.seeding import drawn
from ganaug.gan.spade import MapGenerator, MapShape, SegmentingDiscriminator, StyleEncoder, one_hot

__all__ = ["MapTrainer"]


_CELLS = 8  # a side, that are known or unknown as one in the sketch of a real image
_UNKNOWN = 0.2  # share of sketches in which nothing is known
_RECOLOURED = 0.4  # the most that contrast changes, and that colours shift, in deviations of the sketch


@dataclass(frozen=True)
class _Fakes:
    """Synthetic images of one step: row i of the first half shows the map of real image i and is to look as it does.

    The second half shows the same maps, and is to look as any image does; or, where there are sketches, new maps.
    """

    images: Tensor
    classes: Tensor
    kl: Tensor


@dataclass
class MapTrainer(Players):
    """The networks of one fit, their optimisers, and the step that trains them (OASIS, 2012.04781)."""

    shape: MapShape

    played = ("generator", "discriminator", "encoder")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.generator: MapGenerator = MapGenerator(self.shape).to(self.device).to(memory_format=torch.channels_last)
        self.discriminator: SegmentingDiscriminator = (
            SegmentingDiscriminator(self.shape).to(self.device).to(memory_format=torch.channels_last)
        )
        self.encoder: StyleEncoder = StyleEncoder(self.shape).to(self.device).to(memory_format=torch.channels_last)
        self.average: MapGenerator = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.generator_optimizer = adam(self.generator, self.recipe.gan.generator_lr)
        self.discriminator_optimizer = adam(self.discriminator, self.recipe.gan.discriminator_lr)
        self.encoder_optimizer = adam(self.encoder, self.recipe.gan.generator_lr)
        self.random.processes = self.processes

    @property
    def sampler(self) -> MapGenerator:
        """See `Training`."""
        return self.average

    def take(self, images: Tensor, labels: Tensor, random: torch.Generator) -> MapBatches:
        """See `Training`; `labels` are the label maps (N, H, W) uint8."""
        shape = self.shape

        def composer(maps: npt.NDArray[np.uint8], kept: npt.NDArray[np.uint8]) -> MapComposer:
            return MapComposer(maps, shape.classes, mirror=shape.mirror, images=kept)

        batches = MapBatches(
            images, labels, batch=self.recipe.gan.batch, kept=shape.maps, random=random,
            composer=composer if shape.sketched else None,
        )  # fmt: skip
        for generator in (self.generator, self.average):
            generator.maps.copy_(labels[batches.kept])
            if shape.sketched:
                generator.images.copy_(images[batches.kept])
        return batches

    def settle(self, random: torch.Generator) -> None:
        """See `Training`: codes are not averaged, each is the latest."""
        for name in ("codes", "code_spread"):
            getattr(self.average, name).copy_(getattr(self.generator, name))

    def step(self, batch: MapBatch, progress: float) -> dict[str, Tensor]:
        """See `Training`."""
        gan = self.recipe.gan
        real = self.processes.mine(batch.images).to(self.device, torch.float32).div(127.5).sub(1)
        classes = one_hot(self.processes.mine(batch.maps).to(self.device), self.shape.classes)
        rows = self.processes.mine(batch.rows).to(self.device)
        if self.recipe.data.horizontal_flip:
            both = mirror_half(torch.cat([real, classes], dim=1), self.random)
            real, classes = both.split([real.shape[1], classes.shape[1]], dim=1)
        ease = self.ease * cooled(progress)
        set_rate(self.generator_optimizer, gan.generator_lr * ease)
        set_rate(self.discriminator_optimizer, gan.discriminator_lr * ease)
        set_rate(self.encoder_optimizer, gan.generator_lr * ease)
        weights = semantic.class_weights(self.processes.mean(classes.sum((0, 2, 3))))
        composed = None if batch.composed is None else tuple(self.processes.mine(part) for part in batch.composed)
        fakes = self._fakes(real, classes, rows, composed)
        logged = self._discriminate(real, classes, fakes, weights)
        logged |= self._generate(real, fakes, weights)
        update_average(self.average, self.generator, min(gan.ema, (1 + self.steps) / (10 + self.steps)))
        self.steps += 1
        return averaged(logged, self.processes)

    def _fakes(self, real: Tensor, classes: Tensor, rows: Tensor, composed: tuple[Tensor, ...] | None) -> _Fakes:
        pairs = len(classes) // 2
        shown, others, sketches = classes[:pairs].repeat(2, 1, 1, 1), rows[:pairs], None
        if composed is not None:
            maps, others, drawn_up = (part[:pairs].to(self.device) for part in composed)
            shown = torch.cat([classes[:pairs], one_hot(maps, self.shape.classes)])
            sketches = torch.cat([self._half_known(real[:pairs]), drawn_up])
            sketches = self._uncertain(sketches)
        latent, style = self.shape.latent_dim, self.shape.style_dim
        noise = drawn(lambda count: torch.randn(count, latent, generator=self.random), 2 * pairs, self.random)
        noise = noise.to(self.device)
        with self._autocast():
            mean, log_variance = self.encoder(real[:pairs])
            self.generator.remember(*map(self.processes.rows, (rows[:pairs], mean, log_variance)))
            own = mean + (0.5 * log_variance).exp() * noise[:pairs, :style]
            placed = torch.cat([own, noise[:pairs, style:]], dim=1)
            placed = torch.cat([placed, self.generator.place(noise[pairs:], others)])
            images = self.generator.paint(placed, shown, sketches)
        return _Fakes(images, shown, losses.kl_divergence(mean, log_variance))

    def _half_known(self, real: Tensor) -> Tensor:
        """Sketches of `real` images, in which squares of all sizes are unknown."""
        cells = drawn(lambda count: torch.rand(count, 1, _CELLS, _CELLS, generator=self.random), len(real), self.random)
        most = drawn(lambda count: torch.rand(count, 1, 1, 1, generator=self.random), len(real), self.random)
        known = functional.interpolate((cells > 0.6 * most).float(), real.shape[2:], mode="nearest").to(real.device)
        return torch.cat([real * known, known], dim=1)

    def _uncertain(self, sketches: Tensor) -> Tensor:
        """`sketches` in other colours, and of some of them nothing known: colours are for the style to say."""
        pixels, known = sketches[:, :-1], sketches[:, -1:]
        count, channels = pixels.shape[:2]
        draws = drawn(lambda rows: torch.rand(rows, 2 * channels + 1, generator=self.random), count, self.random)
        draws = draws.to(sketches.device)[:, :, None, None]
        sums = known.sum((2, 3), keepdim=True).clamp_min(1)
        mean = (pixels * known).sum((2, 3), keepdim=True) / sums
        spread = ((pixels - mean).square() * known).sum((2, 3), keepdim=True).div(sums).sqrt()
        scale = 1 + _RECOLOURED * (2 * draws[:, :channels] - 1)
        shift = _RECOLOURED * (2 * draws[:, channels : 2 * channels] - 1) * spread
        pixels = mean + scale * (pixels - mean) + shift
        known = known * (draws[:, -1:] > _UNKNOWN)
        return torch.cat([pixels.clamp(-1, 1) * known, known], dim=1)

    def _discriminate(self, real: Tensor, classes: Tensor, fakes: _Fakes, weights: Tensor) -> dict[str, Tensor]:
        pairs = len(fakes.images) // 2
        real, classes = real[: 2 * pairs], classes[: 2 * pairs]
        (real, fake), (classes, fake_classes) = self._shown([real, fakes.images.detach()], [classes, fakes.classes])
        # Real and synthetic images of the first half show the same maps, moved alike: those can be mixed.
        from_real = self._from_real(classes[:pairs])
        mixed = semantic.label_mix(real[:pairs], fake[:pairs], from_real)
        with self._autocast():
            logits = self.discriminator(torch.cat([real, fake, mixed]))
        real_logits, fake_logits, mixed_logits = logits.split([2 * pairs, 2 * pairs, pairs])
        loss = semantic.class_error(real_logits, classes, weights)
        loss = loss + semantic.synthetic_error(fake_logits, fake_classes)
        apart = semantic.mix_inconsistency(mixed_logits, real_logits[:pairs], fake_logits[:pairs], from_real)
        loss = loss + self.hold * self.recipe.gan.label_mix * apart
        self._descend(loss, self.discriminator_optimizer)
        return {
            "discriminator": loss.detach(),
            "real_sign": semantic.realness(real_logits.detach()).sign().mean(),
            "fake_sign": semantic.realness(fake_logits.detach()).sign().mean(),
        }

    def _generate(self, real: Tensor, fakes: _Fakes, weights: Tensor) -> dict[str, Tensor]:
        (fake,), (classes,) = self._shown([fakes.images], [fakes.classes])
        self.discriminator.requires_grad_(False)
        with self._autocast():
            logits = self.discriminator(fake)
        self.discriminator.requires_grad_(True)
        loss = adversarial = semantic.class_error(logits, classes, weights)
        pairs, kept = len(real) // 2, self.recipe.reconstruction
        error = losses.reconstruction(fakes.images[:pairs], real[:pairs])
        loss = loss + self.hold * kept.weight * (error + kept.kl * fakes.kl) / real[0].numel()
        self._descend(loss, self.generator_optimizer, self.encoder_optimizer)
        return {
            "generator": adversarial.detach(),
            "gradient": self._gradient_size(),
            "reconstruction": error.detach(),
            "kl": fakes.kl.detach(),
        }

    def _shown(self, images: list[Tensor], classes: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """What the discriminator is shown of images and their classes: row i of all is moved and cut out alike."""
        policy = self.recipe.gan.augment
        colours = [part for part in policy if part == "colour"]
        places = [part for part in policy if part != "colour"]
        images = [augment(one, colours, self.random, self.strength) for one in images]
        widths = [one.shape[1] for one in (*images, *classes)]
        moved = augment(torch.cat([*images, *classes], dim=1), places, self.random, self.strength).split(widths, dim=1)
        return list(moved[: len(images)]), list(moved[len(images) :])

    def _from_real(self, classes: Tensor) -> Tensor:
        """(N, 1, H, W): for each image, each class is taken from the real one or the synthetic one."""
        count = self.shape.classes
        real = drawn(lambda rows: torch.rand(rows, count, generator=self.random), len(classes), self.random) < 0.5
        return (classes * real.to(classes)[:, :, None, None]).sum(1, keepdim=True)
