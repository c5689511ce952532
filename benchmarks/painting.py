"""Do images that a bank paints of maps it never saw show these maps? Read by a segmenter of real pairs.

    python benchmarks/painting.py --data DIR --bank NAME.ganaug --out results/segment/NAME-painted.json

The pairs of `DIR/train` that the bank was not fitted on are parted: on the first two thirds the reference segmenter is
trained, the maps of the others are painted. The score is the Dice of all classes but the first, over all pixels, of the
maps and of what the segmenter sees: in their real images, in painted ones, and in the bank's own pairs with their maps.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
from torch import Tensor, nn

from ganaug import __version__, load
from ganaug.data.masks import MaskedImages
from ganaug.measures import class_dice, overlaps, sharpness
from ganaug.segmenter import predict_maps, train_segmenter
from ganaug.tasks import get_task


def dice(network: nn.Module, images: Tensor, maps: Tensor, classes: int) -> float:
    found = class_dice(overlaps(predict_maps(network, images), maps, range(len(maps)), classes=classes))[1:]
    known = [one for one in found if one is not None]
    return 100 * sum(known) / len(known)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--squares", type=int, default=60, help="whose maps are painted, at the most")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--augment", default="flip+turn+affine+elastic+colour")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    bank = load(given.bank)
    recipe = bank.recipe.replace({"data.colour": "grey" if bank.channels == 1 else "rgb"})
    every = get_task("segment").read(given.data / "train", recipe)
    assert isinstance(every, MaskedImages)
    fitted = set(bank.manifest.train_fingerprints)
    held = [index for index, one in enumerate(every.fingerprints) if one not in fitted]
    middle = 2 * len(held) // 3
    real, asked = every.subset(held[:middle]), every.subset(held[middle:])
    chosen = torch.arange(min(given.squares, len(asked))) * len(asked) // min(given.squares, len(asked))
    images, maps, classes = asked.images[chosen], asked.maps[chosen], len(asked.class_names)
    network = train_segmenter(
        real.images, real.maps, classes=classes, steps=given.steps, batch=8, augment=given.augment
    )  # fmt: skip
    told: dict[str, object] = {"real": dice(network, images, maps, classes)}
    painted = [bank.paint(maps, seed=seed) for seed in range(given.seeds)]
    told["painted"] = [dice(network, one, maps, classes) for one in painted]
    told["sharpness"] = [sharpness(one) / sharpness(images) for one in painted]
    told["own pairs"] = [
        dice(network, *bank.sample_pairs(len(maps), seed=seed), classes) for seed in range(given.seeds)
    ]
    print(told)
    if given.out:
        settings = {name: value for name, value in vars(given).items() if name not in ("data", "bank", "out")}
        about = {
            "data": given.data.name, "settings": settings, "fitted on": len(fitted), "kimg": bank.manifest.kimg,
            "trained on": len(real), "painted squares": len(maps),
            "versions": {"ganaug": __version__, "torch": torch.__version__},
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        }  # fmt: skip
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({**about, "dice": told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
