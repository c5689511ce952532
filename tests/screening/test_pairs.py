"""Screening of pairs of image and mask: what does not show its map is found."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from squares import SquaresBank, bank_of_squares, drawn, masked
from torch.nn import functional

import ganaug
from ganaug.data import fingerprint
from ganaug.dataset import GanAugmented
from ganaug.errors import BankError, DataError, LeakError
from ganaug.evidence.arms import Arm
from ganaug.evidence.exams.maps import TURNS, MapExam, Pairs, mixed
from ganaug.evidence.material import Stock
from ganaug.evidence.parts import Parts
from ganaug.recipe import Screening
from ganaug.run_folder import keep_result
from ganaug.screening import kept_screening, screen
from ganaug.screening.map_judge import train_map_judge

SETTINGS = Screening(steps=24, judges=2)
FALSE, COPIED = 3, 5  # samples at these places of six show another's map, or are a real pair again


class MixedBank(SquaresBank):
    """Good pairs, and among them false ones and copies."""

    def sample_at(self, class_index, indices, *, seed=0):
        images, maps = drawn(97, 900 + seed)
        real = masked(6, 1)
        images[COPIED::6], maps[COPIED::6] = real.images[[2] * 16], real.maps[[2] * 16]
        rows = list(indices)
        shown = [row + 1 if row % 6 == FALSE else row for row in rows]
        return torch.cat([images[rows], maps[shown, None]], 1)


def mixed_bank(fitted=()):
    plain = bank_of_squares(fitted=fitted, **{f"screening.{name}": value for name, value in SETTINGS})
    return MixedBank(plain.manifest, list(plain.generators))


def seen(_, images):
    """What a segmenter sees that has learned all there is to learn."""
    return (functional.avg_pool2d(images.float(), 3, 1, 1)[:, 0] > 115).byte()


@pytest.fixture
def oracle(monkeypatch):
    """Segmenters that take no time."""
    monkeypatch.setattr("ganaug.screening.map_judge.train_segmenter", lambda *_, **__: torch.nn.Identity())
    monkeypatch.setattr("ganaug.screening.map_judge.predict_maps", seen)


def check(found):
    kept, dropped = found.kept[0], found.examples[0]
    assert len(kept) == 20
    assert not {FALSE, COPIED} & set(kept % 6)
    assert {index % 6 for index in dropped["copy"]} == {COPIED}
    assert FALSE in {index % 6 for index in dropped["doubted"]}
    tally = found.tallies[0]
    assert tally.drawn == kept[-1] + 1 == tally.kept + tally.doubted + tally.copy
    assert list(found.shown) == ["object"], "the ground is no class that counts"
    shown = found.shown["object"]
    assert shown.kept > shown.real - 0.1 > shown.dropped
    assert found.accuracy == pytest.approx(shown.real, abs=0.05)


def test_segmenters_find_false_pairs():
    check(screen(mixed_bank(), masked(6, 1), 20, device="cpu"))


def test_what_is_told_and_whoever_wants_fewer_gets_the_first_of_them(oracle):
    found, fewer = (screen(mixed_bank(), masked(6, 1), count, device="cpu") for count in (20, {"images": 7}))
    check(found)
    assert fewer.kept[0].tolist() == found.kept[0][:7].tolist()
    told = json.loads(json.dumps(found.to_dict()))
    assert told["shown"]["object"]["dropped"] == found.shown["object"].dropped
    assert "synthetic pairs; dropped: " in found.summary


def test_no_segmenter_reads_what_it_was_trained_on(monkeypatch):
    trained = []

    def train(images, maps, **_):
        trained.append({fingerprint(image) for image in images})
        return torch.nn.Identity()

    monkeypatch.setattr("ganaug.screening.map_judge.train_segmenter", train)
    monkeypatch.setattr("ganaug.screening.map_judge.predict_maps", lambda _, images: (images[:, 0] > 115).byte())
    data = masked(5, 1, squares=3)
    judge = train_map_judge(data, judges=3, steps=1, flips=True, seed=0, device="cpu")
    assert len(judge.networks) == 3
    for image, fold, source in zip(data.images, judge.folds.tolist(), data.sources.tolist(), strict=True):
        assert fingerprint(image) not in trained[fold]
        assert len(judge.folds[data.sources == source].unique()) == 1, "squares of an image never part"
    assert judge.own.shape == (15, 2, 3)
    same = replace(data, fingerprints=data.fingerprints[:1] * 5)
    with pytest.raises(DataError, match="5 training images are copies of one"):
        train_map_judge(same, judges=3, steps=1, flips=True, seed=0, device="cpu")


def test_what_comes_of_a_hard_image_has_to_be_as_good_as_that(oracle, monkeypatch):
    """Nothing is seen in one of the real images, nor in what is made of it."""
    data, bank = masked(6, 1), bank_of_squares()

    def made(maps):
        return lambda _, indices, seed=0: torch.cat([data.images, maps[:, None]], 1)[[i % 6 for i in indices]]

    def blind(_, images):
        return seen(_, images) * (images != data.images[-1]).flatten(1).any(1)[:, None, None]

    wanted = Screening(copies=None, doubt=0.5)
    bank.sample_at = made(data.maps)
    monkeypatch.setattr("ganaug.screening.map_judge.predict_maps", blind)
    least = int(screen(bank, data, 6, settings=wanted, device="cpu").tallies[0].drawn)
    assert least == 6, "each is as good as its own image"
    bank.sample_at = made(data.maps.roll(9, 1))
    found = screen(bank, data, 6, settings=wanted, device="cpu")
    assert found.tallies[0].doubted == 15
    assert set(found.kept[0] % 6) == {5}, "of that nothing can be told"
    assert found.short == {"images": (6, 3)}
    assert "3 of 6 of 'images'" in found.summary


def test_a_screening_is_kept_and_items_are_of_what_passed(oracle, tmp_path, monkeypatch):
    data = masked(6, 1)
    bank = mixed_bank()
    arguments = {"settings": SETTINGS, "seed": 0, "directory": tmp_path}
    first = kept_screening(bank, data, {0: 20}, {0: 0}, **arguments)
    check(first)
    train = GanAugmented(Squares(data), bank, ratio=0.9, screening=SETTINGS, pool_factor=4, pool_dir=tmp_path)
    assert len(train) == 11
    pool = train._pool.images(0)
    assert np.array_equal(pool[..., :-1], bank.sample_at(0, first.kept[0].tolist()).permute(0, 2, 3, 1)[..., :-1])
    assert {tuple(np.unique(train[index][1])) for index in range(6, 11)} == {(0, 1)}
    monkeypatch.setattr("ganaug.screening.pairs.train_map_judge", None)
    again = kept_screening(bank, data, {0: 20}, {0: 0}, **arguments)
    assert again.shown == first.shown
    assert again.to_dict() == first.to_dict()
    with pytest.raises(TypeError):
        kept_screening(bank, replace(data, maps=data.maps.flip(1)), {0: 20}, {0: 0}, **arguments)


class Squares(torch.utils.data.Dataset):
    """A user's dataset of images and masks."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data.images[index, 0].numpy(), self.data.maps[index].numpy()


