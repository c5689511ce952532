import dataclasses
import io
import json
import math

import pytest
import torch
import torchvision
from PIL import Image
from rich.console import Console

import ganaug
from ganaug.data import fingerprint, perceptual_print
from ganaug.errors import DataError, GanaugError, LeakError, RecipeError, TrainingError
from ganaug.evidence import material, trials
from ganaug.evidence.arms import Arm
from ganaug.evidence.comparison import compare
from ganaug.evidence.exams import classes
from ganaug.evidence.parts import hold_back, splits

PLAIN = {"augments": ["none"], "schedules": ["constant"], "screened": [False]}
QUICK = {"ratios": [8.0], "seeds": 3, "steps": 40, "batch": 24, "settings": PLAIN}


def shown(comparison) -> str:
    text = io.StringIO()
    Console(width=120, file=text).print(comparison.table())
    return text.getvalue()


@pytest.fixture
def oracle(monkeypatch):
    """Trainings that take no time: accuracy is as `score(ratio, seed)` says, on every set of images."""

    def use(score):
        trained = []

        def train(images, labels, *, seed, **rest):
            trained.append({"images": images, "labels": labels, "seed": seed, **rest})
            real = int(sum(image.min() != 7 for image in images))
            return score(round((len(images) / real - 1) / rest["turns"], 2), seed)

        def predict(share, images):
            truth = (images[:, 0, 0, 0].long() - 10) % 4
            right = torch.arange(len(images)) < round(share * len(images))
            return torch.where(right, truth, (truth + 1) % 4)

        monkeypatch.setattr(classes, "train_classifier", train)
        monkeypatch.setattr(classes, "predict", predict)
        return trained

    return use


@pytest.fixture
def marked(labelled):
    """Images whose first pixel says their class, for the oracle; no two alike, and none as dark as the synthetic."""

    def make(per_class, seed):
        data = labelled(per_class, seed)
        data.images.clamp_(20)
        data.images[:, 0, 0, 0] = 10 + data.labels.byte()
        return data

    return make


def sevens(cls, n, seed):
    return torch.full((n, 1, 16, 16), 7, dtype=torch.uint8)


@pytest.mark.slow
def test_true_samples_help_and_the_bank_keeps_it(labelled, bank_of):
    train, bank = labelled(2, 1), bank_of()
    found = compare(train, bank, test=labelled(40, 2), **QUICK)
    assert found.difference.low > 0
    assert found.verdict.ratio == 8.0
    assert found.verdict.subject == "bank"
    assert found.summary.startswith("This bank helps: accuracy ")
    assert found.with_synthetic.mean - found.real_only.mean == pytest.approx(found.difference.mean)
    assert sum(found.per_class) / 4 == pytest.approx(found.difference.mean)
    kept = found.apply_to(bank)
    assert bank.verdict is None
    assert kept.verdict == found.verdict
    assert found.images == {"training": 8, "choosing": 0, "scoring": 160}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_answer(labelled, bank_of):
    settings = {"ratios": [1.0], "seeds": 2, "steps": 15, "batch": 16, "settings": PLAIN}
    first, again, other = (
        compare(labelled(3, 1), bank_of(), test=labelled(10, 2), seed=seed, **settings) for seed in (0, 0, 5)
    )
    assert first == again
    assert first.final != other.final


@pytest.mark.slow
def test_false_samples_get_no_ratio(labelled, bank_of, lying):
    found = compare(labelled(2, 1), bank_of(lying), test=labelled(40, 2), **QUICK)
    assert found.difference.high < 0
    assert found.verdict.ratio == 0
    assert found.verdict.gain < 0
    assert found.summary.startswith("This bank harms: ")
    assert "mix in nothing" in found.summary


