"""Differentiable augmentation of what the discriminator sees (Zhao et al. 2020, 2006.10738).

Real and synthetic images go through the same random changes in both networks' steps, so that the discriminator
cannot learn the few training images by heart, while the generator does not learn the changes themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ganaug.gan.seeding import drawn

__all__ = ["augment", "mirror_half"]


def augment(
    images: Tensor, policy: Sequence[str], generator: torch.Generator | None = None, strength: float = 1.0
) -> Tensor:
    """`images` NCHW float in [-1, 1] changed by each part of `policy`, a different draw for each image.

    colour: brightness +-0.25, saturation x[0.5, 1.5], contrast x[0.75, 1.25], half of the paper's, for at full strength
    the generator learns the changes too; translation: up to 1/8 of the side, zeros
    moving in; cutout: a square of half the side set to zero. Values may leave [-1, 1].

    `strength` in [0, 2]: below 1 each part changes each image with that probability (2006.06676, section 2.2); above
    1 all parts change all images, and then once more each with the probability that is left.
    """
    for start in (0.0, 1.0):
        probability = min(1.0, strength - start)
        for part in policy if probability > 0 else ():
            changed = _PARTS[part](images, generator)
            images = changed if probability == 1 else _chosen(changed, images, probability, generator)
    return images


def _chosen(changed: Tensor, images: Tensor, probability: float, generator: torch.Generator | None) -> Tensor:
    """Each image of `changed` with `probability`, else that of `images`."""
    return torch.where(_uniform(images, generator) < probability, changed, images)


def mirror_half(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Each of `images` NCHW mirrored left to right with probability 1/2."""
    mirrored = drawn(lambda count: torch.rand(count, generator=generator), len(images), generator) < 0.5
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(3), images)


def _uniform(images: Tensor, generator: torch.Generator | None) -> Tensor:
    # on the CPU: the same draws on every device
    rows = drawn(lambda count: torch.rand(count, 1, 1, 1, generator=generator), len(images), generator)
    return rows.to(images.device)


def _places(images: Tensor, most: int, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Whole numbers from 0 to `most` for each image, (N, *shape), on the CPU."""
    return drawn(lambda count: torch.randint(0, most + 1, (count, *shape), generator=generator), len(images), generator)


def _colour(images: Tensor, generator: torch.Generator | None) -> Tensor:
    images = images + (_uniform(images, generator) - 0.5) / 2
    if images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = torch.lerp(grey, images, 0.5 + _uniform(images, generator))
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, 0.75 + _uniform(images, generator) / 2)


def _translation(images: Tensor, generator: torch.Generator | None) -> Tensor:
    count, _, height, width = images.shape
    reach_y, reach_x = height // 8, width // 8
    padded = functional.pad(images, (reach_x, reach_x, reach_y, reach_y))
    dy = _places(images, 2 * reach_y, (1, 1), generator)
    dx = _places(images, 2 * reach_x, (1, 1), generator)
    rows = (dy + torch.arange(height)[None, :, None]).to(images.device)
    columns = (dx + torch.arange(width)[None, None, :]).to(images.device)
    items = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[items, rows, columns].permute(0, 3, 1, 2)


def _cutout(images: Tensor, generator: torch.Generator | None) -> Tensor:
    _, _, height, width = images.shape
    centre_y = _places(images, height, (1,), generator)
    centre_x = _places(images, width, (1,), generator)
    hidden_y = (torch.arange(height) - centre_y + 0.5).abs() < height / 4
    hidden_x = (torch.arange(width) - centre_x + 0.5).abs() < width / 4
    kept = ~(hidden_y[:, :, None] & hidden_x[:, None, :])
    return images * kept[:, None].to(images)


_PARTS = {"colour": _colour, "translation": _translation, "cutout": _cutout}
