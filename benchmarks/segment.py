"""Do synthetic pairs help a segmenter that has few masks? Arms at equal steps, scored on real images nobody trained on.

    python benchmarks/segment.py --data DIR --images 10 --draws 0,1 --kimg 4 --out results/segment/NAME.json

For each draw of `--images` pairs from `DIR/train`, a bank is fitted on them, and a small U-Net is trained from scratch
at the bank's resolution: on the real pairs with flips; with strong classical augmentation (flips, affine, elastic and
colour); each of these with synthetic pairs mixed in, a third of every batch or what `--share` says; and on synthetic
pairs alone. The score is the Dice of all classes but the first, over all pixels, on the images of `train` that were not
drawn, or with `--test` on `DIR/test`.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import tv_tensors
from torchvision.transforms import v2

from ganaug import __version__, load_recipe
from ganaug.data.masks import MaskedImages, read_masked
from ganaug.fitting import fit

FLIPS = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])
STRONG = v2.Compose(
    [
        FLIPS,
        v2.RandomAffine(25, translate=(0.1, 0.1), scale=(0.75, 1.3), fill={tv_tensors.Image: 0, tv_tensors.Mask: 255}),
        v2.RandomApply([v2.ElasticTransform(30.0, 5.0, fill={tv_tensors.Image: 0, tv_tensors.Mask: 255})], 0.5),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.05)], 0.8),
    ]
)
TOGETHER = 4  # images of a batch that share a draw of the transforms
ARMS = {
    "flips": (FLIPS, False, True),
    "flips + synthetic": (FLIPS, True, True),
    "strong": (STRONG, False, True),
    "strong + synthetic": (STRONG, True, True),
    "synthetic alone": (STRONG, True, False),
}


class UNet(nn.Module):
    """Three levels; NCHW in [-1, 1] to logits of each class at every pixel."""

    def __init__(self, channels: int, classes: int, width: int = 16) -> None:
        super().__init__()
        w = width
        self.one, self.two, self.three = _twice(channels, w), _twice(w, 2 * w), _twice(2 * w, 4 * w)
        self.back_two, self.back_one = _twice(6 * w, 2 * w), _twice(3 * w, w)
        self.head = nn.Conv2d(w, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the images' sides, which are multiples of 4."""
        one = self.one(images)
        two = self.two(functional.max_pool2d(one, 2))
        three = self.three(functional.max_pool2d(two, 2))
        two = self.back_two(torch.cat([functional.interpolate(three, scale_factor=2.0), two], 1))
        return self.head(self.back_one(torch.cat([functional.interpolate(two, scale_factor=2.0), one], 1)))


def _twice(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
    )  # fmt: skip


def train(
    real: MaskedImages, synthetic: tuple[Tensor, Tensor], arm: str, steps: int, share: float, batch: int, seed: int
) -> nn.Module:
    transform, mixed, with_real = ARMS[arm]
    share = 0.0 if not mixed else share if with_real else 1.0
    torch.manual_seed(seed)
    network = UNet(real.images.shape[1], len(real.class_names)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        count = round(share * batch)
        ours = torch.randint(len(real.images), (batch - count,))
        theirs = torch.randint(len(synthetic[0]), (count,))
        images = torch.cat([real.images[ours], synthetic[0][theirs]])
        maps = torch.cat([real.maps[ours], synthetic[1][theirs]])
        order = torch.randperm(batch)
        shown = [
            transform(tv_tensors.Image(some), tv_tensors.Mask(these))
            for some, these in zip(images[order].split(TOGETHER), maps[order].split(TOGETHER), strict=True)
        ]
        images, maps = (torch.cat([pair[part].as_subclass(Tensor) for pair in shown]) for part in (0, 1))
        logits = network(images.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, maps.long(), ignore_index=255) + soft_dice(logits, maps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def soft_dice(logits: Tensor, maps: Tensor) -> Tensor:
    said = (maps != 255)[:, None]
    wanted = torch.stack([maps == cls for cls in range(1, logits.shape[1])], 1).float()
    got = logits.softmax(1)[:, 1:] * said
    return 1 - (2 * (got * wanted).sum((0, 2, 3)) + 1).div(got.sum((0, 2, 3)) + wanted.sum((0, 2, 3)) + 1).mean()


@torch.no_grad()
def dice(network: nn.Module, held: MaskedImages) -> float:
    got = torch.cat([network(part.float().div(127.5).sub(1)).argmax(1) for part in held.images.split(64)])
    got[held.maps == 255] = 255
    scores = []
    for cls in range(1, len(held.class_names)):
        ours, theirs = got == cls, held.maps == cls
        scores.append(2 * float((ours & theirs).sum()) / max(1, int(ours.sum()) + int(theirs.sum())))
    return 100 * sum(scores) / len(scores)


def one_draw(given: argparse.Namespace, draw: int) -> dict:
    recipe = load_recipe("segment-64").replace({"data.tile": given.tile, "kimg": given.kimg, "seed": draw})
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
    synthetic = bank.sample_pairs(given.synthetic, seed=draw)
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
    parser.add_argument("--kimg", type=float, default=4)
    parser.add_argument("--tile", type=int)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--share", type=float, default=1 / 3, help="of every batch that is synthetic")
    parser.add_argument("--synthetic", type=int, default=256, help="pairs that are drawn")
    parser.add_argument("--arms", type=lambda text: text.split(","), default=list(ARMS))
    parser.add_argument("--runs", type=Path, help="keep banks and run folders here")
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
            "settings": {name: value for name, value in vars(given).items() if name not in ("data", "out", "runs")},
            "versions": {"ganaug": __version__, "torch": torch.__version__},
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        }
        given.out.write_text(json.dumps({**told, "mean_dice": means, "draws": draws}, indent=1) + "\n")


if __name__ == "__main__":
    main()
