"""Fits that start from a bank of other classes, and classes that are added to a bank."""

import pytest
import torch

import ganaug
from ganaug.data import read_images
from ganaug.errors import BankError, DataError, LeakError, RecipeError
from ganaug.evidence.comparison import compare
from ganaug.fitting import fit
from ganaug.planning import plan_fit


@pytest.fixture
def images(image_folder):
    return read_images(image_folder, resolution=16)


def quiet(data, recipe=None, **arguments):
    return fit(data, recipe=recipe, progress=False, **arguments)


def of(images, *names):
    numbers = [images.class_names.index(name) for name in names]
    rows = torch.isin(images.labels, torch.tensor(numbers)).nonzero().flatten()
    part = images.subset(rows)
    labels = torch.tensor([numbers.index(int(label)) for label in part.labels])
    numbers = tuple(range(len(names)))  # as a folder of their own would have it
    return type(part)(**{**vars(part), "labels": labels, "class_names": names, "label_numbers": numbers})


@pytest.fixture
def base(images, tiny_recipe):
    recipe = tiny_recipe.replace({"networks.keep": True, "data.horizontal_flip": True})
    return quiet(of(images, "cat", "dog"), recipe, held_back=("held",))


def test_networks_that_are_kept_come_back_from_the_file(base, tmp_path):
    again = ganaug.load(base.save(tmp_path / "base.ganaug"))
    assert {name.partition(".")[0] for name in again.kept} == {"discriminator", "encoder"}
    assert all(torch.equal(tensor, again.kept[name]) for name, tensor in base.kept.items())
    assert torch.equal(again.sample("cat", 3), base.sample("cat", 3))
    assert again.with_verdict(None).kept.keys() == base.kept.keys()
    assert again.fingerprint == base.fingerprint


def test_a_fit_starts_from_the_weights_and_the_recipe_of_its_base(images, base, tmp_path):
    path = base.save(tmp_path / "base.ganaug")
    plan = plan_fit(of(images, "owl"), base=path, kimg=0.016)
    assert plan.recipe.base == str(path)
    assert plan.recipe.data.horizontal_flip
    assert any("cat, dog (encoder and discriminator too)" in line for line in plan.lines())
    bank = quiet(of(images, "owl"), base=path, kimg=0.016, settings={"gan.generator_lr": 1e-7, "gan.ema": 0.0,
                 "gan.reconstruction_lr": 1e-7})  # fmt: skip
    ours, theirs = bank.generators.state_dict(), base.generators.state_dict()
    assert torch.allclose(ours["0.to_image.weight"], theirs["0.to_image.weight"], atol=1e-4)
    assert bank.class_names == ("owl",)
    assert bank.manifest.base == ("cat", "dog")
    assert bank.manifest.learned_from == "21 images, with those of a bank of cat, dog that it started from"
    assert set(bank.manifest.train_fingerprints) == set(images.fingerprints)
    assert bank.manifest.held_back_fingerprints == ("held",)


def test_an_interrupted_fit_from_a_base_goes_on_as_if_it_had_not_been(images, base, tmp_path, monkeypatch):
    path = base.save(tmp_path / "base.ganaug")
    given = {"base": path, "kimg": 0.064, "settings": {"snapshots.count": 2}}
    whole = quiet(of(images, "owl"), **given)
    with monkeypatch.context() as patch:
        save, seen = ganaug.gan.loop.Fit._save, []

        def stop(self, *arguments):
            save(self, *arguments)
            seen.append(1)
            if len(seen) == 1:
                raise KeyboardInterrupt

        patch.setattr(ganaug.gan.loop.Fit, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            quiet(of(images, "owl"), **given, run_dir=tmp_path / "run")
    bank = quiet(of(images, "owl"), **given, run_dir=tmp_path / "run", resume=True)
    ours, theirs = bank.generators.state_dict(), whole.generators.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert all(torch.equal(tensor, whole.kept[name]) for name, tensor in bank.kept.items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resolution": 32}, "makes 16 px colour images and this fit is for 32 px colour images"),
        ({"data.colour": "grey"}, "makes 16 px colour images and this fit is for 16 px grey images"),
        ({"networks.latent_dim": 5}, "has networks.latent_dim 4 and this fit 5"),
        ({"networks.discriminators": 2}, "keeps 1 discriminators and this fit has 2"),
        ({"per_class": True}, "per_class goes with neither base nor networks.keep"),
    ],
)
def test_networks_of_other_sizes_are_refused(image_folder, base, tiny_recipe, tmp_path, change, said):
    path = base.save(tmp_path / "base.ganaug")
    with pytest.raises(RecipeError, match=said):
        plan_fit(image_folder, classes=["owl"], recipe=tiny_recipe, settings=change, base=path)


