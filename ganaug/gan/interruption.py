"""Being told to stop: noted, so that a step is finished and a checkpoint written first."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["Interrupted", "Interruption"]

_TAKEN_OVER = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interrupted(KeyboardInterrupt):
    """A fit was told to stop and has stopped between two steps."""

    def __init__(self, number: int, step: int, steps: int, saved: int | None) -> None:
        where = "starts afresh, for no checkpoint could be written" if saved is None else f"goes on from step {saved}"
        super().__init__(f"stopped after step {step} of {steps}; the same call with resume=True {where}")
        self.number = number
        """Of the signal."""
        self.step, self.steps = step, steps
        self.saved = saved
        """The step that the last whole checkpoint is of; None where there is none."""

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int, int, int, int | None]]:
        return type(self), (self.number, self.step, self.steps, self.saved)  # a process of a group sends it


class Interruption:
    """Inside, Ctrl-C and a scheduler's SIGTERM are noted in `number`; a second one stops at once.

    A signal that the caller handles or ignores is left to the caller, and outside the main thread, which alone may ask
    for signals, nothing is noted.
    """

    def __init__(self, *, active: bool = True) -> None:
        self.number: int | None = None
        """Of the signal that came, if one did."""
        self._active = active and threading.current_thread() is threading.main_thread()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if self._active:
            for number, usual in _TAKEN_OVER.items():
                if signal.getsignal(number) == usual:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