def test_no_gain_is_no_ratio(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5 + 0.1 * (seed % 2) * (ratio > 0))
    found = compare(marked(4, 1), bank_of(sevens), val=marked(25, 2), ratios=[0.5], seeds=4, settings=PLAIN)
    assert found.difference.mean == pytest.approx(0.05)
    assert found.difference.low < 0 < found.difference.high
    assert found.verdict.ratio == 0
    assert found.summary.startswith("This bank is not shown to help: ")


def test_a_gain_that_the_choosing_part_did_not_see_is_no_ratio(marked, bank_of, oracle, monkeypatch):
    """On val real images alone do better; on test, by chance, those with synthetic ones."""
    val, test = marked(5, 2), marked(25, 3)
    oracle(lambda ratio, seed: ratio)

    def predict(ratio, images):
        share = (0.9 if ratio == 0 else 0.5) if len(images) == len(val) else (0.5 if ratio == 0 else 0.9)
        truth = (images[:, 0, 0, 0].long() - 10) % 4
        return torch.where(torch.arange(len(images)) < round(share * len(images)), truth, (truth + 1) % 4)

    monkeypatch.setattr(classes, "predict", predict)
    found = compare(marked(4, 1), bank_of(sevens), val=val, test=test, ratios=[0.5, 1], seeds=2, settings=PLAIN)
    assert found.difference.low > 0
    assert not found.won
    assert not found.helps
    assert found.verdict.ratio == 0
    assert "real images alone did as well when arms were chosen" in found.summary


