"""A dataset's own transforms: finding out which it uses and how, reading below them, applying them to another image.

Datasets keep transforms as `transform`, `target_transform` or `transforms`, and call them with an image, a label, both,
a whole item or `image=`. Which of these a dataset does is not guessed: one item is read through a copy of the dataset
whose transforms are replaced by ones that change nothing and note how they were called.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from ganaug.data.images import READ_ERRORS
from ganaug.data.items import as_label, join_item, split_item
from ganaug.errors import DataError

__all__ = ["Stage", "apply_stages", "read_below"]

_ATTRIBUTES = ("transform", "target_transform", "transforms")


class Stage(NamedTuple):
    """One transform that a dataset applies: the attribute that holds it, and what it is called with."""

    attribute: str
    takes: Literal["image", "label", "both", "item", "named", "named_mask"]


class Unchanged:
    """Stands where a transform stood; gives back what it is given."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        if named:
            return dict(named)
        return args[0] if len(args) == 1 else args


class _Noting(Unchanged):
    """As `Unchanged`, and notes its calls."""

    def __init__(self, attribute: str, calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]) -> None:
        self.attribute, self.calls = attribute, calls

    def __call__(self, *args: Any, **named: Any) -> Any:
        self.calls.append((self.attribute, args, named))
        return super().__call__(*args, **named)


def read_below(dataset: Any, indices: Iterable[int]) -> tuple[Any, list[Stage]]:
    """The dataset as it is below its transforms, and the transforms that it applies, in order.

    A shallow copy is read, whose transforms change nothing. Where the dataset does more to an image than its transforms
    do, or cannot be copied, it is itself what is read, with no transforms to apply.

    Args:
        dataset: the user's dataset.
        indices: items to try until one can be read.
    """
    active = [name for name in _ATTRIBUTES if callable(getattr(dataset, name, None))]
    if not active:
        return dataset, []
    for index in indices:
        try:
            stages = _stages_of(dataset, active, index)
        except (DataError, *READ_ERRORS):
            continue
        except Exception:  # a user's code: it may need what its transform gives, or refuse to be copied
            break
        if stages is None:
            break
        return _copy_with(dataset, {name: Unchanged() for name in active}), stages
    return dataset, []


def _copy_with(dataset: Any, transforms: Mapping[str, Unchanged]) -> Any:
    changed = copy.copy(dataset)
    for name, transform in transforms.items():
        setattr(changed, name, transform)
    return changed


def _stages_of(dataset: Any, active: Sequence[str], index: int) -> list[Stage] | None:
    """The transforms applied to an item, in order; none where more is done to it than they do."""
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    item = _copy_with(dataset, {name: _Noting(name, calls) for name in active})[index]
    image, label = split_item(item)
    stages = []
    for name, args, named in calls:
        takes = _takes(args, named, item, image, label)
        if takes is None:
            return None
        stages.append(Stage(name, takes))
    return stages


def _takes(
    args: tuple[Any, ...], named: dict[str, Any], item: Any, image: Any, label: Any
) -> Literal["image", "label", "both", "item", "named", "named_mask"] | None:
    if named:
        if args or named.get("image") is not image:
            return None
        if set(named) == {"image", "mask"} and named["mask"] is label:
            return "named_mask"
        return "named" if len(named) == 1 else None
    if len(args) == 2:
        return "both" if args[0] is image and _same_label(args[1], label) else None
    if len(args) != 1:
        return None
    if args[0] is image:
        return "image"
    if args[0] is item:
        return "item"
    return "label" if _same_label(args[0], label) else None


def _same_label(given: Any, label: Any) -> bool:
    """Whether an item's label is what its transform was given, be it turned from a tensor into an int afterwards."""
    if given is label:
        return True
    try:
        return as_label(given) == as_label(label)
    except DataError:
        return False


def apply_stages(dataset: Any, stages: list[Stage], item: Any) -> Any:
    """The item that the dataset makes of a raw item: its transforms applied as it applies them."""
    for stage in stages:
        transform: Callable[..., Any] = getattr(dataset, stage.attribute)
        if stage.takes == "item":
            item = transform(item)
            continue
        image, label = split_item(item)
        if stage.takes == "image":
            image = transform(image)
        elif stage.takes == "label":
            label = transform(label)
        elif stage.takes == "named":
            image = transform(image=image)["image"]
        elif stage.takes == "named_mask":
            made = transform(image=image, mask=label)
            image, label = made["image"], made["mask"]
        else:
            image, label = _pair(transform(image, label))
        item = join_item(item, image, label)
    return item


def _pair(made: Any) -> tuple[Any, Any]:
    if isinstance(made, (tuple, list)) and len(made) == 2:
        return made[0], made[1]
    raise DataError(f"the dataset's joint transform gives a {type(made).__name__}; wanted image and label")
