"""The accuracy that synthetic images alone give."""

from __future__ import annotations

from typing import Any

import torch

from ganaug.bank import GeneratorBank
from ganaug.classifier import accuracy, train_classifier
from ganaug.data import LabelledImages
from ganaug.errors import DataError, did_you_mean

__all__ = ["synthetic_only_accuracy"]


def synthetic_only_accuracy(
    bank: GeneratorBank,
    held: LabelledImages,
    *,
    per_class: int = 200,
    steps: int = 600,
    seed: int = 0,
    **training: Any,
) -> tuple[float, list[float]]:
    """Accuracy on held-back real images of a classifier trained on synthetic images alone.

    The classification accuracy score of Ravuri and Vinyals (NeurIPS 2019, 1905.10887).

    Args:
        bank: to draw from; it must not have been fitted on `held`.
        held: real images at the bank's resolution, of classes that the bank knows.
        per_class: synthetic images of each class.
        steps: of the optimiser.
        seed: of samples and training.
        training: further arguments of `train_classifier`.

    Returns:
        In all and for each class of `held`, in 0..1.

    Raises:
        DataError: `held` has a class that the bank does not know.
    """
    for name in held.class_names:
        if name not in bank.class_names:
            raise DataError(f"the bank knows no class {name!r}{did_you_mean(name, bank.class_names)}")
    images = torch.cat([bank.sample(name, per_class, seed=seed) for name in held.class_names])
    classes = len(held.class_names)
    labels = torch.arange(classes).repeat_interleave(per_class)
    network = train_classifier(images, labels, classes=classes, steps=steps, seed=seed, **training)
    return accuracy(network, held.images, held.labels, classes=classes)
