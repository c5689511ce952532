"""A user's dataset of (image, target with boxes) as ganaug sees it, and whole scenes made as it makes its items.

The image and the target go through a joint transform together, as torchvision's detection references and v2 take them:
`transforms(image, target)`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ganaug.compositing import CutOut, Scene, SceneComposer, SceneStatistics
from ganaug.data.box_files import BoxFiles
from ganaug.data.box_targets import scene_target
from ganaug.data.box_values import Target, checked_target
from ganaug.data.class_names import same_classes
from ganaug.data.forms import form_of, in_form
from ganaug.data.images import Pixels, to_uint8
from ganaug.data.items import join_item, split_item
from ganaug.data.joint_view import TRIES, JointView
from ganaug.data.samples import Grounds, Samples
from ganaug.data.scene_material import RealObjects, SceneObjects, Vary
from ganaug.data.sources import names_of
from ganaug.errors import DataError
from ganaug.recipe import Scenes

__all__ = ["BoxView"]

_MOST_IMAGES = 2000  # that statistics are taken of
_OBJECT = 1.3  # side of the square that a bank makes of an object, by the longer side of its box
_IMAGES = 4  # tried for a scene, till objects can be pasted into one
_SPARE = 1.5  # samples in a pool, by the objects that its scenes will want of a class


class BoxView(JointView):
    """A map-style dataset of (image, target), read below its transforms and never changed.

    Args:
        dataset: the user's dataset, or a `Subset` of one; targets are dicts with "boxes" and "labels".
        raw: a dataset of the same length whose images are PIL or uint8, where `dataset`'s are not.
        transform: (image, target) to (image, target). With `raw` what makes the items of `dataset` of the raw ones;
            else it is applied to every item that the dataset and `synthetic` yield.
        settings: how scenes are made.
        flip: whether a mirrored object may be one.

    Raises:
        DataError: the dataset is empty, its items are no pairs of image and target, or its images are floats that have
            been transformed.
    """

    what = "objects"

    def __init__(
        self,
        dataset: Any,
        *,
        raw: Any = None,
        transform: Callable[[Any, Any], Any] | None = None,
        settings: Scenes | None = None,
        flip: bool = False,
    ) -> None:
        super().__init__(dataset, raw=raw, transform=transform, label="target")
        self._settings, self._flip = settings or Scenes(), flip
        self.class_names = names_of(self._source)
        """Class names by number; none where the dataset names no classes."""
        self._model = self._first_with_objects()
        self._composer: SceneComposer | None = None
        self._objects: SceneObjects | None = None
        self._grounds: Grounds | None = None
        self._vary: Vary | None = None

    def _first_with_objects(self) -> Mapping[str, Any]:
        """A target whose form others have, if they have no objects and do not show it."""
        first: Mapping[str, Any] | None = None
        for index in range(min(len(self), TRIES)):
            with contextlib.suppress(DataError):
                image, target = self.pair(index)
                checked = self._checked(target, form_of(image).size, index)
                if len(checked):
                    return target  # type: ignore[no-any-return]
                first = first or target
        if first is not None:
            raise DataError("no image of the dataset has an object; give some with boxes")
        image, target = self.pair(0)
        self._checked(target, form_of(image).size, 0)
        raise AssertionError("one of these cannot be read")

    def place(self, index: int) -> str:
        """The file of an image, or the item's number, for a person."""
        paths = self._source.paths if isinstance(self._source, BoxFiles) else None
        return super().place(index) if paths is None else str(paths[self.row(index)])

    def target(self, index: int) -> tuple[Target, tuple[int, int]]:
        """The objects of an image, without masks, and its height and width; not opened where the dataset tells."""
        if isinstance(self._source, BoxFiles):
            said = self._source.objects[self.row(index)]
            return Target(said.boxes, said.labels, None, said.crowd), said.size
        image, target = self.pair(index)
        size = form_of(image).size
        return replace(self._checked(target, size, index), masks=None), size

    def read(self, index: int) -> tuple[Any, Target]:
        """The raw image, and its objects."""
        image, target = self.pair(index)
        return image, self._checked(target, form_of(image).size, index)

    def image_size(self, index: int) -> tuple[int, int]:
        """Height and width that a sample takes here: those of the square around an object of middling size."""
        target, _ = self.target(index)
        if not len(target):
            raise DataError(f"{self.place(index)}: has no object")
        side = round(_OBJECT * float(np.median((target.boxes[:, 2:] - target.boxes[:, :2]).max(1))))
        return side, side

    def vary_by(self, vary: Vary) -> None:
        """Paste variations of the set's own objects, not samples of a pool; before `samples_for`, which makes them."""
        self._vary = vary

    def lay_on(self, grounds: Grounds) -> None:
        """Lay `erased` of the scenes, as the settings have it, on these; before `samples_for`."""
        self._grounds = grounds

    def _many(self, erased: bool) -> float:
        """Objects to paste, by how many an image has: as many, where those that it has were erased."""
        return max(1.0, self._settings.objects) if erased else self._settings.objects

    def samples_for(self, scenes: Mapping[int, int], names: Sequence[str], numbers: Sequence[int]) -> dict[int, int]:
        """Samples of each class of a bank that so many scenes want of a pool; then scenes can be made.

        The set's images are counted, and real objects cut out of them.

        Args:
            scenes: how many are wanted of the one kind there is, 0.
            names: of the bank's classes.
            numbers: that the classes had in the data that the bank was fitted on.

        Raises:
            DataError: the set and the bank share no class.
        """
        targets, sizes, statistics = self._counted()
        labels = {label: self.object_name(label) for label in statistics.classes}
        places = same_classes(labels, self.class_names is not None, names, numbers)
        if not places:
            raise DataError(
                f"the dataset and the bank share no class: the dataset has {', '.join(labels.values())}, the bank "
                f"{', '.join(names)}; give the bank that was fitted on these classes"
            )
        share = self._settings.erased if self._grounds is not None else 0.0
        many = share * self._many(True) + (1 - share) * self._many(False)
        objects = float(np.maximum(1, many * statistics.counts).mean())
        weights = statistics.weights(self._settings.rarity)
        wanted = sum(scenes.values()) * objects * (1 - self._settings.real) * _SPARE
        counts = {place: int(np.ceil(wanted * weights[label])) for label, place in places.items()}
        counts = {place: count for place, count in sorted(counts.items()) if count}
        real = self._gathered(targets, sizes)
        self._composer = SceneComposer(statistics, self._settings, flip=self._flip)
        if self._vary is not None:
            known = RealObjects({label: real.cutouts.get(label, []) for label in places}, real.around, real.contrast)
            self._objects = SceneObjects(real, {}, {}, self._settings.real, known.varied(self._vary))
            self._vary = None  # a bank, which no worker wants
            return {}
        self._objects = SceneObjects(real, places, counts, self._settings.real)
        return counts

    def use_real_objects(self) -> None:
        """Scenes can be made then, with real objects alone; the set's images are counted for them, as for samples."""
        targets, sizes, statistics = self._counted()
        self._composer = SceneComposer(statistics, self._settings, flip=self._flip)
        self._objects = SceneObjects(self._gathered(targets, sizes), {}, {}, 1.0)

    def _counted(self) -> tuple[dict[int, Target], dict[int, tuple[int, int]], SceneStatistics]:
        """The objects of the set's images by index, their sizes, and what is known of both."""
        targets, sizes = {}, {}
        for index in range(0, len(self), max(1, len(self) // _MOST_IMAGES)):
            with contextlib.suppress(DataError):
                targets[index], sizes[index] = self.target(index)
        boxes, labels = ([getattr(one, name) for one in targets.values()] for name in ("boxes", "labels"))
        return targets, sizes, SceneStatistics.of(boxes, labels, list(sizes.values()))

    def _gathered(self, targets: Mapping[int, Target], sizes: Mapping[int, tuple[int, int]]) -> RealObjects:
        return RealObjects.gather(targets, sizes, self.read, masks=self._model.get("masks") is not None)

    def object_name(self, label: int) -> str:
        """The name of a class number; the number itself where it has no name."""
        names = self.class_names
        return names[label] if names is not None and 0 <= label < len(names) else str(label)

    def synthetic(
        self, samples: Samples | None, at: tuple[int, int], label: int, like: int, fit: str, seed: Sequence[int]
    ) -> Any:
        """The item that the dataset would have yielded, had an image of it been this scene.

        Args:
            samples: the pool; none where no sample of it is wanted.
            at: not used: a scene has several samples.
            label: not used: a scene has no class of its own.
            like: not used: the image is drawn too.
            fit: not used: objects were square from the start.
            seed: decides the image, the objects and where they lie.
        """
        random = np.random.default_rng(seed)
        for _ in range(_IMAGES):
            index, ground = self._drawn(random)
            item, pasted = self._composed(index, samples, random, ground)
            if pasted:
                break
        return self._made(item, index)

    def _drawn(self, random: np.random.Generator) -> tuple[int, Pixels | None]:
        """An image of the set, and what it looks like without its objects, where these are to be erased."""
        if self._grounds is not None and random.random() < self._settings.erased:
            return self._grounds.draw(random)
        return int(random.integers(len(self))), None

    def scene(self, index: int, samples: Samples | None, random: np.random.Generator) -> Any:
        """The item that the dataset would have yielded, had this image of it had such objects pasted in."""
        return self._made(self.raw_scene(index, samples, random), index)

    def raw_scene(self, index: int, samples: Samples | None, random: np.random.Generator) -> Any:
        """The same below the dataset's transforms."""
        return self._composed(index, samples, random, None)[0]

    def _composed(
        self, index: int, samples: Samples | None, random: np.random.Generator, ground: Pixels | None
    ) -> tuple[Any, int]:
        """The same, and how many objects were pasted; into an image that is full of objects none may be.

        With `ground`, HWC uint8 of its size, it loses its own objects first and looks like that then.
        """
        assert self._composer is not None, "samples_for or use_real_objects was called"
        item = self._raw_item(index)
        image, target = split_item(item)
        form = form_of(image)
        real = self._checked(target, form.size, index)
        pixels, masks = to_uint8(image), real.masks
        if masks is None and self._model.get("masks") is not None:  # no object, and so none was said
            masks = np.zeros((0, *form.size), dtype=bool)
        scene = Scene(pixels, real.boxes, real.labels, masks, real.crowd)
        scene = self._composer.compose(
            scene if ground is None else scene.erased(ground),
            lambda wanted, draws: self._object(samples, wanted, pixels.shape[2], draws),
            random,
            self._many(ground is not None),
        )
        said = scene_target(target, self._model, real, scene)
        assert scene.origin is not None, "the composer tells"
        return join_item(item, in_form(scene.image, form), said), int((scene.origin < 0).sum())

    def _object(self, samples: Samples | None, label: int, channels: int, random: np.random.Generator) -> CutOut | None:
        assert self._objects is not None, "samples_for was called"
        return self._objects.draw(samples, label, channels, random)

    def _checked(self, target: Any, size: tuple[int, int], index: int) -> Target:
        return checked_target(target, size, self.class_names, self.place(index))
