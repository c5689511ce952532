"""Whole jobs: sample and preview a bank, and carry out a recipe from images to verdict."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ganaug.adapters import torchvision as torchvision_adapter
from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages, safe_stem
from ganaug.errors import OutputError
from ganaug.evidence.comparison import Comparison, compare
from ganaug.exporting import export
from ganaug.fitting import fit
from ganaug.measures import nearest_images
from ganaug.pictures import Panel, draw_grid, save_picture
from ganaug.recipe import Recipe, load_recipe
from ganaug.tasks import get_task

__all__ = [
    "RunResult",
    "bank_path",
    "preview",
    "ready_bank",
    "ready_folder",
    "run",
    "sample_to_folder",
    "write_text",
]

Say = Callable[[str], None]


def sample_to_folder(
    bank: GeneratorBank,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    num: int = 16,
    seed: int = 0,
    exist_ok: bool = False,
) -> list[Path]:
    """Write `num` synthetic images of each class as `OUT/class/000000.png`; returns the class folders.

    Raises:
        OutputError: `out` holds something and `exist_ok` is not given, or cannot be written to.
        BankError: a class is not in the bank.
    """
    goal = Path(out)
    names = list(classes) if classes is not None else list(bank.class_names)
    samples = {name: bank.sample(name, num, seed=seed) for name in names}
    ready_folder(goal, exist_ok=exist_ok)
    folders = []
    for name, images in samples.items():
        folder = goal / safe_stem(name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another --out") from error
        for index, image in enumerate(images):
            array = image.permute(1, 2, 0).numpy()
            save_picture(Image.fromarray(array[..., 0] if array.shape[2] == 1 else array), folder / f"{index:06d}.png")
        folders.append(folder)
    return folders


def preview(
    bank: GeneratorBank, *, data: Any = None, classes: Sequence[str] | None = None, columns: int = 8, seed: int = 0
) -> Image.Image:
    """A labelled grid: synthetic images, and with `data` (the training images) the nearest of them to each, and others.

    `data` is whatever `fit` takes; a copy shows itself as a synthetic image that equals its nearest real one.
    """
    names = list(classes) if classes is not None else list(bank.class_names)
    synthetic = {name: bank.sample(name, columns, seed=seed) for name in names}
    panels: list[Panel] = [("synthetic", synthetic)]
    if data is not None:
        real = _as_bank_sees(bank, data, names)
        by_class = {name: real.images[real.labels == index] for index, name in enumerate(names)}
        nearest = {name: by_class[name][nearest_images(synthetic[name], by_class[name])[0]] for name in names}
        panels += [("nearest training image to each", nearest), ("real", {name: by_class[name][:columns] for name in names})]
    return draw_grid(panels, columns=columns)


def _as_bank_sees(bank: GeneratorBank, data: Any, names: Sequence[str]) -> LabelledImages:
    """The user's images in the size and the channels of the bank."""
    colour = "grey" if bank.channels == 1 else "rgb"
    recipe = bank.recipe.replace({"data.colour": colour})
    return get_task(bank.task).read(data, recipe, classes=names)


@dataclass(frozen=True)
class RunResult:
    """What a whole recipe left behind."""

    bank: Path
    comparison: Comparison
    exported: Path | None
    trained: torchvision_adapter.TrainResult | None


def run(
    recipe: str | Path | Recipe,
    *,
    data: str | Path | None = None,
    classes: Sequence[str] | None = None,
    out: str | Path = "ganaug-run",
    device: str | torch.device = "auto",
    exist_ok: bool = False,
    say: Say = print,
) -> RunResult:
    """Carry out a whole recipe: fit, compare, write the verdict, then export and train where the recipe says so.

    Args:
        recipe: a shipped name, a YAML file or a `Recipe`.
        data: training images; the recipe's `data.path` by default, else the current folder.
        classes: classes to learn; the recipe's by default, else all.
        out: folder for everything that is made.
        device: as in `fit`.
        exist_ok: write into `out` though it holds something.
        say: where lines of progress go.
    """
    resolved = load_recipe(recipe)
    source = Path(data if data is not None else resolved.data.path or ".")
    chosen = classes if classes is not None else resolved.data.classes
    folder = ready_folder(Path(out), exist_ok=exist_ok, apart_from=source)
    bank_path = folder / "bank.ganaug"
    say("fitting the generators")
    bank = fit(source, classes=chosen, recipe=resolved, device=device, run_dir=folder / "bank.run")
    bank.save(bank_path)
    save_picture(preview(bank, data=source), folder / "preview.png")
    say("comparing with and without synthetic images")
    comparison = compare(source, bank, classes=chosen, val=resolved.data.val, device=device, report=say)
    bank = comparison.apply_to(bank)
    bank.save(bank_path)
    write_text(folder / "comparison.json", json.dumps(comparison.to_dict(), indent=2))
    say(comparison.summary)
    exported = None
    if resolved.export is not None:
        exported = folder / resolved.export.out
        export(bank, source, exported, ratio=resolved.export.ratio, seed=resolved.seed, exist_ok=exist_ok)
        say(f"exported to {exported}")
    trained = None
    if resolved.train is not None:
        say(f"training {resolved.train.model} at ratio {resolved.train.ratio}")
        trained = torchvision_adapter.train(
            source, bank, resolved.train, val=resolved.data.val, classes=chosen, device=device, seed=resolved.seed,
            out=folder / "classifier.safetensors", report=say,
        )  # fmt: skip
    return RunResult(bank_path, comparison, exported, trained)


def ready_folder(path: Path, *, exist_ok: bool, apart_from: Path | None = None) -> Path:
    """Make `path` if need be and make sure that it may be written into.

    Raises:
        OutputError: it holds something and `exist_ok` is not given, is the data itself, or cannot be written to.
    """
    if apart_from is not None and path.resolve() == apart_from.resolve():
        raise OutputError(f"{path} is the data itself, which is never changed; choose another --out")
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file, and a folder is wanted; choose another --out")
    if path.is_dir() and any(path.iterdir()) and not exist_ok:
        raise OutputError(f"{path} already holds something; choose another --out, or add --exist-ok")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error.strerror}); choose another --out") from error
    if not os.access(path, os.W_OK):
        raise OutputError(f"{path} cannot be written to; choose another --out")
    return path


def write_text(path: Path, text: str) -> None:
    """Write beside `path` and rename."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(text, "utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}); choose another --out") from error


def bank_path(data: Path, classes: Sequence[str] | None) -> Path:
    """Where a bank goes if nothing is said: `cat-dog.ganaug` after a few classes, else after the data's own name."""
    if classes is not None and len(classes) <= 4:
        return Path("-".join(safe_stem(name) for name in classes) + ".ganaug")
    resolved = data.resolve()
    name = resolved.parent.name if resolved.name == "train" else resolved.stem
    return Path(f"{safe_stem(name or 'bank')}.ganaug")


def ready_bank(path: Path, run_dir: Path, *, data: Path, exist_ok: bool) -> None:
    """Make sure before a long fit that its bank and its run folder can be written.

    Raises:
        OutputError: one exists and `exist_ok` is not given, the bank is a folder or the data, or its folder cannot be written to.
    """
    if path.is_dir() or path.resolve() == data.resolve():
        raise OutputError(f"{path} is {'a folder' if path.is_dir() else 'the data'}; give --out a file, as pets.ganaug")
    for made in (path, run_dir):
        if made.exists() and not exist_ok:
            raise OutputError(f"{made} exists already; choose another --out, add --exist-ok, or go on with --resume")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass  # root may pass os.access and still fail, as on a read-only disk
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written to ({error.strerror}); choose another --out") from error
