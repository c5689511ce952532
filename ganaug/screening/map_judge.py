"""The judge of pairs: segmenters trained on real pairs alone, none of which reads an image that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganaug import measures
from ganaug.crossfit import folds_of
from ganaug.data.masks import MaskedImages, scored_classes
from ganaug.errors import DataError
from ganaug.segmenter import predict_maps, train_segmenter

__all__ = ["MapJudge", "train_map_judge"]

_AUGMENT = "affine+elastic+colour"  # samples are moved, bent and recoloured too


@dataclass(frozen=True)
class MapJudge:
    """Cross-fitted segmenters.

    A sample is made of real images, and a segmenter that was trained on these would know its parts again. So a sample
    is read by the segmenter that was trained without its nearest real image, just as that image is, and the overlaps
    of samples and of real images can be compared.
    """

    networks: tuple[nn.Module, ...]
    folds: Tensor
    """(N,) int64: for each real square the network that was trained without its image."""
    own: Tensor
    """(N, classes, 3) int64: `measures.overlaps` of each real square's map and what is seen in it."""
    scored: tuple[int, ...]
    """Classes that count: all but the ground that others lie on."""

    def overlaps(self, images: Tensor, maps: Tensor, nearest: Tensor) -> Tensor:
        """(n, classes, 3) int64 for `images` NCHW and `maps` (n, H, W) uint8, `nearest` (n,) to these real squares."""
        fold = self.folds[nearest]
        seen = torch.empty_like(maps)
        for number, network in enumerate(self.networks):
            places = (fold == number).nonzero().flatten()
            if len(places):
                seen[places] = predict_maps(network, images[places])
        return measures.overlaps(seen, maps, range(len(maps)), classes=self.own.shape[1])


def train_map_judge(
    data: MaskedImages, *, judges: int, steps: int, flips: bool, seed: int, device: torch.device | str
) -> MapJudge:
    """Train `judges` segmenters, each without its part of the images of `data`.

    Args:
        data: the training pairs.
        judges: how many; no more are trained than there are images.
        steps: of the optimiser, of each.
        flips: whether a mirrored pair is one.
        seed: of the parts and of the trainings.
        device: to train on.

    Raises:
        DataError: all images are copies of one.
        TrainingError: a loss is not finite.
    """
    classes, count = len(data.class_names), len(data.fingerprints)
    by_image = folds_of(data, min(judges, count), seed)
    if int(by_image.max()) == 0:
        raise DataError(
            f"the {count} training images are copies of one, and a judge has to be trained without what it judges; "
            "give more"
        )
    folds = by_image[data.sources]
    networks, own = [], torch.zeros(len(data), classes, 3, dtype=torch.int64)
    for fold in range(int(by_image.max()) + 1):
        others, theirs = (folds != fold).nonzero().flatten(), (folds == fold).nonzero().flatten()
        network = train_segmenter(
            data.images[others], data.maps[others], classes=classes, steps=steps, seed=seed % 2**31 + fold,
            augment=f"flip+{_AUGMENT}" if flips else _AUGMENT, device=device,
        )  # fmt: skip
        networks.append(network)
        seen = predict_maps(network, data.images[theirs])
        own[theirs] = measures.overlaps(seen, data.maps[theirs], range(len(theirs)), classes=classes)
    return MapJudge(tuple(networks), folds, own, scored_classes(data.class_names))
