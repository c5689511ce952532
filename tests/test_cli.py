import json
import subprocess
import sys

import pytest

import ganaug
from ganaug.gan.loop import Fit
from ganaug.progress import Bar


@pytest.fixture
def folder(image_folder, tiny_recipe, monkeypatch):
    """The user's folder, entered: cat/, dog/, owl/ and tiny.yaml."""
    monkeypatch.chdir(image_folder)
    (image_folder / "tiny.yaml").write_text(tiny_recipe.to_yaml())
    return image_folder


@pytest.fixture
def fitted(folder, ganaug_command):
    """The same with the bank cat-dog.ganaug and its run folder."""
    assert ganaug_command("fit", "--classes", "cat,dog", "--recipe", "tiny.yaml").code == 0
    return folder


def test_help_needs_neither_torch_nor_pydantic():
    code = (
        "import sys; from ganaug import cli; sys.argv = ['ganaug', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({'torch', 'pydantic', 'numpy', 'PIL'} & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"
    for command in ("fit", "sample", "preview", "inspect", "compare", "export", "run", "demo"):
        assert f" {command} " in ended.stdout


def test_no_arguments_is_a_plea_for_help(ganaug_command):
    assert ganaug_command() == ganaug_command("--help")
    assert ganaug_command("--version").out == f"ganaug {ganaug.__version__}\n"


def test_every_command_has_help(ganaug_command):
    for command in ("fit", "sample", "preview", "inspect", "compare", "export", "run", "demo"):
        ended = ganaug_command(command, "--help")
        assert ended.code == 0
        assert "Usage: ganaug" in ended.out


def test_classes_are_added_to_a_bank_and_unlabelled_images_told_of(fitted, ganaug_command):
    before = (fitted / "cat-dog.ganaug").read_bytes()
    more = ("fit", "--classes", "owl", "--into", "cat-dog.ganaug", "--unlabelled", "dog", "--kimg", 0.016)
    assert ganaug_command(*more).complaint.startswith("cat-dog.ganaug exists already")
    ended = ganaug_command(*more, "--out", "all.ganaug", "--set", "unlabelled.steps=2")
    assert ended.code == 0, ended.err
    assert "unlabelled: 6 images" in ended.err
    assert "starts from: a bank of cat, dog (the generator alone" in ended.err
    assert (fitted / "cat-dog.ganaug").read_bytes() == before
    told = ganaug_command("inspect", "all.ganaug").out
    assert "cat (0), dog (1), owl (2)" in told
    assert "6 of these, of which joined: owl 0" in told


def test_fit_writes_a_bank_and_a_run_folder_named_after_the_classes(fitted):
    bank = ganaug.load(fitted / "cat-dog.ganaug")
    assert bank.class_names == ("cat", "dog")
    assert (fitted / "cat-dog.run" / "log-all.csv").is_file()


def test_fit_says_what_it_does(folder, ganaug_command):
    ended = ganaug_command("fit", "--recipe", "tiny.yaml", "--on-bad", "skip")
    assert ended.out == ""
    assert "images: 21 in 3 classes (cat 12, dog 6, owl 3)" in ended.err
    assert "budget: 0.1 kimg, 4 steps, on cpu" in ended.err
    assert ended.err.count("kimg  ") == 1  # no terminal: the bar is one line
    assert "wrote images.ganaug" in ended.err


def test_what_ganaug_wrote_into_the_folder_is_not_read_as_data(fitted, ganaug_command):
    assert ganaug_command("sample", "cat-dog.ganaug", "--num", 1).code == 0
    assert ganaug_command("preview", "cat-dog.ganaug").code == 0
    (fitted / "samples" / "cat" / "more.png").write_bytes((fitted / "cat" / "00.png").read_bytes())
    ended = ganaug_command("fit", "--recipe", "tiny.yaml", "--dry-run")
    assert "images: 21 in 3 classes (cat 12, dog 6, owl 3)" in ended.err


def test_a_second_fit_needs_leave(fitted, ganaug_command):
    again = ("fit", "--classes", "cat,dog", "--recipe", "tiny.yaml")
    before = (fitted / "cat-dog.ganaug").read_bytes()
    assert "cat-dog.ganaug exists already" in ganaug_command(*again).complaint
    assert (fitted / "cat-dog.ganaug").read_bytes() == before
    assert ganaug_command(*again, "--seed", 2, "--exist-ok").code == 0
    assert ganaug.load(fitted / "cat-dog.ganaug").recipe.seed == 2


def test_a_dry_run_prints_the_resolved_recipe_and_writes_nothing(folder, ganaug_command, tmp_path):
    before = sorted(folder.rglob("*"))
    flags = ("--recipe", "tiny.yaml", "--set", "gan.r1=0.7", "--set", "seed=4", "--seed", 5, "--batch", 8)
    ended = ganaug_command("fit", "--dry-run", *flags)
    (tmp_path / "said.yaml").write_text(ended.out)
    said = ganaug.load_recipe(tmp_path / "said.yaml")
    assert (said.gan.r1, said.seed, said.gan.batch, said.kimg) == (0.7, 5, 8, 0.064)  # flags outdo --set
    assert sorted(folder.rglob("*")) == before
    assert "recipe: classify-16 (the images are about 20 px)" in ganaug_command("fit", "--dry-run", "--kimg", 1).err


def test_a_budget_flag_outdoes_a_budget_setting(folder, ganaug_command, tmp_path):
    ended = ganaug_command("fit", "--dry-run", "--recipe", "tiny.yaml", "--set", "minutes=7", "--kimg", 3)
    assert "\nkimg: 3.0\n" in ended.out


def test_the_recipe_names_the_data(folder, ganaug_command, tmp_path, monkeypatch):
    recipe = ganaug.load_recipe("tiny.yaml").replace({"data.path": str(folder), "data.classes": ["owl", "cat"]})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml())
    ended = ganaug_command("fit", "--recipe", "mine.yaml")
    assert "images: 15 in 2 classes (owl 3, cat 12)" in ended.err
    assert (tmp_path / "owl-cat.ganaug").is_file()


