"""Do synthetic pairs help a segmenter that has few masks? Arms at equal steps, scored on real images nobody trained on.

    python benchmarks/segment.py --data DIR --images 10 --draws 0,1 --kimg 4 --out results/segment/NAME.json

For each draw of `--images` pairs from `DIR/train`, a bank is fitted on them, and the reference segmenter is trained
from scratch at the bank's resolution: on the real pairs with flips and quarter turns; with strong classical
augmentation (affine, elastic and colour too); each of these with synthetic pairs mixed in, a third of what is shown or
what `--share` says; and on synthetic pairs alone. The score is the Dice of all classes but the first, over all pixels,
on the images of `train` that were not drawn, or with `--test` on `DIR/test`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganaug import __version__, load_recipe
from ganaug.bank import GeneratorBank
from ganaug.data.images import to_channels, to_uint8
from ganaug.data.mask_files import list_masks
from ganaug.data.mask_view import MaskView
from ganaug.data.masks import MaskedImages, read_masked
from ganaug.fitting import fit
from ganaug.measures import overlaps
from ganaug.segmenter import predict_maps, train_segmenter

_PLACES = ("data", "out", "runs", "picture")
_SHOWN = 192  # pixels a side of what is shown of an image
FLIPS, STRONG = "flip+turn", "flip+turn+affine+elastic+colour"
ARMS = {
    "flips": (FLIPS, False, True),
    "flips + synthetic": (FLIPS, True, True),
    "strong": (STRONG, False, True),
    "strong + synthetic": (STRONG, True, True),
    "synthetic alone": (STRONG, True, False),
}


def train(
    real: MaskedImages, synthetic: tuple[Tensor, Tensor], arm: str, steps: int, share: float, batch: int, seed: int
) -> nn.Module:
    augment, mixed, with_real = ARMS[arm]
    images, maps, added, turns = real.images, real.maps, 0, 1
    if not with_real:
        images, maps = synthetic
    elif mixed:
        slots = min(len(synthetic[0]), max(1, round(len(real) * share / (1 - share))))
        turns = len(synthetic[0]) // slots
        added = turns * slots
        images, maps = torch.cat([images, synthetic[0][:added]]), torch.cat([maps, synthetic[1][:added]])
    return train_segmenter(
        images, maps, classes=len(real.class_names), steps=steps, batch=batch, seed=seed, augment=augment,
        added=added, turns=turns,
    )  # fmt: skip


def dice(network: nn.Module, held: MaskedImages) -> float:
    seen = predict_maps(network, held.images)
    counts = overlaps(seen, held.maps, torch.zeros(len(seen)), classes=len(held.class_names))[0, 1:]
    return 100 * float((2 * counts[:, 0] / (counts[:, 1] + counts[:, 2]).clamp(min=1)).mean())


def outlined(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """An image HWC uint8 in colour with the borders of its classes in red, cut to `_SHOWN` pixels."""
    shown = to_channels(pixels, 3)[:_SHOWN, :_SHOWN].copy()
    values = values[:_SHOWN, :_SHOWN]
    border = np.zeros(values.shape, bool)
    border[1:] |= values[1:] != values[:-1]
    border[:, 1:] |= values[:, 1:] != values[:, :-1]
    shown[border] = (255, 0, 0)
    return np.pad(shown, ((0, _SHOWN - shown.shape[0]), (0, _SHOWN - shown.shape[1]), (0, 0)))


def draw_variations(bank: GeneratorBank, view: MaskView, rows: list[int], columns: int = 5) -> Image.Image:
    """Real pairs of these numbers, each with variations of it beside it, at their own size and outlined."""
    lines = []
    for row in rows:
        image, values = view.read(row)
        pair = to_uint8(image), values
        lines.append(np.concatenate([outlined(*one) for one in [pair, *bank.vary_pairs([pair] * columns)]], axis=1))
    return Image.fromarray(np.concatenate(lines))


def one_draw(given: argparse.Namespace, draw: int) -> dict:
    recipe = load_recipe(given.recipe).replace({"data.tile": given.tile, "kimg": given.kimg, "seed": draw})
    reading = {"resolution": recipe.resolution, "fit": recipe.data.fit, "tile": given.tile}
    every = read_masked(given.data / "train", **reading)
    order = torch.randperm(len(every.fingerprints), generator=torch.Generator().manual_seed(draw))
    real = every.subset(order[: given.images])
    held = read_masked(given.data / "test", **reading) if given.test else every.subset(order[given.images :])
    began = time.perf_counter()
    bank = fit(real, recipe=recipe, device="cpu", run_dir=given.runs and given.runs / f"{given.data.name}-{draw}")
    fitted = time.perf_counter() - began
    if given.runs:
        bank.save(given.runs / f"{given.data.name}-{draw}.ganaug")
    if given.reach != 1:
        bank = bank.with_latent({"reach": given.reach})
    synthetic = bank.sample_pairs(given.synthetic, seed=draw)
    if given.picture:
        view = MaskView(list_masks(given.data / "train"))
        draw_variations(bank, view, order[given.images :][[0, 3, 4]].tolist()).save(given.picture)
    print(f"draw {draw}: fitted on {len(real)} squares in {fitted:.0f} s; shares {real.shares()}", flush=True)
    scores: dict[str, list[float]] = {}
    for arm in given.arms:
        for seed in range(given.seeds):
            network = train(real, synthetic, arm, given.steps, given.share, given.batch, seed)
            scores.setdefault(arm, []).append(dice(network, held))
        print(f"  {arm:20} " + " ".join(f"{score:.1f}" for score in scores[arm]), flush=True)
    return {"draw": draw, "squares": len(real), "held": len(held), "fit_seconds": fitted, "dice": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--draws", type=lambda text: [int(part) for part in text.split(",")], default=[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--recipe", default="segment-64", help="or vary-masks-64, for variations of the real pairs")
    parser.add_argument("--kimg", type=float, default=4)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--reach", type=float, default=1, help="times as far as in training that variations go")
    parser.add_argument("--share", type=float, default=1 / 3, help="of all that is shown that is synthetic")
    parser.add_argument("--synthetic", type=int, default=256, help="pairs that are drawn")
    parser.add_argument("--arms", type=lambda text: text.split(","), default=list(ARMS))
    parser.add_argument("--runs", type=Path, help="keep banks and run folders here")
    parser.add_argument("--picture", type=Path, help="variations of three pairs that were not drawn (vary-masks-64)")
    parser.add_argument("--test", action="store_true", help="score on DIR/test, once, at the very end")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    draws = [one_draw(given, draw) for draw in given.draws]
    means = {arm: sum(sum(d["dice"][arm]) for d in draws) / (len(draws) * given.seeds) for arm in given.arms}
    for arm, mean in means.items():
        print(f"{arm:20} {mean:.1f}")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        told = {
            "data": given.data.name,
            "settings": {
                name: value for name, value in vars(given).items() if name not in ("data", "out", "runs", "picture")
            },
            "versions": {"ganaug": __version__, "torch": torch.__version__},
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        }
        given.out.write_text(json.dumps({**told, "mean_dice": means, "draws": draws}, indent=1) + "\n")


if __name__ == "__main__":
    main()
