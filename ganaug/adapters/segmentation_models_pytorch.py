"""A segmentation-models-pytorch network trained on real pairs of image and mask with a bank's mixed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.bank import GeneratorBank
from ganaug.data import to_channels, to_uint8
from ganaug.data.class_tables import made_table
from ganaug.data.mask_files import list_masks
from ganaug.data.mask_view import MaskView
from ganaug.data.masks import read_masked
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, LeakError, MissingExtraError, RecipeError, did_you_mean
from ganaug.gan.device import resolve_device
from ganaug.gan.seeding import seeded
from ganaug.measures import overlaps
from ganaug.ratios import Ratio
from ganaug.segmenter import soft_dice

__all__ = ["SegmenterResult", "train"]

_NONE = 255  # no class, in the maps that are trained on
_CHUNK = 32  # images at a time that Dice is measured on


@dataclass(frozen=True)
class SegmenterResult:
    """A trained segmenter and how it fared."""

    model: nn.Module
    """On the CPU, in evaluation mode; takes NCHW float images in [-1, 1], gives logits of the classes."""
    classes: tuple[str, ...]
    dice: dict[str, float] | None
    """Of each class in 0..1, over all pixels of images that nothing was trained on; none without such images."""
    losses: tuple[float, ...]
    """Mean loss of each epoch."""


class _Squares(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of a view's dataset as tensors, through the transforms of a training."""

    def __init__(self, view: MaskView, size: int, channels: int) -> None:
        self.view, self.channels = view, channels
        self.transforms: Callable[[Any, Any], Any] = v2.Compose([v2.Resize((size, size), antialias=True), *_AUGMENT])

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, values = self.view.read(index)
        pixels = to_channels(to_uint8(image), self.channels)
        made: tuple[Tensor, Tensor] = self.transforms(
            tv_tensors.Image(torch.from_numpy(pixels.transpose(2, 0, 1).copy())),
            tv_tensors.Mask(torch.from_numpy(values.astype(np.int64))),
        )
        return made


_AUGMENT = [
    v2.RandomHorizontalFlip(),
    v2.RandomAffine(15, translate=(0.1, 0.1), scale=(0.8, 1.25)),
    v2.RandomApply([v2.ColorJitter(0.3, 0.3, 0.3)], 0.8),
]


def train(
    data: str | Path,
    bank: GeneratorBank,
    *,
    architecture: str = "Unet",
    encoder: str = "resnet18",
    ratio: Ratio = 0.5,
    epochs: int = 20,
    batch: int = 8,
    lr: float = 1e-3,
    image_size: int = 128,
    val: str | Path | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    pool_dir: str | Path | None = None,
    report: Callable[[str], None] | None = None,
) -> SegmenterResult:
    """Train a segmenter from scratch on real pairs with flips, affine and colour changes, and the bank's mixed in.

    AdamW and a cosine over the epochs; cross-entropy and soft Dice. The last epoch's weights are kept.

    Args:
        data: a folder of images and masks or a COCO file, as `fit` reads it.
        bank: fitted on the same pairs; its recipe says what the numbers in masks mean.
        architecture: of segmentation-models-pytorch, as Unet, FPN or DeepLabV3Plus.
        encoder: of that library; without pretrained weights.
        ratio: as in `GanAugmented`.
        epochs: passes over real and synthetic pairs.
        batch: pairs a step.
        lr: the first learning rate.
        image_size: side that every pair is brought to.
        val: pairs to measure Dice on, as `data`.
        device: "auto", "cpu", "cuda" or "cuda:i".
        seed: of weights, order and samples.
        pool_dir: as in `GanAugmented`.
        report: is given a line for each epoch.

    Raises:
        MissingExtraError: segmentation-models-pytorch is not installed.
        RecipeError: it has no such architecture or encoder.
        DataError: `val` has other classes.
        LeakError: the bank was fitted on an image of `val`.
        GanaugError: data or device cannot be used.
    """
    bank.check_task("segment", "training a segmenter", "give one that was fitted on images with masks")
    where, say = resolve_device(device), report or (lambda _: None)
    recipe, classes = bank.recipe, bank.class_names
    table, held = None if recipe.data.table is None else made_table(recipe.data.table), None
    if val is not None:
        held = read_masked(
            val, resolution=image_size, fit="stretch", table=table, ignore=recipe.data.ignore,
            colour="grey" if bank.channels == 1 else "rgb", least=1,
        )  # fmt: skip
        if held.class_names != classes:
            raise DataError(f"{val} has the classes {', '.join(held.class_names)}, the bank {', '.join(classes)}")
        if shared := len(set(held.fingerprints) & set(bank.manifest.train_fingerprints)):
            raise LeakError(f"the bank was fitted on {shared} images of {val}; give images that it was not fitted on")
    with seeded(seed, where):
        model = _build(architecture, encoder, bank.channels, len(classes)).to(where)
        squares = _Squares(MaskView(list_masks(data, table)), image_size, bank.channels)
        mixed = GanAugmented(squares, bank, ratio=ratio, epochs=epochs, seed=seed, pool_dir=pool_dir, check=False)
        order = torch.Generator().manual_seed(seed)
        loader = DataLoader(mixed, batch, shuffle=True, drop_last=len(mixed) > batch, generator=order)
        losses = _epochs(model, mixed, loader, _places(bank), epochs, lr, say)
    model.cpu().eval()
    dice = None if held is None else _dice(model, held.images, held.maps, classes)
    return SegmenterResult(model, classes, dice, tuple(losses))


