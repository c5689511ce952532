import copy
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.data.box_view import BoxView
from ganaug.data.scene_material import RealObjects
from ganaug.errors import DataError
from ganaug.recipe import Scenes

SIZE = 80, 100  # height, width
RED, BLUE = (220, 30, 30), (30, 30, 220)


class Drawn:
    """Red boxes of class 3 and blue ones of class 5 on grey, as torchvision's detection references have it."""

    classes = ("none", "a", "b", "red", "c", "blue")

    def __init__(self, count=6, kind="tv", masks=False, transforms=None):
        self.count, self.kind, self.masks, self.transforms = count, kind, masks, transforms

    def __len__(self):
        return self.count

    def parts(self, index):
        random = np.random.default_rng(index)
        pixels = np.full((*SIZE, 3), 128, dtype=np.uint8) + random.integers(0, 4, (*SIZE, 3), dtype=np.uint8)
        left = int(random.integers(5, 20))
        boxes = np.array([[left, 10, left + 24, 30], [left + 40, 40, left + 60, 66]], dtype=np.float32)[: index % 3]
        masks = np.zeros((len(boxes), *SIZE), dtype=np.uint8)
        for row, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
            pixels[y1:y2, x1:x2] = (RED, BLUE)[row]
            masks[row, y1:y2, x1:x2] = 1
        return pixels, boxes, np.array([3, 5])[: len(boxes)], masks

    def __getitem__(self, index):
        pixels, boxes, labels, masks = self.parts(index)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        target = {
            "boxes": torch.from_numpy(boxes), "labels": torch.from_numpy(labels), "image_id": index,
            "area": torch.from_numpy(areas), "iscrowd": torch.zeros(len(boxes), dtype=torch.int64),
        }  # fmt: skip
        if self.masks:
            target["masks"] = torch.from_numpy(masks)
        if self.kind == "tv":
            target["boxes"] = tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=SIZE)
            if self.masks:
                target["masks"] = tv_tensors.Mask(target["masks"])
        image = torch.from_numpy(pixels).permute(2, 0, 1) if self.kind == "tensor" else Image.fromarray(pixels)
        return (image, target) if self.transforms is None else self.transforms(image, target)


class Pool:
    """Discs of white, of the bank's class 0 and 1; what is outside alpha is of no use."""

    def __getitem__(self, at):
        y, x = np.mgrid[:32, :32] + 0.5
        alpha = ((y - 16) ** 2 + (x - 16) ** 2 < 144).astype(np.uint8) * np.uint8(255)
        colour = np.zeros((32, 32, 3), dtype=np.uint8)
        colour[alpha > 0] = 250, 250, 200 + at[0]
        return np.dstack([colour, alpha])


def view_of(dataset=None, **settings):
    more = {key: settings.pop(key) for key in ("raw", "transform") if key in settings}
    chosen = Scenes(**{"blends": ("hard", "feathered"), "colour": 0.0, "rotation": 0.0, "distractors": 0.0} | settings)
    view = BoxView(Drawn() if dataset is None else dataset, settings=chosen, **more)
    view.samples_for({0: 40}, ("red", "blue"), (3, 5))
    return view


def scenes(view, count=30, samples=None):
    return [view.synthetic(samples or Pool(), (0, index), 0, 0, "crop", (0, 0, index)) for index in range(count)]


def pixels_of(image):
    pixels = image.permute(1, 2, 0).numpy() if isinstance(image, torch.Tensor) else np.array(image)
    return pixels.astype(int)


def holds(image, box, *colours):
    left, top, right, bottom = (int(number) for number in box)
    part = pixels_of(image)[top:bottom, left:right]
    return max((np.abs(part - colour).max(2) < 60).mean() for colour in colours)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_every_box_holds_an_object_of_its_class(share):
    white = (250, 250, 200)
    seen = set()
    for image, target in scenes(view_of(real=share)):
        assert image.size == SIZE[::-1]
        for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            assert holds(image, box, RED if label == 3 else BLUE, white) > 0.5
            seen.add((label, holds(image, box, white) > 0.5))
    assert {label for label, _ in seen} == {3, 5}
    assert (True in {pasted for _, pasted in seen}) == (share == 0.0)


