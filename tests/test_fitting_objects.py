"""From images with boxes to a bank and its cut-outs, on a tiny fit."""

import functools
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

import ganaug
from ganaug import measures
from ganaug.data.objects import ObjectImages
from ganaug.errors import BankError, DataError, RecipeError
from ganaug.planning import choose_recipe, plan_fit
from ganaug.tasks import get_task

TINY = {
    "resolution": 32, "kimg": 0.032, "networks.generator_channels": 8, "networks.discriminator_channels": 8,
    "networks.max_channels": 16, "gan.batch": 4, "snapshots.count": 2, "snapshots.samples": 4,
}  # fmt: skip


def write_voc(root, count=5):
    """Coins and cards on grey, 80 x 60 px, with their boxes in Pascal VOC's files."""
    random = np.random.default_rng(0)
    for folder in ("JPEGImages", "Annotations"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        pixels = np.full((60, 80, 3), 70, np.uint8) + random.integers(0, 9, (60, 80, 3), dtype=np.uint8)
        said = ElementTree.Element("annotation")
        for name, left, top, width, height, shade in (("coin", 8, 12, 20, 20, 220), ("card", 45, 8, 16, 36, 30)):
            left, top = left + int(random.integers(0, 8)), top + int(random.integers(0, 8))
            pixels[top : top + height, left : left + width] = shade
            one = ElementTree.SubElement(said, "object")
            ElementTree.SubElement(one, "name").text = name
            box = ElementTree.SubElement(one, "bndbox")
            corners = {"xmin": left, "ymin": top, "xmax": left + width, "ymax": top + height}
            for key, value in corners.items():
                ElementTree.SubElement(box, key).text = str(value)
        Image.fromarray(pixels).save(root / f"JPEGImages/{number}.png")
        ElementTree.ElementTree(said).write(root / f"Annotations/{number}.xml")
    return root


@pytest.fixture(scope="module")
def coins(tmp_path_factory):
    return write_voc(tmp_path_factory.mktemp("coins") / "set")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))


@pytest.fixture(scope="module")
def bank(coins):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
        return ganaug.fit(coins, recipe="detect-64", settings=TINY, device="cpu", progress=False)


def test_a_bank_makes_cut_outs_and_the_same_after_loading(bank, tmp_path):
    images, alphas = bank.sample_objects("coin", 5, seed=3)
    assert images.shape == (5, 3, 32, 32)
    assert alphas.shape == (5, 32, 32)
    assert (alphas >= 128).flatten(1).any(1).all()
    again = ganaug.load(bank.save(tmp_path / "coins.ganaug"))
    assert (again.task, again.class_names, again.planes) == ("detect", ("card", "coin"), 4)
    later = again.sample_objects("coin", 3, seed=3, start=2)
    assert torch.equal(later[0], images[2:])
    assert torch.equal(later[1], alphas[2:])
    assert not torch.equal(bank.sample_objects("card", 5, seed=3)[0], images)
    assert again.fingerprint == bank.fingerprint
    assert len(bank.manifest.train_fingerprints) == 5, "of whole images"


def test_the_file_of_a_bank_holds_no_image(bank):
    assert not [name for name, tensor in bank.generators.state_dict().items() if tensor.dtype == torch.uint8]
    assert not any("ground" in name for name in bank.generators.state_dict())


def test_a_set_with_boxes_is_known_by_its_files(coins, image_folder):
    assert choose_recipe(coins) == ("detect-64", "there are images with boxes")
    assert choose_recipe(image_folder)[0].startswith("classify")
    plan = plan_fit(coins, kimg=0.1, device="cpu")
    assert plan.lines()[1:4] == [
        "objects: 10 in 2 classes (card 5, coin 5)",
        "few objects: card (5), coin (5); their synthetic ones will be much alike",
        "alpha: learned from boxes, by what the ground around them cannot explain",
    ]


