"""The reference classifier: small, trained from scratch, the same in every arm of a comparison."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_accuracy
from torchvision.transforms import v2

from ganaug.errors import RecipeError, TrainingError, did_you_mean
from ganaug.gan.precision import half_pays
from ganaug.gan.seeding import seeded
from ganaug.showing import epochs, faded, in_turn

__all__ = [
    "accuracy",
    "build_classifier",
    "check_augment",
    "per_class_accuracy",
    "predict",
    "probabilities",
    "train_classifier",
]

_AUGMENTATIONS = ("none", "flip", "crop", "elastic", "trivial", "cutmix")
_CHUNK = 2048  # images augmented at a time
_TOGETHER = 8  # images of a chunk that share one draw of crop or of TrivialAugmentWide
_SMOOTHING = 0.05


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


def check_augment(augment: str) -> frozenset[str]:
    """The parts of an augmentation such as "flip+trivial+cutmix".

    "flip" mirrors half of the images; "crop" pads by an eighth, reflected, and crops anywhere; "elastic" moves pixels
    by a random smooth flow (Simard et al. 2003), about a thirtieth of the side; "trivial" is TrivialAugmentWide
    (2103.10158); "cutmix" is CutMix (1905.04899) on half of the batches; "none" is nothing.

    Raises:
        RecipeError: a part is none of these.
    """
    parts = frozenset(augment.split("+"))
    for part in parts:
        if part not in _AUGMENTATIONS:
            raise RecipeError(f"there is no augmentation {part!r}{did_you_mean(part, _AUGMENTATIONS)}")
    if "none" in parts and len(parts) > 1:
        raise RecipeError(f"augment is {augment!r}; 'none' goes with no other")
    return parts - {"none"}


def train_classifier(
    images: Tensor,
    targets: Tensor,
    *,
    classes: int,
    steps: int,
    batch: int = 64,
    seed: int = 0,
    augment: str = "trivial",
    lr: float = 3e-3,
    added: int = 0,
    turns: int = 1,
    fading: bool = False,
    device: torch.device | str = "cpu",
    half: bool | None = None,
    build: Callable[[], nn.Module] | None = None,
) -> nn.Module:
    """Train a reference classifier: AdamW, one-cycle learning rate, label smoothing 0.05.

    Images are seen in shuffled epochs, so that each is seen as often as any other; `steps` decides how long,
    whatever their number, which keeps the arms of a comparison equal. The caller's random state is untouched.

    Args:
        images: NCHW uint8; real ones, and `added` others after them.
        targets: N int64 in 0..classes-1, or (N, classes) float probabilities, which are not smoothed further.
        classes: how many there are.
        steps: of the optimiser.
        batch: images a step, at least 2.
        seed: of weights, order, augmentation and dropout.
        augment: of the training images: see `check_augment`.
        lr: the highest of the cycle.
        added: how many of the last images are no real ones.
        turns: those are shown in so many equal parts, one in each epoch, whose classes follow each other alike.
        fading: whether they give way as training goes on, all of them by its end: in the place of one that has gone, a
            real image of the same (likeliest) class is shown, as `AnnealedRatio` does it.
        device: to train on.
        half: bfloat16 autocast; by default where the device computes in it.
        build: makes the network to train, of the form that `build_classifier` has, which it is by default.

    Returns:
        The network, in evaluation mode, on `device`.

    Raises:
        TrainingError: the loss is not finite.
    """
    where = torch.device(device)
    parts = check_augment(augment)
    real, slots = len(images) - added, added // turns
    gone = slots if fading else 0
    known = targets if targets.ndim == 2 else functional.one_hot(targets, classes).float()
    if targets.ndim == 1:
        known = known * (1 - _SMOOTHING) + _SMOOTHING / classes
    with seeded(seed, where):
        sizes = {"resolution": images.shape[-1], "channels": images.shape[1], "classes": classes}
        network = build() if build is not None else build_classifier(**sizes)
        network.to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
        precision = half_pays(where) if half is None else half
        order = faded(epochs(real + slots, steps * batch, seed), known.argmax(1)[: real + slots], gone, seed)
        order = in_turn(order, real, slots, turns)
        for shown, wanted in _batches(images, known, order, batch=batch, parts=parts):
            with torch.autocast(where.type, torch.bfloat16, enabled=precision):
                logits = network(_scaled(shown, where))
            loss = functional.cross_entropy(logits.float(), wanted.to(where))
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
    images: Tensor, targets: Tensor, order: Tensor, *, batch: int, parts: frozenset[str]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of augmented images in this order, with (batch, classes) targets; draws on the global random state."""
    cutmix = v2.CutMix(labels_getter=lambda pair: pair[1])
    per_chunk = max(1, _CHUNK // batch) * batch
    for chosen in torch.split(order, per_chunk):
        shown = _augmented(images[chosen], parts)
        for pair in zip(torch.split(shown, batch), torch.split(targets[chosen], batch), strict=True):
            yield cutmix(pair) if "cutmix" in parts and torch.rand(()) < 0.5 else pair


def _augmented(images: Tensor, parts: frozenset[str]) -> Tensor:
    """NCHW uint8 to the same, augmented.

    Crop and TrivialAugmentWide apply one draw of operation and strength to all that they are given, and a call costs
    far more than a small image. So images far apart in the order are drawn for together, a few at a time: each image's
    own distribution is as if it had been alone, and two of a draw seldom meet in a batch.
    """
    if "flip" in parts:
        mirrored = torch.rand(len(images)) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    side = images.shape[-1]
    jointly = []
    if "crop" in parts:
        jointly.append(v2.RandomCrop(side, padding=max(1, side // 8), padding_mode="reflect"))
    if "elastic" in parts:
        jointly.append(_elastic(side))
    if "trivial" in parts:
        jointly.append(v2.TrivialAugmentWide())
    if not jointly:
        return images
    together = v2.Compose(jointly)
    made = torch.empty_like(images)
    for group in torch.split(torch.randperm(len(images)), _TOGETHER):
        made[group] = together(images[group])
    return made


def _elastic(side: int) -> v2.ElasticTransform:
    """A flow smooth over an eighth of the side, that moves a pixel by about a thirtieth.

    Uniform noise in [-1, 1], smoothed by a Gaussian of s pixels, is left with a deviation of 1 / (s sqrt(12 pi)), and
    torchvision moves by half of `alpha` times that.
    """
    smooth = side / 8
    return v2.ElasticTransform(alpha=side / 16 * smooth * math.sqrt(12 * math.pi), sigma=smooth)


@torch.no_grad()
def probabilities(network: nn.Module, images: Tensor, *, chunk: int = 512, temperature: float = 1.0) -> Tensor:
    """(N, classes) float32 on the CPU: the softmax of `network` for `images` NCHW uint8, logits over `temperature`."""
    device = next(network.parameters()).device
    network.eval()
    logits = [network(_scaled(part, device)).float().cpu() for part in torch.split(images, chunk)]
    return functional.softmax(torch.cat(logits) / temperature, dim=1)


def predict(network: nn.Module, images: Tensor, *, chunk: int = 512) -> Tensor:
    """N int64 on the CPU: the class seen in each of `images` NCHW uint8."""
    return probabilities(network, images, chunk=chunk).argmax(1)


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
