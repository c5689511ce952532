import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.errors import OutputError
from ganaug.pictures import as_picture, draw_boxes, draw_curves, draw_grid, save_picture


def flat(*shades, channels=3, side=32):
    return torch.stack([torch.full((channels, side, side), shade, dtype=torch.uint8) for shade in shades])


def test_a_grid_shows_every_image_in_its_place():
    cats, dogs = flat(10, 40, 70), flat(100, 130)
    grid = draw_grid([("real", {"cat": cats, "dog": dogs}), ("synthetic", {"cat": flat(200), "dog": flat(230)})])
    pixels = np.asarray(grid)[30:, :, 0]  # below the headings, whose letters have edges of every shade
    first = np.argwhere(pixels == 10).min(0)
    assert [int(pixels[first[0] + 5, first[1] + 5 + 66 * column]) for column in range(3)] == [10, 40, 70]
    assert [int(pixels[first[0] + 5 + 68, first[1] + 5 + 66 * column]) for column in range(2)] == [100, 130]
    assert int(pixels[first[0] + 5, first[1] + 5 + 3 * 66 + 12]) == 200
    assert int(pixels[first[0] + 5 + 68, first[1] + 5 + 3 * 66 + 12]) == 230


def test_boxes_are_drawn_where_they_are_in_a_colour_for_each_class():
    picture = Image.new("L", (40, 20), 128)
    boxes = [(4, 10, 14, 18), (20, 2, 40, 20), (25, 8, 35, 14)]
    pixels = np.asarray(draw_boxes(picture, boxes, [1, 0, 1], ("a", "b"), side=170))
    assert pixels.shape == (80, 160, 3), "by a whole factor"
    first, second = pixels[71, 16], pixels[79, 80]
    assert not np.array_equal(first, second)
    assert np.array_equal(first, pixels[55, 139])
    assert pixels[66, 40].tolist() == [128] * 3, "nothing lies within"
    assert np.asarray(draw_boxes(picture, boxes, [1, 0, 1], ("a", "b"), side=10)).shape == (5, 10, 3)


def test_a_grid_has_so_many_columns_and_enlarges_by_a_whole_factor_without_smoothing():
    image = torch.randint(0, 2, (12, 1, 16, 16), dtype=torch.uint8) * 255
    wide, narrow = draw_grid([("x", {"a": image})]), draw_grid([("x", {"a": image})], columns=3)
    assert wide.width - narrow.width == 5 * 66
    pixels = np.asarray(draw_grid([("", {"": image[:1]})], columns=1))[34:98, 24:88, 0]
    assert np.array_equal(pixels, np.kron(image[0, 0].numpy(), np.ones((4, 4), np.uint8)))


@pytest.mark.parametrize("name", ["猫 кошка قطة", "x" * 500, "a\nb", ""])
def test_any_name_can_stand_in_a_grid(name):
    assert draw_grid([(name, {name: flat(1)})]).width < 500


def test_more_rows_than_images_in_a_panel_is_fine():
    assert draw_grid([("real", {"cat": flat(1, 2), "dog": flat(3)[:0]})]).height > 2 * 64


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_tensors_as_pictures(channels, mode):
    image = torch.randint(0, 255, (channels, 5, 7), dtype=torch.uint8)
    picture = as_picture(image)
    assert (picture.mode, picture.size) == (mode, (7, 5))
    assert np.array_equal(np.asarray(picture).reshape(5, 7, channels), image.permute(1, 2, 0).numpy())


def test_curves_show_each_measure_and_the_mark():
    one = draw_curves({"score": ([0, 1], [0.1, 0.9])}, horizontal="kimg")
    four = draw_curves({name: ([0, 1], [0.1, 0.9]) for name in "abcd"}, horizontal="kimg")
    marked = draw_curves({"score": ([0, 1], [0.1, 0.9])}, horizontal="kimg", mark=0.5)
    assert four.width == pytest.approx(3 * one.width, abs=3)
    assert four.height == pytest.approx(2 * one.height, abs=3)
    assert np.any(np.asarray(one) != np.asarray(marked))
    assert draw_curves({"score": ([3], [0.1]), "empty": ([], [])}, horizontal="kimg").width > one.width


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    picture = Image.new("RGB", (4, 4), "red")
    save_picture(picture, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as back:
        assert back.format == "PNG"
        assert back.getpixel((0, 0)) == (255, 0, 0)
    before = (tmp_path / "a.png").read_bytes()

    def full(self, path, *_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="No space left on device"):
        save_picture(picture, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_picture_cannot_be_written_where_there_is_no_folder(tmp_path):
    with pytest.raises(OutputError, match="No such file"):
        save_picture(Image.new("L", (1, 1)), tmp_path / "nowhere" / "a.png")


def test_what_went_wrong_is_marked_on_every_chart():
    curves = {"score": ([0.0, 1.0], [0.2, 0.4]), "coverage": ([0.0, 1.0], [0.5, 0.6])}
    plain = np.asarray(draw_curves(curves, horizontal="kimg")).astype(int)
    marked = np.asarray(draw_curves(curves, horizontal="kimg", events=[(0.5, "collapse")])).astype(int)
    changed = (plain != marked).any(2)
    half = changed.shape[1] // 2
    assert changed[:, :half].sum() > 50
    assert changed[:, half:].sum() > 50
