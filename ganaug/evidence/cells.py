"""Cells: the pieces of a comparison that can be run apart. Each is run once, and its result kept in a file.

    jobs -> those with a kept result are read -> the others run here, in worker processes or on a cluster -> kept

The name of a file is a digest of all that the result depends on, so a comparison that was stopped goes on where it
was, and one with other settings takes over the cells that both have.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ganaug.errors import DataError, GanaugError, TrainingError
from ganaug.output import make_folder, write_text
from ganaug.progress import CellBar

__all__ = ["Job", "default_workers", "kept_result", "run_jobs"]

Result = dict[str, Any]
Submit = Callable[["Job"], "Future[Any]"]

_NAME = 200  # characters of a key in a message


@dataclass(frozen=True)
class Job:
    """One cell: `function(*shared, *arguments)`, whose result depends on what `key` says, and on that alone."""

    key: Mapping[str, Any]
    """What JSON can say; of the shared arguments too, by a digest."""
    function: Callable[..., Mapping[str, Any]]
    """Of the top level of a module, where it runs in another process; returns what JSON can say."""
    arguments: tuple[Any, ...] = ()
    """Few and small: they are sent with every job."""
    name: str = ""
    """For people; the key by default."""

    @property
    def file(self) -> str:
        """The name of the file that keeps the result."""
        return f"{hashlib.sha256(_json(self.key).encode()).hexdigest()}.json"

    @property
    def called(self) -> str:
        """The job in a message, in one line."""
        said = self.name or ", ".join(f"{name} {value}" for name, value in self.key.items())
        return said if len(said) <= _NAME else f"{said[:_NAME]}..."


def run_jobs(
    jobs: Sequence[Job],
    *,
    shared: tuple[Any, ...] = (),
    folder: Path | None = None,
    workers: int = 0,
    cluster: Literal["ray"] | None = None,
    gpus: float = 0.0,
    deadline: float | None = None,
    on_done: Callable[[int, int, Job, Result], None] | None = None,
    bar: CellBar | None = None,
) -> list[Result | None]:
    """Results of all jobs, in their order, whichever ends first; jobs of the same key run once.

    Whatever goes wrong, what has finished is in `folder`, and the next call reads it. A result is given as JSON
    would give it back (tuples are lists), so that a kept one is no other than a fresh one.

    Args:
        jobs: what to run.
        shared: the first arguments of every job, such as the images: sent once to each worker, not with each job.
        folder: where results are kept, made if need be; None keeps none.
        workers: 0 runs the jobs in this process; N in so many processes of one torch thread each.
        cluster: "ray" runs them on a Ray cluster instead (needs `ganaug[ray]`); `workers` is unused then.
        gpus: the share of a GPU that a job takes on the cluster.
        deadline: on the clock of `time.monotonic`; no job starts after it, those that run may end.
        on_done: is given how many are done, of how many, the job and its result; kept ones come first.
        bar: is moved as jobs are done; its total is the caller's.

    Returns:
        For each job its result, or None where the deadline came first.

    Raises:
        GanaugError: as a job raised it; a TrainingError, naming the job, for any other exception, for a result that
            JSON cannot say (a number that is not finite, too) and where a worker process has died.
        DataError: a job cannot be sent to another process.
        OutputError: a result cannot be written.
    """
    if workers < 0:
        raise DataError(f"workers is {workers}; wanted 0, for this process, or how many processes to start")
    cells = _Cells(jobs, folder, on_done, bar)
    left = cells.read()
    if left:
        with contextlib.closing(_ran(left, shared, workers, cluster, gpus, deadline)) as ran:
            for job, found in ran:
                cells.keep(job, _as_json(job, found))
    return [cells.results.get(job.file) for job in jobs]


def default_workers() -> int:
    """As many processes as torch would use threads (all cores, or `OMP_NUM_THREADS`); 0, this process, for one."""
    threads = torch.get_num_threads()
    return threads if threads > 1 else 0


def kept_result(job: Job, folder: Path | None) -> Result | None:
    """The result that `folder` keeps of a job; None where there is none, or its file is damaged."""
    if folder is None:
        return None
    try:
        kept = json.loads((folder / job.file).read_text("utf-8"))
        return dict(kept["result"]) if kept["key"] == json.loads(_json(job.key)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Cells:
    """What is done of some jobs: by file, kept in the folder and told to the caller."""

    def __init__(
        self,
        jobs: Sequence[Job],
        folder: Path | None,
        on_done: Callable[[int, int, Job, Result], None] | None,
        bar: CellBar | None,
    ) -> None:
        self.results: dict[str, Result] = {}
        self._jobs = {job.file: job for job in jobs}
        self._folder = folder
        self._on_done = on_done
        self._bar = bar

    def read(self) -> list[Job]:
        """Take over the results that the folder keeps; what is left to run."""
        for job in self._jobs.values():
            kept = kept_result(job, self._folder)
            if kept is not None:
                if self._bar is not None:
                    self._bar.skip()
                self._tell(job, kept)
        return [job for file, job in self._jobs.items() if file not in self.results]

    def keep(self, job: Job, result: Result) -> None:
        if self._folder is not None:
            if not self._folder.parent.exists():
                make_folder(self._folder.parent)  # the run folder of a bank that came without: marked as ours too
            write_text(make_folder(self._folder) / job.file, _json({"key": job.key, "result": result}, ordered=False))
        if self._bar is not None:
            self._bar.move()
        self._tell(job, result)

    def _tell(self, job: Job, result: Result) -> None:
        self.results[job.file] = result
        if self._on_done is not None:
            self._on_done(len(self.results), len(self._jobs), job, result)


def _ran(
    jobs: Sequence[Job],
    shared: tuple[Any, ...],
    workers: int,
    cluster: str | None,
    gpus: float,
    deadline: float | None,
) -> Generator[tuple[Job, Any], None, None]:
    """Each job with its result, as they end."""
    if cluster is not None:
        if cluster != "ray":
            raise DataError(f"cluster is {cluster!r}; wanted 'ray', or None for this machine")
        from ganaug.adapters.ray import RayCrew

        with RayCrew(_run_alone, shared, gpus=gpus) as crew:
            yield from _spread(jobs, crew.submit, crew.size, deadline)
    elif workers:
        with _processes(shared, min(workers, len(jobs))) as submit:
            yield from _spread(jobs, submit, workers, deadline)
    else:
        for job in jobs:
            if _over(deadline):
                return
            yield job, _run(job, shared)


def _spread(jobs: Sequence[Job], submit: Submit, size: int, deadline: float | None) -> Iterator[tuple[Job, Any]]:
    """Keep `size` jobs running, and no more waiting, so that none starts after the deadline."""
    waiting = list(reversed(jobs))
    running: dict[Future[Any], Job] = {}
    while True:
        while waiting and len(running) < size and not _over(deadline):
            job = waiting.pop()
            running[submit(job)] = job
        if not running:
            return
        ended = wait(running, return_when=FIRST_COMPLETED).done
        for future in sorted(ended, key=lambda future: future.exception() is not None):  # what went well is kept first
            yield running.pop(future), future.result()


@contextlib.contextmanager
def _processes(shared: tuple[Any, ...], count: int) -> Iterator[Submit]:
    """Spawned workers (a forked one may hang in torch's threads), ended at once when their work is no more wanted."""
    packed = _packed(shared, "what the jobs share")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(packed,)
    )
    try:
        yield lambda job: pool.submit(_serve, _packed(job, job.called))
    except BrokenProcessPool as error:
        raise TrainingError(
            "a worker process has died: for want of memory, or because the script that started it lacks "
            "if __name__ == '__main__'; what was finished is kept; use fewer workers, or 0"
        ) from error
    finally:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        pool.shutdown(cancel_futures=True)


