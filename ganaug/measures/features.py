"""Features from a small network trained on the user's own training images; nothing is downloaded."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FeatureNetwork", "train_features"]


_SIDE = 32  # pixels; larger images are reduced to this, for what matters here is the whole and not the last pixel


class FeatureNetwork(nn.Module):
    """A small convolutional classifier whose pooled activations are the features."""

    def __init__(self, channels: int, outputs: int, width: int = 24) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width]
        self.stages = nn.Sequential()
        for before, after in itertools.pairwise(widths):
            self.stages.append(nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.stages.append(nn.BatchNorm2d(after))
            self.stages.append(nn.ReLU())
            self.stages.append(nn.Conv2d(after, after, 3, stride=2, padding=1, bias=False))
            self.stages.append(nn.BatchNorm2d(after))
            self.stages.append(nn.ReLU())
        self.head = nn.Linear(widths[-1], outputs)
        self.register_buffer("centre", torch.zeros(widths[-1]))
        self.register_buffer("scale", torch.ones(widths[-1]))
        self.centre: Tensor
        self.scale: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """(N, outputs) logits of `images` NCHW float in [-1, 1]."""
        logits: Tensor = self.head(self._pooled(images))
        return logits

    @torch.no_grad()
    def features(self, images: Tensor, chunk: int = 256) -> Tensor:
        """(N, D) float32 features of `images` NCHW uint8; each has mean 0 and deviation 1 over the training images."""
        pooled = torch.cat([self._pooled(part.float() / 127.5 - 1) for part in images.split(chunk)])
        return (pooled - self.centre) / self.scale

    def classes(self, features: Tensor) -> Tensor:
        """(N,) int64 outputs that the network takes its own `features` (N, D) for."""
        logits: Tensor = self.head(features * self.scale + self.centre)
        return logits.argmax(1)

    def _pooled(self, images: Tensor) -> Tensor:
        if images.shape[-1] > _SIDE:
            images = functional.interpolate(images, size=(_SIDE, _SIDE), mode="area")
        maps: Tensor = self.stages(images.contiguous(memory_format=torch.channels_last))
        return maps.mean((2, 3))


def train_features(
    images: Tensor, labels: Tensor, *, seed: int, steps: int = 240, batch: int = 64, half: bool = False
) -> FeatureNetwork:
    """Train on `images` (N, C, H, W) uint8 and `labels` (N,) int64 to tell the classes apart, warped and recoloured.

    With a single class there is nothing to tell apart, so four rotations are told (Gidaris et al. 2018, 1803.07728).
    `half` trains in bfloat16 autocast, in 0.6 of the time where the processor has it; features are always taken in
    float32.
    """
    random = torch.Generator().manual_seed(seed)
    turned = int(labels.max()) == 0
    outputs = 4 if turned else int(labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FeatureNetwork(images.shape[1], outputs).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * math.cos(math.pi / 2 * step / steps)
        chosen = torch.randint(len(images), (batch,), generator=random)
        shown, wanted = _warped(images[chosen].float() / 127.5 - 1, random), labels[chosen]
        if turned:
            wanted = torch.randint(4, (batch,), generator=random)
            shown = torch.stack(
                [torch.rot90(image, int(turns), (1, 2)) for image, turns in zip(shown, wanted, strict=True)]
            )
        with torch.autocast(shown.device.type, torch.bfloat16, enabled=half):
            logits = network(shown)
        loss = functional.cross_entropy(logits.float(), wanted, label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    network.eval().requires_grad_(False)
    features = network.features(images)
    network.centre.copy_(features.mean(0))
    network.scale.copy_(features.std(0).clamp_min(1e-3))
    return network


def _warped(images: Tensor, random: torch.Generator) -> Tensor:
    """`images` NCHW float turned up to 10 degrees, scaled and moved up to 1/8, brightness and contrast changed."""
    count = len(images)
    angle, scale, contrast, brightness = (torch.rand(4, count, generator=random) * 2 - 1).unbind()
    shift = (torch.rand(count, 2, generator=random) * 2 - 1) / 8
    cosine, sine = (angle / 6).cos() * (1 + scale / 8), (angle / 6).sin() * (1 + scale / 8)
    rows = torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    return moved * (1 + 0.3 * contrast)[:, None, None, None] + 0.2 * brightness[:, None, None, None]
