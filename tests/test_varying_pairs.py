"""Variations of real images with masks, from a tiny fit to items, files, a comparison and a preview."""

import functools
import json
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from squares import bank_of_squares
from test_segmenting import TINY, Pairs, write_squares
from torch.utils.data import DataLoader

import ganaug
import ganaug.dataset
from ganaug import GanAugmented, measures
from ganaug.bank_maps import vary_pair
from ganaug.bank_moves import rows_of
from ganaug.choosing import ChosenSamples
from ganaug.data.mask_files import list_masks
from ganaug.data.mask_view import MaskView
from ganaug.data.masks import read_masked
from ganaug.errors import BankError, LeakError, RecipeError
from ganaug.map_shares import map_shares
from ganaug.pool import SamplePool
from ganaug.recipe import load_recipe
from ganaug.tasks import get_task
from ganaug.varied_pairs import VariedPairs, of_own_pairs


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return write_squares(tmp_path_factory.mktemp("squares") / "set", count=8)


def moving(bank):
    """As if it had learned to move images a lot, and to recolour them a little."""
    network, random = bank.generators[0].network, torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.flow.weight.normal_(std=0.5, generator=random)
        network.affine.weight.normal_(std=0.1, generator=random)
        network.colours.weight.normal_(std=0.02, generator=random)
    return ganaug.GeneratorBank(bank.manifest, list(bank.generators))


@pytest.fixture(scope="module")
def bank(squares):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measures, "train_features", functools.partial(measures.train_features, steps=3))
        made = ganaug.fit(squares, recipe="vary-masks-64", settings=TINY, device="cpu", seed=0, progress=False)
    return moving(made)


def agreement(image, mask):
    """Share of the pixels whose brightness is that of their class: squares of 200 and more on a ground below 90."""
    bright = np.asarray(image).astype(int).mean(2) > 130
    return float((bright == (np.asarray(mask) > 0)).mean())


def test_a_bank_varies_pairs_and_comes_back_from_its_file(bank, tmp_path):
    assert (bank.task, bank.varies, bank.planes, bank.label_numbers) == ("segment", True, 4, (0, 255))
    again = ganaug.load(bank.save(tmp_path / "pairs.ganaug"))
    images, maps = again.sample_pairs(70, seed=1)
    for one, other in zip((images, maps), bank.sample_pairs(70, seed=1), strict=True):
        assert torch.equal(one, other)
    later = again.sample_pairs(3, seed=1, start=66)
    assert torch.equal(later[1], maps[66:69])
    assert set(maps.unique().tolist()) == {0, 1}
    assert len({one.numpy().tobytes() for one in maps}) > 40
    assert np.mean([agreement(i.permute(1, 2, 0), m) for i, m in zip(images, maps, strict=True)]) > 0.93
    assert again.fingerprint == bank.fingerprint
    scores = bank.manifest.scores
    assert {"map_dice", "coverage", "noise_ratio", "source_ratio"} <= set(scores)
    usual = scores["map_dice"] * scores["coverage"] * min(1, 2 * scores["noise_ratio"])
    assert scores["score"] == pytest.approx(usual)


def test_a_pair_keeps_its_size_and_sharpness_and_depends_on_its_index_alone(bank):
    stripes = np.zeros((90, 140, 3), np.uint8)
    stripes[::4], stripes[1::4] = 255, 255
    values = np.zeros((90, 140), np.uint16)
    values[20:70, 40:100] = 40000
    made = bank.vary_pairs([(stripes, values)] * 70, seed=3)
    for pixels, told in made:
        assert pixels.shape == stripes.shape
        assert (told.shape, told.dtype) == (values.shape, values.dtype)
        assert set(np.unique(told)) == {0, 40000}
        assert np.abs(np.diff(pixels[:, 20:-20].astype(int), axis=0)).max(2).mean() > 30  # no picture of 32 px has such
    assert len({told.tobytes() for _, told in made}) == 70
    one = bank.vary_pairs([(stripes, values)], seed=3, start=69)[0]
    assert np.array_equal(one[0], made[69][0])
    assert np.array_equal(one[1], made[69][1])
    assert not np.array_equal(bank.vary_pairs([(stripes, values)], seed=4, start=69)[0][1], one[1])
    far = bank.with_latent({"reach": 3}).vary_pairs([(stripes, values)] * 70, seed=3)
    apart = [np.mean([(told != values).mean() for _, told in some]) for some in (made, far)]
    assert apart[1] > 1.3 * apart[0]