def test_the_arms(marked, bank_of, oracle):
    trained = oracle(lambda ratio, seed: 0.75 if ratio == 0.5 else 0.5)
    messages = []
    train = marked(6, 1)
    found = compare(
        train, bank_of(sevens), test=marked(4, 2), val=marked(4, 3), ratios=[2, 0.5], seeds=2, steps=9, batch=5, seed=7,
        report=messages.append, settings=PLAIN,
    )  # fmt: skip
    # real alone twice for its contest, then both ratios with each seed, then two controls with each: none twice;
    # and as there was a gain, a quarter and half of the real images
    assert [run["added"] // run["turns"] for run in trained] == [0, 0, 12, 48, 12, 48, 12, 12, 12, 12, 0, 0, 0, 0]
    assert [run["turns"] for run in trained] == [1, 1, 4, 4, 4, 4, 1, 4, 1, 4, 1, 1, 1, 1]
    assert [len(run["images"]) - run["added"] for run in trained] == [24] * 10 + [8, 12, 8, 12]
    assert [run["seed"] for run in trained] == [7, 8, 7, 7, 8, 8, 7, 7, 8, 8, 7, 7, 8, 8]
    assert {(run["steps"], run["batch"], run["classes"]) for run in trained} == {(9, 5, 4)}
    assert {run["augment"] for run in trained} == {"none"}
    assert all(torch.equal(run["images"][:24], train.images) for run in trained[:10])
    assert torch.bincount(trained[2]["labels"]).tolist() == [6 + 4 * 3] * 4
    assert torch.bincount(trained[3]["labels"]).tolist() == [6 + 4 * 12] * 4
    assert messages == ["with synthetic images: no augmentation, ratio 0.5"]
    assert [one.arm.ratio for one in found.sweep] == [0.5, 2]
    assert [met.role for met in found.final] == ["real only", "with synthetic", "duplicated", "shuffled"]
    del trained[:]
    oracle(lambda ratio, seed: 0.5)
    lost = compare(train, bank_of(sevens), test=marked(4, 2), ratios=[2], seeds=2, steps=9, settings=PLAIN)
    assert [met.role for met in lost.final] == ["real only", "with synthetic"]  # no gain for controls to explain
    assert [contrast.name for contrast in lost.contrasts] == ["with synthetic - real only"]


def test_the_strongest_augmentation_carries_the_sweep_and_annealed_images_fade(marked, bank_of, oracle, monkeypatch):
    trained = oracle(lambda ratio, seed: 0.5)
    train = classes.train_classifier
    better = {"crop": 0.6}
    monkeypatch.setattr(
        classes,
        "train_classifier",
        lambda *a, **k: better.get(k["augment"], 0.5) + 0.35 * bool(k["fading"]) + 0 * train(*a, **k),
    )
    settings = {"screened": [False], "augments": ["none", "flip+crop", "trivial"]}
    found = compare(marked(4, 1), bank_of(sevens), test=marked(20, 2), ratios=[1.0], seeds=2, settings=settings)
    assert found.chosen.name == "crop, ratio 1, annealed"
    # Digits and signs: no flips, unless the recipe has them. The best was tried with another augmentation, twice.
    assert [run["augment"] for run in trained[6:]].count("none") == 2
    assert {run["augment"] for run in trained[6:]} == {"crop", "none"}
    assert {(run["added"], run["fading"]) for run in trained} == {(0, False), (64, False), (64, True), (16, True)}
    verdict = found.verdict
    assert (verdict.annealed, verdict.screened, verdict.augment) == (True, False, "crop")
    kept = found.apply_to(bank_of(sevens)).verdict
    assert kept == verdict
    assert "annealed" in kept.sentence


@pytest.mark.parametrize("gain", [0.3, -0.1])
def test_samples_may_go_best_with_another_augmentation_than_real_images_alone(
    marked, bank_of, oracle, monkeypatch, gain
):
    oracle(lambda ratio, seed: 0.5)
    train, real = classes.train_classifier, {"none": 0.4, "crop": 0.6, "trivial": 0.5}

    def trained(images, *rest, **settings):
        mixed = len(images) > 16 and settings["augment"] == "trivial"
        return real[settings["augment"]] + (0.1 + gain if mixed else 0.0) + 0 * train(images, *rest, **settings)

    monkeypatch.setattr(classes, "train_classifier", trained)
    settings = {**PLAIN, "augments": ["none", "flip+crop", "trivial"]}
    found = compare(marked(4, 1), bank_of(sevens), test=marked(20, 2), ratios=[1.0], seeds=2, settings=settings)
    assert found.real_only.arm == Arm("crop")
    assert found.verdict.measured["augment"] == "crop"
    assert found.helps == (gain > 0)
    if gain < 0:
        assert found.chosen == Arm("crop", 1.0)
        assert found.verdict.augment == "crop"
        return
    assert found.chosen == Arm("trivial", 1.0)
    assert found.difference.mean == pytest.approx(gain)
    assert found.verdict.augment == "trivial"
    assert "on real images alone (crop), 90.0 % with synthetic ones (TrivialAugmentWide, ratio 1)" in found.summary
    assert "all images trained on with trivial (real images alone with crop)" in found.verdict.sentence


def test_each_seed_draws_its_own_samples_and_a_low_ratio_the_first_of_them(marked, bank_of, oracle):
    trained = oracle(lambda ratio, seed: 0.5)

    def numbered(cls, n, seed):
        return torch.full((n, 1, 16, 16), 7, dtype=torch.uint8).index_put_(
            (torch.arange(n), torch.tensor(0), torch.tensor(1), torch.tensor(1)), torch.arange(n).byte() + 50 * seed + 8
        )

    arguments = {"ratios": [0.5, 1], "seeds": 2, "settings": PLAIN}
    compare(marked(4, 1), bank_of(numbered), test=marked(4, 2), val=marked(4, 3), **arguments)
    marks = [run["images"][16:, 0, 1, 1].tolist() for run in trained]
    assert marks[2] == [8, 9] * 4 + [10, 11] * 4 + [12, 13] * 4 + [14, 15] * 4  # turn by turn
    assert marks[3] == [n for turn in range(4) for n in [*range(8 + 4 * turn, 12 + 4 * turn)] * 4]
    assert marks[4][:8] == [58, 59] * 4


def test_the_ratio_is_chosen_on_val_and_the_chosen_one_alone_meets_test(marked, bank_of, oracle):
    val, test = marked(10, 2), marked(25, 3)
    oracle(lambda ratio, seed: {0.0: 0.5, 0.5: 0.6, 1.0: 0.9, 2.0: 0.7}[ratio])
    arguments = {"ratios": [0.5, 1, 2], "seeds": 2, "settings": PLAIN}
    found = compare(marked(4, 1), bank_of(sevens), val=val, test=test, **arguments)
    assert found.ratio == 1.0
    assert found.verdict.ratio == 1.0
    assert found.scored_on == "test"
    assert found.images == {"training": 16, "choosing": 40, "scoring": 100}
    assert {met.arm.ratio for met in found.final} == {0, 1}
    assert [one.choosing for one in found.sweep] == [(0.6,), (0.9, 0.9), (0.7, 0.7)]
    assert "dropped after 1" in shown(found)


def test_one_set_and_several_ratios_are_halved(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5 + 0.1 * ratio)
    found = compare(marked(4, 1), bank_of(sevens), test=marked(10, 2), ratios=[0.5, 1], seeds=2, settings=PLAIN)
    assert found.images == {"training": 16, "choosing": 20, "scoring": 20}
    assert found.scored_on == "half of test"
    assert "half of test chose" in found.notes[0]


def test_one_arm_needs_no_choosing(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5)
    arguments = {"ratios": [1], "seeds": 2, "settings": PLAIN}
    both = compare(marked(4, 1), bank_of(sevens), val=marked(3, 2), test=marked(5, 3), **arguments)
    assert both.images == {"training": 16, "choosing": 0, "scoring": 20}
    alone = compare(marked(4, 1), bank_of(sevens), val=marked(3, 2), **arguments)
    assert alone.scored_on == "val"
    assert alone.images["scoring"] == 12


@pytest.fixture
def refits(bank_of, monkeypatch):
    """Refits that take no time, whose bank makes sevens; what each was asked for."""
    asked = []
    monkeypatch.setattr(material, "as_bank", None)

    def refit(parts, beside, split, recipe, device):
        asked.append((parts[split], recipe))
        return {"split": split}

    monkeypatch.setattr(material, "refit", refit)
    monkeypatch.setattr(trials, "as_bank", lambda told, device: bank_of(sevens))
    return asked


def test_without_val_or_test_the_recipe_is_refitted_on_the_rest_of_each_split(marked, bank_of, oracle, refits):
    trained = oracle(lambda ratio, seed: 0.3 + 0.6 * (ratio > 0))
    data = marked(20, 1)
    bank = bank_of(sevens, fitted=data.fingerprints, **{"gan.r1": 0.25})
    found = compare(data, bank, ratios=[0.5, 1], seeds=2, splits=3, settings=PLAIN)
    assert len(refits) == 3
    for part, recipe in refits:
        assert recipe["gan"]["r1"] == 0.25
        assert recipe["kimg"] == 0.001
        assert not set(part.held) & set(part.train.fingerprints)
        assert set(part.held) | set(part.train.fingerprints) == set(data.fingerprints)
    assert len({part.score.fingerprints for part, _ in refits}) == 3
    assert found.images == {"training": 52, "choosing": 12, "scoring": 16}
    assert torch.equal(trained[0]["images"], refits[0][0].train.images)
    assert torch.equal(trained[1]["images"], refits[1][0].train.images)
    assert [len(seeds) for seeds in found.real_only.accuracies] == [2, 2, 2]
    assert found.verdict.subject == "recipe"
    assert found.verdict.ratio > 0
    assert found.summary.startswith("This recipe helps")
    assert "3 splits x 2 seeds, 16 images held back" in found.summary


def test_a_real_refit(labelled, bank_of, tiny_recipe):
    settings = {
        "networks.generator_channels": 4, "networks.discriminator_channels": 4, "networks.max_channels": 8,
        "snapshots.count": 1, "snapshots.samples": 4, "gan.batch": 4, "kimg": 0.008,
    }  # fmt: skip
    data = labelled(6, 1)
    bank = bank_of(fitted=data.fingerprints, **settings)
    found = compare(data, bank, ratios=[0.5], seeds=2, splits=1, steps=2, batch=8, settings=PLAIN)
    assert found.subject == "recipe"
    assert found.images == {"training": 16, "choosing": 0, "scoring": 8}
    assert found.settings["kimg"] == 0.008


def test_minutes_decide_how_much_is_done(marked, bank_of, oracle, refits, monkeypatch):
    oracle(lambda ratio, seed: 0.5 + 0.1 * (ratio > 0))
    monkeypatch.setattr("ganaug.planning.seconds_per_step", lambda *_: 1e-9)
    cell = trials.train_and_tell
    monkeypatch.setattr(trials, "train_and_tell", lambda *a: {**cell(*a), "seconds": 6.0})
    bank = bank_of(sevens)
    whole = compare(marked(20, 1), bank, minutes=60, settings={"screened": [False]})
    assert (whole.settings["splits"], whole.settings["seeds"]) == (3, 2)
    less = compare(marked(20, 1), bank, minutes=4, settings={"screened": [False]})
    assert len(less.sweep) + len(less.baselines) < len(whole.sweep) + len(whole.baselines)
    assert any("4 minutes were good for" in note for note in less.notes)
    with pytest.raises(TrainingError, match=r"a budget of 0.5 minutes is too small"):
        compare(marked(20, 1), bank, minutes=0.5, settings={"screened": [False]})


def test_a_comparison_that_was_stopped_goes_on(marked, bank_of, oracle, tmp_path):
    trained = oracle(lambda ratio, seed: 0.5 + 0.25 * (ratio > 0))
    arguments = {"test": marked(4, 2), "ratios": [1.0], "seeds": 2, "settings": PLAIN, "folder": tmp_path / "cells"}
    train = marked(4, 1)

    def stop(place):
        if len(trained) == 3:
            raise KeyboardInterrupt

    original = classes.predict
    classes.predict = lambda *a: (stop(a), original(*a))[1]
    try:
        with pytest.raises(KeyboardInterrupt):
            compare(train, bank_of(sevens), **arguments)
    finally:
        classes.predict = original
    found = compare(train, bank_of(sevens), **arguments)
    assert len(trained) == 3 + 10  # of twelve, four of them on fewer real images, two were finished
    assert compare(train, bank_of(sevens), **arguments) == found
    assert len(trained) == 13
    compare(marked(4, 5), bank_of(sevens), **arguments)  # other images: nothing is taken over
    assert len(trained) == 25


def test_a_training_that_breaks_down_is_one_line(marked, bank_of, oracle):
    def fails(ratio, seed):
        raise ValueError("no\nmore")

    oracle(fails)
    with pytest.raises(
        TrainingError, match=r"no augmentation \(split 1, seed 1\) failed with ValueError: no more"
    ) as raised:
        compare(marked(4, 1), bank_of(sevens), test=marked(4, 2), ratios=[1], settings=PLAIN)
    assert "\n" not in str(raised.value)


def test_two_classes_of_few_images(marked, bank_of, oracle, refits):
    oracle(lambda ratio, seed: 0.5)
    found = compare(marked(4, 1), bank_of(sevens), classes=["cow", "ant"], ratios=[1, 2], splits=2, settings=PLAIN)
    assert found.class_names == ("cow", "ant")
    assert found.images == {"training": 4, "choosing": 2, "scoring": 2}
    assert not found.helps
    with pytest.raises(DataError, match="this comparison needs 4 different ones at least"):
        compare(marked(3, 1), bank_of(sevens), classes=["cow", "ant"], ratios=[1, 2], settings=PLAIN)


def test_splits_hold_back_other_images(labelled):
    found = splits(labelled(12, 1), 3, True, 0)
    assert len({part.score.fingerprints for part in found}) == 3
    for part in found:
        assert not set(part.held) & set(part.train.fingerprints)
        assert len(part.held) + len(part.train) == 48


def test_copies_of_training_images_are_not_held_back(labelled):
    data = labelled(12, 1)
    doubled = data.subset([*range(48), *range(48)])  # every image twice
    parts = hold_back(doubled, True, 0)
    sets = [set(part.fingerprints) for part in (parts.train, parts.choose, parts.score)]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]
    assert parts.train.counts() == [2 * count for count in (8, 8, 8, 8)]  # copies of a training image still train
    assert parts.score.counts() == [2] * 4


