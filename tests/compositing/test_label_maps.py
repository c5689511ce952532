import numpy as np
import pytest
from scipy import ndimage

from ganaug.compositing import MapComposer, class_shares
from ganaug.compositing.label_maps import IGNORED


def discs(count=4, side=64, classes=3):
    """Class 0 with one large disc of class 1 and a small one of class 2 in each map."""
    maps = np.zeros((count, side, side), np.uint8)
    y, x = np.mgrid[:side, :side]
    for row, one in enumerate(maps):
        one[(y - 24 - row) ** 2 + (x - 22) ** 2 < 100] = 1
        one[(y - 46) ** 2 + (x - 46 + row) ** 2 < 16] = classes - 1
    return maps


def composed(maps, count=40, mirror=True, classes=3):
    composer = MapComposer(maps, classes, mirror=mirror)
    return np.stack([composer.compose(np.random.default_rng(seed))[0] for seed in range(count)])


def test_the_same_seed_gives_the_same_map():
    maps = discs()
    assert np.array_equal(composed(maps, 5), composed(maps, 5))
    composer = MapComposer(maps, 3, mirror=False)
    assert 0 <= composer.compose(np.random.default_rng(0))[1] < len(maps)


def test_new_maps_are_new_and_of_the_same_classes():
    maps = discs()
    made = composed(maps)
    assert made.dtype == np.uint8
    assert set(np.unique(made)) <= {0, 1, 2}
    assert all((one != real).any() for one in made for real in maps)
    assert len({one.tobytes() for one in made}) == len(made)


def test_objects_are_put_on_their_own_ground_alone():
    maps = discs()
    maps[:, :, :6] = IGNORED
    composer, random = MapComposer(maps, 3, mirror=True), np.random.default_rng(0)
    put = 0
    for found in composer._objects * 5:
        before = maps[0].copy()
        after = before.copy()
        composer._put(after, found, random)
        changed = before != after
        assert set(np.unique(before[changed])) <= {0}
        assert set(np.unique(after[changed])) <= {found.cls}
        around = ndimage.binary_dilation(changed) & ~changed
        assert set(np.unique(after[around])) <= {0}
        put += changed.any()
    assert put > 10


def test_rare_objects_are_put_more_often():
    shares, made = class_shares(discs(), 3), class_shares(composed(discs(), 80), 3)
    assert shares.sum() == pytest.approx(1)
    assert made[2] / shares[2] > made[1] / shares[1]


def test_maps_without_objects_are_warped_whole():
    stripes = np.zeros((2, 32, 32), np.uint8)
    stripes[:, :, ::8] = 1
    made = composed(stripes, 10, classes=2)
    assert all((one != stripes[0]).any() for one in made)
    assert abs(class_shares(made, 2)[1] - class_shares(stripes, 2)[1]) < 0.06


def test_pixels_of_no_class_stay_of_none():
    maps = discs()
    maps[:, :, 60:] = IGNORED
    made = composed(maps, 10, mirror=False)
    assert (made == IGNORED).any()
    assert class_shares(maps, 3).sum() == pytest.approx(1)
