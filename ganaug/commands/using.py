"""A bank put to use: export, erase, run, demo."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ganaug.commands.shared import (
    Bank,
    Classes,
    Data,
    Device,
    Enlarge,
    ExistOk,
    Fill,
    OnBad,
    OptionalData,
    app,
    say,
    split,
)
from ganaug.errors import RecipeError

if TYPE_CHECKING:
    pass


class ExportFormat(str, Enum):
    """Layout of an export."""

    imagefolder = "imagefolder"
    masks = "masks"
    yolo = "yolo"
    coco = "coco"
    voc = "voc"


@app.command()
def export(
    bank: Bank,
    data: Data = Path("."),
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: beside the data, NAME-mixed.")] = None,
    format: Annotated[ExportFormat, typer.Option(help="Layout on disk.")] = ExportFormat.imagefolder,
    ratio: Annotated[float, typer.Option(help="Synthetic images per real one; any size.")] = 0.5,
    screening: Annotated[
        bool, typer.Option("--screening", help="Only synthetic images that are fit to train on.")
    ] = False,
    enlarge: Enlarge = None,
    fill: Fill = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    on_bad: Annotated[OnBad, typer.Option(help="Boxes or files of theirs that cannot be used: stop, or skip.")] = (
        OnBad.stop
    ),
    exist_ok: ExistOk = False,
) -> None:
    """Write real and synthetic images to disk, with a CSV that says which is which."""
    from ganaug.bank import load
    from ganaug.boxes_exporting import export_boxes
    from ganaug.exporting import export as write
    from ganaug.mask_exporting import export_masks

    source = data.resolve()
    source = source.parent if source.suffix in {".json", ".yaml", ".yml"} else source
    goal = out if out is not None else source.with_name(f"{source.stem}-mixed")  # never inside the data
    if enlarge is not None and format is not ExportFormat.imagefolder:
        raise RecipeError("only images of classes can be enlarged; leave --enlarge out")
    loaded = load(bank)
    if fill is not None and (format in {ExportFormat.imagefolder, ExportFormat.masks} or loaded.task == "segment"):
        raise RecipeError("only scenes with boxes have grounds to erase; leave --fill out")
    if format is ExportFormat.masks or (format is ExportFormat.coco and loaded.task == "segment"):
        form: Literal["masks", "coco"] = "coco" if format is ExportFormat.coco else "masks"
        pairs = export_masks(
            loaded, data, goal, format=form, ratio=ratio, screening=screening, seed=seed, exist_ok=exist_ok
        )
        say(str(pairs))
        return
    if format is not ExportFormat.imagefolder:
        if screening:
            raise RecipeError("scenes with boxes cannot be screened; leave --screening out")
        written = export_boxes(
            loaded, data, goal, format=format.value, ratio=ratio, fill=fill, seed=seed, on_bad=on_bad.value,
            exist_ok=exist_ok,
        )  # fmt: skip
        say(str(written))
        return
    written = write(loaded, data, goal, ratio=ratio, screening=screening, enlarge=enlarge, seed=seed, exist_ok=exist_ok)
    say(str(written))


@app.command()
def erase(
    bank: Bank,
    data: Data = Path("."),
    out: Annotated[Path | None, typer.Option(help="Folder to write; default: beside the data, NAME-erased.")] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="A,B", help="Whose objects go; all by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    device: Device = "auto",
    on_bad: Annotated[OnBad, typer.Option(help="Images, boxes or masks that cannot be used: stop, or skip.")] = (
        OnBad.stop
    ),
    exist_ok: ExistOk = False,
) -> None:
    """Write a set's images without their objects, filled with ground by a bank of task fill."""
    from ganaug.bank import load
    from ganaug.erasing import erase as write

    source = data.resolve()
    source = source.parent if source.suffix in {".json", ".yaml", ".yml"} else source
    goal = out if out is not None else source.with_name(f"{source.stem}-erased")  # never inside the data
    loaded = load(bank, device)
    say(str(write(loaded, data, goal, classes=split(classes), seed=seed, on_bad=on_bad.value, exist_ok=exist_ok)))


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped name, or a YAML file.")],
    data: OptionalData = None,
    classes: Classes = None,
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("ganaug-run"),
    fill: Fill = None,
    device: Device = "auto",
    exist_ok: ExistOk = False,
) -> None:
    """Carry out a whole recipe: fit, compare, export, train."""
    from ganaug.workflow import run as carry_out

    carry_out(recipe, data=data, classes=split(classes), out=out, fill=fill, device=device, exist_ok=exist_ok, say=say)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("ganaug-demo"),
    exist_ok: ExistOk = False,
) -> None:
    """Do all of it on real handwritten digits, in a few minutes."""
    from ganaug.demonstration import demo as show

    show(out, exist_ok=exist_ok, say=say)
