import itertools
import json
import os
import re
import shutil
from html.parser import HTMLParser

import pytest
from torchvision.datasets import ImageFolder

import ganaug
from ganaug.data import read_images
from ganaug.errors import BankError, DataError, OutputError
from ganaug.evidence.gallery import draw_samples, only_fitted
from ganaug.evidence.report import _in_turn
from ganaug.manifest import Verdict

NAMES = ("cat", "dog", "owl")
NASTY = "<img src=x onerror=alert(1)>&\"'"


class Page(HTMLParser):
    """What a page holds: its words, its elements, and whatever it might fetch."""

    void = frozenset({"meta", "img", "line", "polyline", "br"})

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.open, self.words = text, [], [], []
        self.feed(text)
        self.close()
        assert not self.open
        self.said = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag, cls=None):
        return [of for name, of in self.tags if name == tag and (cls is None or cls in of.get("class", "").split())]


def verdict(ratio=0.5, gain=0.023, low=0.008, high=0.038):
    return Verdict(
        ratio=ratio, gain=gain, low=low, high=high, real_only=0.741, with_synthetic=0.741 + gain, subject="recipe"
    )


def comparison(of, names=NAMES):
    """As `ganaug compare` writes it: two classical arms, three of the sweep, four in the end, three differences."""
    final = [
        {"name": role, "role": role, "accuracies": [[0.7 + more, 0.71 + more], [0.69, 0.7]], "mean": 0.7}
        for role, more in (("real only", 0.0), ("with synthetic", 0.02), ("duplicated", 0.01), ("shuffled", -0.01))
    ]
    tried = {"augment": "crop", "annealed": False, "screened": False, "soft": False}
    sweep = [
        {"name": "crop, ratio 0.5", **tried, "ratio": 0.5, "choosing": [0.74, 0.75], "mean": 0.745,
         "difference": 0.025, "p": 0.01, "p_holm": 0.03, "dropped_after": None},
        {"name": "crop, ratio 1", **tried, "ratio": 1.0, "choosing": [0.70], "mean": 0.70,
         "difference": -0.015, "p": None, "p_holm": None, "dropped_after": 1},
    ]  # fmt: skip
    contrasts = [
        {"name": f"with synthetic - {other}", "mean": gain, "low": gain - 0.015, "high": gain + 0.015,
         "p": p, "p_holm": p}
        for other, gain, p in (("real only", 0.023, 0.0004), ("duplicated", 0.004, 0.4), ("shuffled", 0.03, 0.02))
    ]  # fmt: skip
    changes_of = [
        {"name": name, "real_only": 0.7, "with_synthetic": 0.7 + change, "difference": change,
         "low": change - 0.01, "high": change + 0.01}
        for name, change in zip(names, (0.05, 0.0, -0.04), strict=False)
    ]  # fmt: skip
    return {
        "summary": "This recipe helps: from 74.1 % to 76.4 %.", "verdict": of.model_dump(mode="json"), "helps": True,
        "scored_on": "held back", "subject": "recipe", "images": {"training": 60, "scoring": 20},
        "settings": {"splits": 2, "seeds": 2, "steps": 600, "cutmix": True, "minutes": None},
        "class_names": list(names),
        "baselines": [
            {"name": "no augmentation", "augment": "none", "choosing": [0.68, 0.69], "mean": 0.685},
            {"name": "crop", "augment": "crop", "choosing": [0.715, 0.725], "mean": 0.72},
        ],
        "sweep": sweep, "chosen": {"name": "crop, ratio 0.5", "augment": "crop", "ratio": 0.5}, "final": final,
        "contrasts": contrasts, "per_class": changes_of, "harmed": [names[-1]], "real_equivalent": None,
        "notes": ["the budget ended first"], "command": "ganaug compare pets.ganaug --data pets --minutes 60",
    }  # fmt: skip


def screening(bank, names=NAMES):
    counts = {"asked": 20, "drawn": 40, "kept": 20, "doubted": 10, "far": 0, "copy": 4, "redundant": 6}
    examples = {"doubted": [0, 5, 9], "far": [], "copy": [3], "redundant": [7]}
    return {
        "summary": "kept 60 of 120", "bank": bank.fingerprint, "seed": 4, "settings": {},
        "per_class": {name: counts for name in names[:-1]} | {names[-1]: counts | {"kept": 11}},
        "examples": dict.fromkeys(names, examples),
    }  # fmt: skip


def measures(bank, names=NAMES):
    sides = {
        "coverage": {"synthetic": 0.88, "reference": 0.94},
        "kernel_distance": {"synthetic": 0.02, "reference": None},
    }
    copies = {"share": 0.3, "c_t": -9.1, "nearest_ratio": None, "copies": 2, "images": 20}
    return {
        "summary": ["Nearer than new images are.", "Coverage is fair."], "bank": bank.fingerprint,
        "features": "a small network", "pooled": sides, "per_class": dict.fromkeys(names, sides),
        "copies": {"words": "Nearer than new images are.", "pooled": copies, "per_class": dict.fromkeys(names, copies)},
    }  # fmt: skip


