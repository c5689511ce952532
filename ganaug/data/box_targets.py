"""A scene's objects as a target of the form that the dataset's own targets have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from ganaug.compositing import Scene
from ganaug.data.box_values import Boxes, Target

__all__ = ["scene_target"]

Areas = npt.NDArray[np.float64]

_OWN = {"boxes", "labels", "masks", "area", "iscrowd"}


def scene_target(like: Mapping[str, Any], model: Mapping[str, Any], real: Target, scene: Scene) -> dict[str, Any]:
    """What the dataset would have said of a scene, had it been one of its images.

    Boxes, labels, masks, area and iscrowd come in the type and dtype of the target's own, where it has them. What else
    it holds stays, but for what has an entry for each object: nothing is known of that for a pasted one.

    Args:
        like: the target of the real image that the scene is made of.
        model: a target of the dataset that has objects, for what `like` leaves out where it has none.
        real: what `like` says.
        scene: the scene.
    """
    keys = like if "boxes" in like else model
    made = {key: value for key, value in like.items() if key in _OWN or not _by_object(value, len(real))}
    size = scene.image.shape[0], scene.image.shape[1]
    values: dict[str, npt.NDArray[Any]] = {
        "boxes": scene.boxes,
        "labels": scene.labels,
        "iscrowd": scene.crowd.astype(np.int64),
    }
    if scene.masks is not None:
        values["masks"] = scene.masks
    if "area" in keys:
        values["area"] = _areas(like, real, scene)
    for key in keys:
        if key in values:
            made[key] = _in_form(values[key], keys[key], size)
    return made


def _areas(like: Mapping[str, Any], real: Target, scene: Scene) -> Areas:
    """(n,): as the dataset counts them, by boxes or by masks; an object that is as it was keeps its own."""
    spans = _spans(scene.boxes)
    masks = spans if scene.masks is None else np.count_nonzero(scene.masks, axis=(1, 2)).astype(np.float64)
    said = np.asarray(like.get("area", ()), dtype=np.float64).reshape(-1)
    if len(said) != len(real):
        return masks
    areas = spans if np.allclose(said, _spans(real.boxes), rtol=1e-3) else masks
    assert scene.origin is not None, "composed"
    for row, origin in enumerate(scene.origin.tolist()):
        same = origin >= 0 and np.array_equal(scene.boxes[row], real.boxes[origin])
        if same and scene.masks is not None and real.masks is not None:
            same = np.array_equal(scene.masks[row], real.masks[origin])
        if same:
            areas[row] = said[origin]
    return areas


def _spans(boxes: Boxes) -> Areas:
    areas: Areas = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64).prod(1)
    return areas


def _by_object(value: Any, count: int) -> bool:
    """Whether a value has an entry for each of so many objects."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.ndim > 0 and len(value) == count
    return isinstance(value, (list, tuple)) and len(value) == count


def _in_form(values: npt.NDArray[Any], like: Any, size: tuple[int, int]) -> Any:
    """Values in the type, dtype and box format of another's."""
    if isinstance(like, tv_tensors.BoundingBoxes):
        boxes = tv_tensors.BoundingBoxes(  # type: ignore[call-arg]
            torch.from_numpy(values.copy()), format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=size
        )
        turned = functional.convert_bounding_box_format(boxes, new_format=like.format)
        return tv_tensors.wrap(turned.to(like.dtype), like=turned)
    if isinstance(like, torch.Tensor):
        tensor = torch.from_numpy(np.ascontiguousarray(values)).to(like.dtype)
        return tv_tensors.Mask(tensor) if isinstance(like, tv_tensors.Mask) else tensor
    if isinstance(like, np.ndarray):
        return values.astype(like.dtype)
    return values.tolist()
