"""What every game goes by, and the networks that it is played by."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Adam

from ganaug.gan.optimising import descend, gradient_size
from ganaug.gan.precision import Precision
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
    precision: Precision = "float32"
    random: SharedGenerator = field(default_factory=SharedGenerator)
    steps: int = 0
    processes: Processes = field(default_factory=Processes)
    ease: float = 1.0
    """Factor of all learning rates."""
    hold: float = 1.0
    """Factor of what holds the game back, as gradient penalties and a reconstruction that is kept."""
    strength: float = 1.0
    """Of augmentation, as in `augment`."""

    scaler: torch.amp.GradScaler = field(init=False)
    """Keeps small gradients from becoming 0 in float16 (Micikevicius et al. 2017, 1710.03740, section 3.2); elsewhere
    it does nothing."""

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

    def __post_init__(self) -> None:
        self.compute_in(self.precision)

    def compute_in(self, precision: Precision) -> None:
        """See `Training`."""
        self.precision = precision
        # From less than the usual 2^16: a weight's gradient, a sum over pixels and images, would overflow at once.
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=2.0**10, enabled=precision == "float16")

    def _autocast(self, *, wide: bool = False) -> AbstractContextManager[None]:
        """The fit's precision; of what needs a `wide` range float32 in the place of float16, which has too little."""
        narrow = self.precision == "float16"
        enabled = self.precision == "bfloat16" or (narrow and not wide)
        return torch.autocast(self.device.type, torch.float16 if narrow else torch.bfloat16, enabled=enabled)

    def _descend(self, loss: Tensor, *optimizers: Adam) -> None:
        """One step of each of `optimizers` down the mean of the processes' losses."""
        descend(loss, *optimizers, processes=self.processes, scaler=self.scaler)

    def _gradient_size(self) -> Tensor:
        """Of the generator's last step, ()."""
        size = gradient_size(self.networks["generator"])
        # Where float16 overflowed no step was taken, and that is no trouble.
        return size.nan_to_num(0.0, 0.0, 0.0) if self.scaler.is_enabled() else size
