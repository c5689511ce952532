import pathlib
import urllib.error

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import v2

from ganaug.adapters import torchvision_models as adapter
from ganaug.adapters.torchvision_models import build_model
from ganaug.errors import RecipeError


def test_a_model_from_scratch():
    model, mean, std = build_model("resnet18", None, 7)
    assert model.fc.out_features == 7
    assert mean == std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "googlenet"])
def test_a_model_with_weights_gets_new_heads(name, monkeypatch):
    real = torchvision.models.get_model

    def unloaded(name, weights):
        return real(name, weights=None, num_classes=1000, init_weights=True) if name == "googlenet" else real(name)

    monkeypatch.setattr(adapter.torchvision.models, "get_model", unloaded)
    model, mean, _ = build_model(name, "DEFAULT", 3)
    images = torch.zeros(2, 3, 64, 64)
    assert model.eval()(images).shape == (2, 3)
    assert mean == pytest.approx((0.485, 0.456, 0.406))
    outputs = [m.out_features for m in model.modules() if isinstance(m, nn.Linear)]
    assert 1000 not in outputs


def saved(path, model):
    if path.suffix == ".safetensors":
        save_file({name: value.clone() for name, value in model.state_dict().items()}, path)
    else:
        torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["old.safetensors", "old.pth"])
def test_a_model_from_a_file_keeps_all_but_a_head_of_other_classes(tmp_path, name):
    before = torchvision.models.squeezenet1_1(num_classes=5)
    path = saved(tmp_path / name, before)
    for classes in (5, 3):
        found, mean, _ = build_model("squeezenet1_1", str(path), classes)
        assert mean == pytest.approx((0.485, 0.456, 0.406))
        assert found.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, classes)
        alike = [torch.equal(value, before.state_dict()[key]) for key, value in found.state_dict().items()
                 if value.shape == before.state_dict()[key].shape]  # fmt: skip
        assert all(alike)
        assert len(alike) == len(before.state_dict()) - (0 if classes == 5 else 2)


def test_files_that_are_no_weights_of_the_model(tmp_path):
    (tmp_path / "words.pth").write_text("no weights")
    pickled = tmp_path / "code.pth"
    torch.save({"layer": pathlib.Path("x")}, pickled)
    other = saved(tmp_path / "other.pth", torchvision.models.resnet18(num_classes=2))
    torch.save([1, 2], tmp_path / "list.pth")
    for path, said in (
        (tmp_path / "words.pth", "cannot be read as weights"),
        (pickled, "cannot be read as weights"),
        (tmp_path / "list.pth", "cannot be read as weights"),
        (tmp_path / "none.safetensors", "cannot be read as weights"),
        (other, "whose layers are not those of squeezenet1_1"),
    ):
        with pytest.raises(RecipeError, match=said) as raised:
            build_model("squeezenet1_1", str(path), 2, section="compare")
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(f"compare.weights is {path}")


def test_a_learner_sees_what_the_model_was_trained_on(tmp_path):
    model = torchvision.models.squeezenet1_1(num_classes=2).eval()
    path = saved(tmp_path / "weights.safetensors", model)
    learner = adapter.Learner("squeezenet1_1", str(path), 2, side=64, section="compare").eval()
    grey = torch.rand(2, 1, 64, 64)
    shown = v2.functional.normalize(grey.expand(-1, 3, -1, -1), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        assert torch.allclose(learner(grey * 2 - 1), model(shown), atol=1e-4)
        assert learner(torch.zeros(2, 3, 32, 32)).shape == (2, 2)


def test_what_torchvision_does_not_have(monkeypatch):
    with pytest.raises(RecipeError, match=r"did you mean 'resnet18'"):
        build_model("resnet81", None, 2)
    with pytest.raises(RecipeError, match=r"train\.weights is 'DEFALT'.*did you mean 'DEFAULT'"):
        build_model("resnet18", "DEFALT", 2)

    def offline(*_, **__):
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr(adapter.torchvision.models, "get_model", offline)
    with pytest.raises(RecipeError, match=r"set train\.weights to null") as raised:
        build_model("resnet18", "DEFAULT", 2)
    assert "\n" not in str(raised.value)


def test_features_are_what_a_pretrained_model_sees_before_its_last_layer(monkeypatch):
    torch.manual_seed(0)
    made = []
    get_model = torchvision.models.get_model

    def fetch(name, weights):
        assert weights is torchvision.models.ResNet18_Weights.IMAGENET1K_V1
        made.append(get_model(name, weights=None))
        return made[-1]

    monkeypatch.setattr(adapter.torchvision.models, "get_model", fetch)
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    found = adapter.feature_network("resnet18", chunk=2)(images)
    assert found.shape == (3, 512)
    assert isinstance(made[0].fc, nn.Identity)
    preset = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    large = torchvision.transforms.v2.functional.resize(images.expand(-1, 3, -1, -1), [224, 224]) / 255
    shown = torchvision.transforms.v2.functional.normalize(large, preset.mean, preset.std)
    with torch.no_grad():
        assert torch.allclose(found, made[0](shown), atol=1e-3)


def test_features_that_cannot_be_had(monkeypatch):
    with pytest.raises(RecipeError, match="features are 'resnet81', and torchvision has no such model; did you mean"):
        adapter.feature_network("resnet81")
    with pytest.raises(RecipeError, match="resnet18 has no weights 'IMAGENET1K_V7'"):
        adapter.feature_network("resnet18", "IMAGENET1K_V7")

    def fetch(name, weights):
        raise urllib.error.URLError("offline")

    monkeypatch.setattr(adapter.torchvision.models, "get_model", fetch)
    with pytest.raises(
        RecipeError, match=r"IMAGENET1K_V1 of resnet18 cannot be fetched .*; go online once, or take the"
    ):
        adapter.feature_network("resnet18")
