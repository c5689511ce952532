import numpy as np
import pytest
import torch
from drawn_boxes import write_yolo
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ganaug.data import LabelledImages
from ganaug.data.fillable import read_fillable, whole_squares
from ganaug.data.marked import marked_images
from ganaug.errors import DataError


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return write_yolo(tmp_path_factory.mktemp("cells") / "set")


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("masks"), np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(3):
        mask = np.zeros((50, 60), dtype=np.uint8)
        mask[10:20, 12:30], mask[40:46, 40:46] = 1, 2
        pixels = random.integers(100, 120, (50, 60), dtype=np.uint8) + 100 * (mask > 0)
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


def read(dataset, **changes):
    return read_fillable(dataset, **({"resolution": 32, "squares": 60, "margin": 0.05} | changes))


def test_squares_of_boxes_know_where_objects_are(cells):
    data = read(cells)
    assert len(data.fingerprints) == 6
    assert len(data) <= 60
    assert data.images.shape[1:] == (3, 32, 32)
    red = (data.images[:, 0].int() - data.images[:, 1].int()).abs() > 100
    blue = (data.images[:, 2].int() - data.images[:, 1].int()).abs() > 100
    assert (data.objects | ~(red | blue)).all()
    assert (red | blue).any()
    assert data.objects.float().flatten(1).mean(1).max() <= 0.75
    assert "objects: hidden in training" in data.remarks[0]
    # objects of 22 x 18 px with their margin, in squares of twice their longer side
    sides = {(int(shape.any(1).sum()), int(shape.any(0).sum())) for shape in data.shapes}
    assert max(width for _, width in sides) == 16
    assert min(data.sources.tolist()) == 0
    part = data.subset([2, 4])
    assert part.fingerprints == (data.fingerprints[2], data.fingerprints[4])
    assert set(part.sources.tolist()) <= {0, 1}


def test_only_named_classes_are_objects(cells):
    data = read(cells, classes=["red"])
    blue = (data.images[:, 2].int() - data.images[:, 1].int()).abs() > 100
    assert (blue & ~data.objects).any()
    with pytest.raises(DataError, match="did you mean 'red'"):
        read(cells, classes=["rad"])


def test_masks_are_objects_but_for_their_first_class(masks):
    data = read(masks)
    assert data.images.shape[1] == 1
    bright = data.images[:, 0] > 190
    assert (data.objects | ~bright).all()
    one = marked_images(masks, classes=["2"]).read(0)
    assert [int(region.sum()) for region in one.objects] == [36]
    assert [int(region.sum()) for region in one.others] == [180]


def test_a_folder_of_any_layout_and_a_dataset_have_no_objects(image_folder):
    data = read(image_folder, resolution=16)
    assert len(data.fingerprints) == 21
    assert not data.objects.any()
    assert len(data.shapes) == 0
    assert len(read(image_folder, resolution=16, classes=["owl"]).fingerprints) == 3
    again = read(ImageFolder(image_folder, transform=v2.ToImage()), resolution=16)
    assert torch.equal(again.images, data.images)


def test_a_dataset_of_targets_is_one_of_boxes(cells):
    items = [marked_images(cells).read(index) for index in range(3)]
    target = {"boxes": torch.tensor([[2.0, 3.0, 20.0, 30.0]]), "labels": torch.tensor([0])}
    marked = marked_images([(torch.from_numpy(one.pixels.copy()).permute(2, 0, 1), target) for one in items])
    assert marked.kind == "boxes"
    assert int(marked.read(1).objects[0].sum()) == 18 * 27


def test_what_cannot_be_learned_from_is_said(cells, image_folder, tmp_path):
    with pytest.raises(DataError, match="21 images are smaller than squares of 32 px; fit with --set resolution=32"):
        read(image_folder)
    (tmp_path / "few").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        read(tmp_path / "few")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "few" / "one.png")
    with pytest.raises(DataError, match="there is one image; wanted at least 2"):
        read(tmp_path / "few")
    everything = [
        (torch.full((3, 40, 40), shade, dtype=torch.uint8), {"boxes": torch.tensor([[0.0, 0, 40, 40]]), "labels": [0]})
        for shade in (10, 200)
    ]
    with pytest.raises(DataError, match="the objects leave no ground"):
        read(everything)


def test_squares_that_are_there_already():
    images = torch.arange(5 * 3 * 8 * 8).reshape(5, 3, 8, 8).to(torch.uint8)
    labelled = LabelledImages(images, torch.arange(5) % 2, ("a", "b"), (0, 1), tuple("vwxyz"))
    squares = whole_squares(labelled)
    assert squares.images is images
    assert squares.class_names == ("images",)
    assert squares.subset([3, 1]).fingerprints == ("y", "w")
    assert torch.equal(squares.subset([3, 1]).images, images[[3, 1]])
