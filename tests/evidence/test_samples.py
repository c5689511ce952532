import dataclasses
import json
import math

import pytest
import torch
from PIL import Image
from planted import truthful
from torch import nn

import ganaug
from ganaug import measures
from ganaug.data import perceptual_print
from ganaug.errors import DataError, LeakError, RecipeError
from ganaug.evidence import samples
from ganaug.evidence.measured import Copying, SampleMeasures, Sides
from ganaug.evidence.samples import measure

NAMES = ("ant", "bee", "cow", "doe")
QUICK = {"per_class": 24, "steps": 12, "device": "cpu"}


class Blocks(nn.Module):
    """Means of 4 x 4 px: features of which the truth of the planted world is known."""

    def forward(self, images):
        assert float(images.abs().max()) <= 1
        return nn.functional.avg_pool2d(images, 4).flatten(1)


def copier(data, share=1.0):
    """Samples of which this share are training images, mirrored and moved by two pixels."""

    def make(cls, n, seed):
        images = data.images[data.labels == NAMES.index(cls)]
        made, copied = truthful(cls, n, seed), round(share * n)
        made[:copied] = torch.roll(images[:copied].flip(-1), 2, 3)
        return made

    return make


def test_true_samples_are_like_new_real_images(labelled, bank_of):
    train, held = labelled(40, 1), labelled(30, 2)
    found = measure(bank_of(), train, held, features=Blocks(), **{**QUICK, "steps": 40})
    assert abs(found.pooled["kernel_distance"].synthetic) < 0.1
    for name in ("precision", "recall", "coverage"):
        assert found.pooled[name].synthetic == pytest.approx(found.pooled[name].reference, abs=0.15)
        assert found.pooled[name].synthetic > 0.8
    assert found.pooled["density"].synthetic == pytest.approx(1, abs=0.25)
    assert found.pooled["spread"].synthetic == pytest.approx(found.pooled["spread"].reference, rel=0.05)
    assert found.pooled["gan_train"].synthetic > 0.6
    assert found.pooled["gan_train"].reference > 0.6
    assert found.pooled["gan_test"].synthetic > 0.6
    assert found.counts == dict.fromkeys(NAMES, 24)
    assert abs(found.copying.c_t) < 3
    assert found.copying.copies == 0
    assert found.copying.nearest_ratio == pytest.approx(1, abs=0.05)
    assert "no nearer to the training images than new real ones" in found.summary[0]
    assert found.features == "features of a given Blocks"


def test_false_samples_are_told_apart(labelled, bank_of, lying):
    train, held = labelled(40, 1), labelled(30, 2)
    found = measure(bank_of(lying), train, held, features=Blocks(), **{**QUICK, "steps": 40})
    per_class = found.per_class["bee"]
    assert per_class["precision"].synthetic < 0.5 < per_class["precision"].reference
    assert per_class["kernel_distance"].synthetic > 10 * abs(per_class["kernel_distance"].reference)
    assert found.pooled["gan_train"].synthetic < 0.3
    assert found.pooled["gan_test"].synthetic < 0.3
    assert found.pooled["coverage"].synthetic > 0.8  # pooled, the lie cannot be seen


def test_planted_copies_are_found_and_said(labelled, bank_of):
    train, held = labelled(40, 1), labelled(30, 2)
    found = measure(bank_of(copier(train)), train, held, features=Blocks(), **QUICK)
    assert found.copying.copies == found.copying.images == 4 * 24
    assert found.copying.c_t < -5
    assert found.copying.share == 1
    assert found.summary[0].startswith("The bank memorises: 96 of 96 synthetic images are all but copies")
    assert all(copying.memorises for copying in found.copying_per_class.values())


def test_a_few_copies_are_counted_where_they_are(labelled, bank_of):
    train, held = labelled(40, 1), labelled(30, 2)
    few = copier(train, 1 / 24)

    def make(cls, n, seed):
        return few(cls, n, seed) if cls == "cow" else truthful(cls, n, seed)

    found = measure(bank_of(make), train, held, features=Blocks(), **QUICK)
    assert {name: copying.copies for name, copying in found.copying_per_class.items()} == {
        "ant": 0, "bee": 0, "cow": 1, "doe": 0,
    }  # fmt: skip
    assert found.summary[0].endswith("1 of 96 synthetic images is all but copies.")


