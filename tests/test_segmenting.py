"""From images with masks to a bank, pairs, a mixed dataset and files: all of it on a tiny fit."""

import functools
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from squares import SIDE, masked
from torchvision import tv_tensors
from torchvision.transforms import v2

import ganaug
from ganaug import measures
from ganaug.data.mask_files import list_masks
from ganaug.errors import BankError, DataError, LeakError, RecipeError
from ganaug.map_shares import map_shares, told_shares
from ganaug.planning import choose_recipe
from ganaug.tasks import get_task, segment

TINY = {
    "resolution": 32, "kimg": 0.032, "networks.generator_channels": 8, "networks.discriminator_channels": 8,
    "networks.max_channels": 16, "gan.batch": 4, "snapshots.count": 2, "snapshots.samples": 4,
}  # fmt: skip


def write_squares(root, count=5, value=255, seed=0):
    """Bright squares on dark ground, 40 x 48 px, and masks of 0 and `value`."""
    random = np.random.default_rng(seed)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((40, 48), np.uint8)
        mask[5 + number : 20 + number, 10:26] = 1
        image = (40 + 160 * mask[..., None] + random.integers(0, 30, (40, 48, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / f"images/{number}.png")
        Image.fromarray(mask * np.uint8(value)).save(root / f"masks/{number}.png")
    return root


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares") / "set")


@pytest.fixture(scope="module")
def bank(squares):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
        return ganaug.fit(squares, recipe="segment-64", settings=TINY, device="cpu", progress=False)


class Pairs:
    """A user's dataset."""

    def __init__(self, root, transforms=None):
        self.files, self.transforms = list_masks(root), transforms

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        image, mask = Image.open(self.files.images[index]), Image.open(self.files.masks[index])
        image, mask = tv_tensors.Image(image), tv_tensors.Mask(np.asarray(mask))
        return self.transforms(image, mask) if self.transforms else (image, mask)


def test_a_bank_makes_pairs_and_the_same_after_loading(bank, tmp_path):
    images, maps = bank.sample_pairs(5, seed=3)
    assert images.shape == (5, 3, 32, 32)
    assert maps.shape == (5, 32, 32)
    assert set(maps.unique().tolist()) <= {0, 1, 255}
    scores = bank.manifest.scores
    assert scores["score"] == pytest.approx(scores["map_dice"] * scores["coverage"])
    again = ganaug.load(bank.save(tmp_path / "squares.ganaug"))
    assert again.class_names == ("background", "object")
    assert again.label_numbers == (0, 255)
    later = again.sample_pairs(3, seed=3, start=2)
    assert torch.equal(later[0], images[2:])
    assert torch.equal(later[1], maps[2:])
    assert not torch.equal(bank.sample_pairs(5, seed=4)[1], maps)
    assert again.fingerprint == bank.fingerprint


def test_a_folder_of_masks_is_not_taken_for_class_folders(squares, image_folder):
    assert choose_recipe(squares)[0] == "segment-64"
    assert choose_recipe(image_folder)[0].startswith("classify")


def test_shares_of_pixels_are_those_of_the_maps(bank, squares):
    found = map_shares(bank, count=64)
    real, made = bank.generators[0].maps, bank.sample_pairs(64)[1]
    for cls, name in enumerate(("background", "object")):
        assert found[name][0] == pytest.approx(float((real == cls).sum() / (real < 255).sum()))
        assert found[name][1] == pytest.approx(float((made == cls).sum() / (made < 255).sum()), abs=0.05)
    assert sum(real for real, _ in found.values()) == pytest.approx(1)
    assert found["object"][1] > 0.02


def test_a_map_can_be_painted(bank):
    maps = torch.zeros(4, 32, 32, dtype=torch.uint8)
    images = bank.paint(maps)
    assert images.shape == (4, 3, 32, 32)
    assert torch.equal(images, bank.paint(maps))


def test_a_fit_goes_on_where_it_was(squares, bank, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
    again = functools.partial(
        ganaug.fit, squares, recipe="segment-64", settings=TINY, device="cpu", progress=False, run_dir=tmp_path / "run"
    )
    assert again().fingerprint == bank.fingerprint
    assert again(resume=True).fingerprint == bank.fingerprint
    mask = squares / "masks/0.png"
    before = mask.read_bytes()
    Image.fromarray(np.roll(np.asarray(Image.open(mask)), 3)).save(mask)
    with pytest.raises(DataError, match="other images or classes"):
        again(resume=True)
    mask.write_bytes(before)


def test_items_have_the_form_of_the_datasets_own(bank, squares, tmp_path):
    joint = v2.Compose([v2.Resize((24, 24)), v2.RandomHorizontalFlip(1.0)])
    real = Pairs(squares, joint)
    train = ganaug.GanAugmented(real, bank, ratio=1.0, pool_dir=tmp_path, seed=1)
    assert len(train) == 10
    assert all(map(torch.equal, train[2], real[2]))
    plain = ganaug.GanAugmented(Pairs(squares), bank, ratio=1.0, pool_dir=tmp_path, seed=1)
    for index in range(5, 10):
        image, mask = train[index]
        assert (image.shape, image.dtype, type(image)) == ((3, 24, 24), torch.uint8, tv_tensors.Image)
        assert (mask.shape, mask.dtype, type(mask)) == ((24, 24), torch.uint8, tv_tensors.Mask)
        assert set(mask.unique().tolist()) <= {0, 255}, "the numbers of the user's own masks"
        raw = plain[index]
        assert raw[0].shape == (3, 40, 48)
        assert all(map(torch.equal, joint(*raw), (image, mask))), "both went through the transforms together"
    assert len({train[index][1].numpy().tobytes() for index in range(5, 10)}) == 5
    again = pickle.loads(pickle.dumps(train))
    assert all(map(torch.equal, again[7], train[7]))
    again.set_epoch(1)
    assert not torch.equal(again[7][1], train[7][1])


def test_held_back_images_are_refused(bank, squares, tmp_path):
    manifest = bank.manifest.model_copy(update={"held_back_fingerprints": bank.manifest.train_fingerprints[:1]})
    leaking = type(bank)(manifest, list(bank.generators))
    with pytest.raises(LeakError, match="1 images of the dataset"):
        ganaug.GanAugmented(Pairs(squares), leaking, ratio=1.0, pool_dir=tmp_path)


def test_commands(ganaug_command, bank, squares, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
    file, sets = tmp_path / "b.ganaug", [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    ended = ganaug_command("fit", "--data", squares, "--recipe", "segment-64", "--out", file, "--device", "cpu", *sets)
    assert ended.code == 0, ended.err
    assert ganaug.load(file).fingerprint == bank.fingerprint
    told = ganaug_command("inspect", file)
    assert "holds 5 of the images with their maps that it was fitted on" in told.out
    assert told_shares(map_shares(bank)) in told.out
    assert ganaug_command("sample", file, "--num", 3, "--out", tmp_path / "s").code == 0
    masks = sorted((tmp_path / "s/masks").iterdir())
    assert [path.name for path in masks] == [path.name for path in sorted((tmp_path / "s/images").iterdir())]
    assert len(masks) == 3
    assert set(np.unique(np.asarray(Image.open(masks[0])))) <= {0, 255}
    for more in ([], ["--data", write_squares(tmp_path / "six", 6)]):
        assert ganaug_command("preview", file, *more, "--out", tmp_path / f"{len(more)}.png").code == 0
    ended = ganaug_command(
        "export", file, "--data", squares, "--format", "masks", "--ratio", 2, "--out", tmp_path / "x"
    )
    assert ended.code == 0, ended.err
    mixed = list_masks(tmp_path / "x")
    assert len(mixed) == 15
    assert (tmp_path / "x/masks/0.png").read_bytes() == (squares / "masks/0.png").read_bytes()
    told = ganaug_command("export", file, "--data", squares, "--format", "coco", "--ratio", 2, "--out", tmp_path / "c")
    assert told.code == 0, told.err
    coco = list_masks(tmp_path / "c")
    assert coco.table.names == ("background", "object")
    for index, path in enumerate(coco.images):  # no pixel is lost on the way
        mask = np.asarray(Image.open(tmp_path / "x/masks" / path.name))
        assert np.array_equal(coco[index][1] == 1, mask == 255)
    assert len(coco) == 15
    assert "wants a bank of task classify" in ganaug_command("measure", file, "--data", squares).complaint
    assert "wants a bank of task classify" in ganaug_command("export", file, "--data", squares).complaint
    assert "leave --classes out" in ganaug_command("sample", file, "--classes", "object").complaint


@pytest.mark.slow
def test_a_verdict_and_its_page(ganaug_command, bank, squares, tmp_path):
    few = {"compare.augments": ["flip"], "compare.schedules": ["constant"], "compare.steps": 2, "compare.batch": 4}
    manifest = bank.manifest.model_copy(update={"recipe": bank.recipe.replace(few).model_dump(mode="json")})
    file = type(bank)(manifest, list(bank.generators)).save(tmp_path / "b.ganaug")
    test = write_squares(tmp_path / "test", 3, seed=1)
    asked = ("compare", file, "--data", squares, "--test", test, "--ratios", 1, "--workers", 0, "--device", "cpu")
    ended = ganaug_command(*asked)
    assert ended.code == 0, ended.err
    assert "This bank " in ended.out
    assert "Dice" in ended.out
    assert "accuracy" not in ended.out
    assert "3 images of test" in " ".join(ended.out.split())
    verdict = ganaug.load(file).verdict
    assert verdict.metric == "Dice"
    assert "points of Dice" in ganaug_command("inspect", file).out
    train = ganaug.GanAugmented(Pairs(squares), ganaug.load(file), pool_dir=tmp_path)
    assert len(train) == 5 + round(5 * verdict.ratio)
    assert ganaug_command("report", file, "--data", squares).code == 0
    page = (tmp_path / "b.run/report.html").read_text()
    assert "Difference in Dice, in points." in page
    assert page.count('alt="Its label map"') == 24
    assert "accuracy" not in page
    assert "ganaug screen" in page
    told = ganaug_command("compare", file, "--data", squares, "--test", squares).complaint
    assert "5 of the 5 images of test are among those that the bank was fitted on" in told
    assert "leave classes out" in ganaug_command(*asked, "--classes", "object").complaint


@pytest.mark.slow
def test_a_whole_recipe(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
    few = {**TINY, "compare.steps": 2, "compare.batch": 4, "export": {"out": "pairs", "format": "coco"}}
    recipe = ganaug.load_recipe("segment-64").replace(few)
    said = []
    done = ganaug.run(recipe, data=squares, out=tmp_path / "out", device="cpu", say=said.append)
    assert "2 of 5 images are held back" in said[0]
    assert done.comparison.images == {"training": 3, "choosing": 0, "scoring": 2}
    assert any("2 images are scored in each split, which tells little" in note for note in done.comparison.notes)
    bank = ganaug.load(done.bank)
    assert bank.verdict.metric == "Dice"
    assert not set(bank.manifest.held_back_fingerprints) & set(bank.manifest.train_fingerprints)
    held = (tmp_path / "out/held-back.csv").read_text().splitlines()
    assert len(held) == 3
    assert all(line.endswith(".png,") for line in held[1:])
    assert (tmp_path / "out/preview.png").exists()
    assert (tmp_path / "out/bank.run/report.html").exists()
    assert done.exported == tmp_path / "out/pairs"
    assert sorted(path.name for path in done.exported.iterdir()) == ["annotations.json", "ganaug.csv", "images"]


def test_what_label_maps_do_not_go_with(bank, tiny_bank, squares, tmp_path):
    with pytest.raises(BankError, match="sample_pairs gives"):
        bank.sample(0, 1)
    with pytest.raises(BankError, match="task segment, and this one is of task classify"):
        tiny_bank.sample_pairs(1)
    with pytest.raises(BankError, match="soft_labels=True wants a bank of task classify"):
        ganaug.GanAugmented(Pairs(squares), bank, ratio=1.0, soft_labels=True)
    with pytest.raises(DataError, match="leave classes out"):
        ganaug.fit(squares, recipe="segment-64", classes=["object"], progress=False)
    with pytest.raises(RecipeError, match="do not go with task segment"):
        ganaug.fit(squares, recipe="segment-64", unlabelled=[], progress=False)
    for settings, said in (
        ({"per_class": True}, "per_class does not go"),
        ({"reconstruction.share": 0.5}, r"reconstruction\.share must be 0"),
        ({"resolution": 16}, "resolution must be 32 or more"),
        ({"networks.keep": True}, r"networks\.keep do not go"),
    ):
        with pytest.raises(RecipeError, match=said):
            ganaug.load_recipe("segment-64").replace(settings)


def test_a_generator_keeps_no_more_images_than_are_worth_their_bytes(monkeypatch):
    data, recipe = masked(12, 0), ganaug.load_recipe("segment-64").replace({"resolution": SIDE})
    task = get_task("segment")
    assert task.shape(data, recipe).maps == 12
    monkeypatch.setattr(segment, "_MOST_VALUES", 5 * SIDE * SIDE)
    assert task.shape(data, recipe).maps == 5
    assert task.shape(data, recipe.replace({"maps.sketch": False})).maps == 12
