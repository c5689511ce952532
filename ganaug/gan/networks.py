"""Generator, discriminator and encoder: small convolutional networks that two CPU cores can train in minutes.

All three follow DCGAN (Radford et al. 2015, 1511.06434): 4x4 convolutions that double or halve the side, which
cost a third less on a CPU than upsampling followed by 3x3. Conditioning: the generator's normalisations are
scaled and shifted by noise and class at every block (Brock et al. 2018, 1809.11096, section 3 and appendix B); the
discriminator projects its features on the class (Miyato & Koyama 2018, 1802.05637).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.gan.steering import Steering

__all__ = ["Discriminator", "Discriminators", "Encoder", "Generator", "NetworkShape", "Trunk", "flat", "stage_channels"]

BASE = 4  # side of the smallest feature map
NEIGHBOURS = 5  # codes that a code is mixed with, as in SMOTE


@dataclass(frozen=True)
class NetworkShape:
    """All that is needed to build the networks of one fit; kept in the bank."""

    resolution: int
    image_channels: int
    classes: int
    latent_dim: int = 64
    class_dim: int = 32
    generator_channels: int = 32
    discriminator_channels: int = 48
    max_channels: int = 192
    codes: int = 0
    """Codes of real images that each class keeps to start samples from; 0 for none, a normal prior."""
    directions: int = 0
    """Directions that codes are moved along before they become samples; see `Steering`."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able mapping that `NetworkShape(**mapping)` reads back."""
        return asdict(self)


