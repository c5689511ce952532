"""Jobs that a worker process can import."""

import functools
import os
import signal
import sys
import time
from pathlib import Path

import torch

from ganaug import cli, measures
from ganaug.errors import DataError, MissingExtraError
from ganaug.gan import loop


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


def ganaug_fit(arguments, told, most_bytes=None):
    """`ganaug fit` in a process of its own; its stderr goes into the file `told`, and no file may be longer."""
    os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    if most_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    torch.set_num_threads(1)
    measures.train_features = functools.partial(measures.train_features, steps=3)
    loop.fastest_precision = lambda device: "float32"
    sys.argv = ["ganaug", "fit", *arguments]
    cli.main()
