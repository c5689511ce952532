"""How good are the samples after so many minutes? Recipes side by side, on several real sets.

    python benchmarks/quality_per_minute.py --data DIR,DIR --recipes classify-32,vae-32 --kimg 25,75,225 --out NAME.json

A recipe may carry changes: `classify-32:gan.batch=32:gan.r1=0.1`. For every set, recipe, budget and seed: fit on
`--per-class` images of each class drawn from `DIR/train`, then

- `accuracy`: on held real images, of a classifier trained on synthetic images alone (`real` is the same classifier
  trained on the real images that were drawn);
- `kernel_distance` and `coverage`: in the features of a network trained on the held real images, as many synthetic as
  held, a mean over classes; `of_real` is what the drawn real images have there;
- `spread` and `sharpness`: of synthetic images by that of real ones, a mean over classes;
- `nearest`: how far synthetic images are from the nearest training image of their class, mirrored or moved perhaps, by
  how far held real ones are (medians); `copied`: the share that is nearer than all but 5 % of the held ones are, 0.05
  where nothing is copied;
- `mixed` with `--learner`: of a classifier trained on as many synthetic images as real ones beside them.

Held are training images that were not drawn, or `DIR/test` with `--test`: tuning must not see the test part. Minutes
are of one processor core, everything of a fit counted, so that other work on the machine does not blur them; give
`--threads 1` for that. A finished row is kept in `--out` and is not measured again.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib
import torch
import yaml
from quality import by_label, class_ratio, few_of_each

from ganaug import __version__, load_recipe
from ganaug.classifier import accuracy, train_classifier
from ganaug.data import read_images
from ganaug.fitting import fit
from ganaug.measures import coverage, kernel_distance, nearest_tolerant, sharpness, spread, train_features
from ganaug.pictures import save_picture
from ganaug.recipe import Recipe
from ganaug.workflow import preview

matplotlib.use("Agg")


def named_recipe(text: str, flip: bool, colour: str) -> Recipe:
    name, *pairs = text.split(":")
    changes = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    return load_recipe(name).replace({"data.horizontal_flip": flip, "data.colour": colour, **changes})


class Judged:
    """One set, one seed: the real images drawn, the ones held, and what tells about samples."""

    def __init__(self, given: argparse.Namespace, folder: Path, seed: int) -> None:
        colour = "grey" if folder.name in given.grey else "auto"
        reading: dict[str, Any] = {"resolution": given.resolution, "fit": "crop", "colour": colour}
        everything = read_images(folder / "train", **reading)
        self.seed, self.steps = seed, given.steps
        self.real, undrawn = few_of_each(everything, given.per_class, 100, seed)
        self.held = read_images(folder / "test", **reading) if given.test else undrawn
        self.flip = folder.name in given.flip
        self.augment = "flip+crop+trivial" if self.flip else "crop+trivial"
        self.network = train_features(self.held.images, self.held.labels, seed=seed, steps=480)
        self.real_accuracy = self.learned(self.real.images, self.real.labels)
        self.of_real = self.likeness(by_label(self.real))

    def learned(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Accuracy on the held images of a classifier trained on these, NCHW uint8."""
        training = {"steps": self.steps, "seed": self.seed, "augment": self.augment}
        network = train_classifier(images, labels, classes=len(self.real.class_names), **training)
        return accuracy(network, self.held.images, self.held.labels, classes=len(self.real.class_names))[0]

    def likeness(self, synthetic: dict[int, torch.Tensor]) -> dict[str, float]:
        """Kernel distance and coverage of images of each class, NCHW uint8, beside the held ones."""
        held = by_label(self.held)
        features = [(self.network.features(held[k]), self.network.features(images)) for k, images in synthetic.items()]
        return {
            "kernel_distance": sum(kernel_distance(a, b) for a, b in features) / len(features),
            "coverage": sum(coverage(a, b) for a, b in features) / len(features),
        }

    def nearness(self, synthetic: dict[int, torch.Tensor]) -> dict[str, float]:
        """How near images of each class, NCHW uint8, come to the training images, beside the held ones."""
        train, held = by_label(self.real), by_label(self.held)
        ratios, shares = [], []
        for label, images in synthetic.items():
            ours, theirs = (nearest_tolerant(some, train[label], flips=self.flip)[1] for some in (images, held[label]))
            ratios.append(float(ours.median() / theirs.median()))
            shares.append(float((ours < theirs.quantile(0.05)).float().mean()))
        return {"nearest": sum(ratios) / len(ratios), "copied": sum(shares) / len(shares)}


