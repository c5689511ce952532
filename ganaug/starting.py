"""Processes that are started here: what is handed to them, and how they end."""

from __future__ import annotations

import atexit
import itertools
import logging
import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ganaug.errors import DataError, GanaugError, LostProcessError, TrainingError
from ganaug.gan.processes import Group

__all__ = ["Children", "Work", "complaint", "hush", "pack"]

_LARGE = 1_000_000  # bytes of a tensor from which on it is mapped
_PATIENCE = 60.0  # seconds that processes have to end by themselves when an interrupt has reached them


class Work:
    """What a process does that was started here; called when it has met the others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[Path], Work], tuple[Path]]:
        return _arrived, (self.folder,)

    def __call__(self, fabric: Any) -> None:
        """Do it, in one of the processes."""
        _work(fabric, self.folder)


def _arrived(folder: Path) -> Work:
    """In a new process, before it meets the others."""
    hush()
    return Work(folder)


def hush() -> None:
    """Fabric announces every process; what is below a warning is not told."""
    logging.getLogger("lightning_fabric.utilities").setLevel(logging.WARNING)


def _work(fabric: Any, folder: Path) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    first = fabric.local_rank == 0
    warnings.showwarning = _show_warning if first else _show_nothing
    try:
        function, arguments = _unpacked(folder)
        found = function(Group(fabric.device), fabric.device, *arguments)
        if first:
            (folder / "written").write_bytes(pickle.dumps(found))
            (folder / "written").rename(folder / "found")
        # With its work done a process leaves at once: the network library's threads do not always outlive the
        # interpreter's orderly end, and abort.
        atexit.register(os._exit, 0)
    except LostProcessError:  # whose reason is another's to tell
        raise
    except KeyboardInterrupt as error:  # raised, it would be lost on the way
        (folder / f"failed-{fabric.local_rank}").write_bytes(_as_ours(error))
    except BaseException as error:
        (folder / f"failed-{fabric.local_rank}").write_bytes(_as_ours(error))
        raise


def _end_with_parent() -> None:
    """A parent that was killed cannot end its processes."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print("warning: " + " ".join(str(message).split()), file=sys.stderr, flush=True)


def _show_nothing(*_: Any, **__: Any) -> None:
    pass


def _as_ours(error: BaseException) -> bytes:
    """An error in a form that the starting process can raise."""
    if isinstance(error, (GanaugError, KeyboardInterrupt)):
        return pickle.dumps(error)
    return pickle.dumps(TrainingError(f"a process of the fit failed with {type(error).__name__}: {error}"))


def complaint(folder: Path, end: str, interrupted: bool) -> BaseException:
    """What the process said that failed first."""
    said = sorted(folder.glob("failed-*"), key=lambda path: path.stat().st_mtime_ns)
    if said:
        told: BaseException = pickle.loads(said[0].read_bytes())
        return told
    if interrupted:
        return KeyboardInterrupt()
    return TrainingError(
        f"a process of the fit has died ({end.strip().splitlines()[0]}): for want of memory, or because the script "
        "that started it lacks if __name__ == '__main__'"
    )


class _Packer(pickle.Pickler):
    """Writes large tensors to files of their own, which all processes map: images are in memory once, or not at all."""

    def __init__(self, file: BinaryIO, folder: Path) -> None:
        super().__init__(file)
        self._folder, self._count = folder, itertools.count()

    def persistent_id(self, held: Any) -> Any:
        if type(held) is not Tensor or held.device.type != "cpu" or held.nbytes < _LARGE:
            return None
        name = f"tensor-{next(self._count)}"
        held.detach().numpy().tofile(self._folder / name)
        return name, held.dtype, tuple(held.shape)


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: BinaryIO, folder: Path) -> None:
        super().__init__(file)
        self._folder = folder

    def persistent_load(self, told: Any) -> Tensor:
        name, dtype, shape = told
        held: Tensor = torch.from_file(str(self._folder / name), size=math.prod(shape), dtype=dtype)
        return held.view(shape)


def _unpacked(folder: Path) -> Any:
    with open(folder / "work", "rb") as file:
        return _Unpacker(file, folder).load()


def pack(work: Any, folder: Path) -> None:
    """Write a function and its arguments for the processes to read.

    Raises:
        DataError: the user's data cannot be pickled.
    """
    try:
        with open(folder / "work", "wb") as file:
            _Packer(file, folder).dump(work)
    except Exception as error:  # pickle raises what the user's objects raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"the data cannot be sent to other processes ({said}); read it into a folder first") from error


class Children:
    """Processes started inside: none goes on afterwards, and a scheduler's SIGTERM is passed on to them."""

    def __init__(self) -> None:
        self.interrupted = False

    def __enter__(self) -> Children:
        self._before = set(multiprocessing.active_children())
        main = threading.current_thread() is threading.main_thread()
        self._takes_over = main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        if self._takes_over:
            signal.signal(signal.SIGTERM, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        if self._takes_over:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for child in self._alive():
            child.kill()
            child.join()

    def end_by_themselves(self) -> None:
        """Wait for processes that an interrupt has reached too."""
        self.interrupted = True
        for child in self._alive():
            child.join(_PATIENCE)

    def _alive(self) -> set[Any]:
        return set(multiprocessing.active_children()) - self._before

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        for child in self._alive():
            os.kill(child.pid, number)