_packed_shared = b""
_shared: tuple[Any, ...] | None = None


def _begin(packed: bytes) -> None:
    global _packed_shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _packed_shared = packed


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, and each keeps the pipe open that the others wait on."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _serve(packed: bytes) -> Any:
    """In a worker: unpacked here, where an error is told, and not by the pool, which would die of it."""
    global _shared
    try:
        job = pickle.loads(packed)
        if _shared is None:
            _shared = pickle.loads(_packed_shared)
    except Exception as error:
        raise DataError(_not_sent("a job", error)) from error
    return _run(job, _shared)


def _run(job: Job, shared: tuple[Any, ...]) -> Any:
    try:
        return job.function(*shared, *job.arguments)
    except GanaugError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise TrainingError(f"{job.called} failed with {said}; what was finished before it is kept") from error


def _run_alone(job: Job, shared: tuple[Any, ...]) -> Any:
    torch.set_num_threads(1)
    return _run(job, shared)


def _packed(sent: Any, what: str) -> bytes:
    try:
        return pickle.dumps(sent)
    except Exception as error:  # pickle raises what the user's objects raise
        raise DataError(_not_sent(what, error)) from error


def _not_sent(what: str, error: Exception) -> str:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{what} cannot be sent to a worker process ({said}); define it in a module of its own, or use workers=0"


def _as_json(job: Job, found: Any) -> Result:
    try:
        if not isinstance(found, Mapping):
            raise TypeError(f"a {type(found).__name__}")
        return dict(json.loads(_json(found, ordered=False)))
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"{job.called} returned what cannot be kept ({error}); wanted a mapping of finite numbers, texts and lists"
        ) from error


def _json(value: Any, *, ordered: bool = True) -> str:
    return json.dumps(value, sort_keys=ordered, allow_nan=False, separators=(",", ":"), default=dict)


def _over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline
