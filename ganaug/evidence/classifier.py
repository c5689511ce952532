"""The reference classifier: small, trained from scratch, the same in every arm of a comparison."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_accuracy
from torchvision.transforms import v2

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.errors import DataError, TrainingError, did_you_mean
from ganaug.gan.seeding import seeded

__all__ = [
    "Augment",
    "accuracy",
    "build_classifier",
    "per_class_accuracy",
    "predict",
    "synthetic_only_accuracy",
    "train_classifier",
]

Augment = Literal["none", "trivial", "trivial+flip"]
"""What is done to a training image: nothing, TrivialAugmentWide (2103.10158), or that after a coin-flip mirror."""

_CHUNK = 2048  # images augmented at a time
_TOGETHER = 8  # images of a chunk that share one draw of TrivialAugmentWide


def build_classifier(*, resolution: int, channels: int, classes: int) -> nn.Module:
    """An untrained network of NCHW float in [-1, 1] to (N, classes) logits.

    Three stages of 32, 64 and 128 channels, and one of 256 from 64 px; each halves the resolution.
    """
    widths = [channels, 32, 64, 128, *([256] if resolution >= 64 else [])]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        for inputs, stride in ((before, 1), (after, 2)):
            layers += [nn.Conv2d(inputs, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(widths[-1], classes)]
    return nn.Sequential(*layers, *head)


def train_classifier(
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    steps: int,
    batch: int = 64,
    seed: int = 0,
    augment: Augment = "trivial",
    lr: float = 3e-3,
    device: torch.device | str = "cpu",
    half: bool = False,
) -> nn.Module:
    """Train a reference classifier: AdamW, one-cycle learning rate, label smoothing 0.05.

    Images are seen in shuffled epochs, so that each is seen as often as any other; `steps` decides how long,
    whatever their number, which keeps the arms of a comparison equal. The caller's random state is untouched.

    Args:
        images: NCHW uint8; real and synthetic ones concatenated for a mixed arm.
        labels: N int64 in 0..classes-1.
        classes: how many there are.
        steps: of the optimiser.
        batch: images a step, at least 2.
        seed: of weights, order, augmentation and dropout.
        augment: of the training images.
        lr: the highest of the cycle.
        device: to train on.
        half: bfloat16 autocast.

    Returns:
        The network, in evaluation mode, on `device`.

    Raises:
        TrainingError: the loss is not finite.
    """
    where = torch.device(device)
    with seeded(seed, where):
        network = build_classifier(resolution=images.shape[-1], channels=images.shape[1], classes=classes)
        network.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
        for shown, wanted in _batches(images, labels, steps=steps, batch=batch, seed=seed, augment=augment):
            with torch.autocast(where.type, torch.bfloat16, enabled=half):
                logits = network(_scaled(shown, where))
            loss = functional.cross_entropy(logits.float(), wanted.to(where), label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    if not math.isfinite(loss.item()):
        raise TrainingError(
            f"the reference classifier's loss became {loss.item()}; look at the images, or try more steps"
        )
    return network.eval()


def _scaled(images: Tensor, device: torch.device) -> Tensor:
    """Uint8 to float in [-1, 1], channels last."""
    return images.to(device).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def _batches(
    images: Tensor, labels: Tensor, *, steps: int, batch: int, seed: int, augment: Augment
) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches of augmented images; draws on the global random state."""
    order = _epochs(len(images), steps * batch, seed)
    per_chunk = max(1, _CHUNK // batch) * batch
    for chosen in torch.split(order, per_chunk):
        shown = _augmented(images[chosen], augment)
        yield from zip(torch.split(shown, batch), torch.split(labels[chosen], batch), strict=True)


def _epochs(count: int, wanted: int, seed: int) -> Tensor:
    """`wanted` indices below `count`: shuffled epochs, one after another."""
    random = torch.Generator().manual_seed(seed)
    rounds = math.ceil(wanted / count)
    return torch.cat([torch.randperm(count, generator=random) for _ in range(rounds)])[:wanted]


def _augmented(images: Tensor, augment: Augment) -> Tensor:
    """NCHW uint8 to the same, augmented.

    TrivialAugmentWide applies one draw of operation and strength to all that it is given, and a call costs far more
    than a small image. So images far apart in the order are drawn for together, a few at a time: each image's own
    distribution is as if it had been alone, and two of a draw seldom meet in a batch.
    """
    if augment == "none":
        return images
    if augment == "trivial+flip":
        mirrored = torch.rand(len(images)) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    trivial = v2.TrivialAugmentWide()
    made = torch.empty_like(images)
    for group in torch.split(torch.randperm(len(images)), _TOGETHER):
        made[group] = trivial(images[group])
    return made


@torch.no_grad()
def predict(network: nn.Module, images: Tensor, *, chunk: int = 512) -> Tensor:
    """N int64 on the CPU: the class seen in each of `images` NCHW uint8."""
    device = next(network.parameters()).device
    network.eval()
    return torch.cat([network(_scaled(part, device)).argmax(1).cpu() for part in torch.split(images, chunk)])


def accuracy(network: nn.Module, images: Tensor, labels: Tensor, *, classes: int) -> tuple[float, list[float]]:
    """Share of `images` told right, in all and for each class (NaN where a class has none), both in 0..1."""
    seen = predict(network, images)
    overall = float(multiclass_accuracy(seen, labels, num_classes=classes, average="micro"))
    return overall, per_class_accuracy(seen, labels, classes=classes)


def per_class_accuracy(seen: Tensor, labels: Tensor, *, classes: int) -> list[float]:
    """Share of each class's images that were told right, from N int64 each; NaN where a class has none."""
    shares = multiclass_accuracy(seen, labels, num_classes=classes, average="none").double()
    shares[torch.bincount(labels, minlength=classes) == 0] = math.nan  # torchmetrics says 0 there
    found: list[float] = shares.tolist()
    return found


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
