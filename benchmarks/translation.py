"""Fluorescence to stained tissue and back: does a translation look like the other domain, with everything in place?

    python benchmarks/translation.py --data nuclei/train --out benchmarks/results/translation.json

`--data` holds images and masks of both kinds of microscopy, told apart here by their colour. Two thirds of either kind
are fitted on, by the recipe translate-64, and the others are for the answers:

(a) A classifier learns to tell real images of the two kinds apart. Of how many held-back images of ten does its verdict
    move when they are translated?
(b) A segmenter learns from source images and their masks, another from translated ones and the same masks. Each is
    scored on held-back images of its own kind: the second on translated ones, by the masks of the originals. Where a
    translation drops, moves or invents nuclei, the second cannot keep the first one's Dice. Wanted: within 2 points.
(c) The same two segmenters on held-back real images of the target, whose masks neither has seen. Wanted: +5 points. A
    third that learns from the target's own masks says what there was to gain.

Dice is that of nuclei, over all pixels of an image, and then its mean over images. All segmenters take as many steps.
`--picture` draws held-back images, their translations and real ones of the target.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

import ganaug
from ganaug import measures
from ganaug.bank import GeneratorBank
from ganaug.measures import overlaps
from ganaug.recipe import load_recipe
from ganaug.segmenter import predict_maps, train_segmenter

SIDE = 64  # of the squares that classifier and segmenters see, at the images' own scale
AUGMENT = "flip+turn+affine+colour"
SHOWN = 224  # px of a photo in the picture

Pair = tuple[Tensor, Tensor]  # image (3, H, W) uint8 and map (H, W) uint8


def read(data: Path) -> dict[str, list[Pair]]:
    """Images with their masks by kind; an image of neither kind is left out."""
    kinds: dict[str, list[Pair]] = {"fluorescence": [], "tissue": []}
    for path in sorted((data / "images").iterdir()):
        pixels = np.array(Image.open(path).convert("RGB"))
        colour = float((pixels.max(2).astype(int) - pixels.min(2)).mean())
        kind = "tissue" if colour >= 5 else "fluorescence" if pixels.mean() < 100 else None
        if kind is not None:
            mask = np.array(Image.open(data / "masks" / f"{path.stem}.png")) > 0
            kinds[kind].append((torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(mask.astype(np.uint8))))
    return kinds


def parted(pairs: list[Pair], seed: int) -> tuple[list[Pair], list[Pair]]:
    """Two thirds to fit on, and the others."""
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
    held = {order[place] for place in range(len(order) // 3)}
    return [p for i, p in enumerate(pairs) if i not in held], [p for i, p in enumerate(pairs) if i in held]


def squares(pairs: list[Pair], most: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Squares of images and maps that touch each other, and the image of each; of many, `most` evenly chosen."""
    images, maps, sources = [], [], []
    for place, (image, mask) in enumerate(pairs):
        for top in range(0, image.shape[1] - SIDE + 1, SIDE):
            for left in range(0, image.shape[2] - SIDE + 1, SIDE):
                images.append(image[:, top : top + SIDE, left : left + SIDE])
                maps.append(mask[top : top + SIDE, left : left + SIDE])
                sources.append(place)
    chosen = torch.arange(min(len(images), most or len(images))) * len(images) // min(len(images), most or len(images))
    return torch.stack(images)[chosen], torch.stack(maps)[chosen], torch.tensor(sources)[chosen]


def translated(bank: GeneratorBank, pairs: list[Pair]) -> list[Pair]:
    return [(bank.translate(image), mask) for image, mask in pairs]


def learner(pairs: list[Pair], steps: int, seed: int) -> torch.nn.Module:
    images, maps, _ = squares(pairs, 2000)
    return train_segmenter(images, maps, classes=2, steps=steps, augment=AUGMENT, seed=seed)


def dice(network: torch.nn.Module, pairs: list[Pair]) -> float:
    """Mean over the images that show a nucleus, in per cent."""
    images, maps, sources = squares(pairs)
    counts = overlaps(predict_maps(network, images), maps, sources, classes=2)[:, 1].double()
    shown = counts[counts[:, 2] > 0]
    return 100 * float((2 * shown[:, 0] / (shown[:, 1] + shown[:, 2])).mean())


def moved(judge: measures.FeatureNetwork, pairs: list[Pair], wanted: int) -> float:
    """Share of the images most of whose squares are taken for kind `wanted`."""
    images, _, sources = squares(pairs)
    said = (judge.classes(judge.features(images)) == wanted).double()
    shares = [float(said[sources == place].mean()) for place in sources.unique().tolist()]
    return sum(share > 0.5 for share in shares) / len(shares)