def test_a_comparison_has_arms_of_what_passed(oracle):
    exam, data, bank = MapExam(), masked(6, 1), mixed_bank()
    told = exam.screening(data, bank, {"images": 5}, dict(SETTINGS), seed=0, soft=False, device="cpu")
    assert told["kept"] == screen(bank, data, TURNS * 5, device="cpu").kept[0].tolist()
    first, second = (exam.samples(bank, ["images"], [2], run, 0, told) for run in (0, 1))
    kept = bank.sample_at(0, told["kept"])
    assert torch.equal(torch.cat([first.images, second.images]), kept[:16, :-1])
    assert torch.equal(torch.cat([first.maps, second.maps]), kept[:16, -1])
    plain = Pairs(torch.zeros_like(first.images), torch.zeros_like(first.maps))
    stock = Stock(Parts(data, None, data, "bank", "test"), 0, plain, first)
    assert torch.equal(mixed(stock, Arm("flip", 1 / 3, screened=True))[0][6:], first.images)
    assert not mixed(stock, Arm("flip", 1 / 3))[0][6:].any()
    none = exam.samples(bank, ["images"], [2], 0, 0, {"kept": []})
    assert mixed(replace(stock, screened=none), Arm("flip", 1 / 3, screened=True))[2:] == (0, 1)