def measured(judged: Judged, recipe: Recipe, learner: bool, picture: Path | None) -> dict[str, Any]:
    began, spent = time.perf_counter(), time.process_time()
    bank = fit(judged.real, recipe=recipe, seed=judged.seed, progress=False)
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    names, held = judged.real.class_names, judged.held.counts()
    synthetic = {label: bank.sample(name, 200, seed=judged.seed) for label, name in enumerate(names)}
    images, labels = torch.cat(list(synthetic.values())), torch.arange(len(names)).repeat_interleave(200)
    row: dict[str, Any] = {
        "kimg": recipe.kimg,
        "best_kimg": bank.manifest.kimg,
        "minutes": spent / 60,
        "wall_minutes": seconds / 60,
        "real": judged.real_accuracy,
        "accuracy": judged.learned(images, labels),
        "of_real": judged.of_real,
        **judged.likeness({label: some[: held[label]] for label, some in synthetic.items()}),
        **judged.nearness(synthetic),
    }
    for name, measure in (("spread", spread), ("sharpness", sharpness)):
        ratios = class_ratio(measure, synthetic, judged.real)
        row[name] = sum(ratios) / len(ratios)
    if learner:
        each = (len(judged.real.images) + len(names) - 1) // len(names)
        more = torch.cat([some[:each] for some in synthetic.values()])
        their = torch.arange(len(names)).repeat_interleave(each)
        row["mixed"] = judged.learned(torch.cat([judged.real.images, more]), torch.cat([judged.real.labels, their]))
    if picture:
        save_picture(preview(bank, data=judged.real), picture)
    return row


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A column for each set and a row for each measure: the mean over seeds against minutes, a line a recipe."""
    from matplotlib import pyplot

    sets = list(dict.fromkeys(row["set"] for row in rows))
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    told = ("accuracy", "kernel_distance", "coverage", "spread")
    figure, axes = pyplot.subplots(len(told), len(sets), figsize=(3.6 * len(sets), 2.4 * len(told)), squeeze=False)
    for column, name in enumerate(sets):
        for line, measure in enumerate(told):
            axis = axes[line][column]
            for recipe in recipes:
                found: dict[float, list[dict[str, Any]]] = {}
                for row in rows:
                    if row["set"] == name and row["recipe"] == recipe:
                        found.setdefault(row["kimg"], []).append(row)
                minutes = [sum(r["minutes"] for r in found[k]) / len(found[k]) for k in sorted(found)]
                means = [sum(r[measure] for r in found[k]) / len(found[k]) for k in sorted(found)]
                axis.plot(minutes, means, marker="o", markersize=3, label=recipe)
            here = [row for row in rows if row["set"] == name]
            real = [r["real"] if measure == "accuracy" else r["of_real"].get(measure) for r in here]
            if all(value is not None for value in real):
                axis.axhline(sum(real) / len(real), color="grey", linewidth=0.8, linestyle=":")
            axis.set_xscale("log")
            axis.set_title(f"{name}: {measure.replace('_', ' ')}", fontsize=8)
            axis.tick_params(labelsize=7)
    axes[-1][0].set_xlabel("minutes of one core", fontsize=8)
    axes[0][0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--data", type=lambda text: [Path(part) for part in text.split(",")], required=True)
    parser.add_argument("--recipes", type=names, default=["classify-32", "vae-32"])
    parser.add_argument("--kimg", type=lambda text: [float(part) for part in text.split(",")], default=[25.0, 75.0])
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--steps", type=int, default=400, help="of every classifier")
    parser.add_argument("--flip", type=names, default=[], help="sets whose mirrored images keep their class")
    parser.add_argument("--grey", type=names, default=[], help="names of the sets to read as grey")
    parser.add_argument("--learner", action="store_true", help="a classifier on real and synthetic images too")
    parser.add_argument("--test", action="store_true", help="hold DIR/test: for final figures alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pictures", type=Path, help="a folder for previews")
    parser.add_argument("--out", type=Path, required=True, help="JSON of all rows; a chart beside it")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.pictures:
        given.pictures.mkdir(parents=True, exist_ok=True)
    rows = json.loads(given.out.read_text())["rows"] if given.out.exists() else []
    for folder in given.data:
        for seed in given.seeds:
            judged = None
            for text in given.recipes:
                for kimg in given.kimg:
                    key = {"set": folder.name, "recipe": text, "kimg": kimg, "seed": seed}
                    if any(all(row[name] == value for name, value in key.items()) for row in rows):
                        continue
                    judged = judged or Judged(given, folder, seed)
                    colour = "grey" if folder.name in given.grey else "auto"
                    recipe = named_recipe(text, judged.flip, colour).replace({"kimg": kimg})
                    picture = given.pictures and given.pictures / f"{'-'.join(str(v) for v in key.values())}.png"
                    rows.append(key | measured(judged, recipe, given.learner, picture))
                    print(json.dumps(rows[-1]), flush=True)
                    keep(given, rows)
    draw(rows, given.out.with_suffix(".png"))


def keep(given: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    result = {
        "command": "python benchmarks/quality_per_minute.py "
        + " ".join(",".join(Path(part).name for part in a.split(",")) if "/" in a else a for a in sys.argv[1:]),
        "scored_on": "test" if given.test else "training images that were not drawn",
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "rows": rows,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
