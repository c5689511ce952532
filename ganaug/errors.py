"""What can go wrong, as one tree of exceptions.

Every message is one line that says what was got, what was wanted and what to do. The command line prints
it and exits with 1; a program catches `GanaugError`, or the child it can act on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BankError",
    "DataError",
    "DeviceError",
    "GanaugError",
    "LeakError",
    "LostProcessError",
    "MissingExtraError",
    "OutputError",
    "RecipeError",
    "TrainingError",
    "did_you_mean",
]


class GanaugError(Exception):
    """Base of every error that ganaug raises on purpose."""


class DataError(GanaugError):
    """The user's images, labels or dataset cannot be used as they are."""


class LeakError(DataError):
    """Images that were held back for an honest answer turned up where a model would train on them."""


class RecipeError(GanaugError):
    """A recipe, or one setting of it, says something that it may not say."""


class BankError(GanaugError):
    """A file is no bank, or a bank cannot do what was asked."""


class DeviceError(GanaugError):
    """The device that was asked for is not there."""


class OutputError(GanaugError):
    """A result cannot be written where it was asked for."""


class TrainingError(GanaugError):
    """A fit could not go on."""


class LostProcessError(TrainingError):
    """Another process of the same fit has ended, and what it said is the reason."""


class MissingExtraError(GanaugError, ImportError):
    """An optional library is missing; the message names the extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; run: python -m pip install 'ganaug[{extra}]'")
        self._made_of = library, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), self._made_of  # an exception is made again from its message; a worker process sends it


def did_you_mean(got: str, choices: Iterable[str]) -> str:
    """A closing clause that names the nearest choice, or lists the choices.

    >>> did_you_mean("catt", ["cat", "dog"])
    "; did you mean 'cat'?"
    >>> did_you_mean("zebra", ["cat", "dog"])
    '; choose from: cat, dog'
    """
    known = sorted(map(str, choices))
    near = difflib.get_close_matches(got, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"; choose from: {shown}" if known else ""
