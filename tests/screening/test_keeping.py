import numpy as np
import pytest

from ganaug.screening import kept_screening, screen

WANTED = {0: 5, 2: 5}
PLACES = {0: 0, 2: 2}


@pytest.fixture
def ask(bank, real, quick, tmp_path):
    def asked(data=real, wanted=WANTED, seed=0, **changes):
        changed = quick.model_copy(update=changes)
        return kept_screening(bank, data, wanted, PLACES, settings=changed, seed=seed, directory=tmp_path)

    return asked


@pytest.fixture
def nothing_new(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    return lambda: monkeypatch.setattr("ganaug.screening.selection.train_judge", refuse)


def test_the_same_screening_is_done_once(ask, nothing_new, bank, real, quick):
    first = ask()
    fresh = screen(bank, real, {"ant": 5, "cow": 5}, settings=quick, device="cpu")
    nothing_new()
    again = ask()
    for found in (first, again):
        assert found.to_dict() == fresh.to_dict()
        for index in WANTED:
            assert np.array_equal(found.kept[index], fresh.kept[index])
            assert np.array_equal(found.soft[index], fresh.soft[index])
    others = [
        {"seed": 1}, {"wanted": {0: 6, 2: 5}}, {"copies": 0.2}, {"data": real.subset(range(1, len(real)))},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(AssertionError, match="trained again"):
            ask(**other)


def test_a_damaged_one_is_done_again(ask, tmp_path):
    first = ask()
    (file,) = tmp_path.rglob("screening.safetensors")
    whole = file.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], b"\x00" * 100):
        file.write_bytes(damage)
        assert ask().to_dict() == first.to_dict()
        assert file.read_bytes() == whole
