"""Do generated objects in real scenes make a better detector? A few images drawn, a bank fitted on them, a comparison.

    python benchmarks/detection.py --data DIR --images 100 --kimg 16 --out benchmarks/results/objects/NAME.json

From the training part of `DIR`, as a user with so few images would have it: a bank is fitted on the drawn images, and
YOLO11n is trained from scratch by equal steps on them alone, with scenes mixed in, and where that gained on its
control: as many scenes of real objects, cut out and pasted. All have mosaic and the rest of YOLO's augmentation. With
`--augments mosaic,mosaic+copy-paste` the better of these carries the scenes. Scored are the training images that were
not drawn, or with `--test` the part that is only for that; where something is to be chosen, on the former.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

import ganaug
from ganaug import __version__
from ganaug.data.box_files import BoxFiles, list_boxes


def some_of(files: BoxFiles, rows: list[int]) -> BoxFiles:
    return dataclasses.replace(
        files,
        paths=[files.paths[row] for row in rows],
        said_in=[files.said_in[row] for row in rows],
        objects=[files.objects[row] for row in rows],
        skipped=(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--recipe", default="detect-64")
    parser.add_argument("--kimg", type=float, default=16)
    parser.add_argument("--bank", type=Path, help="one fitted on this very draw; made and kept there if there is none")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--augments", type=lambda text: text.split(","), default=["mosaic"])
    parser.add_argument("--test", action="store_true", help="the answer on the test part")
    parser.add_argument("--cells", type=Path, help="a folder where finished trainings are kept, to go on from")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    files = list_boxes(given.data, on_bad="skip")
    order = np.random.default_rng(given.draw).permutation(len(files)).tolist()
    drawn, rest = some_of(files, sorted(order[: given.images])), some_of(files, sorted(order[given.images :]))
    began = time.perf_counter()
    if given.bank is not None and given.bank.is_file():
        bank = ganaug.load(given.bank)
    else:
        bank = ganaug.fit(drawn, recipe=given.recipe, kimg=given.kimg, seed=given.draw, progress=False)
        if given.bank is not None:
            bank.save(given.bank)
    fitted = time.perf_counter() - began
    print(f"bank: {fitted:.0f} s, {bank.manifest.kimg} kimg; objects {drawn.counts()}", flush=True)
    part = "test" if "test" in files.layout.parts else "val"
    held = {"test": list_boxes(given.data, on_bad="skip", part=part)} if given.test else {"val": rest}
    if len(given.augments) > 1:
        held["val"] = rest
    found = ganaug.compare(
        drawn, bank, **held, ratios=[given.ratio], seeds=given.seeds, steps=given.steps, batch=given.batch,
        settings={"image_size": given.image_size, "augments": given.augments}, seed=given.draw, folder=given.cells,
        report=lambda line: print(f"{time.perf_counter() - began:.0f} s: {line}", flush=True),
    )  # fmt: skip
    print(found.summary, flush=True)
    result = {
        "command": "python benchmarks/detection.py "
        + " ".join(a if "/" not in a else Path(a).name for a in sys.argv[1:]),
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "scored": part if given.test else "the training images that were not drawn",
        "objects": dict(zip(drawn.classes, drawn.counts(), strict=True)),
        "fit_seconds": fitted,
        "compare_seconds": time.perf_counter() - began - fitted,
        "comparison": found.to_dict(),
    }
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
