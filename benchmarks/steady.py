"""Is a fit steady? The same recipe on the same few images from several seeds: how many collapse, and what happened.

    python benchmarks/steady.py --data DIR --data DIR2 --seeds 10 --per-class 50 --kimg 60 --out results/steady.json

Draws `--per-class` images of each class from `DIR/train` (or DIR itself), the same for all seeds; 0 takes them all, as
many or as few as a class has. A bank has collapsed where, of 200 samples of each class, the worst class's pixel spread
is under 0.4 of that of its real images, or covers under a fifth of them, or the samples of all classes cover under
0.4 of the real images: of the collapsed fits that this project has seen, spreads were 0.22 to 0.33, of others 0.55 and
more. Features are those of a network trained on the drawn images from a seed of its own, which no fit has seen.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import warnings
from pathlib import Path

import torch
import yaml

from ganaug import __version__, load_recipe, measures
from ganaug.data import LabelledImages, read_images
from ganaug.fitting import fit
from ganaug.recipe import Recipe

LEAST_SPREAD, LEAST_CLASS_COVERAGE, LEAST_COVERAGE = 0.4, 0.2, 0.4
SAMPLES = 200


def drawn(folder: Path, recipe: Recipe, count: int) -> LabelledImages:
    source = folder / "train" if (folder / "train").is_dir() else folder
    everything = read_images(source, resolution=recipe.resolution, fit=recipe.data.fit)
    if not count:
        return everything
    random = torch.Generator().manual_seed(0)
    chosen = []
    for label in range(len(everything.class_names)):
        members = (everything.labels == label).nonzero().flatten()
        chosen += members[torch.randperm(len(members), generator=random)].tolist()[:count]
    return everything.subset(chosen)


def one_fit(real: LabelledImages, recipe: Recipe, seed: int, judge: measures.FeatureNetwork) -> dict:
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # events are in the bank
        bank = fit(real, recipe=recipe, seed=seed)
    seconds = time.perf_counter() - began
    spreads, samples, labels = [], [], []
    for label, name in enumerate(real.class_names):
        samples.append(bank.sample(name, SAMPLES, seed=1))
        labels.append(torch.full((SAMPLES,), label))
        spreads.append(measures.spread(samples[-1]) / measures.spread(real.images[real.labels == label]))
    made, asked = judge.features(torch.cat(samples)), torch.cat(labels)
    found = measures.fidelity(judge.features(real.images), real.labels, made, asked)
    least_coverage = min(found.class_coverage)
    return {
        "seed": seed,
        "score": found.score,
        "coverage": found.coverage,
        "least_coverage": least_coverage,
        "least_spread": min(spreads),
        "class_spread": dict(zip(real.class_names, spreads, strict=True)),
        "wrong_class": float((judge.classes(made) != asked).float().mean()),
        "events": [event.model_dump() for event in bank.manifest.events],
        "collapsed": min(spreads) < LEAST_SPREAD
        or least_coverage < LEAST_CLASS_COVERAGE
        or found.coverage < LEAST_COVERAGE,
        "best_kimg": bank.manifest.kimg,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--kimg", type=float, default=60.0)
    parser.add_argument("--recipe", default="classify-32")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="JSON of all figures; written after each fit")
    given = parser.parse_args()
    settings = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in given.settings)}
    recipe = load_recipe(given.recipe).replace({"kimg": given.kimg} | settings)
    result = {
        "command": "python benchmarks/steady.py " + " ".join(a if "/" not in a else Path(a).name for a in sys.argv[1:]),
        "rule": f"collapsed: least class spread < {LEAST_SPREAD}, least class coverage < {LEAST_CLASS_COVERAGE} or "
        f"coverage < {LEAST_COVERAGE}, of {SAMPLES} samples a class",
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "recipe": recipe.model_dump(mode="json"),
        "sets": {},
    }
    for folder in given.data:
        real = drawn(folder, recipe, given.per_class)
        judge = measures.train_features(real.images, real.labels, seed=1_000_003)
        rows = result["sets"][folder.name] = []
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            rows.append(one_fit(real, recipe, seed, judge))
            print(folder.name, json.dumps(rows[-1]), flush=True)
            if given.out:
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{folder.name}: {sum(row['collapsed'] for row in rows)} of {len(rows)} collapsed", flush=True)


if __name__ == "__main__":
    main()