def test_images_that_one_fit_holds_back_are_not_learned_by_the_other(images, base):
    owls = of(images, "owl")
    held = type(owls)(**{**vars(owls), "fingerprints": ("held", *owls.fingerprints[1:])})
    with pytest.raises(LeakError, match="1 images to train on were held back from the base's fit"):
        plan_fit(held, base=base)
    with pytest.raises(LeakError, match="1 images held back for an honest score are among those that the base"):
        quiet(owls, base=base, kimg=0.016, held_back=images.fingerprints[:1])


def test_classes_are_added_and_the_old_ones_stay_byte_for_byte(images, base, tmp_path):
    before = {name: base.sample(name, 70, seed=2) for name in base.class_names}
    bank = quiet(of(images, "owl"), into=base, kimg=0.032)
    assert bank.class_names == ("cat", "dog", "owl")
    assert bank.label_numbers == (0, 1, 2)
    assert set(bank.manifest.train_fingerprints) == set(images.fingerprints)
    assert bank.manifest.recipe == base.manifest.recipe
    again = ganaug.load(bank.save(tmp_path / "more.ganaug"))
    for name, samples in before.items():
        assert torch.equal(again.sample(name, 70, seed=2), samples)
    owls = again.sample("owl", 5)
    assert torch.equal(owls, bank.sample("owl", 5))
    assert not torch.equal(owls, again.sample("dog", 5))
    assert again.fingerprint not in (base.fingerprint, None)


def test_classes_are_added_to_a_bank_with_additions(images, base, make_bank, tmp_path):
    more = base.joined(quiet(of(images, "owl"), base=base, kimg=0.016))
    other = quiet(of(images, "cat"), base=base, kimg=0.016)
    renamed = ganaug.GeneratorBank(other.manifest.model_copy(update={"class_names": ("lynx",)}), [*other.generators])
    found = ganaug.load(more.joined(renamed).save(tmp_path / "most.ganaug"))
    assert found.class_names == ("cat", "dog", "owl", "lynx")
    assert found.label_numbers == (0, 1, 2, 3)
    assert len(found.generators) == 3
    assert torch.equal(found.sample("owl", 2), more.sample("owl", 2))


def test_what_is_there_already_or_unlike_is_not_added(images, base, make_bank, tiny_recipe):
    with pytest.raises(DataError, match=r"class 'dog' is in the bank already; name the new classes alone"):
        plan_fit(of(images, "owl", "dog"), into=base)
    with pytest.raises(RecipeError, match="both base and into"):
        plan_fit(of(images, "owl"), into=base, base=base)
    with pytest.raises(BankError, match="'cat' is in the bank already"):
        base.joined(make_bank(("cat",)))
    with pytest.raises(BankError, match="channels of the bank is 3, and that of the added classes 1"):
        base.joined(make_bank(("owl",), channels=1))


def test_refits_start_from_the_base_too(images, base, monkeypatch):
    seen = []
    original = ganaug.fitting._fit_here
    monkeypatch.setattr(ganaug.fitting, "_fit_here", lambda *a: seen.append(a[2].base) or original(*a))
    data = of(images, "cat", "dog")
    strange = ganaug.GeneratorBank(
        base.manifest.model_copy(update={"train_fingerprints": ()}), [*base.generators], base.kept
    )
    bank = quiet(data, base=strange, kimg=0.016)
    compare(data, bank, base=strange, settings={"augments": ("none",), "ratios": (0.5,)}, splits=1, seeds=2, steps=3)
    assert [found.class_names for found in seen] == [("cat", "dog")] * 2
    with pytest.raises(BankError, match="started from one of cat, dog, and its recipe has no path of that"):
        compare(data, bank)
