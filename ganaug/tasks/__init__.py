"""What is particular to a kind of label, said once; nothing above this package branches on the task."""

from __future__ import annotations

from ganaug.errors import BankError
from ganaug.tasks.classify import ClassifyTask

__all__ = ["ClassifyTask", "get_task"]

_TASKS = {task.name: task for task in (ClassifyTask(),)}


def get_task(name: str) -> ClassifyTask:
    """The task of that name, as a recipe or a bank says it."""
    if name not in _TASKS:
        raise BankError(f"this ganaug knows no task {name!r}, only {', '.join(_TASKS)}; upgrade ganaug")
    return _TASKS[name]
