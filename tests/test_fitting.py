import csv

import numpy as np
import pytest
import torch
from PIL import Image

import ganaug
from ganaug import fitting, planning
from ganaug.data import read_images
from ganaug.errors import DataError, RecipeError, TrainingError
from ganaug.fitting import fit
from ganaug.gan.loop import Fit
from ganaug.gan.step import Trainer
from ganaug.planning import choose_recipe, plan_fit


def quiet(dataset, recipe, **arguments):
    return fit(dataset, recipe=recipe, progress=False, **arguments)


def same(bank, other):
    """Whether two banks hold the same weights and say the same, but for when they were made."""
    ours, theirs = bank.generators.state_dict(), other.generators.state_dict()
    told = [b.manifest.model_dump(exclude={"created"}) for b in (bank, other)]
    return told[0] == told[1] and all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


@pytest.fixture
def stop_after_first(monkeypatch):
    """Call it, and the next fit is interrupted when it has written so many checkpoints."""

    def arm(count=1):
        original, seen = Fit._save, []

        def save(self, *arguments):
            original(self, *arguments)
            seen.append(1)
            if len(seen) == count:
                monkeypatch.setattr(Fit, "_save", original)
                raise KeyboardInterrupt

        monkeypatch.setattr(Fit, "_save", save)

    return arm


def test_a_fit_gives_a_bank_that_tells_how_it_came_to_be(image_folder, tiny_recipe, tmp_path):
    bank = quiet(image_folder, tiny_recipe, seed=3, held_back=("ab", "cd"))
    manifest = bank.manifest
    assert bank.class_names == ("cat", "dog", "owl")
    assert bank.sample("owl", 2).shape == (2, 3, 16, 16)
    assert manifest.held_back_fingerprints == ("ab", "cd")
    assert set(manifest.train_fingerprints) == set(read_images(image_folder, resolution=16).fingerprints)
    assert set(manifest.train_perceptual) == set(read_images(image_folder, resolution=16).perceptual)
    assert manifest.recipe == tiny_recipe.replace({"seed": 3}).model_dump(mode="json")
    assert 0 < manifest.kimg <= 0.064
    assert set(manifest.scores) == {"score", "coverage", "kernel_distance", "spread_ratio", "sharpness_ratio"}
    assert manifest.versions["ganaug"] == ganaug.__version__
    assert same(ganaug.load(bank.save(tmp_path / "pets.ganaug")), bank)


def test_the_same_seed_gives_the_same_bank_and_another_seed_another(image_folder, tiny_recipe):
    bank = quiet(image_folder, tiny_recipe)
    assert same(quiet(image_folder, tiny_recipe), bank)
    assert not same(quiet(image_folder, tiny_recipe, seed=1), bank)


def test_the_run_folder_fills(image_folder, tiny_recipe, tmp_path):
    quiet(image_folder, tiny_recipe, run_dir=tmp_path / "a" / "pets.run")
    run = tmp_path / "a" / "pets.run"
    assert {path.name for path in run.iterdir()} == {
        ".ganaug", "checkpoint-all.safetensors", "curves-all.png", "images.json", "log-all.csv", "recipe.yaml",
        "samples-all-000002.png", "samples-all-000004.png",
    }  # fmt: skip
    rows = list(csv.DictReader((run / "log-all.csv").open()))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all(0 <= float(row["coverage"]) <= 1 for row in rows)
    assert rows[0]["reconstruction"]
    assert [bool(row["generator"]) for row in rows] == [False, True]
    assert ganaug.load_recipe(run / "recipe.yaml") == tiny_recipe
    with Image.open(run / "samples-all-000004.png") as grid:
        assert len(grid.getcolors(1 << 20)) > 50


def test_one_network_for_each_class(image_folder, tiny_recipe, tmp_path):
    recipe = tiny_recipe.replace({"per_class": True, "kimg": 0.192})
    bank = quiet(image_folder, recipe, run_dir=tmp_path / "run")
    assert len(bank.generators) == 3
    assert bank.manifest.shape["classes"] == 1
    assert {path.name for path in (tmp_path / "run").glob("checkpoint*")} == {
        f"checkpoint-class-{index}.safetensors" for index in range(3)
    }
    weights = [generator.to_image.weight for generator in bank.generators]
    assert not torch.equal(weights[0], weights[1])
    assert bank.sample("dog", 1).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("per_class", [False, True])
def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(
    image_folder, tiny_recipe, tmp_path, stop_after_first, per_class
):
    recipe = tiny_recipe.replace({"per_class": per_class})
    whole = quiet(image_folder, recipe)
    stop_after_first(3 if per_class else 1)  # in the middle of the second class
    with pytest.raises(KeyboardInterrupt):
        quiet(image_folder, recipe, run_dir=tmp_path / "run")
    steps = []
    original = Trainer.step

    def counted(self, *arguments):
        steps.append(1)
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", counted)
        assert same(quiet(image_folder, recipe, run_dir=tmp_path / "run", resume=True), whole)
    assert len(steps) == (3 if per_class else 2)  # of 6 and of 4
    log = (tmp_path / "run" / ("log-class-1.csv" if per_class else "log-all.csv")).read_text()
    assert len(log.splitlines()) == 3