@pytest.mark.parametrize(("kind", "masks"), [("tv", False), ("tv", True), ("plain", True), ("tensor", False)])
def test_an_item_has_the_form_of_the_datasets_own(kind, masks):
    dataset = Drawn(kind=kind, masks=masks)
    image, target = dataset[1]
    for made, said in scenes(view_of(dataset), 12):
        assert type(made) is type(image)
        assert list(said) == list(target)
        count = len(said["boxes"])
        for key in ("boxes", "labels", "area", "iscrowd"):
            assert type(said[key]) is type(target[key])
            assert said[key].dtype == target[key].dtype
            assert len(said[key]) == count
        spans = said["boxes"][:, 2:] - said["boxes"][:, :2]
        if kind == "tv":
            assert said["boxes"].canvas_size == SIZE
        if masks:
            assert type(said["masks"]) is type(target["masks"])
            assert said["masks"].shape == (count, *SIZE)
            assert (said["masks"].sum((1, 2)) > 0).all()
        assert torch.allclose(said["area"], spans.prod(1).as_subclass(torch.Tensor))


def test_an_image_without_objects_may_say_nothing_of_them():
    """As torchvision's wrapper of CocoDetection has it, whose areas are lists too."""

    class Wrapped(Drawn):
        def __getitem__(self, index):
            image, target = super().__getitem__(index)
            lists = {"area": target["area"].tolist(), "iscrowd": target["iscrowd"].tolist()}
            return image, target | lists if len(target["boxes"]) else {"image_id": index}

    found = scenes(view_of(Wrapped(masks=True)), 20)
    assert any(target["image_id"] % 3 == 0 for _, target in found)
    for _, target in found:
        assert {type(number) for number in target["iscrowd"]} == {int}
        assert {type(number) for number in target["area"]} == {float}
        assert len(target["masks"]) == len(target["boxes"]) == len(target["iscrowd"])


def test_boxes_come_in_the_format_of_the_datasets():
    class Centres(Drawn):
        def __getitem__(self, index):
            image, target = super().__getitem__(index)
            boxes = target["boxes"]
            target["boxes"] = v2.functional.convert_bounding_box_format(
                boxes, new_format=tv_tensors.BoundingBoxFormat.CXCYWH
            )
            return image, target

    for (_, ours), (_, theirs) in zip(scenes(view_of()), scenes(view_of(Centres())), strict=True):
        assert theirs["boxes"].format == tv_tensors.BoundingBoxFormat.CXCYWH
        turned = v2.functional.convert_bounding_box_format(
            theirs["boxes"], new_format=tv_tensors.BoundingBoxFormat.XYXY
        )
        assert torch.allclose(turned.as_subclass(torch.Tensor), ours["boxes"].as_subclass(torch.Tensor))


def test_the_datasets_own_joint_transform_is_applied():
    flip = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.ToImage()])
    plain, flipped = scenes(view_of(), 10), scenes(view_of(Drawn(transforms=flip)), 10)
    for (image, target), (mirrored, turned) in zip(plain, flipped, strict=True):
        assert np.array_equal(pixels_of(image)[:, ::-1], pixels_of(mirrored))
        assert torch.equal(SIZE[1] - target["boxes"][:, 0], turned["boxes"][:, 2])


def test_raw_and_transform():
    normal = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    view = view_of(Drawn(transforms=normal), raw=Drawn(), transform=normal)
    image, target = scenes(view, 1)[0]
    assert image.dtype == torch.float32
    assert len(target["boxes"])
    assert torch.equal(view.real(1)[0], normal(*Drawn()[1])[0])
    with pytest.raises(DataError, match="pass raw="):
        BoxView([(np.zeros((4, 4, 3), np.float32), Drawn()[1][1])])


def test_the_same_seed_gives_the_same_scene_after_pickling_too():
    view = view_of()
    again = pickle.loads(pickle.dumps(view))
    for (image, target), (other, said) in zip(scenes(view, 8), scenes(again, 8), strict=True):
        assert np.array_equal(pixels_of(image), pixels_of(other))
        assert torch.equal(target["boxes"], said["boxes"])
    other = view.synthetic(Pool(), (0, 0), 0, 0, "crop", (0, 1, 0))
    assert not np.array_equal(pixels_of(other[0]), pixels_of(scenes(view, 1)[0][0]))


def test_what_is_known_of_objects_alone_is_left_out_and_the_rest_kept():
    class More(Drawn):
        def __getitem__(self, index):
            image, target = super().__getitem__(index)
            return image, target | {"hard": [True] * len(target["boxes"]), "camera": "left"}

    view = view_of(More(count=3))
    for _, target in scenes(view, 6):
        assert target["camera"] == "left"
        assert len(target.get("hard", ())) in (0, len(target["boxes"]))


