"""A torchvision classifier trained on the mixed set, as a recipe's `train:` section says."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from ganaug.bank import GeneratorBank
from ganaug.data import DatasetView, choose_classes, fingerprint, open_folder, to_channels, to_square, to_uint8
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError, LeakError, OutputError, RecipeError, TrainingError, did_you_mean
from ganaug.gan.device import resolve_device
from ganaug.gan.seeding import seeded
from ganaug.recipe import Train

__all__ = ["Learner", "TrainResult", "build_model", "feature_network", "save_weights", "train"]

Say = Callable[[str], None]
_HALF = (0.5, 0.5, 0.5)
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


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


def save_weights(model: nn.Module, path: str | Path, told: Mapping[str, Any]) -> None:
    """Write a model's weights to a safetensors file, with `told` as JSON in its header, beside its goal first.

    Raises:
        OutputError: it cannot be written there.
    """
    goal = Path(path)
    beside = goal.with_name(goal.name + ".part")
    state = {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    try:
        save_file(state, beside, {name: json.dumps(value) for name, value in told.items()})
        os.replace(beside, goal)
    except Exception as error:  # the library's own errors are of several kinds
        beside.unlink(missing_ok=True)
        raise OutputError(f"{goal} cannot be written ({error}); choose another place") from error


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


def build_model(
    name: str, weights: str | None, classes: int, *, section: str = "train"
) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    """A torchvision classifier for `classes` classes, and the mean and deviation that its input is normalised by.

    With weights, the layers that gave the classes it was trained on are replaced.

    Args:
        name: of the model, as resnet18.
        weights: a torchvision weights name, or a file of the model's weights (safetensors, or .pth as torch saves a
            state_dict; never unpickled beyond tensors), whose input was normalised as torchvision's ImageNet weights
            are unless `TrainResult.save` wrote it; None for a random start.
        classes: how many there are.
        section: of the recipe that they come from, for messages.

    Raises:
        RecipeError: there is no such model or weights, or they cannot be fetched or read.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise RecipeError(f"{section}.model is {name!r}, which torchvision does not have{did_you_mean(name, known)}")
    if weights is None:
        return torchvision.models.get_model(name, weights=None, num_classes=classes), _HALF, _HALF
    if Path(weights).suffix:
        return _with_file(name, Path(weights), classes, section)
    offered = torchvision.models.get_model_weights(name)
    if weights not in offered.__members__:
        choices = did_you_mean(weights, offered.__members__)
        raise RecipeError(
            f"{section}.weights is {weights!r}, which {name} does not have{choices}, or null to train from scratch"
        )
    chosen = offered[weights]
    model = _fetched(name, chosen, f"set {section}.weights to null")
    _replace_heads(model, len(chosen.meta["categories"]), classes)
    as_trained = chosen.transforms()
    return model, tuple(as_trained.mean), tuple(as_trained.std)


