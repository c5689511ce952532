"""A torchvision classifier trained on the mixed set, as a recipe's `train:` section says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from ganaug.adapters.torchvision_models import build_model, logits, save_weights
from ganaug.bank import GeneratorBank
from ganaug.data import DatasetView, choose_classes, fingerprint, open_folder, to_channels, to_square, to_uint8
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, LeakError, TrainingError
from ganaug.gan.device import resolve_device
from ganaug.gan.seeding import seeded
from ganaug.recipe import Train

__all__ = ["TrainResult", "train"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainResult:
    """A trained classifier and how it fared."""

    model: nn.Module
    """On the CPU, in evaluation mode; takes NCHW float images scaled to 0..1 and normalised."""
    classes: tuple[str, ...]
    accuracy: float | None
    """After the last epoch, on images that nothing was trained on, in 0..1; none where there were no such images."""
    history: tuple[dict[str, float], ...]
    """For each epoch its mean loss, and its accuracy where that was measured."""
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def save(self, path: str | Path) -> None:
        """Write the weights to a safetensors file, with classes and normalisation in its header.

        Raises:
            OutputError: it cannot be written there.
        """
        save_weights(self.model, path, {"classes": self.classes, "mean": self.mean, "std": self.std})


def train(
    data: Any,
    bank: GeneratorBank,
    settings: Train,
    *,
    classes: Sequence[str] | None = None,
    val: Any = None,
    held: Sequence[int] | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    out: str | Path | None = None,
    pool_dir: str | Path | None = None,
    report: Say | None = None,
) -> TrainResult:
    """Train a torchvision classification model on real images, with the bank's mixed in.

    AdamW and a cosine over the epochs; TrivialAugmentWide on real and synthetic images alike. The last epoch's
    weights are kept: none is picked by its accuracy, so that the accuracy given is an honest one.

    Args:
        data: a path, or a dataset of (image, class) items; it is read below its transform.
        bank: where synthetic images come from.
        settings: the recipe's `train:` section.
        classes: names of the classes to tell apart; all in `data` by default.
        val: images to measure the accuracy on, a path or a dataset.
        held: indices of `data` to measure it on, instead of `val`; they are not trained on.
        device: "auto", "cpu", "cuda" or "cuda:i".
        seed: of weights, order and samples.
        out: a safetensors file to write the weights to.
        pool_dir: folder for the raw samples, as in `GanAugmented`.
        report: is given a line for each epoch.

    Raises:
        LeakError: the bank was fitted on an image to measure on, or such an image is trained on too.
        RecipeError: torchvision has no such model or weights, or the weights cannot be had.
        GanaugError: data, device or output cannot be used.
    """
    say = report or (lambda _: None)
    where = resolve_device(device)
    real, scored = _read(data, bank, settings, classes, val, held)
    with seeded(seed, where):
        model, mean, std = build_model(settings.model, settings.weights, len(real.classes))
        real.transform = _transform(mean, std, augment=True)
        soft = settings.ratio == "auto" and bank.verdict is not None and bank.verdict.soft
        # the squares have other fingerprints than the images they are cut from, which _refuse_leaks has looked at
        mixed = GanAugmented(
            real, bank, ratio=settings.ratio, epochs=settings.epochs, soft_labels=soft, seed=seed, pool_dir=pool_dir,
            check=False,
        )  # fmt: skip
        loader = _loader(mixed, settings, seed)
        model.to(where)
        check = None
        if scored is not None:
            scored.transform = _transform(mean, std, augment=False)
            check = DataLoader(scored, settings.batch, num_workers=settings.workers)
        history = _epochs(model, mixed, loader, check, settings, where, say)
    accuracy = history[-1].get("accuracy")
    result = TrainResult(model.cpu().eval(), tuple(real.classes), accuracy, tuple(history), mean, std)
    if accuracy is None:
        say("no validation set, so no accuracy: give val, images that neither the bank nor the classifier has seen")
    if out is not None:
        result.save(out)
    return result


class _Squares(Dataset[Any]):
    """RGB squares of one size with class numbers; cut as the bank's training images were, so that both look alike."""

    def __init__(self, view: DatasetView, indices: Sequence[int], numbers: Sequence[int], size: int, fit: str) -> None:
        self.view, self.indices, self.size, self.fit = view, list(indices), size, fit
        self.classes = [view.class_name(number) for number in numbers]
        labels = view.labels()
        self.targets = [list(numbers).index(labels[index]) for index in self.indices]
        self.transform: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        pixels = to_square(to_uint8(self.view.image(self.indices[index])), self.size, self.fit)
        image = Image.fromarray(to_channels(pixels, 3))
        return (image if self.transform is None else self.transform(image)), self.targets[index]

    def fingerprints(self) -> set[str]:
        """Of the images as the user has them."""
        return {fingerprint(self.view.image(index)) for index in self.indices}


