"""Over hundreds of drawn scenes: every box holds its object, and nothing else is changed."""

import numpy as np
import pytest

from ganaug.compositing import CutOut, Scene, SceneComposer, SceneStatistics
from ganaug.compositing.placing import overlaps
from ganaug.recipe import Scenes

SIZE = 96, 128  # height, width
COLOURS = {0: (230, 20, 20), 3: (20, 230, 20)}  # of the pasted objects; the real ones are blue
PLAIN = {"blends": ("hard", "feathered", "gaussian"), "colour": 0.0, "rotation": 25.0}


def real_scene(seed, masks=False, count=4):
    """Blue boxes of class 0 on grey."""
    random = np.random.default_rng(seed)
    image = np.full((*SIZE, 3), 120, dtype=np.uint8)
    image += random.integers(0, 6, image.shape, dtype=np.uint8)
    spans = random.integers(10, 22, (count, 2))
    starts = np.stack([random.integers(0, SIZE[1] - spans[:, 0]), random.integers(0, SIZE[0] - spans[:, 1])], 1)
    boxes = np.concatenate([starts, starts + spans], 1).astype(np.float32)
    shapes = np.zeros((count, *SIZE), dtype=bool)
    for row, (left, top, right, bottom) in enumerate(boxes.astype(int)):
        image[top:bottom, left:right] = (20, 20, 230)
        shapes[row, top:bottom, left:right] = True
        shapes[:row] &= ~shapes[row]
    keep = shapes.any((1, 2))
    return Scene(
        image, boxes[keep], np.where(np.arange(count) == 0, 3, 0)[keep], shapes[keep] if masks else None, ~keep[keep]
    )


def discs(label, random):
    """A disc of the class's colour in a square of grey."""
    side = int(random.integers(20, 40))
    y, x = np.mgrid[:side, :side] + 0.5
    inside = (y - side / 2) ** 2 + (x - side / 2) ** 2 < (side / 2 - 3) ** 2
    pixels = np.where(inside[:, :, None], np.uint8(COLOURS[label]), np.uint8((120, 120, 120)))
    return CutOut(pixels, inside.astype(np.uint8) * np.uint8(255), label)


@pytest.fixture(scope="module")
def statistics():
    scenes = [real_scene(seed) for seed in range(20)]
    return SceneStatistics.of([s.boxes for s in scenes], [s.labels for s in scenes], [SIZE] * len(scenes))


def drawn(statistics, count, masks=False, **settings):
    composer = SceneComposer(statistics, Scenes(**PLAIN | settings), flip=True)
    for seed in range(count):
        real = real_scene(seed % 20, masks)
        yield real, composer.compose(real, discs, np.random.default_rng(seed))


def pixels_in(image, box, colour):
    left, top, right, bottom = box.astype(int)
    part = image[top:bottom, left:right].astype(int)
    return np.abs(part - colour).max(2) < 60


def check(real, made):
    height, width = SIZE
    assert made.image.shape == real.image.shape
    assert made.boxes.dtype == np.float32
    assert (made.boxes[:, :2] >= 0).all()
    assert (made.boxes[:, 2:] <= (width, height)).all()
    assert (made.boxes[:, 2:] - made.boxes[:, :2] >= 1).all()
    assert len(made.boxes) == len(made.labels) == len(made.crowd) == len(made.origin)
    for box, label, origin in zip(made.boxes, made.labels, made.origin, strict=True):
        if origin < 0:
            there = pixels_in(made.image, box, COLOURS[int(label)])
            assert there.mean() > 0.3, "an object fills more of its box"
            # the object reaches all four sides of its box, but for what a soft edge takes
            assert all(there[side].any() for side in (slice(0, 4), slice(-4, None)))
            assert all(there[:, side].any() for side in (slice(0, 4), slice(-4, None)))
        else:
            assert label == real.labels[origin]


