import csv
import functools
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug import exporting, measures
from ganaug.bank import GeneratorBank
from ganaug.data import open_folder, safe_stem
from ganaug.errors import DataError, OutputError, RecipeError
from ganaug.exporting import export
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.manifest import Manifest
from ganaug.recipe import Recipe, Screening
from ganaug.screening import screen


def bank_of(*names, channels=3):
    shape = NetworkShape(
        resolution=16, image_channels=channels, classes=len(names), latent_dim=4, generator_channels=4, max_channels=8
    )
    manifest = Manifest(
        task="classify",
        class_names=names,
        label_numbers=tuple(range(len(names))),
        shape=shape.to_dict(),
        per_class=False,
        recipe=Recipe(resolution=16).model_dump(mode="json"),
        kimg=1,
        scores={},
        versions={},
        created="",
        train_fingerprints=(),
    )
    torch.manual_seed(0)
    return GeneratorBank(manifest, [Generator(shape)])


@pytest.fixture
def bank():
    return bank_of("cat", "dog")


def write(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 10), (shade, 40, 90)).save(path)


@pytest.fixture
def pets(tmp_path):
    """Six cats, one of them deeper down, and two dogs."""
    root = tmp_path / "pets"
    for index in range(5):
        write(root / "cat" / f"{index}.png", index)
    write(root / "cat" / "old" / "0.png", 99)
    for index in range(2):
        write(root / "dog" / f"{index}.jpg", 100 + index)
    return root


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def rows(out: Path) -> list[tuple[str, str, str]]:
    with (out / "ganaug.csv").open(newline="", encoding="utf-8") as stream:
        return [(row["path"], row["label"], row["source"]) for row in csv.DictReader(stream)]


def test_real_and_synthetic_side_by_side(pets, bank, tmp_path):
    before = tree(pets)
    out = tmp_path / "mixed"
    found = export(bank, pets, out, ratio=0.5, seed=3)
    assert tree(pets) == before
    made = tree(out)
    assert {name: data for name, data in made.items() if name in before} == before
    listed = rows(out)
    assert {path for path, _, _ in listed} == set(made) - {"ganaug.csv"}
    assert Counter((label, source) for _, label, source in listed) == {
        ("cat", "real"): 6, ("dog", "real"): 2, ("cat", "synthetic"): 3, ("dog", "synthetic"): 1,
    }  # fmt: skip
    assert all(path.startswith(label + "/") for path, label, _ in listed)
    assert (found.real, found.synthetic, found.apart, found.unknown) == (8, 4, {}, ())
    assert found.out == out
    pixels = np.asarray(Image.open(out / "cat" / "ganaug-3-000001.png"))
    assert np.array_equal(pixels, bank.sample("cat", 2, seed=3)[1].permute(1, 2, 0).numpy())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed", "pets"]  # nothing left beside
    assert len(open_folder(out)) == 12
    assert str(found) == f"wrote 8 real and 4 synthetic images to {out}"


@pytest.mark.parametrize(("ratio", "wanted"), [(0, 0), (0.3, 2), (1, 8), (40, 320)])
def test_any_ratio(pets, bank, tmp_path, ratio, wanted):
    assert export(bank, pets, tmp_path / "out", ratio=ratio).synthetic == wanted
    assert sum(source == "synthetic" for _, _, source in rows(tmp_path / "out")) == wanted


def test_samples_do_not_depend_on_how_many_are_drawn_at_once(pets, bank, tmp_path, monkeypatch):
    export(bank, pets, tmp_path / "whole", ratio=4)
    monkeypatch.setattr(exporting, "_CHUNK", 5)
    export(bank, pets, tmp_path / "parts", ratio=4)
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")


def test_grey_banks_write_grey_images(pets, tmp_path):
    export(bank_of("cat", channels=1), pets, tmp_path / "out")
    assert Image.open(tmp_path / "out" / "cat" / "ganaug-0-000000.png").mode == "L"


@pytest.mark.parametrize("link", ["auto", "copy", "hard", "sym"])
def test_links(pets, bank, tmp_path, link):
    out = tmp_path / "deep" / "out"
    export(bank, pets, out, link=link)
    ours, theirs = out / "cat" / "0.png", pets / "cat" / "0.png"
    assert ours.read_bytes() == theirs.read_bytes()
    assert ours.is_symlink() == (link == "sym")
    assert (theirs.stat().st_nlink == 2) == (link in {"auto", "hard"})