def _with_file(
    name: str, path: Path, classes: int, section: str
) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    """The model with the weights of a file, but for a last layer of other classes, which starts afresh."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as opened:
                told = opened.metadata() or {}
                state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        else:
            told, state = {}, dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, pickle.UnpicklingError) as error:
        said = " ".join(str(error).split())[:100]
        raise RecipeError(
            f"{section}.weights is {path}, which cannot be read as weights ({said}); give a safetensors file, or a "
            ".pth that holds a state_dict"
        ) from error
    model = torchvision.models.get_model(name, weights=None, num_classes=classes)
    own = model.state_dict()
    fresh = {key for key, value in state.items() if key in own and value.shape != own[key].shape}
    if set(state) != set(own) or any(state[key].shape[1:] != own[key].shape[1:] for key in fresh):
        raise RecipeError(f"{section}.weights is {path}, whose layers are not those of {name}; set {section}.model too")
    model.load_state_dict({key: value for key, value in state.items() if key not in fresh}, strict=False)
    mean, std = (tuple(json.loads(told[key])) if key in told else usual for key, usual in _IMAGENET.items())
    return model, mean, std


class Learner(nn.Module):
    """A torchvision classifier of images as ganaug's own networks take them: NCHW in [-1, 1], grey or RGB.

    They are brought to `side` x `side` and normalised as the model's weights want it. Arguments are those of
    `build_model`.
    """

    def __init__(self, name: str, weights: str | None, classes: int, *, side: int, section: str) -> None:
        super().__init__()
        self.model, mean, std = build_model(name, weights, classes, section=section)
        self.side = side
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """(N, classes) logits."""
        shown = images.expand(-1, 3, -1, -1)
        if images.shape[-1] != self.side:
            size = (self.side, self.side)
            shown = functional.interpolate(shown, size, mode="bilinear", antialias=True, align_corners=False)
        return _logits(self.model((shown.add(1) / 2 - self.mean) / self.std))


def feature_network(
    name: str, weights: str | None = None, *, device: torch.device | str = "cpu", chunk: int = 64
) -> Callable[[Tensor], Tensor]:
    """What a pretrained torchvision classifier sees before its last layer: NCHW uint8 to (N, D) float32 on the CPU.

    Args:
        name: of the model, as resnet18.
        weights: its default ones by default.
        device: where it runs.
        chunk: images at a time.

    Raises:
        RecipeError: there is no such model or weights, or they cannot be fetched.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise RecipeError(
            f"features are {name!r}, and torchvision has no such model{did_you_mean(name, ['own', *known])}"
        )
    offered = torchvision.models.get_model_weights(name)
    if weights is not None and weights not in offered.__members__:
        raise RecipeError(f"{name} has no weights {weights!r}{did_you_mean(weights, offered.__members__)}")
    chosen = offered[weights] if weights is not None else offered.DEFAULT  # type: ignore[attr-defined]
    model = _fetched(name, chosen, "take the features 'own'")
    _replace_heads(model, len(chosen.meta["categories"]), None)
    as_trained = chosen.transforms()
    side = as_trained.crop_size[0]
    normalise = v2.Normalize(list(as_trained.mean), list(as_trained.std))
    model.to(device).eval()

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        shown = images.expand(-1, 3, -1, -1).split(chunk)
        larger = (v2.functional.resize(part, [side, side], antialias=True).float() / 255 for part in shown)
        return torch.cat([_logits(model(normalise(part).to(device))).flatten(1).float().cpu() for part in larger])

    return features


def _fetched(name: str, weights: Any, otherwise: str) -> nn.Module:
    try:
        model: nn.Module = torchvision.models.get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise RecipeError(
            f"the weights {weights.name} of {name} cannot be fetched ({said}); go online once, or {otherwise}"
        ) from error
    return model


def _replace_heads(model: nn.Module, before: int, classes: int | None) -> None:
    """Give every layer with an output for each of `before` classes one for each of `classes`; auxiliary ones too.

    Without `classes` they are taken away.
    """
    for name, layer in list(model.named_modules()):
        made: nn.Module
        if isinstance(layer, nn.Linear) and layer.out_features == before:
            made = nn.Linear(layer.in_features, classes, bias=layer.bias is not None) if classes else nn.Identity()
        elif isinstance(layer, nn.Conv2d) and layer.out_channels == before:  # SqueezeNet
            made = nn.Conv2d(layer.in_channels, classes, kernel_size=1) if classes else nn.Identity()
        else:
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, made)


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
            loss = functional.cross_entropy(_logits(model(images.to(device))), labels.to(device))
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


def _logits(output: Any) -> Tensor:
    logits: Tensor = output if isinstance(output, Tensor) else output.logits  # Inception and GoogLeNet give more
    return logits


@torch.no_grad()
def _accuracy(model: nn.Module, check: DataLoader[Any], device: torch.device) -> float:
    model.eval()
    right = [(_logits(model(images.to(device))).argmax(1).cpu() == labels).double() for images, labels in check]
    return float(torch.cat(right).mean())
