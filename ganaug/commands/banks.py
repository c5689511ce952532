"""Images to bank, and what is in one: fit, sample, preview, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganaug.commands.shared import (
    Bank,
    Base,
    Classes,
    Device,
    Devices,
    Enlarge,
    ExistOk,
    NumNodes,
    OnBad,
    OnBadFile,
    OptionalData,
    Stopped,
    Unlabelled,
    app,
    read_settings,
    say,
    split,
)
from ganaug.errors import DataError, OutputError

if TYPE_CHECKING:
    from ganaug.manifest import Manifest


@app.command()
def fit(
    data: OptionalData = None,
    source: Annotated[Path | None, typer.Option(help="Images to translate, with --target: a folder.")] = None,
    target: Annotated[Path | None, typer.Option(help="Images that those are to look like: a folder.")] = None,
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
        changes = read_settings(settings)
        said = (Recipe() if recipe is None else load_recipe(recipe)).replace(changes).data
        if source is not None and data is not None:
            raise DataError("both --source and --data are given; a translation has --source and --target")
        given = data if source is None else source
        source = given if given is not None else Path(said.path or ".")
        names = split(classes) or said.classes
        goal = out or into or bank_path(source, names, target or said.target)
        run_dir = goal.with_suffix(".run")
        if not dry_run:
            check_bank_path(goal, run_dir, data=source, exist_ok=exist_ok, resume=resume)
    plan = plan_fit(
        source, classes=names, recipe=recipe, settings=changes, seed=seed, kimg=kimg, minutes=minutes, batch=batch,
        ranks=ranks, target=target, unlabelled=unlabelled, base=base, into=into, on_bad=on_bad.value, run_dir=run_dir,
        resume=resume,
    )  # fmt: skip
    say(*plan.lines())
    if dry_run:
        if ranks.first:
            typer.echo(plan.recipe.to_yaml(), nl=False)
        return
    try:
        bank = fit_plan(plan)
    except Interrupted as interrupted:
        raise Stopped(interrupted) from interrupted
    if not ranks.first:
        return
    try:
        bank.save(goal)
    except OutputError as error:
        told = str(error).rpartition(";")[0]
        raise OutputError(f"{told}; mend that, and the same command with --resume writes it") from error
    say(f"wrote {goal} (fidelity {bank.manifest.scores['score']:.2f}); samples, log and curves are in {run_dir}")


@app.command()
def sample(
    bank: Bank,
    classes: Classes = None,
    num: Annotated[int, typer.Option(help="Images a class.", min=1, max=1_000_000)] = 16,
    enlarge: Enlarge = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder to write OUT/class/000000.png into.")] = Path("samples"),
    device: Device = "auto",
    exist_ok: ExistOk = False,
) -> None:
    """Write synthetic images to a folder: with their masks, where the bank is for segmentation, objects with alpha."""
    from ganaug.bank import load
    from ganaug.enlarging import EnlargedBank
    from ganaug.mask_exporting import sample_masks
    from ganaug.workflow import sample_to_folder

    loaded = load(bank, device)
    if enlarge is not None:
        loaded = EnlargedBank(loaded, load(enlarge, device))
    if loaded.task == "segment":
        if classes is not None:
            raise DataError("a label map holds all its classes; leave --classes out")
        sample_masks(loaded, out, num=num, seed=seed, exist_ok=exist_ok)
        say(f"wrote {num} images into {out / 'images'} and their masks into {out / 'masks'}")
        return
    folders = sample_to_folder(loaded, out, classes=split(classes), num=num, seed=seed, exist_ok=exist_ok)
    kind = {"detect": "cut-outs", "fill": "filled squares"}.get(loaded.task, "images")
    say(f"wrote {num} {kind} of each of {len(folders)} classes into {out}")


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
    from ganaug.map_shares import map_shares, told_shares
    from ganaug.output import check_file
    from ganaug.pictures import save_picture
    from ganaug.workflow import preview as draw

    check_file(out, exist_ok=exist_ok)
    loaded = load(bank)
    picture = draw(loaded, data=data, classes=split(classes), seed=seed, on_bad=on_bad.value)
    save_picture(picture, out)
    say(f"wrote {out}")
    if loaded.task == "segment":
        say(f"pixels of new maps: {told_shares(map_shares(loaded))}")


@app.command()
def inspect(
    bank: Bank, as_json: Annotated[bool, typer.Option("--json", help="The whole manifest as JSON.")] = False
) -> None:
    """Tell what is in a bank."""
    from ganaug.bank import load
    from ganaug.map_shares import map_shares, told_shares

    loaded = load(bank)
    manifest = loaded.manifest
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
        "latent": _latent(manifest),
        **({"new maps": told_shares(map_shares(loaded))} if manifest.task == "segment" else {}),
        "trained on": f"{manifest.learned_from}, {manifest.kimg:.1f} kimg",
        "unlabelled": _joined(manifest),
        "held back": f"{len(manifest.held_back_fingerprints)} images",
        "scores": ", ".join(f"{name} {value:.3f}" for name, value in manifest.scores.items()),
        "made": f"{manifest.created} by {versions}",
        "events": "; ".join(f"{event.part}: {event.told}" for event in manifest.events) or "none",
        "verdict": _verdict(manifest),
    }
    for name, value in rows.items():
        typer.echo(f"{name:<11}{value}")


def _verdict(manifest: Manifest) -> str:
    """The outcome of the last comparison, or how to come by one."""
    from ganaug.tasks import get_task

    if manifest.verdict is not None:
        return manifest.verdict.sentence
    return (
        "none: such a bank is not compared"
        if get_task(manifest.task).of_pictures
        else ("none yet; ask with: ganaug compare")
    )


def _joined(manifest: Manifest) -> str:
    """How many of the images trained on had no label, and which class how many of them joined."""
    if not manifest.unlabelled:
        return "none"
    joined = ", ".join(f"{name} {count}" for name, count in manifest.joined.items())
    return f"{manifest.unlabelled} of these, of which joined: {joined}"


def _latent(manifest: Manifest) -> str:
    """Where samples are moved along the directions of the generator, and how far variations go."""
    said = manifest.recipe.get("latent")
    usual = {"reach": 1.0}
    told = {name: value for name, value in (said or {}).items() if value and value != usual.get(name)}
    return ", ".join(f"{name} {value}" for name, value in told.items()) or "samples as they were fitted"


def _generator(manifest: Manifest) -> str:
    """What makes samples of what, in words."""
    if manifest.task == "segment" and "sources" in manifest.shape:
        held = manifest.shape["sources"]
        return f"varies real images with their maps, and holds {held} of those that it was fitted on, at its resolution"
    if manifest.task == "segment":
        what = "images with their maps" if manifest.shape.get("sketched") else "maps"
        return f"makes images of label maps, and holds {manifest.shape['maps']} of the {what} that it was fitted on"
    if manifest.task == "fill":
        return f"fills holes in images of any size, and holds {manifest.shape['held']} squares that it was fitted on"
    if manifest.task == "enlarge":
        held = manifest.shape["shown"]
        return f"enlarges images to twice their size, and holds {held} of those it was fitted on, at half of it"
    if manifest.task == "translate":
        names = f"{manifest.shape['source_name']} into {manifest.class_names[0]}"
        return f"translates images of {names}, and holds {manifest.shape['sources']} crops of the former"
    if "sources" in manifest.shape and manifest.task == "detect":
        return "varies real objects, and holds crops of all those that it was fitted on"
    if "sources" in manifest.shape:
        return "varies real images, and holds all those that it was fitted on"
    what = "objects with alpha" if manifest.task == "detect" else "images"
    return f"makes {what} of noise and a class"