def one_way(
    names: tuple[str, str], fits: dict[str, list[Pair]], held: dict[str, list[Pair]], options: argparse.Namespace
) -> tuple[dict[str, Any], GeneratorBank]:
    source, target = names
    began = time.process_time()
    recipe = load_recipe("translate-64")
    changes = {key: yaml.safe_load(value) for key, value in (pair.split("=") for pair in options.set)}
    images = [[(image.permute(1, 2, 0).numpy(), 0) for image, _ in fits[name]] for name in names]
    bank = ganaug.fit(
        images[0], target=images[1], recipe=recipe, kimg=options.kimg, minutes=options.minutes, seed=options.seed,
        settings={"data.colour": "rgb", "translation.invert": True, **changes}, progress=False,
    )  # fmt: skip
    seconds = time.process_time() - began
    crops = {name: squares(fits[name], 1500)[0] for name in names}
    judge = measures.train_features(
        torch.cat([crops[source], crops[target]]),
        torch.cat([torch.full((len(crops[name]),), label) for label, name in enumerate(names)]),
        seed=options.seed,
    )
    ours, theirs = translated(bank, fits[source]), translated(bank, held[source])
    rows: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        plain, turned = (learner(pairs, options.steps, seed) for pairs in (fits[source], ours))
        own = learner(fits[target], options.steps, seed)
        for name, network, pairs in (
            ("source on source", plain, held[source]), ("translated on translated", turned, theirs),
            ("source on target", plain, held[target]), ("translated on target", turned, held[target]),
            ("target on target", own, held[target]),
        ):  # fmt: skip
            rows.setdefault(name, []).append(dice(network, pairs))
    means = {name: statistics.mean(values) for name, values in rows.items()}
    return {
        "images": {name: {"fitted on": len(fits[name]), "held back": len(held[name])} for name in names},
        "fit": {"kimg": bank.manifest.kimg, "cpu_seconds": seconds, "scores": bank.manifest.scores},
        "a verdict": {
            "real source images taken for the source": moved(judge, held[source], 0),
            "real target images taken for the target": moved(judge, held[target], 1),
            "translated images taken for the target": moved(judge, theirs, 1),
        },
        "dice": rows,
        "b kept": means["translated on translated"] - means["source on source"],
        "c gained": means["translated on target"] - means["source on target"],
    }, bank


def picture(names: tuple[str, str], bank: GeneratorBank, held: dict[str, list[Pair]]) -> Image.Image:
    """Three rows of six: source images, translations, real ones of the target; fluorescence is shown brighter."""

    def shown(image: Tensor, name: str) -> Tensor:
        cut = image[:, :SHOWN, :SHOWN]
        return (cut.float() * 2.5).clamp(0, 255).to(torch.uint8) if name == "fluorescence" else cut

    def six(pairs: list[Pair]) -> list[Pair]:
        return [pairs[place * len(pairs) // 6] for place in range(6)]

    sources = [image for image, _ in six(held[names[0]])]
    rows = [
        [shown(image, names[0]) for image in sources],
        [shown(bank.translate(image), names[1]) for image in sources],
        [shown(image, names[1]) for image, _ in six(held[names[1]])],
    ]
    whole = torch.cat([torch.cat(row, dim=2) for row in rows], dim=1)
    return Image.fromarray(whole.permute(1, 2, 0).contiguous().numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kimg", type=float)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int, default=250, help="of each segmenter")
    parser.add_argument("--seeds", type=int, default=2, help="segmenters of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the parts and the fits")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the fits")
    parser.add_argument("--ways", nargs="+", choices=("there", "back"), default=["there", "back"])
    parser.add_argument("--out", type=Path, required=True, help="JSON; pictures are written beside it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = {name: parted(pairs, options.seed) for name, pairs in read(options.data).items()}
    fits, held = ({name: part[place] for name, part in parts.items()} for place in range(2))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"settings": {k: str(v) for k, v in vars(options).items() if k not in {"data", "out"}}}
    for way in options.ways:
        names = ("fluorescence", "tissue") if way == "there" else ("tissue", "fluorescence")
        result, bank = one_way(names, fits, held, options)
        found[" to ".join(names)] = result
        picture(names, bank, held).save(options.out.with_name(f"{options.out.stem}-{way}.png"))
        options.out.write_text(json.dumps(found, indent=2))
        print(json.dumps(result, indent=2), flush=True)


if __name__ == "__main__":
    main()
