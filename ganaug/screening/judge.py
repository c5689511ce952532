"""The judge: classifiers trained on real images alone, none of which judges what it was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from ganaug.classifier import probabilities, train_classifier
from ganaug.data import LabelledImages
from ganaug.errors import DataError

__all__ = ["Judge", "fitted_temperature", "folds_of", "train_judge"]

_COLDEST, _HOTTEST = 0.2, 20.0  # temperatures that are looked at
_SMALLEST = 1e-30  # probability, so that its logarithm is finite


@dataclass(frozen=True)
class Judge:
    """Cross-fitted classifiers with one temperature.

    A sample is a variation of real images, and a classifier that was trained on those would be sure of it whatever it
    shows. So a sample is judged by the classifier that was trained without its nearest real image, just as that image
    is, and probabilities of samples and of real images can be compared.
    """

    networks: tuple[nn.Module, ...]
    folds: Tensor
    """(N,) int64: for each real image the network that was trained without it."""
    temperature: float
    """Divides all logits; fitted on the real images (Guo et al. 2017, 1706.04599)."""
    own: Tensor
    """(N,) float32: the probability of each real image's own class."""
    accuracy: float
    """Share of the real images that are told right."""

    def probabilities(self, images: Tensor, nearest: Tensor) -> Tensor:
        """(n, classes) float32 for `images` NCHW uint8, whose nearest real images have the indices `nearest` (n,)."""
        fold = self.folds[nearest]
        made = [
            (places, probabilities(network, images[places], temperature=self.temperature))
            for number, network in enumerate(self.networks)
            if len(places := (fold == number).nonzero().flatten())
        ]
        found = torch.empty(len(images), made[0][1].shape[1])
        for places, values in made:
            found[places] = values
        return found


def train_judge(
    data: LabelledImages, *, judges: int, steps: int, flips: bool, seed: int, device: torch.device | str
) -> Judge:
    """Train `judges` classifiers, each without its part of `data`, and fit their temperature on those parts.

    Args:
        data: the training images.
        judges: how many; no more are trained than there are images.
        steps: of the optimiser, of each.
        flips: whether a mirrored image is of the same class.
        seed: of the parts and of the trainings.
        device: to train on.

    Raises:
        DataError: all images are copies of one.
        TrainingError: a loss is not finite.
    """
    classes = len(data.class_names)
    folds = folds_of(data, min(judges, len(data)), seed)
    if int(folds.max()) == 0:
        raise DataError(f"the {len(data)} training images are copies of one, which nothing can be judged by; give more")
    steps = steps if classes > 1 else 1  # there is nothing to tell apart
    augment = "flip+crop" if flips else "crop"
    networks, told = [], torch.empty(len(data), classes)
    for fold in range(int(folds.max()) + 1):
        others, theirs = (folds != fold).nonzero().flatten(), (folds == fold).nonzero().flatten()
        network = train_classifier(
            data.images[others], data.labels[others], classes=classes, steps=steps, seed=seed % 2**31 + fold,
            augment=augment, device=device,
        )  # fmt: skip
        networks.append(network)
        told[theirs] = probabilities(network, data.images[theirs]).clamp_min(_SMALLEST).log()
    temperature = fitted_temperature(told, data.labels)
    calibrated = functional.softmax(told / temperature, dim=1)
    own = calibrated.gather(1, data.labels[:, None]).flatten()
    accuracy = float((told.argmax(1) == data.labels).double().mean())
    return Judge(tuple(networks), folds, temperature, own, accuracy)


def folds_of(data: LabelledImages, count: int, seed: int) -> Tensor:
    """(N,) int64 in 0..count-1: parts of one size in which every class is spread evenly; copies share a part."""
    random = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(data), generator=random)
    order = shuffled[torch.argsort(data.labels[shuffled], stable=True)]
    folds = torch.empty(len(data), dtype=torch.int64)
    folds[order] = torch.arange(len(data)) % count
    first: dict[str, int] = {}
    for index, print_ in enumerate(data.fingerprints):
        folds[index] = folds[first.setdefault(print_, index)]
    numbered: Tensor = folds.unique(return_inverse=True)[1]  # without parts that copies have left empty
    return numbered


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature at which `logits` (N, classes) tell `labels` (N,) int64 with the least cross-entropy."""
    known = logits.double()

    def entropy(log_temperature: float) -> float:
        return float(functional.cross_entropy(known / math.exp(log_temperature), labels))

    bounds = (math.log(_COLDEST), math.log(_HOTTEST))
    return math.exp(float(minimize_scalar(entropy, bounds=bounds, method="bounded").x))
