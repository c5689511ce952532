import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder

import ganaug
from ganaug import GanAugmented
from ganaug.errors import BankError, RecipeError
from ganaug.recipe import load_recipe


@pytest.fixture
def recipe(tiny_recipe):
    return tiny_recipe.replace({"generator": "variation"})


@pytest.fixture
def bank(image_folder, recipe):
    return ganaug.fit(image_folder, recipe=recipe, classes=["cat", "dog"], progress=False)


def test_a_bank_holds_what_it_varies_and_comes_back_from_its_file(bank, image_folder, tmp_path):
    assert bank.varies
    assert bank.generators[0].sources.shape == (18, 3, 16, 16)
    again = ganaug.load(bank.save(tmp_path / "pets.ganaug"))
    assert again.fingerprint == bank.fingerprint
    assert torch.equal(again.sample("dog", 70, seed=3), bank.sample("dog", 70, seed=3))
    scores = bank.manifest.scores
    assert {"noise_ratio", "source_ratio"} <= scores.keys()
    assert scores["noise_ratio"] < 0.5  # a fit of a few steps: the noise hardly matters yet, which the score counts
    fidelity = scores["coverage"] / (1 + max(0.0, scores["kernel_distance"]))
    assert scores["score"] == pytest.approx(2 * scores["noise_ratio"] * fidelity)


def test_one_generator_a_class_and_classes_of_unequal_size(image_folder, recipe, tmp_path):
    bank = ganaug.fit(image_folder, recipe=recipe.replace({"per_class": True}), progress=False)
    again = ganaug.load(bank.save(tmp_path / "pets.ganaug"))
    assert torch.equal(again.sample("owl", 5), bank.sample("owl", 5))
    with pytest.raises(BankError, match="has 3 generators, each for classes of its own"):
        bank.vary(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_a_variation_depends_on_its_image_and_index_alone(bank):
    images = torch.randint(0, 256, (100, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = bank.vary(images, seed=1, start=30)
    assert torch.equal(bank.vary(images[50:60], seed=1, start=80), whole[50:60])
    assert not torch.equal(bank.vary(images[50:60], seed=2, start=80), whole[50:60])


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 1, 16, 16, dtype=torch.uint8), torch.zeros(2, 3, 32, 32, dtype=torch.uint8)]
)
def test_images_of_another_form_are_refused(bank, images):
    with pytest.raises(BankError, match=r"wanted torch.uint8 \(n, 3, 16, 16\)"):
        bank.vary(images)


def test_a_datasets_own_images_are_varied_of_classes_never_seen_too(bank, pets, tmp_path):
    mixed = GanAugmented(pets, bank, ratio=1, mode="variation", pool_dir=tmp_path, seed=1)
    assert mixed.classes == ["cat", "dog", "owl"]
    owls = [index for index in range(len(pets), len(mixed)) if mixed.targets[index] == 2]
    assert len(owls) == 3
    (image, label), real = mixed[owls[0]], torch.stack([pets[index][0] for index in range(18, 21)]).float()
    assert label == 2
    # scarcely trained, it changes little: the image is one of the owls
    nearest = (real - image.float()).abs().mean((1, 2, 3)).min()
    others = torch.stack([pets[index][0] for index in range(12)]).float()
    assert nearest < (others - image.float()).abs().mean((1, 2, 3)).min()
    again = GanAugmented(pets, bank, ratio=1, mode="variation", pool_dir=tmp_path, seed=1)
    assert torch.equal(again[owls[0]][0], image)
    assert len(list(tmp_path.glob("*/pool.json"))) == 1


def test_other_images_make_another_pool(bank, image_folder, tmp_path):
    for classes in (["cat", "dog"], ["cat", "owl"]):
        real = ImageFolder(image_folder)
        keep = [i for i, (_, label) in enumerate(real.samples) if real.classes[label] in classes]
        GanAugmented(torch.utils.data.Subset(real, keep), bank, ratio=1, mode="variation", pool_dir=tmp_path)
    assert len(list(tmp_path.glob("*/pool.json"))) == 2


def test_a_bank_of_noise_to_images_varies_nothing(tiny_bank, pets):
    with pytest.raises(BankError, match="makes images of noise and a class, and varies none; fit one") as caught:
        GanAugmented(pets, tiny_bank, ratio=1, mode="variation")
    assert "\n" not in str(caught.value)
    with pytest.raises(RecipeError, match="mode is 'vary'"):
        GanAugmented(pets, tiny_bank, ratio=1, mode="vary")


def test_inspect_says_that_training_images_are_inside(bank, tmp_path, ganaug_command):
    ended = ganaug_command("inspect", bank.save(tmp_path / "pets.ganaug"))
    assert "holds all those that it was fitted on" in ended.out


def test_grey_images_vary_too(recipe, tmp_path):
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.integers(0, 256, (12, 1, 16, 16), dtype=np.uint8))
    data = ganaug.data.LabelledImages(
        images, torch.arange(12) % 2, ("a", "b"), (0, 1), tuple(str(number) for number in range(12))
    )
    bank = ganaug.fit(data, recipe=recipe, progress=False)
    assert bank.sample("b", 3).shape == (3, 1, 16, 16)


def test_a_recipe_of_which_nothing_varies_is_refused():
    with pytest.raises(RecipeError, match="flow, colour and residual are all off"):
        load_recipe({"generator": "variation", "variation": {"flow": False, "colour": False, "residual": 0}})


def test_a_fit_starts_from_variations_of_other_classes(bank, image_folder, recipe):
    kept = recipe.replace({"kimg": 0.016, "gan.ema": 0.0, "gan.reconstruction_lr": 1e-9})
    found = ganaug.fit(image_folder, recipe=kept, classes=["owl"], base=bank, progress=False)
    before, after = (made.generators[0].network.trunk.downs[0].weight for made in (bank, found))
    assert torch.allclose(before, after, atol=1e-6)
    assert found.generators[0].sources.shape[0] == 3


def test_what_variations_do_not_go_with_is_said(bank, tiny_bank, image_folder, recipe, tiny_recipe):
    with pytest.raises(RecipeError, match="leave unlabelled images out"):
        ganaug.fit(image_folder, recipe=recipe, unlabelled=image_folder, progress=False)
    with pytest.raises(RecipeError, match="the base makes images of noise and this fit varies real images"):
        ganaug.fit(image_folder, recipe=recipe, base=tiny_bank, progress=False)
    with pytest.raises(RecipeError, match="the base varies real images and this fit makes images of noise"):
        ganaug.fit(image_folder, recipe=tiny_recipe, base=bank, progress=False)