def test_near_copies_of_what_is_held_back_do_not_train(labelled):
    data = labelled(12, 1)
    darker = (data.images.float() * 0.95).byte()
    both = torch.cat([data.images, darker])
    doubled = dataclasses.replace(
        data.subset([*range(48), *range(48)]),
        images=both,
        fingerprints=tuple(fingerprint(image) for image in both),
        perceptual=tuple(perceptual_print(image) for image in both),
    )
    parts = hold_back(doubled, True, 0)
    score = {doubled.fingerprints.index(print_) % 48 for print_ in parts.score.fingerprints}
    choose = {doubled.fingerprints.index(print_) % 48 for print_ in parts.choose.fingerprints}
    train = {doubled.fingerprints.index(print_) % 48 for print_ in parts.train.fingerprints}
    assert not train & score
    assert not train & choose
    assert not choose & score


def test_tiny_classes_give_a_third(labelled):
    assert hold_back(labelled(6, 1), False, 0).score.counts() == [2] * 4
    assert hold_back(labelled(10, 1), False, 0).score.counts() == [2] * 4
    smallest = hold_back(labelled(4, 1), True, 0)
    assert [part.counts()[0] for part in (smallest.train, smallest.choose, smallest.score)] == [2, 1, 1]


def test_leaks_are_refused(labelled, bank_of):
    train, other, third = labelled(4, 1), labelled(4, 2), labelled(4, 3)
    fitted = bank_of(fitted=train.fingerprints)
    with pytest.raises(LeakError, match="16 of the 16 images of val are among those that the bank was fitted on"):
        compare(other, fitted, val=train, **QUICK)
    with pytest.raises(LeakError, match="of test are among those that data holds"):
        compare(other, fitted, test=other, **QUICK)
    with pytest.raises(LeakError, match="of test are among those that val holds"):
        compare(train, fitted, val=other, test=other.subset([0, 4, 8, 12]), **QUICK)
    one = dataclasses.replace(third, fingerprints=(train.fingerprints[5], *third.fingerprints[1:]))
    with pytest.raises(LeakError, match="1 of the 16 images of val"):
        compare(train, fitted, val=one, **QUICK)