def test_resuming_without_a_checkpoint_starts_afresh_and_says_so(image_folder, tiny_recipe, tmp_path):
    plan = plan_fit(image_folder, recipe=tiny_recipe, run_dir=tmp_path / "run", resume=True)
    assert not plan.goes_on
    assert "starting afresh" in plan.lines()[0]
    assert not (tmp_path / "run").exists()


@pytest.fixture
def interrupted(image_folder, tiny_recipe, tmp_path, stop_after_first):
    stop_after_first()
    with pytest.raises(KeyboardInterrupt):
        quiet(image_folder, tiny_recipe, run_dir=tmp_path / "run")
    return tmp_path / "run"


def test_a_fit_goes_on_with_its_own_recipe_alone(image_folder, tiny_recipe, interrupted):
    def plan(recipe=None, **arguments):
        return plan_fit(image_folder, recipe=recipe, run_dir=interrupted, resume=True, **arguments)

    assert plan().recipe == plan(tiny_recipe).recipe == plan(kimg=0.064).recipe == tiny_recipe
    assert plan().goes_on
    for asked in ({"kimg": 0.1}, {"seed": 4}, {"recipe": "classify-32"}, {"minutes": 3.0}, {"settings": {"gan.r1": 9}}):
        with pytest.raises(RecipeError, match="asked for; go on with the same settings"):
            plan(**asked)


def test_a_fit_goes_on_with_its_own_images_alone(image_folder, tiny_recipe, interrupted):
    with pytest.raises(DataError, match="other images or classes"):
        plan_fit(image_folder, classes=["dog", "cat", "owl"], run_dir=interrupted, resume=True)
    (image_folder / "cat" / "00.png").unlink()
    with pytest.raises(DataError, match="other images or classes"):
        plan_fit(image_folder, run_dir=interrupted, resume=True)


def test_minutes_that_a_probe_turned_into_kimg_stay_so_when_a_fit_goes_on(
    image_folder, tiny_recipe, tmp_path, stop_after_first, monkeypatch
):
    monkeypatch.setattr(planning, "seconds_per_step", lambda *_: 1.0)
    recipe = tiny_recipe.replace({"minutes": 0.1})
    assert recipe.kimg is None
    stop_after_first()
    with pytest.raises(KeyboardInterrupt):
        quiet(image_folder, recipe, run_dir=tmp_path / "run")
    monkeypatch.setattr(planning, "seconds_per_step", lambda *_: 2.0)
    bank = quiet(image_folder, recipe, run_dir=tmp_path / "run", resume=True)
    assert bank.manifest.recipe["kimg"] == pytest.approx(5 * 16 / 1000)  # 0.9 of 6 seconds, a second a step
    assert bank.manifest.recipe["minutes"] == 0.1


def test_the_probe_measures(image_folder, tiny_recipe):
    plan = plan_fit(image_folder, recipe=tiny_recipe, minutes=0.5)
    assert plan.minutes is not None
    assert 0 < plan.minutes <= 0.45
    assert plan.recipe.kimg > 0.05
    assert "minutes" in plan.lines()[-1]


