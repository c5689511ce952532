"""How a bank that varies real things moves those that it is given: objects, or images with their maps."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from ganaug.errors import BankError
from ganaug.gan.variation import Moves, VariationGenerator
from ganaug.recipe import Recipe

__all__ = ["CHUNK", "VaryingBank", "moves_of", "rows_of", "whole"]

CHUNK = 64  # samples that are always run together, so that no sample depends on how many were asked for


class VaryingBank(Protocol):
    """What variations ask of a bank."""

    @property
    def channels(self) -> int:
        """As of `GeneratorBank`, and so are all others."""

    @property
    def resolution(self) -> int:
        """See `channels`."""

    @property
    def recipe(self) -> Recipe:
        """See `channels`."""

    @property
    def device(self) -> torch.device:
        """See `channels`."""

    def check_task(self, task: str, what: str, instead: str) -> None:
        """See `channels`."""

    def _varying(self) -> VariationGenerator: ...

    def _noise(self, indices: range, seed: int, kind: int | str) -> Tensor: ...


def moves_of(bank: VaryingBank, seen: Iterable[Tensor], *, kind: str, seed: int, start: int) -> Iterator[Moves]:
    """How each of `seen`, (C, side, side) uint8, is moved by variation `start + i` of number i: one row each.

    `kind` names what is varied, so that two kinds have noise of their own.
    """
    generator, rest = bank._varying(), iter(seen)
    for first in itertools.count(start, CHUNK):
        some = list(itertools.islice(rest, CHUNK))
        if not some:
            return
        small = torch.stack([*some, *some[:1] * (CHUNK - len(some))])
        noise = bank._noise(range(first, first + CHUNK), seed, kind)
        with torch.no_grad():
            moves = generator.moves(small.to(bank.device), noise.to(bank.device))
        yield from (rows_of(moves, slice(row, row + 1)) for row in range(len(some)))


def rows_of(moves: Moves, rows: slice | Tensor) -> Moves:
    """Those of some things."""
    return Moves(*(None if told is None else told[rows] for told in moves))


def whole(value: Any, name: str, low: int, high: int) -> int:
    """`value`, a whole number from `low` to `high`; a BankError that names it where it is none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= int(value) <= high:
        raise BankError(f"{name} is {value!r}; give a whole number from {low} to {high}")
    return int(value)
