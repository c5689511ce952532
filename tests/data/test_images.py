import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from ganaug.data import fingerprint, from_square, open_image, to_channels, to_square, to_uint8
from ganaug.data import images as images_module
from ganaug.errors import DataError


def test_a_good_file_is_opened_decoded_and_upright(tmp_path, draw):
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    draw(1, (30, 10)).save(tmp_path / "a.jpg", exif=exif)
    image = open_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").unlink()
    assert image.size == (10, 30)
    assert to_uint8(image).shape == (30, 10, 3)


def _truncated(path, draw):
    draw(1, (200, 200)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:900])


def _text(path, draw):
    path.write_text("this is no picture")


def _empty(path, draw):
    path.write_bytes(b"")


def _loop(path, draw):
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_truncated, "cut short"),
        (_text, "not an image"),
        (_empty, "empty (0 bytes)"),
        (_loop, "link that leads to no file"),
        (lambda path, draw: path.mkdir(), "not a file"),
        (lambda path, draw: None, "does not exist"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, draw, make, said):
    path = tmp_path / "bad one.jpg"
    make(path, draw)
    with pytest.raises(DataError) as caught:
        open_image(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_huge_image_is_refused_from_its_header(tmp_path, draw, monkeypatch):
    draw(1, (50, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(images_module, "MAX_PIXELS", 2499)
    with pytest.raises(DataError, match=r"a\.png: is too large \(50 x 50"):
        open_image(tmp_path / "a.png")
    monkeypatch.setattr(images_module, "MAX_PIXELS", 2500)
    assert open_image(tmp_path / "a.png").size == (50, 50)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own limit is twice this
    with pytest.raises(DataError, match=r"a\.png: is too large"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["1", *"LPF", "LA", "La", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_every_pil_mode_keeps_its_picture(draw, mode):
    rgb = draw(3)
    by_way_of = {"RGBa": "RGBA", "La": "LA"}.get(mode, mode)
    pixels = to_uint8(rgb.convert(by_way_of).convert(mode))
    grey = mode in {"1", "L", "LA", "La", "F"}
    wanted = np.asarray(rgb.convert("L" if grey else "RGB"), dtype=float).reshape(20, 24, -1)
    assert pixels.dtype == np.uint8
    assert pixels.shape == wanted.shape
    # two and 216 colours are dithered: a pixel may be far off, the picture is not
    assert abs(pixels - wanted).mean() < {"1": 110, "P": 25, "PA": 25}.get(mode, 6)
    assert abs(pixels.mean() - wanted.mean()) < 6


def test_lab_keeps_its_colours(draw):
    from PIL import ImageCms

    rgb = draw(3)
    lab = ImageCms.profileToProfile(
        rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert abs(to_uint8(lab).astype(int) - np.asarray(rgb)).mean() < 4


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert (to_uint8(clear) == 255).all()
    assert to_uint8(Image.new("LA", (2, 2), (0, 0))).tolist() == [[[255]] * 2] * 2
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    assert to_uint8(palette).tolist() == [[[9, 8, 7]] * 2] * 2
    palette.info["transparency"] = 1
    assert (to_uint8(palette) == 255).all()


def test_sixteen_bits_are_scaled_by_their_range(tmp_path):
    values = np.array([[0, 257, 65535, 32896]], dtype=np.uint16)
    wanted = [0, 1, 255, 128]
    Image.fromarray(values).save(tmp_path / "wide.png")
    assert to_uint8(open_image(tmp_path / "wide.png")).ravel().tolist() == wanted
    assert to_uint8(Image.fromarray(values.astype(np.int32))).ravel().tolist() == wanted
    assert to_uint8(values).ravel().tolist() == wanted
    assert to_uint8(torch.from_numpy(values)).ravel().tolist() == wanted


def test_tensors_and_arrays_agree_with_pil(draw):
    image = draw(4)
    wanted = np.asarray(image)
    tensor = torch.from_numpy(wanted.copy()).permute(2, 0, 1)
    forms = [
        tensor,
        tv_tensors.Image(tensor),
        F.to_dtype(tensor, torch.float32, scale=True),
        F.to_dtype(tensor, torch.float64, scale=True),
        wanted,
        wanted.transpose(2, 0, 1),
        wanted.astype(np.int64),
        (wanted / 255).astype(np.float32),
    ]
    for form in forms:
        assert (to_uint8(form) == wanted).all()
    assert to_uint8(np.array([[True, False]])).ravel().tolist() == [255, 0]
    assert to_uint8(torch.zeros(5, 6, dtype=torch.uint8)).shape == (5, 6, 1)
    assert (to_uint8(np.zeros((5, 6, 4), np.uint8)) == 255).all()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (torch.randn(3, 8, 8), "normalised.*raw="),
        (torch.full((3, 8, 8), float("nan")), "normalised"),
        (np.full((8, 8), 300), "wanted 0 to 255"),
        (np.zeros((8, 8, 8, 3), np.uint8), "shape"),
        (np.zeros((40, 40, 33), np.uint8), "shape"),
        (np.zeros((0, 8, 3), np.uint8), "no pixels"),
        ("a.jpg", "is a str"),
        (np.zeros((8, 8), complex), "complex"),
    ],
)
def test_what_is_no_image_is_an_error_that_says_so(image, said):
    with pytest.raises(DataError, match=said):
        to_uint8(image)


def test_square_by_crop_pad_and_stretch():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, :10] = 50
    wide[:, 20:] = 200
    assert (to_square(wide, 10, "crop") == 0).all()
    stretched = to_square(wide, 9, "stretch")
    assert stretched.shape == (9, 9, 3)
    assert np.allclose(stretched[4, [0, 4, 8], 0], [50, 0, 200], atol=2)
    padded = to_square(wide, 30, "pad")
    assert (padded[:10] == wide[:1]).all()
    assert (padded[-10:] == wide[:1]).all()
    assert to_square(np.zeros((1, 500, 1), np.uint8), 16, "pad").shape == (16, 16, 1)
    with pytest.raises(DataError, match="'squash'"):
        to_square(wide, 10, "squash")


def test_shrinking_averages_instead_of_picking():
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None]
    small = to_square(board, 16, "crop")
    assert abs(small.astype(int) - 127).max() < 12


def test_channels_there_and_back():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    rgb = to_channels(grey, 3)
    assert rgb.shape == (16, 16, 3)
    assert (to_channels(rgb, 1) == grey).all()
    green = np.zeros((2, 2, 3), np.uint8)
    green[..., 1] = 255
    assert to_channels(green, 1)[0, 0, 0] == 150
    with pytest.raises(DataError, match="has 1 channels and 4 are wanted"):
        to_channels(grey, 4)


def test_a_fingerprint_follows_the_pixels_not_the_form(tmp_path, draw):
    image = draw(5)
    image.save(tmp_path / "a.png")
    wanted = fingerprint(image)
    assert len(wanted) == 32
    assert int(wanted, 16) >= 0
    assert fingerprint(open_image(tmp_path / "a.png")) == wanted
    assert fingerprint(F.pil_to_tensor(image)) == wanted
    assert fingerprint(F.to_dtype(F.pil_to_tensor(image), torch.float32, scale=True)) == wanted
    grey = image.convert("L")
    assert fingerprint(grey) == fingerprint(grey.convert("RGB")) != wanted
    changed = np.asarray(image).copy()
    changed[0, 0, 0] ^= 1
    assert fingerprint(changed) != wanted
    flat = np.zeros((2, 8, 1), np.uint8)
    assert fingerprint(flat) != fingerprint(flat.reshape(4, 4, 1))


def test_a_turned_photograph_has_one_fingerprint(tmp_path, draw):
    exif = Image.Exif()
    exif[274] = 3
    draw(6).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as as_stored:
        assert fingerprint(as_stored.convert("RGB")) == fingerprint(open_image(tmp_path / "a.jpg"))


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (40, 40)])
@pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
def test_from_square_puts_back_what_to_square_kept(size, how):
    height, width = size
    slope = np.add.outer(np.arange(height) * 2, np.arange(width) * 2).clip(0, 255).astype(np.uint8)[:, :, None]
    back = from_square(to_square(slope, 40, how), size, how)
    assert back.shape == slope.shape
    kept = slice(10, 30), slice(10, 30)  # the centre of the shorter side, which every way keeps
    centre = [
        slice((side - 40) // 2 + part.start, (side - 40) // 2 + part.stop)
        for side, part in zip(size, kept, strict=True)
    ]
    assert np.abs(back[tuple(centre)].astype(int) - slope[tuple(centre)].astype(int)).max() <= 4
