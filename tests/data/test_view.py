import copy
import pickle
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset, random_split
from torchvision import tv_tensors
from torchvision.datasets import CIFAR10, FakeData, ImageFolder, VisionDataset, wrap_dataset_for_transforms_v2
from torchvision.transforms import v2

from ganaug.data import DatasetView, open_folder
from ganaug.errors import DataError

TO_TENSOR = v2.Compose([v2.ToImage(), v2.Resize((12, 10)), v2.ToDtype(torch.float32, scale=True)])


def double(label):
    return 2 * label


class Normalise:
    def __call__(self, image):
        return TO_TENSOR(image) * 2 - 1


class Joint:
    def __call__(self, image, label):
        return TO_TENSOR(image), label + 100


def cifar(transform=None, target_transform=None):
    """CIFAR10 without its download."""
    dataset = CIFAR10.__new__(CIFAR10)
    VisionDataset.__init__(dataset, "nowhere", transform=transform, target_transform=target_transform)
    dataset.data = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), dtype=np.uint8)
    dataset.targets = [0, 1, 2, 2, 1, 0]
    dataset.classes = ["plane", "car", "bird"]
    dataset.class_to_idx = {"plane": 0, "car": 1, "bird": 2}
    return dataset


def same(one, other):
    if isinstance(one, torch.Tensor):
        return type(one) is type(other) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, Image.Image):
        return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def assert_replayed(view, indices=None):
    """What is composed of a dataset's own raw image and label is the dataset's own item, to the last bit."""
    for i in range(len(view)) if indices is None else indices:
        assert same(view.compose(view.image(i), view.label(i), i), view.real(i))


class Mine(Dataset):
    """A user's own dataset: items made by `make` of (PIL image, label)."""

    def __init__(self, draw, make=lambda image, label: (image, label), transform=None):
        self.images = [draw(i) for i in range(4)]
        self.make, self.transform = make, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        if self.transform is not None:
            image = self.transform(image)
        return self.make(image, index % 2)


@pytest.mark.parametrize("transform", [None, TO_TENSOR, Normalise()])
@pytest.mark.parametrize("target_transform", [None, double])
def test_torchvision_datasets_are_read_below_their_transforms(pets, transform, target_transform):
    for dataset in (
        ImageFolder(pets, transform, target_transform),
        cifar(transform, target_transform),
        FakeData(4, (3, 9, 8), 3, transform, target_transform),
    ):
        view = DatasetView(dataset)
        assert len(view) == len(dataset)
        assert all(isinstance(view.image(i), Image.Image) for i in range(len(view)))
        assert_replayed(view)


def test_labels_and_names_are_known_without_reading(pets, monkeypatch):
    view = DatasetView(ImageFolder(pets, target_transform=double))
    monkeypatch.setattr(Image, "open", None)
    assert view.labels() == [0] * 4 + [1] * 4
    assert view.label(7) == 1
    assert type(view.label(7)) is int
    assert view.class_names == ["cat", "dog"]
    assert (view.class_name(1), view.class_name(5), view.class_name(-1)) == ("dog", "5", "-1")


def test_a_size_is_known_without_decoding(tmp_path, draw, monkeypatch):
    (tmp_path / "cat").mkdir()
    for i in range(3):
        draw(i, (24 + i, 20)).save(tmp_path / "cat" / f"{i}.jpg")
    views = [DatasetView(ImageFolder(tmp_path)), DatasetView(open_folder(tmp_path))]
    monkeypatch.setattr(Image.Image, "load", None)
    for view in views:
        assert [view.image_size(i) for i in range(3)] == [(20, 24), (20, 25), (20, 26)]


def test_an_image_on_its_side_has_the_size_it_is_opened_with(pets, draw):
    exif = Image.Exif()
    exif[274] = 6
    draw(1, (30, 10)).save(pets / "cat" / "0.png", exif=exif)
    ours, theirs = DatasetView(open_folder(pets)), DatasetView(ImageFolder(pets))
    assert ours.image_size(0) == (30, 10)
    assert theirs.image_size(0) == (10, 30)
    for view in (ours, theirs):
        assert view.compose(np.zeros((8, 8, 3), np.uint8), 1, 0)[0].size == view.image(0).size


def test_a_synthetic_image_takes_the_size_mode_and_transform_of_real_ones(pets):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    image, label = DatasetView(ImageFolder(pets)).compose(grey, 1, 2)
    assert (image.mode, image.size, label) == ("RGB", (26, 20), 1)
    image, label = DatasetView(ImageFolder(pets, Normalise(), double)).compose(Image.new("L", (8, 8), 255), 1, 0)
    assert image.shape == (3, 12, 10)
    assert (image == 1).all()
    assert label == 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F"])
def test_a_synthetic_image_takes_any_mode(draw, mode):
    dataset = Mine(draw)
    blank = Image.new(mode, (24, 20))
    dataset.images = [blank] * 4
    made, _ = DatasetView(dataset).compose(np.full((8, 8, 3), 200, np.uint8), 0, 0)
    assert (made.mode, made.size) == (mode, (24, 20))
    from ganaug.data import to_uint8

    assert abs(to_uint8(made).mean() - 200) < (60 if mode == "1" else 4)


