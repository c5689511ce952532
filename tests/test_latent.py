import json

import pytest
import torch
from taught import LATENT, taught_bank, turned
from torchvision.datasets import ImageFolder

import ganaug
from ganaug.basing import check_base, recipe_of_base, start_of
from ganaug.commands.banks import _latent
from ganaug.errors import BankError, RecipeError
from ganaug.gan.networks import NetworkShape
from ganaug.gan.variation import VariationGenerator, VariationShape
from ganaug.latent import open_spaces
from ganaug.manifest import Verdict
from ganaug.measures import ATTRIBUTES
from ganaug.pool import SamplePool
from ganaug.recipe import load_recipe

VERDICT = Verdict(ratio=0.5, gain=0.02, low=0.01, high=0.03, real_only=0.7, with_synthetic=0.72, subject="bank")


@pytest.fixture(scope="module")
def bank():
    return taught_bank()


def across(images):
    return float(ATTRIBUTES["across"](images).mean())


def bright(images):
    return float(ATTRIBUTES["brightness"](images).mean())


def varying_bank(make_bank, **changes):
    shape = VariationShape(
        16, 3, 3, latent_dim=8, generator_channels=8, max_channels=16, discriminator_channels=8, sources=6
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = VariationGenerator(shape)
        torch.nn.init.normal_(generator.network.flow.weight, std=1.0)
    generator.hold(torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8), torch.arange(6) % 3)
    plain = make_bank()
    manifest = plain.manifest.model_copy(update={"shape": shape.to_dict(), **changes})
    return ganaug.GeneratorBank(manifest, [generator])


def test_the_directions_of_a_taught_generator_are_those_it_was_taught(bank):
    (space,) = open_spaces(bank.manifest, list(bank.generators))
    found = space.directions(2)
    meant = (found.steps @ turned()).abs()  # along the true axes
    assert meant[0, 0] > 5 * meant[0, 1]
    assert meant[1, 1] > 5 * meant[1, 0]
    assert found.explained[0] > 2 * found.explained[1]


def test_a_shift_moves_what_the_direction_means_by_as_many_deviations_as_it_says(bank):
    usual, moved = bank.sample("large", 128), bank.with_latent({"shift": {0: 0.8}}).sample("large", 128)
    deviation = float(ATTRIBUTES["across"](usual).std())
    assert abs(across(moved) - across(usual)) == pytest.approx(0.8 * deviation, rel=0.25)
    assert abs(bright(moved) - bright(usual)) < 0.02


def test_what_is_excluded_no_longer_differs_and_the_rest_does(bank):
    def spread(name, images):
        return float(ATTRIBUTES[name](images).std())

    usual, held = bank.sample("large", 128), bank.with_latent({"exclude": [0]}).sample("large", 128)
    assert spread("across", held) < 0.2 * spread("across", usual)
    assert spread("brightness", held) > 0.8 * spread("brightness", usual)
    half = bank.with_latent({"spread": {0: 0.5}}).sample("large", 128)
    assert spread("across", half) == pytest.approx(spread("across", usual) / 2, rel=0.2)
    aside = bank.with_latent({"exclude": [0], "shift": {0: 1.0}}).sample("large", 128)
    assert spread("across", aside) < 0.2 * spread("across", usual)
    assert abs(across(aside) - across(held)) > 0.06


def test_one_class_can_be_moved_alone(bank):
    moved = bank.with_latent({"by_class": {"large": {"shift": {1: 1.0}}}})
    assert torch.equal(moved.sample("small", 70), bank.sample("small", 70))
    assert not torch.equal(moved.sample("large", 70), bank.sample("large", 70))


