"""What the loop, the monitor and the checkpoint ask of a trainer, whatever its generator is told.

A trainer holds the networks of one fit and knows how to train them on one batch. Which one a recipe wants is said by
its task. `ganaug.gan.step.Trainer` makes images of noise and a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ganaug.gan.precision import Precision
from ganaug.gan.processes import Processes
from ganaug.gan.seeding import SharedGenerator
from ganaug.recipe import Recipe

__all__ = ["Batches", "BuildTraining", "Shape", "Training"]


class Shape(Protocol):
    """All that is needed to build the networks of one fit; kept in the bank."""

    @property
    def latent_dim(self) -> int:
        """Numbers of noise a sample is made from."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able mapping, with "resolution", "image_channels", "classes" and "latent_dim" among its keys."""


class Batches(Protocol):
    """Random batches of what a trainer trains on."""

    random: torch.Generator
    """All that is random in the batches is drawn on it: its state is theirs."""

    def draw(self) -> Any:
        """A batch, in the form that `Training.step` takes; the same in all processes."""


class Training(Protocol):
    """The networks of one fit, their optimisers, and the steps that train them."""

    device: torch.device
    precision: Precision
    scaler: torch.amp.GradScaler
    """Of float16 losses; one that does nothing in any other precision."""
    random: SharedGenerator
    """What is random in the steps."""
    steps: int
    ease: float
    """Factor of all learning rates."""
    hold: float
    """Factor of what holds the game back."""
    strength: float
    """Of augmentation, as in `augment`."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """All that is trained, by name; "generator" and "average", the averaged generator, among them."""

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """By name."""

    @property
    def running(self) -> Mapping[str, Tensor]:
        """What else a step changes, by name; changed in place."""

    @property
    def sampler(self) -> nn.Module:
        """What samples are drawn from: (noise (N, latent_dim), condition) to images NCHW in [-1, 1]; uses "average"."""

    def compute_in(self, precision: Precision) -> None:
        """Compute in `precision` from the next step on; losses in float16 are scaled anew."""

    def take(self, images: Tensor, labels: Any, random: torch.Generator) -> Batches:
        """Look at all training images, (N, C, H, W) uint8, before the first step; `labels` are the task's conditions.

        Returns:
            The batches to train on, drawn on `random`.
        """

    def step(self, batch: Any, progress: float) -> dict[str, Tensor]:
        """Train on one batch; returns detached scalars to log. `progress` in [0, 1) is the budget's share spent.

        All processes are given the same batch, work on their rows of it, and return the same.
        """

    def settle(self, random: torch.Generator) -> None:
        """Make `sampler` fit to be examined or kept; draws on `random`, and on nothing else."""


class BuildTraining(Protocol):
    """Makes an untrained trainer; weights are drawn on the global random state."""

    def __call__(
        self, recipe: Recipe, shape: Any, device: torch.device, precision: Precision, *, processes: Processes
    ) -> Training:
        """On `device`, of networks of the task's `shape`, computing in `precision`."""
