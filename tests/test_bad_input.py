"""Whatever a user gets wrong: one line, exit 1 or 2, and every file as it was."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.bank import GeneratorBank
from ganaug.gan.step import Trainer


def tree(folder: Path) -> dict[str, str]:
    """What every path below `folder` is."""
    found = {}
    for above, folders, files in os.walk(folder):
        for path in (Path(above) / name for name in (*folders, *files)):
            if path.is_symlink():
                found[str(path)] = f"-> {os.readlink(path)}"
            else:
                found[str(path)] = "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture
def place(tmp_path, image_folder, tiny_recipe, make_bank, monkeypatch):
    """images/ with cat, dog and owl; tiny.yaml; pets.ganaug and files that are none; other things in the way."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(tiny_recipe.to_yaml())
    make_bank().save("pets.ganaug")
    whole = Path("pets.ganaug").read_bytes()
    Path("cut.ganaug").write_bytes(whole[: len(whole) // 2])
    Path("lying.ganaug").write_bytes(whole.replace(b'\\"latent_dim\\":8', b'\\"latent_dim\\":9'))
    Path("empty.ganaug").write_bytes(b"")
    Path("plain.txt").write_text("theirs")
    Path("full").mkdir()
    Path("full", "mine.txt").write_text("mine")
    Path("bare").mkdir()
    Path("loose").mkdir()
    Path("loose", "1.png").write_bytes(Path("images/cat/00.png").read_bytes())
    return tmp_path


@pytest.fixture
def refused(place, ganaug_command):
    """Runs a command that must be refused; returns the line that says why."""

    def run(*arguments, code=1):
        before = tree(place)
        ended = ganaug_command(*arguments)
        assert ended.code == code, ended.err
        assert tree(place) == before
        assert ended.out == ""
        return ended.complaint

    return run


FIT = "fit --data images --recipe tiny.yaml --out new/x.ganaug"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("fit --data nowhere --out new/x.ganaug", "there is no folder or file nowhere"),
        ("fit --data bare --out new/x.ganaug", "bare holds nothing; wanted class folders"),
        ("fit --data loose --out new/x.ganaug", "1 images but no class folders"),
        ("fit --data plain.txt --out new/x.ganaug", "plain.txt is a file; wanted class folders"),
        (f"{FIT} --classes cat,dgo", "there is no class 'dgo'; did you mean 'dog'?"),
        (f"{FIT} --classes cat,cat", "class 'cat' is named 2 times"),
        (f"{FIT} --classes=", "there is no class ''"),
        (f"{FIT} --device cuda:7", "device 'cuda:7' is not on this machine"),
        (f"{FIT} --device gpu", "there is no device 'gpu'"),
        (f"{FIT} --kimg 0", "kimg is 0.0"),
        (f"{FIT} --kimg -3", "kimg is -3.0"),
        (f"{FIT} --kimg nan", "kimg is nan"),
        (f"{FIT} --kimg inf", "kimg is inf"),
        (f"{FIT} --kimg 1e30", "kimg is 1e+30"),
        (f"{FIT} --minutes 0", "minutes is 0.0"),
        (f"{FIT} --minutes -1", "minutes is -1.0"),
        (f"{FIT} --minutes nan", "minutes is nan"),
        (f"{FIT} --minutes 1e30", "minutes is 1e+30"),
        (f"{FIT} --kimg 1 --minutes 1", "both kimg and minutes are given"),
        (f"{FIT} --batch 0", "gan.batch is 0"),
        (f"{FIT} --batch -4", "gan.batch is -4"),
        (f"{FIT} --batch 100000", "gan.batch is 100000"),
        (f"{FIT} --seed -1", "seed is -1"),
        (f"{FIT} --seed 99999999999999999999", "seed is 99999999999999999999"),
        (f"{FIT} --set resolution=48", "resolution is 48"),
        (f"{FIT} --set gan.rr1=1", "there is no setting 'gan.rr1'; did you mean 'r1'?"),
        (f"{FIT} --set gan=1", "gan"),
        (f"{FIT} --set gan.batch=many", "gan.batch is 'many'"),
        (f"{FIT} --set gan.r1=[1,", "is not valid YAML"),
        ("fit --data images --recipe missing.yaml", "there is no recipe file missing.yaml"),
        ("fit --data images --recipe clasify-16", "did you mean 'classify-16'?"),
        ("fit --data images --recipe plain.txt", "plain.txt holds a str, not a mapping"),
        ("fit --data images --recipe full/mine.txt", "not a mapping"),
        ("fit --data images --recipe pets.ganaug", "pets.ganaug"),
        ("fit --data images --out pets.ganaug", "pets.ganaug exists already"),
        ("fit --data images --out full", "full is a folder"),
        ("fit --data images --out images", "images is the data"),
        ("fit --data images --out plain.txt --exist-ok", "plain.txt exists and is not a bank"),
        ("fit --data images --out images/cat/00.png --exist-ok", "exists and is not a bank"),
        ("fit --data images --out x.run", "x.run would be the folder"),
        ("fit --data images --out plain.txt/x.ganaug", "plain.txt cannot be written to (Not a directory)"),
        ("fit --data images --out /proc/x.ganaug", "/proc cannot be written to"),
        (f"{FIT} --unlabelled nowhere", "there is no folder or file nowhere"),
        (f"{FIT} --unlabelled bare", "bare holds no images"),
        (f"{FIT} --unlabelled images", "all 21 unlabelled images are copies of labelled ones"),
        (f"{FIT} --unlabelled loose --set unlabelled.share=1", "unlabelled.share is 1"),
        (f"{FIT} --base nowhere.ganaug", "nowhere.ganaug does not exist"),
        (f"{FIT} --base cut.ganaug", "cut.ganaug is not a bank"),
        (f"{FIT} --base pets.ganaug", "the base has networks.latent_dim 8 and this fit 4"),
        (f"{FIT} --base pets.ganaug --set resolution=32", "makes 16 px colour images and this fit is for 32 px"),
        (
            f"{FIT} --base pets.ganaug --set data.colour=grey",
            "this fit is for 16 px grey images",
        ),
        (f"{FIT} --base pets.ganaug --set per_class=true", "per_class goes with neither base nor networks.keep"),
        (f"{FIT} --into pets.ganaug", "class 'cat' is in the bank already"),
        (f"{FIT} --into pets.ganaug --base pets.ganaug", "both base and into are given"),
        ("fit --data images --into pets.ganaug", "pets.ganaug exists already"),
        ("sample nowhere.ganaug", "nowhere.ganaug does not exist"),
        ("sample full", "full is a folder"),
        ("sample pets.ganaug --classes cat,dgo", "did you mean 'dog'?"),
        ("sample pets.ganaug --classes cat,cat", "named 2 times"),
        ("sample pets.ganaug --seed -1", "seed is -1"),
        ("sample pets.ganaug --seed 99999999999999999999", "seed is 99999999999999999999"),
        ("sample pets.ganaug --out full", "full already holds something"),
        ("sample pets.ganaug --out plain.txt", "plain.txt is a file"),
        ("sample pets.ganaug --out plain.txt/x", "cannot be written to"),
        ("sample pets.ganaug --out /proc/x", "cannot be written to"),
        ("sample pets.ganaug --device cuda:7", "device 'cuda:7' is not on this machine"),
        ("preview pets.ganaug --out plain.txt", "plain.txt exists already"),
        ("preview pets.ganaug --out full --exist-ok", "full is a folder"),
        ("preview pets.ganaug --out plain.txt/x.png", "cannot be written to"),
        ("preview pets.ganaug --data nowhere", "there is no folder or file nowhere"),
        ("preview pets.ganaug --data loose", "no class folders"),
        ("preview pets.ganaug --classes owls", "did you mean 'owl'?"),
        ("compare pets.ganaug --data nowhere", "there is no folder or file nowhere"),
        ("compare pets.ganaug --data images --ratios 0.5 --seeds 1", "compare.seeds is 1"),
        ("compare pets.ganaug --data images --ratios -1", "compare.ratios"),
        ("compare pets.ganaug --data images --ratios nan", "compare.ratios"),
        ("compare pets.ganaug --data images --minutes 0", "minutes is 0.0"),
        ("compare pets.ganaug --data images --val images", "images of val are among those"),
        ("compare pets.ganaug --data images --classes cat,dog --unlabelled bare", "bare holds no images"),
        ("compare pets.ganaug --data images --classes cat,dog --base plain.txt", "plain.txt is not a bank"),
        ("compare pets.ganaug --data images --device cuda:7", "device 'cuda:7' is not on this machine"),
        ("compare pets.ganaug --data images --out plain.txt", "plain.txt exists already"),
        ("export pets.ganaug --data nowhere", "there is no folder or file nowhere"),
        ("export pets.ganaug --data images --out images", "holds the data"),
        ("export pets.ganaug --data images --out full", "already holds something"),
        ("export pets.ganaug --data images --out plain.txt", "is a file"),
        ("export pets.ganaug --data images --ratio -1", "ratio is -1"),
        ("export pets.ganaug --data images --ratio nan", "ratio is nan"),
        ("export pets.ganaug --data images --seed -1", "seed is -1"),
        ("run missing.yaml --data images", "there is no recipe file missing.yaml"),
        ("run tiny.yaml --data nowhere", "there is no folder or file nowhere"),
        ("run tiny.yaml --data images --classes cat,dgo", "did you mean 'dog'?"),
        ("run tiny.yaml --data images --out images", "images is the data itself"),
        ("run tiny.yaml --data images --out full", "full already holds something"),
        ("run tiny.yaml --data images --out plain.txt", "plain.txt is a file"),
        ("run tiny.yaml --data images --out plain.txt/x", "cannot be written to"),
        ("run tiny.yaml --data images --device cuda:7", "device 'cuda:7' is not on this machine"),
        ("demo --out full", "full already holds something"),
        ("demo --out plain.txt/x", "cannot be written to"),
    ],
)
def test_refused(refused, command, said):
    assert said in refused(*command.split(" "))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("fit --kimgs 3", "--kimg"),
        ("fit --kimg much", "--kimg"),
        ("fit --on-bad perhaps", "perhaps"),
        ("fit --data images --set gan.r1", "write it as gan.r1=0.5"),
        ("fit more", "more"),
        ("sample", "BANK"),
        ("sample pets.ganaug --num 0", "--num"),
        ("sample pets.ganaug --num -1", "--num"),
        ("sample pets.ganaug --num 99999999", "--num"),
        ("compare pets.ganaug --data images --ratios a,b", "write them as 0.5,1"),
        ("export pets.ganaug --format zip", "zip"),
        ("fitt", "fit"),
    ],
)
def test_usage(refused, command, said):
    assert said in refused(*command.split(" "), code=2)


