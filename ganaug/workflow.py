"""Whole jobs: sample and preview a bank, and carry out a recipe from images to verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from ganaug import mask_workflow
from ganaug.adapters import torchvision as torchvision_adapter
from ganaug.adapters.torchvision_models import build_model
from ganaug.bank import GeneratorBank
from ganaug.box_pictures import preview_boxes
from ganaug.box_workflow import run_boxes
from ganaug.data import LabelledImages, choose_classes, safe_stem
from ganaug.data.masks import MaskedImages
from ganaug.enlarging import preview_enlarging
from ganaug.errors import BankError, OutputError, RecipeError
from ganaug.evidence.comparison import Comparison, compare
from ganaug.evidence.exams import get_exam
from ganaug.evidence.exams.classes import read
from ganaug.evidence.report import report
from ganaug.exporting import export
from ganaug.filled import preview_filling
from ganaug.fitting import fit
from ganaug.gan.device import resolve_device
from ganaug.held_out import Split, split_off
from ganaug.measures import nearest_images
from ganaug.output import check_file, check_folder, check_writable, make_folder, write_text
from ganaug.pictures import Panel, as_picture, draw_grid, map_colours, save_picture
from ganaug.planning import OnBad
from ganaug.recipe import Compare, Recipe, load_recipe
from ganaug.run_folder import keep_result
from ganaug.tasks import get_task
from ganaug.translated import draw_translations
from ganaug.varied_pairs import of_few_sources

if TYPE_CHECKING:
    from ganaug.adapters.detectors import DetectorResult
    from ganaug.adapters.segmentation_models_pytorch import SegmenterResult

__all__ = ["RunResult", "bank_path", "check_bank_path", "preview", "run", "sample_to_folder"]

Say = Callable[[str], None]
_CHUNK = 256  # samples in memory at a time
_MAPS = 6  # rows of a preview of label maps, and noises of each


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

    Those of a bank for detection are cut-outs, whose alpha is that of the PNG.

    Raises:
        OutputError: `out` holds something and `exist_ok` is not given, or cannot be written to.
        DataError: a class is not in the bank, or is named twice.
        BankError: `num` or `seed` is out of range.
    """
    if bank.task == "segment":
        bank.check_task("classify", "class folders", "sample_masks writes its pairs")
    names = choose_classes(bank.class_names, classes)
    check_folder(Path(out), exist_ok=exist_ok)
    if num < 1:
        raise BankError(f"num is {num}; give the number of images wanted of each class, 1 or more")
    bank.sample_at(bank.class_index(names[0]), [num - 1], seed=seed)  # what is wrong shows before anything is written
    folders = []
    goal = make_folder(Path(out))
    for name in names:
        folder = goal / safe_stem(name)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another --out") from error
        for start in range(0, num, _CHUNK):
            images = bank.sample_at(bank.class_index(name), range(start, min(num, start + _CHUNK)), seed=seed)
            for index, image in enumerate(images, start):
                save_picture(as_picture(image), folder / f"{index:06d}.png")
        folders.append(folder)
    return folders


def preview(
    bank: GeneratorBank,
    *,
    data: Any = None,
    classes: Sequence[str] | None = None,
    columns: int = 8,
    seed: int = 0,
    on_bad: OnBad = "stop",
) -> Image.Image:
    """A labelled grid: synthetic images, and with `data` (the training images) the nearest of them to each, and others.

    `data` is whatever `fit` takes; a copy shows itself as a synthetic image that equals its nearest real one. Of a bank
    for segmentation: new label maps and their images, and one map under six noises; with `data` real maps and images.
    Of a bank that translates: source images, their translations, and with `data`, of the target domain, real ones.
    Of a bank for detection: cut-outs on chequers, and with `data` on real grounds, the nearest real crops, and below
    whole scenes beside the real images that they are of, with their boxes.
    Of a bank that enlarges: small images, enlarged plainly and by it, and with `data` the real ones.
    Of a bank that fills holes: squares with a hole, smoothly filled and filled by it.
    """
    if bank.task == "segment":
        return _preview_maps(bank, data, seed, on_bad)
    if bank.task == "translate":
        return draw_translations(bank, data, on_bad)
    if bank.task == "detect":
        return preview_boxes(bank, data, classes, columns, seed, on_bad)
    if bank.task == "fill":
        return preview_filling(bank, data, seed, on_bad)
    if bank.task == "enlarge":
        return preview_enlarging(bank, data, on_bad)
    names = choose_classes(bank.class_names, classes)
    synthetic = {name: bank.sample(name, columns, seed=seed) for name in names}
    panels: list[Panel] = [("synthetic", synthetic)]
    if data is not None:
        real = read(data, bank, names, what="data", on_bad=on_bad)
        by_class = {name: real.images[real.labels == index] for index, name in enumerate(names)}
        nearest = {name: by_class[name][nearest_images(synthetic[name], by_class[name])[0]] for name in names}
        others = {name: images[:columns] for name, images in by_class.items()}
        panels += [("nearest training image to each", nearest), ("real", others)]
    return draw_grid(panels, columns=columns)


