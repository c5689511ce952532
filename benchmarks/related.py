"""What does a base save? Few images of new classes, with and without a bank of related ones to start from.

    python benchmarks/related.py --out results/related.json --picture results/related.png

On the real handwritten digits that scikit-learn ships, at 16 px. A bank of the digits 5 to 9, about 160 images of each,
is fitted once for `--base-kimg`. Then, with each seed, `--per-class` images of each of 0 to 4 are fitted on: from
nothing for `--kimg` and for a fifth of it, and from the base for a fifth of it. Samples are compared with digits 0 to 4
that nothing was fitted on, in the features of a network trained on those: kernel distance (0 is best) and coverage,
means over classes. Minutes are of one core, the judge's training included.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from quality import by_label, few_of_each

from ganaug import __version__, load_recipe, measures
from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages, read_images
from ganaug.demonstration import write_digits
from ganaug.fitting import fit
from ganaug.pictures import draw_grid, save_picture

MEASURED = ("minutes", "kernel_distance", "coverage")
NEW, RELATED = ("0", "1", "2", "3", "4"), ("5", "6", "7", "8", "9")


def quality(bank: GeneratorBank, held: LabelledImages, judge: measures.FeatureNetwork, seed: int) -> dict[str, float]:
    real = by_label(held)
    seen = [
        (judge.features(real[label]), judge.features(bank.sample(name, len(real[label]), seed=seed)))
        for label, name in enumerate(held.class_names)
    ]
    found = {"kernel_distance": measures.kernel_distance, "coverage": measures.coverage}
    return {name: statistics.mean(measure(a, b) for a, b in seen) for name, measure in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--base-kimg", type=float, default=20)
    parser.add_argument("--kimg", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path, help="samples of the first seed's banks")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train, rest = write_digits(Path(folder))
        few, held = (read_images(part, resolution=16, classes=NEW) for part in (train, rest))
        related = read_images(rest, resolution=16, classes=RELATED)
    judge = measures.train_features(held.images, held.labels, seed=0)
    recipe = load_recipe("classify-16").replace({"networks.keep": True})
    base = fit(related, recipe=recipe, kimg=given.base_kimg, seed=0, progress=False)
    arms: dict[str, dict[str, Any]] = {
        "from nothing": {"kimg": given.kimg},
        "from nothing, a fifth": {"kimg": given.kimg / 5},
        "from the base, a fifth": {"kimg": given.kimg / 5, "base": base},
    }
    rows, panels = [], []
    for seed in range(given.seeds):
        drawn, _ = few_of_each(few, given.per_class, 0, seed)
        for name, settings in arms.items():
            began = time.process_time()
            bank = fit(drawn, recipe=recipe, seed=seed, progress=False, **settings)
            minutes = (time.process_time() - began) / 60
            rows.append({"seed": seed, "arm": name, "minutes": minutes} | quality(bank, held, judge, seed))
            print(rows[-1], flush=True)
            if seed == 0:
                panels.append((name, {cls: bank.sample(cls, 8) for cls in NEW}))
    if given.picture:
        save_picture(draw_grid(panels, columns=8, least=32), given.picture)
    means = {
        name: {
            key: statistics.mean(row[key] for row in rows if row["arm"] == name)
            for key in rows[0]
            if key not in ("seed", "arm")
        }
        for name in arms
    }
    print(json.dumps(means, indent=1))
    if given.out:
        settings = {key: value for key, value in vars(given).items() if key not in ("out", "picture")}
        versions = {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()}
        given.out.write_text(
            json.dumps({"settings": settings, "versions": versions, "means": means, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
