import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset

from ganaug.data.domains import Domains, any_view, read_crops, read_domains
from ganaug.errors import DataError


def photo(seed, size=(40, 50), channels=3):
    """PIL, of that height and width."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def folder(path, seeds, **form):
    path.mkdir(parents=True)
    for seed in seeds:
        photo(seed, **form).save(path / f"{seed}.png")
    return path


@pytest.fixture
def two(tmp_path):
    return Domains(folder(tmp_path / "day", range(3)), folder(tmp_path / "night" / "images", range(10, 12)))


def test_pieces_are_cut_from_photos_at_their_own_scale(two):
    data = read_domains(two, resolution=16, tile=16)
    assert data.images.shape == (2 * 4, 3, 32, 32)  # 40 x 50: two pieces down and two across
    assert data.sources.shape == (3 * 4, 3, 32, 32)
    assert (data.class_names, data.source_name) == (("night",), "day")
    assert len(data.fingerprints) == 5
    whole = torch.from_numpy(np.array(photo(10))).permute(2, 0, 1)
    assert torch.equal(data.images[0], whole[:, :32, :32])
    assert torch.equal(data.images[3], whole[:, -32:, -32:])
    assert data.target_extents.tolist() == [[32, 32]] * 8


def test_small_images_are_whole_pieces_and_what_is_beyond_is_no_image(tmp_path):
    two = Domains(folder(tmp_path / "a", [0], size=(16, 24)), folder(tmp_path / "b", [1], size=(20, 20)))
    data = read_domains(two, resolution=16, tile=16)
    assert data.sources.shape == data.images.shape == (1, 3, 24, 24)
    assert data.source_extents.tolist() == [[16, 24]]
    assert data.target_extents.tolist() == [[20, 20]]


def test_photos_may_be_shrunk_or_taken_whole(two):
    shrunk = read_domains(two, resolution=16, tile=32)
    assert shrunk.target_extents.tolist() == [[20, 25]] * 2
    whole = read_domains(two, resolution=16, tile=None)
    assert whole.images.shape == (2, 3, 16, 16)


def test_of_many_pieces_some_of_each_image_are_kept(two, monkeypatch):
    monkeypatch.setattr("ganaug.data.domains._MOST", 6)
    data = read_domains(two, resolution=16, tile=16)
    assert (len(data.images), len(data.sources)) == (6, 6)


def test_of_a_set_with_masks_the_images_alone_are_read(two, tmp_path):
    folder(tmp_path / "cells" / "images", [5])
    folder(tmp_path / "cells" / "masks", [5], channels=1)
    data = read_domains(Domains(two.source, tmp_path / "cells"), resolution=16, tile=None)
    assert len(data.images) == 1


@pytest.mark.parametrize(
    "label",
    [3, np.zeros((40, 50), dtype=np.uint8), {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}, None],
    ids=["class", "mask", "boxes", "none"],
)
def test_datasets_of_any_label(label):
    images = [photo(seed) for seed in range(2)]
    dataset = images if label is None else [(image, label) for image in images]
    data = read_domains(Domains(Subset(dataset, [1, 0]), [photo(7)]), resolution=16, tile=None)
    assert (len(data.sources), data.source_name) == (2, "source")


def test_grey_and_colour_need_a_word(two, tmp_path):
    grey = folder(tmp_path / "grey", [20], channels=1)
    with pytest.raises(DataError, match=r"source's images are in colour and the target's grey.*data.colour=rgb"):
        read_domains(Domains(two.source, grey), resolution=16, tile=16)
    assert read_domains(Domains(two.source, grey), resolution=16, tile=16, colour="rgb").images.shape[1] == 3
    assert read_domains(Domains(two.source, grey), resolution=16, tile=16, colour="grey").sources.shape[1] == 1


def test_what_cannot_be_translated_is_said(two, tmp_path):
    (tmp_path / "empty").mkdir()
    small = folder(tmp_path / "small", [30], size=(12, 40))
    for target, said in (
        (tmp_path / "empty", "target: .*holds no images"),
        (small, "target, image 0: is 40 x 12 pixels and crops are 16"),
        (two.source, "the same images"),
        (tmp_path / "nowhere", "target: "),
    ):
        with pytest.raises(DataError, match=said):
            read_domains(Domains(two.source, target), resolution=16, tile=16)
    photo(0).save(two.target / "again.png")
    with pytest.raises(DataError, match="1 images are in both source and target"):
        read_domains(two, resolution=16, tile=16)


def test_bright_things_in_one_domain_and_dark_ones_in_the_other_are_remarked_on(two):
    assert len(read_domains(two, resolution=16, tile=16).remarks) == 1
    stars = np.full((32, 32, 3), 20, np.uint8)
    stars[4:8, 4:8] = 220
    data = read_domains(Domains([stars], [255 - stars]), resolution=16, tile=16)
    assert "little is bright, in target little is dark" in data.remarks[1]


def test_images_that_cannot_be_used_may_be_skipped(two):
    photo(40, size=(8, 8)).save(two.target / "small.png")
    (two.target / "text.png").write_text("no image")
    data = read_domains(two, resolution=16, tile=16, on_bad="skip")
    assert len(data.skipped) == 2
    assert len(data.images) == 8


def test_crops_of_one_domain(two):
    assert read_crops(two.source, resolution=16, tile=16, channels=1).shape == (12, 1, 16, 16)


def test_an_item_with_another_image_keeps_its_label():
    box = {"boxes": torch.tensor([[1.0, 2.0, 9.0, 8.0]]), "labels": torch.tensor([2])}
    for label in (4, np.ones((40, 50), dtype=np.uint8), box):
        view = any_view([(photo(1), label)])
        image, kept = view.with_image(np.zeros((40, 50, 3), dtype=np.uint8), 0)
        assert isinstance(image, Image.Image)
        assert not np.asarray(image).any()
        assert kept is label or kept == label
