"""What commands share: the app, options that several have, and how they read and say."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganaug.errors import GanaugError, RecipeError

if TYPE_CHECKING:
    from ganaug.gan.interruption import Interrupted

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


Bank = Annotated[Path, typer.Argument(metavar="BANK", help="A bank, NAME.ganaug.", show_default=False)]
Data = Annotated[
    Path, typer.Option("--data", help="Class folders, a CSV of path and label, or images with masks or boxes.")
]
OptionalData = Annotated[Path | None, typer.Option("--data", help="The training images: a folder or a CSV.")]
Unlabelled = Annotated[
    Path | None, typer.Option(help="Images without labels to learn from too: a folder, however it is laid out.")
]
Base = Annotated[Path | None, typer.Option(help="A bank of other classes to start from.")]
Enlarge = Annotated[
    Path | None, typer.Option("--enlarge", help="A bank that enlarges (recipe enlarge-64): samples are enlarged by it.")
]
Fill = Annotated[
    Path | None,
    typer.Option("--fill", help="A bank that fills holes (recipe fill-64): it erases the objects under some scenes."),
]
Classes = Annotated[str | None, typer.Option("--classes", metavar="A,B", help="Class names; all by default.")]
OnBadFile = Annotated[OnBad, typer.Option(help="An image that cannot be read: stop, or skip and count it.")]
Devices = Annotated[str | None, typer.Option(help="Processes on each machine, or auto: one for each CUDA card.")]
NumNodes = Annotated[int | None, typer.Option(help="Machines that fit together.", min=1)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:i.")]
ExistOk = Annotated[bool, typer.Option("--exist-ok", help="Write where something is already.")]


def split(names: str | None) -> list[str] | None:
    """Names given as A,B."""
    return None if names is None else [name.strip() for name in names.split(",")]


def numbers(text: str | None) -> list[float] | None:
    """Numbers given as 0.5,1."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of numbers; write them as 0.5,1") from None


def read_settings(pairs: list[str] | None) -> dict[str, Any]:
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


def say(*lines: str) -> None:
    """Print lines on stderr, of several processes from the first alone."""
    if is_first():
        for line in lines:
            typer.echo(line, err=True)


def is_first() -> bool:
    """Whether this process is the one that speaks, of those that torchrun or SLURM may have started."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) == 0


class Stopped(GanaugError):
    """A fit was told to stop; the exit code is the one that shells give a program which that signal ended."""

    def __init__(self, interrupted: Interrupted) -> None:
        saved = interrupted.saved
        where = f"goes on from step {saved}" if saved is not None else "starts afresh: no checkpoint could be written"
        done = f"stopped after step {interrupted.step} of {interrupted.steps}"
        super().__init__(f"{done}; the same command with --resume {where}")
        self.code = 128 + interrupted.number
