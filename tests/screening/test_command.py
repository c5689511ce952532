import json

import pytest

from ganaug.bank import GeneratorBank
from ganaug.recipe import Screening
from ganaug.run_folder import check_results
from ganaug.screening import screen


@pytest.fixture
def folder(make_bank, image_folder, monkeypatch, tmp_path, quick):
    """pets.ganaug, whose recipe says how it is screened, beside images/."""
    recipe = make_bank().recipe.replace({f"screening.{name}": value for name, value in quick})
    make_bank(recipe=recipe.model_dump(mode="json")).save(tmp_path / "pets.ganaug")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_screen_prints_a_table_and_keeps_the_figures(folder, ganaug_command):
    ended = ganaug_command("screen", "pets.ganaug", "--data", "images", "--num", 4, "--seed", 2, "--out", "kept")
    assert ended.code == 0
    bank = GeneratorBank.load("pets.ganaug")
    found = screen(bank, "images", 4, seed=2, device="cpu")
    assert json.loads((folder / "pets.run" / "screening.json").read_text()) == found.to_dict()
    assert "asked" in ended.out
    assert found.summary in ended.out
    kept = {path.relative_to(folder / "kept").as_posix() for path in (folder / "kept").rglob("*.png")}
    assert kept == {f"{found.names[index]}/{i:06d}.png" for index in found.kept for i in found.kept[index]}


def test_screen_complains_before_any_work(folder, ganaug_command):
    (folder / "pets.run").mkdir()
    (folder / "pets.run" / "mine.txt").write_text("mine")
    assert "holds something else" in ganaug_command("screen", "pets.ganaug", "--data", "images").complaint
    (folder / "pets.run" / "mine.txt").unlink()
    check_results(folder / "pets.ganaug")
    assert (
        "is the data itself"
        in ganaug_command("screen", "pets.ganaug", "--data", "images", "--out", "images", "--num", 1).complaint
    )
    assert "there is no folder" in ganaug_command("screen", "pets.ganaug", "--data", "nowhere").complaint
    assert not (folder / "pets.run" / "screening.json").exists()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("doubt", 1.5), ("far", -0.1), ("copies", 2), ("redundant", float("nan")), ("judges", 1), ("draw", 0.5)],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(ValueError, match=setting):
        Screening(**{setting: value})
