"""Class names: picking some of them, and making one safe as part of a path."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from ganaug.errors import DataError, did_you_mean

__all__ = ["choose_classes", "safe_stem", "same_classes"]

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
_MAX_BYTES = 80


def choose_classes(available: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """The wanted class names, in the order wanted; all that are available where none is said.

    Raises:
        DataError: a wanted class is not available (the nearest is named) or is named twice, or none is wanted.
    """
    if wanted is None:
        return list(available)
    if isinstance(wanted, str):
        raise DataError(f"classes is one string, {wanted!r}; wanted a list of names, as {wanted.split(',')!r}")
    if not wanted:
        raise DataError(f"no class is wanted; name some{did_you_mean('', available)}, or leave classes out for all")
    for name, times in Counter(wanted).items():
        if name not in available:
            raise DataError(f"there is no class {name!r}{did_you_mean(str(name), available)}")
        if times > 1:
            raise DataError(f"class {name!r} is named {times} times; name each class once")
    return list(wanted)


def same_classes(ours: Mapping[int, str], named: bool, names: Sequence[str], numbers: Sequence[int]) -> dict[int, int]:
    """Place of each class of a dataset in a bank, by the dataset's number: by name, else by number.

    By number only where one side has no names, so that nothing is matched against its name.

    Args:
        ours: name of each class of the dataset by its number.
        named: whether those are names, and not just the numbers.
        names: of the bank's classes, in its order.
        numbers: that they had in the data that the bank was fitted on.
    """
    by_name = {name: place for place, name in enumerate(names)}
    by_number = {number: place for place, number in enumerate(numbers)}
    found = {number: by_name[name] for number, name in ours.items() if name in by_name} if named else {}
    if not named or (not found and tuple(names) == tuple(map(str, numbers))):
        found = {number: by_number[number] for number in ours if number in by_number}
    return found


def safe_stem(name: str) -> str:
    """A class name as one harmless part of a path, on any system; distinct names stay distinct.

    Letters and digits of any script, spaces, and `-_.()` stay. Where anything had to change, a short hash of the name
    is added, and also to a name that looks as if one had been.

    >>> safe_stem("tabby cat")
    'tabby cat'
    >>> safe_stem("../cat")
    '_cat-91249a68'
    """
    kept = "".join(c if c in " -_.()" or unicodedata.category(c)[0] in "LMN" else "_" for c in name)
    kept = unicodedata.normalize("NFC", kept).strip(". ")
    if kept.split(".")[0].strip().lower() in _RESERVED:
        kept = f"_{kept}"
    kept = kept.encode()[:_MAX_BYTES].decode(errors="ignore")
    if kept == name and kept and not re.search(r"-[0-9a-f]{8}$", kept):
        return kept
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{kept or 'class'}-{digest}"