def _read(
    data: Any,
    bank: GeneratorBank,
    settings: Train,
    classes: Sequence[str] | None,
    val: Any,
    held: Sequence[int] | None,
) -> tuple[_Squares, _Squares | None]:
    """Images to train on, and those to measure on where there are any."""
    if val is not None and held is not None:
        raise DataError("both val and held are given; measure on one of them")
    shape = settings.image_size, bank.recipe.data.fit
    view = _view(data)
    numbers = _numbers(view, classes)
    inside = [index for index, label in enumerate(view.labels()) if label in numbers]
    apart = {range(len(view))[index] for index in held or ()}
    real = _Squares(view, [index for index in inside if index not in apart], numbers, *shape)
    scored = None
    if held is not None:
        scored = _Squares(view, [index for index in inside if index in apart], numbers, *shape)
    if val is not None:
        beside = _view(val)
        theirs = _numbers(beside, real.classes)  # in our order
        scored = _Squares(beside, [i for i, label in enumerate(beside.labels()) if label in theirs], theirs, *shape)
    _refuse_leaks(real, scored, bank)
    return real, scored


def _view(source: Any) -> DatasetView:
    return DatasetView(open_folder(source) if isinstance(source, (str, Path)) else source)


def _numbers(view: DatasetView, classes: Sequence[str] | None) -> list[int]:
    """Class numbers of these names, in their order; of all classes that have an image by default."""
    names = {view.class_name(number): number for number in sorted(set(view.labels()))}
    return [names[name] for name in choose_classes(list(names), classes)]


def _refuse_leaks(real: _Squares, scored: _Squares | None, bank: GeneratorBank) -> None:
    trained = real.fingerprints()
    if shared := len(trained & set(bank.manifest.held_back_fingerprints)):
        raise LeakError(f"{shared} images to train on were held back from the bank's fit to be scored; leave them out")
    measured = scored.fingerprints() if scored is not None else set[str]()
    seen = {"the bank's fit": set(bank.manifest.train_fingerprints), "this training": trained}
    for whose, known in seen.items():
        if shared := len(measured & known):
            raise LeakError(f"{shared} of the {len(measured)} images to measure on are in {whose} too; give others")


def _transform(mean: Sequence[float], std: Sequence[float], *, augment: bool) -> v2.Transform:
    first: list[nn.Module] = [v2.TrivialAugmentWide()] if augment else []
    return v2.Compose(
        [*first, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(mean), list(std))]
    )


def _loader(mixed: GanAugmented, settings: Train, seed: int) -> DataLoader[Any]:
    return DataLoader(
        mixed,
        settings.batch,
        shuffle=True,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        drop_last=len(mixed) % settings.batch == 1,  # batch normalisation cannot train on one image
        generator=torch.Generator().manual_seed(seed),
    )


def _epochs(
    model: nn.Module,
    mixed: GanAugmented,
    loader: DataLoader[Any],
    check: DataLoader[Any] | None,
    settings: Train,
    device: torch.device,
    say: Say,
) -> list[dict[str, float]]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * len(loader))
    history = []
    for epoch in range(settings.epochs):
        mixed.set_epoch(epoch)
        model.train()
        losses = []
        for images, labels in loader:
            loss = functional.cross_entropy(logits(model(images.to(device))), labels.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        row = {"loss": float(torch.stack(losses).mean())}
        if not torch.tensor(row["loss"]).isfinite():
            raise TrainingError(
                f"the loss of {settings.model} became {row['loss']} in epoch {epoch + 1}; lower train.lr"
            )
        if check is not None:
            row["accuracy"] = _accuracy(model, check, device)
        history.append(row)
        say(
            f"epoch {epoch + 1} of {settings.epochs}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in row.items())
        )
    return history


@torch.no_grad()
def _accuracy(model: nn.Module, check: DataLoader[Any], device: torch.device) -> float:
    model.eval()
    right = [(logits(model(images.to(device))).argmax(1).cpu() == labels).double() for images, labels in check]
    return float(torch.cat(right).mean())
