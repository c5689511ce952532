import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from squares import bank_of_squares
from taught import SIDE, squares, taught_bank, turned

import ganaug
from ganaug.data import LabelledImages, fingerprint
from ganaug.errors import BankError, DataError
from ganaug.exploring import survey
from ganaug.exploring.wording import direction_words, effect_words
from ganaug.measures import nearest_tolerant


def drawn(count):
    """Images as the taught generator was shown them."""
    labels = torch.arange(count) % 2
    noise = torch.randn(count, len(turned()), generator=torch.Generator().manual_seed(8))
    images = squares(noise @ turned(), labels).add(1).mul(127.5).to(torch.uint8)
    return LabelledImages(
        images=images, labels=labels, class_names=("small", "large"), label_numbers=(0, 1),
        fingerprints=tuple(fingerprint(image) for image in images),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def short_judge(monkeypatch):
    monkeypatch.setattr(survey, "_STEPS", 4)
    monkeypatch.setattr(survey, "_JUDGED", 8)


@pytest.fixture(scope="module")
def bank():
    return taught_bank()


@pytest.fixture(scope="module")
def found(bank):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey, "_STEPS", 25)
        return ganaug.explore(bank, drawn(24), directions=2, samples=8, device="cpu")


@pytest.fixture
def folder(tmp_path):
    for number, (image, label) in enumerate(zip(*(lambda d: (d.images, d.labels))(drawn(12)), strict=True)):
        place = tmp_path / "data" / ("small", "large")[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(place / f"{number}.png")
    return tmp_path / "data"


def test_what_the_directions_do_is_said_in_words(found):
    place, light = found.directions
    assert place.words.startswith(("moves it left (strongly)", "moves it right (strongly)"))
    assert abs(light.effects["across"].strength) < 1.5 < 2.5 < abs(place.effects["across"].strength)
    assert abs(place.effects["brightness"].strength) < 1.5 < 2.5 < abs(light.effects["brightness"].strength)
    assert abs(place.effects["across"].change) == pytest.approx(4 * 0.12, rel=0.3)
    assert place.explained > light.explained > 0


def test_strips_are_of_each_class_and_go_from_end_to_end(found, bank):
    for direction in found.directions:
        assert [strip.name for strip in direction.strips] == ["small", "large"]
    strip = found.directions[0].strips[0]
    assert strip.images.shape == (5, 1, SIDE, SIDE)
    assert strip.images.dtype == torch.uint8
    way = ganaug.measures.ATTRIBUTES["across"](strip.images)
    steps = way.diff()
    assert (steps > 0).all() or (steps < 0).all()
    real = drawn(24)
    near, apart = nearest_tolerant(strip.images[[0, -1]], real.images[real.labels == 0], flips=False)
    assert torch.equal(strip.nearest, real.images[real.labels == 0][near])
    assert strip.apart == pytest.approx((apart / 255).tolist())


def test_ways_between_samples_and_classes(found):
    assert [strip.name for strip in found.within] == ["small", "large"]
    (between,) = found.between
    assert between.name == "small to large"
    assert between.images.shape == (7, 1, SIDE, SIDE)
    lit = ganaug.measures.ATTRIBUTES["filled"](between.images)
    assert lit[-1] > 2 * lit[0]


def test_the_judge_has_a_say(found):
    assert found.judge == "a classifier trained on the 24 images of data"
    assert found.seen_right > 0.8
    assert all("own_class" in direction.effects for direction in found.directions)


def test_the_same_is_found_each_time_and_written_as_json(found, bank, monkeypatch):
    monkeypatch.setattr(survey, "_STEPS", 25)
    again = ganaug.explore(bank, drawn(24), directions=2, samples=8, device="cpu")
    told = json.loads(json.dumps(again.to_dict(), allow_nan=False))
    assert told == found.to_dict()
    assert told["summary"] == found.summary
    assert "images" not in told["within"][0]
    strip = found.to_dict(pictures=True)["directions"][1]["strips"][1]
    assert strip["images"].startswith("data:image/png;base64,")
    assert len(strip["nearest"]) == 2
    assert again.picture().tobytes() == found.picture().tobytes()
    assert list(found.pictures()) == ["within", "between", "direction 0", "direction 1"]


def test_turns_are_counted(bank):
    from ganaug.exploring.effects import _turns

    own = torch.tensor([0] * 8 + [1] * 8)
    seen = torch.tensor([0] * 4 + [1] * 4 + [1] * 8)
    before = own.clone()
    before[7] = 1  # was not seen as its own class before either
    (turn,) = _turns(seen, before, own, "+", ("small", "large"))
    assert (turn.one, turn.other, turn.end) == ("small", "large", "+")
    assert turn.share == pytest.approx(3 / 7)
    assert turn.words == "turns small into large at + (43% of them)"
    assert not _turns(before, before, own, "-", ("small", "large"))


def test_words():
    assert effect_words("across", 1.2) == "moves it right"
    assert effect_words("across", -2.5) == "moves it left (strongly)"
    strengths = {"across": 0.9, "extent": -2.0, "brightness": 0.3, "slant": 1.5, "contrast": 1.0}
    said = direction_words(strengths, ["turns 3 into 8 at + (40% of them)", "another"])
    assert said == "makes it smaller (strongly), leans it right, adds contrast, turns 3 into 8 at + (40% of them)"
    assert direction_words({"across": 0.1}, []) == "changes nothing that is measured here"


def test_a_moved_bank_is_explored_as_it_was_fitted(bank, found):
    moved = bank.with_latent({"shift": {0: 2.0}})
    again = ganaug.explore(moved, drawn(24), directions=2, samples=8, device="cpu")
    assert [one.explained for one in again.directions] == [one.explained for one in found.directions]
    assert torch.equal(again.directions[0].strips[1].images, found.directions[0].strips[1].images)
    assert "without it" in again.notes[0]
    assert again.bank == moved.fingerprint != found.bank


def test_banks_of_other_kinds(make_bank, tmp_path):
    from drawn_boxes import square_bank, write_yolo
    from test_latent import varying_bank

    several = ganaug.explore(make_bank(per_class=True), directions=1, samples=2, device="cpu")
    assert [one.classes for one in several.directions] == [("cat",), ("dog",), ("owl",)]
    assert not several.between
    assert several.summary[0].startswith("direction 0 of cat: ")
    varied = ganaug.explore(varying_bank(make_bank), directions=1, samples=2, device="cpu")
    assert [strip.name for strip in varied.directions[0].strips] == ["cat", "dog", "owl"]
    assert not varied.between
    objects = ganaug.explore(square_bank(), directions=1, samples=2, device="cpu")
    assert objects.directions[0].strips[0].images.shape == (5, 3, 32, 32)
    boxes = write_yolo(tmp_path / "boxes", (("train", 9),))
    objects = ganaug.explore(square_bank(), boxes, directions=1, samples=2, device="cpu")
    assert objects.judge == "a classifier trained on the 12 images of data"  # of its objects
    alone = ganaug.explore(make_bank(("cat",)), directions=1, samples=2, device="cpu")
    assert alone.seen_right is None
    assert alone.judge == "nobody: there is one class"
    assert "own_class" not in alone.directions[0].effects


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"directions": 4}, BankError, "direction 3 is not there: codes of this bank have 3 numbers"),
        ({"directions": 0}, BankError, "directions is 0; give a whole number, 1 or more"),
        ({"samples": 1}, BankError, "samples is 1; effects are measured on 2 samples"),
        ({"seed": -1}, BankError, "seed is -1"),
    ],
)
def test_numbers_that_cannot_be(bank, settings, error, said):
    with pytest.raises(error, match=said):
        ganaug.explore(bank, device="cpu", **settings)


