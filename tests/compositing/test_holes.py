import numpy as np
import pytest

from ganaug.compositing import holes
from ganaug.compositing.holes import drawn_hole, placed, widened


@pytest.mark.parametrize("size", [(64, 64), (30, 90)])
def test_holes_take_about_the_share_asked_for(size):
    random = np.random.default_rng(0)
    for share in (0.03, 0.2):
        made = [drawn_hole(size, share, random) for _ in range(200)]
        shares = np.array([hole.mean() for hole in made])
        assert all(hole.shape == size and hole.dtype == bool for hole in made)
        assert shares.min() > 0
        assert 0.6 * share < shares.mean() < 1.5 * share
        assert shares.max() < 3 * share


@pytest.mark.parametrize("kind", ["_rectangle", "_ellipse", "_strokes", "_blob"])
def test_every_kind_lies_anywhere(kind):
    random = np.random.default_rng(1)
    hit = np.mean([getattr(holes, kind)((32, 32), 0.1, random) for _ in range(300)], axis=0)
    assert hit[8:24, 8:24].min() > 0.02
    assert hit.mean() == pytest.approx(0.1, rel=0.4)


def test_the_least_image_has_a_hole():
    random = np.random.default_rng(2)
    assert all(drawn_hole((1, 2), 0.01, random).any() for _ in range(50))


def test_an_object_is_widened_by_its_size():
    region = np.zeros((40, 60), dtype=bool)
    region[10:15, 20:50] = True
    region[12, 55] = False
    wide = widened(region, 0.1)
    naive = np.zeros_like(region)
    for y, x in zip(*np.nonzero(region), strict=True):
        naive[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = True
    assert np.array_equal(wide, naive)
    region[:] = False
    region[0, 0] = True
    assert widened(region, 0.1).sum() == 9  # 2 pixels at the least, and the border
    assert not widened(np.zeros((3, 3), dtype=bool), 0.1).any()


def test_a_shape_is_placed_whole():
    random = np.random.default_rng(3)
    shape = np.tri(5, 7, dtype=bool)
    for _ in range(20):
        hole = placed(shape, (9, 8), random)
        assert hole.sum() == shape.sum()
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        part = hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        bare = shape[:, shape.any(0)]
        assert np.array_equal(part, bare) or np.array_equal(part, bare[:, ::-1])
