"""What a shift along a direction does to a bank's samples, in the measures of `ganaug explore`.

    python benchmarks/exploring.py BANK --pairs 1:across,0:brightness --out NAME.json

For each pair of a direction and a measure: mean and deviation within classes over the samples as fitted, moved by 1.5
deviations either way, and with the direction held at its middle.
"""

import argparse
import json
from pathlib import Path

import torch

import ganaug
from ganaug.measures import ATTRIBUTES


def told(bank, measure, count):
    by_class = [ATTRIBUTES[measure](bank.sample(name, count)) for name in bank.class_names]
    within = torch.stack([values.std() for values in by_class]).mean()
    return {"mean": round(float(torch.cat(by_class).mean()), 4), "within": round(float(within), 4)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bank", type=Path)
    parser.add_argument("--pairs", default="1:across,0:brightness")
    parser.add_argument("--count", type=int, default=32, help="samples of each class")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    bank, found = ganaug.load(args.bank), {}
    for pair in args.pairs.split(","):
        number, measure = pair.split(":")
        settings = {
            "as fitted": None,
            "shift -1.5": {"shift": {number: -1.5}},
            "shift +1.5": {"shift": {number: 1.5}},
            "excluded": {"exclude": [int(number)]},
        }
        found[f"direction {number}, {measure}"] = {
            name: told(bank.with_latent(setting), measure, args.count) for name, setting in settings.items()
        }
    fit = {"kimg": bank.manifest.kimg, "images": len(bank.manifest.train_fingerprints), "resolution": bank.resolution}
    result = {"fit": fit, "count": args.count, "moved": found}
    args.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
