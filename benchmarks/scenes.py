"""Ten thousand generated scenes of 640x480: how many a second, and does every box hold its object?

    python benchmarks/scenes.py --scenes 10000 --workers 2 --out benchmarks/results/scenes.json

Drawn grounds with three classes of drawn objects, and others of other colours pasted in. Looked at in every scene: no
box is outside its image, none is empty, each pasted one holds pixels of its object along all four sides, and the same
seed gives the same scene (one in a hundred is made twice). Seconds are those of composing alone. On a machine with
other work to do, scenes a CPU second tell more than scenes a second.

    python benchmarks/scenes.py --data DIR --bank FILE --picture benchmarks/results/scenes.png

Instead, a picture of six scenes of a set, with the boxes of the real objects thin and pale, and those of pasted ones,
the bank's and real ones alike, in a colour for each class.

    python benchmarks/scenes.py --data DIR --bank FILE --scenes 10000 --out benchmarks/results/scenes-NAME.json

Scenes of a set's own images, in this process. A pasted object is there where the image has changed along all four sides
of its box. Seconds are those of reading an image and composing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ganaug.bank import GeneratorBank
from ganaug.compositing import CutOut, Scene, SceneComposer, SceneStatistics
from ganaug.data.box_files import list_boxes
from ganaug.dataset import GanAugmented
from ganaug.pool import SamplePool
from ganaug.recipe import Scenes
from ganaug.tasks import get_task

HEIGHT, WIDTH = 480, 640
COLOURS = ((230, 30, 30), (30, 200, 30), (210, 200, 20))
SIDES = ((40, 70), (60, 140), (14, 30))  # of the objects of each class
REALS = 12
OUTLINES = ("#0050d0", "#d02000", "#007a20", "#b000b0", "#c07000", "#008080")


def disc(side: int, colour: tuple[int, int, int], label: int) -> CutOut:
    y, x = np.mgrid[:side, :side] + 0.5
    radius = np.hypot(y - side / 2, x - side / 2) / (side / 2 - 3)
    pixels = np.where((radius < 1)[:, :, None], np.uint8(colour), np.uint8((150, 150, 160)))
    return CutOut(pixels, np.asarray(np.clip((1 - radius) * side / 4 + 0.5, 0, 1) * 255, dtype=np.uint8), label)


def real_scene(seed: int) -> Scene:
    """Blue discs on a pale, uneven ground."""
    random = np.random.default_rng(seed)
    ground = (
        150 + 20 * np.sin(np.arange(WIDTH) / 90 + random.uniform(0, 6))[None] + random.normal(0, 3, (HEIGHT, WIDTH))
    )
    image = np.repeat(ground.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    boxes, labels = [], []
    for label, count in ((0, 10), (1, 1), (2, 2)):
        for _ in range(count):
            side = int(random.integers(*SIDES[label]))
            left, top = int(random.integers(WIDTH - side)), int(random.integers(HEIGHT - side))
            y, x = np.mgrid[:side, :side] + 0.5
            image[top : top + side, left : left + side][np.hypot(y - side / 2, x - side / 2) < side / 2] = (40, 40, 220)
            boxes.append((left, top, left + side, top + side))
            labels.append(label)
    return Scene(
        image, np.array(boxes, dtype=np.float32), np.array(labels, dtype=np.int64), None, np.zeros(len(boxes), bool)
    )


class Maker:
    """Composes scene i and checks it."""

    def __init__(self) -> None:
        self.reals = [real_scene(seed) for seed in range(REALS)]
        size = HEIGHT, WIDTH
        statistics = SceneStatistics.of(
            [real.boxes for real in self.reals], [real.labels for real in self.reals], [size] * REALS
        )
        self.composer = SceneComposer(statistics, Scenes())
        self.cutouts = [[disc(side, COLOURS[label], label) for side in range(40, 120, 8)] for label in range(3)]

    def made(self, index: int) -> Scene:
        """Scene `index`, which depends on that alone."""
        return self.composer.compose(
            self.reals[index % REALS],
            lambda label, random: self.cutouts[label][int(random.integers(10))],
            np.random.default_rng([0, index]),
        )

    def faults(self, scene: Scene) -> list[str]:
        """What is wrong with a scene."""
        boxes, found = scene.boxes, []
        if (boxes[:, :2] < 0).any() or (boxes[:, 2:] > (WIDTH, HEIGHT)).any():
            found.append("a box is outside its image")
        if (boxes[:, 2:] - boxes[:, :2] < 1).any():
            found.append("a box is empty")
        for box, label, origin in zip(boxes.astype(int), scene.labels, scene.origin, strict=True):
            if origin >= 0:
                continue
            part = scene.image[box[1] : box[3], box[0] : box[2]].astype(int)
            colour = np.argsort(COLOURS[label])
            there = part[:, :, colour[2]] - part[:, :, colour[0]] > 45  # a colour, where the ground has none
            sides = there[:5], there[-5:], there[:, :5], there[:, -5:]
            if not all(side.any() for side in sides):
                found.append("a box does not hold its object")
        return found


def work(span: tuple[int, int]) -> dict[str, object]:
    maker, seconds, spent, faults, pasted = Maker(), 0.0, 0.0, [], 0
    digest = hashlib.sha256()
    for index in range(*span):
        began, before = time.perf_counter(), time.process_time()
        scene = maker.made(index)
        seconds, spent = seconds + time.perf_counter() - began, spent + time.process_time() - before
        faults += maker.faults(scene)
        pasted += int((scene.origin < 0).sum())
        digest.update(scene.image.tobytes() + scene.boxes.tobytes())
        if index % 100 == 0 and not np.array_equal(maker.made(index).image, scene.image):
            faults.append("the same seed gave another scene")
    return {"seconds": seconds, "spent": spent, "faults": faults, "pasted": pasted, "digest": digest.hexdigest()[:16]}


def picture(data: str, bank: str, path: Path) -> None:
    files = list_boxes(data, on_bad="skip")
    mixed = GanAugmented(files, bank, ratio=1.0, pool_factor=1)
    sheet = Image.new("RGB", (3 * WIDTH, 2 * HEIGHT), "white")
    for place, index in enumerate(mixed.synthetic_indices()[:6].tolist()):
        image, target = mixed[index]
        draw = ImageDraw.Draw(image)
        real = {tuple(box) for box in files.target(target["image_id"])["boxes"].tolist()}
        for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            if tuple(box) in real:
                draw.rectangle(box, outline=(170, 170, 170), width=1)
                continue
            draw.rectangle(box, outline=OUTLINES[label % len(OUTLINES)], width=3)
            draw.text((box[0] + 5, box[1] + 3), files.classes[label], fill=OUTLINES[label % len(OUTLINES)])
        image = image.resize((WIDTH, HEIGHT))
        sheet.paste(image, (WIDTH * (place % 3), HEIGHT * (place // 3)))
    sheet.resize((3 * WIDTH // 2, HEIGHT)).quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def pasted_in(target: dict, real: dict) -> list[int]:
    """Rows of the boxes that the real image has not: its own come first, in order, as they were or smaller."""
    boxes, mine, row = target["boxes"].numpy(), real["boxes"].numpy(), 0
    for box, label in zip(mine, real["labels"].tolist(), strict=True):
        if row < len(boxes) and int(target["labels"][row]) == label:
            row += bool((boxes[row, :2] >= box[:2] - 0.01).all() and (boxes[row, 2:] <= box[2:] + 0.01).all())
    return list(range(row, len(boxes)))


def faults_in(item: tuple, real: tuple) -> tuple[list[str], int]:
    """What is wrong with a scene of a real image, and how many objects were pasted."""
    (image, target), found = item, []
    boxes, (width, height) = target["boxes"].numpy(), image.size
    if (boxes[:, :2] < 0).any() or (boxes[:, 2:] > (width, height)).any():
        found.append("a box is outside its image")
    if (boxes[:, 2:] - boxes[:, :2] < 1).any():
        found.append("a box is empty")
    changed = (np.asarray(image) != np.asarray(real[0])).reshape(height, width, -1).any(2)
    rows = pasted_in(target, real[1])
    for left, top, right, bottom in boxes[rows].astype(int):
        there = changed[top:bottom, left:right]
        if not all(side.any() for side in (there[:5], there[-5:], there[:, :5], there[:, -5:])):
            found.append("a box does not hold its object")
    return found, len(rows)


def of_a_set(data: str, bank_file: str, scenes: int) -> dict[str, object]:
    """Scenes of a set's own images, in turn, and what is wrong with them."""
    files, bank = list_boxes(data, on_bad="skip"), GeneratorBank.load(bank_file)
    view = get_task(bank.task).view(files, bank.recipe, bank.label_numbers)
    if bank.varies:
        view.vary_by(lambda objects, start: bank.vary_objects(objects, start=start))
    seconds, spent, faults, pasted, bare = 0.0, 0.0, [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        wanted = view.samples_for({0: min(scenes, 2000)}, bank.class_names, bank.label_numbers)
        pool = SamplePool.create(bank, wanted, seed=0, directory=folder) if wanted else None
        for number in range(scenes):
            index = number % len(files)
            began, before = time.perf_counter(), time.process_time()
            item = view.raw_scene(index, pool, np.random.default_rng([0, number]))
            seconds, spent = seconds + time.perf_counter() - began, spent + time.process_time() - before
            wrong, count = faults_in(item, files[index])
            faults, pasted, bare = faults + wrong, pasted + count, bare + (not count)
            again = view.raw_scene(index, pool, np.random.default_rng([0, number])) if number % 100 == 0 else item
            if again[0].tobytes() != item[0].tobytes() or not again[1]["boxes"].equal(item[1]["boxes"]):
                faults.append("the same seed gave another scene")
    return {
        "set": Path(data).name, "images": len(files), "bank_kimg": bank.manifest.kimg,
        "resolution": bank.resolution, "scenes": scenes, "scenes_per_second": round(scenes / seconds, 1),
        "scenes_per_cpu_second": round(scenes / spent, 1), "objects_pasted": pasted,
        "images_too_full_for_any": bare, "faults": {fault: faults.count(fault) for fault in sorted(set(faults))},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--bank")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    if args.picture is not None:
        picture(args.data, args.bank, args.picture)
        return
    if args.data is not None:
        words = [word if "/" not in word else Path(word).name for word in sys.argv[1:]]
        told = of_a_set(args.data, args.bank, args.scenes)
        text = json.dumps({"command": shlex.join(["python", "benchmarks/scenes.py", *words]), **told}, indent=2)
        print(text)
        if args.out is not None:
            args.out.write_text(text + "\n", encoding="utf-8")
        return
    ends = np.linspace(0, args.scenes, args.workers + 1).astype(int)
    with multiprocessing.get_context("spawn").Pool(args.workers) as workers:
        parts = workers.map(work, list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)))
    faults = [fault for part in parts for fault in part["faults"]]
    result = {
        "command": shlex.join(["python", *sys.argv]), "cores": os.cpu_count(), "scenes": args.scenes,
        "size": [WIDTH, HEIGHT], "workers": args.workers,
        "scenes_per_second": round(args.scenes / max(part["seconds"] for part in parts), 1),
        "scenes_per_cpu_second": round(args.scenes / sum(part["spent"] for part in parts), 1),
        "objects_pasted": sum(part["pasted"] for part in parts),
        "faults": {fault: faults.count(fault) for fault in sorted(set(faults))},
        "digests": [part["digest"] for part in parts],
    }  # fmt: skip
    text = json.dumps(result, indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
