"""Who says whether a snapshot's images show their maps: a small segmenter of the real pairs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ganaug import measures
from ganaug.data import LabelledImages
from ganaug.data.masks import MaskedImages, scored_classes
from ganaug.recipe import Recipe
from ganaug.segmenter import predict_maps, train_segmenter

__all__ = ["train_reader"]

_SHARE, _MOST = 3, 150  # steps: one for so many of the fit, each of which takes four times as long; and the most


def train_reader(
    data: LabelledImages, recipe: Recipe, device: torch.device
) -> Callable[[Tensor, Tensor], float] | None:
    """How well images show maps, as `Exam` wants it; None where the data has no maps.

    It is trained on all real pairs, moved, bent and recoloured as samples are. The same data, recipe and device make
    the same reader, so that the scores of snapshots before and after an interruption can be compared.

    Args:
        data: what the fit learns from.
        recipe: its recipe, with the budget settled.
        device: to train and to read on.

    Raises:
        TrainingError: its loss is not finite.
    """
    if not isinstance(data, MaskedImages):
        return None
    assert recipe.kimg is not None, "settled by the plan"
    steps = min(_MOST, max(1, round(1000 * recipe.kimg / recipe.gan.batch / _SHARE)))
    augment = "affine+elastic+colour"
    network = train_segmenter(
        data.images, data.maps, classes=len(data.class_names), steps=steps, seed=recipe.seed % 2**31,
        augment=f"flip+{augment}" if recipe.data.horizontal_flip else augment, device=device, half=False,
    )  # fmt: skip
    return functools.partial(_dice, network, scored_classes(data.class_names), len(data.class_names))


def _dice(network: nn.Module, scored: Sequence[int], classes: int, images: Tensor, maps: Tensor) -> float:
    counts = measures.overlaps(predict_maps(network, images), maps, range(len(maps)), classes=classes)
    return float(measures.mean_dice(counts, scored).mean())
