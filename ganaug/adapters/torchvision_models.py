"""Classifiers of torchvision: from scratch or with weights, as a learner, as features, and their weights on disk."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from ganaug.errors import OutputError, RecipeError, did_you_mean

__all__ = ["Learner", "build_model", "feature_network", "logits", "save_weights"]

_HALF = (0.5, 0.5, 0.5)
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def build_model(
    name: str, weights: str | None, classes: int, *, section: str = "train"
) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    """A torchvision classifier for `classes` classes, and the mean and deviation that its input is normalised by.

    With weights, the layers that gave the classes it was trained on are replaced.

    Args:
        name: of the model, as resnet18.
        weights: a torchvision weights name, or a file of the model's weights (safetensors, or .pth as torch saves a
            state_dict; never unpickled beyond tensors), whose input was normalised as torchvision's ImageNet weights
            are unless `TrainResult.save` wrote it; None for a random start.
        classes: how many there are.
        section: of the recipe that they come from, for messages.

    Raises:
        RecipeError: there is no such model or weights, or they cannot be fetched or read.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise RecipeError(f"{section}.model is {name!r}, which torchvision does not have{did_you_mean(name, known)}")
    if weights is None:
        return torchvision.models.get_model(name, weights=None, num_classes=classes), _HALF, _HALF
    if Path(weights).suffix:
        return _with_file(name, Path(weights), classes, section)
    offered = torchvision.models.get_model_weights(name)
    if weights not in offered.__members__:
        choices = did_you_mean(weights, offered.__members__)
        raise RecipeError(
            f"{section}.weights is {weights!r}, which {name} does not have{choices}, or null to train from scratch"
        )
    chosen = offered[weights]
    model = _fetched(name, chosen, f"set {section}.weights to null")
    _replace_heads(model, len(chosen.meta["categories"]), classes)
    as_trained = chosen.transforms()
    return model, tuple(as_trained.mean), tuple(as_trained.std)


def _with_file(
    name: str, path: Path, classes: int, section: str
) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    """The model with the weights of a file, but for a last layer of other classes, which starts afresh."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                told = opened.metadata() or {}
                state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        else:
            told, state = {}, dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, pickle.UnpicklingError) as error:
        said = " ".join(str(error).split())[:100]
        raise RecipeError(
            f"{section}.weights is {path}, which cannot be read as weights ({said}); give a safetensors file, or a "
            ".pth that holds a state_dict"
        ) from error
    model = torchvision.models.get_model(name, weights=None, num_classes=classes)
    own = model.state_dict()
    fresh = {key for key, value in state.items() if key in own and value.shape != own[key].shape}
    if set(state) != set(own) or any(state[key].shape[1:] != own[key].shape[1:] for key in fresh):
        raise RecipeError(f"{section}.weights is {path}, whose layers are not those of {name}; set {section}.model too")
    model.load_state_dict({key: value for key, value in state.items() if key not in fresh}, strict=False)
    mean, std = (tuple(json.loads(told[key])) if key in told else usual for key, usual in _IMAGENET.items())
    return model, mean, std


class Learner(nn.Module):
    """A torchvision classifier of images as ganaug's own networks take them: NCHW in [-1, 1], grey or RGB.

    They are brought to `side` x `side` and normalised as the model's weights want it. Arguments are those of
    `build_model`.
    """

    def __init__(self, name: str, weights: str | None, classes: int, *, side: int, section: str) -> None:
        super().__init__()
        self.model, mean, std = build_model(name, weights, classes, section=section)
        self.side = side
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes) logits."""
        shown = images.expand(-1, 3, -1, -1)
        if images.shape[-1] != self.side:
            size = (self.side, self.side)
            shown = functional.interpolate(shown, size, mode="bilinear", antialias=True, align_corners=False)
        return logits(self.model((shown.add(1) / 2 - self.mean) / self.std))


def feature_network(
    name: str, weights: str | None = None, *, device: torch.device | str = "cpu", chunk: int = 64
) -> Callable[[Tensor], Tensor]:
    """What a pretrained torchvision classifier sees before its last layer: NCHW uint8 to (N, D) float32 on the CPU.

    Args:
        name: of the model, as resnet18.
        weights: its default ones by default.
        device: where it runs.
        chunk: images at a time.

    Raises:
        RecipeError: there is no such model or weights, or they cannot be fetched.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise RecipeError(
            f"features are {name!r}, and torchvision has no such model{did_you_mean(name, ['own', *known])}"
        )
    offered = torchvision.models.get_model_weights(name)
    if weights is not None and weights not in offered.__members__:
        raise RecipeError(f"{name} has no weights {weights!r}{did_you_mean(weights, offered.__members__)}")
    chosen = offered[weights] if weights is not None else offered.DEFAULT  # type: ignore[attr-defined]
    model = _fetched(name, chosen, "take the features 'own'")
    _replace_heads(model, len(chosen.meta["categories"]), None)
    as_trained = chosen.transforms()
    side = as_trained.crop_size[0]
    normalise = v2.Normalize(list(as_trained.mean), list(as_trained.std))
    model.to(device).eval()

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        shown = images.expand(-1, 3, -1, -1).split(chunk)
        larger = (v2.functional.resize(part, [side, side], antialias=True).float() / 255 for part in shown)
        return torch.cat([logits(model(normalise(part).to(device))).flatten(1).float().cpu() for part in larger])

    return features


def _fetched(name: str, weights: Any, otherwise: str) -> nn.Module:
    try:
        model: nn.Module = torchvision.models.get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise RecipeError(
            f"the weights {weights.name} of {name} cannot be fetched ({said}); go online once, or {otherwise}"
        ) from error
    return model


def _replace_heads(model: nn.Module, before: int, classes: int | None) -> None:
    """Give every layer with an output for each of `before` classes one for each of `classes`; auxiliary ones too.

    Without `classes` they are taken away.
    """
    for name, layer in list(model.named_modules()):
        made: nn.Module
        if isinstance(layer, nn.Linear) and layer.out_features == before:
            made = nn.Linear(layer.in_features, classes, bias=layer.bias is not None) if classes else nn.Identity()
        elif isinstance(layer, nn.Conv2d) and layer.out_channels == before:  # SqueezeNet
            made = nn.Conv2d(layer.in_channels, classes, kernel_size=1) if classes else nn.Identity()
        else:
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, made)


def logits(output: Any) -> Tensor:
    """What a model says, (N, classes); of those with several outputs the main one."""
    logits: Tensor = output if isinstance(output, Tensor) else output.logits  # Inception and GoogLeNet give more
    return logits


def save_weights(model: nn.Module, path: str | Path, told: Mapping[str, Any]) -> None:
    """Write a model's weights to a safetensors file, with `told` as JSON in its header, beside its goal first.

    Raises:
        OutputError: it cannot be written there.
    """
    goal = Path(path)
    beside = goal.with_name(goal.name + ".part")
    state = {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    try:
        save_file(state, beside, {name: json.dumps(value) for name, value in told.items()})
        os.replace(beside, goal)
    except Exception as error:  # the library's own errors are of several kinds
        beside.unlink(missing_ok=True)
        raise OutputError(f"{goal} cannot be written ({error}); choose another place") from error
