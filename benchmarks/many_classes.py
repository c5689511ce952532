"""Many classes, some of them rare: do they train together without the rare ones collapsing?

    python benchmarks/many_classes.py --data DIR,DIR --kimg 30 --seeds 0 --picture many.png --out results/NAME.json

Makes one set of `--classes` classes out of given class-folder sets (`DIR/train` alone): their own classes, and copies
of these that are inverted or turned by a quarter (`--copies`) as classes of their own. Sizes are a geometric run from
5 to 200, given to classes by seed; a class and its copies draw different images, and at least 40 of every class are
drawn by none. Two parts of three of those train a judge and the rest, 50 at the most, are the real images below. The
default recipe is fitted, and of 200 samples of each class is told:

- `spread`: of pixels within the class, by that of real images;
- `coverage` of real images in the judge's features;
- `confusion`: share of samples that the judge sees as another class; `judge_error` is that share of real images;
- `nearness`: median pixel distance to the nearest drawn image, by that of real images (0: copies);
- `learned`: recall on real images of a classifier trained on synthetic images alone.

`of_drawn` is what the drawn images themselves have of these (`learned`: repeated so that classes are equal). Rare are
classes of at most 10 images, common are those of 100 and more. The rule, written before any fit: a class has collapsed
where its spread is under 0.4 or its coverage under half of what the drawn images cover, and is confused where its
confusion is more than 0.3 above the judge's error.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor

from ganaug import __version__, load_recipe
from ganaug.classifier import per_class_accuracy, predict, train_classifier
from ganaug.data import LabelledImages, read_images
from ganaug.data.fingerprints import fingerprint
from ganaug.fitting import fit
from ganaug.gan.precision import half_pays
from ganaug.measures import coverage, nearest_images, spread, train_features
from ganaug.pictures import draw_grid, save_picture
from ganaug.recipe import Recipe

LEAST, MOST, HELD = 5, 200, 40
RARE, COMMON = 10, 100
LEAST_SPREAD, LEAST_COVERAGE, MOST_CONFUSION = 0.4, 0.5, 0.3
SAMPLES = 200
COPIES = {
    "plain": lambda images: images,
    "inverted": lambda images: 255 - images,
    "turned": lambda images: images.rot90(1, (2, 3)),
}


@dataclass
class ManyClasses:
    """NCHW uint8 images of each class: drawn to fit on, and not drawn, to judge by and to compare with."""

    drawn: dict[str, Tensor]
    judging: dict[str, Tensor]
    real: dict[str, Tensor]


def sizes_given(room: dict[str, int], copies: list[str], classes: int, random: torch.Generator) -> dict[str, int]:
    """A size for each of `classes` names of class and copy; copies of a class share its `room` of images."""
    free = [f"{name} {copy}" for copy in copies for name in room][:classes]
    if len(free) < classes:
        raise SystemExit(f"there are {len(free)} classes with their copies, {classes} wanted; give more --data")
    run = [LEAST * (MOST / LEAST) ** (i / (classes - 1)) for i in range(classes)]
    given: dict[str, int] = {}
    for size in sorted(map(round, run), reverse=True):
        able = [name for name in free if room[name.rpartition(" ")[0]] >= size + LEAST * (len(copies) - 1)]
        able = able or [name for name in free if room[name.rpartition(" ")[0]] >= size]
        if not able:
            raise SystemExit(f"no class has {size} images left beside {HELD} that are not drawn; give larger --data")
        chosen = able[int(torch.randint(len(able), (), generator=random))]
        free.remove(chosen)
        room[chosen.rpartition(" ")[0]] -= size
        given[chosen] = size
    return given


def made(given: argparse.Namespace, seed: int) -> ManyClasses:
    random = torch.Generator().manual_seed(seed)
    originals: dict[str, Tensor] = {}
    for folder in given.data:
        read = read_images(folder / "train", resolution=given.resolution, colour=given.colour)
        for label, name in enumerate(read.class_names):
            own = read.images[read.labels == label]
            originals[f"{folder.name.partition('-')[0]} {name}"] = own[torch.randperm(len(own), generator=random)]
    room = {name: len(images) - HELD for name, images in originals.items()}
    sizes = sizes_given(dict(room), given.copies, given.classes, random)
    used = dict.fromkeys(originals, 0)
    many = ManyClasses({}, {}, {})
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        original, _, copy = name.rpartition(" ")
        many.drawn[name] = COPIES[copy](originals[original][used[original] : used[original] + size])
        used[original] += size
    for name in many.drawn:
        original, _, copy = name.rpartition(" ")
        held = COPIES[copy](originals[original][used[original] :])
        most = min(50, len(held) // 3)
        many.real[name], many.judging[name] = held[:most], held[most : most + 100]
    return many


def stacked(images: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    counts = torch.tensor([len(some) for some in images.values()])
    return torch.cat(list(images.values())), torch.arange(len(images)).repeat_interleave(counts)


def learned(images: dict[str, Tensor], real: dict[str, Tensor], steps: int, seed: int) -> list[float]:
    """Recall on `real` of a classifier trained on `images`, of which those of small classes are repeated."""
    most = max(map(len, images.values()))
    level = {name: some[torch.arange(most) % len(some)] for name, some in images.items()}
    settings = {"classes": len(images), "steps": steps, "seed": seed, "augment": "crop+trivial"}
    network = train_classifier(*stacked(level), **settings)
    held, labels = stacked(real)
    return per_class_accuracy(predict(network, held), labels, classes=len(images))


class Judged:
    """The set of one seed, and what tells about images of its classes."""

    def __init__(self, given: argparse.Namespace, seed: int) -> None:
        self.many, self.steps, self.seed = made(given, seed), given.steps, seed
        half = half_pays(torch.device("cpu"))
        # The seed is one that no fit has for its own network.
        self.judge = train_features(*stacked(self.many.judging), seed=1_000_003 + seed, steps=720, half=half)
        self.of_drawn = self.told(self.many.drawn)

    def seen_as_others(self, label: int, images: Tensor) -> float:
        """Share of `images` of class `label` that the judge sees as another."""
        return float((self.judge.classes(self.judge.features(images)) != label).float().mean())

    def told(self, images: dict[str, Tensor]) -> dict[str, dict[str, float]]:
        """The measures of each class of `images`."""
        recalls = learned(images, self.many.real, self.steps, self.seed)
        rows = {}
        for label, (name, some) in enumerate(images.items()):
            real, drawn = self.many.real[name], self.many.drawn[name]
            away = nearest_images(some, drawn)[1].median() / nearest_images(real, drawn)[1].median()
            rows[name] = {
                "spread": spread(some) / spread(real),
                "coverage": coverage(self.judge.features(real), self.judge.features(some)),
                "confusion": self.seen_as_others(label, some),
                "nearness": float(away),
                "learned": recalls[label],
            }
        return rows


def one_fit(judged: Judged, recipe: Recipe, picture: Path | None) -> dict:
    many, names = judged.many, tuple(judged.many.drawn)
    images, labels = stacked(many.drawn)
    prints = tuple(fingerprint(image.permute(1, 2, 0).numpy()) for image in images)
    began, spent = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # events are in the bank
        data = LabelledImages(images, labels, names, tuple(range(len(names))), prints)
        bank = fit(data, recipe=recipe, seed=judged.seed, progress=False)
    minutes, wall = (time.process_time() - spent) / 60, (time.perf_counter() - began) / 60
    samples = {name: bank.sample(name, SAMPLES, seed=1) for name in names}
    classes = {}
    for label, (name, row) in enumerate(judged.told(samples).items()):
        drawn, error = judged.of_drawn[name], judged.seen_as_others(label, many.real[name])
        classes[name] = {"images": len(many.drawn[name]), **row, "judge_error": error, "of_drawn": drawn}
        classes[name]["collapsed"] = (
            row["spread"] < LEAST_SPREAD or row["coverage"] < LEAST_COVERAGE * drawn["coverage"]
        )
        classes[name]["confused"] = row["confusion"] > error + MOST_CONFUSION
    if picture:
        panels = [("synthetic", samples), ("drawn", many.drawn), ("real, not drawn", many.real)]
        save_picture(draw_grid(panels), picture.with_stem(f"{picture.stem}-{judged.seed}"))
    return {
        "seed": judged.seed,
        "minutes": minutes,
        "wall_minutes": wall,
        "best_kimg": bank.manifest.kimg,
        "events": [event.model_dump() for event in bank.manifest.events],
        "groups": {group: together(rows) for group, rows in grouped(classes).items()},
        "classes": classes,
    }


def grouped(classes: dict[str, dict]) -> dict[str, list[dict]]:
    """By size, and by size within each given set: one may be harder than another, and have no common classes."""
    sets = list(dict.fromkeys(name.partition(" ")[0] for name in classes))
    groups: dict[str, list[dict]] = {
        f"{prefix}{size}": [] for prefix in ("", *(f"{of} " for of in sets)) for size in ("rare", "middle", "common")
    }
    for name, row in classes.items():
        size = "rare" if row["images"] <= RARE else "common" if row["images"] >= COMMON else "middle"
        groups[size].append(row)
        groups[f"{name.partition(' ')[0]} {size}"].append(row)
    return {group: rows for group, rows in groups.items() if rows}


def together(rows: list[dict]) -> dict:
    """Means over classes, the least and the most, and the numbers of classes."""
    mean = lambda key: sum(row[key] for row in rows) / len(rows)  # noqa: E731
    drawn = {key: sum(row["of_drawn"][key] for row in rows) / len(rows) for key in rows[0]["of_drawn"]}
    return {
        "classes": len(rows),
        **{key: mean(key) for key in ("spread", "coverage", "confusion", "judge_error", "nearness", "learned")},
        "least_spread": min(row["spread"] for row in rows),
        "least_coverage": min(row["coverage"] for row in rows),
        "most_confusion": max(row["confusion"] for row in rows),
        "collapsed": sum(row["collapsed"] for row in rows),
        "confused": sum(row["confused"] for row in rows),
        "of_drawn": drawn,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=lambda text: [Path(part) for part in text.split(",")], required=True)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--copies", type=lambda text: text.split(","), default=["plain", "inverted"])
    parser.add_argument("--colour", choices=("grey", "rgb"), default="grey")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--kimg", type=float, default=30.0)
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--recipe", default="classify-32")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=400, help="of every classifier")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="a grid of each seed, its number in the name")
    parser.add_argument("--out", type=Path, required=True, help="JSON of all figures; written after each fit")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings = {key: yaml.safe_load(value) for key, _, value in (pair.partition("=") for pair in given.settings)}
    settings = {"kimg": given.kimg, "data.colour": given.colour, "resolution": given.resolution} | settings
    recipe = load_recipe(given.recipe).replace(settings)
    result = {
        "command": "python benchmarks/many_classes.py "
        + " ".join(",".join(Path(part).name for part in a.split(",")) if "/" in a else a for a in sys.argv[1:]),
        "rule": f"collapsed: spread < {LEAST_SPREAD} or coverage < {LEAST_COVERAGE} of the drawn images'; confused: "
        f"confusion > judge_error + {MOST_CONFUSION}; of {SAMPLES} samples a class",
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "recipe": recipe.model_dump(mode="json"),
        "seeds": [],
    }
    for seed in given.seeds:
        result["seeds"].append(one_fit(Judged(given, seed), recipe, given.picture))
        for group, row in result["seeds"][-1]["groups"].items():
            print(f"seed {seed}, {group}:", json.dumps(row), flush=True)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        rounded = json.loads(json.dumps(result), parse_float=lambda text: round(float(text), 4))
        given.out.write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
