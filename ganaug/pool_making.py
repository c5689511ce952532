"""The making of a pool by whoever comes: this process, workers that it starts, other ranks, other runs.

The samples lie in spans of a few thousand. Each process takes a span that no other is at work on, writes it to its
place in `images.partial`, and notes it in `made.partial`, a byte for each span. What a span holds is settled by the
bank, so it does not matter who makes it; the lock on a span goes with its process: one that has died holds up nobody.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout

from ganaug.bank import CHUNK, GeneratorBank
from ganaug.errors import OutputError

__all__ = ["Making", "Report"]

SPAN = 32  # chunks that are taken, written and noted together
_LOOK_EVERY = 0.2  # seconds between two looks at what workers have made
_log = logging.getLogger("ganaug")

Report = Callable[[int, int], None]  # samples made so far, samples in all


@dataclass(frozen=True)
class Making:
    """A pool on the way: `counts` samples of each class, of the bank's `indices`, rows of `row_bytes` bytes."""

    folder: Path
    counts: Mapping[int, int]
    indices: Mapping[int, npt.NDArray[np.int64]]
    seed: int
    row_bytes: int
    span: int = SPAN

    @cached_property
    def spans(self) -> list[list[tuple[int, int, int]]]:
        """Chunks of each span: class index, first and last row of the class."""
        chunks = [
            (index, start, min(start + CHUNK, count))
            for index, count in self.counts.items()
            for start in range(0, count, CHUNK)
        ]
        return [chunks[first : first + self.span] for first in range(0, len(chunks), self.span)]

    @cached_property
    def starts(self) -> list[int]:
        """The first row of each span, and the number of rows in all."""
        rows = [sum(stop - start for _, start, stop in span) for span in self.spans]
        return [0, *np.cumsum(rows).tolist()]

    @property
    def total(self) -> int:
        """Samples in all."""
        return self.starts[-1]

    def prepare(self) -> None:
        """Make the files to write to; what an interrupted making has left is kept, if it is of this size.

        Raises:
            OutputError: there is no room on the disk.
        """
        size = self.total * self.row_bytes
        fits = _size(self._images) == size and _size(self._notes) == len(self.spans)
        made = self._rows_made() if fits else 0
        _log.info(
            "making a pool of %d samples, %.1f MB, in %s%s",
            self.total, size / 1e6, self.folder, f" (going on after {made})" if made else "",
        )  # fmt: skip
        free = shutil.disk_usage(self.folder).free
        if free < size - made * self.row_bytes:
            raise OutputError(
                f"the pool takes {size / 1e6:.0f} MB and {self.folder} has {free / 1e6:.0f} MB free; make room, or "
                "give another place as pool_dir"
            )
        if not fits:
            for path, length in ((self._notes, len(self.spans)), (self._images, size)):
                with open(path, "wb") as file:
                    file.truncate(length)

    def work(self, bank: GeneratorBank, report: Report | None = None) -> None:
        """Make spans until all are made, by this process or another."""
        for wait in (False, True):  # first those that nobody is at work on
            for number in range(len(self.spans)):
                if not self._is_made(number):
                    with self._taken(number, wait=wait) as taken:
                        if taken and not self._is_made(number):
                            self._make(bank, number, report)

    def work_by(self, workers: int, bank: GeneratorBank, report: Report | None) -> None:
        """Let spawned processes make the spans; those that they leave are made here, where an error is told."""
        threads = max(1, torch.get_num_threads() // workers)
        context = multiprocessing.get_context("spawn")
        # A folder of this user's own: others may write to that of the pool, and what is unpickled can run code.
        with tempfile.TemporaryDirectory(prefix="ganaug-") as name:
            handed = Path(name) / "work"
            handed.write_bytes(pickle.dumps((self, bank)))
            processes = [context.Process(target=_work, args=(handed, threads), daemon=True) for _ in range(workers)]
            try:
                for process in processes:
                    process.start()
                while any(process.is_alive() for process in processes):
                    for process in processes:
                        process.join(_LOOK_EVERY / workers)
                    if report is not None:
                        report(self._rows_made(), self.total)
            finally:
                for process in processes:
                    if process.is_alive():
                        process.terminate()
        self.work(bank, report)

    def finish(self) -> None:
        """Give the images their name, and take away the rest."""
        os.replace(self._images, self.folder / "images.u8")
        for path in (self._notes, *self.folder.glob("span-*.lock")):
            with contextlib.suppress(OSError):  # a process that came late may hold it
                path.unlink()

    @property
    def _images(self) -> Path:
        return self.folder / "images.partial"

    @property
    def _notes(self) -> Path:
        return self.folder / "made.partial"

    def _make(self, bank: GeneratorBank, number: int, report: Report | None) -> None:
        made = self._rows_made()
        # written, not mapped: a disk that fills up is then an error and not the end of the process
        with open(self._images, "r+b") as file:
            file.seek(self.starts[number] * self.row_bytes)
            for index, start, stop in self.spans[number]:
                samples = bank.sample_at(index, self.indices[index][start:stop].tolist(), seed=self.seed)
                file.write(samples.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
                made += stop - start
                if report is not None:
                    report(made, self.total)
            _to_disk(file)
        with open(self._notes, "r+b") as file:
            file.seek(number)
            file.write(b"\1")
            _to_disk(file)

    def _made(self) -> bytes:
        try:
            return self._notes.read_bytes()
        except FileNotFoundError:  # another process has finished
            return b"\1" * len(self.spans)

    def _is_made(self, number: int) -> bool:
        return self._made()[number] == 1

    def _rows_made(self) -> int:
        return sum(self.starts[n + 1] - self.starts[n] for n, made in enumerate(self._made()) if made == 1)

    @contextlib.contextmanager
    def _taken(self, number: int, *, wait: bool) -> Iterator[bool]:
        """Whether this process alone is at work on a span inside."""
        lock = FileLock(str(self.folder / f"span-{number}.lock"))
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def _work(handed: Path, threads: int) -> None:
    """In a spawned process."""
    torch.set_num_threads(threads)
    making, bank = pickle.loads(handed.read_bytes())
    making.work(bank)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