def test_a_torchvision_model_can_be_the_learner(labelled, bank_of, tmp_path):
    weights = tmp_path / "squeezenet.pth"
    torch.save(torchvision.models.squeezenet1_1(num_classes=7).state_dict(), weights)
    settings = {**PLAIN, "model": "squeezenet1_1", "weights": str(weights), "image_size": 32}
    asked = {**QUICK, "steps": 2, "seeds": 2, "settings": settings, "folder": tmp_path / "cells"}
    found = compare(labelled(4, 1), bank_of(), test=labelled(4, 2), **asked)
    assert found.settings["learner"] == "torchvision's squeezenet1_1 at 32 px, from the weights squeezenet.pth"
    cells = len(list((tmp_path / "cells").iterdir()))
    compare(labelled(4, 1), bank_of(), test=labelled(4, 2), **asked)
    assert len(list((tmp_path / "cells").iterdir())) == cells
    torch.save(torchvision.models.squeezenet1_1(num_classes=7).state_dict(), weights)  # others of that name
    compare(labelled(4, 1), bank_of(), test=labelled(4, 2), **asked)
    assert len(list((tmp_path / "cells").iterdir())) > cells


def test_classes_match_by_name(labelled, bank_of, oracle, marked):
    trained = oracle(lambda ratio, seed: 0.5)
    names = ("doe", "ant", "cow", "bee")
    backwards = labelled(4, 1, names)
    compare(backwards, bank_of(sevens), test=marked(4, 2), ratios=[1], seeds=2, settings=PLAIN)
    assert torch.equal(trained[0]["images"][trained[0]["labels"] == 3], backwards.images[:4])


