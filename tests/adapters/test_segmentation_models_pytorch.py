from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import ganaug
from ganaug import measures
from ganaug.data.mask_files import list_masks
from ganaug.data.mask_view import MaskView
from ganaug.errors import BankError, DataError, LeakError, RecipeError
from ganaug.recipe import Train
from ganaug.workflow import run

pytest.importorskip("segmentation_models_pytorch")
adapter = pytest.importorskip("ganaug.adapters.segmentation_models_pytorch")

TINY = {
    "resolution": 32, "kimg": 0.016, "networks.generator_channels": 8, "networks.discriminator_channels": 8,
    "networks.max_channels": 16, "gan.batch": 4, "snapshots.count": 1, "snapshots.samples": 4,
}  # fmt: skip


def write_squares(root, start, count=6):
    random = np.random.default_rng(start)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(start, start + count):
        mask = np.zeros((32, 32), np.uint8)
        top, left = random.integers(2, 16, 2)
        mask[top : top + 12, left : left + 12] = 255
        image = (40 + 160 * (mask[..., None] > 0) + random.integers(0, 30, (32, 32, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / f"images/{number}.png")
        Image.fromarray(mask).save(root / f"masks/{number}.png")
    return root


SMALL = Train(model="Unet", ratio=0.5, epochs=8, batch=3, lr=3e-3, image_size=32)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    return write_squares(root / "train", 0), write_squares(root / "val", 6)


@pytest.fixture(scope="module")
def bank(sets):
    with pytest.MonkeyPatch.context() as patch:
        original = measures.train_features
        patch.setattr(measures, "train_features", lambda *args, **named: original(*args, **named, steps=3))
        return ganaug.fit(sets[0], recipe="segment-64", settings=TINY, device="cpu", progress=False)


def fitted_with(bank, flips, tile):
    recipe = bank.recipe.replace({"data.horizontal_flip": flips, "data.tile": tile})
    return SimpleNamespace(recipe=recipe, channels=3)


@pytest.mark.slow
def test_a_unet_learns_from_the_mixed_set(sets, bank, tmp_path):
    said = []
    result = adapter.train(
        sets[0], bank, SMALL, val=sets[1], device="cpu", out=tmp_path / "unet.safetensors", pool_dir=tmp_path / "pool",
        report=said.append,
    )  # fmt: skip
    assert result.losses[-1] < result.losses[0]
    assert len(said) == 8
    assert result.dice["object"] > 0.6
    assert result.model(torch.zeros(1, 3, 32, 32)).shape == (1, 2, 32, 32)
    again = adapter.build_segmenter(SMALL, 3, 2).eval()
    again.load_state_dict(load_file(tmp_path / "unet.safetensors"))
    assert torch.equal(again(torch.ones(1, 3, 32, 32)), result.model(torch.ones(1, 3, 32, 32)))


def test_flips_and_tiles_are_as_the_bank_was_fitted(sets, bank):
    view = MaskView(list_masks(sets[0]))
    for flips, tile in ((True, None), (False, 16)):
        squares = adapter._Squares(view, 32, fitted_with(bank, flips, tile))
        kinds = [type(step).__name__ for step in squares.transforms.transforms]
        assert ("RandomHorizontalFlip" in kinds) == flips
        assert ("RandomCrop" in kinds) == (tile is not None)
        assert squares[0][0].shape == (3, 32, 32)
        assert squares[0][1].shape == (32, 32)


def test_a_class_that_is_never_seen_in_the_validation_images_is_no_error(sets, bank, tmp_path):
    bare = write_squares(tmp_path / "bare", 30, count=2)
    for mask in (bare / "masks").iterdir():
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(mask)
    settings = SMALL.model_copy(update={"epochs": 1})
    result = adapter.train(sets[0], bank, settings, val=bare, device="cpu", pool_dir=tmp_path / "pool")
    assert set(result.dice) == {"background", "object"}


def test_what_is_refused(sets, bank, tiny_bank, tmp_path):
    with pytest.raises(LeakError, match="the bank was fitted on 6 images"):
        adapter.train(sets[0], bank, SMALL, val=sets[0])
    with pytest.raises(RecipeError, match="did you mean 'Unet'"):
        adapter.train(sets[0], bank, Train(model="Unett"))
    with pytest.raises(RecipeError, match="there is no encoder 'resnet17'"):
        adapter.train(sets[0], bank, Train(model="Unet", encoder="resnet17"))
    with pytest.raises(BankError, match="wants a bank of task segment"):
        adapter.train(sets[0], tiny_bank, SMALL)
    other = write_squares(tmp_path / "other", 20)
    for mask in (other / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(mask)) // 127).save(mask)
    with pytest.raises(DataError, match="holds the number 2, which is not in the class table"):
        adapter.train(sets[0], bank, SMALL, val=other)


@pytest.mark.slow
@pytest.mark.parametrize("own_val", [False, True])
def test_a_whole_recipe_ends_with_pairs_on_disk_and_a_trained_unet(sets, tmp_path, own_val):
    """Nothing that Dice is told of is trained on or exported."""
    few = TINY | {
        "compare.steps": 2, "compare.seeds": 2, "compare.batch": 4, "compare.augments": ["none"],
        "compare.ratios": [0.5], "compare.schedules": ["constant"], "train.epochs": 1, "train.image_size": 32,
        "export": {"out": "mixed"}, "data.val": str(sets[1]) if own_val else None,
    }  # fmt: skip
    recipe, said = ganaug.load_recipe("segment-64-unet").replace(few), []
    assert (recipe.train.ratio, recipe.export.format) == ("auto", "masks")
    result = run(recipe, data=sets[0], out=tmp_path / "out", say=said.append)
    assert result.comparison is not None
    assert set(result.trained.dice) == {"background", "object"}
    assert said[-1].startswith("Dice on images that nothing was trained on: background ")
    assert (tmp_path / "out/segmenter.safetensors").is_file()
    real = [row for row in (result.exported / "ganaug.csv").read_text().splitlines() if ",real" in row]
    held = ganaug.load(result.bank).manifest.held_back_fingerprints
    assert (len(real), len(held)) == ((6, 6) if own_val else (4, 2))


def test_what_a_whole_recipe_could_not_end_with_is_refused_before_its_fit(sets, tmp_path):
    recipe = ganaug.load_recipe("segment-64-unet")
    with pytest.raises(RecipeError, match="there is no architecture 'resnet18'"):
        run(recipe.replace({"train.model": "resnet18"}), data=sets[0], out=tmp_path / "out")
    with pytest.raises(RecipeError, match=r"export\.format must be masks or coco with task segment"):
        recipe.replace({"export": {"out": "mixed", "format": "imagefolder"}})
    assert not (tmp_path / "out").exists()