@pytest.mark.parametrize("masks", [False, True])
def test_every_box_is_in_its_image_and_holds_its_object(statistics, masks):
    pasted = 0
    for real, made in drawn(statistics, 100, masks, objects=1.5, distractors=1.0):
        check(real, made)
        pasted += (made.origin < 0).sum()
        if masks:
            assert made.masks.shape == (len(made.boxes), *SIZE)
            assert (made.masks.sum(0) <= 1).all(), "what is seen of one object is not seen of another"
            for box, mask in zip(made.boxes, made.masks, strict=True):
                left, top, right, bottom = box
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                assert (rows[0] >= top - 1) & (rows[-1] < bottom + 1)
                assert (columns[0] >= left - 1) & (columns[-1] < right + 1)
    assert pasted > 100


def test_the_same_seed_gives_the_same_scene(statistics):
    for (_, one), (_, other) in zip(drawn(statistics, 20), drawn(statistics, 20), strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.boxes, other.boxes)
    images = [made.image.tobytes() for _, made in drawn(statistics, 40)]
    assert len(set(images)) == 40


def test_the_real_image_is_left_alone(statistics):
    real = real_scene(1, masks=True)
    before = real.image.copy(), real.masks.copy(), real.boxes.copy()
    composer = SceneComposer(statistics, Scenes(objects=4.0, hidden=1.0))
    composer.compose(real, discs, np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip(before, (real.image, real.masks, real.boxes), strict=True))


def test_what_is_not_covered_keeps_its_box_to_the_bit(statistics):
    real = real_scene(2)
    boxes = real.boxes + np.float32(0.3)
    made = SceneComposer(statistics, Scenes(hidden=0.0, truncated=0.0)).compose(
        Scene(real.image, boxes, real.labels, None, real.crowd), discs, np.random.default_rng(3)
    )
    kept = made.origin >= 0
    assert np.array_equal(made.boxes[kept], boxes[made.origin[kept]])
    assert kept.sum() == len(boxes)


def test_nothing_is_hidden_more_than_the_settings_allow(statistics):
    shrunk = 0
    for real, made in drawn(statistics, 80, True, objects=3.0, hidden=0.4, truncated=0.0, rotation=0.0):
        assert set(made.origin[made.origin >= 0]) == set(range(len(real.boxes)))
        for mask, box, origin in zip(made.masks, made.boxes, made.origin, strict=True):
            if origin >= 0:
                assert mask.sum() >= 0.59 * real.masks[origin].sum()
                shrunk += (box != real.boxes[origin]).any()
    assert shrunk > 0, "some box of a covered object is smaller than it was"


def test_a_covered_object_can_lose_its_label(statistics):
    """A real object of two pixels under a large one is gone where the settings say so."""
    image = np.full((*SIZE, 3), 120, dtype=np.uint8)
    boxes = np.array([[x, y, x + 2, y + 2] for x in range(0, 126, 9) for y in range(0, 94, 9)], dtype=np.float32)
    real = Scene(image, boxes, np.zeros(len(boxes), dtype=np.int64), None, np.zeros(len(boxes), dtype=bool))
    gone = SceneComposer(statistics, Scenes(objects=4.0, hidden=0.5, gone=0.5))
    kept = SceneComposer(statistics, Scenes(objects=4.0, hidden=0.5, gone=0.0))
    lost = 0
    for seed in range(10):
        lost += (gone.compose(real, discs, np.random.default_rng(seed)).origin >= 0).sum() < len(boxes)
        assert (kept.compose(real, discs, np.random.default_rng(seed)).origin >= 0).sum() == len(boxes)
    assert lost > 4


def test_the_border_cuts_off_as_often_as_in_the_set():
    inner = np.array([[40, 40, 60, 60]], dtype=np.float32)
    outer = np.array([[0, 40, 20, 60]], dtype=np.float32)
    touching = []
    for boxes in (inner, outer):
        statistics = SceneStatistics.of([boxes] * 3, [np.zeros(1, dtype=np.int64)] * 3, [SIZE] * 3)
        composer = SceneComposer(statistics, Scenes(**PLAIN, objects=1.0, truncated=0.3, scale=0.0))
        found = []
        for seed in range(60):
            real = Scene(np.full((*SIZE, 3), 120, np.uint8), boxes[:0], np.zeros(0, np.int64), None, np.zeros(0, bool))
            made = composer.compose(real, discs, np.random.default_rng(seed))
            spans = made.boxes[:, 2:] - made.boxes[:, :2]
            found += (spans.min(1) < 17).tolist()  # cut off, of 20 pixels
        touching.append(np.mean(found))
    assert touching[0] == 0
    assert touching[1] > 0.25


