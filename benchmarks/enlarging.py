"""Does an enlarger make samples of 32 px better images of 64 px than plain enlargement does?

    python benchmarks/enlarging.py --data DIR --per-class 50 --kimg 20 --enlarger-kimg 16 --out NAME.json

With `--large 128` all of it is of samples of 64 px and recipes `classify-64` and `enlarge-128`.

Draws `--per-class` images of each class, of 64 px or more, from `DIR/train` (or DIR); with `--boxes` DIR is a set with
boxes, whose objects are cut out as squares. `classify-32` is fitted on them at 32 px and `enlarge-64` at 64 px. The
reference classifier is then trained at 64 px on as many samples of each class, enlarged by Pillow's bicubic filter; on
the same samples enlarged by the enlarger, for equal steps; and on the drawn images. All are scored on up to `--held`
images a class of the training part that were not drawn; nothing here reads the test part. Sharpness is the mean
gradient of samples by that of the drawn images, class by class; detail, likewise, is the root mean square of what is
lost when an image is shrunk to half its size and enlarged plainly.

With `--bank` that bank is used: those images are drawn that it was fitted on. With `--shrunk` there is no bank: the
drawn images, shrunk to 32 px, stand for its samples, as those of a bank would be that makes no mistakes.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from quality import few_of_each

import ganaug
from ganaug import __version__, load_recipe
from ganaug.bank import GeneratorBank
from ganaug.classifier import accuracy, train_classifier
from ganaug.data import LabelledImages, read_images
from ganaug.data.box_files import list_boxes
from ganaug.fitting import fit
from ganaug.gan.shrinking import detail, plainly_enlarged
from ganaug.measures import sharpness
from ganaug.pictures import draw_grid, save_picture

MARGIN = 1.1  # side of a square that an object is cut out as, by the longer side of its box


class Crops(torch.utils.data.Dataset):
    """Objects of a set with boxes, as square images with their classes; those below `least` px are left out."""

    def __init__(self, folder: Path, least: int) -> None:
        files = list_boxes(folder, on_bad="skip")
        self.classes = list(files.classes)
        self.items = []
        for index, objects in enumerate(files.objects):
            for box, label in zip(objects.boxes, objects.labels, strict=True):
                side = MARGIN * max(box[2] - box[0], box[3] - box[1])
                if side >= least:
                    self.items.append((index, (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, side, int(label)))
        self.files = files
        self.targets = [item[-1] for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        index, across, down, side, label = self.items[place]
        image = self.files[index][0].convert("RGB")
        side = min(side, *image.size)
        left = min(max(0, across - side / 2), image.width - side)
        top = min(max(0, down - side / 2), image.height - side)
        return image.crop((round(left), round(top), round(left + side), round(top + side))), label


def drawn(given: argparse.Namespace, bank: GeneratorBank | None) -> list[LabelledImages]:
    """Drawn and other images at half the size, and the same as large as they are enlarged to."""
    folder = given.data / "train" if (given.data / "train").is_dir() and not given.boxes else given.data
    source = Crops(folder, given.large) if given.boxes else folder
    both = [read_images(source, resolution=side, on_bad="skip") for side in (given.large // 2, given.large)]
    if bank is None:
        return [part for data in both for part in few_of_each(data, given.per_class, given.held, given.draw)]
    known = set(bank.manifest.train_fingerprints)
    rows = [row for row, print_ in enumerate(both[0].fingerprints) if print_ in known]
    rest = few_of_each(both[1].subset([row for row in range(len(both[1])) if row not in set(rows)]), given.held, 0, 0)[
        0
    ]
    return [both[0].subset(rows), rest, both[1].subset(rows), rest]


def plainly(images: torch.Tensor) -> torch.Tensor:
    return plainly_enlarged(images.float()).round().clamp(0, 255).to(torch.uint8)


def of_real(measure, images: torch.Tensor, labels: torch.Tensor, real: LabelledImages) -> float:
    """Mean over the classes of a measure of images by that of real ones."""
    found = [
        measure(images[labels == label]) / measure(real.images[real.labels == label])
        for label in range(len(real.class_names))
    ]
    return sum(found) / len(found)


def detail_size(images: torch.Tensor) -> float:
    return float(detail(images.float()).square().mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--boxes", action="store_true", help="cut out the objects of a set with boxes")
    parser.add_argument("--large", type=int, choices=[64, 128], default=64, help="px that are enlarged to")
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--held", type=int, default=100)
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--bank", type=Path, help="a bank of half that size, fitted on some of these images")
    parser.add_argument("--shrunk", action="store_true", help="the drawn images, shrunk, in the place of samples")
    parser.add_argument("--enlarger", type=Path, help="a bank that enlarges, fitted on the same images")
    parser.add_argument("--kimg", type=float, default=20, help="of the bank")
    parser.add_argument("--enlarger-kimg", type=float, default=16)
    parser.add_argument("--keep", type=Path, help="where the banks are written, as KEEP-SIDE.ganaug")
    parser.add_argument("--samples", type=int, default=100, help="of each class")
    parser.add_argument("--steps", type=int, default=150, help="of each classifier")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1])
    parser.add_argument("--arms", type=lambda text: text.split(","), default=["plain", "enlarged", "real"])
    parser.add_argument("--augment", default="trivial")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    bank = ganaug.load(given.bank) if given.bank else None
    small, _, real, held = drawn(given, bank)
    minutes = {}
    if bank is None and not given.shrunk:
        began = time.process_time()
        bank = fit(
            small, recipe=load_recipe(f"classify-{given.large // 2}").replace({"kimg": given.kimg}), progress=False
        )
        minutes["bank"] = round((time.process_time() - began) / 60, 1)
    if given.enlarger:
        enlarger = ganaug.load(given.enlarger)
        assert set(enlarger.manifest.train_fingerprints) <= set(real.fingerprints), "fitted on the drawn images"
    else:
        began = time.process_time()
        recipe = load_recipe(f"enlarge-{given.large}").replace({"kimg": given.enlarger_kimg})
        enlarger = fit(real, recipe=recipe, progress=False)
        minutes["enlarger"] = round((time.process_time() - began) / 60, 1)
    if given.keep and bank is not None:
        bank.save(Path(f"{given.keep}-{given.large // 2}.ganaug"))
    if given.keep:
        enlarger.save(Path(f"{given.keep}-{given.large}.ganaug"))
    names, classes = real.class_names, len(real.class_names)
    if bank is None:
        order = small.labels.argsort(stable=True)
        samples, labels = small.images[order], small.labels[order]
    else:
        samples = torch.cat([bank.sample(name, given.samples, seed=1) for name in names])
        labels = torch.arange(classes).repeat_interleave(given.samples)
    arms = {
        "plain": (plainly(samples), labels),
        "enlarged": (enlarger.enlarge(samples), labels),
        "real": (real.images, real.labels),
    }
    if given.picture:
        rows = names[:6]
        place = {name: int((labels < names.index(name)).sum()) for name in rows}
        panels = [
            ("small", {name: samples[place[name] : place[name] + 4] for name in rows}),
            ("plainly", {name: arms["plain"][0][place[name] : place[name] + 4] for name in rows}),
            ("by the enlarger", {name: arms["enlarged"][0][place[name] : place[name] + 4] for name in rows}),
            (f"real, {given.large} px", {name: real.images[real.labels == names.index(name)][:4] for name in rows}),
        ]
        save_picture(draw_grid(panels, columns=4, least=128), given.picture)
    result = {
        "command": "python benchmarks/enlarging.py "
        + " ".join(a if "/" not in a else Path(a).name for a in sys.argv[1:]),
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "set": given.data.name,
        "drawn": len(real),
        "held": len(held),
        "scored_on": "training images that were not drawn",
        "processor_minutes": minutes,
        "bank": None if bank is None else {"kimg": bank.recipe.kimg, "scores": bank.manifest.scores},
        "enlarger": {"kimg": enlarger.recipe.kimg, "scores": enlarger.manifest.scores},
        "sharpness": {name: of_real(sharpness, *arms[name], real) for name in ("plain", "enlarged")},
        "detail": {name: of_real(detail_size, *arms[name], real) for name in ("plain", "enlarged")},
        "accuracy": {name: [] for name in given.arms},
    }
    print(json.dumps(result, indent=1), flush=True)
    for seed in given.seeds:
        for name in given.arms:
            images, wanted = arms[name]
            network = train_classifier(
                images, wanted, classes=classes, steps=given.steps, batch=given.batch, seed=seed, augment=given.augment,
                half=False,
            )  # fmt: skip
            score = accuracy(network, held.images, held.labels, classes=classes)[0]
            result["accuracy"][name].append(round(score, 4))
            print(seed, name, f"{score:.1%}", flush=True)
        pairs = zip(result["accuracy"]["enlarged"], result["accuracy"]["plain"], strict=True)
        result["gain"] = round(statistics.mean(one - other for one, other in pairs), 4)
        if given.out:  # after each seed: a long benchmark that is stopped leaves what it has found
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["accuracy"]), result["gain"])


if __name__ == "__main__":
    main()
