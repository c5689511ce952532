import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import ganaug
from ganaug.recipe import load_recipe, recipe_names

EXTRAS = {
    "albumentations", "datasets", "lightning", "pytorch_lightning", "ray", "segmentation_models_pytorch", "ultralytics",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(ended.stdout.split())


def test_importing_ganaug_loads_neither_torch_nor_an_extra():
    loaded = loaded_by("import ganaug; dir(ganaug); ganaug.__all__")
    assert "ganaug" in loaded
    assert not loaded & (EXTRAS | {"torch", "torchvision", "numpy", "PIL", "pydantic"})


def test_using_every_public_name_loads_no_extra():
    loaded = loaded_by("import ganaug; [getattr(ganaug, name) for name in ganaug.__all__]")
    assert "torch" in loaded
    assert not loaded & EXTRAS


def test_python_runs_it_as_a_module_too():
    ended = subprocess.run([sys.executable, "-m", "ganaug", "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout == f"ganaug {ganaug.__version__}\n"


@pytest.mark.parametrize("name", ganaug.__all__)
def test_every_public_name_is_there(name):
    found = getattr(ganaug, name)
    assert found.__name__ == name
    assert found.__module__.startswith("ganaug.")
    assert found.__doc__
    assert name in dir(ganaug)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        ganaug.fitt  # noqa: B018


def test_the_version_is_that_of_the_distribution():
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    if pyproject.is_file():
        assert f'\nversion = "{ganaug.__version__}"\n' in pyproject.read_text()
    try:
        assert importlib.metadata.version("ganaug") == ganaug.__version__
    except importlib.metadata.PackageNotFoundError:
        assert pyproject.is_file(), "neither installed nor a source tree"


def test_what_a_package_must_bring():
    package = Path(ganaug.__file__).parent
    assert (package / "py.typed").is_file()
    assert "classify-32" in recipe_names()
    tasks = {"classify", "detect", "enlarge", "fill", "segment", "translate"}
    assert {load_recipe(name).task for name in recipe_names()} == tasks


def test_every_module_says_what_it_is_for():
    package = Path(ganaug.__file__).parent
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        if "adapters" not in name:
            assert importlib.import_module(name.removesuffix(".__init__")).__doc__, name