@pytest.mark.parametrize("name", ["cut", "lying", "empty"])
@pytest.mark.parametrize("command", ["sample", "preview", "inspect", "compare --data images", "export --data images"])
def test_no_bank(refused, command, name):
    command, *rest = command.split(" ")
    assert f"{name}.ganaug is" in refused(command, f"{name}.ganaug", *rest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resolutoin: 16", "there is no setting 'resolutoin'; did you mean 'resolution'?"),
        ("gan: {batch: several}", "gan.batch is 'several'"),
        ("- a", "holds a list, not a mapping"),
        ("a: [", "is not valid YAML"),
        ("", "holds nothing"),
    ],
)
def test_recipes(refused, place, text, said):
    (place / "mine.yaml").write_text(text)
    assert said in refused("fit", "--data", "images", "--recipe", "mine.yaml")
    assert said in refused("run", "mine.yaml", "--data", "images")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty (0 bytes)"), (b"no image", "not an image"), (None, "cut short"), (Image, "too large")],
)
def test_bad_files_are_named_or_skipped_and_counted(place, refused, ganaug_command, content, said):
    path = place / "images" / "cat" / "03.png"
    if content is None:
        path.write_bytes(path.read_bytes()[:700])
    elif content is Image:
        Image.new("1", (20_000, 11_000)).save(path)
    else:
        path.write_bytes(content)
    complaint = refused(*FIT.split(" "))
    assert "03.png" in complaint
    assert said in complaint
    ended = ganaug_command(*FIT.split(" "), "--on-bad", "skip")
    assert ended.code == 0
    assert "skipped: 1 " in ended.err
    assert "(cat 11, dog 6, owl 3)" in ended.err
    assert ganaug_command("preview", "new/x.ganaug", "--data", "images", "--on-bad", "skip").code == 0


