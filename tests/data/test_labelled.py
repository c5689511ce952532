import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ganaug.data import fingerprint, read_images
from ganaug.errors import DataError


def test_a_folder_is_read_whole(pets):
    data = read_images(pets, resolution=16)
    assert data.images.shape == (8, 3, 16, 16)
    assert data.images.dtype == torch.uint8
    assert data.labels.tolist() == [0] * 4 + [1] * 4
    assert data.labels.dtype == torch.int64
    assert data.class_names == ("cat", "dog")
    assert data.label_numbers == (0, 1)
    assert data.counts() == [4, 4]
    assert len(data) == 8
    assert data.fingerprints[2] == fingerprint(Image.open(pets / "cat" / "2.png"))


def test_a_folder_and_an_imagefolder_over_it_agree(pets):
    ours = read_images(str(pets), resolution=16)
    theirs = read_images(
        ImageFolder(pets, transform=v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32)])), resolution=16
    )
    assert torch.equal(ours.images, theirs.images)
    assert ours.fingerprints == theirs.fingerprints
    assert ours.class_names == theirs.class_names


def test_a_subset_of_images(pets):
    data = read_images(pets, resolution=16)
    some = data.subset([7, 0])
    assert torch.equal(some.images, data.images[[7, 0]])
    assert some.labels.tolist() == [1, 0]
    assert some.fingerprints == (data.fingerprints[7], data.fingerprints[0])
    assert some.subset(torch.tensor([1])).counts() == [1, 0]


def test_classes_are_picked_in_the_wanted_order(pets, draw):
    (pets / "emu").mkdir()
    (pets / "none").mkdir()
    for i in range(2):
        draw(i + 40).save(pets / "emu" / f"{i}.png")
    data = read_images(pets, resolution=16, classes=["emu", "cat"])
    assert data.class_names == ("emu", "cat")
    assert data.label_numbers == (2, 0)  # as a dataset over the whole folder numbers them
    assert data.counts() == [2, 4]
    assert data.labels.tolist() == [1] * 4 + [0] * 2


def _numbered(count=6):
    images = torch.randint(0, 255, (count, 3, 8, 8), dtype=torch.uint8)
    return TensorDataset(images, torch.tensor([3, 7] * (count // 2)))


def test_classes_without_names_go_by_their_numbers():
    data = read_images(_numbered(), resolution=8)
    assert (data.class_names, data.label_numbers) == (("3", "7"), (3, 7))
    picked = read_images(_numbered(), resolution=8, classes=["7"])
    assert (picked.class_names, picked.label_numbers, picked.counts()) == (("7",), (7,), [3])


def test_named_classes_also_go_by_number(pets):
    data = read_images(ImageFolder(pets), resolution=8, classes=["1"])
    assert data.class_names == ("dog",)
    with pytest.raises(DataError, match="'dog' is named 2 times"):
        read_images(ImageFolder(pets), resolution=8, classes=["1", "dog"])


@pytest.mark.parametrize(
    ("classes", "said"), [(["catt"], "did you mean 'cat'"), (["cat"] * 2, "2 times"), ([], "no class")]
)
def test_a_wrong_choice_of_classes(pets, classes, said):
    for source in (pets, ImageFolder(pets)):
        with pytest.raises(DataError, match=said):
            read_images(source, resolution=8, classes=classes)


def test_grey_only_if_every_image_is(tmp_path, draw):
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            draw(i, mode="L").convert("RGB" if i else "L").save(tmp_path / name / f"{i}.png")
    assert read_images(tmp_path, resolution=8).images.shape[1] == 1
    assert read_images(tmp_path, resolution=8, colour="rgb").images.shape[1] == 3
    draw(3).save(tmp_path / "a" / "colour.png")
    data = read_images(tmp_path, resolution=8)
    assert data.images.shape[1] == 3
    assert torch.equal(data.images[0, 0], data.images[0, 2])
    assert read_images(tmp_path, resolution=8, colour="grey").images.shape[1] == 1
    with pytest.raises(DataError, match="'blue'"):
        read_images(tmp_path, resolution=8, colour="blue")


def test_how_an_image_becomes_square_is_obeyed(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, :8] = 255
    (tmp_path / "a").mkdir()
    for i in range(2):
        Image.fromarray(wide).save(tmp_path / "a" / f"{i}.png")
    bright = {
        how: read_images(tmp_path, resolution=8, fit=how).images.float().mean().item() for how in ("crop", "stretch")
    }
    assert bright["crop"] == 0
    assert bright["stretch"] == pytest.approx(85, abs=4)


def test_a_class_needs_two_images(pets):
    for i in range(1, 4):
        (pets / "dog" / f"{i}.png").unlink()
    with pytest.raises(DataError, match="class 'dog' has one image; wanted at least 2"):
        read_images(pets, resolution=8)
    assert read_images(pets, resolution=8, classes=["cat"]).counts() == [4]
    with pytest.raises(DataError, match="class 'cat' has no images"):
        read_images(Subset(ImageFolder(pets), [4]), resolution=8, classes=["cat", "dog"])


def test_a_class_that_a_subset_lacks_is_left_out(pets):
    data = read_images(Subset(ImageFolder(pets), [4, 5, 6]), resolution=8)
    assert (data.class_names, data.label_numbers, data.counts()) == (("dog",), (1,), [3])


@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_bad_file_stops_or_is_skipped(pets, as_dataset):
    bad = pets / "cat" / "0.png"
    bad.write_bytes(bad.read_bytes()[:70])
    source = ImageFolder(pets, transform=v2.RandomCrop(4)) if as_dataset else pets
    with pytest.raises(DataError, match=r"cat/0\.png.*on-bad skip"):
        read_images(source, resolution=8)
    data = read_images(source, resolution=8, on_bad="skip")
    assert data.counts() == [3, 4]
    assert len(data.skipped) == 1
    assert str(bad) in data.skipped[0]


def test_a_class_of_bad_files_only_is_an_error_even_when_skipping(pets):
    for path in (pets / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"class 'cat' has no images beside 4 that cannot be read"):
        read_images(pets, resolution=8, on_bad="skip")


def test_raw_images_stand_in_for_normalised_ones():
    raw = _numbered()
    normal = TensorDataset(raw.tensors[0] / 127.5 - 1, raw.tensors[1])
    with pytest.raises(DataError, match=r"float32.*raw="):
        read_images(normal, resolution=8)
    assert torch.equal(read_images(normal, resolution=8, raw=raw).images, raw.tensors[0])
