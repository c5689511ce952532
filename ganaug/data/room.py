"""Room for the pixels of a set: in memory, or in a file that is mapped into it where the set is too large for that."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from ganaug.errors import DataError

__all__ = ["make_room", "memory_bytes"]

_SHARE = 0.25  # of the machine's memory that a set may take; networks and the user's own trainer want the rest


def make_room(shape: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """An array NCHW uint8 to fill. A file behind one goes when the array does, or when the process ends or is killed.

    Raises:
        DataError: neither memory nor the disk holds it.
    """
    size, memory = math.prod(shape), memory_bytes()
    if memory is not None and size > _SHARE * memory:
        return _mapped(shape, size, memory)
    try:
        return np.empty(shape, np.uint8)
    except MemoryError as error:
        raise DataError(f"{_told(shape, size)} do not fit in memory; {_LESS}") from error


def memory_bytes() -> int | None:
    """Memory of this machine, or of the container that this process runs in; None where that cannot be told."""
    known = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no such file, or the word "max"
            known.append(int(Path(limit).read_text()))
    return min(known, default=None)


_LESS = "fit fewer classes or images, or a lower resolution"


def _mapped(shape: tuple[int, int, int, int], size: int, memory: int) -> npt.NDArray[np.uint8]:
    home = _home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
        if size > free:
            raise DataError(
                f"{_told(shape, size)} are too many for {_gigabytes(memory)} of memory, and {home} has only "
                f"{_gigabytes(free)} free; make room there, or {_LESS}"
            )
        with tempfile.TemporaryFile(dir=home) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a disk that fills up later would end the process
            else:
                file.truncate(size)
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        why = error.strerror or error
        raise DataError(
            f"{_told(shape, size)} cannot be kept in {home} ({why}); make room there, or {_LESS}"
        ) from error


def _home() -> Path:
    return platformdirs.user_cache_path("ganaug")


def _told(shape: tuple[int, int, int, int], size: int) -> str:
    return f"{shape[0]} images of {shape[-1]} px ({_gigabytes(size)})"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
