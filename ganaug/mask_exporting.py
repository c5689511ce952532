"""Images with masks on disk: samples of a bank, and real and synthetic pairs laid out as the user's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.choosing import varying_own
from ganaug.data import fingerprint
from ganaug.data.class_tables import made_table
from ganaug.data.images import open_bands
from ganaug.data.mask_files import MaskFiles, list_masks
from ganaug.data.mask_values import NO_CLASS
from ganaug.data.mask_view import MaskView
from ganaug.errors import LeakError, RecipeError
from ganaug.exporting import ExportSummary, Link, Writer, bring_along, built_beside
from ganaug.mask_coco import CocoMaps
from ganaug.output import check_folder
from ganaug.recipe import Screening
from ganaug.screening import screen
from ganaug.varied_pairs import VariedPairs

__all__ = ["export_masks", "sample_masks"]

_CHUNK = 256  # pairs in memory at a time


def sample_masks(
    bank: GeneratorBank,
    out: str | Path,
    *,
    num: int = 16,
    seed: int = 0,
    chosen: Sequence[int] | None = None,
    exist_ok: bool = False,
) -> list[Path]:
    """Write `num` synthetic pairs as `OUT/images/ganaug-0-000000.png` and `OUT/masks/...`; returns both folders.

    Masks hold the numbers that the user's own masks have for the classes. `chosen` are the samples to write, as a
    screening keeps them, in the place of the first `num`.

    Raises:
        OutputError: `out` holds something and `exist_ok` is not given, or cannot be written to.
        BankError: the bank is not for segmentation, or `num` or `seed` is out of range.
    """
    bank.sample_pairs(1, seed=seed, start=num - 1)  # what is wrong shows before anything is written
    goal = Path(out)
    check_folder(goal, exist_ok=exist_ok)
    with built_beside(goal) as building:
        _draw(bank, range(num) if chosen is None else chosen, Path(), Writer(building, "copy"), seed)
    return [goal / "images", goal / "masks"]


def export_masks(
    bank: GeneratorBank,
    data: str | Path | MaskFiles,
    out: str | Path,
    *,
    format: Literal["masks", "coco"] = "masks",
    ratio: float = 0.5,
    screening: Screening | bool = False,
    seed: int = 0,
    link: Link = "auto",
    exist_ok: bool = False,
) -> ExportSummary:
    """Write the pairs of `data` with synthetic ones beside them, and `ganaug.csv`, which says which is which.

    Images go to `images/`, and masks to `masks/` under one stem, or all into one file, `annotations.json`. Where `data`
    has a `train` folder, so has `out`, and validation and test folders are brought along as they are. Masks in colours,
    and those of a COCO file, become numbers. Synthetic pairs have the bank's resolution; those of a bank that varies
    real images are variations of the pairs of `data`, each of its own size.

    Args:
        bank: where synthetic pairs come from.
        data: images with masks, as `fit` reads them, or some of them, as listed; not changed.
        out: the folder to make.
        format: "masks" or "coco", where every connected part of a class is an annotation, as run lengths.
        ratio: synthetic pairs for each real one, 0 to 1000.
        screening: write only pairs that are fit to train on: True for the recipe's settings or the defaults, or
            settings of your own. Where too few are, the summary says so.
        seed: of the samples and of the judge.
        link: how real files get there, as for `export`.
        exist_ok: write into `out` though it holds something.

    Raises:
        OutputError: `out` holds something, overlaps the data, or cannot be written.
        DataError: the data cannot be read.
        LeakError: an image was held back from the bank's fit.
        RecipeError: the ratio is out of range.
        BankError: the bank is not for segmentation.
    """
    bank.check_task("segment", "an export of masks", "leave --format out")
    if not (math.isfinite(ratio) and 0 <= ratio <= 1000):
        raise RecipeError(f"ratio is {ratio}; wanted synthetic pairs for each real one, 0 to 1000")
    said = bank.recipe.data.table
    files = list_masks(data, None if said is None else made_table(said))
    held = set(bank.manifest.held_back_fingerprints)
    if held and (shared := sum(fingerprint(open_bands(path)) in held for path in files.images)):
        raise LeakError(f"{shared} of the images were held back from the bank's fit; give the training images alone")
    goal = Path(out).expanduser().resolve()
    root = files.root if isinstance(data, MaskFiles) else Path(data)
    check_folder(goal, exist_ok=exist_ok, apart_from=root)
    part = Path("train") if files.root.name == "train" and files.root != root else Path()
    with built_beside(goal) as building:
        writer, count = Writer(building, link), round(ratio * len(files))
        chosen: Sequence[int] = range(count)
        bank, places = varying_own(bank, files, None, asked=False)
        if screening and count:
            settings = screening if isinstance(screening, Screening) else None
            chosen = screen(bank, data, count, settings=settings, seed=seed, device="cpu").kept[0].tolist()
        coco = CocoMaps(bank.class_names, bank.label_numbers, bank.recipe.data.ignore) if format == "coco" else None
        _place_real(files, part, writer, coco)
        if bank.varies:
            _draw_variations(bank, places, files, chosen, part, writer, seed, coco)
        else:
            _draw(bank, chosen, part, writer, seed, coco)
        if coco is not None:
            coco.write(writer.root / part / "annotations.json")
        apart = bring_along(files.root.parent, writer) if part.name else {}
        writer.write_list()
    short = {} if len(chosen) == count else {"images": (count, len(chosen))}
    return ExportSummary(goal, len(files), len(chosen), apart, short=short)


def _place_real(files: MaskFiles, part: Path, writer: Writer, coco: CocoMaps | None) -> None:
    as_they_are = files.coco is None and not (files.table is not None and files.table.colours)
    for index, (image, mask) in enumerate(zip(files.images, files.masks, strict=True)):
        placed = writer.real(image, part / "images" / image.name)
        if coco is not None:
            coco.add(placed.name, files[index][1])
            writer.note(placed, "annotations.json", "real")
            continue
        beside = part / "masks" / placed.with_suffix(mask.suffix if as_they_are else ".png").name
        if as_they_are:
            beside = writer.real(mask, beside)
        else:
            _save(files[index][1], writer.root / beside)
        writer.note(placed, beside.as_posix(), "real")


def _draw(
    bank: GeneratorBank, chosen: Sequence[int], part: Path, writer: Writer, seed: int, coco: CocoMaps | None = None
) -> None:
    """Write the samples with these indices."""
    numbers, prefix = _numbers(bank.label_numbers, bank.recipe.data.ignore), writer.prefix(part / "images", seed)
    for start in range(0, len(chosen), _CHUNK):
        indices = chosen[start : start + _CHUNK]
        made = bank.sample_at(0, indices, seed=seed)
        for index, image, one in zip(indices, made[:, :-1], made[:, -1], strict=True):
            _write(f"{prefix}{index:06d}.png", image, numbers[one.numpy()], part, writer, coco)


def _draw_variations(
    bank: GeneratorBank,
    places: Sequence[tuple[int, int, int]],
    files: MaskFiles,
    chosen: Sequence[int],
    part: Path,
    writer: Writer,
    seed: int,
    coco: CocoMaps | None,
) -> None:
    """Write variations of the files' own pairs, of the samples with these indices."""
    view, prefix = MaskView(files, tile=bank.recipe.data.tile), writer.prefix(part / "images", seed)
    for start in range(0, len(chosen), _CHUNK):
        indices = chosen[start : start + _CHUNK]
        varied = VariedPairs(bank, places, indices, seed=seed)
        for sample, index in enumerate(indices):
            item, top, left = varied.source(sample)
            cut = view.cut(*view.read(item), top, left, bands=bank.channels not in {1, 3})
            pixels, values = varied.vary(sample, *cut)
            image = torch.from_numpy(pixels).permute(2, 0, 1)
            _write(f"{prefix}{index:06d}.png", image, values, part, writer, coco)


def _write(
    name: str, image: Tensor, values: npt.NDArray[np.int64], part: Path, writer: Writer, coco: CocoMaps | None
) -> None:
    """Write one synthetic pair: an image CHW uint8, and the user's class numbers."""
    place, beside = part / "images" / name, part / "masks" / name
    (writer.root / place).parent.mkdir(parents=True, exist_ok=True)
    place = writer.synthetic(image, place)
    if coco is None:
        _save(values, writer.root / beside)
    else:
        coco.add(place.name, values)
    writer.note(place, beside.as_posix() if coco is None else "annotations.json", "synthetic")


def _numbers(label_numbers: Sequence[int], ignore: int | None) -> npt.NDArray[np.int64]:
    """The user's number for each value of a label map."""
    numbers = np.full(NO_CLASS + 1, label_numbers[0] if ignore is None else ignore)
    numbers[: len(label_numbers)] = label_numbers
    return numbers


def _save(values: npt.NDArray[np.int64], path: Path) -> None:
    """Class numbers (H, W) as PNG, of 8 bits where those are enough."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8 if values.max() < 256 else np.uint16)).save(path)