@pytest.mark.slow
def test_some_classes_only(labelled, bank_of):
    names = ["cow", "ant"]
    settings = {"ratios": [8.0], "seeds": 2, "steps": 30, "batch": 24, "settings": PLAIN}
    found = compare(labelled(4, 1), bank_of(), test=labelled(20, 2), classes=names, **settings)
    assert found.class_names == ("cow", "ant")
    assert found.images["training"] == 8
    assert found.with_synthetic.mean > 0.8


def test_folders_are_read_in_the_banks_size(labelled, bank_of, oracle, tmp_path):
    oracle(lambda ratio, seed: 0.5)
    for name, seed in (("train", 1), ("test", 2)):
        data = labelled(3, seed)
        for index, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
            folder = tmp_path / name / data.class_names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0].numpy()).resize((40, 30)).convert("RGB").save(folder / f"{index}.png")
    found = compare(
        tmp_path / "train", bank_of(sevens), test=str(tmp_path / "test"), ratios=[1], seeds=2, settings=PLAIN
    )
    assert found.images == {"training": 12, "choosing": 0, "scoring": 12}


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"seeds": 1}, RecipeError, "compare.seeds is 1"),
        ({"ratios": [0.5, 41]}, RecipeError, "compare.ratios.1 is 41"),
        ({"ratios": [0]}, RecipeError, "compare.ratios.0 is 0"),
        ({"ratios": []}, RecipeError, "compare.ratios"),
        ({"steps": 0}, RecipeError, "compare.steps is 0"),
        ({"splits": 0}, RecipeError, "compare.splits is 0"),
        ({"splits": 2}, RecipeError, "splits is more than 1, and val or test are given"),
        ({"minutes": 0}, RecipeError, "compare.minutes is 0"),
        ({"settings": {"augments": ["triv"]}}, RecipeError, "'triv'; did you mean 'trivial'"),
        ({"settings": {"schedule": ["constant"]}}, RecipeError, "'compare.schedule'; did you mean 'schedules'"),
        ({"settings": {"weights": "DEFAULT"}}, RecipeError, "weights are those of a model"),
        ({"settings": {"model": "resnet81"}}, RecipeError, "compare.model is 'resnet81', .*did you mean 'resnet18'"),
        ({"classes": ["ant", "bea"]}, DataError, "'bea'; did you mean 'bee'"),
        ({"classes": ["ant"]}, DataError, "one class, 'ant'"),
        ({"device": "cuda:77"}, GanaugError, "cuda:77"),
    ],
)
def test_bad_settings(labelled, bank_of, changes, error, said):
    with pytest.raises(error, match=said) as raised:
        compare(labelled(4, 1), bank_of(), test=labelled(4, 2), **{**QUICK, **changes})
    assert "\n" not in str(raised.value)


