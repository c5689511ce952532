"""Few images of some classes, many of others: do synthetic images of the rare ones raise their recall?

    python benchmarks/long_tail.py --data DIR --counts 200,200,200,200,200,10,10,10,10,10 --draws 0,1,2 --out FILE

Draws that many images of each class from `DIR/train`, fits banks on them, and brings every class up to the largest in
four ways: not at all, with copies of its own real images (oversampling, what anyone can do without a generator), with
synthetic images (`GanAugmented(..., balance=True)` adds the same), with variations of its real images (how images vary
is learned on all classes; `mode="variation"`). Each of the four has the classical augmentation that does best for it,
by balanced accuracy on training images that were not drawn; the answer is of `DIR/test`. A class is rare with at most
a quarter of the images of the largest. Equal steps in all arms; differences are paired by draw and seed, intervals
clustered by draw.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from ganaug import __version__, load_recipe
from ganaug.classifier import per_class_accuracy, predict, train_classifier
from ganaug.data import LabelledImages, read_images
from ganaug.evidence.statistics import clustered_interval
from ganaug.fitting import fit


def drawn(data: LabelledImages, counts: list[int], seed: int) -> tuple[LabelledImages, LabelledImages]:
    """`counts` random images of each class, and up to 200 others of each."""
    random = torch.Generator().manual_seed(seed)
    chosen, rest = [], []
    for label, count in enumerate(counts):
        members = (data.labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=random)].tolist()
        if len(members) <= count:
            raise SystemExit(
                f"class {data.class_names[label]} has {len(members)} images; {count} and some others needed"
            )
        chosen += members[:count]
        rest += members[count : count + 200]
    return data.subset(chosen), data.subset(rest)


ARMS = ("real", "oversampled", "synthetic", "varied")


def repeated(real: LabelledImages, label: int, count: int) -> torch.Tensor:
    """`count` images of a class, each of its own as often as any other."""
    own = real.images[real.labels == label]
    return own[torch.arange(count) % len(own)]


def levelled(real: LabelledImages, more: Callable[[int, int], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Every class brought up to the largest, with `more(label, count)` images."""
    counts = real.counts()
    images, labels = [real.images], [real.labels]
    for label, count in enumerate(counts):
        missing = max(counts) - count
        if missing:
            images.append(more(label, missing))
            labels.append(torch.full((missing,), label))
    return torch.cat(images), torch.cat(labels)


def one_draw(given: argparse.Namespace, draw: int) -> dict:
    recipe = load_recipe(given.recipe).replace({"kimg": given.kimg, "data.horizontal_flip": given.flip})
    everything = read_images(
        given.data / "train", resolution=recipe.resolution, fit=recipe.data.fit, colour=given.colour
    )
    test = read_images(given.data / "test", resolution=recipe.resolution, fit=recipe.data.fit, colour=given.colour)
    real, undrawn = drawn(everything, given.counts, draw)
    classes = len(real.class_names)
    training = {"classes": classes, "steps": given.steps}

    def arms(seed: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        return {
            "real": (real.images, real.labels),
            "oversampled": levelled(real, lambda label, count: repeated(real, label, count)),
            "synthetic": levelled(real, lambda label, count: bank.sample(real.class_names[label], count, seed=seed)),
            "varied": levelled(real, lambda label, count: varying.vary(repeated(real, label, count), seed=seed)),
        }

    bank = fit(real, recipe=recipe, seed=draw, progress=False)
    vary = load_recipe(given.vary).replace({"kimg": given.vary_kimg, "data.horizontal_flip": given.flip})
    varying = fit(real, recipe=vary, seed=draw, progress=False)
    candidates: dict[str, dict[str, float]] = {}
    for arm, (images, labels) in arms(1000).items():
        for augment in given.augments:
            network = train_classifier(images, labels, augment=augment, seed=1000 + draw, **training)
            shares = per_class_accuracy(predict(network, undrawn.images), undrawn.labels, classes=classes)
            candidates.setdefault(arm, {})[augment] = sum(shares) / classes
    augments = {arm: max(found, key=found.__getitem__) for arm, found in candidates.items()}
    right: dict[str, list] = {arm: [] for arm in augments}
    for seed in range(given.seeds):
        for arm, (images, labels) in arms(seed).items():
            network = train_classifier(images, labels, augment=augments[arm], seed=100 * draw + seed, **training)
            right[arm].append((predict(network, test.images) == test.labels).tolist())
    return {
        "draw": draw,
        "augments": augments,
        "candidates": candidates,
        "right": right,
        "labels": test.labels.tolist(),
    }


def summed_up(rows: list[dict], counts: list[int]) -> dict:
    """Mean recalls over draws and seeds, and paired differences in points with their intervals."""
    rare = [label for label, count in enumerate(counts) if count <= max(counts) / 4]
    groups = {"rare": rare, "common": [label for label in range(len(counts)) if label not in rare]}
    found: dict[str, dict] = {}
    for group, members in groups.items():
        recall = {arm: [recalls(row, arm, members) for row in rows] for arm in ARMS}
        found[group] = {arm: float(torch.cat(values).mean()) for arm, values in recall.items()}
        for arm, rival in itertools.product(("synthetic", "varied"), ("real", "oversampled")):
            changes = [(a - b).numpy() for a, b in zip(recall[arm], recall[rival], strict=True)]
            mean, low, high = clustered_interval(changes)[:3]
            found[group][f"{arm} - {rival}"] = [100 * mean, 100 * low, 100 * high]
    return found


def recalls(row: dict, arm: str, members: list[int]) -> torch.Tensor:
    """(seeds, images of those classes) 1 where told right; each class weighs the same."""
    labels = torch.tensor(row["labels"])
    told = torch.tensor(row["right"][arm], dtype=torch.float64)
    counts = torch.bincount(labels).double()
    shown = torch.isin(labels, torch.tensor(members))
    weights = 1 / counts[labels[shown]]
    return told[:, shown] * (weights / weights.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--counts", type=lambda text: [int(part) for part in text.split(",")], required=True)
    parser.add_argument("--draws", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--kimg", type=float, default=80)
    parser.add_argument("--recipe", default="classify-32")
    parser.add_argument("--vary", default="vary-32", help="the recipe of variations, fitted for --vary-kimg")
    parser.add_argument("--vary-kimg", type=float, default=6)
    parser.add_argument("--colour", default="auto", choices=("auto", "grey", "rgb"))
    parser.add_argument("--flip", action="store_true", help="a mirrored image keeps its class")
    parser.add_argument(
        "--augments",
        type=lambda text: text.split(","),
        default=["crop", "trivial", "trivial+cutmix", "elastic+trivial"],
    )
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = []
    for draw in given.draws:
        rows.append(one_draw(given, draw))
        print(draw, rows[-1]["augments"], json.dumps(summed_up([rows[-1]], given.counts)), flush=True)
    result = {
        "command": "python benchmarks/long_tail.py "
        + " ".join(a if "/" not in a else Path(a).name for a in sys.argv[1:]),
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "summary": summed_up(rows, given.counts),
        "draws": [
            {key: row[key] for key in ("draw", "augments", "candidates")} | {"summary": summed_up([row], given.counts)}
            for row in rows
        ],
    }
    print(json.dumps(result["summary"]))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
