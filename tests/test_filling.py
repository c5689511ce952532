import functools
import pickle

import numpy as np
import pytest
import torch
from drawn_boxes import write_yolo
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import ganaug
import ganaug.measures
from ganaug import GanAugmented
from ganaug.erasing import erase
from ganaug.errors import BankError, DataError, GanaugError, OutputError, RecipeError
from ganaug.filled import RandomFilling
from ganaug.recipe import load_recipe

RECIPE = load_recipe("fill-64").replace(
    {
        "resolution": 32,
        "kimg": 0.032,
        "networks.generator_channels": 4,
        "networks.discriminator_channels": 4,
        "filling.squares": 24,
        "snapshots.count": 2,
    }
)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return write_yolo(tmp_path_factory.mktemp("cells") / "cells")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "cells.run"


@pytest.fixture(scope="module")
def bank(cells, run_dir):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganaug.measures.train_features", functools.partial(ganaug.measures.train_features, steps=3))
        return ganaug.fit(cells, recipe=RECIPE, run_dir=run_dir, progress=False)


@pytest.fixture(scope="module")
def file(bank, tmp_path_factory):
    return bank.save(tmp_path_factory.mktemp("banks") / "cells.ganaug")


def pictures(count, height, width, channels=3):
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=random)


def holes(count, height, width):
    made = torch.zeros(count, height, width, dtype=torch.bool)
    made[:, 4:14, 6:20] = True
    return made


@pytest.mark.parametrize("size", [(32, 32), (90, 70), (20, 26)])
def test_only_holes_change_whatever_the_size(bank, size):
    images, where = pictures(3, *size), holes(3, *size)
    filled = bank.fill(images, where, seed=3)
    assert filled.dtype == torch.uint8
    kept = ~where[:, None].expand_as(images)
    assert torch.equal(filled[kept], images[kept])
    assert not torch.equal(filled, images)
    assert torch.equal(bank.fill(images[1:2], where[1:2], seed=3), filled[1:2])
    assert not torch.equal(bank.fill(images, where, seed=4), filled)
    hidden = torch.where(where[:, None], 255 - images, images)
    assert torch.equal(bank.fill(hidden, where, seed=3), filled)


def test_a_bank_comes_back_from_its_file(bank, file):
    again = ganaug.load(file)
    images, where = pictures(1, 64, 64), holes(1, 64, 64)
    assert torch.equal(again.fill(images, where), bank.fill(images, where))
    assert torch.equal(again.sample_at(0, range(5)), bank.sample_at(0, range(5)))
    assert {"score", "detail_ratio", "error_ratio"} <= bank.manifest.scores.keys()
    assert 0 < bank.manifest.scores["score"] <= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": pictures(1, 32, 32, 1)}, r"wanted torch.uint8 \(N, 3, H, W\)"),
        ({"images": pictures(1, 32, 32).float()}, "images are torch.float32"),
        ({"holes": torch.ones(1, 32, 32)}, r"holes are torch.float32 of shape .* wanted torch.bool \(1, 32, 32\)"),
        ({"holes": holes(1, 32, 30)}, r"wanted torch.bool \(1, 32, 32\)"),
        ({"holes": torch.zeros(1, 32, 32, dtype=torch.bool)}, "nothing to fill in"),
        ({"holes": torch.ones(1, 32, 32, dtype=torch.bool)}, "image 0 is nothing but hole"),
        ({"seed": 1.5}, "seed is 1.5"),
    ],
)
def test_what_cannot_be_filled_is_said(bank, change, said):
    values = {"images": pictures(1, 32, 32), "holes": holes(1, 32, 32), "seed": 0} | change
    with pytest.raises(BankError, match=said) as caught:
        bank.fill(values["images"], values["holes"], seed=values["seed"])
    assert "\n" not in str(caught.value)


