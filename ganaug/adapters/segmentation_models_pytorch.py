"""A segmentation-models-pytorch network trained on real pairs of image and mask with a bank's mixed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug.adapters.torchvision_models import save_weights
from ganaug.bank import GeneratorBank
from ganaug.data import to_channels, to_uint8
from ganaug.data.class_tables import ClassTable, made_table
from ganaug.data.images import colour_of
from ganaug.data.mask_files import MaskFiles, list_masks
from ganaug.data.mask_view import MaskView
from ganaug.data.masks import MaskedImages, read_masked
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, LeakError, MissingExtraError, RecipeError, did_you_mean
from ganaug.gan.device import resolve_device
from ganaug.gan.seeding import seeded
from ganaug.measures import overlaps
from ganaug.recipe import Train
from ganaug.segmenter import soft_dice

__all__ = ["SegmenterResult", "build_segmenter", "train"]

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

    def save(self, path: str | Path) -> None:
        """Write the weights to a safetensors file, with the classes in its header.

        Raises:
            OutputError: it cannot be written there.
        """
        save_weights(self.model, path, {"classes": self.classes})


class _Squares(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of a view's dataset as tensors, through the transforms of a training."""

    def __init__(self, view: MaskView, size: int, bank: GeneratorBank) -> None:
        self.view, self.channels = view, bank.channels
        tile = bank.recipe.data.tile
        cut = [] if tile is None else [v2.RandomCrop(tile, pad_if_needed=True, padding_mode="edge")]
        flips = [v2.RandomHorizontalFlip()] if bank.recipe.data.horizontal_flip else []
        # torchvision knows no colours of bands
        colours = [v2.RandomApply([v2.ColorJitter(0.3, 0.3, 0.3)], 0.8)] if self.channels in {1, 3} else []
        moved = v2.RandomAffine(15, translate=(0.1, 0.1), scale=(0.8, 1.25))
        self.transforms: Callable[[Any, Any], Any] = v2.Compose(
            [*cut, v2.Resize((size, size), antialias=True), *flips, moved, *colours]
        )

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, values = self.view.read(index)
        pixels = to_channels(to_uint8(image, bands=self.channels not in {1, 3}), self.channels)
        made: tuple[Tensor, Tensor] = self.transforms(
            tv_tensors.Image(torch.from_numpy(pixels.transpose(2, 0, 1).copy())),
            tv_tensors.Mask(torch.from_numpy(values.astype(np.int64))),
        )
        return made


