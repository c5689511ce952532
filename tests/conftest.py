"""Shared by all tests: a bank without training, a folder of drawn images, a cache of the test's own."""

import functools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ganaug import cli, measures
from ganaug.bank import GeneratorBank, Manifest
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.recipe import Recipe, load_recipe

pytest_plugins = ["planted"]

# Where a shell runs the tests in the background, Ctrl-C comes ignored, here and in the processes that are started.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers of pytest-xdist share the processor; each with all of its threads would only wait for the others.
torch.set_num_threads(1)

MakeBank = Callable[..., GeneratorBank]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganaug.pool._default_directory", lambda: tmp_path_factory.getbasetemp() / "pools")


@pytest.fixture(autouse=True)
def briefly_taught(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that scores snapshots learns for 40 steps: most fits here are not looked at for how good they are."""
    if "well_taught" not in request.keywords:
        monkeypatch.setattr("ganaug.measures.train_features", functools.partial(measures.train_features, steps=40))


def untrained_bank(
    names: tuple[str, ...] = ("cat", "dog", "owl"),
    *,
    per_class: bool = False,
    channels: int = 3,
    numbers: tuple[int, ...] | None = None,
    **manifest: Any,
) -> GeneratorBank:
    shape = NetworkShape(
        resolution=16, image_channels=channels, classes=1 if per_class else len(names), latent_dim=8, class_dim=4,
        generator_channels=8, discriminator_channels=8, max_channels=16,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        generators = [Generator(shape) for _ in (names if per_class else ("all",))]
        for generator in generators:
            torch.nn.init.normal_(generator.class_embedding.weight, std=3.0)
            torch.nn.init.normal_(generator.to_image.weight, std=1.0)
    values: dict[str, Any] = {
        "task": "classify",
        "class_names": names,
        "label_numbers": numbers or tuple(range(len(names))),
        "shape": shape.to_dict(),
        "per_class": per_class,
        "recipe": Recipe(resolution=16, per_class=per_class).model_dump(mode="json"),
        "kimg": 1.0,
        "scores": {"score": 0.5},
        "versions": {"ganaug": "0.1.0"},
        "created": "2025-01-01T00:00:00+00:00",
        "train_fingerprints": (),
    }
    return GeneratorBank(Manifest(**{**values, **manifest}), generators)


@pytest.fixture
def make_bank() -> MakeBank:
    """Makes an untrained 16 px bank: `make_bank(("cat", "dog"), per_class=True, ...)`."""
    return untrained_bank


@pytest.fixture
def tiny_bank() -> GeneratorBank:
    """An untrained bank of cat, dog and owl, 16 px RGB."""
    return untrained_bank()


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """cat/ with 12, dog/ with 6 and owl/ with 3 drawn PNG files, 20 x 24 px (height, width)."""
    root, random = tmp_path / "images", np.random.default_rng(0)
    for shade, (name, count) in enumerate({"cat": 12, "dog": 6, "owl": 3}.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 80, (20, 24, 3), dtype=np.uint8) + np.uint8(80 * shade)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture
def pets(image_folder: Path) -> ImageFolder:
    """The image folder as tensors of 16 x 16 px."""
    return ImageFolder(str(image_folder), transform=v2.Compose([v2.Resize((16, 16)), v2.ToImage()]))


@pytest.fixture
def tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """16 px, 4 steps of 16 images, 2 snapshots, the smallest networks; fits by it take a second."""
    original = measures.train_features
    monkeypatch.setattr(measures, "train_features", functools.partial(original, steps=3))
    monkeypatch.setattr("ganaug.gan.loop.fastest_precision", lambda device: "float32")  # the same on every machine
    return load_recipe(
        {
            "resolution": 16,
            "kimg": 0.064,
            "networks": {"latent_dim": 4, "generator_channels": 4, "discriminator_channels": 4, "max_channels": 8},
            "gan": {"batch": 16},
            "reconstruction": {"share": 0.5},
            "snapshots": {"count": 2, "samples": 4},
            "compare": {
                "augments": ["none"],
                "ratios": [0.5],
                "schedules": ["constant"],
                "screened": [False],
                "balanced": False,
                "splits": 1,
                "seeds": 2,
                "steps": 3,
            },
        }
    )


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line that says what was wrong, without its prefix."""
        (line,) = [line for line in self.err.splitlines() if line.startswith("ganaug: ")]
        assert self.err.endswith(line + "\n"), "said last"
        assert "Traceback" not in self.err
        return line.removeprefix("ganaug: ")


@pytest.fixture
def ganaug_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command line in this process: `ganaug_command("fit", "--kimg", 3)`."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["ganaug", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ended(int(caught.value.code or 0), *capsys.readouterr())

    return run