@pytest.mark.parametrize(
    ("copying", "said"),
    [
        (
            Copying(0.7, -11.0, 0.55, 0, 200),
            "nearer to the training images than new real ones are: 0.55 times as far",
        ),
        (Copying(0.05, -1.0, 0.98, 0, 200), "no nearer to the training images"),
        (Copying(0.0, 9.0, 2.0, 0, 200), "farther from the training images"),
        (Copying(0.05, math.nan, 0.98, 0, 3), "too few images to tell"),
        (Copying(0.3, -4.0, 0.6, 10, 200), "The bank memorises: 10 of 200"),
        (Copying(0.3, -4.0, 0.6, 9, 200), "9 of 200 synthetic images are all but copies"),
    ],
)
def test_the_words_about_copies_have_degrees(copying, said):
    assert said in copying.words
    assert copying.words.endswith(".")
    assert copying.to_dict()["copies"] == copying.copies


def test_features_of_our_own_and_the_same_answer_for_one_seed(labelled, bank_of, monkeypatch):
    original = measures.train_features
    monkeypatch.setattr(measures, "train_features", lambda *images, seed: original(*images, seed=seed, steps=4))
    train, held = labelled(12, 1), labelled(10, 2)
    bank = bank_of()
    first, again, other = (measure(bank, train, held, seed=seed, **QUICK) for seed in (0, 0, 5))
    assert first == again
    assert first.pooled != other.pooled
    assert first.features == "features of a small network trained on the training images"


def test_without_held_images_those_that_the_bank_was_not_fitted_on_serve(labelled, bank_of):
    data = labelled(20, 1)
    kept = [index for index in range(80) if index % 20 < 12]
    bank = bank_of(fitted=data.subset(kept).fingerprints)
    whole = measure(bank, data, features=Blocks(), **QUICK)
    rest = data.subset([index for index in range(80) if index % 20 >= 12])
    assert whole.pooled == measure(bank, data.subset(kept), rest, features=Blocks(), **QUICK).pooled
    assert whole.counts == dict.fromkeys(NAMES, 8)
    with pytest.raises(DataError, match=r"'ant' has no image in data that it was not fitted on; give as held"):
        measure(bank, data.subset(kept), **QUICK)
    with pytest.raises(DataError, match="'ant' has no image in data that the bank was fitted on"):
        measure(bank_of(), data, **QUICK)


def test_leaks_are_refused_and_near_copies_told(labelled, bank_of):
    train, held = labelled(8, 1), labelled(6, 2)
    with pytest.raises(LeakError, match=r"1 of the 1 images of held .*or give as data what the bank was fitted on"):
        measure(bank_of(), train, train.subset([3]), **QUICK)
    with pytest.raises(LeakError, match="the bank was fitted on"):
        measure(bank_of(fitted=held.fingerprints[:2]), train, held, **QUICK)

    def seen(data):
        return dataclasses.replace(data, perceptual=tuple(map(perceptual_print, data.images)))

    close = dataclasses.replace(held, images=torch.cat([(train.images[:1] * 0.9 + 9).byte(), held.images[1:]]))
    found = measure(bank_of(fitted=["0"]), seen(train), seen(close), features=Blocks(), **QUICK)
    assert any(line.startswith("1 of the 24 images of held are near-copies") for line in found.summary)
    assert "The bank was not fitted on 32 of the 32 images of data." in found.summary


def test_classes_of_one_and_of_few_images(labelled, bank_of):
    train, held = labelled(8, 1), labelled(6, 2).subset([0, *range(6, 12)])
    found = measure(bank_of(), train, held, classes=["bee", "ant"], features=Blocks(), **QUICK)
    assert list(found.per_class) == ["bee", "ant"]
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["per_class"]["ant"]["coverage"] == {"synthetic": None, "reference": None}
    assert told["per_class"]["ant"]["gan_train"]["reference"] is not None
    assert told["per_class"]["bee"]["coverage"]["reference"] is not None
    assert told["copies"]["per_class"]["ant"]["c_t"] is None
    alone = measure(bank_of(), train, held, classes=["bee"], features=Blocks(), **QUICK)
    assert "gan_train" not in alone.pooled
    assert not any("classifier" in line for line in alone.summary)
    with pytest.raises(DataError, match="'cow' has no image in held"):
        measure(bank_of(), train, held, **QUICK)