def test_an_interrupt_says_how_to_go_on_and_it_does(folder, ganaug_command, monkeypatch):
    fit = ("fit", "--classes", "cat,dog", "--recipe", "tiny.yaml")
    original = Fit._save

    def stop(self, *arguments):
        original(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "_save", stop)
        ended = ganaug_command(*fit)
    assert ended.code == 130
    assert "stopped" in ended.complaint
    assert "--resume" in ended.complaint
    assert not (folder / "cat-dog.ganaug").exists()
    assert "--resume" in ganaug_command(*fit).complaint
    ended = ganaug_command(*fit, "--resume")
    assert ended.code == 0
    assert "going on from the last checkpoint" in ended.err
    whole = ganaug_command(*fit, "--out", "whole.ganaug")
    assert whole.code == 0
    banks = [ganaug.load(name) for name in ("cat-dog.ganaug", "whole.ganaug")]
    assert banks[0].fingerprint == banks[1].fingerprint
    assert banks[0].manifest.scores == banks[1].manifest.scores


def test_resume_without_a_checkpoint_starts_afresh(folder, ganaug_command):
    ended = ganaug_command("fit", "--recipe", "tiny.yaml", "--resume")
    assert ended.code == 0
    assert "images.run holds no checkpoint yet; starting afresh" in ended.err


