import json

import albumentations
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.data.class_tables import made_table
from ganaug.data.mask_files import list_masks
from ganaug.data.mask_view import MaskView
from ganaug.data.masks import read_masked
from ganaug.errors import DataError


def a_mask(number, values=(0, 1), size=(20, 24)):
    """The last of `values` in a square, the others in stripes."""
    mask = np.resize(np.array(values[:-1] or values, dtype=np.uint8), size)
    mask[4 + number : 10 + number, 5:12] = values[-1]
    return mask


def write(root, count=3, values=(0, 1), mask_of="masks/{}.png", image_of="images/{}.png", save=None):
    for number in range(count):
        image, mask = root / image_of.format(number), root / mask_of.format(number)
        image.parent.mkdir(parents=True, exist_ok=True)
        mask.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng(number).integers(0, 255, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(shade).save(image)
        (save or (lambda array, path: Image.fromarray(array).save(path)))(a_mask(number, values), mask)
    return root


@pytest.mark.parametrize(
    ("mask_of", "image_of"),
    [
        ("masks/{}.png", "images/{}.png"),
        ("masks/{}_mask.gif", "imgs/{}.jpg"),
        ("train/masks/{}.png", "train/images/{}.png"),
        ("gtFine/train/a/{}_gtFine_labelIds.png", "leftImg8bit/train/a/{}_leftImg8bit.png"),
        ("LabeledApproved_full/{}_L.png", "701_StillsRaw_full/{}.png"),
        ("trainannot/{}.png", "train/{}.png"),
        ("{}_mask.png", "{}.png"),
    ],
)
def test_layouts(tmp_path, mask_of, image_of):
    write(tmp_path, mask_of=mask_of, image_of=image_of)
    if "train/" in mask_of:
        write(tmp_path, mask_of=mask_of.replace("train", "test"), image_of=image_of.replace("train", "test"))
    if "gtFine" in mask_of:
        Image.new("RGB", (24, 20)).save(tmp_path / "gtFine/train/a/0_gtFine_color.png")
    data = read_masked(tmp_path, resolution=16, fit="stretch")
    assert data.images.shape == (3, 3, 16, 16)
    assert data.maps.unique().tolist() == [0, 1]
    assert data.class_names == ("background", "object")
    assert sum(data.shares()) == pytest.approx(1)
    assert data.counts() == [3, 3]


def test_an_image_and_its_mask_stay_aligned(tmp_path):
    write(tmp_path)
    for number in range(2):
        mask = a_mask(number)
        Image.fromarray(np.stack([mask * 255] * 3, -1)).save(tmp_path / f"images/{number}.png")
    for fit in ("crop", "pad", "stretch"):
        data = read_masked(tmp_path, resolution=20, fit=fit)
        assert ((data.images[:2, 0] > 127) == data.maps[:2].bool()).float().mean() > 0.97
        assert data.images.shape[1] == 3


def test_numbers_palettes_and_wide_masks_are_read_alike(tmp_path):
    def as_palette(array, path):
        image = Image.fromarray(array)
        image.putpalette([value for colour in ((9, 9, 9), (200, 0, 0), (0, 200, 0)) for value in colour])
        image.save(path)

    def as_wide(array, path):
        Image.fromarray(array.astype(np.uint16) * 1000).save(path)

    plain = read_masked(write(tmp_path / "plain", values=(0, 1, 2)), resolution=16)
    palette = read_masked(write(tmp_path / "palette", values=(0, 1, 2), save=as_palette), resolution=16)
    wide = read_masked(write(tmp_path / "wide", values=(0, 1, 2), save=as_wide), resolution=16)
    assert torch.equal(plain.maps, palette.maps)
    assert torch.equal(plain.maps, wide.maps)
    assert wide.label_numbers == (0, 1000, 2000)
    assert plain.class_names == ("0", "1", "2")


def test_binary_masks_and_the_ignored_number(tmp_path):
    binary = read_masked(write(tmp_path / "binary", values=(0, 255)), resolution=16)
    assert (binary.label_numbers, binary.class_names) == ((0, 255), ("background", "object"))
    assert binary.maps.unique().tolist() == [0, 1]
    ignoring = read_masked(write(tmp_path / "ignoring", values=(0, 1, 255)), resolution=16)
    assert ignoring.label_numbers == (0, 1)
    assert ignoring.maps.unique().tolist() == [0, 1, 255]


def test_colours_need_a_table(tmp_path):
    colours = np.array([(0, 0, 0), (255, 0, 0)], dtype=np.uint8)
    write(tmp_path, save=lambda array, path: Image.fromarray(colours[array]).save(path))
    with pytest.raises(DataError, match=r"0\.png: is in colours"):
        read_masked(tmp_path, resolution=16)
    data = read_masked(tmp_path, resolution=16, table=made_table({"ground": "#000000", "cell": "#ff0000"}))
    assert data.class_names == ("ground", "cell")
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nground,0,0,0\ncell,255,0,0\n")
    assert torch.equal(read_masked(tmp_path, resolution=16).maps, data.maps)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nground,0,0,0\ncell,0,255,0\n")
    with pytest.raises(DataError, match="holds the colour #ff0000"):
        read_masked(tmp_path, resolution=16)


def test_names_from_a_file(tmp_path):
    write(tmp_path, values=(0, 1))
    (tmp_path / "codes.txt").write_text("sky\nroad\ncar\n")
    assert read_masked(tmp_path, resolution=16).class_names == ("sky", "road", "car")


def test_coco(tmp_path):
    pytest.importorskip("pycocotools")
    write(tmp_path, count=2, mask_of="unused/{}.png")
    box = [4, 4, 12, 4, 12, 12, 4, 12]
    runs = {"size": [20, 24], "counts": [0, 40, 440]}  # two columns at the left
    said = {
        "images": [{"id": 7 + n, "file_name": f"{n}.png", "height": 20, "width": 24} for n in range(2)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [box], "area": 64},
            {"id": 2, "image_id": 8, "category_id": 1, "segmentation": runs, "area": 40},
            {"id": 3, "image_id": 8, "category_id": 1, "segmentation": [box], "area": 64, "iscrowd": 1},
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(said))
    data = read_masked(tmp_path / "annotations.json", resolution=20, fit="stretch")
    assert data.class_names == ("background", "dog", "cat")
    assert data.maps[0].unique().tolist() == [0, 2]
    assert data.maps[1].unique().tolist() == [0, 1, 255]
    assert data.maps[1, :, 0].tolist() == [1] * 20


def test_large_images_are_cut_into_tiles(tmp_path):
    whole = read_masked(write(tmp_path), resolution=16)
    tiled = read_masked(tmp_path, resolution=8, tile=8)
    assert len(tiled.fingerprints) == len(whole) == 3
    assert len(tiled) == 3 * 4 * 5
    again = tiled.subset([2])
    assert len(again) == 20
    assert again.fingerprints == tiled.fingerprints[2:]
    one = np.asarray(Image.open(tmp_path / "masks/0.png"))
    assert torch.equal(tiled.maps[-1], torch.from_numpy(a_mask(2)[-8:, -8:]))
    assert torch.equal(tiled.maps[0], torch.from_numpy(one[:8, :8].copy()))


def bad(tmp_path, what):
    """A folder with one thing wrong, and what is to be said of it."""
    write(tmp_path, count=1 if what == "one" else 3, values=(0,) if what == "empty" else (0, 1))
    if what == "size":
        Image.fromarray(np.zeros((19, 24), np.uint8)).save(tmp_path / "masks/1.png")
    if what == "jpeg":
        (tmp_path / "masks/1.png").unlink()
        Image.fromarray(a_mask(1)).save(tmp_path / "masks/1.jpg")
    if what == "no mask":
        (tmp_path / "masks/1.png").unlink()
    if what == "no image":
        (tmp_path / "images/1.png").unlink()
    if what == "table":
        (tmp_path / "codes.txt").write_text("sky\n")
    if what == "grey":
        Image.fromarray(np.arange(480, dtype=np.uint16).reshape(20, 24)).save(tmp_path / "masks/1.png")
    if what == "broken":
        (tmp_path / "masks/1.png").write_bytes(b"no image")
    return tmp_path


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("size", r"1\.png: is 24 x 19 pixels and its image 24 x 20"),
        ("jpeg", r"1\.jpg: is a JPEG"),
        ("no mask", r"images/1\.png: has no mask"),
        ("no image", r"masks/1\.png: is a mask without an image"),
        ("empty", "all 3 masks hold class 0 alone"),
        ("one", "one image with a mask"),
        ("table", r"0\.png: holds the number 1, which is not in the class table"),
        ("grey", r"1\.png: holds 480 different numbers"),
        ("broken", r"1\.png"),
    ],
)
def test_bad_masks_are_told_in_one_line(tmp_path, what, said):
    with pytest.raises(DataError, match=said) as caught:
        read_masked(bad(tmp_path, what), resolution=16)
    assert "\n" not in str(caught.value)