def test_slots_hold_variations_of_the_sets_own_pairs_at_their_own_size(bank, squares, monkeypatch):
    monkeypatch.setattr(SamplePool, "create", None)  # nothing is kept on disk
    real = Pairs(squares)
    mixed = GanAugmented(real, bank, ratio=3.0, seed=5)
    shown = [mixed[index] for index in mixed.synthetic_indices()]
    assert len(shown) == 24
    for image, mask in shown:
        assert type(image) is type(real[0][0])
        assert type(mask) is type(real[0][1])
        assert image.shape == (3, 40, 48)
        assert mask.shape == (40, 48)
        assert set(mask.unique().tolist()) <= {0, 255}
    assert np.mean([agreement(image.permute(1, 2, 0), mask) for image, mask in shown]) > 0.95
    assert len({mask.numpy().tobytes() for _, mask in shown}) > 20
    assert not any(torch.equal(mask, real[index][1]) for _, mask in shown for index in range(8))
    again = pickle.loads(pickle.dumps(GanAugmented(Pairs(squares), bank, ratio=3.0, seed=5, mode="variation")))
    for index in mixed.synthetic_indices()[::5]:
        assert torch.equal(again[index][1], mixed[index][1])
        assert torch.equal(again[index][0], mixed[index][0])
    assert b"VariationNetwork" not in pickle.dumps(again), "no worker needs the bank"
    first = mixed[8][1]
    mixed.set_epoch(1)
    assert not torch.equal(mixed[8][1], first)
    mixed.set_epoch(4)
    assert torch.equal(mixed[8][1], first)
    other = GanAugmented(Pairs(squares), bank, ratio=3.0, seed=6)
    assert not torch.equal(other[8][1], first)
    assert len(list(DataLoader(mixed, batch_size=4, num_workers=2))) == 8


def test_slots_hold_the_samples_that_passed_a_screening(bank, squares, monkeypatch):
    plain = GanAugmented(list_masks(squares), bank, ratio=1.0, seed=5, pool_factor=8)  # samples 0 to 63, 8 an epoch
    kept = np.array([9, 40, 2, 63, 17, 30, 5, 58])
    monkeypatch.setattr(ganaug.dataset, "choose_samples", lambda *given, **rest: ChosenSamples({0: kept}, None))
    mixed = GanAugmented(list_masks(squares), bank, ratio=1.0, seed=5, pool_factor=1)
    for place, index in enumerate(kept.tolist()):
        plain.set_epoch(index // 8)
        image, mask = plain[8 + index % 8]
        assert np.array_equal(np.asarray(mixed[8 + place][1]), np.asarray(mask))
        assert np.array_equal(np.asarray(mixed[8 + place][0]), np.asarray(image))


def test_a_variation_is_of_its_own_image_even_where_others_cannot_be_read(bank, squares, tmp_path):
    root = write_squares(tmp_path / "set", count=8)
    (root / "images/2.png").write_bytes(b"none")
    flat = {number: np.full((40, 48, 3), 20 * number + 10, np.uint8) for number in range(8)}
    for number, pixels in flat.items():
        if number != 2:
            Image.fromarray(pixels).save(root / f"images/{number}.png")
            Image.fromarray(np.full((40, 48), 255 * (number % 2), np.uint8)).save(root / f"masks/{number}.png")
    mixed = GanAugmented(list_masks(root), bank, ratio=4.0)
    seen = set()
    for index in mixed.synthetic_indices():
        image, mask = mixed[index]
        number = round((np.asarray(image).mean() - 10) / 20)
        assert (np.asarray(mask) == 255 * (number % 2)).all()
        seen.add(number)
    assert len(seen) > 3
    assert 2 not in seen


@pytest.mark.parametrize("mode", ["RGBA", "L", "I;16"])
def test_images_keep_their_mode(mode, bank, tmp_path):
    root = write_squares(tmp_path / "set", count=3)
    for path in (root / "images").glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("L"))
        wide = Image.fromarray(pixels.astype(np.uint16) * 257)
        (wide if mode == "I;16" else Image.open(path).convert(mode)).save(path)
    mixed = GanAugmented(list_masks(root), bank, ratio=4.0)
    for index in mixed.synthetic_indices():
        image, mask = mixed[index]
        assert (image.mode, image.size) == (mode, (48, 40))
        light = np.asarray(image).astype(int) // (257 if mode == "I;16" else 1)
        light = light[..., :3].mean(2) if mode == "RGBA" else light
        assert ((light > 130) == (np.asarray(mask) > 0)).mean() > 0.9