LOG = "step,kimg,seconds,score,coverage,generator\n1,8,1,0.2,0.3,\n2,16,2,0.6,0.5,0.7\n3,24,3,0.5,0.6,0.8\n"


@pytest.fixture
def write(tmp_path, make_bank):
    """Writes pets.ganaug and what lies beside it; returns the bank's path."""

    def written(found=None, names=NAMES, compare=True, screen=True, measure=True, log=True, **manifest):
        bank = make_bank(names, **manifest)
        if found is not None:
            bank = bank.with_verdict(found)
        path = bank.save(tmp_path / "pets.ganaug")
        folder = tmp_path / "pets.run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / ".ganaug").touch()
        kept = {
            "comparison": compare and found is not None and comparison(found, names),
            "screening": screen and screening(bank, names),
            "measure": measure and measures(bank, names),
        }
        for name, values in kept.items():
            if values:
                (folder / f"{name}.json").write_text(json.dumps(values))
        if log:
            (folder / "log-all.csv").write_text(LOG)
        return path

    return written


def test_a_page_tells_all_that_was_measured(write, tmp_path):
    goal = ganaug.report(write(verdict()))
    assert goal == tmp_path / "pets.run" / "report.html"
    page = Page(goal.read_text("utf-8"))
    for said in (
        "Synthetic images help: +2.3 points of accuracy.", "This recipe helps: from 74.1 % to 76.4 %.", "+0.8 to +3.8",
        "Against real images repeated to the same count", "p < 0.001", "dropped after round 1", "Harmed: owl.",
        "Kept 60 of 120.", "short", "Kernel distance", "Nearer than new images are.", "2 of 20",
        "the budget ended first", "ganaug compare pets.ganaug --data pets --minutes 60",
    ):  # fmt: skip
        assert said in page.said, said
    assert page.said.count("Nearer than new images are.") == 1
    assert len(page.all("span", "key")) > 5
    assert len(page.all("svg")) == 2  # the score and the coverage
    assert "Not measured yet" not in page.said


def test_the_page_asks_for_nothing_and_runs_nothing(write):
    page = Page(ganaug.report(write(verdict())).read_text("utf-8"))
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form"} == set()
    fetched = [of[name] for _, of in page.tags for name in ("src", "href", "srcset", "action") if name in of]
    assert fetched
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in fetched)
    assert "url(" not in page.text
    assert "@import" not in page.text
    assert any("default-src 'none'" in of.get("content", "") for of in page.all("meta"))


def test_it_can_be_read_without_eyes_and_by_keyboard(write):
    page = Page(ganaug.report(write(verdict())).read_text("utf-8"))
    assert all("alt" in of for of in page.all("img"))
    assert all(of.get("aria-label") for of in page.all("svg"))
    assert all(
        of.get("tabindex") == "0" and of.get("aria-label") for of in [*page.all("div", "scroll"), *page.all("pre")]
    )
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    ids = [of["id"] for _, of in page.tags if "id" in of]
    assert len(ids) == len(set(ids))
    assert {of["href"][1:] for of in page.all("a")} <= set(ids)
    assert page.all("html")[0]["lang"] == "en"


def test_names_of_classes_are_data(write):
    names = (NASTY, "{{ 7 * 7 }}", "dog")
    found = write(verdict(), names)
    page = Page(ganaug.report(found).read_text("utf-8"))
    assert "onerror" not in {name for _, of in page.tags for name in of}
    assert not [of for of in page.all("img") if of["src"] == "x"]
    assert NASTY in page.said
    assert "{{ 7 * 7 }}" in page.said
    assert "49" not in [word.strip() for word in page.words]


@pytest.mark.parametrize(
    ("found", "word", "said"),
    [
        (None, "Not measured yet", "has not been measured"),
        (verdict(0.0, 0.004, -0.011, 0.019), "Not shown to help", "not shown to help"),
        (verdict(0.0, 0.004, 0.001, 0.019), "Not shown to help", "not shown to help"),  # lost on choosing
        (verdict(0.0, -0.03, -0.05, -0.01), "Harms", "do harm: −3.0 points"),
        (verdict({"cat": 0.5, "dog": 0.0, "owl": 0.0}), "Helps", "help: +2.3"),
    ],
)
def test_the_headline_obeys_the_verdict(write, found, word, said):
    told = ganaug.report(write(found, compare=False))
    page = Page(told.read_text("utf-8"))
    assert said in page.said
    assert json.loads(told.with_suffix(".json").read_text("utf-8"))["headline"]["word"] == word


