"""Jobs that a worker process can import."""

import os
import signal
import sys
import time
from pathlib import Path

import torch

from ganaug.errors import DataError, MissingExtraError


def total(images, start):
    return {"total": int(images.sum()) + start}


def marked(folder, name, seconds=0.0):
    """Leaves a trace of every run."""
    with (Path(folder) / name).open("a") as file:
        file.write("x")
    time.sleep(seconds)
    return {"name": name}


def sleep(seconds):
    time.sleep(seconds)
    return {"slept": seconds, "threads": torch.get_num_threads(), "process": os.getpid()}


def fail(kind):
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exits":
        sys.exit(3)
    raise {
        "ours": DataError("a class has no images; give more"),
        "extra": MissingExtraError("timm", "timm"),
        "theirs": ValueError("shapes\ndo not match"),
    }[kind]


def give(value):
    return value