def test_references_and_counts_are_of_equal_sizes(labelled, bank_of, monkeypatch):
    sizes = []

    def precision(real, other):
        sizes.append((len(real), len(other)))
        return 0.5

    monkeypatch.setitem(samples._COMPARED, "precision", precision)
    monkeypatch.setattr(samples, "_MOST_PAIRED", 15)
    measure(bank_of(), labelled(9, 1), labelled(30, 2), features=Blocks(), **QUICK)
    assert sizes == [(9, 9)] * 8 + [(15, 15)] * 2


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"per_class": 1}, RecipeError, "per_class is 1"),
        ({"steps": 0}, RecipeError, "steps 0"),
        ({"features": "resnet19"}, RecipeError, "'resnet19', and torchvision has no such model; did you mean"),
        ({"features": "timm/no_such"}, RecipeError, "timm"),
        ({"features": nn.Identity()}, RecipeError, r"have shape \(16, 1, 16, 16\); wanted one vector"),
        ({"classes": ["bea"]}, DataError, "'bea'; did you mean 'bee'"),
    ],
)
def test_bad_settings(labelled, bank_of, changes, error, said):
    with pytest.raises(error, match=said) as raised:
        measure(bank_of(), labelled(4, 1), labelled(3, 2), **{**QUICK, **changes})
    assert "\n" not in str(raised.value)


def test_what_is_told():
    sides = {"coverage": Sides(0.5, 0.75), "precision": Sides(0.25, 1.0), "kernel_distance": Sides(math.nan, 0.0)}
    copying = Copying(0.2, -4.5, 0.5, 3, 40)
    told = SampleMeasures(
        "abc", "some features", sides, {"a [b]": sides}, copying, {"a [b]": copying}, {"a [b]": 9}, ("all new",)
    )
    assert told.to_dict()["copies"]["per_class"]["a [b]"] == {
        "share": 0.2, "c_t": -4.5, "nearest_ratio": 0.5, "copies": 3, "images": 40,
    }  # fmt: skip
    assert told.to_dict()["pooled"]["kernel_distance"] == {"synthetic": None, "reference": 0.0}
    assert told.to_dict()["bank"] == "abc"
    assert told.summary[-1] == "All new."
    from rich.console import Console

    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(told.table())
    shown = console.export_text()
    assert "a [b]: coverage (3 copies, C_T -4.500)" in shown
    assert "FID" not in json.dumps(told.to_dict()) + shown


def test_the_command_writes_what_the_report_reads(labelled, bank_of, tmp_path, ganaug_command, monkeypatch):
    monkeypatch.setattr(measures, "train_features", lambda *_, seed: _FewFeatures())
    data = labelled(6, 1)
    for index, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        folder = tmp_path / ("held" if index % 6 > 2 else "train") / data.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{index}.png")
    path = bank_of(**{"compare.steps": 2}).save(tmp_path / "pets.ganaug")
    given = ("measure", path, "--data", tmp_path / "train", "--held", tmp_path / "held", "--num", 5, "--device", "cpu")
    ended = ganaug_command(*given)
    assert ended.code == 0, ended.err
    told = json.loads((tmp_path / "pets.run" / "measure.json").read_text("utf-8"))
    assert told["images"] == dict.fromkeys(NAMES, 3)
    assert told["summary"][0] in ended.out.replace("\n", " ")
    assert "kernel distance" in ended.out
    assert ganaug_command(*given, "--out", tmp_path / "all.json").code == 0
    assert json.loads((tmp_path / "all.json").read_text("utf-8"))["bank"] == told["bank"]
    assert "exists already" in ganaug_command(*given, "--out", tmp_path / "all.json").complaint
    leaking = ganaug_command("measure", path, "--data", tmp_path / "train", "--held", tmp_path / "train")
    assert leaking.code == 1
    assert "12 of the 12 images of held" in leaking.complaint


class _FewFeatures:
    def features(self, images):
        return Blocks()(images.float() / 127.5 - 1)


def test_the_public_name():
    assert ganaug.measure is measure
