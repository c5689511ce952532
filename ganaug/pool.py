"""SamplePool: raw generator output on disk, made once, read through memory mapping by every worker.

A pool is a folder named by its key:

    pool.json        what is in it; written last, so that a folder that has it is whole
    images.u8        (count, height, width, channels) uint8, class after class, sample 0, 1, 2, ... of each
    images.partial   what an interrupted making has left, with progress.json; the next making goes on from there

Whoever comes first makes the pool; other processes (other ranks, other runs) wait on a lock and find it whole. The
lock goes with its process, so nothing waits for one that has died.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
from filelock import FileLock, Timeout

from ganaug.bank import CHUNK, GeneratorBank
from ganaug.errors import BankError, DataError, OutputError

__all__ = ["SamplePool"]

FORMAT = 1
_SYNC_EVERY = 32  # chunks between two notes of how far the making has come
_log = logging.getLogger("ganaug")

Report = Callable[[int, int], None]  # samples made so far, samples in all


class SamplePool:
    """A finished pool. `pool[class_index, j]` is sample j of a class, HWC uint8; pickles as its path.

    Args:
        folder: that of the pool itself.

    Raises:
        DataError: the folder holds no finished pool.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        header = _read_header(self.folder)
        if header is None:
            raise DataError(f"{self.folder} holds no finished pool; make one with SamplePool.create")
        self.counts: dict[int, int] = {int(index): count for index, count in header["counts"].items()}
        """Samples of each class, by the class's place in the bank."""
        self.class_names: list[str] = header["class_names"]
        """All classes of the bank."""
        self.seed: int = header["seed"]
        self._shape: tuple[int, ...] = tuple(header["shape"])
        starts = np.cumsum([0, *self.counts.values()])
        self._starts = dict(zip(self.counts, map(int, starts), strict=False))
        self._images: npt.NDArray[np.uint8] | None = None

    @classmethod
    def create(
        cls,
        bank: GeneratorBank,
        counts: Mapping[int, int],
        *,
        seed: int = 0,
        directory: str | Path | None = None,
        report: Report | None = None,
    ) -> SamplePool:
        """The pool of these samples: reused where it is whole, gone on with where its making was interrupted.

        Args:
            bank: to sample from, on the device that it is on.
            counts: samples of each class, by its place in `bank.class_names`.
            seed: of the noise.
            directory: folder that pools are kept in, each in a folder of its own; the user's cache by default.
            report: called with the number of samples made and the number in all, as the making goes on.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        wanted = {int(index): int(count) for index, count in sorted(counts.items()) if count != 0}
        if not wanted or min(wanted.values()) < 0 or not set(wanted) <= set(range(len(bank.class_names))):
            raise BankError(f"a pool of {dict(counts)} samples a class; wanted counts of at least 1, by class index")
        header = {
            "format": FORMAT,
            "bank": bank.fingerprint,
            "class_names": list(bank.class_names),
            "seed": int(seed),
            "counts": {str(index): count for index, count in wanted.items()},
            "shape": [sum(wanted.values()), bank.resolution, bank.resolution, bank.channels],
        }
        key = hashlib.sha256(json.dumps(header).encode()).hexdigest()[:32]
        folder = (Path(directory) if directory is not None else _default_directory()) / key
        if _read_header(folder) != header:
            with _writing(folder), _alone(folder):
                if _read_header(folder) != header:  # another process may have made it while this one waited
                    _make(folder, bank, header, report)
        return cls(folder)

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, at: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Sample j of a class: `pool[class_index, j]`, HWC uint8, the caller's own copy."""
        class_index, j = at
        if not 0 <= j < self.counts.get(class_index, 0):
            raise IndexError(f"the pool has {self.counts.get(class_index, 0)} samples of class {class_index}, not {j}")
        return np.array(self._map()[self._starts[class_index] + j])

    def images(self, class_index: int) -> npt.NDArray[np.uint8]:
        """All samples of a class, (count, H, W, C) uint8, read-only and still on disk."""
        start = self._starts[class_index]
        return self._map()[start : start + self.counts[class_index]]

    def _map(self) -> npt.NDArray[np.uint8]:
        if self._images is None:  # opened where it is used: every worker maps the file itself
            self._images = np.memmap(self.folder / "images.u8", dtype=np.uint8, mode="r", shape=self._shape)
        return self._images

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None}

    def __repr__(self) -> str:
        return f"SamplePool({len(self)} samples of {len(self.counts)} classes in {self.folder})"


def _default_directory() -> Path:
    return platformdirs.user_cache_path("ganaug") / "pools"


def _read_header(folder: Path) -> dict[str, Any] | None:
    """What is in a finished pool; none where it is not finished, or not as it says."""
    try:
        header: dict[str, Any] = json.loads((folder / "pool.json").read_text("utf-8"))
        size = (folder / "images.u8").stat().st_size
        return header if header["format"] == FORMAT and size == _bytes(header) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _bytes(header: Mapping[str, Any]) -> int:
    size = 1
    for side in header["shape"]:
        size *= side
    return size


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"the pool cannot be written to {folder} ({why}); give another place as pool_dir") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time is inside, for each folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(folder / "making.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.info("another process is making the pool in %s; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _make(folder: Path, bank: GeneratorBank, header: Mapping[str, Any], report: Report | None) -> None:
    total, needed = header["shape"][0], _bytes(header)
    chunks = [
        (int(index), start, min(start + CHUNK, count))
        for index, count in header["counts"].items()
        for start in range(0, count, CHUNK)
    ]
    row = needed // total
    done = _chunks_done(folder)
    made = sum(stop - start for _, start, stop in chunks[:done])
    if not _holds(folder / "images.partial", made * row):
        done = made = 0
    _log.info(
        "making a pool of %d samples, %.1f MB, in %s%s",
        total, needed / 1e6, folder, f" (going on after {made})" if made else "",
    )  # fmt: skip
    free = shutil.disk_usage(folder).free
    if free < needed - made * row:
        raise OutputError(
            f"the pool takes {needed / 1e6:.0f} MB and {folder} has {free / 1e6:.0f} MB free; make room, or give "
            "another place as pool_dir"
        )
    # written, not mapped: a disk that fills up is then an error and not the end of the process
    with open(folder / "images.partial", "r+b" if done else "wb") as file:
        file.truncate(made * row)
        file.seek(made * row)
        for number, (index, start, stop) in enumerate(chunks[done:], start=done + 1):
            samples = bank.sample_at(index, range(start, stop), seed=header["seed"])
            file.write(samples.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
            made += stop - start
            if number % _SYNC_EVERY == 0 or number == len(chunks):
                file.flush()
                os.fsync(file.fileno())
                _write_json(folder / "progress.json", {"chunks": number})
            if report is not None:
                report(made, total)
    os.replace(folder / "images.partial", folder / "images.u8")
    _write_json(folder / "pool.json", header)
    (folder / "progress.json").unlink(missing_ok=True)


def _chunks_done(folder: Path) -> int:
    """How many chunks an interrupted making says it has safely on disk."""
    try:
        done = json.loads((folder / "progress.json").read_text("utf-8"))["chunks"]
    except (OSError, ValueError, LookupError, TypeError):
        return 0
    return done if isinstance(done, int) and done > 0 else 0


def _holds(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size >= size


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(values), "utf-8")
    beside.replace(path)