def test_the_headline_names_what_was_measured(write):
    balanced = verdict().model_copy(update={"measured": {"metric": "balanced accuracy"}})
    page = Page(ganaug.report(write(balanced, compare=False)).read_text("utf-8"))
    assert "Synthetic images help: +2.3 points of balanced accuracy." in page.said
    assert "Gain in balanced accuracy" in page.said


def test_what_has_not_been_measured_is_named_with_its_command(write):
    path = write(compare=False, screen=False, measure=False, log=False)
    goal = ganaug.report(path)
    page = Page(goal.read_text("utf-8"))
    for command in ("compare", "screen", "report"):
        assert f"ganaug {command} {path} --data DIR" in page.said
    assert f"ganaug measure {path} --data DIR --held DIR" in page.said
    missing = json.loads(goal.with_suffix(".json").read_text("utf-8"))["missing"]
    assert [step["name"] for step in missing] == ["compare", "screen", "measure", "explore", "report"]


def test_without_a_run_folder_one_is_made(write, tmp_path):
    path = write(verdict())
    shutil.rmtree(tmp_path / "pets.run")
    goal = ganaug.report(path)
    assert (goal.parent / ".ganaug").is_file()
    page = Page(goal.read_text("utf-8"))
    assert "+2.3" in page.said  # the verdict is in the bank
    assert "its verdict is in the bank" in page.said


def test_a_result_of_another_bank_is_left_out_and_said(write, tmp_path):
    path = write(verdict())
    screened = tmp_path / "pets.run" / "screening.json"
    screened.write_text(json.dumps(json.loads(screened.read_text()) | {"bank": "0" * 32}))
    page = Page(ganaug.report(path).read_text("utf-8"))
    assert "screening.json is of another bank" in page.said
    assert "Kept 60 of 120" not in page.said


def test_a_comparison_whose_verdict_the_bank_does_not_hold_is_left_out(write, tmp_path):
    path = write(verdict())
    ganaug.load(path).with_verdict(verdict(gain=0.01, low=0.001, high=0.02)).save(path)
    page = Page(ganaug.report(path).read_text("utf-8"))
    assert "comparison.json is of another bank" in page.said
    assert "help: +1.0 points" in page.said
    ganaug.load(path).with_verdict(None).save(path)
    assert "has not been measured" in Page(ganaug.report(path).read_text("utf-8")).said


def test_a_result_that_says_little_is_shown_as_far_as_it_goes(write, tmp_path):
    found = verdict()
    path = write(found)
    little = {
        "comparison": {"verdict": found.model_dump(mode="json"), "sweep": [{"name": "only"}]},
        "screening": {"per_class": {"cat": {}}, "examples": {"gone": {"far": [1]}}},
        "measure": {"pooled": {"new_measure": {}}, "copies": {"per_class": {"cat": {}}}},
    }
    for name, values in little.items():
        (tmp_path / "pets.run" / f"{name}.json").write_text(json.dumps(values))
    page = Page(ganaug.report(path).read_text("utf-8"))
    assert "help: +2.3 points" in page.said
    assert "New measure" in page.said
    assert "What was tried" not in page.said


def test_the_json_says_what_the_files_say(write):
    path = write(verdict())
    goal = ganaug.report(path)
    told = json.loads(goal.with_suffix(".json").read_text("utf-8"))
    bank = ganaug.load(path)
    assert told["comparison"] == comparison(bank.verdict)
    assert told["screening"] == screening(bank)
    assert told["measures"] == measures(bank)
    assert told["training"]["all"]["generator"] == [None, 0.7, 0.8]
    assert told["bank"]["fingerprint"] == bank.fingerprint
    assert "train_fingerprints" not in told["bank"]
    assert list(told["samples"]) == list(NAMES)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("comparison.json", "{", r"comparison.json cannot be read.*ganaug compare"),
        ("measure.json", "[1]", r"measure.json holds no mapping.*ganaug measure"),
        ("screening.json", '{"per_class": {"cat": {"kept": "x"}}}', r"screening.json is wrong at per_class.cat.kept"),
        ("screening.json", '{"examples": {"cat": {"far": [-1]}}}', r"an index is -1"),
    ],
)
def test_a_damaged_result_is_told_in_one_line(write, tmp_path, name, text, said):
    path = write(verdict())
    (tmp_path / "pets.run" / name).write_text(text)
    with pytest.raises((DataError, BankError), match=said):
        ganaug.report(path)
    assert not (tmp_path / "pets.run" / "report.html").exists()