def test_tiles_are_varied_as_tiles(squares, bank):
    tiled = bank.manifest.model_copy(update={"recipe": bank.recipe.replace({"data.tile": 24}).model_dump(mode="json")})
    cut = ganaug.GeneratorBank(tiled, list(bank.generators))
    mixed = GanAugmented(list_masks(squares), cut, ratio=2.0)
    sizes = {np.asarray(mixed[index][1]).shape for index in mixed.synthetic_indices()}
    assert sizes == {(24, 24)}
    shown = [mixed[index] for index in mixed.synthetic_indices()]
    assert np.mean([agreement(*pair) for pair in shown]) > 0.93
    assert len({(np.asarray(mask) > 0).mean() for _, mask in shown}) > 4


def test_a_tile_of_the_banks_size_is_varied_as_the_sample_of_its_index_is(squares, bank):
    """Whatever the order in which samples are asked for, and from whatever place in its image the tile is."""
    tiled = bank.manifest.model_copy(update={"recipe": bank.recipe.replace({"data.tile": 32}).model_dump(mode="json")})
    own, places = of_own_pairs(
        ganaug.GeneratorBank(tiled, list(bank.generators)), read_masked(squares, resolution=32, tile=32)
    )
    assert len(places) == 8 * 2 * 2
    indices = [70, 3, 130, 5, 4, 64]
    varied, view = VariedPairs(own, places, indices, seed=2), MaskView(list_masks(squares), tile=32)
    wanted = own.sample_at(0, indices, seed=2)
    corners = set()
    for sample, whole in enumerate(wanted):
        item, top, left = varied.source(sample)
        corners.add((top, left))
        pixels, values = varied.vary(sample, *view.cut(*view.read(item), top, left, bands=False))
        assert np.array_equal(values > 0, whole[-1].numpy() == 1)
        assert np.abs(pixels.transpose(2, 0, 1).astype(int) - whole[:-1].numpy()).max() <= 1
    assert len(corners) > 1


def test_what_is_not_square_is_moved_as_its_square_is(bank):
    random = np.random.default_rng(0)
    wide = np.repeat(np.repeat(random.integers(0, 255, (10, 20, 3)), 8, 0), 8, 1).astype(np.uint8)  # 80 x 160
    values = (wide[..., 0] > 127).astype(np.int64)
    _, moves = bank.pair_moves(0, seed=1)
    own = rows_of(moves, slice(3, 4))
    vary = functools.partial(vary_pair, moves=own, channels=3)
    whole, square = vary(wide, values, fit="crop"), vary(wide[:, 40:120], values[:, 40:120], fit="crop")
    inside = np.s_[25:55, 25:55]  # what comes from inside the square
    assert np.abs(whole[0][:, 40:120][inside].astype(int) - square[0][inside]).max() <= 1
    assert (whole[1][:, 40:120][inside] != square[1][inside]).mean() < 0.01
    padded = [np.pad(one, ((40, 40), (0, 0), (0, 0))[: one.ndim], mode="edge") for one in (wide, values)]
    whole, square = vary(wide, values, fit="pad"), vary(*padded, fit="pad")
    inside = np.s_[30:50, 30:130]
    assert np.abs(whole[0][inside].astype(int) - square[0][40:120][inside]).max() <= 1
    assert (whole[1][inside] != square[1][40:120][inside]).mean() < 0.01
    stretched = vary(wide, values, fit="stretch")
    assert np.abs(stretched[0].astype(int) - whole[0]).max() > 20


def test_squares_know_where_they_were_cut(squares):
    read = read_masked(squares, resolution=32, tile=24)
    assert len(read.places) == len(read) == 8 * 3 * 3
    assert read.places[:4] == ((0, 0, 0), (0, 0, 12), (0, 0, 24), (0, 8, 0))
    some = read.subset([3, 1])
    assert {place[0] for place in some.places[:9]} == {3}
    assert {place[0] for place in some.places[9:]} == {1}
    assert {place[1:] for place in read_masked(squares, resolution=32).places} == {(0, 0)}


