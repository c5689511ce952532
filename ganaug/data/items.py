"""A dataset's item: which part is the image, which the label, and an item of the same form with others."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ganaug.errors import DataError

__all__ = ["as_label", "item_keys", "join_item", "label_like", "map_image", "split_item"]

IMAGE_KEYS = ("image", "pixel_values", "img", "images")
LABEL_KEYS = ("label", "labels", "target", "fine_label", "class", "mask", "masks", "segmentation_mask")
_WANTED = "wanted (image, label), or a dict with 'image' and 'label'"


def item_keys(item: Any) -> tuple[Any, Any]:
    """Where the image and the label are in an item: two positions, or two keys.

    Raises:
        DataError: the item is no pair and no dict that has both.
    """
    if isinstance(item, Mapping):
        image = next((key for key in IMAGE_KEYS if key in item), None)
        label = next((key for key in LABEL_KEYS if key in item), None)
        if image is None or label is None:
            raise DataError(f"the dataset's items are dicts with {', '.join(map(repr, item)) or 'no keys'}; {_WANTED}")
        return image, label
    if isinstance(item, (tuple, list)):
        if len(item) == 2:
            return 0, 1
        raise DataError(f"the dataset's items are {type(item).__name__}s of {len(item)}; {_WANTED}")
    raise DataError(f"the dataset's items are of type {type(item).__name__}; {_WANTED}")


def split_item(item: Any) -> tuple[Any, Any]:
    """The image and the label of an item, as they are."""
    image, label = item_keys(item)
    return item[image], item[label]


def join_item(like: Any, image: Any, label: Any) -> Any:
    """An item of the form of `like` with this image and label; other keys of a dict are those of `like`."""
    image_key, label_key = item_keys(like)
    if isinstance(like, Mapping):
        made: Any = copy.copy(like)
        made[image_key], made[label_key] = image, label
        return made
    if hasattr(like, "_make"):  # a named tuple
        return like._make((image, label))
    return type(like)((image, label))


def map_image(item: Any, change: Callable[[Any], Any]) -> Any:
    """The item with its image changed."""
    image, label = split_item(item)
    return join_item(item, change(image), label)


def as_label(label: Any) -> int:
    """A label as int: from an int, or from a number, array or tensor of one integer."""
    if isinstance(label, (int, np.integer)):
        return int(label)
    if isinstance(label, (torch.Tensor, np.ndarray)):
        numbers = torch.as_tensor(label)
        if numbers.numel() == 1 and not numbers.is_floating_point():
            return int(numbers)
        raise DataError(f"a label has shape {tuple(label.shape)} and dtype {label.dtype}; wanted one class number")
    raise DataError(f"a label is {label!r} of type {type(label).__name__}; wanted a class number, as 0 or 1")


def label_like(like: Any, label: int) -> Any:
    """The number `label` in the form of another label: int, numpy number, array or tensor."""
    if isinstance(like, torch.Tensor):
        return torch.full_like(like, label)
    if isinstance(like, np.ndarray):
        return np.full_like(like, label)
    return type(like)(label) if isinstance(like, np.integer) else label


def label_list(numbers: Any, length: int) -> list[int] | None:
    """What a dataset keeps as its labels, as ints; none where it is not one class number for each item."""
    if isinstance(numbers, (torch.Tensor, np.ndarray)):
        numbers = numbers.tolist()
    if not isinstance(numbers, Sequence) or isinstance(numbers, str) or len(numbers) != length:
        return None
    try:
        return [as_label(number) for number in numbers]
    except DataError:
        return None