def test_interrupts_elsewhere_promise_nothing(fitted, ganaug_command, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ganaug.bank.GeneratorBank.sample_at", stop)
    ended = ganaug_command("sample", "cat-dog.ganaug")
    assert (ended.code, ended.complaint) == (130, "stopped")


def test_sample_preview_and_inspect(fitted, ganaug_command):
    assert ganaug_command("sample", "cat-dog.ganaug", "--num", 3, "--classes", "dog", "--out", "made").code == 0
    assert len(list((fitted / "made" / "dog").iterdir())) == 3
    assert ganaug_command("preview", "cat-dog.ganaug", "--data", ".", "--out", "look.png").code == 0
    assert (fitted / "look.png").is_file()
    said = ganaug_command("inspect", "cat-dog.ganaug").out
    assert "cat (0), dog (1)" in said
    assert "18 images" in said
    assert "none yet" in said
    told = json.loads(ganaug_command("inspect", "cat-dog.ganaug", "--json").out)
    assert told["class_names"] == ["cat", "dog"]


def test_compare_prints_and_keeps_its_verdict(fitted, ganaug_command):
    options = ("--data", ".", "--seeds", 2, "--ratios", "0.5", "--steps", 3, "--out", "figures.json")
    ended = ganaug_command("compare", "cat-dog.ganaug", *options)
    assert ended.code == 0
    assert "no augmentation, ratio 0.5: accuracy on" in ended.out
    assert "real and synthetic" in ended.out
    assert ganaug.load("cat-dog.ganaug").verdict is not None
    assert json.loads((fitted / "figures.json").read_text())["chosen"]["ratio"] == 0.5
    kept = json.loads((fitted / "cat-dog.run" / "comparison.json").read_text())
    assert kept["command"] == (
        "ganaug compare cat-dog.ganaug --data . --seeds 2 --ratios 0.5 --steps 3 --out figures.json"
    )
    assert kept["settings"]["steps"] == 3
    cells = list((fitted / "cat-dog.run" / "cells").glob("*.json"))
    assert len(cells) == 1 + 2 * len(kept["final"])  # a refit, and each arm with 2 seeds
    assert "compare" in ended.err
    assert "figures.json exists already" in ganaug_command("compare", "cat-dog.ganaug", *options).complaint
    assert "verdict" in ganaug_command("inspect", "cat-dog.ganaug").out


def test_export_writes_real_and_synthetic(fitted, ganaug_command, tmp_path):
    ended = ganaug_command("export", "cat-dog.ganaug", "--data", ".", "--out", tmp_path / "mixed", "--ratio", 1)
    assert ended.code == 0
    assert "wrote 21 real and 18 synthetic images" in ended.err


def test_export_writes_only_what_passes_the_screening_where_asked(fitted, ganaug_command, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("ganaug.exporting.export", lambda *_, screening, **__: asked.append(screening))
    for flags in ((), ("--screening",)):
        assert ganaug_command("export", "cat-dog.ganaug", "--out", tmp_path / "mixed", *flags).code == 0
    assert asked == [False, True]


def test_export_goes_beside_the_data_by_default(fitted, ganaug_command):
    ended = ganaug_command("export", "cat-dog.ganaug")
    assert ended.code == 0
    assert (fitted.parent / f"{fitted.resolve().name}-mixed" / "ganaug.csv").is_file()


def test_as_a_program(fitted):
    code = "import sys; from ganaug.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "inspect", "cat-dog.gan"], capture_output=True, text=True, cwd=fitted
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "ganaug: cat-dog.gan does not exist; give a file NAME.ganaug\n"


def test_the_bar_tells_the_rate_of_the_work_that_is_done_now():
    now = [0.0]
    bar = Bar(10.0, shown=False, clock=lambda: now[0])
    bar.skip_to(0.5)  # done before the fit was interrupted
    bar.move(0.51)
    now[0] = 2.0
    bar.move(0.61)
    assert bar.rate == pytest.approx(500)
    assert bar._told(0.61) == "6.1/10.0 kimg  500 images/s  0:00:08 left"
    now[0] = 60.0
    bar.skip_to(0.9)
    bar.move(0.9)
    now[0] = 61.0
    bar.move(0.91)
    assert bar.rate == pytest.approx(100)
