import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision.transforms import v2

from ganaug.data import DatasetView, read_images
from ganaug.errors import DataError

datasets = pytest.importorskip("datasets")
TO_TENSOR = v2.Compose([v2.ToImage(), v2.Resize((12, 10)), v2.ToDtype(torch.float32, scale=True)])


def to_pixel_values(batch):
    return {"pixel_values": [TO_TENSOR(i.convert("RGB")) * 2 - 1 for i in batch["image"]], "labels": batch["label"]}


def keep_all(batch):
    return {**batch, "image": [np.asarray(i) for i in batch["image"]]}


@pytest.fixture
def pets(draw):
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "name": datasets.Value("string"),
    }
    columns = {"image": [draw(i, (24 + i, 20)) for i in range(6)], "label": [0, 1] * 3, "name": list("abcdef")}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def same(one, other):
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, Image.Image):
        return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(
    "dressed",
    [
        lambda d: d,
        lambda d: d.with_transform(to_pixel_values),
        lambda d: d.with_transform(keep_all),
        lambda d: d.with_transform(to_pixel_values, columns=["image", "label"], output_all_columns=True),
        lambda d: d.with_format("torch"),
        lambda d: d.with_format("numpy"),
        lambda d: d.with_format("torch", columns=["image", "label"]),
        lambda d: d.select([5, 0, 3]).with_transform(to_pixel_values),
        lambda d: d.shuffle(seed=0).select_columns(["label", "image"]),
        lambda d: Subset(d.with_transform(to_pixel_values), [4, 1]),
    ],
)
def test_a_composed_item_is_the_datasets_own(pets, dressed):
    dataset = dressed(pets)
    view = DatasetView(dataset)
    assert view.class_names == ["cat", "dog"]
    for i in range(len(view)):
        assert isinstance(view.image(i), Image.Image)
        assert same(view.compose(view.image(i), view.label(i), i), dataset[i])
        assert view.image_size(i) == view.image(i).size[::-1]
    assert view.labels() == [view.label(i) for i in range(len(view))]


def test_a_synthetic_image_goes_through_the_transform(pets):
    view = DatasetView(pets.with_transform(to_pixel_values))
    item = view.compose(np.full((8, 8, 3), 255, np.uint8), 1, 0)
    assert item["labels"] == 1
    assert item["pixel_values"].shape == (3, 12, 10)
    assert (item["pixel_values"] == 1).all()
    assert view.getitems([1, 2])[1]["labels"] == 0
    assert DatasetView(pets).compose(np.zeros((8, 8, 3), np.uint8), 1, 3)["name"] == "d"


def test_the_dataset_is_never_changed_and_a_view_pickles(pets):
    dataset = pets.with_transform(to_pixel_values)
    before = dict(dataset.format)
    view = pickle.loads(pickle.dumps(DatasetView(dataset)))
    assert dataset.format == before
    assert same(view.compose(view.image(2), 0, 2), dataset[2])


def test_image_files_by_path_upright_and_named_when_bad(tmp_path, draw):
    exif = Image.Exif()
    exif[274] = 6
    paths = [str(tmp_path / f"{i}.jpg") for i in range(4)]
    for i, path in enumerate(paths):
        draw(i, (30, 10)).save(path, exif=exif)
    features = datasets.Features({"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=["a", "b"])})
    dataset = datasets.Dataset.from_dict({"img": paths, "fine_label": [0, 0, 1, 1]}, features=features)
    view = DatasetView(dataset)
    assert view.image_size(0) == (30, 10) == view.image(0).size[::-1]
    (tmp_path / "3.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"3\.jpg"):
        view.image(3)
    with pytest.raises(DataError, match="class 'b' has one image"):
        read_images(dataset, resolution=8, on_bad="skip")


def test_it_is_read_into_memory(pets):
    data = read_images(pets.with_transform(to_pixel_values), resolution=8, classes=["dog"])
    assert data.images.shape == (3, 3, 8, 8)
    assert (data.class_names, data.label_numbers) == (("dog",), (1,))


def test_what_cannot_be_used_says_what_to_do(pets):
    with pytest.raises(DataError, match=r"several splits \(train, test\)"):
        DatasetView(datasets.DatasetDict(train=pets, test=pets))
    with pytest.raises(DataError, match="stream"):
        DatasetView(pets.to_iterable_dataset())
    with pytest.raises(DataError, match="holds no images"):
        DatasetView(pets.select([]))
    with pytest.raises(DataError, match="class_encode_column"):
        DatasetView(pets.remove_columns("label").rename_column("name", "label"))
    with pytest.raises(DataError, match="which column is the label"):
        DatasetView(pets.remove_columns("label"))
    with pytest.raises(DataError, match="format is 'pandas'"):
        DatasetView(pets.with_format("pandas"))
