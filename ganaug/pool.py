"""SamplePool: raw generator output on disk, made once, read through memory mapping by every worker.

A pool is a folder named by its key:

    pool.json        what is in it; written last, so that a folder that has it is whole
    images.u8        (count, height, width, channels) uint8, class after class, sample 0, 1, 2, ... of each
    soft.f32         (count, classes) float32, a judge's probabilities for each, where they were given
    *.partial        what an interrupted making has left; the next making goes on from there

Whoever comes while a pool is being made (other ranks, other runs) takes a share in the making; see `pool_making`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import platformdirs
from filelock import FileLock, Timeout

from ganaug.bank import GeneratorBank
from ganaug.errors import BankError, DataError, OutputError
from ganaug.pool_making import Making, Report

__all__ = ["SamplePool", "alone_in", "pool_home", "writing_to"]

FORMAT = 1
_log = logging.getLogger("ganaug")

Indices = Union[Sequence[int], npt.NDArray[np.int64]]


class SamplePool:
    """A finished pool. `pool[class_index, j]` is sample j of a class, HWC uint8; pickles as its path.

    Of label maps there are samples of one class, 0, and the last channel of each is its map.

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
        workers: int = 0,
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
            workers: processes to make it with; 0 makes it in this one. The samples are the same. As they are spawned,
                the calling script needs `if __name__ == "__main__"`, and each takes seconds to start.

        Raises:
            OutputError: the folder cannot be written, or the disk is full.
        """
        wanted = {int(index): int(count) for index, count in sorted(counts.items()) if count != 0}
        if not wanted or min(wanted.values()) < 0 or not set(wanted) <= set(range(len(bank.class_names))):
            raise BankError(f"a pool of {dict(counts)} samples a class; wanted counts of at least 1, by class index")
        header: dict[str, Any] = {
            "format": FORMAT,
            "bank": bank.fingerprint,
            "class_names": list(bank.class_names),
            "seed": int(seed),
            "counts": {str(index): count for index, count in wanted.items()},
            "shape": [sum(wanted.values()), bank.resolution, bank.resolution, bank.planes],
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
            row_bytes = _bytes(header["shape"][1:])
            _make(Making(folder, wanted, indices, int(seed), row_bytes), header, told, bank, report, workers)
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
    making: Making,
    header: Mapping[str, Any],
    told: npt.NDArray[np.float32] | None,
    bank: GeneratorBank,
    report: Report | None,
    workers: int,
) -> None:
    folder = making.folder
    with writing_to(folder):
        with alone_in(folder):
            if _read_header(folder) == header:  # another process may have made it while this one waited
                return
            if told is not None:
                (folder / "soft.f32").write_bytes(told.tobytes())
            making.prepare()
        if workers:
            making.work_by(workers, bank, report)
        else:
            making.work(bank, report)
        with alone_in(folder):
            if _read_header(folder) != header:
                making.finish()
                _write_json(folder / "pool.json", header)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(values), "utf-8")
    beside.replace(path)
