"""SamplePool: raw generator output on disk, made once, read through memory mapping by every worker.

A pool is a folder named by its key:

    pool.json        what is in it; written last, so that a folder that has it is whole
    images.u8        (count, height, width, channels) uint8, class after class, sample 0, 1, 2, ... of each
    soft.f32         (count, classes) float32, a judge's probabilities for each, where they were given
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import platformdirs
from filelock import FileLock, Timeout

from ganaug.bank import CHUNK, GeneratorBank
from ganaug.errors import BankError, DataError, OutputError

__all__ = ["SamplePool", "alone_in", "pool_home", "writing_to"]

FORMAT = 1
_SYNC_EVERY = 32  # chunks between two notes of how far the making has come
_log = logging.getLogger("ganaug")

Report = Callable[[int, int], None]  # samples made so far, samples in all
Indices = Union[Sequence[int], npt.NDArray[np.int64]]


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
        self._soft_shape: tuple[int, ...] | None = tuple(header["soft_shape"]) if "soft_shape" in header else None
        self._soft: npt.NDArray[np.float32] | None = None

    @classmethod
    def create(
        cls,
        bank: GeneratorBank,
        counts: Mapping[int, int],
        *,
        seed: int = 0,
        directory: str | Path | None = None,
        chosen: Mapping[int, Indices] | None = None,
        soft: Mapping[int, npt.NDArray[np.float32]] | None = None,
        report: Report | None = None,
    ) -> SamplePool:
        """The pool of these samples: reused where it is whole, gone on with where its making was interrupted.

        Args:
            bank: to sample from, on the device that it is on.
            counts: samples of each class, by its place in `bank.class_names`.
            seed: of the noise.
            directory: folder that pools are kept in, each in a folder of its own; the user's cache by default.
            chosen: the bank's samples that those of the pool are, by class, as a screening keeps them; where there are
                fewer than `counts` says, they begin anew. Samples 0, 1, 2, ... by default.
            soft: (n, classes) probabilities of the samples in `chosen`, by class; see `soft`.
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
        indices = {index: np.arange(count) for index, count in wanted.items()}
        if chosen is not None:
            indices = {index: _repeated(chosen, index, count) for index, count in wanted.items()}
            header["chosen"] = _digest(indices.values())
        told = None
        if soft is not None:
            told = np.concatenate([_repeated(soft, index, count) for index, count in wanted.items()])
            told = np.ascontiguousarray(told, dtype=np.float32)
            header |= {"soft": _digest([told]), "soft_shape": list(told.shape)}
        key = hashlib.sha256(json.dumps(header).encode()).hexdigest()[:32]
        folder = pool_home(directory) / key
        if _read_header(folder) != header:
            with writing_to(folder), alone_in(folder):
                if _read_header(folder) != header:  # another process may have made it while this one waited
                    if told is not None:
                        (folder / "soft.f32").write_bytes(told.tobytes())
                    _make(folder, bank, header, indices, report)
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

    def soft(self, class_index: int, j: int) -> npt.NDArray[np.float32]:
        """The probabilities that were given with sample j of a class, (classes,) float32, the caller's own copy."""
        assert self._soft_shape is not None, "made without soft labels"
        if not 0 <= j < self.counts.get(class_index, 0):
            raise IndexError(f"the pool has {self.counts.get(class_index, 0)} samples of class {class_index}, not {j}")
        if self._soft is None:
            self._soft = np.memmap(self.folder / "soft.f32", dtype=np.float32, mode="r", shape=self._soft_shape)
        return np.array(self._soft[self._starts[class_index] + j])

    def _map(self) -> npt.NDArray[np.uint8]:
        if self._images is None:  # opened where it is used: every worker maps the file itself
            self._images = np.memmap(self.folder / "images.u8", dtype=np.uint8, mode="r", shape=self._shape)
        return self._images

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": None, "_soft": None}

    def __repr__(self) -> str:
        return f"SamplePool({len(self)} samples of {len(self.counts)} classes in {self.folder})"


def _default_directory() -> Path:
    return platformdirs.user_cache_path("ganaug") / "pools"


def pool_home(directory: str | Path | None) -> Path:
    """The folder that pools are kept in: `directory`, or the user's cache."""
    return Path(directory) if directory is not None else _default_directory()


def _repeated(given: Mapping[int, Any], index: int, count: int) -> npt.NDArray[Any]:
    """The first `count` rows given for a class, from the first again where there are fewer."""
    rows = np.asarray(given.get(index, ()))
    if len(rows) == 0:
        raise BankError(f"no samples are chosen of class {index}, of which {count} are wanted; choose one at least")
    return rows[np.arange(count) % len(rows)]


def _digest(arrays: Iterable[npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def _read_header(folder: Path) -> dict[str, Any] | None:
    """What is in a finished pool; none where it is not finished, or not as it says."""
    try:
        header: dict[str, Any] = json.loads((folder / "pool.json").read_text("utf-8"))
        whole = header["format"] == FORMAT and (folder / "images.u8").stat().st_size == _bytes(header["shape"])
        if "soft_shape" in header:
            whole = whole and (folder / "soft.f32").stat().st_size == 4 * _bytes(header["soft_shape"])
        return header if whole else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _bytes(shape: Sequence[int]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size


@contextlib.contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """What cannot be written inside is an OutputError that names `pool_dir`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"the pool cannot be written to {folder} ({why}); give another place as pool_dir") from error


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Only one process at a time is inside, for each folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(folder / "making.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.info("another process is at work in %s; waiting for it", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _make(
    folder: Path,
    bank: GeneratorBank,
    header: Mapping[str, Any],
    indices: Mapping[int, npt.NDArray[np.int64]],
    report: Report | None,
) -> None:
    total, needed = header["shape"][0], _bytes(header["shape"])
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
            samples = bank.sample_at(index, indices[index][start:stop].tolist(), seed=header["seed"])
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
