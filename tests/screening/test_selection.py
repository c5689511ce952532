from collections import Counter
from dataclasses import replace

import numpy as np
import planted
import pytest
import torch

from ganaug.errors import BankError, DataError, LeakError
from ganaug.screening import Tally, screen

pytestmark = pytest.mark.well_taught


def test_what_was_planted_is_found_for_its_reason(found, kinds):
    for index, kept in found.kept.items():
        assert len(kept) == 30
        seen = Counter(map(kinds, kept))
        assert seen["good"] >= 28
        assert not seen["doubted"] + seen["copy"] + seen["redundant"]
        dropped = found.examples[index]
        mirrored_too = {"doubted", "copy"}  # these patterns are no class of the judge's once they are mirrored
        assert set(map(kinds, dropped["doubted"])) <= mirrored_too
        assert set(map(kinds, dropped["copy"])) == {"copy"}
        assert set(map(kinds, dropped["redundant"])) == {"redundant"}
        assert "far" in set(map(kinds, dropped["far"]))


def test_counts_agree(found):
    for index, tally in found.tallies.items():
        assert tally.asked == tally.kept == len(found.kept[index])
        assert tally.drawn == found.kept[index][-1] + 1  # no sample is drawn after the last one that is wanted
        assert tally.drawn == tally.kept + tally.doubted + tally.far + tally.copy + tally.redundant
        assert (np.diff(found.kept[index]) > 0).all()


def test_soft_labels_are_the_judges_probabilities(found, real):
    assert found.judged == real.class_names
    for index, soft in found.soft.items():
        assert soft.shape == (30, 4)
        assert soft.dtype == np.float32
        assert np.allclose(soft.sum(1), 1, atol=1e-5)
        assert soft[:, index].mean() > 0.9


@pytest.mark.slow
def test_the_same_again_and_whoever_wants_fewer_gets_the_first_of_them(bank, real, settings, found):
    fewer = screen(bank, real, {"bee": 10, 3: 30}, settings=settings, device="cpu")
    assert list(fewer.kept) == [1, 3]
    assert np.array_equal(fewer.kept[1], found.kept[1][:10])
    assert np.array_equal(fewer.kept[3], found.kept[3])
    assert np.allclose(fewer.soft[3], found.soft[3])
    other = screen(bank, real, {"doe": 30}, settings=settings, seed=1, device="cpu")
    assert not np.array_equal(other.kept[3], found.kept[3])


def test_a_class_that_cannot_be_filled_is_told(real, settings):
    liar = planted.bank_of()
    liar.sample_at = lambda index, indices, seed=0: torch.stack(
        [planted.draw(0, 1, 900 + i, 50.0)[0] for i in indices]  # every class looks like ant
    )
    found = screen(liar, real, {"ant": 10, "bee": 10}, settings=settings, device="cpu")
    assert found.short == {"bee": (10, 0)}
    assert found.tallies[1] == Tally(asked=10, drawn=30, kept=0, doubted=30)
    assert found.soft[1].shape == (0, 4)
    assert "0 of 10 of 'bee'" in found.summary
    assert found.tallies[0].kept == 10


def test_nothing_is_dropped_where_all_is_off(bank, real, quick):
    off = quick.model_copy(update={"copies": None})
    found = screen(bank, real, 20, settings=off, device="cpu")
    assert all(kept.tolist() == list(range(20)) for kept in found.kept.values())


def test_as_many_as_real_images_by_default_and_the_recipes_settings(bank_with, real, quick):
    bank = bank_with(**{"screening.steps": 2, "screening.judges": 2, "screening.draw": 1})
    found = screen(bank, real, device="cpu")
    assert found.settings == bank.recipe.screening
    assert [tally.asked for tally in found.tallies.values()] == [40] * 4


def test_classes_that_only_one_side_knows(bank, real, quick):
    names = ("elk", "bee", "cow", "fox")
    found = screen(bank, replace(real, class_names=names), 3, settings=quick, device="cpu")
    assert found.names == {1: "bee", 2: "cow"}
    assert found.judged == names


def test_images_that_were_held_back_are_refused(bank, real):
    manifest = bank.manifest.model_copy(update={"held_back_fingerprints": real.fingerprints[:3]})
    with pytest.raises(LeakError, match="3 of the images were held back"):
        screen(type(bank)(manifest, list(bank.generators)), real)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"bees": 3}, "no class 'bees'; did you mean 'bee'"),
        ({7: 3}, "no class 7"),
        (-1, "is -1; give a whole number"),
        (2.5, "is 2.5; give a whole number"),
        ({"bee": True}, "is True"),
        (0, "no samples are asked for"),
        ({}, "no samples are asked for"),
    ],
)
def test_counts_out_of_range_are_named(bank, real, counts, said):
    with pytest.raises(BankError, match=said):
        screen(bank, real, counts)


def test_images_that_do_not_fit_the_bank_are_refused(bank, real):
    with pytest.raises(DataError, match="share no class"):
        screen(bank, replace(real, class_names=("elk", "fox", "gnu", "hen")))
    with pytest.raises(DataError, match=r"are \(1, 8, 8\) and the bank's \(1, 16, 16\)"):
        screen(bank, replace(real, images=real.images[..., ::2, ::2]))
    with pytest.raises(DataError, match="leave it out"):
        screen(bank, real, classes=["bee"])