def test_objects_are_filled_one_after_another_each_at_its_own_scale(bank):
    image = pictures(1, 64, 90)[0]
    parts = torch.zeros(3, 64, 90, dtype=torch.bool)
    for place, part in enumerate(parts):
        part[20:36, 10 + 16 * place : 28 + 16 * place] = True
    filled = bank.fill_in_turn(image, parts, seed=2)
    hole = parts.any(0)
    assert torch.equal(filled[:, ~hole], image[:, ~hole])
    assert not torch.equal(filled, bank.fill(image[None], hole[None], seed=2)[0])
    assert torch.equal(bank.fill_in_turn(image, parts[:1], seed=2), bank.fill(image[None], parts[:1], seed=2)[0])
    for change, said in ((hole, r"wanted \(number, 64, 90\)"), (parts[:0], "nothing to fill in")):
        with pytest.raises(BankError, match=said):
            bank.fill_in_turn(image, change)


def test_other_banks_fill_nothing_and_this_one_does_nothing_else(bank, tiny_bank, pets):
    with pytest.raises(BankError, match="fill wants a bank of task fill"):
        tiny_bank.fill(pictures(1, 32, 32), holes(1, 32, 32))
    with pytest.raises(BankError, match="fit one for it with a recipe such as fill-64"):
        RandomFilling(tiny_bank)
    with pytest.raises(BankError, match="fill fills the holes of images"):
        bank.sample("images", 2)
    with pytest.raises(GanaugError, match="RandomFilling"):
        GanAugmented(pets, bank, ratio=1)


def test_a_transform_hides_a_region_of_any_kind_of_image(file):
    transform = RandomFilling(file, p=1.0, scale=(0.1, 0.3))
    tensor = pictures(1, 40, 48)[0]
    torch.manual_seed(5)
    made = transform(tensor)
    changed = (made != tensor).any(0).float().mean()
    assert 0.05 < changed < 0.5
    torch.manual_seed(5)
    picture, label = transform(Image.fromarray(tensor.permute(1, 2, 0).numpy()), 7)
    assert label == 7
    assert torch.equal(torch.from_numpy(np.array(picture)).permute(2, 0, 1), made)
    torch.manual_seed(5)
    wrapped, boxes = transform(
        tv_tensors.Image(tensor), tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(40, 48))
    )
    assert isinstance(wrapped, tv_tensors.Image)
    assert torch.equal(wrapped.as_subclass(torch.Tensor), made)
    assert boxes.tolist() == [[1, 2, 3, 4]]
    torch.manual_seed(5)
    grey = transform(Image.fromarray(tensor[0].numpy()))
    assert grey.mode == "L"
    assert not (np.array(grey) != tensor[0].numpy())[(made == tensor).all(0).numpy()].any()


def test_a_transform_is_as_often_as_it_says_and_pickles(bank):
    transform = pickle.loads(pickle.dumps(RandomFilling(bank, p=0.3)))
    tensor = pictures(1, 32, 32)[0]
    torch.manual_seed(0)
    times = sum(not torch.equal(transform(tensor), tensor) for _ in range(100))
    assert 18 < times < 42
    assert not any(not torch.equal(RandomFilling(bank, p=0)(tensor), tensor) for _ in range(3))


def test_a_transform_refuses_what_it_does_not_take(bank):
    transform = RandomFilling(bank, p=1)
    with pytest.raises(DataError, match="put RandomFilling before what makes floats"):
        transform(pictures(1, 32, 32)[0].float())
    with pytest.raises(DataError, match="is of mode RGBA"):
        transform(Image.new("RGBA", (32, 32)))
    for settings in ({"p": 1.5}, {"scale": (0.4, 0.2)}, {"scale": (0, 0.2)}):
        with pytest.raises(RecipeError, match="wanted"):
            RandomFilling(bank, **settings)


