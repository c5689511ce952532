"""Images of a dataset in another domain, made once and kept on disk, each of its image's own size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.bank_pictures import LEAST_SIDE
from ganaug.data import DatasetView, fingerprint, to_channels, to_uint8
from ganaug.data.domains import read_crops
from ganaug.data.joint_view import JointView
from ganaug.errors import DataError, RecipeError
from ganaug.gan.translation import TranslationGenerator
from ganaug.image_pool import FORMAT, ImagePool, Shape
from ganaug.pictures import Panel, draw_grid
from ganaug.pool import pool_home

__all__ = ["Translations", "draw_translations", "translation_chance"]

_ROWS, _COLUMNS = 6, 4  # of a grid


class Translations:
    """The translations of a dataset's images, and which image is translated when; pickles as its path.

    Args:
        view: the dataset below its transforms.
        bank: that translates.
        probability: that an image is translated in an epoch.
        seed: of these draws.
        directory: folder that pools are kept in; the user's cache by default.
        report: called with images translated and images in all.

    Raises:
        DataError: an image cannot be read, or is too small.
        OutputError: the pool cannot be written.
    """

    def __init__(
        self,
        view: Union[DatasetView, JointView],
        bank: GeneratorBank,
        *,
        probability: float,
        seed: int,
        directory: str | Path | None = None,
        report: Callable[[int, int], None] | None = None,
    ) -> None:
        self._probability, self._seed = probability, seed
        prints, shapes = _looked_at(view, bank.channels)
        key = json.dumps([FORMAT, bank.fingerprint, prints])
        self.folder = pool_home(directory) / hashlib.sha256(key.encode()).hexdigest()[:32]

        def make(index: int) -> npt.NDArray[np.uint8]:
            pixels = to_channels(to_uint8(view.image(index)), bank.channels)
            image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
            return bank.translate(image).permute(1, 2, 0).numpy()

        self._images = ImagePool(self.folder, shapes, make, doing="translating", report=report)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        """The translation of an image, HWC uint8, the caller's own copy."""
        return self._images[index]

    def chosen(self, index: int, epoch: int) -> bool:
        """Whether an image is translated in an epoch: settled by the seed, the epoch and its index alone."""
        digest = hashlib.sha256(f"translation/{self._seed}/{epoch}/{index}".encode()).digest()
        return int.from_bytes(digest[:8], "little") < self._probability * 2**64

    def __repr__(self) -> str:
        return f"{len(self)} real, each translated with probability {self._probability:g}, seed {self._seed}"


def translation_chance(mode: str, probability: float | None, *, unsuited: bool) -> float | None:
    """The probability of a translation; None where `mode`, as `GanAugmented` takes it, translates nothing.

    Args:
        mode: the user's.
        probability: the user's; 0.5 by default.
        unsuited: whether something else is given that goes with synthetic samples alone.

    Raises:
        RecipeError: there is no such mode, or these do not go together.
    """
    if mode not in ("sample", "variation", "translation"):
        raise RecipeError(f"mode is {mode!r}; give 'sample', 'variation' or 'translation'")
    if mode != "translation":
        if probability is not None:
            raise RecipeError("probability goes with mode='translation'; leave it out, or give ratio")
        return None
    if unsuited:
        raise RecipeError(
            "mode='translation' turns real images and adds none; leave ratio, screening, soft_labels, balance, "
            "scenes and fill out, and give probability"
        )
    chance = 0.5 if probability is None else probability
    if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance <= 1:
        raise RecipeError(f"probability is {probability!r}; give a number from 0 to 1")
    return float(chance)


def draw_translations(bank: GeneratorBank, target: Any = None, on_bad: str = "stop") -> Image.Image:
    """A labelled grid: source images that the bank holds, their translations and, where given, those of the target."""
    generator = bank.generators[0]
    assert isinstance(generator, TranslationGenerator), "a bank of task translate"
    shape, held = generator.shape, generator.sources
    sources = held[_evenly(len(held))]
    with torch.no_grad():
        made = generator.translate(sources).add(1).mul(127.5).round().to(torch.uint8).cpu()
    name = bank.class_names[0]
    panels: list[Panel] = [(shape.source_name, _in_rows(sources.cpu())), (f"as {name}", _in_rows(made))]
    if target is not None:
        real = read_crops(
            target, resolution=shape.resolution, tile=shape.tile, channels=bank.channels, fit=bank.recipe.data.fit,
            on_bad=on_bad,
        )  # fmt: skip
        panels.append((f"real {name}", _in_rows(real[_evenly(len(real))])))
    return draw_grid(panels, columns=_COLUMNS)


def _evenly(length: int) -> Tensor:
    """As many places of `length` as a grid shows, the same again where there are fewer."""
    count = _ROWS * _COLUMNS
    return torch.arange(count) * length // count


def _in_rows(images: Tensor) -> dict[str, Tensor]:
    return {str(row + 1): part for row, part in enumerate(images.split(_COLUMNS))}


def _looked_at(view: Union[DatasetView, JointView], channels: int) -> tuple[list[str], Sequence[Shape]]:
    """Fingerprints of all images, what the pool is of, and the shapes of their translations."""
    prints, shapes = [], []
    for index in range(len(view)):
        pixels = to_uint8(view.image(index))
        height, width = pixels.shape[:2]
        if min(height, width) < LEAST_SIDE:
            raise DataError(f"image {index} is {width} x {height} pixels; wanted {LEAST_SIDE} or more to be translated")
        prints.append(fingerprint(pixels))
        shapes.append((height, width, channels))
    return prints, shapes
