"""What a fit costs as its set grows: seconds per kimg, a snapshot, before the first step, and peak memory.

    python benchmarks/growth.py --out benchmarks/results/growth.json

Sets of made-up images are written into a temporary folder; each is fitted in a process of its own, by the default
recipe with a small budget. `streamed` keeps the decoded images in a mapped file, however few they are.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROWS = [(500, 10, ""), (12000, 10, ""), (12000, 40, ""), (12000, 10, "streamed"), (500, 40, ""), (3000, 10, "")]
ROWS += [(3000, 40, "")]
SNAPSHOTS = 2


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--kimg", type=float, default=2.56)
    asked.add_argument("--out", type=Path)
    asked.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    told = asked.parse_args()
    if told.one:
        print(json.dumps(measured(Path(told.one[0]), told.kimg, streamed=told.one[1] == "streamed")))
        return
    rows = []
    for images, classes, how in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), images, classes)
            command = [sys.executable, __file__, "--kimg", str(told.kimg), "--one", folder, how]
            ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            sys.exit(ended.stderr)
        row = {"images": images, "classes": classes, "how": how or "in memory", **json.loads(ended.stdout)}
        rows.append(row)
        print(row, flush=True)
        if told.out:
            found = {
                "command": f"python {' '.join(sys.argv)}", "machine": platform.processor() or platform.machine(),
                "cores": os.cpu_count(), "kimg": told.kimg, "rows": rows,
            }  # fmt: skip
            told.out.write_text(json.dumps(found, indent=2) + "\n")


def make(folder: Path, images: int, classes: int) -> None:
    """Smooth colour images of 48 x 40 px with some noise, another slope for each class."""
    random = np.random.default_rng(0)
    down, across = np.mgrid[0:1:48j, 0:1:40j]
    for label in range(classes):
        (folder / f"{label:02}").mkdir()
        waves = np.sin(2 * np.pi * (down * (label % 7) + across * (label // 7)))[:, :, None] * random.random(3)
        for number in range(images // classes):
            pixels = 128 + 80 * waves * random.random() + random.normal(0, 20, (48, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{label:02}" / f"{number:05}.png")


def measured(folder: Path, kimg: float, *, streamed: bool) -> dict[str, float]:
    """Fit, and say what it cost; seconds are of this process's own processor time unless they say wall."""
    import torch

    import ganaug
    from ganaug.data import room
    from ganaug.gan.loop import Fit
    from ganaug.gan.step import Trainer

    torch.set_num_threads(1)
    if streamed:
        room._SHARE = 0.0
    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = {"step": 0.0, "look": 0.0}
    first: list[tuple[float, float]] = []

    def timed(name, original):
        def call(*arguments):
            if not first:
                first.append((time.process_time(), time.perf_counter()))
            began = time.process_time()
            result = original(*arguments)
            spent[name] += time.process_time() - began
            return result

        return call

    Trainer.step = timed("step", Trainer.step)
    Fit._look = timed("look", Fit._look)
    began, began_wall = time.process_time(), time.perf_counter()
    settings = {"snapshots.count": SNAPSHOTS}
    ganaug.fit(folder, recipe="classify-32", settings=settings, kimg=kimg, device="cpu", progress=False)
    loop = time.process_time() - first[0][0] - spent["look"]
    megabytes = 2**20 if sys.platform == "darwin" else 2**10  # of what ru_maxrss counts in
    return {
        "seconds_per_kimg": round(loop / kimg, 2),
        "of_which_outside_the_steps": round((loop - spent["step"]) / kimg, 3),
        "seconds_a_snapshot": round(spent["look"] / SNAPSHOTS, 2),
        "seconds_before_the_first_step": round(first[0][0] - began, 1),
        "wall_seconds_before_the_first_step": round(first[0][1] - began_wall, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / megabytes),
        "of_which_imports_mb": round(imported / megabytes),
    }


if __name__ == "__main__":
    main()
