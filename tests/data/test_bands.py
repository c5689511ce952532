"""Images of many bands, as satellites take them: read, learned, mixed in and written."""

import numpy as np
import pytest
import torch
from PIL import Image

import ganaug
from ganaug import GanAugmented, measures
from ganaug.data import fingerprint
from ganaug.data.forms import form_of, in_form
from ganaug.data.images import resize, to_channels, to_uint8
from ganaug.data.mask_files import list_masks
from ganaug.data.masks import read_masked
from ganaug.errors import DataError, RecipeError
from ganaug.mask_exporting import export_masks
from ganaug.recipe import Train
from ganaug.workflow import preview

TINY = {
    "resolution": 32, "kimg": 0.016, "networks.generator_channels": 8, "networks.discriminator_channels": 8,
    "networks.max_channels": 16, "gan.batch": 4, "snapshots.count": 1, "snapshots.samples": 4,
}  # fmt: skip


def scene(number, bands, side=32):
    """A square that is bright in even bands and dark in odd ones, and its mask."""
    random = np.random.default_rng(number)
    mask = np.zeros((side, side), np.uint8)
    top, left = random.integers(2, side // 2, 2)
    mask[top : top + 12, left : left + 12] = 1
    inside = np.where(np.arange(bands) % 2 == 0, 220, 30)
    pixels = np.where(mask[..., None] > 0, inside, 120) + random.integers(0, 20, (side, side, bands))
    return pixels.astype(np.uint8), mask


def write_set(root, bands, count=6, suffix=".npy"):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        pixels, mask = scene(number, bands)
        if suffix == ".npy":
            np.save(root / f"images/{number}.npy", pixels)
        else:
            tifffile = pytest.importorskip("tifffile")
            pages = {".tif": {}, ".tiff": {"planarconfig": "contig", "photometric": "minisblack"}}[suffix]
            stack = pixels if pages else pixels.transpose(2, 0, 1)
            tifffile.imwrite(root / f"images/{number}{suffix}", stack.astype(np.uint16) * 257, **pages)
        Image.fromarray(mask).save(root / f"masks/{number}.png")
    return root


class Tensors(torch.utils.data.Dataset):
    """As a user's own dataset yields them: CHW uint8 tensors, two from each place."""

    def __init__(self, bands, count=6):
        self.bands, self.count = bands, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        pixels, mask = scene(index, self.bands)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), torch.from_numpy(mask.astype(np.int64))


@pytest.fixture(scope="module")
def bank():
    with pytest.MonkeyPatch.context() as patch:
        original = measures.train_features
        patch.setattr(measures, "train_features", lambda *args, **named: original(*args, **named, steps=3))
        return ganaug.fit(Tensors(5), recipe="segment-64", settings=TINY, device="cpu", progress=False)


def test_bands_are_kept_and_a_fourth_channel_is_alpha_unless_it_is_said_to_be_one():
    pixels = scene(0, 6)[0]
    for image in (pixels, pixels.transpose(2, 0, 1), torch.from_numpy(pixels.transpose(2, 0, 1).copy())):
        assert np.array_equal(to_uint8(image), pixels)
    assert to_uint8(pixels[:, :, :4]).shape == (32, 32, 3)
    assert np.array_equal(to_uint8(pixels[:, :, :4], bands=True), pixels[:, :, :4])
    assert np.array_equal(to_uint8(Image.fromarray(pixels[:, :, :4], "RGBA"), bands=True), pixels[:, :, :4])
    assert np.array_equal(to_uint8(pixels.astype(np.uint16) * 257), pixels)


def test_each_band_is_resized_by_itself():
    pixels = scene(1, 5)[0]
    smaller = resize(pixels, (16, 20))
    for band in range(5):
        assert np.array_equal(smaller[:, :, band : band + 1], resize(pixels[:, :, band : band + 1].copy(), (16, 20)))


