"""The live bars: of a fit, and of the cells of a comparison."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

__all__ = ["Bar", "CellBar"]


class Bar:
    """Kimg, images a second, time left, and the score of the last snapshot, on stderr.

    Where stderr is no terminal, it is one line at the end.
    """

    def __init__(
        self,
        kimg: float,
        *,
        shown: bool = True,
        console: Console | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.kimg = kimg
        self.rate = 0.0
        """Images a second, since the start or the last skip."""
        self._clock = clock
        self._first: tuple[float, float] | None = None
        self._progress = Progress(
            TextColumn("fit"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}"),
            TextColumn("fidelity {task.fields[score]}"),
            disable=not shown,
            console=console or Console(stderr=True),
        )
        self._row = self._progress.add_task("", total=1.0, told=self._told(0.0), score="-")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def move(self, share: float) -> None:
        """`share` of the budget is spent."""
        now = self._clock()
        if self._first is None:  # an interrupted fit goes on in the middle
            self._first = (now, share)
        elapsed, done = now - self._first[0], share - self._first[1]
        if elapsed > 0:
            self.rate = 1000 * self.kimg * done / elapsed
        self._progress.update(self._row, completed=share, told=self._told(share))

    def skip_to(self, share: float) -> None:
        """`share` of the budget is done with, though the work may have been done before, or given up."""
        self._first = None
        self._progress.update(self._row, completed=share, told=self._told(share))

    def score(self, score: float) -> None:
        """Show the score of a snapshot."""
        self._progress.update(self._row, score=f"{score:.2f}")

    def _told(self, share: float) -> str:
        left = ""
        if self.rate > 0 and share < 1:
            seconds = round((1 - share) * 1000 * self.kimg / self.rate)
            left = f"  {datetime.timedelta(seconds=seconds)} left"
        return f"{share * self.kimg:.1f}/{self.kimg:.1f} kimg  {self.rate:.0f} images/s{left}"


class CellBar:
    """How many cells of a comparison are done, and about how long the others take, on stderr.

    Where stderr is no terminal, it is one line at the end.
    """

    def __init__(
        self,
        total: int = 0,
        *,
        shown: bool = True,
        console: Console | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.total = total
        self.done = 0
        self._clock = clock
        self._started = clock()
        self._run = 0
        self._progress = Progress(
            TextColumn("compare"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[told]}"),
            disable=not shown,
            console=console or Console(stderr=True),
        )
        self._row = self._progress.add_task("", total=max(1, total), told=self._told())

    def __enter__(self) -> CellBar:
        self._started = self._clock()
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def expect(self, total: int) -> None:
        """There are `total` cells in all: fewer where arms were dropped, more where stages are added."""
        self.total = max(total, self.done)
        self._show()

    def move(self) -> None:
        """One more cell was run."""
        self._run += 1
        self._one_more()

    def skip(self) -> None:
        """One more cell is done with: it was run before, so it says nothing of how long the others take."""
        self._one_more()

    def seconds_left(self) -> float | None:
        """At the mean pace of the cells that were run; None before there is one."""
        if not self._run:
            return None
        return (self._clock() - self._started) / self._run * (self.total - self.done)

    def _one_more(self) -> None:
        self.done += 1
        self.total = max(self.total, self.done)
        self._show()

    def _show(self) -> None:
        self._progress.update(self._row, completed=self.done, total=max(1, self.total), told=self._told())

    def _told(self) -> str:
        seconds = self.seconds_left()
        left = f"  about {datetime.timedelta(seconds=round(seconds))} left" if seconds else ""
        return f"{self.done}/{self.total} cells{left}"