def test_other_data_and_other_banks(bank, image_folder):
    with pytest.raises(DataError, match="data has no class 'small' of the bank, only cat, dog, owl; give the images"):
        ganaug.explore(bank, image_folder)
    with pytest.raises(BankError, match=r"of task segment has no directions to explore.* ganaug preview"):
        ganaug.explore(bank_of_squares())


def test_the_command_and_the_page(bank, folder, tmp_path, ganaug_command):
    path = bank.save(tmp_path / "squares.ganaug")
    arguments = ["explore", path, "--data", folder, "--directions", 2, "--out", tmp_path / "seen.png"]
    ended = ganaug_command(*arguments)
    assert ended.code == 0
    assert ended.out.startswith("direction 0: moves it ")
    assert Image.open(tmp_path / "seen.png").width > 500
    kept = json.loads((tmp_path / "squares.run" / "exploration.json").read_text())
    assert kept["bank"] == bank.fingerprint
    assert "exists already" in ganaug_command(*arguments).complaint

    told = Path(ganaug.report(path)).read_text("utf-8")
    assert "What the generator knows" in told
    assert "Direction 1: " in told
    assert kept["directions"][0]["strips"][0]["images"] in told
    beside = json.loads((tmp_path / "squares.run" / "report.json").read_text())
    assert beside["exploration"]["summary"] == kept["summary"]
    assert "base64" not in json.dumps(beside["exploration"])
    assert "explore" not in {step["name"] for step in beside["missing"]}

    kept["directions"][0]["strips"][0]["images"] = "javascript:alert(1)"
    (tmp_path / "squares.run" / "exploration.json").write_text(json.dumps(kept))
    with pytest.raises(DataError, match=r"exploration.json is wrong at directions\.0\.strips\.0\.images"):
        ganaug.report(path)


def test_the_command_writes_a_bank_with_a_setting(bank, tmp_path, ganaug_command):
    path, goal = bank.save(tmp_path / "squares.ganaug"), tmp_path / "right.ganaug"
    ended = ganaug_command(
        "explore", path, "--set", "latent.shift.0=1.5", "--set", "latent.exclude=[1]", "--write", goal
    )
    assert ended.code == 0
    assert ganaug.load(goal).fingerprint == bank.with_latent({"shift": {0: 1.5}, "exclude": [1]}).fingerprint
    assert "exclude [1], shift {'0': 1.5}" in ganaug_command("inspect", goal).out
    back = ganaug_command("explore", goal, "--set", "latent=null", "--write", tmp_path / "back.ganaug")
    assert back.code == 0
    assert ganaug.load(tmp_path / "back.ganaug").fingerprint == bank.fingerprint


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "latent.exclude=[0]"], "name the bank to write, as --write moved.ganaug"),
        (["--set", "gan.r1=1", "--write", "x.ganaug"], "--set gan.r1 is no setting of latent"),
        (["--set", "latent.exclude=[7]", "--write", "x.ganaug"], "direction 7 is not there"),
        (["--set", "latent.exclude=[0]", "--write", "squares.ganaug"], "is the bank itself; choose another --write"),
        (["--write", "x.ganaug"], "--write keeps a setting, and none is given"),
    ],
)
def test_what_the_command_refuses(bank, tmp_path, monkeypatch, ganaug_command, arguments, said):
    monkeypatch.chdir(tmp_path)
    bank.save(tmp_path / "squares.ganaug")
    ended = ganaug_command("explore", "squares.ganaug", *arguments)
    assert ended.code == 1
    assert said in ended.complaint
    assert not Path("x.ganaug").exists()