def test_bad_images(labelled, bank_of):
    train, test = labelled(4, 1), labelled(4, 2)
    with pytest.raises(DataError, match=r"'bee' has 2 images in data; this comparison needs [34] different"):
        compare(train.subset([0, 1, 2, 3, 4, 5, *range(8, 16)]), bank_of(), **QUICK)
    with pytest.raises(DataError, match="'ant' has 1 images in test; this comparison needs 2 different"):
        compare(train, bank_of(), test=test.subset([0, *range(4, 16)]), **{**QUICK, "ratios": [1, 2]})
    with pytest.raises(DataError, match="test has no class 'doe'"):
        compare(train, bank_of(), test=labelled(4, 2, ("ant", "bee", "cow")), **QUICK)
    strange = dataclasses.replace(test, class_names=("ant", "bee", "cow", "elk"))
    with pytest.raises(DataError, match="test has class 'elk', which the bank does not know"):
        compare(train, bank_of(), test=strange, **QUICK)
    colour = dataclasses.replace(test, images=test.images.expand(-1, 3, -1, -1))
    with pytest.raises(DataError, match=r"images of test are \(3, 16, 16\)"):
        compare(train, bank_of(), test=colour, **QUICK)


def test_what_is_told(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5 + 0.25 * (ratio > 0))
    arguments = {"ratios": [0.5, 1], "seeds": 3, "settings": PLAIN}
    found = compare(marked(4, 1), bank_of(sevens), val=marked(5, 2), test=marked(10, 3), **arguments)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["contrasts"][0]["name"] == "with synthetic - real only"
    assert told["contrasts"][0]["mean"] == pytest.approx(0.25)
    assert told["verdict"]["measured"]["seeds"] == 3
    assert told["verdict"]["measured"]["with_synthetic"] == [[0.75] * 3]
    assert [met["mean"] for met in told["final"]] == pytest.approx([0.5, 0.75, 0.5, 0.75])
    assert told["final"][0]["accuracies"] == [[0.5] * 3]
    assert [one["name"] for one in told["per_class"]] == ["ant", "bee", "cow", "doe"]
    assert told["chosen"]["ratio"] == 0.5
    assert told["baselines"][0]["mean"] == pytest.approx(0.5)
    assert [row[0] for row in found.rows()] == [
        "real images alone", "real and synthetic", "control: real repeated", "control: labels shuffled",
    ]  # fmt: skip
    _, score, gain, interval = found.rows()[0]
    assert (score, gain) == ("50.0 %", "+25.0")
    low, high = found.difference.low, found.difference.high
    assert interval == f"{100 * low:+.1f} to {100 * high:+.1f}"
    assert found.scored == 40
    text = shown(found)
    assert "no augmentation, ratio 0.5: accuracy on 40 images of test, mean of 3 seeds" in text
    assert "cow" in text
    assert "+25.0 points" in found.summary
    assert "\n" not in found.summary


