"""How good are the samples? A classifier trained on synthetic images alone, against one trained on the real ones.

    python benchmarks/quality.py --data DIR --per-class 50 --minutes 10 --seeds 0,1,2 --out results/NAME.json

With `--picture` a fit is kept, and the same command goes on with it. With `--ask` the second question too: do they
help? `ganaug.compare` with this bank: the arm is chosen on training images that were not drawn, the answer comes from
`DIR/test`, which is why it takes `--test`.

Draws `--per-class` images of each class from `DIR/train` (or DIR itself), fits on them, and scores on `DIR/test` with
`--test`, else on the training images that were not drawn: tuning must not see the test part. The same classifier,
steps and augmentation (TrivialAugmentWide) in both arms; chance is 1 / classes.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import torch
import yaml

from ganaug import __version__, load_recipe
from ganaug.classifier import accuracy, train_classifier
from ganaug.data import LabelledImages, read_images
from ganaug.evidence.comparison import compare
from ganaug.evidence.synthetic_only import synthetic_only_accuracy
from ganaug.fitting import fit
from ganaug.measures import nearest_images, sharpness, spread
from ganaug.pictures import save_picture
from ganaug.recipe import Recipe
from ganaug.workflow import preview


def few_of_each(data: LabelledImages, count: int, most_rest: int, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """`count` random images of each class, and up to `most_rest` others of each."""
    random = torch.Generator().manual_seed(seed)
    drawn, rest = [], []
    for label in range(len(data.class_names)):
        members = (data.labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=random)].tolist()
        drawn += members[:count]
        rest += members[count : count + most_rest]
    return data.subset(drawn), data.subset(rest)


def class_ratio(measure, synthetic: dict[int, torch.Tensor], real: LabelledImages) -> list[float]:
    return [measure(images) / measure(real.images[real.labels == label]) for label, images in synthetic.items()]


def by_label(data: LabelledImages) -> dict[int, torch.Tensor]:
    return {label: data.images[data.labels == label] for label in range(len(data.class_names))}


def nearness(images: dict[int, torch.Tensor], real: LabelledImages) -> float:
    """Median distance of an image to the nearest training image of its class, pixel by pixel."""
    found = [nearest_images(shown, real.images[real.labels == label])[1] for label, shown in images.items()]
    return float(torch.cat(found).median())


def one_seed(given: argparse.Namespace, recipe: Recipe, seed: int) -> dict:
    folder, classes, picture = given.data, given.classes, given.picture
    source = folder / "train" if (folder / "train").is_dir() else folder
    everything = read_images(source, resolution=recipe.resolution, classes=classes, fit=recipe.data.fit)
    real, undrawn = few_of_each(everything, given.per_class, 100, seed)
    held = undrawn
    if given.test:
        colour = "grey" if real.images.shape[1] == 1 else "rgb"
        held = read_images(
            folder / "test", resolution=recipe.resolution, classes=classes, fit=recipe.data.fit, colour=colour
        )
    run_dir = picture.with_name(f"{picture.name}.{seed}.run") if picture else None
    began = time.perf_counter()
    bank = fit(real, recipe=recipe, seed=seed, run_dir=run_dir, resume=run_dir is not None)
    seconds = time.perf_counter() - began
    if run_dir:  # a fit that went on, or was finished already, took longer than this run has seen
        logs = [log.read_text().splitlines()[-1] for log in run_dir.glob("log-*.csv")]
        seconds = max(seconds, sum(float(last.split(",")[2]) for last in logs))
    count = len(real.class_names)
    augment = "trivial+flip" if recipe.data.horizontal_flip else "trivial"
    model = train_classifier(real.images, real.labels, classes=count, steps=600, seed=seed, augment=augment)
    real_only, _ = accuracy(model, held.images, held.labels, classes=count)
    alone, by_class = synthetic_only_accuracy(bank, held, steps=600, seed=seed, augment=augment)
    synthetic = {label: bank.sample(name, 100, seed=1) for label, name in enumerate(real.class_names)}
    if picture:
        save_picture(preview(bank, data=real), picture.with_name(f"{picture.name}.{seed}.png"))
    spreads, sharps = class_ratio(spread, synthetic, real), class_ratio(sharpness, synthetic, real)
    return {
        "seed": seed,
        "real_images": real_only,
        "synthetic_images": alone,
        "share_of_real": alone / real_only,
        "worst_class": min(by_class),
        "chance": 1 / count,
        "spread_ratio": [sum(spreads) / count, min(spreads), max(spreads)],
        "sharpness_ratio": [sum(sharps) / count, min(sharps), max(sharps)],
        # 1: as far from the training images as unseen real ones are; near 0: copies
        "nearest_ratio": nearness(synthetic, real) / nearness(by_label(held), real),
        "scores": bank.manifest.scores,
        "best_kimg": bank.manifest.kimg,
        "kimg": bank.recipe.kimg,
        "fit_seconds": seconds,
        "does_it_help": compare(real, bank, val=undrawn, test=held, seeds=3).to_dict() if given.ask else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--test", action="store_true", help="score on DIR/test: for final figures alone")
    parser.add_argument("--ask", action="store_true", help="compare with and without synthetic images as well")
    parser.add_argument("--classes", type=lambda text: text.split(","))
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--recipe", default="classify-32")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--kimg", type=float)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    parser.add_argument("--picture", type=Path, help="where previews and run folders go")
    parser.add_argument("--out", type=Path, help="JSON of all figures")
    given = parser.parse_args()
    if given.ask and not given.test:
        parser.error("--ask chooses on training images that were not drawn, so the answer needs --test")
    settings = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in given.settings)}
    budget = {"kimg": given.kimg} if given.kimg else {"minutes": given.minutes} if given.minutes else {}
    recipe = load_recipe(given.recipe).replace(settings | budget)
    rows = []
    for seed in given.seeds:
        rows.append(one_seed(given, recipe, seed))
        print(json.dumps(rows[-1]), flush=True)
    result = {
        "command": "python benchmarks/quality.py "
        + " ".join(a if "/" not in a else Path(a).name for a in sys.argv[1:]),
        "scored_on": "test" if given.test else "training images that were not drawn",
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "recipe": recipe.model_dump(mode="json"),
        "rows": rows,
    }
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