def _preview_maps(bank: GeneratorBank, data: Any, seed: int, on_bad: OnBad) -> Image.Image:
    """Pairs, and maps under several noises: six rows."""
    images, maps = bank.sample_pairs(_MAPS, seed=seed)
    rows = [str(number) for number in range(1, _MAPS + 1)]
    panels: list[Panel] = [("new map", _each(rows, map_colours(maps))), ("synthetic", _each(rows, images))]
    if data is not None:
        real = get_exam(bank.task).read(data, bank, None, what="data", on_bad=on_bad)
        assert isinstance(real, MaskedImages), "read by the task"
        chosen = torch.arange(_MAPS) * len(real) // _MAPS
        maps = real.maps[chosen]
        panels += [("real map", _each(rows, map_colours(maps))), ("real", _each(rows, real.images[chosen]))]
    if bank.varies:
        heading, made = "one image, six noises", of_few_sources(bank, _MAPS, _MAPS, seed=seed)
    else:
        heading, made = "one map, six noises", bank.paint(maps.repeat(_MAPS, 1, 1), seed=seed)
    several = made.unflatten(0, (_MAPS, _MAPS))
    panels.append((heading, {row: several[:, place] for place, row in enumerate(rows)}))
    return draw_grid(panels, columns=_MAPS)


def _each(rows: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    return {row: images[place : place + 1] for place, row in enumerate(rows)}


@dataclass(frozen=True)
class RunResult:
    """What a whole recipe left behind."""

    bank: Path
    comparison: Comparison | None
    """None of images with boxes."""
    exported: Path | None
    trained: torchvision_adapter.TrainResult | SegmenterResult | DetectorResult | None


def run(
    recipe: str | Path | Recipe,
    *,
    data: str | Path | None = None,
    classes: Sequence[str] | None = None,
    out: str | Path = "ganaug-run",
    fill: str | Path | None = None,
    device: str | torch.device = "auto",
    exist_ok: bool = False,
    say: Say = print,
) -> RunResult:
    """Carry out a whole recipe: fit, compare, write the verdict, then export and train where the recipe says so.

    The answer comes from images that nothing trains on: the recipe's `data.val`, or else a fifth of every class, which
    is left out of all that follows and listed in `held-back.csv`, as the others are in `train.csv`. One for images with
    boxes makes no comparison, see `run_boxes`.

    Args:
        recipe: a shipped name, a YAML file or a `Recipe`.
        data: training images; the recipe's `data.path` by default, else the current folder.
        classes: classes to learn; the recipe's by default, else all.
        out: folder for everything that is made.
        fill: a bank that fills holes, which erases the grounds of some scenes; of images with boxes alone.
        device: as in `fit`.
        exist_ok: write into `out` though it holds something.
        say: where lines of progress go.
    """
    resolved, where = load_recipe(recipe), resolve_device(device)
    if resolved.task == "detect" and resolved.train is not None:
        source = Path(data if data is not None else resolved.data.path or ".")
        chosen = classes if classes is not None else resolved.data.classes
        boxes = run_boxes(
            resolved, source, Path(out), classes=chosen, fill=None if fill is None else Path(fill), device=where,
            exist_ok=exist_ok, say=say,
        )  # fmt: skip
        return RunResult(boxes.bank, None, boxes.exported, boxes.trained)
    if fill is not None:
        raise RecipeError("only scenes of images with boxes have grounds to erase; leave fill out")
    if resolved.task == "detect":
        raise RecipeError("a recipe of task detect without train cannot be run as a whole; fit it with: ganaug fit")
    if get_task(resolved.task).of_pictures:
        raise RecipeError(f"a recipe of task {resolved.task} cannot be run as a whole; fit it with: ganaug fit")
    folder, source = Path(out), Path(data if data is not None else resolved.data.path or ".")
    chosen = classes if classes is not None else resolved.data.classes
    check_folder(folder, exist_ok=exist_ok, apart_from=source)
    split = split_off(source, resolved, chosen)
    _check_later_steps(resolved, folder, len(split.train.class_names), exist_ok)
    make_folder(folder)
    real, val = split.write(folder, say)
    say("fitting the generators")
    bank = fit(
        real, classes=chosen, recipe=resolved, device=where, run_dir=folder / "bank.run", held_back=split.held,
        unlabelled=split.unlabelled(resolved),
    )  # fmt: skip
    bank.save(folder / "bank.ganaug")
    save_picture(preview(bank, data=real), folder / "preview.png")
    say("comparing with and without synthetic images")
    cells = folder / "bank.run" / "cells"
    arms = _arms(resolved.compare, split.held, get_exam(bank.task).fewest, say)
    comparison = compare(
        real, bank, classes=chosen, val=val, settings=arms, device=where, folder=cells, report=say, progress=True
    )  # fmt: skip
    bank = comparison.apply_to(bank)
    bank.save(folder / "bank.ganaug")
    write_text(folder / "comparison.json", json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False))
    keep_result(folder / "bank.ganaug", "comparison.json", comparison.to_dict())
    say(comparison.summary)
    say(f"all of it on one page: {report(folder / 'bank.ganaug', data=real)}")
    exported, trained = _mixed(bank, split, real, val, resolved, folder, chosen, where, exist_ok, say)
    return RunResult(folder / "bank.ganaug", comparison, exported, trained)


