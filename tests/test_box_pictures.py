import numpy as np
import pytest
import torch
from drawn_boxes import MAGENTA, square_bank, write_yolo
from PIL import Image
from torchvision.transforms import v2

from ganaug.data.box_files import list_boxes
from ganaug.errors import DataError
from ganaug.pictures import draw_rows, stacked
from ganaug.workflow import preview


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    return write_yolo(tmp_path_factory.mktemp("boxes") / "set")


def share_of(picture, colour):
    return (np.abs(np.asarray(picture).astype(int) - colour).max(2) < 40).mean()


def test_below_the_objects_are_scenes_beside_the_real_images_they_are_of(boxes):
    bank = square_bank()
    alone, whole = preview(bank, columns=3), preview(bank, data=boxes, columns=3)
    grid_height = alone.height
    scenes = whole.crop((0, grid_height, whole.width, whole.height))
    rows = 3 * (64 * 5 + 4)  # of 64 x 80 px, enlarged five times
    assert scenes.height >= rows
    real, made = scenes.crop((0, 34, 12 + 400, scenes.height)), scenes.crop((12 + 402, 34, 1650, scenes.height))
    assert share_of(real, MAGENTA) == 0
    assert share_of(made, MAGENTA) > 0.005
    assert np.array_equal(np.asarray(preview(bank, data=boxes, columns=3)), np.asarray(whole))


def test_a_dataset_whose_transforms_make_floats_is_drawn_below_them(boxes):
    files = list_boxes(boxes)

    class Sized:
        transforms = v2.Compose([v2.ToImage(), v2.Resize((32, 40)), v2.ToDtype(torch.float32, scale=True)])

        def __len__(self):
            return len(files)

        def __getitem__(self, index):
            return self.transforms(*files[index])

    picture = preview(square_bank(class_names=("0", "1")), data=Sized(), columns=2)
    assert picture.height > 900


def test_a_class_that_the_data_has_no_object_of_is_said(boxes):
    with pytest.raises(DataError, match="owl"):
        preview(square_bank(class_names=("owl", "red")), data=boxes, classes=["owl"])


def test_pictures_of_any_sizes_are_laid_out_in_rows():
    red, blue = Image.new("RGB", (30, 10), "red"), Image.new("RGB", (20, 40), "blue")
    sheet = draw_rows(("real", "made"), [[red, blue], [blue, red]])
    assert share_of(sheet, (255, 0, 0)) * sheet.width * sheet.height == 600
    assert share_of(sheet, (0, 0, 255)) * sheet.width * sheet.height == 1600
    both = stacked([red, blue])
    assert both.size == (30, 50)
    assert both.getpixel((5, 45)) == (0, 0, 255)
    assert both.getpixel((25, 45)) == (255, 255, 255)