def test_one_image_in_a_class(place, refused):
    for path in sorted((place / "images" / "owl").iterdir())[1:]:
        path.unlink()
    assert "class 'owl' has one image; wanted at least 2" in refused(*FIT.split(" "))


def test_a_link_that_loops(place, ganaug_command):
    (place / "images" / "cat" / "again").symlink_to(place / "images", target_is_directory=True)
    (place / "images" / "self").symlink_to("self")
    before = tree(place / "images")
    ended = ganaug_command(*FIT.split(" "))
    assert ended.code == 0
    assert "(cat 12, dog 6, owl 3)" in ended.err
    assert tree(place / "images") == before


NAMES = ["tabby cat", "..", "a/b", "../../up", "кошка", "猫", "قطة", ".hidden", "CON", "a" * 200, "50%", "[red]", "-x"]


def test_class_names_are_data(place, ganaug_command):
    files = sorted(path.as_posix() for path in Path("images").rglob("*.png"))
    rows = [f"{file},{NAMES[index % len(NAMES)]}" for index, file in enumerate(files * 2)]
    (place / "names.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    before = tree(place)
    assert ganaug_command(*["fit", "--data", "names.csv", "--recipe", "tiny.yaml", "--out", "out/x.ganaug"]).code == 0
    assert GeneratorBank.load("out/x.ganaug").class_names == tuple(sorted(NAMES))
    for command in ("sample --num 1 --out out/samples", "preview --data names.csv --out out/look.png", "inspect",
                    "export --data names.csv --ratio 1 --out out/mixed"):  # fmt: skip
        command, *rest = command.split(" ")
        ended = ganaug_command(command, "out/x.ganaug", *rest)
        assert ended.code == 0, ended.err
    assert len([path for path in Path("out/samples").iterdir() if path.is_dir()]) == len(NAMES)
    assert len(list(Path("out/samples").glob("*/000000.png"))) == len(NAMES)
    assert {path: what for path, what in tree(place).items() if path in before} == before
    assert {Path(path).relative_to(place).parts[0] for path in set(tree(place)) - set(before)} == {"out"}
    assert not [path for path in place.parent.iterdir() if path.name == "up"]


def test_a_folder_whose_name_is_no_text(place, refused):
    try:
        os.rename("images/cat", b"images/caf\xe9")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    assert "cannot be written as text; rename the class" in refused(*FIT.split(" "))


def test_a_bank_named_after_a_class_stays_here(place, ganaug_command):
    (place / "up.csv").write_text("path,label\n" + "".join(f"images/cat/0{n}.png,../up\n" for n in range(4)))
    assert ganaug_command("fit", "--data", "up.csv", "--classes", "../up", "--recipe", "tiny.yaml").code == 0
    (bank,) = set(place.glob("*.ganaug")) - {place / f"{name}.ganaug" for name in ("pets", "cut", "lying", "empty")}
    assert bank.name.startswith("_up-")


def test_nan_in_training(refused, monkeypatch):
    original = Trainer.step

    def broken(self, *arguments):
        return original(self, *arguments) | {"generator": torch.tensor(float("nan"))}

    monkeypatch.setattr(Trainer, "step", broken)
    Path("new").mkdir()
    assert "the loss is not a number after 4 steps; lower gan.generator_lr" in refused(*FIT.split(" "))


def test_resuming(place, refused, ganaug_command):
    assert ganaug_command(*FIT.split(" ")).code == 0
    assert "gan.r1 0.05, and 3.0 is asked for" in refused(*FIT.split(" "), "--resume", "--set", "gan.r1=3")
    assert "other images or classes" in refused(*FIT.split(" "), "--resume", "--classes", "cat,dog")
    checkpoint = place / "new" / "x.run" / "checkpoint-all.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    assert "is no whole checkpoint" in refused(*FIT.split(" "), "--resume")
    (place / "new" / "x.run" / "recipe.yaml").write_text("- no recipe")
    assert "recipe.yaml holds a list" in refused(*FIT.split(" "), "--resume")


def test_a_disk_that_is_full(refused, monkeypatch):
    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert "No space left on device" in refused("preview", "pets.ganaug", "--out", "x.png")


def test_more_images_a_step_than_there_are(place, ganaug_command):
    ended = ganaug_command(*FIT.split(" "), "--batch", 512, "--kimg", 0.01)
    assert ended.code == 0
    assert "1 step," in ended.err


def test_later_steps_of_a_run_are_looked_at_before_the_fit(place, refused):
    def with_(changes):
        tiny = (place / "tiny.yaml").read_text()
        (place / "run.yaml").write_text(tiny.replace("train: null", changes).replace("export: null", changes))

    with_("train: {model: resnet81}")
    assert "train.model is 'resnet81'" in refused("run", "run.yaml", "--data", "images")
    (place / "ganaug-run" / "mixed").mkdir(parents=True)
    (place / "ganaug-run" / "mixed" / "x").write_text("mine")
    with_("export: {out: ../full}")
    assert "already holds something" in refused("run", "run.yaml", "--data", "images", "--out", "bare")
    (place / "tiny.yaml").write_text((place / "tiny.yaml").read_text().replace("val: null", "val: images"))
    with_("x")
    assert "give others as data.val" in refused("run", "tiny.yaml", "--data", "images", "--out", "bare")


def test_a_grid_of_one_colour_images_is_drawn(place, ganaug_command):
    for path in (place / "images").rglob("*.png"):
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
    assert ganaug_command(*FIT.split(" ")).code == 0
