"""The demo: all of it on the real handwritten digits that scikit-learn ships, in a few minutes on two cores."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader

from ganaug.bank import GeneratorBank
from ganaug.data import open_folder, read_images
from ganaug.dataset import GanAugmented
from ganaug.errors import OutputError
from ganaug.evidence.comparison import Comparison, compare
from ganaug.evidence.report import report
from ganaug.evidence.synthetic_only import synthetic_only_accuracy
from ganaug.exporting import export
from ganaug.fitting import fit
from ganaug.output import check_folder, make_folder, write_text
from ganaug.pictures import save_picture
from ganaug.recipe import load_recipe
from ganaug.run_folder import keep_result
from ganaug.workflow import preview

__all__ = ["demo"]

TRAINING = 20  # images a class that are trained on; the other digits are for the answer
MINUTES = 1.2  # of fitting
STEPS = 170  # of each classifier
ARMS = {"augments": ["crop", "trivial"], "ratios": [0.5, 1.0], "schedules": ["constant"], "screened": [False]}
"""Fewer than a comparison tries by default, so that all is done in three minutes."""


def demo(out: str | Path = "ganaug-demo", *, exist_ok: bool = False, say: Callable[[str], None] = print) -> Path:
    """Fit, look, compare, wrap and export on scikit-learn's digits; returns the folder, whose README.md tells it all.

    The digits are 1,797 real scans of 8x8 pixels from 43 people (UCI, Alpaydin & Kaynak 1998). 20 a class are trained
    on and all others decide.
    """
    began = time.perf_counter()
    check_folder(Path(out), exist_ok=exist_ok)
    folder = make_folder(Path(out))
    say("1/5 writing real handwritten digits, 20 of each, as a user would have them")
    train, test = write_digits(folder / "digits")
    recipe = load_recipe("classify-16").replace({"minutes": MINUTES})
    say(f"2/5 training a generator on them for about {MINUTES} minutes")
    bank = fit(train, recipe=recipe, run_dir=folder / "digits.run")
    say("3/5 drawing what it makes")
    save_picture(preview(bank, data=train), folder / "preview.png")
    say("4/5 asking on held-back digits whether it helps a classifier")
    comparison = compare(train, bank, test=test, settings=ARMS, seeds=2, steps=STEPS, report=say, progress=True)
    bank = comparison.apply_to(bank)
    bank.save(folder / "digits.ganaug")
    keep_result(folder / "digits.ganaug", "comparison.json", comparison.to_dict())
    held = read_images(test, resolution=recipe.resolution, colour="grey")
    alone, _ = synthetic_only_accuracy(bank, held, steps=300, seed=0)
    say("5/5 wrapping the dataset and exporting the mixed set")
    batch = next(iter(DataLoader(GanAugmented(open_folder(train), bank, ratio=0.5), batch_size=8, collate_fn=list)))
    export(bank, train, folder / "mixed", ratio=0.5, exist_ok=exist_ok)
    write_text(folder / "comparison.json", json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False))
    write_text(folder / "README.md", _report(bank, comparison, alone, len(batch), time.perf_counter() - began))
    say(comparison.summary)
    page = report(folder / "digits.ganaug", data=train)
    say(f"open {folder / 'README.md'}, {folder / 'preview.png'} and {page}")
    return folder


def write_digits(folder: Path) -> tuple[Path, Path]:
    """Class folders of PNG files: `folder/train` with 20 of each digit, `folder/test` with all others."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    seen: dict[int, int] = {}
    try:
        for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
            number = seen[int(label)] = seen.get(int(label), 0) + 1
            goal = folder / ("train" if number <= TRAINING else "test") / str(label)
            goal.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 255 / 16).round().astype(np.uint8)).save(goal / f"{index:04d}.png")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to ({error.strerror}); choose another --out") from error
    return folder / "train", folder / "test"


def _report(bank: GeneratorBank, comparison: Comparison, alone: float, batch: int, seconds: float) -> str:
    rows = "\n".join(f"| {' | '.join(cells)} |" for cells in comparison.rows())
    return f"""# What ganaug did here

It took {TRAINING} handwritten digits of each class (`digits/train`), trained a conditional GAN on them
({bank.manifest.kimg:.0f} thousand images shown), and asked on {comparison.scored} digits that nothing had seen
(`digits/test`) whether its samples help a classifier. All of it took {seconds:.0f} seconds.

![synthetic digits, the nearest training image to each, and real ones](preview.png)

**Answer.** {comparison.summary}

| arm | accuracy | difference | 95 % interval |
|---|---|---|---|
{rows}

Trained on synthetic digits alone, the same classifier reaches {alone:.1%}. The class condition holds to that degree.

## What is where

| file | what it is |
|---|---|
| `digits/` | the real images, as class folders |
| `digits.ganaug` | the bank: the generator, what it was made from, and the verdict |
| `digits.run/` | sample grids over the fit, log, curves, the resolved recipe, checkpoints |
| `preview.png` | synthetic beside nearest training images: is it only copying? |
| `mixed/` | real and synthetic images together; `ganaug.csv` says which is which |
| `comparison.json` | every figure of the comparison |
| `digits.run/report.html` | all of it on one page |

## The same with your images

    ganaug fit --data DIR --classes cat,dog --out pets.ganaug
    ganaug preview pets.ganaug --data DIR
    ganaug compare pets.ganaug --data DIR

    train = ganaug.GanAugmented(dataset, "pets.ganaug")      # ratio="auto": what the verdict says

A batch of the wrapped digits held {batch} items of the form that the dataset's own items have.
"""
