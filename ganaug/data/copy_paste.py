"""Real objects pasted into real images: an augmentation, without any generator."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ganaug.data.box_view import BoxView
from ganaug.data.joint_view import Overlay
from ganaug.errors import RecipeError
from ganaug.recipe import Scenes

__all__ = ["COPY_PASTE", "CopyPaste"]

COPY_PASTE = 0.5
"""Share of the images that objects are pasted into, where nothing else is said."""


class CopyPaste(Overlay):
    """A dataset of images with boxes, of whose own objects more are pasted into some of its images, anew each epoch.

    After Ghiasi et al. 2020 (2012.07177). Objects are cut out of the dataset's images, along masks where there are
    some, else with a soft edge, and pasted as `GanAugmented` pastes those of a bank; a changed image goes through the
    dataset's own transforms. `GanAugmented(CopyPaste(dataset), bank)` adds scenes to it, made of the images as they
    are. What an index holds depends on (seed, epoch, index) alone, but for what transforms draw. For a plain loop:

        for epoch in range(epochs):
            train.set_epoch(epoch)
            for images, targets in loader: ...

    Args:
        dataset: map-style, of (image, {"boxes", "labels", ...}) as torchvision's detection references have it.
        probability: that an image has objects pasted in, in an epoch; 0 to 1.
        scenes: how they are pasted; `real` is not looked at, as all of them are.
        flip: whether a mirrored object may be one.
        seed: decides all of it.
        raw: a dataset of the same length whose images are PIL or uint8, where those of `dataset` are floats.
        transform: what makes the items of `dataset` of those of `raw`.

    Raises:
        DataError: the dataset cannot be read below its transforms, or has no objects.
        RecipeError: the probability is out of range.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        probability: float = COPY_PASTE,
        scenes: Scenes | None = None,
        flip: bool = False,
        seed: int = 0,
        raw: Any = None,
        transform: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        if isinstance(probability, bool) or not isinstance(probability, (int, float)) or not 0 <= probability <= 1:
            raise RecipeError(f"probability is {probability!r}; give how many of the images, 0 to 1, as 0.5")
        super().__init__(dataset)
        self._probability, self._seed = float(probability), seed
        self._view = BoxView(dataset, raw=raw, transform=transform, settings=scenes, flip=flip)
        self._view.use_real_objects()
        # in shared memory, so that workers that persist see `set_epoch`
        self._epoch = torch.zeros(1, dtype=torch.int64, device="cpu").share_memory_()  # type: ignore[no-untyped-call]

    @property
    def real_length(self) -> int:
        """Number of items, as `GanAugmented` has it: there are no slots after them."""
        return len(self)

    @property
    def epoch(self) -> int:
        """The epoch, for every process that shares this dataset."""
        return int(self._epoch.item())

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, before the loader is iterated; workers that persist see it too."""
        self._epoch[0] = operator.index(epoch)

    def is_pasted(self, index: int) -> bool:
        """Whether objects are pasted into this image, in this epoch."""
        return bool(self._random(index).random() < self._probability)

    def __getitem__(self, index: int) -> Any:
        place = range(len(self))[index]
        if not self.is_pasted(place):
            return self._view.real(place)
        random = self._random(place)
        random.random()  # what decided that it is
        return self._view.scene(place, None, random)

    def _random(self, index: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, self.epoch, index, 1])

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()  # a copy's own epoch must reach its own workers
