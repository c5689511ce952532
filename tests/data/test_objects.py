import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from ganaug.data.objects import CONTEXT, read_objects
from ganaug.errors import DataError

SIZE = (60, 80)  # height and width


class Scenes:
    """A user's dataset: bright rectangles on grey, their boxes and classes."""

    classes = ("coin", "card", "none of these")

    def __init__(self, boxes, masks=False, size=SIZE, labels=None):
        self.boxes, self.masks, self.size, self.labels = boxes, masks, size, labels

    def __len__(self):
        return len(self.boxes)

    def __getitem__(self, index):
        boxes = np.array(self.boxes[index], dtype=np.float32).reshape(-1, 4)
        pixels = np.full((*self.size, 3), 60 + index, np.uint8)
        masks = np.zeros((len(boxes), *self.size), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = 1
            pixels[top:bottom, left:right] = (200, 220, 240)
        labels = torch.arange(len(boxes)) % 2 if self.labels is None else torch.tensor(self.labels[index])
        boxes = tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=self.size)
        target = {"boxes": boxes, "labels": labels}
        return Image.fromarray(pixels), target | ({"masks": torch.from_numpy(masks)} if self.masks else {})


BOXES = [[(10, 20, 30, 40), (50, 10, 60, 50)], [(20, 10, 50, 24), (62, 30, 74, 42)], [(30, 30, 34, 34), (4, 6, 12, 30)]]


def test_crops_show_each_object_at_one_size_with_what_is_around_it():
    data = read_objects(Scenes(BOXES), resolution=32)
    assert data.images.shape == (6, 3, 32, 32)
    assert data.class_names == ("coin", "card")
    assert data.counts() == [3, 3]
    assert data.sources.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(data.fingerprints) == len(data.perceptual) == 3
    assert data.alphas is None
    longer = (data.inside[:, 2:] - data.inside[:, :2]).amax(1)
    assert longer.tolist() == pytest.approx([32 / CONTEXT] * 6, abs=0.01)
    for image, (left, top, right, bottom), source in zip(data.images, data.inside, data.sources, strict=True):
        middle = image[:, int(top + bottom) // 2, int(left + right) // 2]
        assert middle.tolist() == pytest.approx([200, 220, 240], abs=2)
        corner = image[:, 0, 0] if left > 2 and top > 2 else image[:, -1, -1]
        assert corner.tolist() == pytest.approx([60 + int(source)] * 3, abs=8)


def test_a_crop_stays_within_its_image_and_else_its_edge_is_mirrored():
    near, across = [(2, 3, 22, 23)], [(3, 2, 57, 38)]
    data = read_objects(Scenes([near, across], size=(40, 60), labels=[[0], [0]]), resolution=64)
    assert data.inside[0, :2].tolist() == pytest.approx([2 * 64 / 26, 3 * 64 / 26], abs=0.01)
    side = 54 * CONTEXT
    assert data.inside[1].tolist() == pytest.approx(
        [(3 + (side - 60) / 2) * 64 / side, (2 + (side - 40) / 2) * 64 / side,
         (57 + (side - 60) / 2) * 64 / side, (38 + (side - 40) / 2) * 64 / side], abs=0.01,
    )  # fmt: skip
    assert (data.images[1, :, 32, 32] > 190).all()


def test_masks_become_alphas_of_the_same_crop():
    data = read_objects(Scenes(BOXES, masks=True), resolution=32)
    assert data.alphas.shape == (6, 32, 32)
    places = torch.arange(32) + 0.5
    for alpha, (left, top, right, bottom) in zip(data.alphas, data.inside, strict=True):
        across, down = (places > left) & (places < right), (places > top) & (places < bottom)
        assert ((alpha >= 128) != (down[:, None] & across)).sum() < 40
        assert alpha.amax() == 255


def test_backgrounds_are_of_places_without_objects():
    data = read_objects(Scenes(BOXES * 4), resolution=32)
    assert len(data.backgrounds) >= 32
    assert data.backgrounds.shape[1:] == (3, 32, 32)
    assert data.backgrounds.amax() < 80
    full = [[(1, 1, 79, 59)], [(2, 2, 78, 58)]]  # no place is left, so what is around goes on
    crowded = read_objects(Scenes(full, labels=[[0], [0]]), resolution=32)
    assert len(crowded.backgrounds) == 2


def test_objects_cut_off_by_the_border_are_left_out_where_there_are_enough():
    whole = [[(10, 20, 30, 40)] for _ in range(20)]
    cut = [[(0, 20, 20, 40)] for _ in range(3)]
    data = read_objects(Scenes(whole + cut, labels=[[0]] * 23), resolution=32)
    assert data.counts() == [20]
    assert data.remarks == ("left out, with too few objects: card (0), none of these (0)",)
    data = read_objects(Scenes(whole[:5] + cut, labels=[[0]] * 8), resolution=32)
    assert data.counts() == [8]
    assert data.remarks[-1] == "few objects: coin (8); their synthetic ones will be much alike"


def test_crowds_and_specks_are_no_objects():
    class Odd(Scenes):
        def __getitem__(self, index):
            image, target = super().__getitem__(index)
            return image, target | {"iscrowd": torch.tensor([1, 0])}

    speck = [[(10, 20, 30, 40), (50, 10, 51, 50)]]
    data = read_objects(Odd(BOXES + speck), resolution=32, classes=["card"])
    assert data.counts() == [3]
    assert data.class_names == ("card",)
    assert data.label_numbers == (1,)


def test_a_subset_is_of_images():
    data = read_objects(Scenes(BOXES, masks=True), resolution=32)
    part = data.subset([2, 0])
    assert part.fingerprints == (data.fingerprints[2], data.fingerprints[0])
    assert part.sources.tolist() == [0, 0, 1, 1]
    rows = [4, 5, 0, 1]
    for name in ("images", "labels", "inside", "alphas"):
        assert torch.equal(getattr(part, name), getattr(data, name)[rows])


def test_grey_images_give_grey_crops():
    class Grey(Scenes):
        def __getitem__(self, index):
            image, target = super().__getitem__(index)
            return image.convert("L"), target

    assert read_objects(Grey(BOXES), resolution=32).images.shape[1] == 1
    assert read_objects(Grey(BOXES), resolution=32, colour="rgb").backgrounds.shape[1] == 3


@pytest.mark.parametrize(
    ("boxes", "arguments", "said"),
    [
        ([[(10, 20, 10, 40)]], {}, "item 0 of the dataset box 1: a box has no width"),
        ([[(10, 20, 300, 40)]], {}, "reaches beyond its image"),
        (BOXES, {"classes": ["coins"]}, "coins"),
        (BOXES, {"classes": ["none of these"]}, "class 'none of these' has no objects; wanted at least 2"),
        ([[(10, 20, 30, 40)], []], {}, "no class with 2 objects"),
        ([[], []], {}, "no image of the dataset has an object"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line(boxes, arguments, said):
    with pytest.raises(DataError, match=said) as caught:
        read_objects(Scenes(boxes), resolution=32, **arguments)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_used_is_skipped_and_counted():
    data = read_objects(Scenes([[(10, 20, 10, 40)], *BOXES]), resolution=32, on_bad="skip")
    assert len(data.fingerprints) == 3
    assert len(data.skipped) == 1
    assert "box 1: a box has no width" in data.skipped[0]
