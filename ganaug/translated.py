"""Images of a dataset in another domain, made once and kept on disk, each of its image's own size.

A pool is a folder named by its key, as that of samples: `translations.u8` holds the images one after another, HWC, and
`pool.json`, which is written last, their sizes. What an interrupted making has left, `translations.partial`, is gone on
with.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
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
from ganaug.pictures import Panel, draw_grid
from ganaug.pool import alone_in, pool_home, writing_to

__all__ = ["Translations", "draw_translations", "translation_chance"]

FORMAT = 1
_ROWS, _COLUMNS = 6, 4  # of a grid
_log = logging.getLogger("ganaug")

Size = tuple[int, int]


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
        self._channels = bank.channels
        prints, self._sizes = _looked_at(view)
        key = json.dumps([FORMAT, bank.fingerprint, prints])
        self.folder = pool_home(directory) / hashlib.sha256(key.encode()).hexdigest()[:32]
        self._starts = np.cumsum([0, *(height * width * self._channels for height, width in self._sizes)])
        self._images: npt.NDArray[np.uint8] | None = None
        if not self._whole():
            with writing_to(self.folder), alone_in(self.folder):
                if not self._whole():  # another process may have made it while this one waited
                    self._make(view, bank, report)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        """The translation of an image, HWC uint8, the caller's own copy."""
        if self._images is None:  # opened where it is used: every worker maps the file itself
            self._images = np.memmap(self.folder / "translations.u8", dtype=np.uint8, mode="r")
        flat = np.array(self._images[self._starts[index] : self._starts[index + 1]])
        return flat.reshape(*self._sizes[index], self._channels)

    def chosen(self, index: int, epoch: int) -> bool:
        """Whether an image is translated in an epoch: settled by the seed, the epoch and its index alone."""
        digest = hashlib.sha256(f"translation/{self._seed}/{epoch}/{index}".encode()).digest()
        return int.from_bytes(digest[:8], "little") < self._probability * 2**64

    def _whole(self) -> bool:
        try:
            sizes = json.loads((self.folder / "pool.json").read_text("utf-8"))["sizes"]
            size = (self.folder / "translations.u8").stat().st_size
        except (OSError, ValueError, LookupError, TypeError):
            return False
        return bool(sizes == [list(size) for size in self._sizes] and size == self._starts[-1])

    def _make(
        self,
        view: Union[DatasetView, JointView],
        bank: GeneratorBank,
        report: Callable[[int, int], None] | None,
    ) -> None:
        partial = self.folder / "translations.partial"
        left = partial.stat().st_size if partial.is_file() else 0
        done = int(np.searchsorted(self._starts, left, side="right")) - 1
        _log.info(
            "translating %d images, %.1f MB, into %s%s",
            len(self), self._starts[-1] / 1e6, self.folder, f" (going on after {done})" if done else "",
        )  # fmt: skip
        with open(partial, "ab") as file:
            file.truncate(int(self._starts[done]))
            for index in range(done, len(self)):
                pixels = to_channels(to_uint8(view.image(index)), self._channels)
                image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
                file.write(bank.translate(image).permute(1, 2, 0).contiguous().numpy().tobytes())
                if report is not None:
                    report(index + 1, len(self))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.folder / "translations.u8")
        beside = self.folder / "pool.tmp"
        beside.write_text(json.dumps({"format": FORMAT, "sizes": self._sizes}), "utf-8")
        beside.replace(self.folder / "pool.json")

    def __repr__(self) -> str:
        return f"{len(self)} real, each translated with probability {self._probability:g}, seed {self._seed}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None}


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
            "mode='translation' turns real images and adds none; leave ratio, screening, soft_labels, balance and "
            "scenes out, and give probability"
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


def _looked_at(view: Union[DatasetView, JointView]) -> tuple[list[str], Sequence[Size]]:
    """Fingerprints and sizes of all images: what the pool is of."""
    prints, sizes = [], []
    for index in range(len(view)):
        pixels = to_uint8(view.image(index))
        height, width = pixels.shape[:2]
        if min(height, width) < LEAST_SIDE:
            raise DataError(f"image {index} is {width} x {height} pixels; wanted {LEAST_SIDE} or more to be translated")
        prints.append(fingerprint(pixels))
        sizes.append((height, width))
    return prints, sizes