@pytest.mark.slow
def test_a_fit_goes_on_where_it_was(coins, bank, quick, tmp_path):
    again = functools.partial(
        ganaug.fit, coins, recipe="detect-64", settings=TINY, device="cpu", progress=False, run_dir=tmp_path / "run"
    )
    assert again().fingerprint == bank.fingerprint
    assert again(resume=True).fingerprint == bank.fingerprint
    with pytest.raises(DataError, match="other images or classes"):
        again(resume=True, classes=["coin"])


def test_commands(ganaug_command, bank, coins, tmp_path):
    file = bank.save(tmp_path / "b.ganaug")
    told = ganaug_command("sample", file, "--num", 3, "--out", tmp_path / "cut").err
    assert "wrote 3 cut-outs of each of 2 classes" in told
    with Image.open(tmp_path / "cut/coin/000002.png") as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image)[:, :, 3], bank.sample_objects("coin", 3)[1][2].numpy())
    assert ganaug_command("preview", file, "--data", coins, "--out", tmp_path / "p.png").code == 0
    assert "makes objects with alpha of noise and a class" in ganaug_command("inspect", file).out
    for command in ("measure", "screen"):
        assert "wants a bank of task classify" in ganaug_command(command, file, "--data", coins).complaint
    assert ganaug_command("report", file).code == 0
    assert "cannot be run as a whole" in ganaug_command("run", "detect-64", "--data", coins).complaint


def test_a_preview_lays_objects_on_chequers_and_on_real_grounds(bank, coins):
    alone, beside = ganaug.workflow.preview(bank), ganaug.workflow.preview(bank, data=coins, classes=["coin"])
    assert beside.width > 3 * alone.width / 2
    assert beside.height > alone.height, "whole scenes are below"


@pytest.mark.slow
def test_a_grey_set_gives_grey_cut_outs(coins, quick, ganaug_command, tmp_path):
    settings = TINY | {"data.colour": "grey", "objects.alpha": "soft"}
    grey = ganaug.fit(coins, recipe="detect-64", settings=settings, device="cpu", progress=False)
    assert grey.sample_objects("coin", 2)[0].shape == (2, 1, 32, 32)
    ganaug_command("sample", grey.save(tmp_path / "g.ganaug"), "--num", 1, "--out", tmp_path / "cut")
    with Image.open(tmp_path / "cut/card/000000.png") as image:
        assert image.mode == "LA"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"per_class": True}, "per_class does not go with task detect"),
        ({"resolution": 16}, "resolution must be 32 or more with task detect"),
        ({"networks.keep": True}, "networks.keep do not go with task detect"),
        ({"objects.alpha": "learned", "reconstruction.share": 0}, "needs reconstruction.share above 0"),
        ({"objects.alpha": "round"}, "objects.alpha is 'round'"),
    ],
)
def test_settings_that_do_not_go_with_objects(coins, settings, said):
    with pytest.raises(RecipeError, match=said):
        plan_fit(coins, recipe="detect-64", settings=settings, kimg=1, device="cpu")


def test_what_objects_do_not_go_with(bank, tiny_bank, coins, image_folder):
    plan = functools.partial(plan_fit, recipe="detect-64", kimg=1, device="cpu")
    with pytest.raises(RecipeError, match="unlabelled, base and into do not go with task detect"):
        plan(coins, base=tiny_bank)
    with pytest.raises(DataError, match="some objects have no mask"):
        plan(coins, settings={"objects.alpha": "given"})
    with pytest.raises(DataError, match="did you mean 'coin'"):
        plan(coins, classes=["coins"])
    with pytest.raises(DataError, match="holds no images with boxes"):
        plan(image_folder)
    data = get_task("detect").read(coins, ganaug.load_recipe("detect-32"))
    assert isinstance(data, ObjectImages)
    with pytest.raises(DataError, match="do not go with a recipe of task classify"):
        plan_fit(data, recipe="classify-32", kimg=1, device="cpu")
    with pytest.raises(BankError, match="sample_objects gives its objects with their alpha"):
        bank.sample("coin", 1)
    with pytest.raises(BankError, match="sample gives its images"):
        tiny_bank.sample_objects("cat", 1)
    with pytest.raises(BankError, match="did you mean 'coin'"):
        bank.sample_objects("coyn", 1)