def test_the_dataset_is_never_changed(pets):
    dataset = ImageFolder(pets, Normalise(), double)
    before = copy.copy(dataset.__dict__)
    view = DatasetView(dataset)
    view.compose(view.image(0), 1, 0)
    view.labels()
    assert dataset.__dict__ == before
    assert dataset[0][0].dtype == torch.float32


def test_reading_below_draws_no_random_number(pets):
    dataset = ImageFolder(pets, v2.RandomCrop(4))
    before = torch.random.get_rng_state()
    DatasetView(dataset).image(0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_joint_transforms():
    class Jointly(VisionDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            image = Image.new("RGB", (9, 8), (index, 0, 0))
            return self.transforms(image, index) if self.transforms is not None else (image, index)

    assert_replayed(DatasetView(Jointly("x", transforms=Joint())))
    assert_replayed(DatasetView(Jointly("x", transform=TO_TENSOR, target_transform=double)))
    assert DatasetView(Jointly("x", transforms=Joint())).compose(Image.new("L", (4, 4)), 1, 0)[1] == 101
    wrapped = wrap_dataset_for_transforms_v2(cifar(TO_TENSOR))
    view = DatasetView(wrapped)
    assert_replayed(view)
    assert view.class_names == ["plane", "car", "bird"]


def test_a_users_own_dataset_with_a_transform(draw):
    assert_replayed(DatasetView(Mine(draw, transform=Normalise())))
    assert_replayed(DatasetView(Mine(draw, lambda i, k: {"image": i, "label": k}, transform=Normalise())))


def test_a_transform_of_the_whole_item(draw):
    class Sampled(Mine):
        def __getitem__(self, index):
            item = {"image": self.images[index], "label": index % 2}
            return self.transform(item) if self.transform else item

    assert_replayed(DatasetView(Sampled(draw, transform=lambda s: {**s, "image": Normalise()(s["image"])})))


def test_a_transform_called_by_name(draw):
    class Named(Mine):
        def __getitem__(self, index):
            return self.transform(image=np.asarray(self.images[index]))["image"], index % 2

    view = DatasetView(Named(draw, transform=lambda image: {"image": image[::-1] / 255.0}))
    assert view.image(0).dtype == np.uint8
    assert_replayed(view)


def test_work_after_the_transform_makes_a_dataset_unknown(draw):
    dataset = Mine(draw, lambda image, label: (image * 2.0, label), transform=TO_TENSOR)
    with pytest.raises(DataError, match=r"float32.*raw=.*transform="):
        DatasetView(dataset)


Pair = namedtuple("Pair", "image label")


@pytest.mark.parametrize(
    "make",
    [
        lambda i, k: (i, k),
        lambda i, k: [i, k],
        Pair,
        lambda i, k: (i, np.int64(k)),
        lambda i, k: (i, torch.tensor(k)),
        lambda i, k: (i, np.array([k])),
        lambda i, k: {"image": i, "label": k},
        lambda i, k: {"label": k, "image": i, "name": f"n{k}"},
        lambda i, k: {"pixel_values": i, "labels": torch.tensor(k)},
    ],
)
def test_items_keep_their_form(draw, make):
    view = DatasetView(Mine(draw, make))
    assert_replayed(view)
    assert view.labels() == [0, 1, 0, 1]
    assert view.class_names is None


@pytest.mark.parametrize(
    "of_image",
    [
        lambda p: torch.from_numpy(np.asarray(p).copy()).permute(2, 0, 1),
        lambda p: torch.from_numpy(np.asarray(p).copy()),
        lambda p: torch.from_numpy(np.asarray(p.convert("L")).copy()),
        lambda p: tv_tensors.Image(p),
        lambda p: np.asarray(p),
        lambda p: np.asarray(p.convert("L")),
        lambda p: np.asarray(p).transpose(2, 0, 1).copy(),
        lambda p: np.asarray(p.convert("L"))[:, :, None].astype(np.uint16) * np.uint16(257),
    ],
)
def test_images_keep_their_kind(draw, of_image):
    view = DatasetView(Mine(draw, lambda image, label: (of_image(image), label)))
    assert_replayed(view)
    assert view.image_size(0) == (20, 24)
    small = view.compose(np.full((8, 8, 3), 77, np.uint8), 1, 0)[0]
    assert (small.shape, small.dtype) == (view.image(0).shape, view.image(0).dtype)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda i, k: i, "of type Image"),
        (lambda i, k: (i, k, 0), "tuples of 3"),
        (lambda i, k: {"picture": i, "label": k}, "dicts with 'picture', 'label'"),
        (lambda i, k: (i, "cat"), "a label is 'cat' of type str"),
        (lambda i, k: (i, torch.eye(2)[k]), "a label has shape"),
        (lambda i, k: ("a.jpg", k), "images are str"),
        (lambda i, k: (torch.zeros(3, 8, 8), k), "images of float32"),
        (lambda i, k: (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), k), "shape"),
    ],
)
def test_items_of_another_form_are_an_error_that_names_it(draw, make, said):
    with pytest.raises(DataError, match=said):
        DatasetView(Mine(draw, make))