def test_a_new_fit_takes_away_what_an_old_one_left_and_nothing_else(image_folder, tiny_recipe, tmp_path):
    run = tmp_path / "run"
    quiet(image_folder, tiny_recipe.replace({"per_class": True}), run_dir=run)
    (run / "notes.txt").write_text("mine")
    quiet(image_folder, tiny_recipe, run_dir=run)
    assert not list(run.glob("*class-0*"))
    assert (run / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_grey_images_give_a_grey_bank(tmp_path, tiny_recipe, mode, channels):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (18, 18, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / name / f"{number}.png")
    bank = quiet(tmp_path, tiny_recipe)
    assert bank.channels == channels
    assert bank.sample("a", 1).shape[1] == channels


def test_images_already_read(image_folder, tiny_recipe):
    data = read_images(image_folder, resolution=16)
    assert same(quiet(data, tiny_recipe), quiet(image_folder, tiny_recipe))
    with pytest.raises(DataError, match="16 px and the recipe is for 32"):
        plan_fit(data, recipe="classify-32")
    with pytest.raises(DataError, match="leave classes out"):
        plan_fit(data, recipe=tiny_recipe, classes=["cat"])
    with pytest.raises(DataError, match="'dog' has 1 image; wanted at least 2"):
        plan_fit(data.subset([0, 1, 12, 18, 19]), recipe=tiny_recipe)


def test_a_dataset_and_its_classes(tiny_recipe):
    pixels = torch.randint(0, 255, (9, 3, 20, 20), dtype=torch.uint8)
    items = [(pixels[index], index % 3) for index in range(9)]
    bank = quiet(items, tiny_recipe, classes=["2", "0"])
    assert bank.class_names == ("2", "0")
    assert bank.label_numbers == (2, 0)


def test_the_recipe_names_classes_and_an_argument_outdoes_it(image_folder, tiny_recipe):
    recipe = tiny_recipe.replace({"data.classes": ["owl", "cat"]})
    assert plan_fit(image_folder, recipe=recipe).data.class_names == ("owl", "cat")
    assert plan_fit(image_folder, recipe=recipe, classes=["dog", "owl"]).data.class_names == ("dog", "owl")


def test_unreadable_files_stop_a_fit_or_are_counted(image_folder, tiny_recipe):
    (image_folder / "cat" / "03.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"03\.png: is empty"):
        plan_fit(image_folder, recipe=tiny_recipe)
    plan = plan_fit(image_folder, recipe=tiny_recipe, on_bad="skip")
    assert plan.data.counts() == [11, 6, 3]
    assert any("skipped: 1 " in line and "03.png" in line for line in plan.lines())


@pytest.mark.parametrize(("side", "name"), [(8, "classify-16"), (28, "classify-32"), (90, "classify-32")])
def test_the_recipe_follows_from_the_images(side, name):
    items = [(np.zeros((side, side + 9, 3), np.uint8), 0)] * 3
    assert choose_recipe(items)[0] == name


@pytest.mark.parametrize("per_class", [False, True])
def test_the_largest_seed_is_one(image_folder, tiny_recipe, per_class):
    bank = quiet(image_folder, tiny_recipe.replace({"per_class": per_class}), seed=2**63 - 1)
    assert bank.manifest.recipe["seed"] == 2**63 - 1


def nan_from(step):
    original = Trainer.step

    def broken(self, *arguments):
        logged = original(self, *arguments)
        return logged | {"generator": torch.tensor(float("nan"))} if self.steps >= step else logged

    return broken


def test_a_fit_that_breaks_down_at_once_leaves_nothing(image_folder, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "step", nan_from(1))
    with pytest.warns(UserWarning, match="1 of 3"), pytest.raises(TrainingError, match="not a number"):
        quiet(image_folder, tiny_recipe, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_fit_that_breaks_down_later_keeps_its_best_and_warns(image_folder, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "step", nan_from(3))
    with pytest.warns(UserWarning, match="not a number .* the best snapshot is kept"):
        bank = quiet(image_folder, tiny_recipe, run_dir=tmp_path / "run")
    assert bank.manifest.kimg == 0.032
    (event,) = bank.manifest.events
    assert (event.part, event.kind, event.kimg) == ("all", "broken", 0.064)
    (row,) = csv.DictReader((tmp_path / "run" / "log-all.csv").open())
    assert row["events"] == event.told


def test_running_out_of_memory_says_what_to_lower(image_folder, tiny_recipe, monkeypatch):
    def full(self, *_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(Trainer, "step", full)
    with pytest.raises(TrainingError, match=r"lower gan\.batch"):
        quiet(image_folder, tiny_recipe)
    with pytest.raises(TrainingError, match=r"lower gan\.batch"):
        plan_fit(image_folder, recipe=tiny_recipe, minutes=1)


def test_a_fault_of_our_own_is_not_taken_for_a_lack_of_memory(image_folder, tiny_recipe, monkeypatch):
    def wrong(self, *_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Trainer, "step", wrong)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        quiet(image_folder, tiny_recipe)


@pytest.mark.parametrize("per_class", [False, True])
def test_a_set_that_memory_does_not_hold_gives_the_same_bank(
    image_folder, tiny_recipe, tmp_path, monkeypatch, per_class
):
    recipe = tiny_recipe.replace({"per_class": per_class})
    bank = quiet(image_folder, recipe)
    monkeypatch.setattr("ganaug.data.room._SHARE", 0.0)
    monkeypatch.setattr("ganaug.data.room._home", lambda: tmp_path / "cache")
    assert same(quiet(image_folder, recipe), bank)
    assert (tmp_path / "cache").is_dir()


def test_a_snapshot_is_compared_with_some_images_of_large_classes(monkeypatch):
    monkeypatch.setattr(fitting, "_COMPARED", 20)
    monkeypatch.setattr(fitting, "_LEAST_COMPARED", 5)
    labels = torch.tensor([1, 0] * 30 + [2] * 3)
    rows = fitting._compared(labels, 3)
    assert torch.bincount(labels[rows]).tolist() == [6, 6, 3]
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert rows.min() < 6
    assert rows.max() == 62
    assert torch.bincount(labels[fitting._compared(labels, 3)]).max() == 6
    assert fitting._compared(labels[:10], 2).tolist() == list(range(10))


def test_images_that_were_held_back_are_listed_by_both_prints(image_folder, tiny_recipe):
    data = read_images(image_folder, resolution=16)
    kept = [0, 1, 2, 12, 13, 14, 18, 19]
    bank = quiet(data.subset(kept), tiny_recipe, held_back=data.subset([5, 20]))
    assert bank.manifest.held_back_fingerprints == (data.fingerprints[5], data.fingerprints[20])
    assert bank.manifest.held_back_perceptual == (data.perceptual[5], data.perceptual[20])
    assert len(bank.manifest.train_perceptual) == len(kept)