def test_a_page_is_not_written_over_without_leave(write, tmp_path):
    path = write(verdict())
    out = tmp_path / "page.html"
    assert ganaug.report(path, out=out) == out
    assert (tmp_path / "page.json").is_file()
    with pytest.raises(OutputError, match="exists already"):
        ganaug.report(path, out=out)
    ganaug.report(path, out=out, exist_ok=True)
    with pytest.raises(OutputError, match="page's JSON"):
        ganaug.report(path, out=tmp_path / "other.json")
    with pytest.raises(OutputError, match="is a folder"):
        ganaug.report(path, out=tmp_path)
    assert ganaug.report(path) == ganaug.report(path)  # its own folder


def test_a_folder_that_is_not_ours_is_not_written_into(write, tmp_path):
    path = write(verdict())
    os.remove(tmp_path / "pets.run" / ".ganaug")
    with pytest.raises(OutputError, match="something else"):
        ganaug.report(path)
    ganaug.report(path, out=tmp_path / "page.html")


def test_no_bank_no_page(tmp_path):
    with pytest.raises(BankError, match="does not exist"):
        ganaug.report(tmp_path / "none.ganaug")


@pytest.fixture
def images(image_folder):
    return read_images(image_folder, resolution=16, colour="rgb")


def test_the_nearest_training_images_are_shown_under_the_samples(write, image_folder, images):
    fitted = [index for index in range(len(images)) if index % 3]
    path = write(verdict(), train_fingerprints=tuple(images.fingerprints[index] for index in fitted))
    without, with_data = (Page(ganaug.report(path, data=data).read_text("utf-8")) for data in (None, image_folder))
    assert not [of for of in without.all("img") if of["alt"] == "The training image nearest to it"]
    assert len([of for of in with_data.all("img") if of["alt"] == "The training image nearest to it"]) == 3 * 8 + 3
    assert f"ganaug screen {path} --data {image_folder}" in with_data.said
    assert "Without the training images" not in with_data.said


def test_only_images_that_the_bank_was_fitted_on_are_near(make_bank, images):
    bank = make_bank(train_fingerprints=images.fingerprints[:5])
    assert only_fitted(images, bank).fingerprints == images.fingerprints[:5]
    with pytest.raises(DataError, match="none of the 21 images of data"):
        only_fitted(images, make_bank(train_fingerprints=("0",)))


def test_a_planted_copy_is_found_mirrored_only_where_mirrors_are_equal(make_bank, images):
    bank = make_bank()
    sample = bank.sample_at(1, [5])
    planted = images.images.clone()
    planted[images.labels == 1] = sample.flip(-1)
    real = type(images)(planted, images.labels, images.class_names, images.label_numbers, images.fingerprints)
    (apart,) = draw_samples(bank, "dog", [5], real=real)
    flips = bank.recipe.replace({"data.horizontal_flip": True}).model_dump(mode="json")
    (near,) = draw_samples(make_bank(recipe=flips), "dog", [5], real=real)
    assert near.apart < 1e-3 < apart.apart <= 1
    assert near.nearest is not None
    assert draw_samples(bank, "dog", [5])[0].nearest is None


def test_dropped_samples_come_from_all_classes_in_turn():
    many = {name: list(range(8)) for name in "abcd"}
    picked = _in_turn(many)
    assert picked == {name: list(range(6)) for name in "abcd"}
    assert _in_turn({"a": [], "b": [3]}) == {"b": [3]}


def test_a_users_dataset_serves_as_data(write, image_folder, images):
    path = write(verdict(), train_fingerprints=images.fingerprints)
    page = Page(ganaug.report(path, data=ImageFolder(str(image_folder))).read_text("utf-8"))
    assert "nearest" in page.said
    assert f"ganaug screen {path} --data DIR" in page.said


def test_a_log_of_each_class_is_one_line_each(write, tmp_path):
    path = write(log=False)
    for number in range(11):
        (tmp_path / "pets.run" / f"log-class-{number}.csv").write_text(LOG)
    (tmp_path / "pets.run" / "log-empty.csv").write_text("")
    page = Page(ganaug.report(path).read_text("utf-8"))
    assert len(page.all("polyline")) == 2 * 11
    told = json.loads((tmp_path / "pets.run" / "report.json").read_text("utf-8"))
    assert list(told["training"])[-3:] == ["class-8", "class-9", "class-10"]


def test_the_command(write, ganaug_command, image_folder, images, monkeypatch):
    path = write(verdict(), train_fingerprints=images.fingerprints)
    monkeypatch.chdir(path.parent)
    ended = ganaug_command("report", "pets.ganaug", "--data", str(image_folder), "--out", "page.html")
    assert ended.code == 0
    assert ended.err == "wrote page.html, and the same as page.json\n"
    again = ganaug_command("report", "pets.ganaug", "--out", "page.html")
    assert again.code == 1
    assert "--exist-ok" in again.err
    assert ganaug_command("report", "pets.ganaug", "--out", "page.html", "--exist-ok").code == 0
    assert ganaug_command("report", "pets.ganaug").err.startswith("wrote pets.run/report.html")
