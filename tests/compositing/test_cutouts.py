import numpy as np
import pytest

from ganaug.compositing import CutOut, cut, soft_alpha, transformed


def scene(height=60, width=80):
    image = np.full((height, width, 3), 90, dtype=np.uint8)
    image[20:40, 30:60] = (10, 200, 30)
    return image


def test_a_soft_edge_is_at_the_box():
    alpha = soft_alpha((50, 60), (10, 15, 40, 35))
    assert (alpha[25, 10:40] >= 128).all()
    assert (alpha[15:35, 25] >= 128).all()
    assert (alpha[25, :9] < 128).all()
    assert (alpha[25, 41:] < 128).all()
    assert alpha[25, 25] == 255
    assert alpha[0, 0] == alpha[49, 59] == 0
    found = CutOut(np.zeros((50, 60, 3), np.uint8), alpha, 0).box()
    assert found == (10, 15, 40, 35)


def test_what_is_cut_out_has_the_boxs_object_and_a_ring():
    found = cut(scene(), (30, 20, 60, 40), 7)
    assert found.label == 7
    assert found.box() == (3, 3, 33, 23)
    assert found.pixels.shape == (26, 36, 3)
    assert (found.pixels[[0, 1, -2, -1]] == 90).all()
    assert found.ground()[[0, -1]].all()
    assert not found.ground()[13, 18]
    at_the_border = cut(scene(), (0, 0, 10, 12), 1)
    assert at_the_border.box() == (0, 0, 10, 12)


def test_a_mask_is_the_alpha():
    mask = np.zeros((60, 80), dtype=bool)
    mask[25:35, 40:50] = True
    found = cut(scene(), (40, 25, 50, 35), 0, mask)
    assert found.box() == (3, 3, 13, 13)
    assert set(np.unique(found.alpha)) == {0, 255}
    assert cut(scene(), (0, 0, 9, 9), 0, mask) is None


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.0, 1.7])
def test_scaling_keeps_the_object_and_its_proportions(scale):
    found = transformed(cut(scene(), (30, 20, 60, 40), 0), scale=scale)
    left, top, right, bottom = found.box()
    assert abs((right - left) - 30 * scale) <= 1.5
    assert abs((bottom - top) - 20 * scale) <= 1.5
    middle = found.pixels[(top + bottom) // 2, (left + right) // 2]
    assert np.abs(middle.astype(int) - (10, 200, 30)).max() <= 1


def test_at_scale_one_nothing_changes():
    one = cut(scene(), (30, 20, 60, 40), 0)
    same = transformed(one, scale=1.0)
    assert np.array_equal(same.pixels, one.pixels)
    assert np.array_equal(same.alpha, one.alpha)
    mirrored = transformed(one, scale=1.0, flip=True)
    assert np.array_equal(mirrored.pixels, one.pixels[:, ::-1])


def test_a_quarter_turn_is_a_quarter_turn():
    one = cut(scene(), (30, 20, 60, 40), 0)
    pixels = one.pixels.copy()
    pixels[4, 4] = 255
    turned = transformed(CutOut(pixels, one.alpha, 0), scale=1.0, angle=90)
    assert turned.box() == (3, 3, 23, 33)
    assert np.array_equal(turned.pixels, np.rot90(pixels, -1))
    forty_five = transformed(one, scale=1.0, angle=45)
    _, top, _, bottom = forty_five.box()
    assert bottom - top > 26
    assert forty_five.alpha[0, 0] == 0


def test_a_grey_cut_out_stays_grey():
    one = cut(scene()[:, :, :1], (30, 20, 60, 40), 0)
    assert transformed(one, scale=0.6, angle=10).pixels.shape[2] == 1
