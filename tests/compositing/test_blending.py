import numpy as np
import pytest

from ganaug.compositing import CutOut, blended
from ganaug.compositing.blending import membrane


def disc(side=30, colour=(200, 40, 40), ground=(100, 100, 100), radius=8, **more):
    y, x = np.mgrid[:side, :side]
    inside = (y - side / 2) ** 2 + (x - side / 2) ** 2 < radius**2
    pixels = np.where(inside[:, :, None], np.uint8(colour), np.uint8(ground)).astype(np.uint8)
    return CutOut(pixels, inside.astype(np.uint8) * np.uint8(255), 0, **more)


def flat(side=30, colour=(100, 100, 100)):
    return np.full((side, side, 3), colour, dtype=np.uint8)


def naive_membrane(edge, inside, rounds=1500):
    """Each unknown pixel the mean of its neighbours, over and over (Gauss-Seidel)."""
    made = np.where(inside[:, :, None], 0.0, edge.astype(np.float64))
    height, width = inside.shape
    count = np.pad(np.ones((height, width, 1)), ((1, 1), (1, 1), (0, 0)))
    for _ in range(rounds):
        padded = np.pad(made, ((1, 1), (1, 1), (0, 0)))
        total = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        number = count[:-2, 1:-1] + count[2:, 1:-1] + count[1:-1, :-2] + count[1:-1, 2:]
        made = np.where(inside[:, :, None], total / number, made)
    return made


def test_a_membrane_is_what_a_naive_solver_finds():
    random = np.random.default_rng(0)
    edge = random.normal(0, 10, (14, 17, 2)).astype(np.float32)
    inside = np.zeros((14, 17), dtype=bool)
    inside[0:9, 4:12] = True  # it reaches the border
    assert np.allclose(membrane(edge, inside), naive_membrane(edge, inside), atol=1e-3)
    assert np.array_equal(membrane(edge, np.zeros_like(inside)), edge)
    assert not membrane(edge, np.ones_like(inside)).any()


def test_a_large_membrane_is_nearly_what_a_naive_solver_finds():
    y, x = np.mgrid[:50, :50]
    edge = np.stack([x + 0.5 * y, 40 * np.sin(x / 20)], 2).astype(np.float32)
    inside = (y - 25) ** 2 + (x - 24) ** 2 < 15**2
    off = np.abs(membrane(edge, inside) - naive_membrane(edge, inside, 2500))
    assert off.mean() < 0.5
    assert off.max() < 4


@pytest.mark.parametrize("blend", ["hard", "feathered", "gaussian", "poisson"])
def test_an_object_is_there_and_its_ground_is_the_scenes(blend):
    ground = flat(colour=(100, 110, 100))
    made = blended(ground, disc(), blend).astype(int)
    assert np.abs(made[13:17, 13:17] - (200, 40, 40)).max() < 16
    assert np.array_equal(made[:4], ground[:4])
    assert np.array_equal(ground, flat(colour=(100, 110, 100)))


def test_a_hard_edge_is_sharp_and_the_others_are_not():
    cutout = disc()
    steps = {}
    for blend in ("hard", "gaussian", "feathered"):
        row = blended(flat(), cutout, blend, softness=1.0)[15, :, 0].astype(int)
        steps[blend] = np.abs(np.diff(row)).max()
    assert steps["hard"] == 100
    assert max(steps["gaussian"], steps["feathered"]) < 80


def test_poisson_keeps_an_objects_contrast_on_another_ground():
    made = blended(flat(colour=(140, 140, 140)), disc(), "poisson").astype(int)
    inside = made[15, 15] - 140
    assert np.abs(inside - (100, -60, -60)).max() < 14  # as against its own ground, a large move being held back
    assert np.abs(made[15, 6].astype(int) - 140).max() == 0


def test_without_knowing_what_was_around_poisson_is_feathered():
    cutout = disc(around=np.array([90, 90, 90], dtype=np.float32))
    assert np.array_equal(blended(flat(), cutout, "poisson"), blended(flat(), cutout, "feathered"))


def test_colours_follow_the_ground():
    ground = flat(colour=(130, 120, 100))
    made = blended(ground, disc(), "hard", colour=1.0)[15, 15].astype(int)
    assert np.abs(made - (230, 60, 40)).max() <= 2
    half = blended(ground, disc(), "hard", colour=0.5)[15, 15].astype(int)
    assert np.abs(half - (215, 50, 40)).max() <= 2
    told = disc(ground=(0, 0, 0), around=np.array([100, 100, 100], dtype=np.float32))
    assert np.abs(blended(ground, told, "hard", colour=1.0)[15, 15].astype(int) - (230, 60, 40)).max() <= 1
