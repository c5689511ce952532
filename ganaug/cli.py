"""The command line: a command parses, calls one function, prints. Exit 0; 1 for a GanaugError; 2 for usage."""

from __future__ import annotations

import os
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganaug import __version__
from ganaug.errors import DataError, GanaugError, LostProcessError, OutputError, RecipeError

if TYPE_CHECKING:
    from ganaug.gan.interruption import Interrupted
    from ganaug.manifest import Manifest

app = typer.Typer(
    name="ganaug",
    help="Train class-conditional GANs on your own few images, mix their samples in, and learn whether it helps.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


class OnBad(str, Enum):
    """What to do about a file that cannot be read."""

    stop = "stop"
    skip = "skip"


class Cluster(str, Enum):
    """Where trainings run that do not run on this machine."""

    ray = "ray"


class ExportFormat(str, Enum):
    """Layout of an export."""

    imagefolder = "imagefolder"
    masks = "masks"
    yolo = "yolo"
    coco = "coco"
    voc = "voc"


Bank = Annotated[Path, typer.Argument(metavar="BANK", help="A bank, NAME.ganaug.", show_default=False)]
Data = Annotated[
    Path, typer.Option("--data", help="Class folders, a CSV of path and label, or images with masks or boxes.")
]
OptionalData = Annotated[Path | None, typer.Option("--data", help="The training images: a folder or a CSV.")]
Unlabelled = Annotated[
    Path | None, typer.Option(help="Images without labels to learn from too: a folder, however it is laid out.")
]
Base = Annotated[Path | None, typer.Option(help="A bank of other classes to start from.")]
Classes = Annotated[str | None, typer.Option("--classes", metavar="A,B", help="Class names; all by default.")]
OnBadFile = Annotated[OnBad, typer.Option(help="An image that cannot be read: stop, or skip and count it.")]
Devices = Annotated[str | None, typer.Option(help="Processes on each machine, or auto: one for each CUDA card.")]
NumNodes = Annotated[int | None, typer.Option(help="Machines that fit together.", min=1)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")]
ExistOk = Annotated[bool, typer.Option("--exist-ok", help="Write where something is already.")]


@app.command()
def fit(
    data: OptionalData = None,
    classes: Classes = None,
    unlabelled: Unlabelled = None,
    base: Base = None,
    into: Annotated[Path | None, typer.Option(help="A bank to add these classes to.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A shipped name, such as classify-32, or a YAML file.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, as gan.r1=0.5.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The bank to write; default CLASSES.ganaug.")] = None,
    kimg: Annotated[float | None, typer.Option(help="Budget in thousands of real images shown.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes, turned into kimg by a probe.")] = None,
    batch: Annotated[int | None, typer.Option(help="Real images a step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, noise and order.")] = None,
    device: Device = "auto",
    devices: Devices = None,
    num_nodes: NumNodes = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    on_bad: OnBadFile = OnBad.stop,
    exist_ok: ExistOk = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved recipe and the plan, and stop.")
    ] = False,
) -> None:
    """Train generators on your images: data -> bank."""
    from ganaug.fitting import fit_plan
    from ganaug.gan.interruption import Interrupted
    from ganaug.launching import resolve_ranks
    from ganaug.planning import plan_fit
    from ganaug.recipe import Recipe, load_recipe
    from ganaug.workflow import bank_path, check_bank_path

    ranks = resolve_ranks(device, devices, num_nodes).joined()
    with ranks.as_one():
        changes = _settings(settings)
        said = (Recipe() if recipe is None else load_recipe(recipe)).replace(changes).data
        source = data if data is not None else Path(said.path or ".")
        names = _split(classes) or said.classes
        goal = out or into or bank_path(source, names)
        run_dir = goal.with_suffix(".run")
        if not dry_run:
            check_bank_path(goal, run_dir, data=source, exist_ok=exist_ok, resume=resume)
    plan = plan_fit(
        source, classes=names, recipe=recipe, settings=changes, seed=seed, kimg=kimg, minutes=minutes, batch=batch,
        ranks=ranks, unlabelled=unlabelled, base=base, into=into, on_bad=on_bad.value, run_dir=run_dir, resume=resume,
    )  # fmt: skip
    _say(*plan.lines())
    if dry_run:
        if ranks.first:
            typer.echo(plan.recipe.to_yaml(), nl=False)
        return
    try:
        bank = fit_plan(plan)
    except Interrupted as interrupted:
        raise _Stopped(interrupted) from interrupted
    if not ranks.first:
        return
    try:
        bank.save(goal)
    except OutputError as error:
        told = str(error).rpartition(";")[0]
        raise OutputError(f"{told}; mend that, and the same command with --resume writes it") from error
    _say(f"wrote {goal} (fidelity {bank.manifest.scores['score']:.2f}); samples, log and curves are in {run_dir}")


@app.command()
def sample(
    bank: Bank,
    classes: Classes = None,
    num: Annotated[int, typer.Option(help="Images a class.", min=1, max=1_000_000)] = 16,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder to write OUT/class/000000.png into.")] = Path("samples"),
    device: Device = "auto",
    exist_ok: ExistOk = False,
) -> None:
    """Write synthetic images to a folder: with their masks, where the bank is for segmentation, objects with alpha."""
    from ganaug.bank import load
    from ganaug.mask_exporting import sample_masks
    from ganaug.workflow import sample_to_folder

    loaded = load(bank, device)
    if loaded.task == "segment":
        if classes is not None:
            raise DataError("a label map holds all its classes; leave --classes out")
        sample_masks(loaded, out, num=num, seed=seed, exist_ok=exist_ok)
        _say(f"wrote {num} images into {out / 'images'} and their masks into {out / 'masks'}")
        return
    folders = sample_to_folder(loaded, out, classes=_split(classes), num=num, seed=seed, exist_ok=exist_ok)
    kind = "cut-outs" if loaded.task == "detect" else "images"
    _say(f"wrote {num} {kind} of each of {len(folders)} classes into {out}")


@app.command()
def preview(
    bank: Bank,
    data: OptionalData = None,
    classes: Classes = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("preview.png"),
    on_bad: OnBadFile = OnBad.stop,
    exist_ok: ExistOk = False,
) -> None:
    """Draw a labelled grid: synthetic images beside their nearest training images and beside real ones."""
    from ganaug.bank import load
    from ganaug.output import check_file
    from ganaug.pictures import save_picture
    from ganaug.workflow import preview as draw

    check_file(out, exist_ok=exist_ok)
    picture = draw(load(bank), data=data, classes=_split(classes), seed=seed, on_bad=on_bad.value)
    save_picture(picture, out)
    _say(f"wrote {out}")


@app.command()
def inspect(
    bank: Bank, as_json: Annotated[bool, typer.Option("--json", help="The whole manifest as JSON.")] = False
) -> None:
    """Tell what is in a bank."""
    from ganaug.bank import load

    manifest = load(bank).manifest
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
        return
    numbered = zip(manifest.class_names, manifest.label_numbers, strict=True)
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    rows = {
        "task": manifest.task,
        "classes": ", ".join(f"{name} ({label})" for name, label in numbered),
        "images": f"{manifest.shape['resolution']} px, {'grey' if manifest.shape['image_channels'] == 1 else 'colour'}",
        "generator": _generator(manifest),
        "trained on": f"{manifest.learned_from}, {manifest.kimg:.1f} kimg",
        "unlabelled": _joined(manifest),
        "held back": f"{len(manifest.held_back_fingerprints)} images",
        "scores": ", ".join(f"{name} {value:.3f}" for name, value in manifest.scores.items()),
        "made": f"{manifest.created} by {versions}",
        "events": "; ".join(f"{event.part}: {event.told}" for event in manifest.events) or "none",
        "verdict": manifest.verdict.sentence if manifest.verdict else "none yet; ask with: ganaug compare",
    }
    for name, value in rows.items():
        typer.echo(f"{name:<11}{value}")


def _joined(manifest: Manifest) -> str:
    """How many of the images trained on had no label, and which class how many of them joined."""
    if not manifest.unlabelled:
        return "none"
    joined = ", ".join(f"{name} {count}" for name, count in manifest.joined.items())
    return f"{manifest.unlabelled} of these, of which joined: {joined}"


@app.command()
def measure(
    bank: Bank,
    data: Data = Path("."),
    held: Annotated[
        Path | None, typer.Option(help="Images the bank was not fitted on; default: those among --data.")
    ] = None,
    classes: Classes = None,
    features: Annotated[
        str, typer.Option(help="own, a torchvision model as resnet18, or timm/NAME; pretrained weights are fetched.")
    ] = "own",
    num: Annotated[int, typer.Option(help="Synthetic images a class.", min=2, max=100_000)] = 200,
    seed: Annotated[int, typer.Option(help="Of the noise and of the trainings.")] = 0,
    device: Device = "auto",
    on_bad: OnBadFile = OnBad.stop,
    out: Annotated[Path | None, typer.Option(help="A JSON file for all figures, besides BANK.run.")] = None,
    exist_ok: ExistOk = False,
) -> None:
    """How good are the samples, and are they copies? Each measure beside what real images reach."""
    import json

    from rich.console import Console

    from ganaug.bank import load
    from ganaug.evidence.samples import measure as ask
    from ganaug.output import check_file, write_text
    from ganaug.run_folder import check_results, keep_result

    loaded = load(bank, device)
    check_results(bank)
    if out is not None:
        check_file(out, exist_ok=exist_ok)
    found = ask(
        loaded, data, held, features=features, classes=_split(classes), per_class=num, seed=seed, device=device,
        on_bad=on_bad.value, report=_say,
    )  # fmt: skip
    Console().print(found.table())
    typer.echo("\n".join(found.summary))
    _say(f"wrote {keep_result(bank, 'measure.json', found.to_dict())}")
    if out is not None:
        write_text(out, json.dumps(found.to_dict(), indent=2, ensure_ascii=False))


@app.command()
def compare(
    bank: Bank,
    data: Data = Path("."),
    classes: Classes = None,
    val: Annotated[
        Path | None, typer.Option(help="Images the bank was not fitted on: ratios are chosen on them.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="Images the bank was not fitted on: the answer comes from them.")
    ] = None,
    unlabelled: Unlabelled = None,
    base: Base = None,
    ratios: Annotated[str | None, typer.Option(metavar="R,R", help="Synthetic per real image, as 0.5,1.")] = None,
    splits: Annotated[int | None, typer.Option(help="Times that a part of the data is held back.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings of each arm on each split.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps of every training.", min=1)] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of all of it; decides how much is tried.")] = None,
    model: Annotated[str | None, typer.Option(help="A torchvision model as the learner, as resnet18.")] = None,
    weights: Annotated[str | None, typer.Option(help="What it starts from: DEFAULT, or a file of weights.")] = None,
    workers: Annotated[int | None, typer.Option(help="Trainings side by side; default: all cores.", min=0)] = None,
    cluster: Annotated[Cluster | None, typer.Option(help="Train on a Ray cluster, with ganaug[ray].")] = None,
    device: Device = "auto",
    on_bad: OnBadFile = OnBad.stop,
    out: Annotated[Path | None, typer.Option(help="A JSON file for all figures, besides BANK.run.")] = None,
    exist_ok: ExistOk = False,
) -> None:
    """Does it help? Train with and without synthetic images, and keep the verdict in the bank."""
    import dataclasses
    import json
    import shlex

    from rich.console import Console

    from ganaug.bank import load
    from ganaug.evidence.cells import default_workers
    from ganaug.evidence.comparison import compare as ask
    from ganaug.gan.device import resolve_device
    from ganaug.output import check_file, check_writable, write_text
    from ganaug.run_folder import check_results, keep_result

    loaded = load(bank)
    check_writable(bank)
    check_results(bank)
    if out is not None:
        check_file(out, exist_ok=exist_ok)
    if workers is None:
        workers = default_workers() if resolve_device(device).type == "cpu" else 0
    learner = {name: value for name, value in (("model", model), ("weights", weights)) if value is not None}
    found = ask(
        data, loaded, classes=_split(classes), val=val, test=test, ratios=_numbers(ratios), splits=splits, seeds=seeds,
        steps=steps, minutes=minutes, settings=learner, unlabelled=unlabelled, base=base, workers=workers,
        cluster=cluster.value if cluster else None, device=device, on_bad=on_bad.value,
        folder=bank.with_suffix(".run") / "cells", report=_say, progress=True,
    )  # fmt: skip
    found = dataclasses.replace(found, command=shlex.join(["ganaug", *sys.argv[1:]]))
    Console().print(found.table())
    typer.echo(found.summary)
    found.apply_to(loaded).save(bank)
    _say(f"wrote {keep_result(bank, 'comparison.json', found.to_dict())}")
    if out is not None:
        write_text(out, json.dumps(found.to_dict(), indent=2, ensure_ascii=False))


@app.command()
def screen(
    bank: Bank,
    data: Data = Path("."),
    classes: Classes = None,
    num: Annotated[
        int | None, typer.Option(help="Samples wanted of each class; by default as many as real images.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise and of the judge.")] = 0,
    device: Device = "auto",
    on_bad: OnBadFile = OnBad.stop,
    out: Annotated[Path | None, typer.Option(help="Folder to write the kept images into, as OUT/class/.")] = None,
    exist_ok: ExistOk = False,
) -> None:
    """Tell which samples are fit to train on, and why others are not."""
    from rich.console import Console

    from ganaug.bank import load
    from ganaug.output import check_folder
    from ganaug.run_folder import check_results, keep_result
    from ganaug.screening import screen as ask
    from ganaug.screening import write_kept

    loaded = load(bank, device)
    check_results(bank)
    if out is not None:
        check_folder(out, exist_ok=exist_ok, apart_from=data)
    found = ask(
        loaded, data, num, classes=_split(classes), seed=seed, device=device, on_bad=on_bad.value, report=_say
    )  # fmt: skip
    Console().print(found.table())
    typer.echo(found.summary)
    kept = keep_result(bank, "screening.json", found.to_dict())
    _say(f"wrote {kept}")
    if out is not None:
        _say(f"wrote {sum(write_kept(loaded, found, out, exist_ok=exist_ok).values())} images into {out}")


@app.command()
def report(
    bank: Bank,
    data: OptionalData = None,
    out: Annotated[Path | None, typer.Option(help="The page to write; default BANK.run/report.html.")] = None,
    on_bad: OnBadFile = OnBad.stop,
    exist_ok: ExistOk = False,
) -> None:
    """Write all that is known of a bank as one HTML page, and as JSON."""
    from ganaug.evidence.report import report as write

    page = write(bank, data=data, out=out, on_bad=on_bad.value, exist_ok=exist_ok)
    _say(f"wrote {page}, and the same as {page.with_suffix('.json')}")


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
    if format is ExportFormat.masks:
        if screening:
            raise RecipeError("pairs of image and mask cannot be screened; leave --screening out")
        _say(str(export_masks(load(bank), data, goal, ratio=ratio, seed=seed, exist_ok=exist_ok)))
        return
    if format is not ExportFormat.imagefolder:
        if screening:
            raise RecipeError("scenes with boxes cannot be screened; leave --screening out")
        written = export_boxes(
            load(bank), data, goal, format=format.value, ratio=ratio, seed=seed, on_bad=on_bad.value, exist_ok=exist_ok
        )
        _say(str(written))
        return
    written = write(load(bank), data, goal, ratio=ratio, screening=screening, seed=seed, exist_ok=exist_ok)
    _say(str(written))


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped name, or a YAML file.")],
    data: OptionalData = None,
    classes: Classes = None,
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("ganaug-run"),
    device: Device = "auto",
    exist_ok: ExistOk = False,
) -> None:
    """Carry out a whole recipe: fit, compare, export, train."""
    from ganaug.workflow import run as carry_out

    carry_out(recipe, data=data, classes=_split(classes), out=out, device=device, exist_ok=exist_ok, say=_say)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("ganaug-demo"),
    exist_ok: ExistOk = False,
) -> None:
    """Do all of it on real handwritten digits, in a few minutes."""
    from ganaug.demonstration import demo as show

    show(out, exist_ok=exist_ok, say=_say)


