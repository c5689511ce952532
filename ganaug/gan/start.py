"""Networks that start from those of an earlier fit, of other classes, instead of from nothing.

What an image is made of carries over to related classes, and few images need only tell what is new about them: weights
are taken over whole (Wang et al. 2018, 1805.01677), but for what belongs to a class. New classes begin near the mean of
the old ones, each at a place of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

__all__ = ["Start"]

_BY_CLASS = ("class_embedding.weight", "class_head.weight", "class_head.bias")
_OF_IMAGES = ("codes", "code_counts")  # of the images that were fitted on then
_LEAST_SPREAD = 0.05


@dataclass(frozen=True)
class Start:
    """Tensors of the networks to start from, by their names in `state_dict`; empty for a network from nothing."""

    generator: Mapping[str, Tensor]
    discriminator: Mapping[str, Tensor] = field(default_factory=dict)
    encoder: Mapping[str, Tensor] = field(default_factory=dict)

    def give(self, generator: nn.Module, discriminator: nn.Module, encoder: nn.Module) -> None:
        """Put them into networks of the same sizes, whose classes may be others; draws on the global random state."""
        for network, tensors in (
            (generator, self.generator),
            (discriminator, self.discriminator),
            (encoder, self.encoder),
        ):
            _take_over(network, tensors)


@torch.no_grad()
def _take_over(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for name, own in network.state_dict().items():
        if name not in tensors or name in _OF_IMAGES:
            continue
        if name.endswith(_BY_CLASS):
            rows = tensors[name].to(own.device)
            spread = rows.std(0, correction=0).clamp_min(_LEAST_SPREAD)
            own.copy_(rows.mean(0) + spread * torch.randn(own.shape).to(own.device))
        else:
            own.copy_(tensors[name])
