import functools
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2
from typer.testing import CliRunner

from ganaug import GanAugmented, cli, measures
from ganaug.bank import GeneratorBank
from ganaug.data import fingerprint
from ganaug.data.folders import list_images
from ganaug.errors import BankError, DataError, GanaugError, LeakError, RecipeError
from ganaug.fitting import fit
from ganaug.gan.loop import Fit
from ganaug.recipe import load_recipe
from ganaug.workflow import preview

RECIPE = load_recipe("translate-64").replace(
    {
        "resolution": 32, "data.tile": 32, "kimg": 0.012, "networks.generator_channels": 4, "translation.blocks": 2,
        "networks.discriminator_channels": 4, "snapshots.count": 3, "snapshots.samples": 8, "translation.patches": 16,
    }
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def few_crops():
    """A snapshot is scored on a few crops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganaug.tasks.translate._SHOWN", 16)
        yield


def photos(path, shade, count=4, size=(40, 56)):
    random = np.random.default_rng(shade)
    (path / "a").mkdir(parents=True)
    for number in range(count):
        pixels = np.full((*size, 3), shade, np.uint8) + random.integers(0, 60, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path / "a" / f"{number}.png")
    return path


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("source") / "day", 150)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("target") / "night", 10)


def quiet(day, night, **arguments):
    return fit(day, target=night, recipe=RECIPE, progress=False, **arguments)


@pytest.fixture(scope="module")
def bank(day, night):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ganaug.measures.train_features", taught_briefly())
        return quiet(day, night)


def taught_briefly():
    return functools.partial(measures.train_features, steps=10)


def test_a_fit_gives_a_bank_that_tells_what_it_does(bank, tmp_path):
    assert (bank.task, bank.class_names, bank.channels) == ("translate", ("night",), 3)
    assert {"kernel_distance", "distance_left", "tint_left", "verdict", "content"} < set(bank.manifest.scores)
    assert 0 <= bank.manifest.scores["content"] <= 1
    assert len(bank.manifest.train_fingerprints) == 8
    kept = GeneratorBank.load(bank.save(tmp_path / "day.ganaug"))
    assert kept.fingerprint == bank.fingerprint
    image = torch.randint(256, (3, 40, 56), dtype=torch.uint8)
    assert torch.equal(kept.translate(image), bank.translate(image))
    assert bank.sample_at(0, range(3)).shape == (3, 3, 32, 32)


@pytest.mark.slow
def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(bank, day, night, tmp_path, monkeypatch):
    monkeypatch.setattr("ganaug.measures.train_features", taught_briefly())
    original = Fit._save

    def save(self, *arguments):
        original(self, *arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fit, "_save", save)
        with pytest.raises(KeyboardInterrupt):
            quiet(day, night, run_dir=tmp_path / "run")
    again = quiet(day, night, run_dir=tmp_path / "run", resume=True)
    assert again.fingerprint == bank.fingerprint
    assert again.manifest.scores == bank.manifest.scores
    with pytest.raises(RecipeError, match=r"data\.target"):
        quiet(day, photos(tmp_path / "dusk", 60), run_dir=tmp_path / "run", resume=True)


@pytest.mark.parametrize("size", [(16, 16), (17, 90), (300, 70)])
def test_images_of_any_size_are_translated_one_by_one(bank, size):
    images = torch.randint(256, (2, 3, *size), dtype=torch.uint8)
    made = bank.translate(images)
    assert (made.shape, made.dtype) == (images.shape, torch.uint8)
    assert torch.equal(made[1], bank.translate(images[1]))
    assert bank.translate(images[:0]).shape == (0, 3, *size)


def test_tiles_leave_no_seam(bank, monkeypatch):
    image = torch.randint(256, (3, 200, 240), dtype=torch.uint8)
    whole = bank.translate(image).float()
    monkeypatch.setattr("ganaug.bank_pictures._LARGEST", 96)
    monkeypatch.setattr("ganaug.bank_pictures._AROUND", 48)
    tiled = bank.translate(image).float()
    inside = (tiled - whole)[:, :-24, :-24].abs()  # beyond these borders an image is continued otherwise
    assert inside.mean() < 0.5
    assert inside.max() < 20


@pytest.mark.slow
def test_a_bank_of_shrunk_images_gives_back_their_size(day, night, monkeypatch):
    monkeypatch.setattr("ganaug.measures.train_features", taught_briefly())
    for tile in (40, None):
        shrinking = fit(day, target=night, recipe=RECIPE.replace({"data.tile": tile, "kimg": 0.004}), progress=False)
        assert shrinking.translate(torch.zeros(3, 45, 70, dtype=torch.uint8)).shape == (3, 45, 70)


def test_what_no_bank_can_do_is_refused(bank, tiny_bank):
    with pytest.raises(BankError, match="translate wants a bank of task translate"):
        tiny_bank.translate(torch.zeros(3, 32, 32, dtype=torch.uint8))
    with pytest.raises(BankError, match="16 pixels"):
        bank.translate(torch.zeros(3, 15, 32, dtype=torch.uint8))
    with pytest.raises(BankError, match=r"wanted torch.uint8 \(N, 3, H, W\)"):
        bank.translate(torch.zeros(1, 32, 32, dtype=torch.uint8))
    with pytest.raises(BankError, match="translate turns images"):
        bank.sample("night", 1)


def test_what_no_fit_can_learn_from_is_refused(day, night, tmp_path):
    with pytest.raises(DataError, match="no target"):
        fit(day, recipe=RECIPE, progress=False)
    with pytest.raises(DataError, match="same images"):
        quiet(day, day)
    with pytest.raises(RecipeError, match="task classify"):
        fit(day, target=night, recipe="classify-32", progress=False)
    with pytest.raises(DataError, match="classes"):
        quiet(day, night, classes=["a"])
    held = [fingerprint(list_images(night)[0][0])]
    with pytest.raises(LeakError, match="1 of the images to fit on"):
        quiet(day, night, held_back=held)


class Photos:
    """(image, label) of the day's photos, with a transform of both, as torchvision's references have it."""

    def __init__(self, day, label, transforms=None):
        self.paths, self.label, self.transforms = sorted(day.glob("*/*.png")), label, transforms

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        item = Image.open(self.paths[index]).convert("RGB"), self.label(index)
        return item if self.transforms is None else self.transforms(*item)


def boxes(index):
    return {"boxes": torch.tensor([[1.0, 2.0, 20.0 + index, 30.0]]), "labels": torch.tensor([1])}


def marks(index):
    return Image.fromarray(np.full((40, 56), index, np.uint8))


def shown(image):
    return np.asarray(image).astype(int)


def test_some_of_the_images_of_an_epoch_are_translated_and_their_classes_stay(bank, day, tmp_path):
    real = Photos(day, lambda index: index % 2)
    train = GanAugmented(real, bank, mode="translation", probability=0.5, pool_dir=tmp_path)
    assert (len(train), train.targets) == (4, [0, 1, 0, 1])
    seen = set()
    for epoch in range(8):
        train.set_epoch(epoch)
        turned = train.synthetic_indices().tolist()
        seen.add(tuple(turned))
        for index, (image, label) in enumerate(train.__getitems__([0, 1, 2, 3])):
            assert label == index % 2
            assert train.is_synthetic(index) == (index in turned)
            wanted = shown(real[index][0])
            if index in turned:
                pixels = torch.from_numpy(wanted).permute(2, 0, 1).byte()
                wanted = bank.translate(pixels).permute(1, 2, 0).numpy()
            assert np.array_equal(shown(image), wanted)
            assert np.array_equal(shown(train[index - 4][0]), wanted)
    assert len(seen) > 3
    with pytest.raises(IndexError):
        train[4]


@pytest.mark.parametrize(("label", "kept"), [(marks, "mask"), (boxes, "target")])
def test_masks_and_boxes_stay_and_go_through_the_transforms(bank, day, tmp_path, label, kept):
    def mirrored(image, target):
        width = image.width
        image = v2.functional.hflip(image)
        if kept == "mask":
            return image, v2.functional.hflip(target)
        turned = target["boxes"][:, [2, 1, 0, 3]]
        turned[:, ::2] = width - turned[:, ::2]
        return image, {**target, "boxes": turned}

    plain, real = Photos(day, label), Photos(day, label, mirrored)
    train = GanAugmented(real, bank, mode="translation", probability=1.0, pool_dir=tmp_path)
    image, target = train[3]
    pixels = torch.from_numpy(np.array(plain[3][0])).permute(2, 0, 1)
    assert np.array_equal(shown(image), bank.translate(pixels).permute(1, 2, 0).numpy()[:, ::-1])
    wanted = real[3][1]
    if kept == "mask":
        assert np.array_equal(np.asarray(target), np.asarray(wanted))
    else:
        assert torch.equal(target["boxes"], wanted["boxes"])


def test_tensors_of_one_channel_are_translated_in_colour_and_given_back_grey(bank, tmp_path):
    grey = [(tv_tensors.Image(torch.randint(256, (1, 20, 30), dtype=torch.uint8)), 0) for _ in range(2)]
    image, _ = GanAugmented(grey, bank, mode="translation", probability=1, pool_dir=tmp_path)[0]
    assert isinstance(image, tv_tensors.Image)
    assert image.shape == (1, 20, 30)


def test_translations_are_made_once_and_go_on_where_they_were_stopped(bank, day, tmp_path, monkeypatch):
    made = []
    original = GeneratorBank.translate

    def translate(self, image):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return original(self, image)

    monkeypatch.setattr(GeneratorBank, "translate", translate)
    settings = {"mode": "translation", "probability": 1.0, "pool_dir": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        GanAugmented(Photos(day, marks), bank, **settings)
    train = GanAugmented(Photos(day, marks), bank, **settings)
    assert len(made) == 5  # two, one that was stopped, and the two that were left
    again = GanAugmented(Photos(day, marks), bank, **settings)
    assert len(made) == 5
    copied = pickle.loads(pickle.dumps(again))
    for index in range(4):
        assert np.array_equal(shown(train[index][0]), shown(copied[index][0]))


def test_what_does_not_go_with_translation_is_refused(bank, tiny_bank, day, night, tmp_path):
    real = Photos(day, lambda index: 0)
    for settings, said in (
        ({"ratio": 0.5}, "leave ratio"),
        ({"probability": 1.5}, "0 to 1"),
        ({"soft_labels": True}, "soft_labels"),
    ):
        with pytest.raises(RecipeError, match=said):
            GanAugmented(real, bank, mode="translation", pool_dir=tmp_path, **settings)
    with pytest.raises(RecipeError, match="mode='translation'"):
        GanAugmented(real, tiny_bank, probability=0.5)
    with pytest.raises(BankError, match="bank of task translate"):
        GanAugmented(real, tiny_bank, mode="translation", pool_dir=tmp_path)
    with pytest.raises(BankError, match="translat"):
        GanAugmented(real, bank, ratio=0.5, pool_dir=tmp_path)
    small = [(Image.new("RGB", (12, 40)), 0)] * 2
    with pytest.raises(DataError, match="12 x 40"):
        GanAugmented(small, bank, mode="translation", pool_dir=tmp_path)
    prints = bank.manifest.train_fingerprints
    leaking = bank.manifest.model_copy(update={"held_back_fingerprints": prints})
    with pytest.raises(LeakError):
        GanAugmented(real, GeneratorBank(leaking, list(bank.generators)), mode="translation", pool_dir=tmp_path)


def test_a_preview_shows_both_domains_and_translations(bank, night):
    without, beside = preview(bank), preview(bank, data=night)
    assert beside.width > without.width


@pytest.mark.slow
def test_commands(bank, day, night, tmp_path, monkeypatch):
    monkeypatch.setattr("ganaug.measures.train_features", taught_briefly())
    monkeypatch.chdir(tmp_path)
    path = bank.save(tmp_path / "bank.ganaug")
    (tmp_path / "recipe.yaml").write_text(RECIPE.to_yaml())

    def ran(*arguments):
        result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
        assert not isinstance(result.exception, GanaugError), result.exception
        assert result.exit_code == 0, result.output
        return result.output

    said = ran("fit", "--source", day, "--target", night, "--recipe", "recipe.yaml")
    assert "from day (4 images, 4 pieces) to night" in said
    assert (tmp_path / "day-to-night.ganaug").is_file()
    assert list((tmp_path / "day-to-night.run").glob("samples-*.png"))
    assert "translates images of day into night" in ran("inspect", path)
    ran("sample", path, "--num", 2, "--out", "made")
    assert len(list((tmp_path / "made" / "night").iterdir())) == 2
    ran("preview", path, "--data", night, "--out", "seen.png")
    for command in (["compare"], ["measure"], ["screen"], ["export", "--format", "imagefolder"], ["report"]):
        result = CliRunner().invoke(cli.app, [command[0], str(path), "--data", str(day), *command[1:]])
        assert isinstance(result.exception, GanaugError), command
        assert "\n" not in str(result.exception)
        assert "task" in str(result.exception), result.exception