def _generator(manifest: Manifest) -> str:
    """What makes samples of what, in words."""
    if manifest.task == "segment":
        return f"makes images of label maps, and holds {manifest.shape['maps']} of those it was fitted on"
    if "sources" in manifest.shape:
        return "varies real images, and holds all those that it was fitted on"
    what = "objects with alpha" if manifest.task == "detect" else "images"
    return f"makes {what} of noise and a class"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ganaug {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def _split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",")]


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers; write them as 0.5,1") from None


def _settings(pairs: list[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` pairs, each value read as YAML."""
    import yaml

    settings = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"--set {pair!r} has no value; write it as gan.r1=0.5")
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise RecipeError(f"--set {pair!r}: {value!r} is not valid YAML") from None
    return settings


def _say(*lines: str) -> None:
    if _is_first():
        for line in lines:
            typer.echo(line, err=True)


def _is_first() -> bool:
    """Whether this process is the one that speaks, of those that torchrun or SLURM may have started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) == 0


# the parser's UsageError, which Typer has moved from one module to another before
_CANNOT_PARSE: type[Exception] = typer.BadParameter.__bases__[0]


class _Stopped(GanaugError):
    """A fit was told to stop; the exit code is the one that shells give a program which that signal ended."""

    def __init__(self, interrupted: Interrupted) -> None:
        saved = interrupted.saved
        where = f"goes on from step {saved}" if saved is not None else "starts afresh: no checkpoint could be written"
        done = f"stopped after step {interrupted.step} of {interrupted.steps}"
        super().__init__(f"{done}; the same command with --resume {where}")
        self.code = 128 + interrupted.number


_GOES_ON = {
    "fit": "; the same command with --resume goes on from the last checkpoint",
    "compare": "; the same command goes on where it was",
}


def main() -> None:
    """The console script: every failure is one line on stderr."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say("warning: " + " ".join(str(message).split()))
        sys.exit(_run(sys.argv[1:] or ["--help"]))


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="ganaug", standalone_mode=False) or 0
    except LostProcessError as error:
        return _failed(str(error)) if _is_first() else 1
    except _Stopped as stopped:
        return _failed(str(stopped), stopped.code) if _is_first() else stopped.code
    except GanaugError as error:
        return _failed(str(error))
    except _CANNOT_PARSE as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "ganaug"
        said = error.format_message()  # type: ignore[attr-defined]
        return _failed(f"{said} (see: {where} --help)", 2)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except OSError as error:  # a full disk, a file taken away meanwhile
        return _failed(str(error))
    if code == 130:  # Typer turns an interrupt into this code
        return _failed(f"stopped{_GOES_ON.get(arguments[0], '')}", 130)
    return int(code)


def _failed(message: str, code: int = 1) -> int:
    typer.echo("ganaug: " + " ".join(message.split()), err=True)
    return code
