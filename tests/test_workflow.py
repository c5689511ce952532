import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import ganaug
from ganaug import workflow
from ganaug.data import fingerprint, open_folder
from ganaug.dataset import GanAugmented
from ganaug.errors import BankError, DataError, LeakError, OutputError
from ganaug.recipe import load_recipe, recipe_names
from ganaug.workflow import bank_path, preview, run, sample_to_folder


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_on_disk_are_those_of_the_bank(make_bank, tmp_path, monkeypatch, channels):
    monkeypatch.setattr(workflow, "_CHUNK", 4)
    bank = make_bank(("cat", "a/b"), channels=channels)
    folders = sample_to_folder(bank, tmp_path / "out", num=9, seed=5)
    assert folders[0] == tmp_path / "out" / "cat"
    assert folders[1].parent == tmp_path / "out"
    for name, folder in zip(bank.class_names, folders, strict=True):
        files = sorted(folder.iterdir())
        assert [file.name for file in files] == [f"{index:06d}.png" for index in range(9)]
        on_disk = np.stack([pixels_of(file).reshape(16, 16, channels) for file in files])
        assert np.array_equal(on_disk, bank.sample(name, 9, seed=5).permute(0, 2, 3, 1).numpy())


def test_samples_are_refused_before_anything_is_written(tiny_bank, tmp_path):
    for error, arguments in (
        (DataError, {"classes": ["cta"]}),
        (BankError, {"num": 0}),
        (BankError, {"num": 10**30}),
        (BankError, {"seed": -1}),
    ):
        with pytest.raises(error):
            sample_to_folder(tiny_bank, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="already holds something"):
        sample_to_folder(tiny_bank, tmp_path / "out")
    sample_to_folder(tiny_bank, tmp_path / "out", num=1, exist_ok=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "out" / ".ganaug").exists()  # the folder is the user's own


def test_a_preview_shows_the_copy_beside_its_original(tiny_bank, tmp_path, monkeypatch):
    """Training images, one of them exactly what the bank makes: it stands first among the nearest."""
    random = np.random.default_rng(0)
    made = {name: tiny_bank.sample(name, 8, seed=0).permute(0, 2, 3, 1).numpy() for name in tiny_bank.class_names}
    for name, images in made.items():
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(
                tmp_path / name / f"{number}.png"
            )
        Image.fromarray(images[2]).save(tmp_path / name / "planted.png")
    drawn = []
    original = workflow.draw_grid
    monkeypatch.setattr(
        workflow, "draw_grid", lambda panels, **kw: drawn.append(dict(panels)) or original(panels, **kw)
    )
    picture = preview(tiny_bank, data=tmp_path, seed=0)
    (panels,) = drawn
    assert list(panels) == ["synthetic", "nearest training image to each", "real"]
    for name in tiny_bank.class_names:
        nearest = panels["nearest training image to each"][name]
        assert torch.equal(nearest[2], panels["synthetic"][name][2])
        assert not torch.equal(nearest[1], panels["synthetic"][name][1])
        assert panels["real"][name].shape == (6, 3, 16, 16)
    assert picture.width > 1500


def test_a_preview_of_some_classes_without_data(tiny_bank):
    narrow = preview(tiny_bank, classes=["owl"], columns=3)
    assert narrow.height < preview(tiny_bank, columns=3).height
    with pytest.raises(DataError, match="did you mean 'owl'"):
        preview(tiny_bank, classes=["owll"])


def test_where_a_bank_goes(tmp_path):
    assert str(bank_path(tmp_path, ["cat", "dog"])) == "cat-dog.ganaug"
    assert str(bank_path(tmp_path / "pets", None)) == "pets.ganaug"
    assert str(bank_path(tmp_path / "pets" / "train", list("abcde"))) == "pets.ganaug"
    assert str(bank_path(tmp_path / "pets.csv", None)) == "pets.ganaug"
    assert "/" not in str(bank_path(tmp_path, ["../x"]))


@pytest.fixture
def whole(tiny_recipe):
    return tiny_recipe.replace(
        {
            "export": {"out": "mixed", "ratio": 0.5},
            "train": {"epochs": 1, "image_size": 32, "ratio": 0.5, "batch": 16},
        }
    )


def prints_of(path):
    return {fingerprint(image) for image, _ in open_folder(path)}


def test_a_whole_recipe_holds_a_part_back_from_everything(image_folder, whole, tmp_path):
    said = []
    out = tmp_path / "out"
    result = run(whole, data=image_folder, out=out, say=said.append)
    held, train = prints_of(out / "held-back.csv"), prints_of(out / "train.csv")
    assert held | train == prints_of(image_folder)
    assert not held & train
    bank = ganaug.load(result.bank)
    assert set(bank.manifest.held_back_fingerprints) == held
    assert set(bank.manifest.train_fingerprints) == train
    assert "held-back.csv" in said[0]
    assert bank.verdict is not None
    assert bank.verdict.subject == "bank"
    assert bank.verdict.measured["images"]["scoring"] == len(held)
    assert json.loads((out / "comparison.json").read_text())["summary"] == result.comparison.summary
    listed = list(csv.DictReader((out / "mixed" / "ganaug.csv").open()))
    reals = [row["path"] for row in listed if row["source"] == "real"]
    assert {fingerprint(Image.open(out / "mixed" / path)) for path in reals} == train
    assert len(listed) == len(reals) + round(len(reals) / 2)
    assert 0 <= result.trained.accuracy <= 1
    assert {path.name for path in out.iterdir()} == {
        ".ganaug", "bank.ganaug", "bank.run", "classifier.safetensors", "comparison.json", "held-back.csv", "mixed",
        "preview.png", "train.csv",
    }  # fmt: skip
    with pytest.raises(LeakError, match="held back"):
        GanAugmented(open_folder(image_folder), bank, ratio=0.5)


