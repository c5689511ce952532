"""What is particular to a kind of label, said once; nothing above this package branches on the task."""

from __future__ import annotations

from typing import Union

from ganaug.errors import BankError
from ganaug.tasks.classify import ClassifyTask
from ganaug.tasks.detect import DetectTask
from ganaug.tasks.enlarge import EnlargeTask
from ganaug.tasks.fill import FillTask
from ganaug.tasks.segment import SegmentTask
from ganaug.tasks.translate import TranslateTask

__all__ = ["ClassifyTask", "DetectTask", "EnlargeTask", "FillTask", "SegmentTask", "Task", "TranslateTask", "get_task"]

Task = Union[ClassifyTask, SegmentTask, DetectTask, EnlargeTask, TranslateTask, FillTask]

_TASKS: dict[str, Task] = {
    task.name: task
    for task in (ClassifyTask(), SegmentTask(), DetectTask(), EnlargeTask(), TranslateTask(), FillTask())
}


def get_task(name: str) -> Task:
    """The task of that name, as a recipe or a bank says it."""
    if name not in _TASKS:
        raise BankError(f"this ganaug knows no task {name!r}, only {', '.join(_TASKS)}; upgrade ganaug")
    return _TASKS[name]
