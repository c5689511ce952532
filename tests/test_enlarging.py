import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder

import ganaug
from ganaug import GanAugmented
from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.data.pictures import read_pictures
from ganaug.enlarging import EnlargedBank, enlarged_to
from ganaug.errors import BankError, DataError, LeakError, OutputError, RecipeError
from ganaug.recipe import load_recipe

RECIPE = load_recipe("enlarge-64").replace(
    {
        "resolution": 32, "kimg": 0.032, "gan.batch": 4, "snapshots.count": 2, "enlarging.blocks": 1,
        "networks.generator_channels": 4, "networks.discriminator_channels": 4,
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """cat/, dog/ and owl/ with six images each of 40 x 36 px."""
    root, random = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    for shade, name in enumerate(("cat", "dog", "owl")):
        (root / name).mkdir()
        for number in range(6):
            pixels = random.integers(0, 80, (40, 36, 3), dtype=np.uint8) + np.uint8(80 * shade)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def enlarger(large):
    return ganaug.fit(large, recipe=RECIPE, progress=False)


def some(count=3, height=16, width=16, channels=3):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=random)


def test_a_bank_enlarges_images_of_any_size_each_by_itself(enlarger, tmp_path):
    assert enlarger.manifest.scores.keys() == {"score", "detail_ratio", "error_ratio"}
    assert enlarger.class_names == ("images",)
    assert len(enlarger.manifest.train_fingerprints) == 18
    again = ganaug.load(enlarger.save(tmp_path / "large.ganaug"))
    images = some(3, 9, 20)
    made = again.enlarge(images)
    assert made.shape == (3, 3, 18, 40)
    assert torch.equal(made[1:2], enlarger.enlarge(images[1:2]))
    assert torch.equal(enlarger.enlarge(images, factor=4), enlarger.enlarge(made))
    assert enlarger.enlarge(images[:0]).shape == (0, 3, 18, 40)
    assert enlarger.sample_at(0, [3, 1]).shape == (2, 3, 32, 32)


def test_a_large_image_is_made_in_tiles_that_do_not_show(enlarger):
    image = some(1, 128, 200)
    tiled = enlarger.enlarge(image).int()
    with torch.no_grad():
        whole = enlarger.generators[0].enlarge(image).add(1).mul(127.5).round().int()
    assert (tiled - whole).abs().max() <= 2


@pytest.mark.parametrize(
    ("images", "factor", "said"),
    [
        (some(), 3, "factor is 3; images are doubled in size, up to three times: give 2, 4 or 8"),
        (some(channels=1), 2, r"wanted torch.uint8 \(N, 3, H, W\)"),
        (some().float(), 2, r"images are torch.float32 .* wanted torch.uint8"),
        (some(height=1), 2, "wanted sides of 2 pixels or more"),
    ],
)
def test_what_cannot_be_enlarged_is_said(enlarger, images, factor, said):
    with pytest.raises(BankError, match=said) as caught:
        enlarger.enlarge(images, factor=factor)
    assert "\n" not in str(caught.value)


def test_images_too_small_to_teach_the_size_are_refused_or_left_out(large, image_folder, tmp_path):
    with pytest.raises(DataError, match="about 20 px and cannot teach what 32 px show; give images of 32 px or more"):
        ganaug.fit(image_folder, recipe=RECIPE, progress=False)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, path in enumerate(sorted(large.rglob("*.png"))[:5]):
        Image.open(path).save(mixed / f"{number}.png")
    Image.open(path).resize((20, 20)).save(mixed / "small.png")
    flat = read_pictures(mixed, resolution=32, smallest=32)
    assert len(flat) == 5
    assert flat.remarks == ("left out: 1 images below 32 px",)
    owls = read_pictures(ImageFolder(large), resolution=32, classes=["owl"], smallest=32)
    assert (len(owls), owls.class_names, owls.labels.tolist()) == (6, ("images",), [0] * 6)
    assert len(read_pictures(large, resolution=32, classes=["owl"])) == 6
    assert len(read_pictures(owls, resolution=32)) == 6


def test_masks_are_no_pictures_to_learn_from(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            Image.fromarray(np.full((32, 32), 40 * number, np.uint8)).save(tmp_path / kind / f"{number}.png")
    assert len(read_pictures(tmp_path, resolution=32)) == 3


def test_samples_are_enlarged_where_real_images_are_larger(enlarger, tiny_bank, large, pets, tmp_path):
    real = ImageFolder(large)
    mixed = GanAugmented(real, tiny_bank, ratio=1, enlarge=enlarger, pool_dir=tmp_path, seed=1)
    assert mixed[18][0].size == (36, 40)
    (shape,) = (pool._pool._map().shape for pool in (mixed,))
    assert shape[1:] == (64, 64, 3)  # 16 px, doubled until there are 36 or more
    plain = GanAugmented(real, tiny_bank, ratio=1, pool_dir=tmp_path, seed=1)
    assert plain._pool._map().shape[1:] == (16, 16, 3)
    assert GanAugmented(pets, tiny_bank, ratio=1, enlarge=enlarger, pool_dir=tmp_path)._pool._map().shape[1] == 32
    # the pool of another enlarger is another one
    other = GeneratorBank(enlarger.manifest, [type(enlarger.generators[0])(enlarger.generators[0].shape)])
    GanAugmented(real, tiny_bank, ratio=1, enlarge=other, pool_dir=tmp_path, seed=1)
    assert len(list(tmp_path.glob("*/pool.json"))) == 4


def test_an_enlarged_bank_is_the_same_samples_larger(enlarger, tiny_bank, tmp_path):
    both = EnlargedBank(tiny_bank, enlarger)
    small = tiny_bank.sample("dog", 3, seed=2)
    assert torch.equal(both.sample("dog", 3, seed=2), enlarger.enlarge(small))
    assert both.fingerprint not in (tiny_bank.fingerprint, EnlargedBank(tiny_bank, enlarger, 4).fingerprint)
    assert enlarged_to(tiny_bank, enlarger, 16) is tiny_bank
    assert enlarged_to(tiny_bank, enlarger, 10_000).resolution == 128
    with pytest.raises(OutputError, match="save each to a file of its own"):
        both.save(tmp_path / "both.ganaug")


def test_the_warning_of_large_images_names_the_way_out(tiny_bank, enlarger, large, tmp_path):
    with pytest.warns(UserWarning, match=r"about 36 px .* enlarge them by a bank of recipe enlarge-64 \(enlarge=\)"):
        GanAugmented(ImageFolder(large), tiny_bank, ratio=1, pool_dir=tmp_path)


def test_each_recipe_that_ships_is_fitted():
    for name in ("enlarge-64", "enlarge-128"):
        side = load_recipe(name).resolution
        data = LabelledImages(
            some(6, side, side), torch.arange(6) % 2, ("a", "b"), (0, 1), tuple(str(number) for number in range(6))
        )
        bank = ganaug.fit(data, recipe=name, kimg=0.012, settings={"snapshots.count": 1}, progress=False)
        assert bank.enlarge(some(1, side // 2, side // 2)).shape == (1, 3, side, side)
        assert bank.class_names == ("images",)


def test_banks_that_do_not_go_together_are_refused(enlarger, tiny_bank, make_bank, large):
    real = Subset(ImageFolder(large), range(6))
    with pytest.raises(BankError, match="enlarging samples wants a bank of task enlarge, and this one is of"):
        GanAugmented(real, tiny_bank, ratio=1, enlarge=tiny_bank)
    with pytest.raises(BankError, match=r"the bank's images are grey and the enlarger's colour; .*data.colour=grey"):
        GanAugmented(real, make_bank(channels=1), ratio=1, enlarge=enlarger)
    with pytest.raises(BankError, match=r"the bank enlarges images and makes none of its own to mix in; .*enlarge="):
        GanAugmented(real, enlarger, ratio=1)
    held = make_bank(held_back_fingerprints=enlarger.manifest.train_fingerprints[:2])
    with pytest.raises(LeakError, match="the enlarger was fitted on 2 images that the bank's fit held back"):
        GanAugmented(real, held, ratio=1, enlarge=enlarger)


def test_what_a_recipe_of_it_may_not_say():
    for changes in ({"resolution": 16}, {"per_class": True}, {"networks.keep": True}, {"generator": "variation"}):
        with pytest.raises(RecipeError, match="task enlarge"):
            RECIPE.replace(changes)


def test_commands(enlarger, tiny_bank, large, tmp_path, ganaug_command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    enlarger.save("large.ganaug")
    tiny_bank.save("pets.ganaug")
    inspected = ganaug_command("inspect", "large.ganaug")
    assert "enlarges images to twice their size, and holds 18 of those it was fitted on" in inspected.out
    assert "such a bank is not compared" in inspected.out
    for more in ((), ("--data", large)):
        ended = ganaug_command("preview", "large.ganaug", *more, "--exist-ok")
        assert ended.code == 0, ended.err
        columns = 3 + len(more) // 2
        assert Image.open("preview.png").width > columns * 64
    assert ganaug_command("sample", "large.ganaug", "--num", 2, "--out", "own").code == 0
    assert Image.open("own/images/000001.png").size == (32, 32)
    assert ganaug_command("sample", "pets.ganaug", "--enlarge", "large.ganaug", "--num", 1).code == 0
    assert Image.open("samples/dog/000000.png").size == (32, 32)
    ended = ganaug_command("export", "pets.ganaug", "--data", large, "--enlarge", "large.ganaug", "--out", "mixed")
    assert ended.code == 0, ended.err
    assert {Image.open(path).size for path in (tmp_path / "mixed").rglob("ganaug-*.png")} == {(64, 64)}


@pytest.mark.parametrize("command", ["measure", "compare", "screen", "report", "export"])
def test_other_commands_refuse_such_a_bank_in_one_line(command, enlarger, large, tmp_path, ganaug_command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    enlarger.save("large.ganaug")
    ended = ganaug_command(command, "large.ganaug", *(() if command == "report" else ("--data", large)))
    assert ended.code == 1
    assert "task enlarge" in ended.complaint
