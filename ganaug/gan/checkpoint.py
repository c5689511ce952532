"""A training checkpoint: everything a fit needs to go on, as one safetensors file. Nothing is pickled."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from ganaug.errors import OutputError, TrainingError
from ganaug.gan.training import Training

__all__ = ["below", "read_checkpoint", "restore_trainer", "trainer_tensors", "write_checkpoint"]


def trainer_tensors(trainer: Training) -> dict[str, Tensor]:
    """Weights, optimiser states, running averages and random state of a trainer, by name."""
    tensors = {**trainer.running, "random": trainer.random.get_state()}
    if trainer.scaler.is_enabled():
        state = trainer.scaler.state_dict()
        tensors["scaler"] = torch.tensor([state["scale"], state["_growth_tracker"]], dtype=torch.float64)
    for name, network in trainer.networks.items():
        for key, value in network.state_dict().items():
            tensors[f"{name}/{key}"] = value
    for name, optimizer in trainer.optimizers.items():
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"{name}/{index}/{key}"] = value
    return tensors


def restore_trainer(trainer: Training, tensors: Mapping[str, Tensor], steps: int) -> None:
    """Put what `trainer_tensors` gave back into a trainer of the same recipe and shape."""
    trainer.steps = steps
    for name, value in trainer.running.items():
        value.copy_(tensors[name])
    trainer.random.set_state(tensors["random"])
    if trainer.scaler.is_enabled():
        scale, growth = tensors["scaler"].tolist()
        trainer.scaler.load_state_dict(trainer.scaler.state_dict() | {"scale": scale, "_growth_tracker": int(growth)})
    for name, network in trainer.networks.items():
        network.load_state_dict(below(tensors, f"{name}/"))
    for name, optimizer in trainer.optimizers.items():
        _restore_optimizer(optimizer, below(tensors, f"{name}/"))


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write `tensors` and JSON-able `notes` beside `path`, then rename: a killed fit leaves the last whole one.

    Raises:
        OutputError: it cannot be written, as on a full disk; the last whole one stays.
    """
    beside = path.with_name(path.name + ".part")
    held = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    try:
        save_file(held, beside, metadata={"notes": json.dumps(notes)})
        with beside.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing behind it
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OutputError(f"{path} cannot be written ({why})") from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_checkpoint` wrote.

    Raises:
        TrainingError: the file is no whole checkpoint.
    """
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["notes"])  # noqa: SIM118
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{path} is no whole checkpoint ({error}); delete its folder, or give another --out, to start afresh"
        ) from error


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those of `tensors` whose name starts with `prefix`, by the rest of it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        parameter = parameters[int(index)]
        if tensor.shape == parameter.shape:  # fused steps walk memory: moments must lie as their parameter does
            tensor = torch.empty_like(parameter).copy_(tensor)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
