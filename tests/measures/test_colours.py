import pytest
import torch
from scipy.optimize import linear_sum_assignment

from ganaug.measures import tint_distance


def images(seed, count=4):
    return torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_it_is_the_wasserstein_distance_of_differences_of_channels():
    first, second = images(0), images(1) // 2
    squares = []
    for one in (0, 1):
        ours, theirs = ((x[:, one].float() - x[:, one + 1].float()).flatten() for x in (first, second))
        cost = (ours[:, None] - theirs[None]).square()
        rows, columns = linear_sum_assignment(cost.numpy())  # the cheapest way to bring the one to the other
        squares.append(cost[rows, columns].mean().item())
    assert tint_distance(first, second) == pytest.approx((sum(squares) / 2) ** 0.5, rel=0.02)


def test_place_and_light_are_no_matter_and_a_tint_is():
    first = images(0)
    assert tint_distance(first, first.flip(3)) == 0
    grey = first[:, :1].expand(-1, 3, -1, -1) // 2
    tinted = grey.clone()
    tinted[:, 2] += 20
    assert tint_distance(grey, tinted) == pytest.approx(20 / 2**0.5)
    assert tint_distance(grey, grey + 60) == 0
    assert tint_distance(first[:, :1], first[:, :1] // 2) == 0
