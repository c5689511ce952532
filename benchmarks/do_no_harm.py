"""Is the verdict right? `ganaug.compare` decides on a few training images alone; then the test part is asked.

    python benchmarks/do_no_harm.py --data DIR --per-class 50 --draws 0 --kimg 40 --out results/do-no-harm/NAME.json

For each draw of `--per-class` images of each class from `DIR/train`, as a user with so few images would: fit a bank on
them all; `ganaug.compare` holds parts of them back, refits and gives the verdict that `ratio="auto"` obeys. Then, with
the bank as it is, the augmentation and the synthetic arm that the comparison chose are trained on all the drawn images
and scored on `DIR/test`, which nothing has seen. `auto` is that arm where the verdict is to mix in, else real images
alone, so its loss is 0 there by construction; `had_it_been_used` is what the arm would have done all the same.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import torch
from quality import few_of_each

from ganaug import __version__, load_recipe
from ganaug.data import read_images
from ganaug.evidence.comparison import compare
from ganaug.evidence.material import reaching
from ganaug.fitting import fit
from ganaug.recipe import Recipe


def one_draw(given: argparse.Namespace, recipe: Recipe, draw: int) -> dict:
    reading = {"resolution": recipe.resolution, "fit": recipe.data.fit, "colour": given.colour}
    real, _ = few_of_each(read_images(given.data / "train", **reading), given.per_class, 0, draw)
    test = read_images(given.data / "test", **reading)
    began = time.perf_counter()
    bank = fit(real, recipe=recipe, seed=draw, progress=False)
    fitted = time.perf_counter() - began
    cells = given.cells / f"{given.data.name}-{given.per_class}-{draw}" if given.cells else None
    asked = compare(real, bank, seed=draw, workers=given.workers, folder=cells)
    found = asked.to_dict()
    arm = found["chosen"]
    alone = {
        "augments": [arm["augment"]],
        "ratios": [arm["ratio"]],
        "schedules": ["annealed" if arm["annealed"] else "constant"],
        "screened": [arm["screened"]],
        "reaches": [],
        "seeds": given.seeds,
    }
    bank = reaching(bank, arm["reach"])
    answer = compare(real, bank, test=test, seed=draw, workers=given.workers, folder=cells, settings=alone).to_dict()
    used = answer["contrasts"][0]
    points = [100 * used[end] for end in ("mean", "low", "high")]
    return {
        "draw": draw,
        "verdict": "mix in" if found["helps"] else "mix in nothing",
        "gain_by_verdict": [100 * found["contrasts"][0][end] for end in ("mean", "low", "high")],
        "chosen": arm["name"],
        "real_only": answer["final"][0]["mean"],
        "had_it_been_used": points,
        "auto": points if found["helps"] else [0.0, 0.0, 0.0],
        "fit_seconds": fitted,
        "compare_seconds": time.perf_counter() - began - fitted,
        "comparison": found,
        "answer": answer,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--per-class", type=int, required=True)
    parser.add_argument("--draws", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--kimg", type=float, default=40)
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each arm on all drawn images")
    parser.add_argument("--colour", default="auto", choices=("auto", "grey", "rgb"))
    parser.add_argument("--flip", action="store_true", help="a mirrored image keeps its class")
    parser.add_argument("--full", action="store_true", help="the whole default comparison, not the short one")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--cells", type=Path, help="a folder where finished trainings are kept, to go on from")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    short = {
        "compare.augments": ("flip+crop", "trivial+cutmix"), "compare.ratios": (0.5, 1.0), "compare.splits": 2,
        "compare.schedules": ("constant",), "compare.seeds": 2, "compare.steps": 300,
    }  # fmt: skip
    settings = {"kimg": given.kimg, "data.horizontal_flip": given.flip}
    recipe = load_recipe("classify-32").replace(settings | ({} if given.full else short))
    rows = []
    for draw in given.draws:
        rows.append(one_draw(given, recipe, draw))
        print(json.dumps({k: v for k, v in rows[-1].items() if k not in {"comparison", "answer"}}), flush=True)
    result = {
        "command": "python benchmarks/do_no_harm.py "
        + " ".join(a if "/" not in a else Path(a).name for a in sys.argv[1:]),
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "rows": rows,
    }
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
