import io

import numpy as np
import pytest
from PIL import Image

from ganaug.data import fingerprint, near_copies, perceptual_print, read_images
from ganaug.data.fingerprints import NEAR


def scene(seed, side=32):
    """A smooth colour picture with an edge: RGB, as unlike another seed's as two photographs are."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC)).copy()
    pixels[side // 2 :, : side // 3] //= 2
    return Image.fromarray(pixels)


def as_jpeg(image, quality=75):
    held = io.BytesIO()
    image.save(held, "JPEG", quality=quality)
    return Image.open(io.BytesIO(held.getvalue()))


def brighter(image):
    return Image.fromarray((np.asarray(image) * 0.85 + 20).astype(np.uint8))


CHANGES = {
    "jpeg": as_jpeg,
    "smaller": lambda image: image.resize((24, 24), Image.Resampling.BILINEAR),
    "larger": lambda image: image.resize((75, 75), Image.Resampling.BICUBIC),
    "brighter": brighter,
    "grey": lambda image: image.convert("L"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_near_copies_are_found_and_nothing_else(change):
    originals = [scene(seed) for seed in range(40)]
    changed = [CHANGES[change](originals[index]) for index in (31, 5, 18)] + [scene(77)]
    assert not {fingerprint(image) for image in changed} & {fingerprint(image) for image in originals}
    found = near_copies(*([perceptual_print(image) for image in images] for images in (changed, originals)))
    assert found == [(0, 31), (1, 5), (2, 18)]


def test_distances_are_those_of_the_waves():
    from scipy.fft import dctn

    def waves(image):
        grey = np.asarray(image.convert("L"), dtype=float)  # 32 px already
        kept = dctn(grey, norm="ortho")[:8, :8].ravel()[1:]
        return kept / np.linalg.norm(kept)

    a, b = scene(1), as_jpeg(scene(1), 20)
    apart = float(np.linalg.norm(waves(a) - waves(b)))
    prints = [perceptual_print(image) for image in (a, b)]
    assert apart > 0.01
    assert near_copies(prints[:1], prints[1:], within=apart + 0.02) == [(0, 0)]
    far = float(np.linalg.norm(waves(a) - waves(scene(2))))
    other = [perceptual_print(scene(2))]
    assert near_copies(prints[:1], other, within=far + 0.02) == [(0, 0)]
    assert near_copies(prints[:1], other, within=far - 0.02) == []
    assert far > 5 * NEAR


def test_an_image_that_shows_nothing_is_near_to_nothing():
    blank, noisy = np.full((28, 28), 200, np.uint8), np.full((28, 28), 200, np.uint8)
    noisy[3, 3] = 203
    prints = [perceptual_print(image) for image in (blank, noisy)]
    assert prints == ["", ""]
    assert near_copies(prints, prints) == []
    assert near_copies([], prints) == near_copies([perceptual_print(scene(0))], []) == []


def test_many_are_compared_in_chunks(monkeypatch):
    monkeypatch.setattr("ganaug.data.fingerprints._CHUNK", 3)
    prints = [perceptual_print(scene(seed)) for seed in range(8)]
    assert near_copies(prints, ["", *prints[::-1]]) == [(index, 8 - index) for index in range(8)]
    assert len(prints[0]) == 84


def test_what_is_read_knows_its_prints_and_keeps_them_in_parts(image_folder):
    data = read_images(image_folder, resolution=8)
    with Image.open(image_folder / "cat" / "00.png") as first:
        assert data.perceptual[0] == perceptual_print(first)  # of the whole image
    assert len(data.perceptual) == 21
    assert data.subset([3, 1]).perceptual == (data.perceptual[3], data.perceptual[1])
