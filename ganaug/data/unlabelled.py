"""Images without labels: any folder of images, or any dataset whose labels are not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganaug.data.fingerprints import near_copies
from ganaug.data.folders import list_all
from ganaug.data.labelled import LabelledImages, read_images
from ganaug.errors import DataError, LeakError

__all__ = ["UNLABELLED", "read_unlabelled", "usable_rows", "without_copies"]

UNLABELLED = "unlabelled"


def read_unlabelled(
    source: Any, *, resolution: int, channels: int, fit: str = "crop", on_bad: str = "stop"
) -> LabelledImages:
    """All images of a folder, whatever lies in which folder below it, of a CSV file or of a dataset of pairs.

    Args:
        source: a path, a dataset as `read_images` takes it, or `LabelledImages`; labels and classes are ignored.
        resolution: side of the square images.
        channels: 1 or 3, those of the labelled images.
        fit: as in `read_images`.
        on_bad: as in `read_images`.

    Returns:
        The images, all of one class named "unlabelled"; where memory does not hold them, they lie in a mapped file.

    Raises:
        DataError: there are none, one cannot be read, or images read already have another size.
    """
    if isinstance(source, LabelledImages):
        got, wanted = tuple(source.images.shape[1:]), (channels, resolution, resolution)
        if got != wanted:
            raise DataError(f"unlabelled images are {got} and the labelled ones {wanted}; read them alike")
        data = source
    else:
        if isinstance(source, (str, Path)):
            source = list_all(source, UNLABELLED)
        colour = "grey" if channels == 1 else "rgb"
        data = read_images(source, resolution=resolution, fit=fit, colour=colour, on_bad=on_bad, least=1)
    one_class = torch.zeros(len(data), dtype=torch.int64)
    return replace(data, labels=one_class, class_names=(UNLABELLED,), label_numbers=(0,))


def without_copies(unlabelled: LabelledImages, held: Sequence[LabelledImages]) -> LabelledImages:
    """The unlabelled images without those of `held`, and without near-copies of them."""
    exact = {print_ for images in held for print_ in images.fingerprints}
    near = {
        i for i, _ in near_copies(unlabelled.perceptual, [print_ for images in held for print_ in images.perceptual])
    }
    prints = enumerate(unlabelled.fingerprints)
    return unlabelled.subset([index for index, print_ in prints if print_ not in exact and index not in near])


def usable_rows(
    unlabelled: LabelledImages,
    labelled: LabelledImages,
    held_exact: tuple[str, ...] = (),
    held_near: tuple[str, ...] = (),
) -> Tensor:
    """Indices (n,) int64 of those in `unlabelled` that are new: the first of each image, and none of `labelled`.

    Near-copies of images held back, as the same photograph saved again, are left out as well.

    Args:
        unlabelled: the images that may be trained on.
        labelled: those that have labels.
        held_exact: fingerprints of images that nothing may be trained on.
        held_near: perceptual prints of them.

    Raises:
        LeakError: an image of `unlabelled` is one that is held back.
        DataError: no image is left.
    """
    if leaked := len(set(unlabelled.fingerprints) & set(held_exact)):
        raise LeakError(
            f"{leaked} of the {len(unlabelled)} unlabelled images are among those held back for an honest score; "
            "leave them out of the unlabelled ones"
        )
    known = set(labelled.fingerprints)
    near = {index for index, _ in near_copies(unlabelled.perceptual, held_near)}
    rows = []
    for index, print_ in enumerate(unlabelled.fingerprints):
        if print_ not in known and index not in near:
            rows.append(index)
            known.add(print_)
    if not rows:
        raise DataError(
            f"all {len(unlabelled)} unlabelled images are copies of labelled ones; give others, or leave unlabelled out"
        )
    return torch.tensor(rows, dtype=torch.int64)