def test_classes_that_are_harmed_are_named(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.9 - 0.5 * (ratio > 0))
    found = compare(marked(4, 1), bank_of(sevens), test=marked(25, 3), ratios=[1], seeds=3, settings=PLAIN)
    # of 100 images 40 are right, not 90: those of bee are lost for the most part, those of cow all
    assert "cow" in found.harmed
    assert "ant" not in found.harmed
    assert found.changes[2].difference == pytest.approx(-1.0)
    assert found.verdict.measured["harmed"] == list(found.harmed)


def test_a_class_that_was_not_scored_is_null(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5)
    test = marked(4, 2)
    test = test.subset([*range(4), *range(8, 16)])  # no bee
    with pytest.raises(DataError, match="'bee' has 0 images in test"):
        compare(marked(4, 1), bank_of(sevens), test=test, ratios=[1], seeds=2, settings=PLAIN)
    found = compare(marked(4, 1), bank_of(sevens), test=marked(4, 2), ratios=[1], seeds=2, settings=PLAIN)
    nan = dict.fromkeys(("real_only", "with_synthetic", "difference", "low", "high"), math.nan)
    blank = dataclasses.replace(
        found, changes=(found.changes[0], dataclasses.replace(found.changes[1], **nan), *found.changes[2:])
    )
    assert blank.to_dict()["per_class"][1] == {"name": "bee", **dict.fromkeys(nan)}
    row = next(line for line in shown(blank).splitlines() if "bee" in line)
    assert row.split("│")[3].strip() == "-"


def test_the_public_name():
    assert ganaug.compare is compare