def _build(architecture: str, encoder: str, channels: int, classes: int) -> nn.Module:
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise MissingExtraError("segmentation-models-pytorch", "segmentation") from error
    known = [found.__name__ for found in smp.MODEL_ARCHITECTURES_MAPPING.values()]
    if architecture not in known:
        raise RecipeError(f"there is no architecture {architecture!r}{did_you_mean(architecture, known)}")
    encoders = smp.encoders.get_encoder_names()
    if encoder not in encoders and not encoder.startswith("tu-"):
        raise RecipeError(f"there is no encoder {encoder!r}{did_you_mean(encoder, encoders)}")
    try:
        model: nn.Module = smp.create_model(
            architecture, encoder_name=encoder, encoder_weights=None, in_channels=channels, classes=classes
        )
    except (KeyError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise RecipeError(f"{architecture} with {encoder} cannot be made ({said}); choose others") from error
    return model


def _places(bank: GeneratorBank) -> Tensor:
    """For each number that a mask may hold its class, or none."""
    places = torch.full((65536,), _NONE)
    places[list(bank.label_numbers)] = torch.arange(len(bank.label_numbers))
    return places


def _epochs(
    model: nn.Module,
    mixed: GanAugmented,
    loader: DataLoader[Any],
    places: Tensor,
    epochs: int,
    lr: float,
    say: Callable[[str], None],
) -> list[float]:
    """Train; returns the mean loss of each epoch."""
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    losses = []
    for epoch in range(epochs):
        model.train()
        mixed.set_epoch(epoch)
        total = 0.0
        for images, masks in loader:
            maps = places[masks.long()].to(device)
            logits = model(_scaled(images).to(device))
            loss = functional.cross_entropy(logits, maps, ignore_index=_NONE) + soft_dice(logits, maps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        losses.append(total / len(loader))
        say(f"epoch {epoch + 1} of {epochs}: loss {losses[-1]:.3f}")
    return losses


def _scaled(images: Tensor) -> Tensor:
    return images.as_subclass(Tensor).float().div(127.5).sub(1)


@torch.no_grad()
def _dice(model: nn.Module, images: Tensor, maps: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    seen = torch.cat([model(_scaled(part)).argmax(1) for part in images.split(_CHUNK)])
    counts = overlaps(seen, maps, torch.zeros(len(maps)), classes=len(classes))[0].tolist()
    return {name: 2 * both / max(1, ours + true) for name, (both, ours, true) in zip(classes, counts, strict=True)}
