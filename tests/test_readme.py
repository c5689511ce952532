import re
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_boxes import square_bank, write_yolo
from fillers import untrained_filler
from PIL import Image
from translators import untrained_translator

from ganaug import load_recipe
from ganaug.cli import app
from ganaug.recipe import recipe_names

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
TELLING = {
    "wrap": "DataLoader(train, batch_size=64",
    "fit": "ganaug.compare(",
    "vary": "bank.vary(",
    "enlarge": "larger.enlarge(",
    "translate": "bank.translate(",
    "fill": "bank.fill(",
    "explore": "ganaug.explore(",
    "boxes": "list_boxes(",
    "swap": "SyntheticSwap(",
}
"""What the block of that name alone says."""


def run_block(name):
    """What the block leaves behind."""
    (block,) = [block for block in BLOCKS if TELLING[name] in block]
    left = {}
    exec(compile(block, "README.md", "exec"), left)
    return left


@pytest.fixture
def pets(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for shade, name in ((60, "cat"), (180, "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(12):
            pixels = random.normal(shade, 30, (20, 20, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_blocks_run(pets, monkeypatch):
    assert len(BLOCKS) == len(TELLING)
    fitted = run_block("fit")
    assert fitted["images"].shape == (16, 3, 16, 16)
    assert fitted["bank"].verdict is None
    wrapped = run_block("wrap")
    assert len(wrapped["train"]) == 24 * (1 + fitted["comparison"].verdict.ratio)
    assert wrapped["images"].shape[1:] == (3, 32, 32)
    monkeypatch.setattr("ganaug.exploring.survey._STEPS", 4)
    explored = run_block("explore")
    assert [direction.number for direction in explored["found"].directions] == [0, 1, 2, 3]
    assert explored["moved"].fingerprint != fitted["bank"].fingerprint
    varied = run_block("vary")
    assert varied["varied"].shape == (8, 3, 16, 16)
    assert len(varied["train"]) == 48
    for path in sorted((pets / "pets").rglob("*.png")):
        (pets / "photos" / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((64, 72)).save(pets / "photos" / path.parent.name / path.name)
    with pytest.warns(UserWarning, match="was not fitted on"):
        enlarged = run_block("enlarge")
    assert enlarged["images"].shape == (8, 3, 32, 32)
    assert enlarged["train"][30][0].size == (64, 72)
    pytest.importorskip("albumentations")
    untrained_filler().save(pets / "ground.ganaug")
    swapped = run_block("swap")
    assert swapped["shown"].shape == (20, 24, 3)


def test_the_block_on_translation_runs(pets):
    (pets / "pets").rename(pets / "day")
    untrained_translator().save(pets / "day-to-night.ganaug")
    made = run_block("translate")
    assert len(made["train"]) == 24
    assert made["night"].shape == (3, 20, 20)


def test_the_block_on_filling_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    untrained_filler().save(tmp_path / "ground.ganaug")
    made = run_block("fill")
    assert made["filled"].shape == (2, 3, 90, 120)
    assert made["shown"].shape == (3, 90, 120)


def test_the_block_on_boxes_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_yolo(tmp_path / "cells")
    square_bank().save(tmp_path / "cells.ganaug")
    untrained_filler().save(tmp_path / "ground.ganaug")
    made = run_block("boxes")
    assert len(made["train"]) == len(made["bare"]) == 9
    assert [image.dtype for image in made["images"]] == [torch.float32] * 4
    assert all(len(target["boxes"]) == len(target["labels"]) for target in made["targets"])


def test_every_command_and_recipe_that_is_named_exists():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    named = set(re.findall(r"`?ganaug ([a-z]+)\b", README))
    assert commands <= named
    assert {word for word in named if re.search(rf"^\| `ganaug {word}", README, re.MULTILINE)} == commands
    kinds = "classify|detect|enlarge|fill|segment|translate|vae|vary"
    assert set(re.findall(rf"`((?:{kinds})-[a-z0-9-]+)`", README)) == set(recipe_names())


def test_every_setting_that_is_named_exists():
    for key, value in re.findall(r"--set ([a-z_.0-9]+)=([a-z0-9.]+)", README):
        load_recipe("classify-32").replace({key: {"true": True, "null": None}.get(value, value)})


def test_the_two_commands_are_there():
    assert "    python -m pip install . && ganaug demo\n" in README
    assert "    python -m pip install '.[all,test]' && python -m pytest\n" in README
