import dataclasses
import io
import json
import math

import pytest
import torch
from PIL import Image
from rich.console import Console

import ganaug
from ganaug.errors import DataError, GanaugError, LeakError, RecipeError
from ganaug.evidence import comparison as comparison_module
from ganaug.evidence.comparison import compare
from ganaug.evidence.parts import hold_back

QUICK = {"ratios": [8.0], "seeds": 4, "steps": 40, "batch": 24}


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
            real = sum(image.min() != 7 for image in images)
            return score(round(len(images) / int(real) - 1, 2), seed)

        def predict(share, images):
            truth = (images[:, 0, 0, 0].long() - 10) % 4
            right = torch.arange(len(images)) < round(share * len(images))
            return torch.where(right, truth, (truth + 1) % 4)

        monkeypatch.setattr(comparison_module, "train_classifier", train)
        monkeypatch.setattr(comparison_module, "predict", predict)
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


def test_the_same_seed_gives_the_same_answer(labelled, bank_of):
    settings = {"ratios": [1.0], "seeds": 2, "steps": 15, "batch": 16}
    first, again, other = (
        compare(labelled(3, 1), bank_of(), test=labelled(10, 2), seed=seed, **settings) for seed in (0, 0, 5)
    )
    assert first == again
    assert first.arms != other.arms


def test_false_samples_get_no_ratio(labelled, bank_of, lying):
    found = compare(labelled(2, 1), bank_of(lying), test=labelled(40, 2), **QUICK)
    assert found.difference.high < 0
    assert found.verdict.ratio == 0
    assert found.verdict.gain < 0
    assert found.summary.startswith("This bank harms: ")
    assert "mix in nothing" in found.summary


def test_no_gain_is_no_ratio(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5 + 0.1 * (seed % 2) * (ratio > 0))
    found = compare(marked(4, 1), bank_of(sevens), val=marked(25, 2), ratios=[0.5], seeds=4)
    assert found.difference.mean == pytest.approx(0.05)
    assert found.difference.low < 0 < found.difference.high
    assert found.verdict.ratio == 0
    assert found.summary.startswith("This bank is not shown to help: ")


def test_the_arms(marked, bank_of, oracle):
    trained = oracle(lambda ratio, seed: 0.5)
    messages = []
    train = marked(6, 1)
    found = compare(
        train, bank_of(sevens), test=marked(4, 2), val=marked(4, 3), ratios=[2, 0.5], seeds=2, steps=9, batch=5, seed=7,
        report=messages.append,
    )  # fmt: skip
    assert [len(run["images"]) for run in trained] == [24, 36, 72] * 2
    assert [run["seed"] for run in trained] == [7, 7, 7, 8, 8, 8]
    assert {(run["steps"], run["batch"], run["classes"]) for run in trained} == {(9, 5, 4)}
    assert all(torch.equal(run["images"][:24], train.images) for run in trained)
    assert torch.bincount(trained[1]["labels"]).tolist() == [9] * 4
    assert torch.bincount(trained[2]["labels"]).tolist() == [18] * 4
    assert len(messages) == 6
    assert [arm.ratio for arm in found.arms] == [0, 0.5, 2]


def test_each_seed_draws_its_own_samples_and_a_low_ratio_the_first_of_them(marked, bank_of, oracle):
    trained = oracle(lambda ratio, seed: 0.5)

    def numbered(cls, n, seed):
        return torch.full((n, 1, 16, 16), 7, dtype=torch.uint8).index_put_(
            (torch.arange(n), torch.tensor(0), torch.tensor(1), torch.tensor(1)), torch.arange(n).byte() + 50 * seed + 8
        )

    compare(marked(4, 1), bank_of(numbered), test=marked(4, 2), val=marked(4, 3), ratios=[0.5, 1], seeds=2)
    marks = [run["images"][16:, 0, 1, 1].tolist() for run in trained]
    assert marks[1] == [8, 9] * 4
    assert marks[2] == [8, 9, 10, 11] * 4
    assert marks[4] == [58, 59] * 4


def test_the_ratio_is_chosen_on_val_and_the_chosen_one_alone_meets_test(marked, bank_of, oracle):
    val, test = marked(10, 2), marked(25, 3)
    oracle(lambda ratio, seed: {0.0: 0.5, 0.5: 0.6, 1.0: 0.9, 2.0: 0.7}[ratio])
    found = compare(marked(4, 1), bank_of(sevens), val=val, test=test, ratios=[0.5, 1, 2], seeds=2)
    assert found.ratio == 1.0
    assert found.verdict.ratio == 1.0
    assert found.scored_on == "test"
    assert found.images == {"training": 16, "choosing": 40, "scoring": 100}
    met = {arm.ratio: len(arm.accuracies) for arm in found.arms}
    assert met == {0: 2, 0.5: 0, 1: 2, 2: 0}
    assert all(len(arm.choosing) == 2 for arm in found.arms)
    assert "not chosen (60.0 %)" in shown(found)


def test_one_set_and_several_ratios_are_halved(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5 + 0.1 * ratio)
    found = compare(marked(4, 1), bank_of(sevens), test=marked(10, 2), ratios=[0.5, 1], seeds=2)
    assert found.images == {"training": 16, "choosing": 20, "scoring": 20}
    assert found.scored_on == "half of test"
    assert "half of test chose" in found.notes[0]


