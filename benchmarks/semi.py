"""Few labelled images beside many unlabelled ones, or many of related classes: is a GAN the way to use these?

    python benchmarks/semi.py --data DIR --base DIR2 --per-class 100 --kimg 10 --out results/NAME.json

Draws `--per-class` labelled images of each class from `DIR/train`; up to `--unlabelled` others of each are the
unlabelled ones, and up to `--held` more are what is scored on (`DIR/test` with `--test`, once, for final figures). The
same classifier, augmentation and number of optimiser steps in every arm; accuracy in all and on the held images alone:

- `labelled`: the labelled images alone, once with each of `--augments`; the best of these goes with all other arms;
- `closed`: as many samples beside them, of a bank fitted on the labelled images alone;
- `unlabelled`: the same, of a bank that had the unlabelled images too (`ganaug fit --unlabelled`);
- `base`: the same, of a bank that started from one of `DIR2`'s classes (`ganaug fit --base`), with its networks kept;
- `base-generator`: the same, started from its generator alone;
- `pseudo`: the rival without a GAN: the unlabelled images that joined a class, by the same judges, as training images
  (after `unlabelled`, whose judges these are);
- `transfer`: the rival without a GAN: a classifier trained on `DIR2`'s classes first, and trained on.

Of every bank also, in the features of a network trained on the held images: `kernel_distance`, `coverage`, and the
minutes of one core that its fit took, judges included. `--short` adds fits of a part of the budget for `closed` and
`base`. A finished row is kept in `--out` and not measured again.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import torch
from quality import by_label
from torch import Tensor, nn

from ganaug import __version__, load, load_recipe, measures
from ganaug.bank import GeneratorBank
from ganaug.classifier import accuracy, build_classifier, train_classifier
from ganaug.data import LabelledImages, read_images
from ganaug.fitting import fit
from ganaug.pictures import save_picture
from ganaug.recipe import Recipe
from ganaug.run_folder import RunFolder
from ganaug.workflow import preview

ARMS = ("labelled", "closed", "unlabelled", "base", "base-generator", "pseudo", "transfer")


class Setting:
    """One draw: labelled, unlabelled and held images, and the classifier that every arm trains."""

    def __init__(self, given: argparse.Namespace, seed: int) -> None:
        self.given, self.seed = given, seed
        everything = read_images(given.data / "train", resolution=given.resolution)
        random = torch.Generator().manual_seed(seed)
        parts: list[list[int]] = [[], [], []]
        for label in range(len(everything.class_names)):
            members = (everything.labels == label).nonzero().flatten()
            members = members[torch.randperm(len(members), generator=random)].tolist()
            for part, count in zip(parts, (given.per_class, given.held, given.unlabelled), strict=True):
                part += members[:count]
                members = members[count:]
        self.labelled, self.held, self.others = (everything.subset(part) for part in parts)
        if given.test:
            self.held = read_images(given.data / "test", resolution=given.resolution)
        self.classes = len(everything.class_names)
        self.judge = measures.train_features(self.held.images, self.held.labels, seed=seed)

    def recipe(self, kimg: float) -> Recipe:
        """The default recipe for so many thousand images shown."""
        changes = {"kimg": kimg, "data.horizontal_flip": self.given.flip, "snapshots.count": 4}
        return load_recipe(f"classify-{self.given.resolution}").replace(changes)

    def learned(self, images: Tensor, labels: Tensor, augment: str, build: Any = None) -> float:
        """Accuracy on the held images of a classifier trained on these, NCHW uint8."""
        network = train_classifier(
            images, labels, classes=self.classes, steps=self.given.steps, seed=self.seed, augment=augment, build=build
        )
        return accuracy(network, self.held.images, self.held.labels, classes=self.classes)[0]

    def of_bank(self, bank: GeneratorBank, augment: str) -> dict[str, Any]:
        """What as many samples as labelled images do beside them, and how near samples are to held images."""
        counts, held = self.labelled.counts(), by_label(self.held)
        names = self.labelled.class_names
        samples = {
            label: bank.sample(name, max(200, counts[label]), seed=self.seed) for label, name in enumerate(names)
        }
        images = torch.cat([self.labelled.images, *(samples[label][: counts[label]] for label in samples)])
        labels = torch.cat([self.labelled.labels, torch.arange(self.classes).repeat_interleave(torch.tensor(counts))])
        seen = [(self.judge.features(held[k]), self.judge.features(some[:200])) for k, some in samples.items()]
        return {
            "accuracy": self.learned(images, labels, augment),
            "kernel_distance": sum(measures.kernel_distance(a, b) for a, b in seen) / len(seen),
            "coverage": sum(measures.coverage(a, b) for a, b in seen) / len(seen),
        }


def fitted(setting: Setting, kimg: float, name: str, **beside: Any) -> tuple[GeneratorBank, float]:
    """A bank, and the minutes of one core that its fit took."""
    began = time.process_time()
    bank = fit(setting.labelled, recipe=setting.recipe(kimg), seed=setting.seed, progress=False, **beside)
    minutes = (time.process_time() - began) / 60
    if setting.given.pictures:
        picture = setting.given.pictures / f"{name}-{kimg:g}-{setting.seed}.png"
        save_picture(preview(bank, data=setting.labelled), picture)
    return bank, minutes


def alone(base: GeneratorBank) -> GeneratorBank:
    """The same bank without the networks that its generator was trained with."""
    return GeneratorBank(base.manifest, [copy.deepcopy(generator) for generator in base.generators])


def pretrained(setting: Setting, images: LabelledImages, augment: str) -> Any:
    """What builds a classifier that has learned the related classes, but for its last layer."""
    steps, classes = setting.given.pretraining, len(images.class_names)
    network = train_classifier(
        images.images, images.labels, classes=classes, steps=steps, seed=setting.seed, augment=augment
    )

    def build() -> nn.Module:
        new = build_classifier(
            resolution=images.images.shape[-1], channels=images.images.shape[1], classes=setting.classes
        )
        last = f"{len(list(new.children())) - 1}."
        known = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(last)}
        new.load_state_dict(known, strict=False)
        return new

    return build


def measured(setting: Setting, arm: str, kimg: float, augment: str, base: GeneratorBank | None) -> dict[str, Any]:
    given, labelled = setting.given, setting.labelled
    if arm == "transfer":
        related = read_images(given.base / "train", resolution=given.resolution)
        build = pretrained(setting, related, augment)
        return {"accuracy": setting.learned(labelled.images, labelled.labels, augment, build)}
    if arm == "pseudo":
        guessed = torch.tensor(RunFolder(run_folder(setting)).guesses())
        joined = (guessed >= 0) & (guessed < setting.classes)
        right = float((guessed == setting.others.labels)[joined].double().mean()) if joined.any() else None
        images = torch.cat([labelled.images, setting.others.images[joined]])
        labels = torch.cat([labelled.labels, guessed[joined]])
        told = {"joined": int(joined.sum()), "of": len(guessed), "right": right}
        return {"accuracy": setting.learned(images, labels, augment), **told}
    beside: dict[str, Any] = {}
    if arm == "unlabelled":
        beside = {"unlabelled": setting.others, "run_dir": run_folder(setting)}
    elif arm.startswith("base"):
        assert base is not None
        beside = {"base": base if arm == "base" else alone(base)}
    bank, minutes = fitted(setting, kimg, arm, **beside)
    return {
        "minutes": minutes, "joined": bank.manifest.joined, "best_kimg": bank.manifest.kimg,
        **setting.of_bank(bank, augment),
    }  # fmt: skip


def run_folder(setting: Setting) -> Path:
    """Where the fit with unlabelled images keeps what judges made of them, which the rival takes over."""
    return setting.given.out.with_name(f"{setting.given.out.stem}-{setting.seed}.run")


def base_bank(given: argparse.Namespace, setting: Setting) -> GeneratorBank:
    """The bank of the related classes: of its file, or fitted and kept there."""
    if not given.base_bank.exists():
        data = read_images(given.base / "train", resolution=given.resolution)
        recipe = setting.recipe(given.base_kimg).replace({"networks.keep": True})
        fit(data, recipe=recipe, seed=0, progress=False).save(given.base_bank)
    return load(given.base_bank)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="images of related classes")
    parser.add_argument("--base-bank", type=Path, default=Path("base.ganaug"), help="where their bank is kept")
    parser.add_argument("--base-kimg", type=float, default=40.0)
    parser.add_argument("--arms", type=names, default=list(ARMS))
    parser.add_argument("--augments", type=names, default=["flip+crop", "flip+crop+trivial"])
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--unlabelled", type=int, default=1000, help="of each class")
    parser.add_argument("--held", type=int, default=500, help="of each class")
    parser.add_argument("--kimg", type=float, default=10.0)
    parser.add_argument("--short", type=float, nargs="*", default=[], help="other budgets for closed and base")
    parser.add_argument("--steps", type=int, default=200, help="of every classifier")
    parser.add_argument("--pretraining", type=int, default=400, help="steps on the related classes")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--flip", action="store_true", help="mirrored images keep their class")
    parser.add_argument("--test", action="store_true", help="score on DIR/test: for final figures alone")
    parser.add_argument("--pictures", type=Path, help="a folder for previews")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = json.loads(given.out.read_text())["rows"] if given.out.exists() else []
    for seed in given.seeds:
        setting = Setting(given, seed)
        base = None
        for augment in given.augments if "labelled" in given.arms else []:
            key = {"seed": seed, "arm": "labelled", "augment": augment}
            if not found(rows, key):
                accurate = setting.learned(setting.labelled.images, setting.labelled.labels, augment)
                keep(given, rows, key | {"accuracy": accurate})
        best = max(
            (row for row in rows if row["seed"] == seed and row["arm"] == "labelled"), key=lambda r: r["accuracy"]
        )
        for arm in [arm for arm in given.arms if arm != "labelled"]:
            for kimg in [given.kimg, *(given.short if arm in ("closed", "base", "base-generator") else [])]:
                key = {"seed": seed, "arm": arm, "augment": best["augment"], "kimg": kimg}
                if not found(rows, key):
                    if arm.startswith("base"):
                        base = base or base_bank(given, setting)
                    keep(given, rows, key | measured(setting, arm, kimg, best["augment"], base))


def found(rows: list[dict[str, Any]], key: dict[str, Any]) -> bool:
    return any(all(row.get(name) == value for name, value in key.items()) for row in rows)


def keep(given: argparse.Namespace, rows: list[dict[str, Any]], row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)
    rows.append(row)
    result = {
        "command": "python benchmarks/semi.py " + " ".join(Path(a).name if "/" in a else a for a in sys.argv[1:]),
        "scored_on": "test" if given.test else "training images that were not drawn",
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "rows": rows,
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
