"""Fits that learn from unlabelled images too: what joins a class, what is kept, what is refused."""

import pytest
import torch
from torch.nn import functional

import ganaug
from ganaug import beside, fitting
from ganaug.data import read_images
from ganaug.errors import DataError, LeakError
from ganaug.evidence.comparison import compare
from ganaug.fitting import fit
from ganaug.gan.loop import Fit
from ganaug.gan.mixed import Others
from ganaug.gan.networks import NetworkShape
from ganaug.gan.step import Trainer
from ganaug.planning import plan_fit


@pytest.fixture
def recipe(tiny_recipe):
    return tiny_recipe.replace({"unlabelled.steps": 3, "unlabelled.judges": 2, "unlabelled.precision": 0.3})


@pytest.fixture
def halves(image_folder):
    """Every second image, labelled; all of them, whose labels nobody knows."""
    every = read_images(image_folder, resolution=16)
    return every.subset(range(0, 21, 2)), every


def quiet(data, recipe, **arguments):
    return fit(data, recipe=recipe, progress=False, **arguments)


def weights(bank):
    return bank.generators.state_dict()


def test_a_bank_offers_the_labelled_classes_and_tells_of_the_others(halves, recipe, tmp_path):
    labelled, every = halves
    bank = quiet(labelled, recipe, unlabelled=every)
    manifest = bank.manifest
    assert bank.class_names == ("cat", "dog", "owl")
    assert manifest.shape["classes"] == len(weights(bank)["0.class_embedding.weight"]) == 3
    assert bank.sample("owl", 2).shape == (2, 3, 16, 16)
    assert manifest.learned_from == "21 images, 10 of them without labels"
    assert set(manifest.joined) == {"cat", "dog", "owl"}
    assert 0 <= sum(manifest.joined.values()) <= 10
    assert set(manifest.train_fingerprints) == set(every.fingerprints)
    assert len(manifest.train_perceptual) == 21
    again = ganaug.load(bank.save(tmp_path / "pets.ganaug"))
    assert torch.equal(again.sample("dog", 3), bank.sample("dog", 3))
    assert again.manifest == manifest


def test_the_others_make_a_difference(halves, recipe):
    labelled, every = halves
    alone, beside = quiet(labelled, recipe), quiet(labelled, recipe, unlabelled=every)
    name = "0.to_image.weight"
    assert not torch.equal(weights(alone)[name], weights(beside)[name])
    assert alone.manifest.unlabelled == 0


@pytest.mark.parametrize("per_class", [False, True])
def test_an_interrupted_fit_goes_on_without_guessing_anew(halves, recipe, tmp_path, monkeypatch, per_class):
    labelled, every = halves
    recipe = recipe.replace({"per_class": per_class})
    whole = quiet(labelled, recipe, unlabelled=every)
    save, seen = Fit._save, []

    def stop_after_first(self, *arguments):
        save(self, *arguments)
        seen.append(1)
        if len(seen) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Fit, "_save", stop_after_first)
    with pytest.raises(KeyboardInterrupt):
        quiet(labelled, recipe, unlabelled=every, run_dir=tmp_path / "run")
    monkeypatch.setattr(beside, "guess_classes", None)
    bank = quiet(labelled, recipe, unlabelled=every, run_dir=tmp_path / "run", resume=True)
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(bank).items())
    assert bank.manifest.model_dump(exclude={"created"}) == whole.manifest.model_dump(exclude={"created"})
    with pytest.raises(DataError, match="--unlabelled, or choose another --out"):
        plan_fit(labelled, recipe=recipe, unlabelled=every.subset(range(9)), run_dir=tmp_path / "run", resume=True)


def test_the_recipe_names_a_folder_and_an_argument_is_kept_in_it(image_folder, halves, recipe):
    labelled, _ = halves
    named = plan_fit(labelled, recipe=recipe.replace({"data.unlabelled": str(image_folder)}))
    given = plan_fit(labelled, recipe=recipe, unlabelled=image_folder)
    assert named.recipe == given.recipe
    assert given.recipe.data.unlabelled == str(image_folder)
    assert given.rows.tolist() == list(range(1, 21, 2))
    assert any(line.startswith("unlabelled: 10 images, 11 copies left out") for line in given.lines())


def test_images_that_are_held_back_are_refused(halves, recipe):
    labelled, every = halves
    with pytest.raises(LeakError, match="1 of the 21 unlabelled images are among those held back"):
        quiet(labelled, recipe, unlabelled=every, held_back=every.subset([1]))


def test_images_to_score_must_not_be_among_the_others(halves, recipe):
    labelled, every = halves
    bank = quiet(labelled, recipe, unlabelled=every)
    with pytest.raises(LeakError, match="2 of the 2 images of test are among those that the bank was fitted on"):
        compare(labelled, bank, test=every.subset([1, 3]))


def test_refits_of_a_comparison_have_the_others_but_for_what_is_held_back(halves, recipe, monkeypatch):
    _, every = halves
    data = every.subset(range(18))  # too few owls to hold some back
    data = type(data)(**{**vars(data), "class_names": ("cat", "dog"), "label_numbers": (0, 1)})
    seen = []
    original = fitting._fit_here

    def looked_at(processes, device, plan, held_back, progress):
        seen.append((set(plan.unlabelled.fingerprints), set(held_back)))
        return original(processes, device, plan, held_back, progress)

    bank = quiet(data, recipe, unlabelled=every)
    monkeypatch.setattr(fitting, "_fit_here", looked_at)
    compare(data, bank, unlabelled=every)
    ((others, held),) = seen
    assert held
    assert others == set(every.fingerprints) - held
    with pytest.raises(DataError, match="fitted on 3 unlabelled images too, and its recipe has no path"):
        compare(data, bank)


def test_images_of_no_class_do_not_teach_classes():
    """The error of the auxiliary classifier is the mean over rows of a class, and 0 where there is none."""
    recipe = ganaug.Recipe(resolution=16, kimg=1)
    shape = NetworkShape(resolution=16, image_channels=1, classes=3, generator_channels=4, max_channels=8)
    others = Others(torch.zeros(1, 1, 16, 16, dtype=torch.uint8), torch.tensor([2]))
    trainer = Trainer(recipe, shape, torch.device("cpu"), others=others)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 2, 1, 2, 2, 1])
    known = labels < 2
    assert torch.allclose(trainer._class_error(logits, labels), functional.cross_entropy(logits[known], labels[known]))
    assert trainer._class_error(logits[:2], torch.tensor([2, 2])) == 0