@pytest.mark.parametrize("dataset", [[], 5, iter([1]), {"train": [1]}])
def test_what_is_no_dataset(dataset):
    with pytest.raises(DataError):
        DatasetView(dataset)


def test_kept_labels_that_are_not_the_items_labels_are_not_believed(draw):
    dataset = Mine(draw)
    dataset.targets = [1, 1, 1, 1]
    assert DatasetView(dataset).labels() == [0, 1, 0, 1]


def test_subsets_and_concatenations(pets):
    folder, other = ImageFolder(pets, Normalise(), double), open_folder(pets)
    part, _ = random_split(folder, [5, 3], torch.Generator().manual_seed(0))
    both = ConcatDataset([Subset(part, [4, -1, 0]), other, Subset(folder, [7])])
    view = DatasetView(both)
    assert len(view) == 12
    assert view.class_names == ["cat", "dog"]
    assert view.known_labels() == view.labels()
    assert view.labels()[3:] == [0] * 4 + [1] * 4 + [1]
    assert [view.labels()[k] * 2 for k in range(3)] == [both[k][1] for k in range(3)]
    assert [view.image_size(i)[1] for i in (3, 6, 11)] == [24, 27, 27]
    assert_replayed(view)


def test_concatenated_datasets_must_name_the_same_classes(pets):
    with pytest.raises(DataError, match=r"\[cat, dog\] and \[plane, car, bird\]"):
        DatasetView(ConcatDataset([ImageFolder(pets), cifar()]))


def test_names_follow_their_numbers():
    dataset = cifar()
    dataset.classes, dataset.class_to_idx = ["a", "b"], {"a": 2, "b": 0}
    assert DatasetView(dataset).class_names == ["b", "1", "a"]
    dataset.classes, dataset.class_to_idx = [("cat", "tom"), ("dog",)], {"cat": 0, "tom": 0, "dog": 1}
    assert DatasetView(dataset).class_names == ["cat, tom", "dog"]


def test_a_transform_for_a_dataset_that_has_none():
    images = torch.randint(0, 255, (4, 3, 8, 8), dtype=torch.uint8)
    view = DatasetView(TensorDataset(images, torch.tensor([0, 1, 0, 1])), transform=lambda image: image / 255)
    assert view.real(1)[0].max() <= 1
    assert same(view.getitems([1, 2]), [view.real(1), view.real(2)])
    assert_replayed(view)


def test_raw_and_transform_for_a_normalised_dataset(draw):
    normal = Mine(draw, lambda image, label: {"image": Normalise()(image), "label": label, "id": 5})
    view = DatasetView(normal, raw=Mine(draw), transform=Normalise())
    assert_replayed(view)
    with pytest.raises(DataError, match="without transform="):
        DatasetView(normal, raw=Mine(draw)).compose(draw(1), 0, 0)
    with pytest.raises(DataError, match="raw= has 3 images and the dataset 4"):
        DatasetView(normal, raw=Subset(Mine(draw), range(3)))
    with pytest.raises(DataError, match="image 0 has label 0 in the dataset and 1 in raw="):
        DatasetView(normal, raw=Subset(Mine(draw), [1, 0, 2, 3]))


def test_batches_come_by_the_datasets_own_way():
    class Batched(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return np.zeros((8, 8), np.uint8), index

        def __getitems__(self, indices):
            return [(np.ones((8, 8), np.uint8), i) for i in indices]

    items = DatasetView(Batched()).getitems([2, 0])
    assert [(int(image[0, 0]), label) for image, label in items] == [(1, 2), (1, 0)]


def test_a_bad_image_is_named(pets):
    (pets / "cat" / "0.png").write_bytes(b"no")
    view = DatasetView(ImageFolder(pets, Normalise()))
    with pytest.raises(DataError, match=r"cat/0\.png"):
        view.image(0)
    assert_replayed(view, [1, 7])


class Through(Dataset):
    def __init__(self, view):
        self.view = view

    def __len__(self):
        return len(self.view)

    def __getitem__(self, index):
        return self.view.compose(self.view.image(index), self.view.label(index), index)


def test_a_view_works_in_spawned_workers(pets):
    unnamed = cifar(Normalise(), double)
    del unnamed.classes, unnamed.class_to_idx
    view = DatasetView(ConcatDataset([ImageFolder(pets, Normalise(), double), unnamed]))
    again = pickle.loads(pickle.dumps(view))
    assert_replayed(again)
    assert again.labels() == view.labels()
    # pickled as a spawned worker gets it; starting one takes seconds here and shows no more
    loader = DataLoader(Through(again), batch_size=4, num_workers=1, multiprocessing_context="fork")
    assert torch.equal(torch.cat([images for images, _ in loader]), torch.stack([view.real(i)[0] for i in range(14)]))