def test_one_ratio_needs_no_choosing(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5)
    both = compare(marked(4, 1), bank_of(sevens), val=marked(3, 2), test=marked(5, 3), ratios=[1], seeds=2)
    assert both.images == {"training": 16, "choosing": 0, "scoring": 20}
    alone = compare(marked(4, 1), bank_of(sevens), val=marked(3, 2), ratios=[1], seeds=2)
    assert alone.scored_on == "val"
    assert alone.images["scoring"] == 12


def test_without_val_or_test_the_recipe_is_refitted_on_the_rest(marked, bank_of, oracle, monkeypatch):
    trained = oracle(lambda ratio, seed: 0.3 + 0.6 * (ratio > 0))
    refits = []

    def fit(data, **arguments):
        refits.append((data, arguments))
        return bank_of(sevens, fitted=data.fingerprints, held_back=arguments["held_back"])

    monkeypatch.setattr(comparison_module, "fit", fit)
    data = marked(20, 1)
    bank = bank_of(sevens, fitted=data.fingerprints, **{"gan.r1": 0.25})
    found = compare(data, bank, ratios=[0.5, 1], seeds=2, minutes=3)
    ((rest, arguments),) = refits
    assert arguments["recipe"].gan.r1 == 0.25
    assert arguments["minutes"] == 3
    held = set(arguments["held_back"])
    assert not held & set(rest.fingerprints)
    assert held | set(rest.fingerprints) == set(data.fingerprints)
    assert found.images == {"training": 52, "choosing": 12, "scoring": 16}
    assert rest.counts() == [13] * 4
    assert torch.equal(trained[0]["images"], rest.images)
    assert found.verdict.subject == "recipe"
    assert found.verdict.ratio > 0
    assert found.summary.startswith("This recipe helps")
    assert "images held back" in found.summary


def test_a_real_refit(labelled, bank_of):
    settings = {
        "networks.generator_channels": 4, "networks.discriminator_channels": 4, "networks.max_channels": 8,
        "snapshots.count": 1, "snapshots.samples": 4, "gan.batch": 4, "kimg": 0.008,
    }  # fmt: skip
    data = labelled(6, 1)
    found = compare(data, bank_of(fitted=data.fingerprints, **settings), ratios=[0.5], seeds=2, steps=2, batch=8)
    assert found.subject == "recipe"
    assert found.images == {"training": 16, "choosing": 0, "scoring": 8}


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


def test_classes_match_by_name(labelled, bank_of, oracle, marked):
    trained = oracle(lambda ratio, seed: 0.5)
    names = ("doe", "ant", "cow", "bee")
    backwards = labelled(4, 1, names)
    compare(backwards, bank_of(sevens), test=marked(4, 2), ratios=[1], seeds=2)
    assert torch.equal(trained[0]["images"][trained[0]["labels"] == 3], backwards.images[:4])


def test_some_classes_only(labelled, bank_of):
    names = ["cow", "ant"]
    settings = {"ratios": [8.0], "seeds": 2, "steps": 30, "batch": 24}
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
    found = compare(tmp_path / "train", bank_of(sevens), test=str(tmp_path / "test"), ratios=[1], seeds=2)
    assert found.images == {"training": 12, "choosing": 0, "scoring": 12}


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"seeds": 1}, RecipeError, "compare.seeds is 1"),
        ({"ratios": [0.5, 41]}, RecipeError, "compare.ratios.1 is 41"),
        ({"ratios": [0]}, RecipeError, "compare.ratios.0 is 0"),
        ({"ratios": []}, RecipeError, "compare.ratios"),
        ({"steps": 0}, RecipeError, "compare.steps is 0"),
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
    with pytest.raises(DataError, match=r"'bee' has 2 images in data; this comparison needs 3 different"):
        compare(train.subset([0, 1, 2, 4, 5, 8, 9, 10, 12, 13, 14]), bank_of(), **QUICK)
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
    found = compare(marked(4, 1), bank_of(sevens), val=marked(5, 2), test=marked(10, 3), ratios=[0.5, 1], seeds=3)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["difference"]["mean"] == pytest.approx(0.25)
    assert told["verdict"]["measured"]["seeds"] == 3
    assert told["verdict"]["measured"]["with_synthetic"] == [0.75] * 3
    assert [arm["mean"] for arm in told["arms"]] == [0.5, 0.75, None]
    assert list(told["per_class"]) == ["ant", "bee", "cow", "doe"]
    assert found.rows()[0] == ("real", "50.0 %", "", "")
    name, score, gain, interval = found.rows()[1]
    assert (name, score, gain) == ("real + 0.5 synthetic", "75.0 %", "+25.0")
    low, high = found.difference.low, found.difference.high
    assert interval == f"{100 * low:+.1f} to {100 * high:+.1f}"
    assert found.scored == 40
    text = shown(found)
    assert "Accuracy on 40 images of test, mean of 3 seeds" in text
    assert "cow" in text
    assert "+25.0 points" in found.summary
    assert "\n" not in found.summary


def test_a_class_that_was_not_scored_is_null(marked, bank_of, oracle):
    oracle(lambda ratio, seed: 0.5)
    found = compare(marked(4, 1), bank_of(sevens), test=marked(4, 2), ratios=[1], seeds=2)
    blank = dataclasses.replace(found, per_class=(0.0, math.nan, 0.1, 0.0))
    assert blank.to_dict()["per_class"]["bee"] is None
    row = next(line for line in shown(blank).splitlines() if "bee" in line)
    assert row.split("│")[3].strip() == "-"


def test_the_public_name():
    assert ganaug.compare is compare
