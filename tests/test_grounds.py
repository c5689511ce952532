"""Scenes on images whose own objects were erased."""

import pickle

import numpy as np
import pytest
import torch
from drawn_boxes import COLOURS, square_bank, write_yolo
from fillers import untrained_filler
from PIL import Image
from typer.testing import CliRunner

from ganaug import GanAugmented, Scenes, cli
from ganaug.bank import GeneratorBank
from ganaug.data.box_files import list_boxes
from ganaug.errors import BankError, DataError, LeakError, RecipeError
from ganaug.recipe import load_recipe

BARE = Scenes(blends=("hard",), colour=0.0, rotation=0.0, distractors=0.0, real=0.0, erased=1.0)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return list_boxes(write_yolo(tmp_path_factory.mktemp("boxes") / "set"))


@pytest.fixture(scope="module")
def filler():
    return untrained_filler()


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return tmp_path_factory.mktemp("pool")


def mixed_of(real, pool, fill, scenes=BARE, bank=None):
    return GanAugmented(real, bank or square_bank(), ratio=3.0, scenes=scenes, fill=fill, pool_dir=pool)


def of_real_objects(image):
    """How many pixels are of the colour of a real object."""
    pixels = np.asarray(image).astype(int)
    return sum(int((np.abs(pixels - colour).max(2) < 30).sum()) for colour in COLOURS)


def test_a_scene_on_an_erased_ground_holds_what_was_placed_and_no_more(real, pool, filler):
    mixed = mixed_of(real, pool, filler)
    for index in mixed.synthetic_indices().tolist():
        image, target = mixed[index]
        assert of_real_objects(image) == 0
        assert len(target["boxes"])
        for left, top, right, bottom in target["boxes"].int().tolist():
            inside = np.asarray(image).astype(int)[top:bottom, left:right]
            assert (inside[:, :, 1] < 70).mean() > 0.9  # magenta, and not the grey ground


def test_a_share_of_the_scenes_keeps_its_objects(real, pool, filler):
    mixed = mixed_of(real, pool, filler, BARE.model_copy(update={"erased": 0.5}))
    bare = [of_real_objects(mixed[index][0]) == 0 for index in mixed.synthetic_indices().tolist()]
    assert 3 <= sum(bare) <= len(bare) - 3


def test_without_a_bank_that_fills_or_with_a_share_of_none_scenes_stay_as_they_were(real, pool, filler, monkeypatch):
    without = mixed_of(real, pool, None)
    monkeypatch.setattr(GeneratorBank, "fill_in_turn", None)
    none = mixed_of(real, pool, filler, BARE.model_copy(update={"erased": 0.0}))
    for index in without.synthetic_indices().tolist():
        assert np.array_equal(without[index][0], none[index][0])
        assert torch.equal(without[index][1]["boxes"], none[index][1]["boxes"])


def test_grounds_are_made_once_and_never_by_who_reads_them(real, tmp_path, filler, monkeypatch):
    made = []
    original = GeneratorBank.fill_in_turn

    def fill_in_turn(self, image, parts, **more):
        made.append(1)
        return original(self, image, parts, **more)

    monkeypatch.setattr(GeneratorBank, "fill_in_turn", fill_in_turn)
    mixed = mixed_of(real, tmp_path, filler)
    assert len(made) == 5  # the last of the six has no object
    again = pickle.loads(pickle.dumps(mixed_of(real, tmp_path, filler)))
    for index in mixed.synthetic_indices().tolist()[:6]:
        assert np.array_equal(mixed[index][0], again[index][0])
        assert torch.equal(mixed[index][1]["boxes"], again[index][1]["boxes"])
    assert len(made) == 5


class Crowded:
    """A red and a blue object, of which the blue one stands for a crowd."""

    classes = ("red", "blue")

    def __len__(self):
        return 3

    def __getitem__(self, index):
        pixels = np.full((64, 80, 3), 128, dtype=np.uint8)
        pixels[10:30, 8:28], pixels[20:44, 50:74] = COLOURS
        return Image.fromarray(pixels), {
            "boxes": torch.tensor([[8.0, 10, 28, 30], [50, 20, 74, 44]]), "labels": torch.tensor([0, 1]),
            "iscrowd": torch.tensor([0, 1]), "area": torch.tensor([400.0, 500.0]),
        }  # fmt: skip


def test_a_crowd_stays_as_it_is_and_is_still_said(tmp_path, filler):
    mixed = mixed_of(Crowded(), tmp_path, filler)
    for index in mixed.synthetic_indices().tolist():
        image, target = mixed[index]
        assert target["iscrowd"].tolist() == [1] + [0] * (len(target["boxes"]) - 1)
        left, top, right, bottom = target["boxes"][0].int().tolist()
        assert 0 < of_real_objects(image) <= 24 * 24
        assert left >= 50
        assert right <= 74
        if (left, top, right, bottom) == (50, 20, 74, 44):
            assert target["area"][0] == 500


def test_what_does_not_go_together_is_refused_in_one_line(real, pool, filler, tiny_bank, pets):
    held = square_bank(held_back_fingerprints=("0" * 32,))
    seen = GeneratorBank(
        filler.manifest.model_copy(update={"train_fingerprints": ("0" * 32,)}), list(filler.generators)
    )
    grey = untrained_filler(channels=1)
    whole = [(Image.new("RGB", (40, 40)), {"boxes": torch.tensor([[0.0, 0, 40, 40]]), "labels": torch.tensor([0])})]
    cases = (
        (lambda: mixed_of(real, pool, square_bank()), BankError, "fit one for it with a recipe such as fill-64"),
        (lambda: mixed_of(real, pool, grey), BankError, "data.colour=rgb"),
        (lambda: mixed_of(real, pool, seen, bank=held), LeakError, "1 images that the other's fit held back"),
        (lambda: mixed_of(whole * 2, pool, filler), DataError, "hide more than 80% of each; leave fill out"),
        (lambda: GanAugmented(pets, tiny_bank, ratio=1, fill=filler), BankError, "leave fill out"),
        (lambda: GanAugmented(pets, tiny_bank, mode="translation", fill=filler), RecipeError, "fill out"),
    )
    for make, kind, said in cases:
        with pytest.raises(kind, match=said) as caught:
            make()
        assert "\n" not in str(caught.value)


def test_the_export_of_scenes_has_such_grounds_too(real, filler, tmp_path):
    recipe = load_recipe("detect-32").model_copy(update={"scenes": BARE})
    square_bank(recipe=recipe.model_dump(mode="json")).save(tmp_path / "cells.ganaug")
    filler.save(tmp_path / "ground.ganaug")
    (tmp_path / "pets").mkdir()

    def ran(*arguments):
        return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])

    settings = ("--data", real.root, "--out", tmp_path / "mixed", "--ratio", 2, "--fill", tmp_path / "ground.ganaug")
    done = ran("export", tmp_path / "cells.ganaug", "--format", "coco", *settings)
    assert done.exit_code == 0, done.output
    found = [of_real_objects(Image.open(file)) for file in (tmp_path / "mixed" / "images" / "synthetic").iterdir()]
    assert found == [0] * 12
    for arguments in (
        ("export", tmp_path / "cells.ganaug", *settings),
        ("run", "classify-16", "--data", tmp_path / "pets", "--fill", tmp_path / "ground.ganaug"),
    ):
        refused = ran(*arguments)
        assert isinstance(refused.exception, RecipeError)
        assert str(refused.exception).startswith("only scenes")