def test_bad_pairs_can_be_skipped(tmp_path):
    bad(tmp_path, "size")
    (tmp_path / "masks/0.png").write_bytes(b"no image")
    data = read_masked(tmp_path, resolution=16, on_bad="skip", least=1)
    assert len(data) == 1
    assert "0.png" in data.skipped[0]
    assert "24 x 19" in data.skipped[1]


class Pairs:
    """A user's dataset of (image, mask), with one of the usual ways to transform both."""

    def __init__(self, files, how, transform):
        self.files, self.how = files, how
        self.transform = transform if how in {"albumentations", "item"} else None
        self.transforms = transform if how == "both" else None

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        image, mask = self.files[index]
        mask = mask.astype(np.uint8)
        if self.how == "albumentations":
            made = self.transform(image=np.asarray(image), mask=mask)
            return made["image"], made["mask"]
        image, mask = tv_tensors.Image(image), tv_tensors.Mask(mask)
        if self.how == "both":
            return self.transforms(image, mask)
        return self.transform({"image": image, "mask": mask})


@pytest.mark.parametrize("how", ["albumentations", "both", "item"])
def test_joint_transforms_apply_to_what_is_composed(tmp_path, how):
    files = list_masks(write(tmp_path))
    flip = albumentations.HorizontalFlip(p=1) if how == "albumentations" else v2.RandomHorizontalFlip(1.0)
    dataset = Pairs(files, how, flip)
    view = MaskView(Subset(dataset, [2, 1]), numbers=(0, 7))
    assert np.array_equal(view.read(0)[1], a_mask(2)), "read below the transform"
    sample = np.stack([*[a_mask(0) * 200] * 3, a_mask(0)], -1)
    item = view.compose(sample, 0, 1, "stretch")
    theirs = dataset[1]
    image, mask = (item["image"], item["mask"]) if how == "item" else item
    like_image, like_mask = (theirs["image"], theirs["mask"]) if how == "item" else theirs
    assert (type(image), type(mask)) == (type(like_image), type(like_mask))
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == (
        like_image.shape, like_image.dtype, like_mask.shape, like_mask.dtype,
    )  # fmt: skip
    assert np.array_equal(np.asarray(mask).squeeze(), 7 * a_mask(0)[:, ::-1])
    channel = image[..., 0] if how == "albumentations" else image[0]
    assert np.array_equal(np.asarray(channel), a_mask(0)[:, ::-1] * 200)


