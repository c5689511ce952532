"""Albumentations: a transform that now and then shows a synthetic sample in the place of a real one.

`SyntheticErasing`, which hides a region, is in `albumentations_erasing`. All are written for albumentations 2.0 and for
albumentationsx, its successor of the same import name.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ganaug.adapters.albumentations_drawing import DrawingTransform
from ganaug.adapters.albumentations_erasing import SyntheticErasing
from ganaug.bank import MOST_SAMPLES, GeneratorBank
from ganaug.data import to_channels
from ganaug.data.class_tables import made_table
from ganaug.data.images import Pixels, from_square
from ganaug.data.mask_values import (
    NO_CLASS,
    map_from_square,
    mask_like,
    mask_values,
    numbers_of_places,
    resize_map,
)
from ganaug.errors import BankError, DataError, MissingExtraError, RecipeError
from ganaug.pool import SamplePool

try:
    from albumentations.core.type_definitions import Targets
except ImportError as error:
    raise MissingExtraError("albumentations", "albumentations") from error

__all__ = ["SyntheticErasing", "SyntheticSwap"]

_ALL = ("images", "volume", "volumes")  # several images at once, which one sample cannot stand for
_SHAPES = ("masks", "mask3d", "masks3d", "bboxes", "keypoints")  # where things are in the real image


class SyntheticSwap(DrawingTransform):
    """Swaps a sample for a synthetic one with probability p; for training images alone.

    `A.Compose([SyntheticSwap("pets.ganaug", p=0.3), A.HorizontalFlip()])`, called as `transform(image=image, label=3)`,
    swaps the image for one of the same class. With a bank for segmentation, called as `transform(image=image,
    mask=mask)`, it swaps both for a synthetic pair, or paints the image anew from its mask. What comes out has the
    height, width, channels and type of what came in. Scenes with boxes are left to `GanAugmented`.

    Samples are made once, at construction, on the CPU, and kept on disk, where workers read them; only "paint" runs the
    generator at each call, on the CPU too. What is drawn follows the seed of the Compose. This sees no dataset, so
    unlike `GanAugmented` it cannot tell whether the bank's fit held back some of its images. `A.from_dict` knows the
    transform once this module is imported.

    Args:
        bank: file of the bank.
        p: probability of a swap, or "auto": ratio / (1 + ratio) of the bank's verdict, class by class where it says so,
            which is the share of samples that were synthetic when it was measured; 0 with a warning where there is no
            verdict, or it is of what `GanAugmented` alone does.
        num: samples to draw from: of each class, or pairs in all.
        mode: with a bank for segmentation: "pair" for a new image with a new mask, or "paint" for a new image of the
            mask that is given, which is stretched to the bank's size, and the image back.
        label: key that the class comes by: the bank's name of it, or its number in the data the bank was fitted on.
        seed: decides which samples there are to draw from.
        pool_dir: folder to keep them in; the user's cache by default.

    Raises:
        BankError: the file is no bank, or one for another task; when called, the bank knows no such class.
        RecipeError: a setting is out of range.
        OutputError: the samples cannot be written.
        DataError: when called: the image is not uint8, its label or mask is missing, the mask cannot be read, or there
            are boxes or the like, which would not belong to the synthetic image.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(
        self,
        bank: str | Path,
        p: float | Literal["auto"] = "auto",
        num: int = 512,
        mode: Literal["pair", "paint"] = "pair",
        label: str = "label",
        seed: int = 0,
        pool_dir: str | Path | None = None,
    ) -> None:
        fitted = GeneratorBank.load(bank)
        _check(fitted, p, num, mode)
        self._manifest = fitted.manifest
        self._painter = _Painter(bank, fitted) if mode == "paint" else None
        chances, worry = _chances(fitted, p, mode)
        most = max(chances.values())
        super().__init__(p=most)
        self._arguments: dict[str, Any] = {
            "bank": str(bank), "p": p, "num": num, "mode": mode, "label": label, "seed": seed,
            "pool_dir": None if pool_dir is None else str(pool_dir),
        }  # fmt: skip
        if fitted.task == "classify":
            self._available_keys.add(label)  # a strict Compose refuses keys that no transform knows
        data = fitted.recipe.data
        self._fit = "stretch" if self._painter else data.fit
        self._table = None if data.table is None else made_table(data.table)
        self._numbers = numbers_of_places(fitted.label_numbers, data.ignore)
        self._places = ({} if data.ignore is None else {data.ignore: NO_CLASS}) | {
            number: place for place, number in enumerate(fitted.label_numbers)
        }
        self._done = {place: chance / most if most else 0.0 for place, chance in chances.items()}
        """Share of the swaps at p that are done, for each class of images."""
        self._pool: SamplePool | None = None
        counts = {place: num for place, chance in chances.items() if chance}
        if counts and not self._painter:
            self._pool = SamplePool.create(fitted, counts, seed=seed, directory=pool_dir)
        if worry:
            warnings.warn(worry, stacklevel=2)

    @property
    def targets(self) -> dict[str, Callable[..., Any]]:
        """What is swapped, and how."""
        return {"image": self.apply, "mask": self.apply_to_mask}

    def apply(self, img: npt.NDArray[Any], sample: Pixels | None = None, **params: Any) -> npt.NDArray[Any]:
        """The sample's image, as large and of as many channels as the one that is given."""
        if not isinstance(img, np.ndarray) or img.dtype != np.uint8:
            kind = img.dtype if isinstance(img, np.ndarray) else type(img).__name__
            raise DataError(
                f"the image is of {kind}; wanted a uint8 array, so put SyntheticSwap before what makes floats"
            )
        if img.ndim not in (2, 3) or img.shape[2:] not in ((), (1,), (3,)):
            raise DataError(f"the image has shape {img.shape}; wanted (height, width), with 1 or 3 channels or none")
        if sample is None:
            return img
        pixels = np.ascontiguousarray(sample[:, :, : self._channels])
        made = to_channels(from_square(pixels, img.shape[:2], self._fit), 1 if img.ndim == 2 else img.shape[2])
        return made[:, :, 0] if img.ndim == 2 else made

    def apply_to_mask(self, mask: npt.NDArray[Any], sample: Pixels | None = None, **params: Any) -> npt.NDArray[Any]:
        """The sample's mask, in the numbers and the form of the one that is given; that one where it was painted."""
        if sample is None or self._painter:
            return mask
        values = mask_values(mask, self._table)
        drawn = map_from_square(np.ascontiguousarray(sample[:, :, -1]), values.shape, self._fit)
        made: npt.NDArray[Any] = mask_like(self._numbers[drawn], mask, self._table)
        return made

    def _drawn(self, data: Mapping[str, Any], source: random.Random) -> dict[str, Any]:
        return {"sample": self._shown(data, source)}

    def _shown(self, data: Mapping[str, Any], source: random.Random) -> Pixels | None:
        """A sample as the pool has it, HWC uint8, or an image painted; none where this class is swapped less often."""
        if data.get("image") is None:
            raise DataError("the call has no image; wanted transform(image=...)")
        images = self._manifest.task == "classify"
        for key in (*_ALL, *(() if self._painter else _SHAPES), *(("mask",) if images else ())):
            if data.get(key) is not None:
                raise DataError(
                    f"the call has {key!r}, which a synthetic image does not have; leave it or SyntheticSwap out"
                )
        if not images and data.get("mask") is None:
            raise DataError("the call has no mask; wanted transform(image=..., mask=...)")
        if self._painter:
            return self._painter(self._small_map(data["mask"]), source.getrandbits(63))
        place = self._class_of(data) if images else 0
        if source.random() >= self._done[place]:
            return None
        assert self._pool is not None, "made for every class that is swapped"
        return self._pool[place, source.randrange(self._pool.counts[place])]

    def _class_of(self, data: Mapping[str, Any]) -> int:
        key = self._arguments["label"]
        if data.get(key) is None:
            raise DataError(f"the call has no {key!r}; wanted transform(image=..., {key}=...), the class of the image")
        label = data[key]
        return self._manifest.class_index(label.item() if getattr(label, "ndim", None) == 0 else label)

    def _small_map(self, mask: Any) -> npt.NDArray[np.uint8]:
        """The mask as a label map of the bank's classes and size."""
        values = mask_values(mask, self._table)
        present, where = np.unique(values, return_inverse=True)
        if strange := sorted(set(present.tolist()) - set(self._places)):
            known = ", ".join(map(str, sorted(self._places)))
            raise DataError(f"the mask holds the number {strange[0]}, which the bank does not know; it knows {known}")
        places = np.array([self._places[number] for number in present.tolist()], dtype=np.uint8)
        side = self._manifest.shape["resolution"]
        return resize_map(places[where].reshape(values.shape), (side, side))

    @property
    def _channels(self) -> int:
        return int(self._manifest.shape["image_channels"])


