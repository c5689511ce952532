"""Is it good, and does it help: measure, compare, screen, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganaug.commands.shared import (
    Bank,
    Base,
    Classes,
    Cluster,
    Data,
    Device,
    ExistOk,
    OnBad,
    OnBadFile,
    OptionalData,
    Unlabelled,
    app,
    numbers,
    say,
    split,
)

if TYPE_CHECKING:
    pass


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
        loaded, data, held, features=features, classes=split(classes), per_class=num, seed=seed, device=device,
        on_bad=on_bad.value, report=say,
    )  # fmt: skip
    Console().print(found.table())
    typer.echo("\n".join(found.summary))
    say(f"wrote {keep_result(bank, 'measure.json', found.to_dict())}")
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
        data, loaded, classes=split(classes), val=val, test=test, ratios=numbers(ratios), splits=splits, seeds=seeds,
        steps=steps, minutes=minutes, settings=learner, unlabelled=unlabelled, base=base, workers=workers,
        cluster=cluster.value if cluster else None, device=device, on_bad=on_bad.value,
        folder=bank.with_suffix(".run") / "cells", report=say, progress=True,
    )  # fmt: skip
    found = dataclasses.replace(found, command=shlex.join(["ganaug", *sys.argv[1:]]))
    Console().print(found.table())
    typer.echo(found.summary)
    found.apply_to(loaded).save(bank)
    say(f"wrote {keep_result(bank, 'comparison.json', found.to_dict())}")
    if out is not None:
        write_text(out, json.dumps(found.to_dict(), indent=2, ensure_ascii=False))


@app.command()
def screen(
    bank: Bank,
    data: Data = Path("."),
    classes: Classes = None,
    num: Annotated[
        int | None, typer.Option(help="Samples wanted of each class, or pairs; default: as many as are real.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise and of the judge.")] = 0,
    device: Device = "auto",
    on_bad: OnBadFile = OnBad.stop,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write what is kept into, as OUT/class/ or OUT/images/.")
    ] = None,
    exist_ok: ExistOk = False,
) -> None:
    """Tell which samples are fit to train on, and why others are not."""
    from rich.console import Console

    from ganaug.bank import load
    from ganaug.mask_exporting import sample_masks
    from ganaug.output import check_folder
    from ganaug.run_folder import check_results, keep_result
    from ganaug.screening import screen as ask
    from ganaug.screening import write_kept

    loaded = load(bank, device)
    check_results(bank)
    if out is not None:
        check_folder(out, exist_ok=exist_ok, apart_from=data)
    found = ask(
        loaded, data, num, classes=split(classes), seed=seed, device=device, on_bad=on_bad.value, report=say
    )  # fmt: skip
    Console().print(found.table())
    typer.echo(found.summary)
    kept = keep_result(bank, "screening.json", found.to_dict())
    say(f"wrote {kept}")
    if out is not None and loaded.task == "segment":
        pairs = found.kept[0].tolist()
        sample_masks(loaded, out, seed=seed, chosen=pairs, exist_ok=exist_ok)
        say(f"wrote {len(pairs)} images into {out / 'images'} and their masks into {out / 'masks'}")
    elif out is not None:
        say(f"wrote {sum(write_kept(loaded, found, out, exist_ok=exist_ok).values())} images into {out}")


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
    say(f"wrote {page}, and the same as {page.with_suffix('.json')}")