@pytest.mark.slow
def test_a_transform_works_in_workers(file, image_folder):
    transform = v2.Compose([v2.Resize((32, 32)), v2.ToImage(), RandomFilling(file, p=1)])
    loader = DataLoader(ImageFolder(image_folder, transform=transform), batch_size=7, num_workers=2)
    runs = []
    for _ in range(2):
        torch.manual_seed(1)
        runs.append(torch.cat([images for images, _ in loader]))
    assert runs[0].shape == (21, 3, 32, 32)
    assert torch.equal(*runs)


def test_objects_are_erased_and_nothing_else(bank, cells, tmp_path):
    done = erase(bank, cells, tmp_path / "bare")
    assert (done.images, done.objects, done.without) == (5, 7, 1)
    for number in range(5):
        before = np.array(Image.open(cells / "images" / "train" / f"{number}.png")).astype(int)
        after = np.array(Image.open(tmp_path / "bare" / f"{number}.png")).astype(int)
        objects = (before.max(2) - before.min(2)) > 100
        assert objects.any()
        assert not ((after.max(2) - after.min(2)) > 100)[objects].all()
        rows, columns = np.nonzero((before != after).any(2))
        away = np.abs(np.argwhere(objects)[:, None] - np.stack([rows, columns], 1)).max(2).min(0)
        assert away.max() <= 2
    listed = (tmp_path / "bare" / "erased.csv").read_text().splitlines()
    assert len(listed) == 6
    with pytest.raises(OutputError, match="already holds something"):
        erase(bank, cells, tmp_path / "bare")
    with pytest.raises(OutputError, match="the data"):
        erase(bank, cells, cells)


def test_objects_that_stay_are_not_touched(bank, cells, tmp_path):
    done = erase(bank, cells, tmp_path / "bare", classes=["blue"])
    assert (done.images, done.without) == (2, 4)
    before, after = (np.array(Image.open(folder / "1.png")) for folder in (cells / "images/train", tmp_path / "bare"))
    red = before[:, :, 0] > 200
    assert np.array_equal(before[red], after[red])


def test_the_command_and_its_refusals(file, cells, image_folder, tmp_path, ganaug_command):
    ended = ganaug_command("erase", file, "--data", cells, "--out", tmp_path / "bare")
    assert "wrote 5 images without their 7 objects" in ended.err
    ended = ganaug_command("erase", file, "--data", image_folder, "--out", tmp_path / "none")
    assert "no object to erase" in ended.complaint
    assert ended.code == 1
    assert not (tmp_path / "none").exists()
    ended = ganaug_command("erase", file, "--data", cells, "--classes", "green", "--out", tmp_path / "none")
    assert "'green'" in ended.complaint


def test_preview_sample_and_inspect(file, bank, cells, tmp_path, ganaug_command, run_dir):
    for more in ((), ("--data", cells)):
        ended = ganaug_command("preview", file, *more, "--out", tmp_path / f"{len(more)}.png")
        assert ended.code == 0, ended.err
        assert Image.open(tmp_path / f"{len(more)}.png").width > 400
    assert ganaug_command("sample", file, "--num", 3, "--out", tmp_path / "some").code == 0
    assert len(list((tmp_path / "some").rglob("*.png"))) == 3
    assert "fills holes in images of any size" in ganaug_command("inspect", file).out
    assert list(run_dir.glob("samples-*.png"))


@pytest.mark.parametrize(
    "arguments", [("compare", "--data"), ("measure", "--data"), ("screen", "--data"), ("export", "--data")]
)
def test_commands_that_make_no_sense_say_so_in_a_line(file, cells, ganaug_command, tmp_path, arguments):
    ended = ganaug_command(arguments[0], file, *arguments[1:], cells)
    assert ended.code == 1
    assert "fill" in ended.complaint


def test_what_a_recipe_of_filling_may_not_say():
    for changes, said in (
        ({"filling.holes": (0.3, 0.1)}, "in order"),
        ({"per_class": True}, "per_class does not go with task fill"),
        ({"resolution": 16}, "resolution must be 32 or more"),
    ):
        with pytest.raises(RecipeError, match=said):
            RECIPE.replace(changes)