def test_colours_and_tiles_are_composed_as_they_were_read(tmp_path):
    table = made_table({"ground": "#000000", "cell": "#ff0000"})
    painted = Image.fromarray(np.array([(0, 0, 0), (255, 0, 0)], np.uint8)[a_mask(0)])
    view = MaskView([(Image.new("L", (24, 20)), painted)], table=table, numbers=(0, 1), tile=16)
    sample = np.zeros((8, 8, 2), np.uint8)
    sample[2:4, 2:4] = 255, 1
    image, mask = view.compose(sample, 0, 0, "crop")
    assert (image.mode, image.size, mask.mode, mask.size) == ("L", (16, 16), "RGB", (16, 16))
    assert (np.asarray(mask)[4:8, 4:8] == (255, 0, 0)).all()
    assert (np.asarray(mask)[8:] == 0).all()


def test_raw_and_transform_make_items_together(tmp_path):
    files = list_masks(write(tmp_path))
    floats = [(np.float32(np.asarray(image)) / 255, mask) for image, mask in (files[0], files[1], files[2])]
    with pytest.raises(DataError, match="after a transform"):
        MaskView(floats)
    view = MaskView(floats, raw=files, transform=lambda image, mask: (np.float32(image) / 255, mask), numbers=(0, 1))
    image, mask = view.compose(np.stack([*[a_mask(0) * 255] * 3, a_mask(0)], -1), 0, 0, "stretch")
    assert image.max() == 1
    assert np.array_equal(mask, a_mask(0))
    assert view.real(1) is floats[1]


def test_a_dataset_of_something_else_is_refused(tmp_path):
    with pytest.raises(DataError, match="wanted a map-style dataset"):
        MaskView(3)
    with pytest.raises(DataError, match="a mask holds float32"):
        MaskView([(Image.new("RGB", (4, 4)), np.zeros((4, 4), np.float32))])
    with pytest.raises(DataError, match="there is no folder"):
        read_masked(tmp_path / "nowhere", resolution=16)