def test_it_is_previewed_exported_inspected_and_compared(bank, squares, tmp_path, ganaug_command):
    path = bank.save(tmp_path / "pairs.ganaug")
    told = ganaug_command("inspect", path)
    assert "varies real images with their maps, and holds 8 of those" in told.out
    assert "object" in told.out
    assert ganaug_command("preview", path, "--data", squares, "--out", tmp_path / "shown.png").code == 0
    out = tmp_path / "mixed"
    assert (
        ganaug_command("export", path, "--data", squares, "--format", "masks", "--out", out, "--ratio", "2").code == 0
    )
    assert ganaug_command("export", path, "--data", squares, "--format", "coco", "--out", tmp_path / "coco").code == 0
    written = sorted((out / "images").glob("ganaug-*.png"))
    assert len(written) == 16
    for image in written:
        mask = Image.open(out / "masks" / image.name)
        assert Image.open(image).size == mask.size == (48, 40)
        assert set(np.unique(np.asarray(mask))) <= {0, 255}
        assert agreement(Image.open(image), mask) > 0.85
    assert len({(out / "masks" / image.name).read_bytes() for image in written}) > 12
    read = read_masked(out, resolution=32)
    assert len(read) == 24
    annotations = json.loads((tmp_path / "coco/annotations.json").read_text())
    assert len(annotations["images"]) == 12
    assert {(one["height"], one["width"]) for one in annotations["images"]} == {(40, 48)}
    shares = map_shares(bank)
    held = bank.generators[0].source_maps
    assert shares["object"][0] == pytest.approx(float((held == 1).float().mean()))
    assert shares["object"][1] == pytest.approx(shares["object"][0], abs=0.08)


def test_a_snapshots_score_counts_that_the_noise_matters(bank, squares):
    held, task = read_masked(squares, resolution=32), get_task("segment")
    exam = SimpleNamespace(
        images=held.images, image_labels=held.labels, noise=torch.randn(8, 16), reader=lambda images, maps: 0.8,
        fidelity=lambda images: (0.0, {"coverage": 0.5}),
    )  # fmt: skip
    scores = {}
    for reach in (0.05, 4.0):
        generator = bank.with_latent({"reach": reach}).generators[0]
        scores[reach], told = task.score(generator, exam)
        assert told["map_dice"] == 0.8
        assert scores[reach] == pytest.approx(0.4 * min(1, 2 * told["noise_ratio"]))
    assert scores[0.05] < 0.39 < scores[4.0]


def test_large_images_are_no_worry_for_they_are_varied_at_their_size(bank, tmp_path):
    root = write_squares(tmp_path / "set", count=3)
    for path in (*(root / "images").iterdir(), *(root / "masks").iterdir()):
        Image.open(path).resize((144, 120), Image.Resampling.NEAREST).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed = GanAugmented(list_masks(root), bank, ratio=1.0)
    assert mixed[3][0].size == (144, 120)


def test_a_comparison_tries_how_far(bank, squares, tmp_path):
    other = write_squares(tmp_path / "val", count=6, seed=1)
    test = write_squares(tmp_path / "test", count=6, seed=2)
    found = ganaug.compare(
        squares, bank, val=other, test=test, ratios=[1.0], seeds=2, steps=2,
        settings={"augments": ["flip"], "schedules": ["constant"], "real_equivalent": False, "reaches": [2.0]},
    )  # fmt: skip
    told = found.to_dict()
    assert [row["reach"] for row in told["sweep"]] == [None, 2.0]
    assert told["verdict"]["measured"]["reaches"] == [2.0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variation.residual": 0.1}, "variation.residual must be 0 with task segment: images are varied"),
        ({"generator": "image"}, "reconstruction.share must be 0 with task segment"),
    ],
)
def test_recipes_that_cannot_be(changes, said):
    with pytest.raises(RecipeError, match=said):
        load_recipe("vary-masks-64").replace(changes)
    with pytest.raises(RecipeError, match="latent does not go with task segment"):
        load_recipe("segment-64").replace({"latent": {"reach": 2}})


def test_what_it_cannot_do_is_one_line(bank, squares, make_bank):
    with pytest.raises(BankError, match="paints none of a map alone"):
        bank.paint(torch.zeros(1, 32, 32, dtype=torch.uint8))
    with pytest.raises(BankError, match="vary_pairs gives variations of images with their maps"):
        bank.vary(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    pair = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8)
    with pytest.raises(BankError, match="vary_pairs wants a bank of task segment"):
        make_bank().vary_pairs([pair])
    with pytest.raises(BankError, match="varies none; fit one with a recipe of variations"):
        bank_of_squares().vary_pairs([pair])
    with pytest.raises(BankError, match="wanted the same"):
        bank.vary_pairs([(pair[0], pair[1][:10])])
    with pytest.raises(BankError, match="no directions to explore"):
        ganaug.explore(bank)
    with pytest.raises(BankError, match="varies none"):
        GanAugmented(list_masks(squares), bank_of_squares(), ratio=1, mode="variation")


def test_images_held_back_are_refused(bank, squares):
    prints = read_masked(squares, resolution=32).fingerprints[:1]
    manifest = bank.manifest.model_copy(update={"held_back_fingerprints": prints, "train_fingerprints": ()})
    with pytest.raises(LeakError, match="held back"):
        GanAugmented(list_masks(squares), ganaug.GeneratorBank(manifest, list(bank.generators)), ratio=1.0)
