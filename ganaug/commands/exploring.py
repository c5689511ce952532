"""What a generator knows, and samples moved along its directions: explore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganaug.commands.shared import Bank, Device, ExistOk, OnBad, OnBadFile, OptionalData, app, read_settings, say
from ganaug.errors import OutputError, RecipeError


@app.command()
def explore(
    bank: Bank,
    data: OptionalData = None,
    directions: Annotated[int, typer.Option(help="How many, the strongest first.", min=1)] = 8,
    seed: Annotated[int, typer.Option(help="Of the samples and the judge, not of the directions.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="The PNG to write.")] = Path("explore.png"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="With --write: as latent.exclude=[2].")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="A bank to write with the settings latent; nothing is explored then.")
    ] = None,
    device: Device = "auto",
    on_bad: OnBadFile = OnBad.stop,
    exist_ok: ExistOk = False,
) -> None:
    """Show what the generator knows: its directions, what each changes, and ways between samples and classes."""
    if write is not None or settings:
        _write(bank, write, settings, exist_ok=exist_ok)
        return
    from ganaug.bank import load
    from ganaug.exploring import explore as ask
    from ganaug.output import check_file
    from ganaug.pictures import save_picture
    from ganaug.run_folder import check_results, keep_result

    loaded = load(bank, device)
    check_results(bank)
    check_file(out, exist_ok=exist_ok)
    found = ask(loaded, data, directions=directions, seed=seed, device=device, on_bad=on_bad.value, report=say)
    typer.echo("\n".join(found.summary))
    save_picture(found.picture(), out)
    kept = keep_result(bank, "exploration.json", found.to_dict(pictures=True))
    say(f"wrote {out}, and for ganaug report {kept}")


def _write(bank: Path, goal: Path | None, settings: list[str] | None, *, exist_ok: bool) -> None:
    """The bank with other settings `latent`, in a file of its own."""
    from ganaug.bank import load

    changes = read_settings(settings)
    if goal is None:
        raise RecipeError("--set changes what a bank samples; name the bank to write, as --write moved.ganaug")
    if not changes:
        raise RecipeError("--write keeps a setting, and none is given; add one, as --set latent.shift.0=1.5")
    if strange := [key for key in changes if key.partition(".")[0] != "latent"]:
        raise RecipeError(f"--set {strange[0]} is no setting of latent; write one, as latent.shift.0=1.5")
    if goal.resolve() == bank.resolve():
        raise OutputError(f"{goal} is the bank itself; choose another --write")
    loaded = load(bank)
    recipe = loaded.recipe.replace(changes)
    loaded.with_latent(recipe.latent).save(goal, exist_ok=exist_ok)
    told = "samples as they were fitted" if recipe.latent is None else "samples moved along its directions"
    say(f"wrote {goal}: {told}; look at them with: ganaug preview {goal}")
