"""Where results are written: beside their goal and then renamed, and never over what the user has."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ganaug.errors import OutputError

__all__ = ["MARK", "check_file", "check_folder", "check_writable", "make_folder", "write_text", "written_beside"]

MARK = ".ganaug"
"""A file of this name tells that its folder is ganaug's own output, so that it is not taken for a class of images."""


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A path to write to, which becomes `path` once that has gone well; what was there stays whole until then.

    Raises:
        OutputError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}); choose another --out") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8; an OutputError where that cannot be."""
    with written_beside(path) as beside:
        beside.write_text(text, "utf-8", newline="")


def check_file(path: Path, *, exist_ok: bool) -> None:
    """Make sure, before any work, that a file can be written at `path`; nothing is made.

    Raises:
        OutputError: it is a folder, exists and `exist_ok` is not given, or its folder cannot be written to.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder, and a file is wanted; give --out the name of a file")
    if path.exists() and not exist_ok:
        raise OutputError(f"{path} exists already; choose another --out, or add --exist-ok")
    check_writable(path)


def check_folder(path: Path, *, exist_ok: bool, apart_from: Path | None = None) -> None:
    """Make sure, before any work, that files can be written into the folder `path`; nothing is made.

    Raises:
        OutputError: it is a file, holds something and `exist_ok` is not given, is the data `apart_from`, or cannot be
            written to.
    """
    if apart_from is not None and path.resolve() == apart_from.resolve():
        raise OutputError(f"{path} is the data itself, which is never changed; choose another --out")
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file, and a folder is wanted; choose another --out")
    if path.is_dir() and any(path.iterdir()) and not exist_ok:
        raise OutputError(f"{path} already holds something; choose another --out, or add --exist-ok")
    check_writable(path / MARK)


def check_writable(path: Path) -> None:
    """Make sure that a file could be made at `path`, with the folders above it.

    Raises:
        OutputError: it could not.
    """
    try:
        above = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=above):
            pass  # tried, because os.access says yes to root on a read-only disk
    except OSError as error:
        raise OutputError(f"{path.parent} cannot be written to ({error.strerror}); choose another --out") from error


def make_folder(path: Path) -> Path:
    """Make the folder `path` if need be, and mark it as ganaug's own where it was not there or was empty.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        ours = not path.exists() or not any(path.iterdir())
        path.mkdir(parents=True, exist_ok=True)
        if ours:
            (path / MARK).write_text("Written by ganaug: a fit does not read this folder as a class.\n", "utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error.strerror}); choose another --out") from error
    return path
