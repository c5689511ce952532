import pytest
import torch

from ganaug.data import stratified_split
from ganaug.errors import DataError

LABELS = [0] * 10 + [1] * 4 + [7] * 2


def test_every_class_gives_its_share_and_nothing_is_lost():
    rest, held = stratified_split(LABELS, 0.3, seed=0)
    assert sorted(rest + held) == list(range(16))
    assert [sum(LABELS[i] == c for i in held) for c in (0, 1, 7)] == [3, 1, 1]
    assert rest == sorted(rest)
    assert held == sorted(held)


def test_a_class_keeps_at_least_one():
    rest, held = stratified_split(LABELS, 0.99, seed=0)
    assert [sum(LABELS[i] == c for i in rest) for c in (0, 1, 7)] == [1, 1, 1]
    assert len(held) == 13


def test_the_seed_alone_decides():
    assert stratified_split(LABELS, 0.3, 5) == stratified_split(torch.tensor(LABELS), 0.3, 5)
    assert len({tuple(stratified_split(LABELS, 0.3, seed)[1]) for seed in range(8)}) > 4
    before = torch.random.get_rng_state()
    stratified_split(LABELS, 0.3, 5)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("labels", "fraction"), [([0, 0, 1], 0.5), ([0, 0], 0.0), ([0, 0], 1.0), ([0, 0], float("nan"))]
)
def test_what_cannot_be_split_is_an_error(labels, fraction):
    with pytest.raises(DataError):
        stratified_split(labels, fraction, 0)
