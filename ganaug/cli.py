"""The command line: every failure is one line on stderr. Exit 0; 1 for a GanaugError; 2 for usage.

What each command does is in `ganaug.commands`.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from ganaug import __version__
from ganaug.commands import app
from ganaug.commands.shared import Stopped, is_first, say
from ganaug.errors import GanaugError, LostProcessError

__all__ = ["app", "main"]

# the parser's UsageError, which Typer has moved from one module to another before
_CANNOT_PARSE: type[Exception] = typer.BadParameter.__bases__[0]

_GOES_ON = {
    "fit": "; the same command with --resume goes on from the last checkpoint",
    "compare": "; the same command goes on where it was",
}


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ganaug {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


def main() -> None:
    """The console script: every failure is one line on stderr."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: say("warning: " + " ".join(str(message).split()))
        sys.exit(_run(sys.argv[1:] or ["--help"]))


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="ganaug", standalone_mode=False) or 0
    except LostProcessError as error:
        return _failed(str(error)) if is_first() else 1
    except Stopped as stopped:
        return _failed(str(stopped), stopped.code) if is_first() else stopped.code
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
