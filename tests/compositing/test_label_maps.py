import numpy as np
import pytest
from scipy import ndimage

from ganaug.compositing import MapComposer, class_shares
from ganaug.compositing.label_maps import IGNORED, pulled


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
    return np.stack([composer.compose(np.random.default_rng(seed)).map for seed in range(count)])


def test_the_same_seed_gives_the_same_map():
    maps = discs()
    assert np.array_equal(composed(maps, 5), composed(maps, 5))
    composer = MapComposer(maps, 3, mirror=False)
    assert 0 <= composer.compose(np.random.default_rng(0)).base < len(maps)


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
        composer._put(after, found, random, None, None)
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


COLOURS = np.array([[60, 90, 120], [200, 40, 80], [120, 220, 30]], np.uint8)  # of the classes


@pytest.mark.parametrize("mirror", [False, True])
def test_known_pixels_of_a_sketch_show_what_the_map_says(mirror):
    maps = discs()
    composer = MapComposer(maps, 3, mirror=mirror, images=COLOURS[maps].transpose(0, 3, 1, 2))
    whole, unknown = 0, 0
    for seed in range(40):
        made = composer.compose(np.random.default_rng(seed))
        assert (made.sketch.dtype, made.sketch.shape, made.known.shape) == (np.uint8, (3, 64, 64), (64, 64))
        near = ndimage.maximum_filter(made.map, 3) != ndimage.minimum_filter(made.map, 3)  # borders are interpolated
        sure = made.known & ~near
        apart = np.abs(made.sketch.transpose(1, 2, 0)[sure].astype(int) - COLOURS[made.map][sure]).max(1)
        assert (apart > 2).mean() < 0.01
        whole += made.known.all()
        unknown += (~made.known).sum()
        assert np.array_equal(made.map, MapComposer(maps, 3, mirror=mirror).compose(np.random.default_rng(seed)).map)
    assert 0 < whole < 40
    assert unknown > 40


def test_pixels_of_an_object_come_from_images_that_look_alike():
    maps = discs(6)
    colours = COLOURS // np.array([1, 1, 1, 4, 4, 4])[:, None, None]  # three bright images, three dark
    images = np.stack([one[found].transpose(2, 0, 1) for one, found in zip(colours, maps, strict=True)])
    composer = MapComposer(maps, 3, mirror=True, images=images)
    for base in range(6):
        weights = composer._weights_near(base)
        assert weights.sum() == pytest.approx(1)
        assert {found.source // 3 for found, one in zip(composer._objects, weights, strict=True) if one} == {base // 3}
    for seed in range(20):
        made = composer.compose(np.random.default_rng(seed))
        assert (made.sketch.max() > 110) == (made.base < 3)


def test_a_sketch_of_any_map_has_the_nearest_pixels_of_its_classes():
    maps = discs(2)
    image = COLOURS[maps[0]].transpose(2, 0, 1).copy()
    sketch, known = pulled(maps[1].astype(np.int64), maps[0], image)
    assert known.all()
    assert np.array_equal(sketch, COLOURS[maps[1]].transpose(2, 0, 1))
    none = np.where(maps[1] == 2, 5, maps[1]).astype(np.int64)
    assert np.array_equal(pulled(none, maps[0], image)[1], none != 5)


def test_halos_are_not_pulled_along():
    maps = discs(2)
    image = COLOURS[maps[0]].transpose(2, 0, 1).copy()
    edge = ndimage.binary_dilation(maps[0] > 0) & (ndimage.binary_erosion(maps[0] > 0) == 0)
    image[:, edge] = 7
    sketch, _ = pulled(maps[1].astype(np.int64), maps[0], image)
    assert np.array_equal(sketch, COLOURS[maps[1]].transpose(2, 0, 1))
    thin = np.zeros((16, 16), np.uint8)
    thin[:, 8] = 1
    line = np.where(thin, 200, 20).astype(np.uint8)[None]
    assert np.array_equal(pulled(thin.T.astype(np.int64), thin, line)[0][0], line[0].T), "a line has no inside"


def test_an_object_takes_the_colour_of_the_ground_that_it_comes_to():
    maps = discs(1)
    composer, random = MapComposer(maps, 3, mirror=False, images=COLOURS[maps].transpose(0, 3, 1, 2)), None
    random = np.random.default_rng(1)
    (found,) = [one for one in composer._objects if one.cls == 1]
    ground, sketch = np.zeros((64, 64), np.uint8), np.full((3, 64, 64), 100, np.uint8)
    known = np.ones((64, 64), bool)
    composer._put(ground, found, random, sketch, known)
    inside = ndimage.binary_erosion(ground == 1)
    assert inside.any()
    wanted = COLOURS[1].astype(int) + 100 - COLOURS[0]
    assert np.abs(sketch[:, inside].mean(1) - wanted).max() < 2
    assert known[inside].all()
    ring = ndimage.binary_dilation(ground == 1) & (ground == 0)
    assert not known[ring].any()