@pytest.mark.parametrize("bands", [2, 4, 7])
def test_an_image_comes_back_in_the_form_of_the_users_own(bands):
    pixels = scene(2, bands)[0]
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    assert torch.equal(in_form(pixels, form_of(tensor)), tensor)
    assert np.array_equal(in_form(pixels, form_of(pixels.astype(np.uint16))), pixels.astype(np.uint16) * 257)


def test_images_of_other_bands_are_not_mistaken_for_each_other():
    first, second = scene(0, 5)[0], scene(0, 5)[0]
    second[0, 0, 4] ^= 1
    assert fingerprint(first) != fingerprint(second)
    with pytest.raises(DataError, match="has 5 channels and 3 are wanted"):
        to_channels(first, 3)


FILES = [(5, "auto", ".npy"), (4, "bands", ".npy"), (6, "auto", ".tif"), (5, "auto", ".tiff")]


@pytest.mark.parametrize(("bands", "colour", "suffix"), FILES)
def test_files_of_bands_are_read(tmp_path, bands, colour, suffix):
    root = write_set(tmp_path / "set", bands, suffix=suffix)
    found = read_masked(root, resolution=32, colour=colour)
    assert found.images.shape == (6, bands, 32, 32)
    assert np.array_equal(found.images[3].permute(1, 2, 0).numpy(), scene(3, bands)[0])
    assert np.array_equal(found.maps[3].numpy(), scene(3, bands)[1])


def test_what_cannot_be_read_is_said_in_one_line(tmp_path):
    root = write_set(tmp_path / "set", 5)
    np.save(root / "images/2.npy", scene(2, 6)[0])
    with pytest.raises(DataError, match=r"0.png has 5 channels and that of .*2.png 6; wanted the same bands in all"):
        read_masked(root, resolution=32)
    (root / "images/2.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"2.npy: is no array that NumPy reads"):
        read_masked(root, resolution=32)
    np.save(root / "images/2.npy", scene(2, 5)[0].astype(np.int32) * 1000)
    with pytest.raises(DataError, match=r"2.npy: an image of int32 holds values"):
        read_masked(root, resolution=32)
    with pytest.raises(RecipeError, match="colour must be auto, grey or rgb with task classify"):
        ganaug.load_recipe("classify-32").replace({"data.colour": "bands"})


@pytest.mark.slow
def test_pairs_of_bands_are_made_mixed_in_shown_and_written(bank, tmp_path):
    images, maps = bank.sample_pairs(4)
    assert images.shape == (4, 5, 32, 32)
    assert maps.shape == (4, 32, 32)
    assert "32 px 5 bands" in repr(bank)
    train = GanAugmented(Tensors(5), bank, ratio=0.5, pool_dir=tmp_path / "pool")
    image, mask = train[len(train) - 1]
    assert (image.shape, image.dtype, mask.shape) == ((5, 32, 32), torch.uint8, (32, 32))
    root = write_set(tmp_path / "set", 5)
    assert preview(bank, data=root).mode == "RGB"
    export_masks(bank, root, tmp_path / "mixed", ratio=0.5)
    again = read_masked(tmp_path / "mixed", resolution=32)
    assert again.images.shape == (9, 5, 32, 32)


@pytest.mark.slow
def test_a_segmenter_of_bands_learns_and_is_compared(bank, tmp_path):
    pytest.importorskip("segmentation_models_pytorch")
    from ganaug.adapters.segmentation_models_pytorch import train

    root = write_set(tmp_path / "set", 5)
    settings = Train(model="Unet", epochs=1, batch=3, image_size=32, ratio=0.5)
    result = train(list_masks(root), bank, settings, device="cpu", pool_dir=tmp_path / "pool")
    assert result.model(torch.zeros(1, 5, 32, 32)).shape == (1, 2, 32, 32)
    few = {"augments": ["flip+colour"], "ratios": [0.5], "schedules": ["constant"], "steps": 2, "batch": 3}
    found = ganaug.compare(Tensors(5, count=8), bank, splits=1, seeds=2, settings=few, folder=tmp_path / "cells")
    assert found.verdict is not None
