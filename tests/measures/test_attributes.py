import pytest
import torch

from ganaug.measures import ATTRIBUTES


def square(top=12, left=12, size=8, value=255, ground=0, channels=1, side=32):
    image = torch.full((1, channels, side, side), ground, dtype=torch.uint8)
    image[:, :, top : top + size, left : left + size] = value
    return image


def said(name, image):
    (value,) = ATTRIBUTES[name](image).tolist()
    return value


def colour(red, green, blue):
    return torch.tensor([red, green, blue], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8)


def test_known_images():
    assert said("brightness", torch.full((1, 1, 4, 4), 51, dtype=torch.uint8)) == pytest.approx(0.2)
    assert said("brightness", colour(255, 0, 0)) == pytest.approx(0.299)
    halves = torch.tensor([[0, 255]], dtype=torch.uint8).expand(1, 1, 4, 2)
    assert said("contrast", halves) == pytest.approx(0.5)
    assert said("saturation", colour(255, 51, 0)) == pytest.approx(1.0)
    assert said("green_to_red", colour(0, 255, 0)) == pytest.approx(-1.0)
    assert said("blue_to_yellow", colour(0, 0, 255)) == pytest.approx(-1.0)
    assert said("filled", square(size=16, top=8, left=8)) == pytest.approx(0.25)
    assert said("filled", square(size=16, top=8, left=8, value=0, ground=200)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("across", square(left=4), square(left=20)),
        ("down", square(top=4), square(top=20)),
        ("extent", square(size=4, top=14, left=14), square(size=16, top=8, left=8)),
        ("filled", square(size=4), square(size=12)),
        ("contrast", square(value=100), square(value=200)),
        ("brightness", square(ground=20), square(ground=90)),
    ],
)
def test_what_grows(name, less, more):
    assert said(name, less) < said(name, more) - 0.03


def test_a_place_is_in_sides_and_a_dark_object_has_the_same():
    apart = said("across", square(left=20)) - said("across", square(left=4))
    assert apart == pytest.approx(16 / 31, abs=1e-3)
    assert said("across", square(left=20, value=0, ground=255)) == pytest.approx(
        said("across", square(left=20)), abs=1e-4
    )


def test_a_line_leans_and_stands():
    line = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    for step in range(24):
        line[0, 0, 27 - step, 4 + step] = 255
    assert said("slant", line) > 0.8
    assert said("slant", line.flip(-1)) < -0.8
    upright = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    upright[:, :, 4:28, 15:17] = 255
    assert said("tallness", upright) > 0.8
    assert said("tallness", upright.transpose(2, 3)) < -0.8


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_images_have_figures_too(value, channels):
    flat = torch.full((3, channels, 16, 16), value, dtype=torch.uint8)
    for name, measure in ATTRIBUTES.items():
        found = measure(flat)
        assert found.shape == (3,)
        assert found.dtype == torch.float32
        assert found.isfinite().all(), name
        assert name == "brightness" or found.abs().max() < 1e-6


def test_an_image_is_measured_alone():
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for measure in ATTRIBUTES.values():
        torch.testing.assert_close(measure(images)[2:3], measure(images[2:3]), atol=1e-5, rtol=1e-4)
