"""How far two label maps agree: pixels of each class in both, and Dice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["class_dice", "mean_dice", "overlaps"]

_NONE = 255  # in maps, where no class is said


def overlaps(seen: Tensor, maps: Tensor, sources: Sequence[int] | Tensor, *, classes: int) -> Tensor:
    """(images, classes, 3) int64: pixels of each class in both, in `seen` and in `maps`, over each image's squares.

    Dice is twice the first by the sum of the others. What `maps` says no class of is not counted.

    Args:
        seen: (N, H, W) integers.
        maps: the same, true ones; 255 where no class is said.
        sources: (N,), the image that each square is of, from 0 on.
        classes: how many there are.
    """
    known = maps != _NONE
    theirs = torch.stack([(maps == cls) for cls in range(classes)], 1)
    ours = torch.stack([(seen == cls) & known for cls in range(classes)], 1)
    counted = torch.stack([part.sum((2, 3)) for part in (ours & theirs, ours, theirs)], 2)
    places = torch.as_tensor(sources, dtype=torch.int64)
    found = torch.zeros(int(places.max()) + 1, classes, 3, dtype=torch.int64)
    return found.index_add_(0, places, counted)


def mean_dice(counts: Tensor, scored: Sequence[int]) -> Tensor:
    """(N,) float64: of each image the mean Dice of the classes `scored` that are in its map or were seen there.

    Where none is, nothing was to be found and nothing was: 1.

    Args:
        counts: (N, classes, 3), as `overlaps` gives them.
        scored: places of the classes that count.
    """
    both, seen, true = counts[:, list(scored)].double().unbind(2)
    size = seen + true
    there = size > 0
    sums = (2 * both / size.clamp(min=1) * there).sum(1)
    return torch.where(there.any(1), sums / there.sum(1).clamp(min=1), torch.ones_like(sums))


def class_dice(counts: Tensor) -> list[float | None]:
    """Of each class its Dice over the pixels of all images; None where it is in no map and was seen nowhere.

    `counts`: (N, classes, 3), as `overlaps` gives them.
    """
    both, seen, true = counts.sum(0).double().unbind(1)
    size = seen + true
    return [float(2 * one / of) if of else None for one, of in zip(both, size, strict=True)]
