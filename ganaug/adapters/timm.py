"""Features of timm's pretrained networks, for measures; timm is no extra of ganaug and is imported only when asked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from ganaug.errors import RecipeError, did_you_mean

__all__ = ["feature_network"]


def feature_network(name: str, *, device: torch.device | str = "cpu", chunk: int = 64) -> Callable[[Tensor], Tensor]:
    """What a pretrained timm model sees before its last layer: NCHW uint8 to (N, D) float32 on the CPU.

    Args:
        name: of the model, as resnet18.
        device: where it runs.
        chunk: images at a time.

    Raises:
        RecipeError: timm is not installed or has no such model, or its weights cannot be fetched.
    """
    try:
        import timm
    except ImportError as error:
        raise RecipeError(f"features timm/{name} need timm; run: python -m pip install timm") from error
    known = timm.list_models(pretrained=True)
    if name not in known and name.partition(".")[0] not in timm.list_models():
        raise RecipeError(f"timm has no pretrained model {name!r}{did_you_mean(name, known)}")
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the hub's own errors are of many kinds
        said = " ".join(str(error).split())
        raise RecipeError(
            f"the weights of timm/{name} cannot be fetched ({said}); go online once, or take the features 'own'"
        ) from error
    as_trained = timm.data.resolve_model_data_config(model)  # type: ignore[attr-defined,no-untyped-call]
    side = list(as_trained["input_size"][1:])
    normalise = v2.Normalize(list(as_trained["mean"]), list(as_trained["std"]))
    model.to(device).eval()

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        shown = images.expand(-1, 3, -1, -1).split(chunk)
        larger = (v2.functional.resize(part, side, antialias=True).float() / 255 for part in shown)
        return torch.cat([model(normalise(part).to(device)).flatten(1).float().cpu() for part in larger])

    return features
