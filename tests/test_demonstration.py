import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import ganaug
from ganaug import demonstration
from ganaug.data import read_images
from ganaug.demonstration import demo, write_digits


def test_the_digits_are_real_and_no_image_is_in_both_parts(tmp_path):
    train, test = write_digits(tmp_path / "digits")
    ours, theirs = (read_images(part, resolution=16) for part in (train, test))
    assert ours.counts() == [20] * 10
    assert len(ours) + len(theirs) == 1797
    assert not set(ours.fingerprints) & set(theirs.fingerprints)
    digits = load_digits()
    with Image.open(train / "3" / "0003.png") as image:
        assert np.array_equal(np.asarray(image), np.rint(digits.images[3] * 255 / 16))


def test_a_demo_leaves_what_its_readme_tells_of(tmp_path, tiny_recipe, monkeypatch):
    monkeypatch.setattr(demonstration, "load_recipe", lambda name: tiny_recipe)
    monkeypatch.setattr(demonstration, "MINUTES", 0.01)
    monkeypatch.setattr("ganaug.planning.seconds_per_step", lambda *_: 0.1)
    monkeypatch.setattr(demonstration, "compare", lambda *a, **k: ganaug.compare(*a, **{**k, "seeds": 2, "steps": 3}))
    accuracy = demonstration.synthetic_only_accuracy
    monkeypatch.setattr(
        demonstration, "synthetic_only_accuracy", lambda bank, held, **k: accuracy(bank, held, per_class=4, steps=3)
    )
    said = []
    folder = demo(tmp_path / "demo", say=said.append)
    told = (folder / "README.md").read_text()
    for name in ("digits/", "digits.ganaug", "digits.run/", "preview.png", "mixed/", "comparison.json"):
        assert f"`{name}`" in told
        assert (folder / name).exists()
    comparison = json.loads((folder / "comparison.json").read_text())
    assert comparison["summary"] in told
    assert ganaug.load(folder / "digits.ganaug").verdict is not None
    rows = list(csv.DictReader((folder / "mixed" / "ganaug.csv").open()))
    assert sum(row["source"] == "synthetic" for row in rows) == 100
    assert said[0].startswith("1/5")
    with pytest.raises(ganaug.GanaugError, match="already holds something"):
        demo(folder, say=said.append)
