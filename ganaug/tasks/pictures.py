"""What tasks share whose generator makes a picture of a picture: such images have no label to be mixed in by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypedDict

import torch
from torch import Tensor, nn

from ganaug.data.labelled import LabelledImages
from ganaug.errors import BankError
from ganaug.gan.mixed import Others
from ganaug.gan.precision import Precision
from ganaug.gan.processes import Processes
from ganaug.gan.start import Start
from ganaug.gan.training import BuildTraining, Shape, Training
from ganaug.recipe import Recipe

__all__ = ["Asked", "PictureTask"]


class Asked(TypedDict):
    """How images are to be read, whatever the task."""

    classes: Sequence[str] | None
    colour: str
    on_bad: Literal["stop", "skip"]
    raw: Any
    least: int


class PictureTask(ABC):
    """A task of this kind; those who inherit say which networks, and what is read and scored."""

    of_pictures: ClassVar[bool] = True
    _shaped: ClassVar[Callable[..., Shape]]
    """Makes a shape of the values that its `to_dict` gave."""
    _generator: ClassVar[Callable[..., nn.Module]]
    """Makes a bank's generator of such a shape."""
    _trainer: ClassVar[BuildTraining]
    _no_samples: ClassVar[str]
    """Why its banks have nothing to mix in, and what to do."""

    def read(
        self,
        dataset: Any,
        recipe: Recipe,
        *,
        classes: Sequence[str] | None = None,
        raw: Any = None,
        on_bad: Literal["stop", "skip"] = "stop",
        least: int = 2,
    ) -> LabelledImages:
        """All images of `dataset`, a path or any dataset, as the task learns from them."""
        asked = Asked(classes=classes, colour=recipe.data.colour, on_bad=on_bad, raw=raw, least=least)
        return self._read(dataset, recipe, asked)

    @abstractmethod
    def _read(self, dataset: Any, recipe: Recipe, asked: Asked) -> LabelledImages: ...

    def groups(self, data: LabelledImages) -> tuple[str, ...]:
        """Names of what `data.labels` number: such images are all of one group."""
        return data.class_names

    def build_training(
        self,
        recipe: Recipe,
        shape: Shape,
        device: torch.device,
        precision: Precision,
        *,
        processes: Processes,
        others: Others | None = None,
        start: Start | None = None,
    ) -> Training:
        """The untrained trainer that the recipe wants; see `BuildTraining`."""
        assert others is None, "refused when the fit was planned"
        assert start is None, "refused when the fit was planned"
        return self._trainer(recipe, shape, device, precision, processes=processes)

    def build_generator(self, shape: Mapping[str, Any]) -> nn.Module:
        """The generator of a bank, from the shape that its manifest keeps; weights are untrained."""
        return self._generator(self._shaped(**shape))

    def planes(self, image_channels: int) -> int:
        """Channels of raw output."""
        return image_channels

    def run(self, generator: nn.Module, noise: Tensor, labels: Tensor) -> Tensor:
        """Raw output (N, planes, H, W) in [-1, 1]: what is made of some of the images that the generator holds."""
        images: Tensor = generator(noise, labels)
        return images

    def to_tell_apart(self, data: LabelledImages) -> tuple[Tensor, Tensor] | None:
        """Nothing; see `ClassifyTask.to_tell_apart`."""
        return None

    def real_samples(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """See `ClassifyTask.real_samples`."""
        return data.images, data.labels

    def view(
        self, dataset: Any, recipe: Recipe, numbers: Sequence[int], *, raw: Any = None, transform: Any = None
    ) -> Any:
        """Refused with a BankError: what is made of pictures has no label to be mixed in by."""
        raise BankError(self._no_samples)
