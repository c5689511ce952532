import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ganaug.errors import OutputError
from ganaug.screening import write_kept


def test_it_says_what_was_kept_and_what_was_dropped(found):
    told = json.loads(json.dumps(found.to_dict()))
    drawn = sum(tally.drawn for tally in found.tallies.values())
    assert found.summary.startswith(f"kept 120 of {drawn} synthetic samples; dropped: ")
    assert told["summary"] == found.summary
    assert list(told["per_class"]) == ["ant", "bee", "cow", "doe"]
    assert told["per_class"]["bee"]["kept"] == 30
    assert told["settings"]["judges"] == 3
    assert told["short"] == {}
    for reasons in told["examples"].values():
        assert all(0 < len(indices) <= 8 for indices in reasons.values())
    console = Console(width=120, file=io.StringIO())
    console.print(found.table())
    text = console.file.getvalue()
    assert all(word in text for word in ("asked", "drawn", "kept", "doubted", "far", "copy", "redundant", "doe"))


def test_kept_images_are_the_banks_samples(bank, found, tmp_path):
    assert write_kept(bank, found, tmp_path / "out") == dict.fromkeys(("ant", "bee", "cow", "doe"), 30)
    index = int(found.kept[2][4])
    assert sorted(path.name for path in (tmp_path / "out" / "cow").glob("*.png"))[4] == f"{index:06d}.png"
    pixels = np.asarray(Image.open(tmp_path / "out" / "cow" / f"{index:06d}.png"))
    assert np.array_equal(pixels, bank.sample_at(2, [index])[0, 0].numpy())
    with pytest.raises(OutputError, match="already holds something"):
        write_kept(bank, found, tmp_path / "out")