class _Painter:
    """A bank that travels as its path and is read again by the worker that was spawned."""

    def __init__(self, path: str | Path, bank: GeneratorBank) -> None:
        self._path = path
        self._bank: GeneratorBank | None = bank

    def __call__(self, places: npt.NDArray[np.uint8], seed: int) -> Pixels:
        """The image HWC uint8 of a label map (H, W) of the bank's size."""
        self._bank = self._bank or GeneratorBank.load(self._path)
        image = self._bank.paint(torch.from_numpy(places.astype(np.int64))[None], seed=seed)[0]
        return image.permute(1, 2, 0).numpy()

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_bank": None}


def _check(bank: GeneratorBank, p: Any, num: Any, mode: Any) -> None:
    if bank.task not in ("classify", "segment"):
        scenes = "mix scenes of its objects in with ganaug.GanAugmented"
        raise BankError(
            f"SyntheticSwap wants a bank of task classify or segment, and this one is of task {bank.task}; "
            f"{scenes if bank.task == 'detect' else 'give one that makes samples'}"
        )
    if mode not in ("pair", "paint"):
        raise RecipeError(f"mode is {mode!r}; give 'pair' or 'paint'")
    if mode == "paint":
        bank.check_task("segment", "mode='paint'", "leave mode out")
        bank.refuse_to_paint()
    if p != "auto" and (isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1):
        raise RecipeError(f"p is {p!r}; give a number from 0 to 1, or 'auto'")
    if isinstance(num, bool) or not isinstance(num, int) or not 1 <= num <= MOST_SAMPLES:
        raise RecipeError(f"num is {num!r}; give a whole number from 1 to {MOST_SAMPLES}")


