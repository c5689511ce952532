import csv
import warnings

import pytest
import torch

from ganaug.data import read_images
from ganaug.errors import DataError, OutputError, RecipeError
from ganaug.gan.monitor import Event, Snapshot
from ganaug.recipe import Recipe
from ganaug.run_folder import RunFolder

RECIPE = Recipe(resolution=16, kimg=1.0)
HISTORY = [
    Snapshot(5, 0.5, 1.234, 0.25, {"coverage": 0.5}),
    Snapshot(10, 1.0, 2.5, 0.75, {"coverage": 0.9, "generator": 1.5}),
]
IMAGES = {"cat": torch.zeros(2, 3, 16, 16, dtype=torch.uint8)}


@pytest.fixture
def data(image_folder):
    return read_images(image_folder, resolution=16)


@pytest.fixture
def started(tmp_path, data):
    run = RunFolder(tmp_path / "x.run")
    run.start(RECIPE, data)
    return run


def test_nothing_is_made_before_the_start(tmp_path):
    run = RunFolder(tmp_path / "x.run")
    assert not run.can_go_on()
    run.discard()
    assert not (tmp_path / "x.run").exists()


def test_the_recipe_is_kept(started):
    assert started.recipe() == RECIPE


def test_the_log_has_a_row_for_each_snapshot_and_a_column_for_each_measure(started):
    started.record("all", HISTORY, IMAGES, IMAGES)
    rows = list(csv.DictReader((started.path / "log-all.csv").open(newline="")))
    assert rows == [
        {"step": "5", "kimg": "0.5", "seconds": "1.23", "score": "0.25", "coverage": "0.5", "generator": ""},
        {"step": "10", "kimg": "1.0", "seconds": "2.5", "score": "0.75", "coverage": "0.9", "generator": "1.5"},
    ]
    assert (started.path / "samples-all-000010.png").is_file()


def test_what_went_wrong_is_in_the_row_of_the_snapshot_that_follows_it(started):
    events = [Event(3, 0.3, "broken", "a, b"), Event(5, 0.5, "collapse", "c"), Event(12, 1.2, "broken", "d")]
    started.record("all", HISTORY, IMAGES, IMAGES, events)
    rows = list(csv.DictReader((started.path / "log-all.csv").read_text("utf-8").splitlines()))
    assert [row["events"] for row in rows] == ["a, b; c", "d"]


def test_curves_are_drawn_now_and_then_and_at_the_end(started, monkeypatch):
    started.record("all", HISTORY, IMAGES, IMAGES)
    assert not (started.path / "curves-all.png").exists()
    started.draw("all", HISTORY)
    (started.path / "curves-all.png").unlink()
    monkeypatch.setattr("ganaug.run_folder._CURVES_EVERY", -1.0)
    started.record("all", HISTORY, IMAGES, IMAGES)
    assert (started.path / "curves-all.png").is_file()


def test_a_grid_of_very_many_classes_stays_a_picture(started, monkeypatch):
    drawn = []
    monkeypatch.setattr("ganaug.run_folder.draw_grid", lambda panels: drawn.extend(panels))
    monkeypatch.setattr("ganaug.run_folder.save_picture", lambda *_: None)
    many = {str(number): IMAGES["cat"] for number in range(1000)}
    started.record("all", HISTORY, many, many)
    assert [len(panel) for _, panel in drawn] == [100, 100]


def test_images_are_told_from_others(started, data):
    started.check_images(data)
    for other in (data.subset(range(len(data) - 1)), data.subset([1, 0, *range(2, len(data))])):
        with pytest.raises(DataError, match="other images or classes"):
            started.check_images(other)
    (started.path / "images.json").write_text("{")
    with pytest.raises(DataError, match=r"images\.json cannot be read"):
        started.check_images(data)


def test_a_fit_that_left_a_checkpoint_is_not_discarded(started):
    started.checkpoint("all").write_bytes(b"x")
    started.discard()
    assert started.can_go_on()
    assert started.recipe() == RECIPE


def test_what_the_user_put_there_is_not_discarded(started):
    (started.path / "notes.txt").write_text("mine")
    started.discard()
    assert {path.name for path in started.path.iterdir()} == {"notes.txt", ".ganaug"}


def test_a_start_replaces_what_an_earlier_fit_left(started, data):
    started.checkpoint("class-7").write_bytes(b"x")
    started.start(RECIPE.replace({"seed": 4}), data)
    assert not started.can_go_on()
    assert started.recipe().seed == 4


def test_it_cannot_be_made_below_a_file(tmp_path, data):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be made"):
        RunFolder(tmp_path / "file" / "x.run").start(RECIPE, data)


def test_a_recipe_that_was_damaged(started):
    (started.path / "recipe.yaml").write_text("resolution: 17")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: resolution is 17"):
        started.recipe()


def test_pictures_that_cannot_be_written_are_warned_of_once_and_left_out(started, monkeypatch):
    def full(*_):
        raise OutputError("grid.png cannot be written (No space left on device); choose another --out")

    monkeypatch.setattr("ganaug.run_folder.save_picture", full)
    with pytest.warns(UserWarning, match=r"No space left on device\); training goes on without it"):
        started.record("all", HISTORY[:1], IMAGES, IMAGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        started.record("all", HISTORY, IMAGES, IMAGES)
    assert len((started.path / "log-all.csv").read_text().splitlines()) == 3


def test_half_written_files_of_a_killed_fit_go_when_it_goes_on(started):
    halves = [".log-all.csv.17.part", ".samples-all-000002.png.5.part", "checkpoint-all.safetensors.part"]
    for name in (*halves, "notes.part", "checkpoint-all.safetensors"):
        (started.path / name).write_text("half")
    started.go_on()
    left = {path.name for path in started.path.iterdir()}
    assert left == {".ganaug", "recipe.yaml", "images.json", "notes.part", "checkpoint-all.safetensors"}
