"""Variations of real objects, from a tiny fit on images with boxes to scenes of them."""

import functools
import pickle

import numpy as np
import pytest
import torch
from drawn_boxes import COLOURS, square_bank, write_yolo

import ganaug
from ganaug import GanAugmented, Scenes, measures
from ganaug.compositing import CutOut, cut
from ganaug.data.box_files import list_boxes
from ganaug.errors import BankError, DataError, RecipeError
from ganaug.pool import SamplePool
from ganaug.recipe import load_recipe

TINY = {
    "kimg": 0.032, "networks.generator_channels": 8, "networks.discriminator_channels": 8,
    "networks.max_channels": 16, "gan.batch": 4, "snapshots.count": 2, "snapshots.samples": 4,
}  # fmt: skip
ALL_VARIED = Scenes(blends=("hard",), colour=0.0, rotation=0.0, scale=0.0, distractors=0.0, real=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_yolo(tmp_path_factory.mktemp("boxes") / "set", counts=(("train", 9), ("val", 3)))


@pytest.fixture(scope="module")
def bank(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
        made = ganaug.fit(folder, recipe="vary-objects-32", settings=TINY, device="cpu", seed=0, progress=False)
    with torch.no_grad():  # as if it had learned to move objects a lot
        made.generators[0].network.flow.weight.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    return ganaug.GeneratorBank(made.manifest, list(made.generators))


def striped(height=90, width=60, label=0):
    """A cut-out far larger than the bank's images, with stripes of two pixels."""
    pixels = np.full((height + 20, width + 20, 3), 128, np.uint8)
    pixels[10:-10, 10:-10] = np.where(np.arange(height)[:, None, None] % 4 < 2, 255, 0)
    return cut(pixels, (10, 10, width + 10, height + 10), label)


def test_a_bank_varies_objects_and_comes_back_from_its_file(bank, tmp_path):
    assert (bank.task, bank.varies, bank.class_names, bank.planes) == ("detect", True, ("red", "blue"), 4)
    again = ganaug.load(bank.save(tmp_path / "objects.ganaug"))
    for name, colour in zip(bank.class_names, COLOURS, strict=True):
        images, alphas = again.sample_objects(name, 6, seed=1)
        assert torch.equal(images, bank.sample_objects(name, 6, seed=1)[0])
        middle = images[:, :, 16, 16].float()
        assert (middle - torch.tensor(colour)).abs().max() < 90
        assert (alphas >= 128).flatten(1).any(1).all()
        assert (alphas[:, 0] < 128).all()
    assert again.fingerprint == bank.fingerprint


def test_a_variation_is_as_large_and_as_sharp_as_its_object(bank):
    whole = striped()
    made = bank.vary_objects([whole] * 5, seed=3)
    for one in made:
        left, top, right, bottom = one.box()
        assert 0.6 * 60 < right - left < 1.6 * 60
        assert 0.6 * 90 < bottom - top < 1.6 * 90
        inside = one.pixels[one.alpha == 255].astype(int)
        assert ((inside < 40) | (inside > 215)).mean() > 0.5  # a picture of 32 px would show no such stripes
        assert one.label == whole.label
        assert one.pixels.shape[:2] == one.alpha.shape
    assert len({one.alpha.tobytes() for one in made}) == 5


def test_a_variation_depends_on_its_object_and_index_alone(bank):
    objects = [striped(30 + number, 40, number % 2) for number in range(70)]
    whole = bank.vary_objects(objects, seed=1, start=30)
    few = bank.vary_objects(objects[60:70], seed=1, start=90)
    for one, other in zip(whole[60:70], few, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert np.array_equal(one.alpha, other.alpha)
    assert not np.array_equal(bank.vary_objects(objects[60:61], seed=2, start=90)[0].alpha, few[0].alpha)
    assert bank.vary_objects([]) == []


def test_farther_is_farther_and_grey_objects_keep_their_channels(bank):
    whole = striped()

    def how_far(one):
        left, top, right, bottom = one.box()
        return abs(right - left - 60) + abs(bottom - top - 90)

    far = bank.with_latent({"reach": 3})
    near, wide = (sum(map(how_far, b.vary_objects([whole] * 20))) for b in (bank, far))
    assert wide > near
    grey = CutOut(whole.pixels[:, :, :1], whole.alpha, 0)
    assert bank.vary_objects([grey])[0].pixels.shape[2] == 1


def test_scenes_hold_variations_of_the_sets_own_objects_with_their_boxes(bank, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(SamplePool, "create", None)  # nothing is kept on disk
    real = list_boxes(folder)
    mixed = GanAugmented(real, bank, ratio=3.0, scenes=ALL_VARIED, seed=5, pool_dir=tmp_path)
    pasted, sizes = 0, set()
    for index in mixed.synthetic_indices():
        image, target = mixed[index]
        pixels = np.asarray(image).astype(int)
        for (left, top, right, bottom), label in zip(
            target["boxes"].int().tolist(), target["labels"].tolist(), strict=True
        ):
            assert 0 <= left < right <= 80
            assert 0 <= top < bottom <= 64
            near = np.abs(pixels[top:bottom, left:right] - COLOURS[label]).max(2) < 60
            assert near.mean() > 0.3
            pasted += (right - left, bottom - top) != (22, 18)
            sizes.add((right - left, bottom - top))
    assert pasted > 10
    assert len(sizes) > 5
    again = pickle.loads(pickle.dumps(GanAugmented(real, bank, ratio=3.0, scenes=ALL_VARIED, seed=5)))
    last = mixed.synthetic_indices()[-1]
    assert np.array_equal(np.asarray(again[last][0]), np.asarray(mixed[last][0]))
    assert b"VariationGenerator" not in pickle.dumps(again), "no worker needs the bank"
    varied = GanAugmented(real, bank, ratio=3.0, scenes=ALL_VARIED, seed=5, mode="variation")
    assert np.array_equal(np.asarray(varied[last][0]), np.asarray(mixed[last][0]))
    other = GanAugmented(real, bank, ratio=3.0, scenes=ALL_VARIED, seed=6)
    shapes = [one._view._objects._varied[0][0].alpha.tobytes() for one in (mixed, again, other)]
    assert shapes[0] == shapes[1] != shapes[2]
    assert not np.array_equal(np.asarray(other[last][0]), np.asarray(mixed[last][0]))


def test_real_objects_are_pasted_as_often_as_the_settings_say(bank, folder):
    real = list_boxes(folder)
    only_real = ALL_VARIED.model_copy(update={"real": 1.0})
    mixed = GanAugmented(real, bank, ratio=3.0, scenes=only_real)
    boxes = torch.cat([mixed[index][1]["boxes"] for index in mixed.synthetic_indices()])
    sides = {tuple(side) for side in (boxes[:, 2:] - boxes[:, :2]).round().int().tolist()}
    assert all(width <= 23 and height <= 19 for width, height in sides)


def test_classes_that_the_bank_does_not_know_are_not_varied(bank, folder, tmp_path):
    strange = write_yolo(tmp_path / "set")
    text = (strange / "data.yaml").read_text()
    (strange / "data.yaml").write_text(text.replace("blue", "green"))
    with pytest.warns(UserWarning, match="not fitted"):
        mixed = GanAugmented(list_boxes(strange), bank, ratio=3.0, scenes=ALL_VARIED)
    labels = torch.cat([mixed[index][1]["labels"] for index in mixed.synthetic_indices()])
    assert (labels == 0).sum() > (labels == 1).sum()
    (strange / "data.yaml").write_text(text.replace("blue", "green").replace("red", "grey"))
    with pytest.raises(DataError, match="share no class"):
        GanAugmented(list_boxes(strange), bank, ratio=1.0)


def test_it_is_previewed_exported_inspected_and_explored(bank, folder, tmp_path, ganaug_command, monkeypatch):
    monkeypatch.setattr("ganaug.box_pictures.SamplePool", None)  # scenes want no samples of 32 px
    path = bank.save(tmp_path / "objects.ganaug")
    told = ganaug_command("inspect", path)
    assert "varies real objects, and holds crops of all those that it was fitted on" in told.out
    assert ganaug_command("preview", path, "--data", folder, "--out", tmp_path / "shown.png").code == 0
    out = tmp_path / "mixed"
    assert ganaug_command("export", path, "--data", folder, "--format", "yolo", "--out", out).code == 0
    assert list_boxes(out).paths
    explored = ganaug.explore(bank, folder, directions=2)
    assert len(explored.directions) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variation.residual": 0.1}, "variation.residual must be 0 with task detect"),
        ({"objects.alpha": "learned"}, "objects.alpha learned goes with generator image"),
        ({"task": "enlarge"}, "generator must be image with task enlarge"),
    ],
)
def test_recipes_that_cannot_be(changes, said):
    with pytest.raises(RecipeError, match=said):
        load_recipe("vary-objects-32").replace(changes)


def test_what_it_cannot_do_is_one_line(bank, make_bank):
    with pytest.raises(BankError, match="vary_objects gives variations of objects"):
        bank.vary(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(BankError, match="vary_objects wants a bank of task detect"):
        make_bank().vary_objects([striped()])
    with pytest.raises(BankError, match="varies none; fit one with a recipe of variations"):
        square_bank().vary_objects([striped()])


def test_a_comparison_of_detectors_tries_no_reach_unless_asked():
    assert load_recipe("vary-objects-32").compare.reaches == ()
    assert load_recipe("vary-32").compare.reaches == (2.0, 3.0)


def test_an_object_that_fills_its_cut_out_gets_room_without_growing(bank):
    whole = CutOut(np.full((30, 20, 3), 200, np.uint8), np.full((30, 20), 255, np.uint8), 0)
    still = bank.with_latent({"reach": 1e-6}).vary_objects([whole])[0]
    left, top, right, bottom = still.box()
    assert (right - left, bottom - top) == pytest.approx((20, 30), abs=2)
    assert still.alpha.shape[0] > bottom - top