def stage_channels(resolution: int, channels: int, most: int) -> list[int]:
    """Channels at 4 px, 8 px, ... up to half of `resolution`: doubling towards the small end, `most` at the most.

    >>> stage_channels(32, 32, 192)
    [192, 128, 64]
    """
    stages = int(math.log2(resolution // BASE))
    return [min(most, channels * 2 ** (stages - stage)) for stage in range(stages)]


class ConditionalNorm(nn.Module):
    """Batch normalisation whose scale and shift come from a condition vector (1809.11096)."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.affine = nn.Linear(condition_dim, 2 * channels)
        nn.init.normal_(self.affine.weight, std=0.05)
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """`x`: NCHW; `condition`: (N, condition_dim); returns NCHW."""
        scale, shift = self.affine(condition).chunk(2, dim=1)
        return torch.addcmul(shift[:, :, None, None], self.norm(x), 1 + scale[:, :, None, None])


class Generator(nn.Module):
    """Noise and class to image.

    Noise becomes a code, and a code an image. With few images a normal prior has holes, codes that no image was ever
    encoded near, and what is decoded there is no image of its class. So the prior may be made of the training images'
    own codes, as in the VampPrior (Tomczak & Welling 2017, 1705.07120): a code and one of its nearest of the same
    class, mixed along the arc between them as SMOTE mixes (Chawla et al. 2002, 1106.1813), and spread as encoding
    spreads them. Mixing any two of a class gave hands with the fingers of both.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        channels = stage_channels(shape.resolution, shape.generator_channels, shape.max_channels)
        self.class_embedding = nn.Embedding(shape.classes, shape.class_dim)
        condition_dim = shape.latent_dim + shape.class_dim
        self.seed = nn.Linear(condition_dim, channels[0] * BASE * BASE)
        self.norms = nn.ModuleList(ConditionalNorm(width, condition_dim) for width in channels)
        widths = [*channels[1:], shape.generator_channels]
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            for before, after in zip(channels, widths, strict=True)
        )
        self.last_norm = ConditionalNorm(shape.generator_channels, condition_dim)
        self.to_image = nn.Conv2d(shape.generator_channels, shape.image_channels, 3, padding=1)
        if shape.codes:
            # Codes that no image has taken yet are draws from the normal prior.
            self.register_buffer("codes", torch.randn(shape.classes, shape.codes, shape.latent_dim))
            self.register_buffer("code_counts", torch.full((shape.classes,), shape.codes))
            self.register_buffer("code_spread", torch.ones(shape.latent_dim))
        self.codes: Tensor
        self.code_counts: Tensor
        self.code_spread: Tensor
        self.steering = Steering(shape.classes, shape.directions, shape.latent_dim) if shape.directions else None

    def forward(self, noise: Tensor, labels: Tensor, class_strength: float = 1.0) -> Tensor:
        """Images in [-1, 1], NCHW, from standard normal `noise` (N, latent_dim) and `labels` (N,) int64."""
        return self.decode(self.place(noise, labels), labels, class_strength)

    def place(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Codes (N, latent_dim) for standard normal `noise` of that shape, moved where they are steered."""
        codes = self._placed(noise, labels)
        return codes if self.steering is None else self.steering(codes, labels)  # type: ignore[no-any-return]

    def _placed(self, noise: Tensor, labels: Tensor) -> Tensor:
        """The noise itself where no codes are kept."""
        if not self.shape.codes:
            return noise
        which, near, angle = torch.special.ndtr(noise[:, :3].float()).clamp(1e-6, 1 - 1e-6).unbind(1)
        counts = self.code_counts[labels]
        chosen = (which * counts).long()
        first = self.codes[labels, chosen]
        second = self._neighbour(first, labels, chosen, near)
        angle = (angle * math.pi / 2)[:, None]
        # A class with a single code has no neighbour: nothing to mix.
        arc = torch.where(counts[:, None] > 1, angle.cos() * first + angle.sin() * second, first)
        return arc + self.code_spread * noise

    def _neighbour(self, codes: Tensor, labels: Tensor, chosen: Tensor, near: Tensor) -> Tensor:
        """For each of `codes`, number `chosen`, one of the nearest others of its class; `near`, 0..1, says which."""
        distances = (self.codes[labels] - codes[:, None]).square().sum(2)
        numbers = torch.arange(self.shape.codes, device=codes.device)
        distances[(numbers >= self.code_counts[labels][:, None]) | (numbers == chosen[:, None])] = torch.inf
        nearest = distances.topk(min(NEIGHBOURS, self.shape.codes), largest=False).indices
        known = (self.code_counts[labels] - 1).clamp(1, nearest.shape[1])
        picked = nearest.gather(1, (near * known).long()[:, None]).squeeze(1)
        return self.codes[labels, picked]

    def of_first(self, classes: int) -> Generator:
        """The same generator without its later classes."""
        with torch.device("meta"):
            made = Generator(replace(self.shape, classes=classes))
        by_class = {"class_embedding.weight", "codes", "code_counts"}
        state = {n: t[:classes].clone() if n in by_class else t for n, t in self.state_dict().items()}
        made.load_state_dict(state, assign=True)
        return made.train(self.training).requires_grad_(False)

    @torch.no_grad()
    def remember(self, labels: Tensor, slots: Tensor, mean: Tensor, log_variance: Tensor) -> None:
        """Keep codes `mean` (N, latent_dim) of real images as numbers `slots` (N,) of their classes `labels` (N,)."""
        if self.shape.codes:
            self.codes[labels, slots] = mean
            self.code_spread.lerp_((0.5 * log_variance).exp().mean(0), 0.02)

    def decode(self, codes: Tensor, labels: Tensor, class_strength: float = 1.0) -> Tensor:
        """Images in [-1, 1], NCHW, from `codes` (N, latent_dim) and `labels` (N,) int64.

        `class_strength` in [0, 1] brings the class in by degrees (Shahbazi et al. 2022, 2201.06578): at 0 every
        class is told the mean embedding.
        """
        embedded = self.class_embedding(labels)
        if class_strength < 1:
            embedded = torch.lerp(self.class_embedding.weight.mean(0), embedded, class_strength)
        return self.paint(codes, embedded)

    def early(self, codes: Tensor, labels: Tensor) -> Tensor:
        """What the first layer says of `codes` (N, latent_dim) and `labels` (N,): (N, C, 4, 4)."""
        condition = torch.cat([codes, self.class_embedding(labels)], dim=1)
        x: Tensor = self.norms[0](self.seed(condition).view(len(codes), -1, BASE, BASE), condition)
        return functional.leaky_relu(x, 0.2)

    def paint(self, codes: Tensor, embedded: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW, from `codes` and what stands for the class, (N, class_dim), or for two."""
        condition = torch.cat([codes, embedded], dim=1)
        x = self.seed(condition).view(len(codes), -1, BASE, BASE)
        x = x.contiguous(memory_format=torch.channels_last)
        for norm, up in zip(self.norms, self.ups, strict=True):
            x = up(functional.leaky_relu(norm(x, condition), 0.2))
        x = self.to_image(functional.leaky_relu(self.last_norm(x, condition), 0.2))
        return torch.tanh(x.float())


class Trunk(nn.Module):
    """Image to a 4x4 feature map, of `width` channels at full resolution; shared form of all that look at images."""

    def __init__(self, shape: NetworkShape, width: int, *, normalised: bool) -> None:
        super().__init__()
        channels = stage_channels(shape.resolution, width, shape.max_channels)[::-1]
        before = [shape.image_channels, *channels[:-1]]
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(before, channels, strict=True)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(width) if normalised and i else nn.Identity() for i, width in enumerate(channels)
        )
        self.out_features = channels[-1] * BASE * BASE

    def forward(self, images: Tensor) -> Tensor:
        """`images` NCHW to (N, C, 4, 4)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for down, norm in zip(self.downs, self.norms, strict=True):
            x = functional.leaky_relu(norm(down(x)), 0.2)
        return x


def flat(x: Tensor) -> Tensor:
    """NCHW to (N, H * W * C), the order that channels_last memory has: the other order is a copy, and one back."""
    return x.permute(0, 2, 3, 1).flatten(1)


class Encoder(nn.Module):
    """Image and class to mean and log variance of the noise that would make it (Kingma & Welling 2013, 1312.6114)."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.trunk = Trunk(shape, shape.discriminator_channels, normalised=True)
        self.class_embedding = nn.Embedding(shape.classes, shape.class_dim)
        self.head = nn.Linear(self.trunk.out_features + shape.class_dim, 2 * shape.latent_dim)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """`images`: NCHW in [-1, 1]; `labels`: (N,) int64; returns two (N, latent_dim) float32 tensors."""
        features = flat(self.trunk(images))
        mean, log_variance = self.head(torch.cat([features, self.class_embedding(labels)], dim=1)).float().chunk(2, 1)
        return mean, log_variance.clamp(-8, 8)


class Discriminator(nn.Module):
    """Image and class to a logit, high for real, and to logits of the class it sees (Odena et al. 2016, 1610.09585)."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.trunk = Trunk(shape, shape.discriminator_channels, normalised=False)
        hidden = 256
        self.hidden = nn.Linear(self.trunk.out_features, hidden)
        self.head = nn.Linear(hidden, 1)
        self.class_head = nn.Linear(hidden, shape.classes)
        self.class_embedding = nn.Embedding(shape.classes, hidden)
        nn.init.normal_(self.class_embedding.weight, std=hidden**-0.5)

    def forward(self, images: Tensor, labels: Tensor, class_strength: float = 1.0) -> tuple[Tensor, Tensor]:
        """(N,) and (N, classes) float32 logits for `images` NCHW in [-1, 1] and `labels` (N,) int64."""
        features = functional.leaky_relu(self.hidden(flat(self.trunk(images))), 0.2)
        projection = (features.float() * self.class_embedding(labels)).sum(1)
        logits = self.head(features).squeeze(1).float() + class_strength * projection
        return logits, self.class_head(features).float()


class Discriminators(nn.Module):
    """Several discriminators from different starts that judge together (Durugkar et al. 2016, 1611.01673)."""

    def __init__(self, shape: NetworkShape, count: int = 1) -> None:
        super().__init__()
        self.members = nn.ModuleList(Discriminator(shape) for _ in range(count))

    def forward(self, images: Tensor, labels: Tensor, class_strength: float = 1.0) -> tuple[Tensor, Tensor]:
        """(count * N,) and (count * N, classes) logits, the members' one after another."""
        judged = [member(images, labels, class_strength) for member in self.members]
        return torch.cat([logits for logits, _ in judged]), torch.cat([classes for _, classes in judged])