def test_sizes_and_classes_follow_the_set(statistics):
    made = [scene for _, scene in drawn(statistics, 200, rotation=0.0, scale=0.0, truncated=0.0, hidden=0.0)]
    boxes = np.concatenate([scene.boxes[scene.origin < 0] for scene in made])
    labels = np.concatenate([scene.labels[scene.origin < 0] for scene in made])
    real = np.concatenate([statistics.classes[cls].sizes for cls in (0, 3)]) * np.sqrt(SIZE[0] * SIZE[1])
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    assert (sides > real.min() - 2).all()
    assert (sides < real.max() + 2).all()
    assert abs(np.median(sides) - np.median(np.sqrt(real.prod(1)))) < 2.5
    assert statistics.weights(0.0) == {0: 0.5, 3: 0.5}
    assert statistics.weights(1.0)[3] > 0.7, "three times as rare"
    share = statistics.weights(0.5)[3]
    assert abs((labels == 3).mean() - share) < 0.12


def test_distractors_have_no_label_and_touch_no_object(statistics):
    """A piece of striped ground is seen elsewhere, outside all boxes."""
    image = np.tile((np.arange(SIZE[1]) * 2 % 256).astype(np.uint8)[None, :, None], (SIZE[0], 1, 3))
    real = Scene(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), None, np.zeros(0, bool))
    composer = SceneComposer(statistics, Scenes(**PLAIN | {"blends": ("hard",)}, distractors=1.0))
    seen = 0
    for seed in range(20):
        made = composer.compose(real, discs, np.random.default_rng(seed))
        changed = (made.image != image).any(2)
        for left, top, right, bottom in made.boxes.astype(int):
            changed[top - 1 if top else 0 : bottom + 1, left - 1 if left else 0 : right + 1] = False
        seen += changed.sum() > 20
    assert seen > 10


def test_what_covers_what():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60]], dtype=np.float32)
    assert overlaps(boxes).tolist() == [0.5, 0.5, 0.0]
    assert overlaps(boxes[:1], np.array([[0, 0, 100, 5]], dtype=np.float32)).tolist() == [0.5]
    assert overlaps(boxes[:0]).tolist() == []


def test_a_class_without_an_object_is_left_out(statistics):
    composer = SceneComposer(statistics, Scenes(**PLAIN))
    real = real_scene(0)
    made = composer.compose(real, lambda label, random: None, np.random.default_rng(0))
    assert np.array_equal(made.image, real.image)
    assert np.array_equal(made.boxes, real.boxes)


def test_a_speck_of_an_object_is_not_enlarged(statistics):
    def specks(label, random):
        alpha = np.zeros((32, 32), dtype=np.uint8)
        alpha[10:13, 10:13] = 255
        return CutOut(np.full((32, 32, 3), COLOURS[label], dtype=np.uint8), alpha, label)

    made = SceneComposer(statistics, Scenes(**PLAIN)).compose(real_scene(0), specks, np.random.default_rng(0))
    assert np.array_equal(made.image, real_scene(0).image)
    assert (made.origin >= 0).all()


def test_where_none_could_be_pasted_a_few_others_are_tried(statistics):
    composer = SceneComposer(statistics, Scenes(**PLAIN | {"objects": 0.01}))
    asked = []

    def late(after):
        asked.clear()

        def objects(label, random):
            asked.append(label)
            return discs(label, random) if len(asked) > after else None

        return objects

    made = composer.compose(real_scene(0), late(after=2), np.random.default_rng(0))
    assert (made.origin < 0).sum() == 1
    assert len(asked) == 3
    made = composer.compose(real_scene(0), late(after=99), np.random.default_rng(0))
    assert (made.origin >= 0).all()
    assert len(asked) == 5
