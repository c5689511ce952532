"""Albumentations: a transform that hides a region of an image under what a bank fills it with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ganaug.adapters.albumentations_drawing import DrawingTransform
from ganaug.compositing.holes import Holes
from ganaug.data.images import Pixels
from ganaug.errors import DataError, MissingExtraError, RecipeError
from ganaug.filled import Filler

try:
    from albumentations.core.type_definitions import Targets
except ImportError as error:
    raise MissingExtraError("albumentations", "albumentations") from error

__all__ = ["SyntheticErasing"]


class SyntheticErasing(DrawingTransform):
    """Hides a random region of an image under plausible content with probability p; for training images alone.

    It is to `A.Erasing` what `ganaug.filled.RandomFilling` is to torchvision's `RandomErasing`, by the same code: the
    region is a rectangle, an ellipse, brush strokes or a blob. Masks, boxes and all else stay as they are, but for
    `fill_mask`. What is drawn follows the seed of the Compose; the bank runs on the CPU, in workers too. `A.from_dict`
    knows the transform once this module is imported.

    Args:
        bank: file of a bank of task fill.
        scale: least and most part of the image that is hidden.
        fill_mask: what masks hold there then; None: as they are.
        p: probability that an image is changed.

    Raises:
        BankError: the file is no bank, or one for another task; when called: an image has colours and the bank fills
            grey ones.
        RecipeError: a number is out of range.
        DataError: when called: an image is not uint8, or of another shape than an image's, or there is none.
    """

    _targets = (Targets.IMAGE, Targets.MASK)

    def __init__(
        self,
        bank: str | Path,
        scale: tuple[float, float] = (0.02, 0.33),
        fill_mask: int | None = None,
        p: float = 0.5,
    ) -> None:
        scale = (scale[0], scale[1])  # a list, as it comes back from JSON
        if fill_mask is not None and (isinstance(fill_mask, bool) or not isinstance(fill_mask, int)):
            raise RecipeError(f"fill_mask is {fill_mask!r}; give a whole number, or None to leave masks as they are")
        self._filler = Filler(bank, p, scale, "SyntheticErasing")
        super().__init__(p=p)
        self._fill_mask = fill_mask
        self._arguments = {"bank": str(bank), "scale": list(scale), "fill_mask": fill_mask, "p": p}

    @property
    def targets(self) -> dict[str, Callable[..., Any]]:
        """What is changed, and how."""
        return {"image": self.apply, "mask": self.apply_to_mask, "masks": self.apply_to_masks}

    def apply(self, img: npt.NDArray[Any], hole: Holes, noise: int, **params: Any) -> Pixels:
        """The image with its hole filled, of the shape that it had."""
        if not hole.any() or hole.all():
            return img
        planes = img[:, :, None] if img.ndim == 2 else img
        tensor = torch.from_numpy(np.ascontiguousarray(planes.transpose(2, 0, 1)))
        made = self._filler.fill(tensor, hole, noise).permute(1, 2, 0).numpy()
        return np.ascontiguousarray(made).reshape(img.shape)

    def apply_to_mask(self, mask: npt.NDArray[Any], hole: Holes, **params: Any) -> npt.NDArray[Any]:
        """The mask with `fill_mask` in the hole."""
        if self._fill_mask is None or hole.all():
            return mask
        made = mask.copy()
        made[hole] = self._fill_mask
        return made

    def apply_to_masks(self, masks: Any, **params: Any) -> Any:
        """The same of several masks, in the form that they came in."""
        made = [self.apply_to_mask(mask, **params) for mask in masks]
        return np.stack(made) if isinstance(masks, np.ndarray) else type(masks)(made)

    def _drawn(self, data: Mapping[str, Any], source: random.Random) -> dict[str, Any]:
        image = data.get("image")
        if image is None:
            raise DataError("the call has no image; wanted transform(image=...)")
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
            raise DataError(
                f"the image is of {kind}; wanted a uint8 array, so put SyntheticErasing before what makes floats"
            )
        if image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
            raise DataError(f"the image has shape {image.shape}; wanted (height, width), with 1 or 3 channels or none")
        hole, noise = self._filler.draw(image.shape[:2], np.random.default_rng(source.getrandbits(63)))
        return {"hole": hole, "noise": noise}