def test_a_disk_without_links(pets, bank, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    export(bank, pets, tmp_path / "out")
    assert (tmp_path / "out" / "cat" / "0.png").read_bytes() == (pets / "cat" / "0.png").read_bytes()
    with pytest.raises(OutputError, match="use link='copy'"):
        export(bank, pets, tmp_path / "other", link="hard")
    assert not (tmp_path / "other").exists()


def test_a_linked_image_is_followed(pets, bank, tmp_path):
    write(tmp_path / "elsewhere.png", 7)
    (pets / "dog" / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    export(bank, pets, tmp_path / "out")
    assert not (tmp_path / "out" / "dog" / "linked.png").is_symlink()
    assert (tmp_path / "out" / "dog" / "linked.png").read_bytes() == (tmp_path / "elsewhere.png").read_bytes()


def test_the_layout_is_kept_and_validation_is_untouched(pets, bank, tmp_path):
    whole = tmp_path / "set"
    (whole / "other").mkdir(parents=True)
    pets.rename(whole / "train")
    write(whole / "val" / "cat" / "0.png", 200)
    write(whole / "test" / "dog" / "0.png", 201)
    (whole / "test" / "readme.txt").write_text("theirs")
    (whole / "test" / "loop").symlink_to(whole / "test")
    out = tmp_path / "out"
    found = export(bank, whole, out, ratio=1)
    made = tree(out)
    assert {name for name in made if not name.startswith("train/")} == {
        "ganaug.csv", "val/cat/0.png", "test/dog/0.png", "test/readme.txt",
    }  # fmt: skip
    assert found.apart == {"test": 2, "val": 1}
    assert "; val: 1 files as they were" in str(found)
    assert all(path.startswith(f"train/{label}/") for path, label, _ in rows(out))
    assert sum("ganaug-0-" in name for name in made) == 8
    assert len(open_folder(out)) == 16


def test_a_train_folder_by_itself_is_just_a_folder(pets, bank, tmp_path):
    (tmp_path / "set").mkdir()
    pets.rename(tmp_path / "set" / "train")
    write(tmp_path / "set" / "val" / "cat" / "0.png", 200)
    found = export(bank, tmp_path / "set" / "train", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat", "dog", "ganaug.csv"]
    assert found.apart == {}


def test_a_table(tmp_path):
    strange = "../evil/cat"
    for place in ("a/1.png", "b/1.png", "c/1.PNG"):
        write(tmp_path / "images" / place, ord(place[0]))
    table = tmp_path / "pets.csv"
    lines = [f"images/a/1.png,{strange}", f"images/b/1.png,{strange}", f"images/c/1.PNG,{strange}"]
    table.write_text("\n".join(["path,label", *lines]))
    out = tmp_path / "out"
    export(bank_of(strange), table, out, ratio=1)
    folder = safe_stem(strange)
    assert {path.name for path in (out / folder).iterdir()} == {
        "1.png", "1-2.png", "1-3.PNG", "ganaug-0-000000.png", "ganaug-0-000001.png", "ganaug-0-000002.png",
    }  # fmt: skip
    assert {label for _, label, _ in rows(out)} == {strange}
    again = open_folder(out / "ganaug.csv")
    assert again.classes == [strange]
    assert len(again) == 6


def test_new_names_never_meet_the_users(pets, bank, tmp_path):
    write(pets / "cat" / "ganaug-0-000000.png", 55)
    write(pets / "cat" / "GANAUG-0.2-000007.png", 56)
    out = tmp_path / "out"
    export(bank, pets, out, ratio=1)
    assert (out / "cat" / "ganaug-0-000000.png").read_bytes() == (pets / "cat" / "ganaug-0-000000.png").read_bytes()
    assert (out / "cat" / "ganaug-0.3-000000.png").is_file()
    assert (out / "dog" / "ganaug-0-000000.png").is_file()


def test_classes_that_the_bank_does_not_know(pets, tmp_path):
    found = export(bank_of("dog"), pets, tmp_path / "out", ratio=2)
    assert found.unknown == ("cat",)
    assert (found.real, found.synthetic) == (8, 4)
    assert "none for cat" in str(found)
    with pytest.raises(DataError, match="knows none of the classes"):
        export(bank_of("emu"), pets, tmp_path / "other")


def test_some_classes(pets, bank, tmp_path):
    found = export(bank, pets, tmp_path / "out", classes=["dog"], ratio=1)
    assert (found.real, found.synthetic) == (2, 2)
    with pytest.raises(DataError, match="did you mean 'dog'"):
        export(bank, pets, tmp_path / "other", classes=["dot"])


def test_an_output_that_holds_something(pets, bank, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    export(bank, pets, out, ratio=0)  # empty is well
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"already holds something.*--exist-ok"):
        export(bank, pets, out)
    with pytest.raises(OutputError, match="is a file"):
        export(bank, pets, out / "mine.txt")


def test_exist_ok_replaces_what_an_earlier_export_made(pets, bank, tmp_path):
    out = tmp_path / "out"
    export(bank, pets, out, ratio=2, seed=1)
    (out / "mine.txt").write_text("mine")
    write(out / "cat" / "ganaug-9-000000.png", 1)  # not listed, so not ours
    (pets / "cat" / "4.png").unlink()
    before = tree(pets)
    export(bank, pets, out, ratio=1, seed=2, exist_ok=True)
    assert tree(pets) == before
    names = set(tree(out))
    assert {"mine.txt", "cat/ganaug-9-000000.png", "cat/4.png"} <= names
    assert not any("ganaug-1-" in name for name in names)
    assert sum("ganaug-2-" in name for name in names) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pets"]


def test_a_list_that_names_files_elsewhere_removes_nothing(pets, bank, tmp_path):
    write(tmp_path / "ganaug-0-000000.png", 1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "ganaug.csv").write_text("path,label,source\n../ganaug-0-000000.png,cat,synthetic\n")
    export(bank, pets, out, exist_ok=True)
    assert (tmp_path / "ganaug-0-000000.png").exists()


def test_a_link_inside_the_output_leads_nobody_into_the_users_files(pets, bank, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "cat").symlink_to(theirs)
    with pytest.raises(OutputError, match="leads out of"):
        export(bank, pets, tmp_path / "out", exist_ok=True)
    assert not list(theirs.iterdir())


@pytest.mark.parametrize("place", [".", "mixed", "cat", "cat/mixed", ".."])
def test_an_output_that_is_the_data(pets, bank, place):
    before = tree(pets)
    with pytest.raises(OutputError, match="choose another --out"):
        export(bank, pets, pets / place, exist_ok=True)
    assert tree(pets) == before


def test_an_output_that_is_the_data_through_a_link(pets, bank, tmp_path):
    (tmp_path / "door").symlink_to(pets)
    with pytest.raises(OutputError, match="inside the data"):
        export(bank, pets, tmp_path / "door" / "mixed")


def test_an_output_that_holds_the_images_of_a_table(pets, bank, tmp_path):
    (tmp_path / "pets.csv").write_text("path,label\npets/cat/0.png,cat\npets/cat/1.png,cat\n")
    with pytest.raises(OutputError, match="holds the data"):
        export(bank, tmp_path / "pets.csv", pets, exist_ok=True)
    assert export(bank, tmp_path / "pets.csv", tmp_path / "beside").real == 2


def test_an_output_that_cannot_be_written(pets, bank, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be"):
        export(bank, pets, tmp_path / "file" / "out")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        export(bank, pets, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pets"]


def test_an_image_that_is_a_link_to_nothing(pets, bank, tmp_path):
    (pets / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png"):
        export(bank, pets, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ratio", [-0.1, 1001, float("nan"), float("inf")])
def test_ratio_out_of_range(pets, bank, tmp_path, ratio):
    with pytest.raises(RecipeError, match="0 to 1000"):
        export(bank, pets, tmp_path / "out", ratio=ratio)


def test_an_unknown_link(pets, bank, tmp_path):
    with pytest.raises(RecipeError, match="'soft'; choose from"):
        export(bank, pets, tmp_path / "out", link="soft")


def test_only_samples_that_pass_the_screening(pets, bank, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=2))
    settings = Screening(doubt=None, far=None, copies=None, redundant=1.0, judges=2, steps=2)
    found = export(bank, pets, tmp_path / "out", ratio=5, seed=3, screening=settings, device="cpu")
    kept = screen(bank, pets, {"cat": 30, "dog": 10}, settings=settings, seed=3, device="cpu")
    written = {path: source for path, _, source in rows(tmp_path / "out")}
    expected = {f"{kept.names[i]}/ganaug-3-{j:06d}.png" for i, indices in kept.kept.items() for j in indices}
    assert {path for path, source in written.items() if source == "synthetic"} == expected
    assert found.synthetic == len(expected)
    assert found.short == kept.short
    assert ("too few passed the screening" in str(found)) == bool(kept.short)
    name = sorted(expected)[-1]
    pixels = np.asarray(Image.open(tmp_path / "out" / name))
    label, index = name.split("/")[0], int(name[-10:-4])
    assert np.array_equal(pixels, bank.sample(label, 1, seed=3, start=index)[0].permute(1, 2, 0).numpy())