def test_what_does_not_go_with_pairs_is_one_line(labelled):
    bank, data = mixed_bank(), masked(4, 1)
    classes = replace(labelled(4, 1), images=torch.zeros(16, 1, 32, 32, dtype=torch.uint8))
    leaking = type(bank)(
        bank.manifest.model_copy(update={"held_back_fingerprints": data.fingerprints[:1]}), list(bank.generators)
    )
    for call, error, said in (
        (lambda: screen(bank, classes), DataError, "data has classes of images, and the bank is for segmentat"),
        (lambda: screen(bank, data, {"object": 3}), BankError, "the bank knows no class 'object'"),
        (lambda: screen(bank, data, 0), BankError, "no samples are asked for"),
        (lambda: screen(bank, replace(data, images=data.images[..., ::2, ::2])), DataError, "read them like the bank"),
        (lambda: screen(leaking, data), LeakError, "1 of the images were held back"),
        (
            lambda: screen(bank, replace(data, class_names=("a", "b"), label_numbers=(3, 4))),
            DataError,
            "data has the classes a, b and the bank background, object",
        ),
        (
            lambda: GanAugmented(Squares(data), bank, ratio=1, soft_labels=True),
            BankError,
            "soft_labels=True wants a bank of task classify",
        ),
    ):
        with pytest.raises(error, match=said) as raised:
            call()
        assert "\n" not in str(raised.value)


def test_commands(oracle, ganaug_command, tmp_path, monkeypatch):
    data, bank = masked(6, 1), mixed_bank()
    for index, (image, one) in enumerate(zip(data.images, data.maps, strict=True)):
        for folder, values in (("images", image[0]), ("masks", one)):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.numpy()).save(tmp_path / f"set/{folder}/{index}.png")
    file = bank.save(tmp_path / "b.ganaug")
    monkeypatch.setattr("ganaug.bank.load", lambda *_: bank)
    ended = ganaug_command("screen", file, "--data", tmp_path / "set", "--num", 5, "--out", tmp_path / "kept")
    assert ended.code == 0, ended.err
    told = json.loads((tmp_path / "b.run/screening.json").read_text())
    assert told["per_class"]["images"]["kept"] == 5
    assert "judge finds real maps" in " ".join(ended.out.split())
    assert "redundant" not in ended.out
    names = {f"ganaug-0-{index:06d}.png" for index in screen(bank, data, 5, device="cpu").kept[0]}
    for folder in ("images", "masks"):
        assert {path.name for path in (tmp_path / "kept" / folder).iterdir()} == names
    asked = ("export", file, "--data", tmp_path / "set", "--format", "masks", "--ratio", 0.8, "--screening")
    ended = ganaug_command(*asked, "--out", tmp_path / "mixed")
    assert ended.code == 0, ended.err
    assert len(list((tmp_path / "mixed/masks").iterdir())) == 11
    assert names < {path.name for path in (tmp_path / "mixed/images").iterdir()}


def test_dropped_pairs_are_on_the_page(oracle, tmp_path, monkeypatch):
    bank = mixed_bank(fitted=masked(6, 1).fingerprints)
    found, file = screen(bank, masked(6, 1), 20, device="cpu"), bank.save(tmp_path / "b.ganaug")
    keep_result(file, "screening.json", found.to_dict())
    page = ganaug.report(file).read_text()
    assert "Screened away" in page
    assert page.count('alt="Its label map') > 24 + 3