def train(
    data: str | Path | MaskFiles,
    bank: GeneratorBank,
    settings: Train,
    *,
    val: str | Path | MaskFiles | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    out: str | Path | None = None,
    pool_dir: str | Path | None = None,
    report: Callable[[str], None] | None = None,
) -> SegmenterResult:
    """Train a segmenter on real pairs with affine and colour changes, and flips where the bank's recipe allows them.

    The bank's pairs are mixed in, as many as the settings say, through the same changes. AdamW and a cosine over the
    epochs; cross-entropy and soft Dice. The last epoch's weights are kept. Where the bank was fitted on tiles, the
    segmenter learns and is measured on squares of that size too.

    Args:
        data: a folder of images and masks or a COCO file, as `fit` reads it, or what `list_masks` makes of one.
        bank: fitted on the same pairs; its recipe says what the numbers in masks mean.
        settings: the recipe's `train:` section: `model` is an architecture, as Unet, FPN or DeepLabV3Plus.
        val: pairs to measure Dice on, as `data`.
        device: "auto", "cpu", "cuda" or "cuda:i".
        seed: of weights, order and samples.
        out: a safetensors file to write the weights to.
        pool_dir: as in `GanAugmented`.
        report: is given a line for each epoch.

    Raises:
        MissingExtraError: segmentation-models-pytorch is not installed.
        RecipeError: it has no such architecture, encoder or weights, or they cannot be had.
        DataError: `val` has other classes.
        LeakError: the bank was fitted on an image of `val`.
        GanaugError: data, device or output cannot be used.
    """
    bank.check_task("segment", "training a segmenter", "give one that was fitted on images with masks")
    where, say = resolve_device(device), report or (lambda _: None)
    table = None if bank.recipe.data.table is None else made_table(bank.recipe.data.table)
    held = None if val is None else _held(list_masks(val, table), bank, settings.image_size)
    classes = bank.class_names
    with seeded(seed, where):
        model = build_segmenter(settings, bank.channels, len(classes)).to(where)
        squares = _Squares(MaskView(list_masks(data, table)), settings.image_size, bank)
        mixed = GanAugmented(
            squares, bank, ratio=settings.ratio, epochs=settings.epochs, seed=seed, pool_dir=pool_dir, check=False
        )
        loader = DataLoader(
            mixed, settings.batch, shuffle=True, drop_last=len(mixed) > settings.batch, num_workers=settings.workers,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        losses = _epochs(model, mixed, loader, _places(bank), settings, say)
    model.cpu().eval()
    dice = None if held is None else _dice(model, held.images, held.maps, classes)
    result = SegmenterResult(model, classes, dice, tuple(losses))
    if out is not None:
        result.save(out)
    return result


def _held(files: MaskFiles, bank: GeneratorBank, size: int) -> MaskedImages:
    """Pairs to measure Dice on, with the bank's classes: a set in which one is never seen may hold fewer numbers."""
    classes, recipe = ClassTable(bank.class_names, bank.label_numbers), bank.recipe
    held = read_masked(
        files if files.table is not None else replace(files, table=classes), resolution=size, fit="stretch",
        tile=recipe.data.tile, ignore=recipe.data.ignore, colour=colour_of(bank.channels), least=1,
    )  # fmt: skip
    if held.class_names != classes.names:
        raise DataError(
            f"{files.root} has the classes {', '.join(held.class_names)}, the bank {', '.join(classes.names)}"
        )
    if shared := len(set(held.fingerprints) & set(bank.manifest.train_fingerprints)):
        raise LeakError(
            f"the bank was fitted on {shared} images of {files.root}; give images that it was not fitted on"
        )
    return held


def build_segmenter(settings: Train, channels: int, classes: int) -> nn.Module:
    """The network that a recipe's `train:` section names.

    Raises:
        MissingExtraError: segmentation-models-pytorch is not installed.
        RecipeError: it has no such architecture, encoder or weights, or they cannot be had.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise MissingExtraError("segmentation-models-pytorch", "segmentation") from error
    name, encoder = settings.model, settings.encoder
    known = [found.__name__ for found in smp.MODEL_ARCHITECTURES_MAPPING.values()]
    if name not in known:
        raise RecipeError(f"there is no architecture {name!r}{did_you_mean(name, known)}")
    encoders = smp.encoders.get_encoder_names()
    if encoder not in encoders and not encoder.startswith("tu-"):
        raise RecipeError(f"there is no encoder {encoder!r}{did_you_mean(encoder, encoders)}")
    try:
        model: nn.Module = smp.create_model(
            name, encoder_name=encoder, encoder_weights=settings.weights, in_channels=channels, classes=classes
        )
    except Exception as error:  # the library's own, and those of downloads, are of many kinds
        said = " ".join(str(error).split())
        weights = f" and the weights {settings.weights}" if settings.weights else ""
        raise RecipeError(f"{name} with {encoder}{weights} cannot be made ({said}); choose others") from error
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
    settings: Train,
    say: Callable[[str], None],
) -> list[float]:
    """Train; returns the mean loss of each epoch."""
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * len(loader))
    losses = []
    for epoch in range(settings.epochs):
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
        say(f"epoch {epoch + 1} of {settings.epochs}: loss {losses[-1]:.3f}")
    return losses


def _scaled(images: Tensor) -> Tensor:
    return images.as_subclass(Tensor).float().div(127.5).sub(1)


@torch.no_grad()
def _dice(model: nn.Module, images: Tensor, maps: Tensor, classes: tuple[str, ...]) -> dict[str, float]:
    seen = torch.cat([model(_scaled(part)).argmax(1) for part in images.split(_CHUNK)])
    counts = overlaps(seen, maps, torch.zeros(len(maps)), classes=len(classes))[0].tolist()
    return {name: 2 * both / max(1, ours + true) for name, (both, ours, true) in zip(classes, counts, strict=True)}