def test_a_setting_stays_in_the_file_and_can_be_taken_back(bank, tmp_path):
    judged = bank.with_verdict(VERDICT)
    moved = judged.with_latent({"shift": {1: 1.5}, "exclude": [2]})
    assert moved.verdict is None
    assert moved.fingerprint != bank.fingerprint
    assert moved.fingerprint != bank.with_latent({"shift": {1: 1.4}, "exclude": [2]}).fingerprint
    loaded = ganaug.load(moved.save(tmp_path / "moved.ganaug"))
    assert loaded.fingerprint == moved.fingerprint
    assert loaded.recipe.latent.shift == {1: 1.5}
    assert torch.equal(loaded.sample("small", 70, start=30), moved.sample("small", 70, start=30))
    # another setting is of the directions as fitted, not of those that were moved
    other, straight = loaded.with_latent({"shift": {0: -1.0}}), bank.with_latent({"shift": {0: -1.0}})
    assert other.fingerprint == straight.fingerprint
    for nothing in (None, {}):
        back = loaded.with_latent(nothing)
        assert back.fingerprint == bank.fingerprint
        assert back.recipe.latent is None
        assert torch.equal(back.sample("large", 70), bank.sample("large", 70))


def test_pools_and_datasets_have_the_moved_samples(tiny_bank, image_folder, tmp_path):
    moved = tiny_bank.with_latent({"shift": {0: 2.0}})
    pools = [SamplePool.create(one, {0: 4}, directory=tmp_path) for one in (tiny_bank, moved)]
    assert pools[0].folder != pools[1].folder
    assert torch.equal(torch.from_numpy(pools[1].images(0).copy()).permute(0, 3, 1, 2), moved.sample("cat", 4))
    real = ImageFolder(str(image_folder))
    shown = [
        ganaug.GanAugmented(real, one, ratio=1, pool_dir=tmp_path, check=False)[len(real)][0]
        for one in (tiny_bank, moved)
    ]
    assert shown[0].tobytes() != shown[1].tobytes()


def test_variations_are_moved_whatever_their_images(make_bank):
    bank = varying_bank(make_bank)
    moved = bank.with_latent({"exclude": list(range(8))})  # nothing of the noise is left
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    assert not torch.equal(bank.vary(images, seed=1), bank.vary(images, seed=2))
    assert (moved.vary(images, seed=1).int() - moved.vary(images, seed=2).int()).abs().max() <= 1
    others = moved.of_sources(images, torch.arange(4), dict(enumerate("abcd")))
    assert (others.sample("a", 9).int() - others.sample("a", 9, seed=1).int()).abs().max() <= 1
    with pytest.raises(BankError, match="variations are told no class"):
        bank.with_latent({"by_class": {"cat": {"exclude": [0]}}})


def test_variations_go_farther_and_back_again(make_bank, tmp_path):
    bank = varying_bank(make_bank)
    images = (torch.arange(16) * 8 + 60).byte().expand(70, 3, 16, 16)

    def how_far(one):
        return float((one.vary(images).int() - images.int()).abs().float().mean())

    far = ganaug.load(bank.with_latent({"reach": 2}).save(tmp_path / "far.ganaug"))
    assert how_far(far) > 1.2 * how_far(bank)
    assert torch.equal(far.with_latent({"reach": 1}).vary(images), bank.vary(images))
    assert len({one.fingerprint for one in (bank, far, bank.with_latent({"reach": 3}))}) == 3
    assert far.with_latent(None).fingerprint == bank.fingerprint
    assert torch.equal(
        far.of_sources(images, torch.zeros(70, dtype=torch.int64), {0: "a"}).vary(images), far.vary(images)
    )
    # directions are those as fitted
    both = far.with_latent({"reach": 2, "exclude": list(range(8))})
    assert torch.equal(both.sample("cat", 5), bank.with_latent({"exclude": list(range(8))}).sample("cat", 5))
    assert torch.equal(
        far.with_latent({"shift": {0: 1.0}}).sample("cat", 5), bank.with_latent({"shift": {0: 1.0}}).sample("cat", 5)
    )


def test_inspect_says_what_is_set_and_no_more(bank, make_bank):
    assert _latent(varying_bank(make_bank).with_latent({"reach": 2}).manifest) == "reach 2.0"
    assert _latent(bank.with_latent({"exclude": [1]}).manifest) == "exclude [1]"
    assert _latent(bank.manifest) == "samples as they were fitted"


def test_only_variations_go_farther(bank):
    with pytest.raises(BankError, match=r"latent.reach is of variations, and this bank makes its samples of noise"):
        bank.with_latent({"reach": 2})


