"""Objects pasted into real images, with boxes of what can be seen of them.

Cut and paste of objects as augmentation: Dwibedi et al. 2017 (1708.01642), Ghiasi et al. 2020 (2012.07177). How many
objects there are, how large and where follows from the set's own images; see `SceneStatistics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Union

import numpy as np
import numpy.typing as npt

from ganaug.compositing.blending import Blend, blended
from ganaug.compositing.cutouts import SOLID, Box, CutOut, bounds, transformed, turned_size
from ganaug.compositing.placing import SceneStatistics, overlaps
from ganaug.recipe import Scenes

__all__ = ["Scene", "SceneComposer"]

Pixels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Objects = Callable[[int, np.random.Generator], Union[CutOut, None]]
"""An object of a class, or none where there is none of it."""

_TRIES = 12  # places tried for an object
_EXACT_TRIES = 4  # of those that are free, how many are looked at pixel by pixel
_MORE_TRIES = 4  # objects tried where none of those that were wanted could be put anywhere
_SPECK = 4  # times that a cut-out may be larger than its object: a generator's failure, which would be enlarged vastly
_LEAST = 3  # pixels along either side of an object's box
_LARGEST = 0.8  # of the image's sides
_SPARE = 0.05  # added to the overlap that real objects have


@dataclass(frozen=True)
class Scene:
    """An image and the objects in it."""

    image: Pixels
    """(H, W, C)."""
    boxes: npt.NDArray[np.float32]
    """(n, 4): left, top, right, bottom in pixels, inside the image, of what can be seen."""
    labels: npt.NDArray[np.int64]
    """(n,)."""
    masks: Bools | None
    """(n, H, W): what can be seen; none where the set has no masks."""
    crowd: Bools
    """(n,): boxes around many objects at once."""
    origin: npt.NDArray[np.int64] | None = None
    """(n,): which object of the real image each was; -1 of one that was pasted. None of a real image."""

    def erased(self, ground: Pixels) -> Scene:
        """The image without its objects, which is given; those that stand for a crowd are there still."""
        rows = np.flatnonzero(self.crowd)
        masks = None if self.masks is None else self.masks[rows]
        return Scene(ground, self.boxes[rows], self.labels[rows], masks, self.crowd[rows], rows)


@dataclass
class _Thing:
    """An object in a scene that is being made."""

    box: npt.NDArray[np.float32]
    label: int
    crowd: bool
    origin: int
    left: int
    top: int
    visible: Bools
    """(h, w), from (top, left) on: what can be seen of it; of a box, its pixels."""
    area: int
    """Pixels of the whole object."""
    shown: int
    """How many of them can be seen."""
    covered: bool = False
    """Whether something was pasted over it."""

    def seen(self) -> npt.NDArray[np.float32]:
        """(4,): the box of what can be seen, within the box that it had."""
        inside = bounds(self.visible)
        assert inside is not None, "dropped when nothing was left of it"
        box = np.array(inside, dtype=np.float32) + np.array([self.left, self.top] * 2)
        return np.concatenate([np.maximum(box[:2], self.box[:2]), np.minimum(box[2:], self.box[2:])]).astype(np.float32)

    def part(self, box: Box) -> tuple[slice, slice, slice, slice] | None:
        """Rows and columns of a box in `visible`, and of the same pixels in the box; none where they do not meet."""
        height, width = self.visible.shape
        left, top = max(box[0], self.left), max(box[1], self.top)
        right, bottom = min(box[2], self.left + width), min(box[3], self.top + height)
        if left >= right or top >= bottom:
            return None
        return (
            slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left),
            slice(top - box[1], bottom - box[1]), slice(left - box[0], right - box[0]),
        )  # fmt: skip


class SceneComposer:
    """Makes new scenes of real ones.

    Args:
        statistics: of the set, which has an object at least.
        settings: of the recipe.
        flip: whether a mirrored object may be one.
    """

    def __init__(self, statistics: SceneStatistics, settings: Scenes, *, flip: bool = False) -> None:
        self.statistics, self.settings, self._flip = statistics, settings, flip
        weights = statistics.weights(settings.rarity)
        self._labels, self._weights = list(weights), list(weights.values())

    def compose(self, scene: Scene, objects: Objects, random: np.random.Generator, many: float | None = None) -> Scene:
        """The scene with objects pasted into it; its own image is not changed.

        An object that cannot be put anywhere without hiding another too much, or being hidden, is left out, and where
        that leaves none a few others are tried; one of the scene's own of which less than `settings.gone` can still be
        seen loses its label.

        Args:
            scene: a real one, or one whose objects were erased.
            objects: gives the objects.
            random: decides everything.
            many: objects to paste, by how many an image of the set has; `settings.objects` by default.
        """
        canvas = _Canvas(scene, self.settings)
        counts = self.statistics.counts
        wanted = round((self.settings.objects if many is None else many) * int(counts[random.integers(len(counts))]))
        wanted = min(self.settings.most, max(1, wanted))
        for number in range(wanted + _MORE_TRIES):
            if number >= wanted and canvas.pasted:
                break
            label = int(random.choice(self._labels, p=self._weights))
            cutout = objects(label, random)
            if cutout is not None:
                self._add(canvas, cutout, random)
        return canvas.scene()

    def _add(self, canvas: _Canvas, cutout: CutOut, random: np.random.Generator) -> None:
        """Paste an object where it may be, and a piece of ground of its shape somewhere else, in the same way."""
        settings, known = self.settings, self.statistics.classes[cutout.label]
        box = cutout.box()
        if box is None:
            return
        width, height = box[2] - box[0], box[3] - box[1]
        if _SPECK * max(width, height) < max(cutout.alpha.shape):
            return
        side = known.side(width / height, random) * math.sqrt(canvas.size[0] * canvas.size[1])
        side *= math.exp(random.uniform(-settings.scale, settings.scale))
        angle = random.uniform(-settings.rotation, settings.rotation)
        flip = self._flip and random.random() < 0.5
        blend, softness = settings.blends[int(random.integers(len(settings.blends)))], float(random.random())
        strength = settings.colour * math.sqrt(random.random())
        overlap = known.overlap(random) + _SPARE
        over = settings.truncated if random.random() < known.cut_off else 0.0
        scale = side / math.sqrt(width * height)
        spans = turned_size(width, height, angle)
        scale = min(scale, _LARGEST * canvas.size[1] / spans[0], _LARGEST * canvas.size[0] / spans[1])
        shown = spans[0] * scale, spans[1] * scale
        starts = _starts(known.centres_like(_TRIES, random), shown, canvas.size, over, random)
        free = canvas.free(starts, shown, overlap)
        if not len(free):
            return
        made = transformed(cutout, scale=scale, angle=angle, flip=flip)
        for start in free[:_EXACT_TRIES]:
            place = canvas.place(made, start)
            if place is not None and canvas.allows(made, place):
                canvas.paste(made, place, blend, softness, strength)
                break
        else:
            return
        if random.random() < settings.distractors:
            self._distract(canvas, made, blend, softness, random)

    def _distract(
        self, canvas: _Canvas, cutout: CutOut, blend: Blend, softness: float, random: np.random.Generator
    ) -> None:
        """Paste ground in the shape of an object onto other ground, with no label."""
        places: list[tuple[int, int]] = []
        height, width = cutout.alpha.shape
        for _ in range(_TRIES):
            x, y = random.random(2) * (canvas.size[1] - width, canvas.size[0] - height)
            if x >= 0 and y >= 0 and canvas.empty((int(x), int(y), int(x) + width, int(y) + height)):
                places.append((int(x), int(y)))
            if len(places) == 2:
                piece = canvas.ground(places[0], cutout.alpha.shape)
                canvas.blend(replace(cutout, pixels=piece, around=None), places[1], blend, softness, 0.0)
                return


def _starts(
    centres: Floats, spans: tuple[float, float], size: tuple[int, int], over: float, random: np.random.Generator
) -> Floats:
    """(n, 2) left and top of boxes of these spans about centres in 0..1, inside an image of `size` (height, width).

    With `over`, one side of each is moved beyond the border instead, by no more than that share of the box.
    """
    sizes, wide = np.array([size[1], size[0]], dtype=np.float64), np.array(spans)
    starts: Floats = np.minimum(np.maximum(0, centres * sizes - wide / 2), sizes - wide)
    if over:
        axis = random.integers(2, size=len(starts))
        hidden = random.uniform(0, over, len(starts)) * wide[axis]
        beyond = np.where(random.random(len(starts)) < 0.5, -hidden, sizes[axis] - wide[axis] + hidden)
        starts[np.arange(len(starts)), axis] = beyond
    return starts


class _Canvas:
    """A scene that is being made."""

    def __init__(self, scene: Scene, settings: Scenes) -> None:
        self._real, self._settings = scene, settings
        self._image = scene.image.copy()
        self.size: tuple[int, int] = scene.image.shape[:2]
        self._things = [self._thing(scene, row) for row in range(len(scene.boxes))]
        self.pasted = 0
        """How many objects were."""

    def _thing(self, scene: Scene, row: int) -> _Thing:
        box = scene.boxes[row]
        left, top = (int(number) for number in np.floor(box[:2]))
        right, bottom = (int(number) for number in np.ceil(box[2:]))
        if scene.masks is None:
            visible = np.ones((bottom - top, right - left), dtype=bool)
        else:
            visible = scene.masks[row, top:bottom, left:right].copy()
            visible |= not visible.any()  # a mask of nothing: the box counts
        area = int(np.count_nonzero(visible))
        origin = row if scene.origin is None else int(scene.origin[row])
        return _Thing(
            box, int(scene.labels[row]), bool(scene.crowd[row]), origin, left, top, visible, area=area, shown=area
        )

    def free(self, starts: Floats, spans: tuple[float, float], overlap: float) -> Floats:
        """Those of the places where a box of these spans lies in each box that is there by no more than `overlap`."""
        if not self._things:
            return starts
        there = np.stack([thing.box for thing in self._things])
        return starts[overlaps(np.concatenate([starts, starts + spans], axis=1), there) <= overlap]

    def place(self, cutout: CutOut, start: Floats) -> tuple[int, int] | None:
        """Where the left top corner of a cut-out must be for its object's box to begin at `start`.

        A box that was to lie inside does so to the pixel. None where the object is too small to be seen.
        """
        box = cutout.box()
        if box is None:
            return None
        place = []
        for axis, (at, whole) in enumerate(zip(start.tolist(), (self.size[1], self.size[0]), strict=True)):
            span = box[axis + 2] - box[axis]
            inside = at >= 0 and at + span < whole + 1.5  # rounding and turning change a span by a pixel
            first = min(max(0, round(at)), whole - span) if inside else round(at)
            place.append(first - box[axis])
        return place[0], place[1]

    def allows(self, cutout: CutOut, place: tuple[int, int]) -> bool:
        """Whether an object there would be seen, and not hide another too much."""
        region, box = self._region(cutout, place)
        seen = bounds(region)
        if seen is None or min(seen[2] - seen[0], seen[3] - seen[1]) < _LEAST:
            return False
        if np.count_nonzero(region) < (1 - self._settings.hidden) * np.count_nonzero(cutout.alpha >= SOLID):
            return False
        for thing in self._things:
            part = thing.part(box)
            if part is None:
                continue
            left = thing.shown - np.count_nonzero(thing.visible[part[:2]] & region[part[2:]])
            if self._settings.gone * thing.area <= left < (1 - self._settings.hidden) * thing.area:
                return False
        return True

    def empty(self, box: Box) -> bool:
        """Whether a box touches no object."""
        return all(thing.part(box) is None for thing in self._things)

    def ground(self, place: tuple[int, int], shape: tuple[int, ...]) -> Pixels:
        """The image from there on, (h, w) pixels."""
        return self._image[place[1] : place[1] + shape[0], place[0] : place[0] + shape[1]].copy()

    def paste(self, cutout: CutOut, place: tuple[int, int], blend: Blend, softness: float, strength: float) -> None:
        """Put an object there; what it covers of others can no longer be seen."""
        self.blend(cutout, place, blend, softness, strength)
        region, box = self._region(cutout, place)
        for thing in self._things:
            part = thing.part(box)
            hidden = 0 if part is None else int(np.count_nonzero(thing.visible[part[:2]] & region[part[2:]]))
            if part is not None and hidden:
                thing.visible[part[:2]] &= ~region[part[2:]]
                thing.shown -= hidden
                thing.covered = True
        kept = [thing for thing in self._things if thing.shown >= max(1, self._settings.gone * thing.area)]
        seen = bounds(region)
        assert seen is not None, "allowed before"
        whole = np.array([box[0] + seen[0], box[1] + seen[1], box[0] + seen[2], box[1] + seen[3]], dtype=np.float32)
        visible = region[seen[1] : seen[3], seen[0] : seen[2]].copy()
        # what is hidden of it later counts against all of it, what is beyond the border too
        area, shown = int(np.count_nonzero(cutout.alpha >= SOLID)), int(np.count_nonzero(visible))
        left, top = int(whole[0]), int(whole[1])
        pasted = _Thing(whole, cutout.label, False, -1, left, top, visible, area=area, shown=shown)
        self._things = [*kept, pasted]
        self.pasted += 1

    def blend(self, cutout: CutOut, place: tuple[int, int], blend: Blend, softness: float, strength: float) -> None:
        """Change the image alone."""
        rows, columns, box = self._inside(cutout, place)
        ground = self._image[box[1] : box[3], box[0] : box[2]]
        shown = replace(cutout, pixels=cutout.pixels[rows, columns], alpha=cutout.alpha[rows, columns])
        self._image[box[1] : box[3], box[0] : box[2]] = blended(
            ground, shown, blend, softness=softness, colour=strength
        )

    def _inside(self, cutout: CutOut, place: tuple[int, int]) -> tuple[slice, slice, Box]:
        """Rows and columns of a cut-out that lie in the image, and their box there."""
        height, width = cutout.alpha.shape
        left, top = max(0, place[0]), max(0, place[1])
        right, bottom = min(self.size[1], place[0] + width), min(self.size[0], place[1] + height)
        rows, columns = slice(top - place[1], bottom - place[1]), slice(left - place[0], right - place[0])
        return rows, columns, (left, top, right, bottom)

    def _region(self, cutout: CutOut, place: tuple[int, int]) -> tuple[Bools, Box]:
        """(h, w) the object's own pixels that lie in the image, and their box there."""
        rows, columns, box = self._inside(cutout, place)
        return cutout.alpha[rows, columns] >= SOLID, box

    def scene(self) -> Scene:
        """As it now is."""
        boxes, masks = [], []
        for thing in self._things:
            boxes.append(thing.seen() if thing.covered else thing.box)
            if self._real.masks is not None:
                mask = np.zeros(self.size, dtype=bool)
                height, width = thing.visible.shape
                mask[thing.top : thing.top + height, thing.left : thing.left + width] = thing.visible
                masks.append(mask)
        count = len(self._things)
        return Scene(
            self._image,
            np.stack(boxes) if boxes else np.zeros((0, 4), dtype=np.float32),
            np.array([thing.label for thing in self._things], dtype=np.int64),
            None if self._real.masks is None else np.stack(masks) if masks else np.zeros((0, *self.size), dtype=bool),
            np.array([thing.crowd for thing in self._things], dtype=bool).reshape(count),
            np.array([thing.origin for thing in self._things], dtype=np.int64).reshape(count),
        )
