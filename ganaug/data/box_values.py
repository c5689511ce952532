"""Boxes of one image: what a detection dataset's target says, checked, whatever form it came in.

A box is x1, y1, x2, y2 in pixels, from the left and the top; the box of the whole image is 0, 0, width, height.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from ganaug.errors import DataError

__all__ = ["Boxes", "Target", "box_faults", "checked_target", "clipped"]

Boxes = npt.NDArray[np.float32]  # (n, 4), x1 y1 x2 y2

_BEYOND = 0.005  # of a side, that a box may reach beyond the image, for it has been rounded; or a pixel
_UPRIGHT = {tv_tensors.BoundingBoxFormat.XYXY, tv_tensors.BoundingBoxFormat.XYWH, tv_tensors.BoundingBoxFormat.CXCYWH}


@dataclass(frozen=True, eq=False)
class Target:
    """The objects of one image; every box lies within it and has an area."""

    boxes: Boxes
    labels: npt.NDArray[np.int64]
    """(n,), numbers that the dataset has for its classes."""
    masks: npt.NDArray[np.bool_] | None
    """(n, H, W), where the dataset has masks."""
    crowd: npt.NDArray[np.bool_]
    """(n,), whether a box is of many objects and thus of none."""

    def __len__(self) -> int:
        return len(self.boxes)


def checked_target(
    target: Any, size: tuple[int, int], classes: Sequence[str] | Mapping[int, str] | None, where: str
) -> Target:
    """The objects that a target as torchvision's detection references have it says.

    Args:
        target: a dict with "boxes" (n, 4), x1 y1 x2 y2 or tv_tensors of any upright format, and "labels" (n,); with
            "masks" (n, H, W) and "iscrowd" (n,) where there are some. Tensors, arrays or lists.
        size: height and width of the image.
        classes: names by number, which labels are checked against; none where any number will do.
        where: what names the image in a message.

    Raises:
        DataError: it is none of these, a box is faulty, or a label is none of the classes; one line.
    """
    if not isinstance(target, Mapping):
        raise DataError(
            f"{where}: its target is a {type(target).__name__}; wanted a dict with boxes and labels, as "
            "torchvision.datasets.wrap_dataset_for_transforms_v2 makes of CocoDetection and VOCDetection"
        )
    if set(target) <= {"image_id"}:  # how torchvision's wrapper says that there is no object
        return _nothing()
    for key in ("boxes", "labels"):
        if key not in target:
            raise DataError(f"{where}: its target has no {key!r}, only {', '.join(map(repr, target))}; add it")
    boxes = _as_boxes(target["boxes"], where)
    labels = _column(target["labels"], len(boxes), "labels", where)
    crowd = _column(target.get("iscrowd", np.zeros(len(boxes), np.int64)), len(boxes), "iscrowd", where)
    for row, fault in box_faults(boxes, size):
        raise DataError(f"{where} box {row + 1}: {fault}")
    if classes is not None:
        known = sorted(classes) if isinstance(classes, Mapping) else range(len(classes))
        for row, label in enumerate(labels.tolist()):
            if label not in known:
                wanted = f"wanted a class's number, {known[0]} to {known[-1]}"
                raise DataError(f"{where} box {row + 1}: has the label {label}; {wanted}")
    masks = _as_masks(target["masks"], (len(boxes), *size), where) if target.get("masks") is not None else None
    return Target(clipped(boxes, size), labels, masks, crowd.astype(bool))


def box_faults(boxes: npt.NDArray[Any], size: tuple[int, int]) -> Iterator[tuple[int, str]]:
    """Row and fault, in words, of every box (n, 4) that is not a number, reversed, of no size, or beyond the image.

    A box that reaches over the border by a pixel or half a percent of the side is none of these: see `clipped`.
    """
    height, width = size
    ends = np.array([width, height])
    slack = np.maximum(1.0, _BEYOND * ends)
    with np.errstate(invalid="ignore"):
        lows, highs = boxes[:, :2], boxes[:, 2:]
        inner = np.minimum(highs, ends) - np.maximum(lows, 0)
        bad = ~((inner > 0) & (lows >= -slack) & (highs <= ends + slack)).all(axis=1)
    for row in np.flatnonzero(bad).tolist():
        yield row, _fault([float(value) for value in boxes[row]], height, width)


def _fault(box: list[float], height: int, width: int) -> str:
    left, top, right, bottom = box
    said = f"x {left:.6g} to {right:.6g}, y {top:.6g} to {bottom:.6g}"
    if not np.isfinite(box).all():
        return f"a box has a coordinate that is no number ({said})"
    if left > right or top > bottom:
        return f"a box is reversed ({said}); wanted the lesser first"
    if left == right or top == bottom:
        return f"a box has no {'width' if left == right else 'height'} ({said})"
    return f"a box reaches beyond its image ({said}; the image is {width} x {height})"


def clipped(boxes: npt.NDArray[Any], size: tuple[int, int]) -> Boxes:
    """Boxes (n, 4) cut off at the image's border."""
    height, width = size
    cut: Boxes = np.clip(boxes, 0, np.array([width, height, width, height])).astype(np.float32)
    return cut


def _as_boxes(values: Any, where: str) -> npt.NDArray[np.float64]:
    if isinstance(values, tv_tensors.BoundingBoxes):
        if values.format not in _UPRIGHT:
            raise DataError(f"{where}: its boxes are {values.format.value}; wanted upright ones, as XYXY")
        values = functional.convert_bounding_box_format(values, new_format=tv_tensors.BoundingBoxFormat.XYXY)
    boxes = _array(values, "boxes", where).astype(np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"{where}: its boxes have shape {boxes.shape}; wanted four numbers a box")
    return boxes


def _column(values: Any, count: int, name: str, where: str) -> npt.NDArray[np.int64]:
    numbers = _array(values, name, where).reshape(-1)
    if len(numbers) != count:
        raise DataError(f"{where}: has {count} boxes and {len(numbers)} {name}; wanted one each")
    if numbers.size and numbers.dtype.kind not in "biu":
        raise DataError(f"{where}: its {name} are {numbers.dtype}; wanted whole numbers")
    return numbers.astype(np.int64)


def _as_masks(values: Any, shape: tuple[int, int, int], where: str) -> npt.NDArray[np.bool_]:
    masks = _array(values, "masks", where)
    if masks.size == 0 and shape[0] == 0:
        return np.zeros(shape, dtype=bool)
    if masks.shape != shape:
        raise DataError(f"{where}: its masks have shape {masks.shape}; wanted {shape}, one as large as the image a box")
    return masks > 0 if masks.dtype.kind != "b" else masks


def _array(values: Any, name: str, where: str) -> npt.NDArray[Any]:
    if isinstance(values, torch.Tensor):
        return values.detach().as_subclass(torch.Tensor).cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where}: its {name} are no numbers; wanted a tensor or an array")
    return array


def _nothing() -> Target:
    return Target(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), None, np.zeros(0, bool))