def test_where_each_class_has_a_generator_each_has_directions(make_bank):
    bank = make_bank(per_class=True)
    moved = bank.with_latent({"by_class": {"dog": {"shift": {1: 1.0}}}})
    assert torch.equal(moved.sample("cat", 5), bank.sample("cat", 5))
    assert not torch.equal(moved.sample("dog", 5), bank.sample("dog", 5))


def test_a_bank_with_added_classes_is_moved_too(make_bank, tmp_path):
    bank = make_bank().joined(make_bank(("fox", "hen")))
    moved = ganaug.load(bank.with_latent({"shift": {0: 1.0}}).save(tmp_path / "five.ganaug"))
    for name in ("cat", "fox"):
        assert not torch.equal(moved.sample(name, 5), bank.sample(name, 5))


def test_objects_are_moved(tmp_path):
    from drawn_boxes import square_bank

    bank = square_bank()
    moved = bank.with_latent({"shift": {0: 1.0}})
    assert ganaug.load(moved.save(tmp_path / "objects.ganaug")).fingerprint == moved.fingerprint != bank.fingerprint


def test_a_fit_whose_recipe_says_so_gives_moved_samples(image_folder, tiny_recipe):
    plain = ganaug.fit(image_folder, recipe=tiny_recipe, seed=0, progress=False)
    moved = ganaug.fit(image_folder, recipe=tiny_recipe.replace({"latent.exclude": [0]}), seed=0, progress=False)
    assert torch.equal(moved.with_latent(None).sample("cat", 5), plain.sample("cat", 5))
    assert torch.equal(moved.sample("cat", 5), plain.with_latent({"exclude": [0]}).sample("cat", 5))


def test_a_fit_starts_from_a_moved_bank_as_from_the_one_before(bank):
    moved = bank.with_latent({"shift": {0: 1.0}})
    assert recipe_of_base(moved).latent is None
    shape = NetworkShape(**bank.manifest.shape)
    check_base(moved, recipe_of_base(moved), shape)
    fresh = {name for name in start_of(moved).generator if "steering" not in name}
    assert fresh == set(start_of(bank).generator)


def test_refits_are_refused_that_would_have_other_directions(tiny_bank, image_folder):
    moved = tiny_bank.with_latent({"exclude": [0]})
    with pytest.raises(BankError, match="a refit has others of these numbers; give val or test"):
        ganaug.compare(image_folder, moved, classes=["cat", "dog"])


@pytest.mark.parametrize(
    ("latent", "error", "said"),
    [
        ({"exclude": [LATENT]}, BankError, r"direction 3 is not there: codes of this bank have 3 numbers, .* 0 to 2"),
        ({"by_class": {"lage": {"exclude": [0]}}}, BankError, "knows no class 'lage'; did you mean 'large'"),
        ({"shift": {0: 9}}, RecipeError, "latent.shift.0 is 9"),
        ({"shift": {-1: 1}}, RecipeError, "latent.shift"),
        ({"spread": {0: -1}}, RecipeError, "latent.spread.0 is -1"),
        ({"exclude": [0], "spread": {0: 2}}, RecipeError, "direction 0 is excluded, which is a spread of 0"),
        ({"exlude": [0]}, RecipeError, "no setting 'latent.exlude'; did you mean 'exclude'"),
        ({"by_class": {"large": {"shft": {}}}}, RecipeError, "no setting 'latent.by_class.large.shft'"),
    ],
)
def test_what_cannot_be(bank, latent, error, said):
    with pytest.raises(error, match=said):
        bank.with_latent(latent)


def test_what_cannot_be_of_label_maps():
    from squares import bank_of_squares

    with pytest.raises(BankError, match="a bank of task segment has no directions to explore"):
        bank_of_squares().with_latent({"exclude": [0]})
    with pytest.raises(RecipeError, match="latent does not go with task segment"):
        load_recipe("segment-64").replace({"latent.exclude": [0]})


def test_a_recipe_says_it_in_yaml_and_json(bank, tmp_path):
    recipe = load_recipe("classify-16").replace({"latent.shift.0": 1.5, "latent.by_class.cat.exclude": [1]})
    path = tmp_path / "moved.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(path).latent == recipe.latent
    assert load_recipe(json.loads(recipe.model_dump_json())).latent.shift == {0: 1.5}
    assert load_recipe("classify-16").latent is None
