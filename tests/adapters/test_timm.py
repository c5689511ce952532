import sys

import pytest
import torch
from torch import nn

from ganaug.adapters.timm import feature_network
from ganaug.errors import RecipeError

try:
    import timm
except ImportError:
    timm = None

needs_timm = pytest.mark.skipif(timm is None, reason="timm is not installed")


def test_without_timm_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(RecipeError, match="features timm/resnet18 need timm; run: python -m pip install timm"):
        feature_network("resnet18")


@needs_timm
def test_features_are_pooled_and_of_normalised_images_in_the_models_size(monkeypatch):
    seen = []

    class Model(nn.Module):
        pretrained_cfg = {  # noqa: RUF012
            "input_size": (3, 40, 40), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "interpolation": "bicubic",
            "crop_pct": 1.0,
        }  # fmt: skip

        def forward(self, images):
            seen.append(images)
            return images.mean((2, 3))

    def create(name, *, pretrained, num_classes):
        assert (name, pretrained, num_classes) == ("resnet18", True, 0)
        return Model()

    monkeypatch.setattr(timm, "create_model", create)
    features = feature_network("resnet18", chunk=2)(torch.full((3, 1, 16, 16), 255, dtype=torch.uint8))
    assert features.shape == (3, 3)
    assert torch.allclose(features, torch.tensor(2.0), atol=1e-4)
    assert [tuple(part.shape) for part in seen] == [(2, 3, 40, 40), (1, 3, 40, 40)]


@needs_timm
def test_unknown_models_and_weights_that_cannot_be_had(monkeypatch):
    with pytest.raises(RecipeError, match="timm has no pretrained model 'resnet1818'"):
        feature_network("resnet1818")

    def create(*_, **__):
        raise OSError("no network\nhere")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(
        RecipeError, match=r"timm/resnet18 cannot be fetched \(no network here\); go online once, or take"
    ):
        feature_network("resnet18")