def test_classes_are_matched_by_name_else_by_number():
    view = BoxView(Drawn(), settings=Scenes(real=0.0))
    assert set(view.samples_for({0: 100}, ("blue", "red"), (0, 1))) == {0, 1}
    assert set(view.samples_for({0: 100}, ("blue", "other"), (0, 1))) == {0}
    with pytest.raises(DataError, match="share no class"):
        view.samples_for({0: 100}, ("cat", "dog"), (3, 5))
    nameless = Drawn()
    nameless.classes = None
    unnamed = BoxView(nameless, settings=Scenes(real=0.0))
    assert set(unnamed.samples_for({0: 100}, ("cat", "dog"), (3, 5))) == {0, 1}
    only_real = BoxView(Drawn(), settings=Scenes(real=1.0))
    assert only_real.samples_for({0: 100}, ("red", "blue"), (3, 5)) == {}


def test_a_class_that_the_bank_does_not_know_has_real_objects():
    view = BoxView(Drawn(), settings=Scenes(colour=0.0, blends=("hard",), real=0.5))
    view.samples_for({0: 20}, ("red",), (3,))
    blue = 0
    for image, target in scenes(view):
        for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            if label == 5:
                blue += 1
                assert holds(image, box, BLUE) > 0.5
    assert blue > 10


def test_subsets_sizes_and_names():
    view = BoxView(Subset(Drawn(), [5, 2]))
    assert len(view) == 2
    assert view.labels() == [0, 0]
    target, size = view.target(0)
    assert (len(target), size) == (2, SIZE)
    assert view.image_size(0) == (32, 32)  # 1.3 times the mean of 24 and 26
    assert view.what == "objects"


def test_real_objects_are_cut_from_what_can_be_read():
    view = BoxView(Drawn(count=9))
    targets = {index: view.target(index)[0] for index in range(9)}

    def read(index):
        if index == 2:
            raise DataError("broken")
        return view.read(index)

    found = RealObjects.gather(targets, dict.fromkeys(targets, SIZE), read, masks=False)
    assert {label: len(cutouts) for label, cutouts in found.cutouts.items()} == {3: 5, 5: 2}
    assert np.abs(found.around[3] - 129).max() < 8
    for cutout in found.cutouts[3]:
        left, top, right, bottom = cutout.box()
        assert (right - left, bottom - top) == (24, 20)


@pytest.mark.parametrize("fault", ["pale", "piece", "haze", "nothing"])
def test_objects_that_could_hardly_be_seen_are_left_out(fault):
    class Pale(Pool):
        def __getitem__(self, at):
            sample = super().__getitem__(at)
            if fault == "pale":
                sample[:, :, :3] = 132
            elif fault == "piece":
                sample[:, :14, 3] = sample[:18, :, 3] = 0
            elif fault == "haze":
                sample[:, :, 3] = np.maximum(100, sample[:, :, 3])
            else:
                sample[:, :, 3] = 100
            return sample

    seen, pale = view_of(real=0.0), view_of(real=0.0)
    assert sum(len(target["boxes"]) for _, target in scenes(pale, 12, Pale())) < sum(
        len(target["boxes"]) for _, target in scenes(seen, 12)
    )
    for image, target in scenes(pale, 12, Pale()):
        for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            assert holds(image, box, RED if label == 3 else BLUE) > 0.9


def test_bad_input_is_said_in_one_line():
    image, target = Drawn()[1]
    for wrong, said in (
        ([], "holds no images"),
        ([(image, 3)] * 2, "is a int; wanted a dict with boxes and labels"),
        ([(image, {"boxes": target["boxes"]})] * 2, "no 'labels'"),
        ([(image, {**target, "boxes": target["boxes"] + 500})] * 2, "beyond its image"),
        ([Drawn()[0]] * 2, "no image of the dataset has an object"),
        (3, "wanted a map-style dataset"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            BoxView(wrong)
        assert "\n" not in str(caught.value)
    reversed_box = copy.deepcopy(target)
    reversed_box["boxes"] = reversed_box["boxes"][:, [2, 1, 0, 3]]
    with pytest.raises(DataError, match="item 0 of the dataset box 1: a box is reversed"):
        BoxView([(image, reversed_box)])


@pytest.mark.parametrize(("full", "tries"), [(0, 1), (2, 3), (9, 4)])
def test_where_nothing_can_be_pasted_another_image_is_tried_within_a_bound(monkeypatch, full, tries):
    view = BoxView(Drawn())
    view.use_real_objects()
    composed, tried = view._composed, []

    def crowded(index, samples, random, ground):
        tried.append(index)
        item, pasted = composed(index, samples, random, ground)
        return item, 0 if len(tried) <= full else pasted

    monkeypatch.setattr(view, "_composed", crowded)
    _, target = view.synthetic(None, (0, 0), 0, 0, "crop", [1])
    assert len(tried) == tries
    assert len(target["boxes"]) == len(target["labels"])