def _chances(bank: GeneratorBank, p: Any, mode: str) -> tuple[dict[int, float], str | None]:
    """Probability of a swap for each class of images, by its place, and a warning where "auto" is at a loss."""
    names = bank.class_names if bank.task == "classify" else ("images",)
    none = dict.fromkeys(range(len(names)), 0.0)
    if p != "auto":
        return dict.fromkeys(none, float(p)), None
    verdict = bank.verdict
    if verdict is None:
        return none, "p='auto' and the bank has no verdict, so nothing is swapped; run `ganaug compare`, or give p"
    ratios = verdict.ratio if isinstance(verdict.ratio, dict) else dict.fromkeys(names, verdict.ratio)
    if any(ratios.values()):
        unlike = {
            "that give way to real ones over the epochs": verdict.annealed,
            "that were screened": verdict.screened,
            "with soft labels": verdict.soft,
            "with new masks": mode == "paint",
        }
        for what, is_so in unlike.items():
            if is_so:
                return none, (
                    f"p='auto' and the bank's verdict is of samples {what}, which SyntheticSwap does not make, so "
                    "nothing is swapped; mix them in with ganaug.GanAugmented, or give p"
                )
    return {place: _share(ratios.get(name, 0.0)) for place, name in enumerate(names)}, None


def _share(ratio: float) -> float:
    """The synthetic part of so many synthetic samples for each real one."""
    return ratio / (1 + ratio)