def _mixed(
    bank: GeneratorBank,
    split: Split,
    real: Any,
    val: Any,
    recipe: Recipe,
    folder: Path,
    classes: Sequence[str] | None,
    device: torch.device,
    exist_ok: bool,
    say: Say,
) -> tuple[Path | None, torchvision_adapter.TrainResult | SegmenterResult | None]:
    """Do with the mixed set what the recipe says; returns the folder it is written to, and what is trained on it."""
    exported: Path | None = None
    trained: torchvision_adapter.TrainResult | SegmenterResult | None = None
    if recipe.export is not None and split.pairs is not None:
        exported = mask_workflow.export_pairs(bank, split.pairs, folder, recipe, exist_ok, say)
    elif recipe.export is not None:
        exported = folder / recipe.export.out
        written = export(
            bank, real, exported, ratio=recipe.export.ratio, classes=classes, seed=recipe.seed, exist_ok=exist_ok,
            screening=recipe.screening or False, device=device,
        )  # fmt: skip
        say(str(written))
    if recipe.train is not None:
        say(f"training {recipe.train.model} at ratio {recipe.train.ratio}")
    if recipe.train is not None and split.pairs is not None:
        trained = mask_workflow.train_segmenter(bank, split.pairs, split.held_pairs or val, folder, recipe, device, say)
    elif recipe.train is not None:
        trained = torchvision_adapter.train(
            real, bank, recipe.train, val=val, classes=classes, device=device, seed=recipe.seed,
            out=folder / "classifier.safetensors", report=say,
        )  # fmt: skip
    return exported, trained


def _arms(settings: Compare, held: LabelledImages, fewest: int, say: Say) -> dict[str, Any]:
    """Changes to what is compared: a single arm where too few images are held back to choose on some of them."""
    if min(held.kinds().values()) >= 2 * fewest:
        return {}
    say("too few images are held back to choose on some of them, so that one way to mix is tried")
    return {
        "augments": settings.augments[-1:],
        "ratios": sorted(settings.ratios)[len(settings.ratios) // 2 :][:1],
        "schedules": settings.schedules[:1],
        "screened": settings.screened[:1],
        "soft": settings.soft[:1],
        "balanced": False,
        "reaches": (),
    }


def _check_later_steps(recipe: Recipe, folder: Path, classes: int, exist_ok: bool) -> None:
    """Find out before the long fit whether what comes after it can be done."""
    if recipe.export is not None:
        check_folder(folder / recipe.export.out, exist_ok=exist_ok)
    if recipe.task == "segment":
        mask_workflow.check_later_steps(recipe, classes)
    elif recipe.train is not None:
        build_model(recipe.train.model, recipe.train.weights, classes)


def bank_path(data: Path, classes: Sequence[str] | None, target: str | Path | None = None) -> Path:
    """Where a bank goes if nothing is said: `cat-dog.ganaug` after a few classes, else after the data's own name.

    Of a translation `day-to-night.ganaug`, after both folders.
    """
    if target is not None:
        return Path(f"{bank_path(data, None).stem}-to-{bank_path(Path(target), None).stem}.ganaug")
    if classes is not None and len(classes) <= 4:
        return Path("-".join(safe_stem(name) for name in classes) + ".ganaug")
    resolved = data.resolve()
    name = resolved.parent.name if resolved.name == "train" else resolved.stem
    return Path(f"{safe_stem(name or 'bank')}.ganaug")


def check_bank_path(path: Path, run_dir: Path, *, data: Path, exist_ok: bool, resume: bool = False) -> None:
    """Make sure before a long fit that its bank and its run folder can be written; nothing is made.

    Raises:
        OutputError: one exists and neither `exist_ok` nor `resume` is given, the bank is a folder, the data or another
            kind of file, or its folder cannot be written to.
    """
    if path.suffix == ".run":
        raise OutputError(
            f"{path} would be the folder of the fit's pictures and log; give --out a file, as pets.ganaug"
        )
    if path.resolve() == data.resolve():
        raise OutputError(f"{path} is the data, which is never changed; give --out a file, as pets.ganaug")
    check_file(path, exist_ok=exist_ok or resume)
    if path.exists():
        try:
            GeneratorBank.load(path)
        except BankError as error:
            raise OutputError(
                f"{path} exists and is not a bank, so it is not replaced; choose another --out"
            ) from error
    if run_dir.exists() and not (exist_ok or resume):
        raise OutputError(f"{run_dir} exists already; choose another --out, add --exist-ok, or go on with --resume")
    check_folder(run_dir, exist_ok=True)
    check_writable(path)
