"""The judge: classifiers trained on real images alone, none of which judges what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganaug.classifier import probabilities, train_classifier
from ganaug.crossfit import fitted_temperature, folds_of
from ganaug.data import LabelledImages
from ganaug.errors import DataError

__all__ = ["Judge", "train_judge"]

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
