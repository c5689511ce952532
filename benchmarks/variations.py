"""Do variations of real images help a classifier, and more than warps that nobody has learned?

    python benchmarks/variations.py --data DIR --per-class 10,50 --draws 0,1 --kimg 4 --out results/variations/NAME.json

For each draw of so many images a class from `DIR/train`, a bank is fitted on them with `--recipe`; then the reference
classifier is trained for equal steps in each arm. Without variations: the real images, with each augmentation. With
them: for each real image `--copies` variations of it and the image itself as often, so that half of what is shown is
varied, with each augmentation of `--on-top`. Real images once more instead of variations, at equal steps, are the real
images alone: that arm is there as the control, with an order of its own. With `--fit-on DIR2` the bank is fitted on the
images of that set, whose classes are others, and has seen none of those that it varies. Scored on up to 100 images a
class of the training part that were not drawn; with `--test` on `DIR/test`, for the last word only. The summary has
each arm over TrivialAugmentWide + CutMix, and arms with variations over their own augmentation alone too, in points
with 95 % intervals clustered by draw. Draws that `--out` already holds are kept and not measured again.

With `--verdict`, `ganaug.compare` does all of this instead: augmentation, and whether variations go farther
(`--reach`), are chosen on the training images that were not drawn, and the answer is of `DIR/test`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from quality import few_of_each

from ganaug import __version__, load_recipe
from ganaug.bank import GeneratorBank
from ganaug.classifier import predict, train_classifier
from ganaug.data import LabelledImages, read_images
from ganaug.evidence.comparison import compare
from ganaug.evidence.statistics import clustered_interval
from ganaug.fitting import fit
from ganaug.pictures import draw_grid, save_picture
from ganaug.recipe import Recipe


def varied(bank: GeneratorBank, real: LabelledImages, copies: int) -> torch.Tensor:
    """`copies` variations of each image, the first of every image first."""
    return torch.cat([bank.vary(real.images, start=copy * len(real)) for copy in range(copies)])


def shown(bank: GeneratorBank, held: LabelledImages, columns: int = 8) -> Image.Image:
    """For each class an image that the bank was not fitted on, and variations of it."""
    first = {name: held.images[held.labels == label][:1] for label, name in enumerate(held.class_names)}
    made = {
        name: bank.vary(image.expand(columns, -1, -1, -1), start=columns * row)
        for row, (name, image) in enumerate(first.items())
    }
    return draw_grid([("real", first), ("variations of it", made)], columns=columns, least=48)


def one_draw(given: argparse.Namespace, recipe: Recipe, count: int, draw: int) -> dict:
    reading = {"resolution": recipe.resolution, "fit": recipe.data.fit}
    real, held = few_of_each(read_images(given.data / "train", **reading), count, 100, draw)
    if given.test:
        held = read_images(given.data / "test", **reading, colour="grey" if real.images.shape[1] == 1 else "rgb")
    began = time.perf_counter()
    learned_on = real
    if given.fit_on:
        others = given.fit_on / "train" if (given.fit_on / "train").is_dir() else given.fit_on
        learned_on, _ = few_of_each(read_images(others, **reading), given.fit_on_per_class, 1, draw)
    bank = fit(learned_on, recipe=recipe, seed=draw, progress=False)
    seconds = time.perf_counter() - began
    if given.picture:
        save_picture(shown(bank, held), given.picture)
    again = real.images.repeat(given.copies, 1, 1, 1)
    arms = {name: (name, real.images) for name in given.augments}
    arms |= {f"duplicated, {name}": (name, torch.cat([again, again])) for name in given.duplicated}
    for reach in given.reach:
        more = varied(bank.with_latent({"reach": reach}), real, given.copies)
        said = "variations" if reach == 1 else f"variations, reach {reach:g}"
        arms |= {f"{said}, {name}": (name, torch.cat([again, more])) for name in given.on_top}
    found, right = {}, {}
    for name, (augment, images) in arms.items():
        labels = real.labels.repeat(len(images) // len(real))
        networks = [
            train_classifier(
                images, labels, classes=len(real.class_names), steps=given.steps, seed=seed, augment=augment, half=False
            )
            for seed in given.seeds
        ]
        told = torch.stack([predict(network, held.images) == held.labels for network in networks])
        found[name], right[name] = told.double().mean(1).tolist(), [packed(row) for row in told]
        print(count, draw, name, [f"{100 * value:.1f}" for value in found[name]], flush=True)
    row = {"set": given.data.name, "per_class": count, "draw": draw, "fit_seconds": round(seconds, 1)}
    row |= {"scored_on": "test" if given.test else "undrawn", "images": len(held), "scores": bank.manifest.scores}
    return row | {"accuracy": found, "right": right}


def packed(told: torch.Tensor) -> str:
    """Which of N images were told right, as one hexadecimal number of N bits."""
    return f"{int(''.join(str(int(one)) for one in told.tolist()), 2):x}"


def unpacked(text: str, images: int) -> list[int]:
    return [int(bit) for bit in f"{int(text, 16):0{images}b}"]


def one_verdict(given: argparse.Namespace, recipe: Recipe, count: int, draw: int) -> dict:
    reading = {"resolution": recipe.resolution, "fit": recipe.data.fit}
    real, rest = few_of_each(read_images(given.data / "train", **reading), count, 100, draw)
    colour = "grey" if real.images.shape[1] == 1 else "rgb"
    test = read_images(given.data / "test", **reading, colour=colour)
    bank = fit(real, recipe=recipe, seed=draw, progress=False)
    settings = {
        "augments": given.augments, "schedules": ["constant"], "screened": [False], "real_equivalent": False,
        "reaches": [reach for reach in given.reach if reach != 1],
    }  # fmt: skip
    found = compare(
        real, bank, val=rest, test=test, ratios=[1.0], seeds=len(given.seeds), steps=given.steps, seed=draw,
        settings=settings, report=lambda line: print(line, flush=True),
    )  # fmt: skip
    print(count, draw, found.summary, flush=True)
    row = {"set": given.data.name, "per_class": count, "draw": draw, "scores": bank.manifest.scores}
    return row | {"comparison": found.to_dict()}


def over(rows: list[dict], arm: str, other: str) -> list[float] | None:
    """[mean, low, high]: `arm` over `other` in points; None where the rows do not have both."""
    if arm == other or not all(arm in row.get("right", {}) and other in row["right"] for row in rows):
        return None
    told = [[np.array([unpacked(text, row["images"]) for text in row["right"][name]]) for name in (arm, other)]
            for row in rows]  # fmt: skip
    if len(rows) == 1 and len(told[0][0]) == 1:
        return None
    found = clustered_interval([more - less for more, less in told])
    return [round(100 * value, 2) for value in found[:3]]


def summary(rows: list[dict]) -> list[dict]:
    """Mean accuracy of each arm by set and size, and how far it is above arms without variations."""
    made = []
    for key in sorted({(row["set"], row["per_class"]) for row in rows}):
        own = [row for row in rows if (row["set"], row["per_class"]) == key]
        for arm in own[0]["accuracy"]:
            means = [statistics.mean(row["accuracy"][arm]) for row in own]
            line = {"set": key[0], "per_class": key[1], "draws": len(own), "arm": arm}
            line["accuracy"] = round(100 * statistics.mean(means), 2)
            rivals = {"over_trivial_cutmix": "trivial+cutmix"}
            if ", " in arm:
                rivals["over_its_augmentation"] = arm.split(", ")[-1]
            intervals = {name: over(own, arm, rival) for name, rival in rivals.items()}
            made.append(line | {name: found for name, found in intervals.items() if found is not None})
    return made


def main() -> None:
    def names(text: str) -> list[str]:
        return [part for part in text.split(",") if part]

    def numbers(text: str) -> list[int]:
        return [int(part) for part in names(text)]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--fit-on", type=Path, help="a set of other classes, to learn from in the place of the drawn images"
    )
    parser.add_argument("--fit-on-per-class", type=int, default=200)
    parser.add_argument("--per-class", type=numbers, default=[5, 10, 20, 50, 200])
    parser.add_argument("--draws", type=numbers, default=[0, 1])
    parser.add_argument("--seeds", type=numbers, default=[0, 1], help="trainings of each arm")
    parser.add_argument("--kimg", type=float, default=4)
    parser.add_argument("--steps", type=int, default=300, help="of each classifier")
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument(
        "--reach",
        type=lambda text: [float(part) for part in names(text)],
        default=[1.0],
        help="times as far as in training that noise goes",
    )
    parser.add_argument("--set", type=names, default=[], help="settings of the recipe, as variation.residual=0,...")
    parser.add_argument("--augments", type=names, default=["trivial", "trivial+cutmix", "elastic", "elastic+trivial"])
    parser.add_argument("--on-top", type=names, default=["none", "trivial", "trivial+cutmix"])
    parser.add_argument("--duplicated", type=names, default=["trivial+cutmix"])
    parser.add_argument("--recipe", default="vary-32")
    parser.add_argument("--picture", type=Path, help="variations of images that the bank was not fitted on")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--verdict", action="store_true", help="ask ganaug.compare")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings = dict(pair.split("=") for pair in given.set)
    recipe = load_recipe(given.recipe).replace({key: json.loads(value) for key, value in settings.items()})
    recipe = recipe.replace({"kimg": given.kimg})
    rows = json.loads(given.out.read_text())["rows"] if given.out and given.out.exists() else []
    done = {(row["set"], row["per_class"], row["draw"]) for row in rows}
    for count in given.per_class:
        for draw in given.draws:
            if (given.data.name, count, draw) in done:
                continue
            rows.append((one_verdict if given.verdict else one_draw)(given, recipe, count, draw))
            result = {
                "command": "python benchmarks/variations.py "
                + " ".join(a if "/" not in a else Path(a).name for a in sys.argv[1:]),
                "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
                **({} if given.verdict else {"summary": summary(rows)}),
                "rows": rows,
            }
            if given.out:  # after each draw: a long benchmark that is stopped leaves what it has found
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(json.dumps(result, indent=1) + "\n")
    if not given.verdict:
        print(json.dumps(summary(rows), indent=1))


if __name__ == "__main__":
    main()
