"""What every game goes by, and the networks that it is played by."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganaug.gan.processes import Processes
from ganaug.gan.seeding import SharedGenerator
from ganaug.recipe import Recipe

__all__ = ["Players"]


@dataclass
class Players:
    """The networks of one fit, by their names in `played`, with an optimiser each, and the generator's average.

    Each is an attribute of its name, its optimiser one of that name and "_optimizer"; see `Training`.
    """

    recipe: Recipe
    shape: Any
    device: torch.device
    half: bool = False
    random: SharedGenerator = field(default_factory=SharedGenerator)
    steps: int = 0
    processes: Processes = field(default_factory=Processes)
    ease: float = 1.0
    """Factor of all learning rates."""
    hold: float = 1.0
    """Factor of what holds the game back, as gradient penalties and a reconstruction that is kept."""
    strength: float = 1.0
    """Of augmentation, as in `augment`."""

    played: ClassVar[tuple[str, ...]] = ("generator", "discriminator")

    @property
    def networks(self) -> dict[str, nn.Module]:
        """See `Training`."""
        return {name: getattr(self, name) for name in (*self.played, "average")}

    @property
    def optimizers(self) -> dict[str, Adam]:
        """See `Training`."""
        return {name: getattr(self, name) for name in (f"{player}_optimizer" for player in self.played)}

    @property
    def running(self) -> dict[str, Tensor]:
        """See `Training`."""
        return {}

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)