def test_a_whole_recipe_with_its_own_validation_images(image_folder, tiny_recipe, tmp_path):
    val = tmp_path / "val"
    for name in ("cat", "dog", "owl"):
        (val / name).mkdir(parents=True)
        (image_folder / name / "00.png").rename(val / name / "00.png")
    recipe = tiny_recipe.replace({"data.val": str(val), "data.path": str(image_folder), "data.classes": ["cat", "dog"]})
    result = run(recipe, out=tmp_path / "out", say=lambda line: None)
    bank = ganaug.load(result.bank)
    assert bank.class_names == ("cat", "dog")
    assert len(bank.manifest.train_fingerprints) == 16
    assert len(bank.manifest.held_back_fingerprints) == 2
    assert result.comparison.scored == 2
    assert not (tmp_path / "out" / "train.csv").exists()
    assert (result.exported, result.trained) == (None, None)
    (val / "cat" / "1.png").write_bytes((image_folder / "cat" / "01.png").read_bytes())
    with pytest.raises(LeakError, match="1 images"):
        run(recipe, out=tmp_path / "again", say=lambda line: None)
    assert not (tmp_path / "again").exists()


def test_one_image_under_two_classes_keeps_both_labels(image_folder, tiny_recipe, tmp_path):
    (image_folder / "dog" / "copy.png").write_bytes((image_folder / "cat" / "01.png").read_bytes())
    run(tiny_recipe, data=image_folder, out=tmp_path / "out", say=lambda line: None)
    rows = [
        tuple(row.values())
        for part in ("train", "held-back")
        for row in csv.DictReader((tmp_path / "out" / f"{part}.csv").open())
    ]
    for path, label in rows:
        assert f"/{label}/" in path


SHRUNK = {
    "kimg": 0.02, "gan.batch": 4, "snapshots.count": 1, "snapshots.samples": 4,
    "compare.seeds": 2, "compare.steps": 2, "compare.batch": 4, "compare.augments": ["none"], "compare.ratios": [0.5],
    "compare.schedules": ["constant"], "compare.screened": [False],
    "networks.generator_channels": 4, "networks.discriminator_channels": 4, "networks.max_channels": 8,
    "unlabelled.steps": 2,
}  # fmt: skip


@pytest.fixture
def unlabelled(image_folder, tmp_path):
    """A folder of all those images and of one more, which nobody has labelled."""
    folder = tmp_path / "unlabelled"
    shutil.copytree(image_folder, folder)
    pixels = np.random.default_rng(5).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "new.png")
    return folder


def test_a_whole_recipe_leaves_what_it_holds_back_out_of_the_unlabelled_images(
    image_folder, unlabelled, tiny_recipe, tmp_path
):
    recipe = tiny_recipe.replace({"data.unlabelled": str(unlabelled), "unlabelled.steps": 2})
    result = run(recipe, data=image_folder, out=tmp_path / "out", say=lambda line: None)
    manifest = ganaug.load(result.bank).manifest
    assert manifest.unlabelled == 1
    assert manifest.held_back_fingerprints
    assert not set(manifest.held_back_fingerprints) & set(manifest.train_fingerprints)


def test_images_of_val_among_the_unlabelled_ones_are_refused(image_folder, unlabelled, tiny_recipe, tmp_path):
    for name in ("cat", "dog", "owl"):
        (tmp_path / "val" / name).mkdir(parents=True)
        (image_folder / name / "02.png").rename(tmp_path / "val" / name / "02.png")
    recipe = tiny_recipe.replace({"data.unlabelled": str(unlabelled), "data.val": str(tmp_path / "val")})
    with pytest.raises(LeakError, match="3 of the 22 unlabelled images are among those held back"):
        run(recipe, data=image_folder, out=tmp_path / "out", say=lambda line: None)


# What is not run as a whole is fitted in test_segmenting.py.
@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).task == "classify"])
def test_every_shipped_recipe_runs(name, image_folder, unlabelled, tiny_recipe, tmp_path):
    recipe = load_recipe(name)
    smaller = SHRUNK | ({"train.epochs": 1, "train.image_size": 32} if recipe.train else {})
    if recipe.data.unlabelled is not None:
        smaller["data.unlabelled"] = str(unlabelled)
    result = run(recipe.replace(smaller), data=image_folder, out=tmp_path / "out", say=lambda line: None)
    assert ganaug.load(result.bank).resolution == recipe.resolution
    assert (result.exported is None) == (recipe.export is None)
    assert (result.trained is None) == (recipe.train is None)


def test_one_shipped_recipe_trains_a_resnet():
    recipe = load_recipe("classify-32-resnet18")
    assert recipe.train.model == "resnet18"
    assert recipe.train.ratio == "auto"
    assert recipe.export is not None
