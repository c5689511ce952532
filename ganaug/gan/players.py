"""The networks that every game is played by."""

from __future__ import annotations

from torch import nn
from torch.optim import Adam

__all__ = ["Players"]


class Players:
    """A generator, a discriminator and an encoder with their optimisers, and the generator's average."""

    generator: nn.Module
    discriminator: nn.Module
    encoder: nn.Module
    average: nn.Module
    generator_optimizer: Adam
    discriminator_optimizer: Adam
    encoder_optimizer: Adam

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
