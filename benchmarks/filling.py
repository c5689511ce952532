"""Can filled regions be told from real ones, and is hiding regions under them an augmentation?

    python benchmarks/filling.py judge --data DIR --kimg 12 --out results/filling/NAME.json --picture NAME.png
    python benchmarks/filling.py erased --data DIR --bank BANK --out results/filling/NAME-erased.json --erased NAME.png
    python benchmarks/filling.py augment --data DIR --per-class 50 --out results/filling/NAME-augment.json

`judge`: of the training images three quarters are fitted on. Squares of the others get holes as in training, which lie
on no object where objects are known; half of these images are judged by a patch discriminator that was trained afresh
on the other half, and says of each square whether its hole is real or filled: with one grey, smoothly, or by the bank.
50 % is chance. What is stated beforehand: of the bank's 60 % or less are told right. The picture shows squares of
images that were not fitted on.

`erased`: whole images that were not fitted on, with all their objects erased by the bank that `judge` kept: each hole
at once, and one object after another. Such a discriminator tells squares of what was filled in from squares of real
ground that show no object: `--erased` shows the images, erased in both ways.

`augment`: the reference classifier at equal steps on so many images a class, each shown in `--shows` ways: as it is, or
half of the times with a region hidden: black (v2.RandomErasing, as it is by default), smoothly filled, or filled by a
bank that was fitted on the same images (RandomFilling). Scored on up to 100 images a class that were not drawn.
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
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from ganaug import __version__, load_recipe
from ganaug.bank import GeneratorBank
from ganaug.classifier import accuracy, train_classifier
from ganaug.compositing.filling import fill_in
from ganaug.data import read_images
from ganaug.data.fillable import FillableImages, whole_squares
from ganaug.data.marked import MarkedImages, marked_images
from ganaug.filled import RandomFilling
from ganaug.fitting import fit
from ganaug.gan import losses
from ganaug.gan.hole_batches import HoleBatches
from ganaug.gan.picture_networks import PatchDiscriminator
from ganaug.grounds import parts_of
from ganaug.pictures import draw_grid, save_picture
from ganaug.recipe import Recipe
from ganaug.tasks import get_task

GREY = 128


def with_holes(data: FillableImages, recipe: Recipe, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """So many squares, in turn, with a hole each: (count, C, R, R) uint8 and (count, R, R) bool."""
    random = torch.Generator().manual_seed(seed)
    conditions = get_task("fill").conditions(data)
    batches = HoleBatches(data.images, conditions, shares=recipe.filling.holes, batch=1, random=random)
    batch = batches.at(torch.arange(count) * len(data) // count)
    some = batch.holes.flatten(1).any(1)
    return batch.images[some], batch.holes[some]


def fillings(bank: GeneratorBank, images: Tensor, holes: Tensor) -> dict[str, Tensor]:
    smooth = fill_in(images.float(), (~holes)[:, None].float()).round().clamp(0, 255).to(torch.uint8)
    return {
        "grey": torch.where(holes[:, None], torch.full_like(images, GREY), images),
        "smooth": smooth,
        "bank": bank.fill(images, holes),
    }


def told_right(
    real: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor], holes: tuple[Tensor, Tensor], steps: int, seed: int
) -> float:
    """Share of the second of each pair, real and made, that a discriminator trained on the first tells right."""
    torch.manual_seed(seed)
    channels = real[0].shape[1]
    judge = PatchDiscriminator(channels + 1, 16, 3)
    for layer in judge.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, 0.2)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, betas=(0.5, 0.99), weight_decay=0.02)

    def verdicts(images: Tensor, where: Tensor) -> Tensor:
        weights = functional.avg_pool2d(where[:, None].float(), 8)
        logits = judge(torch.cat([images.float().div(127.5).sub(1), where[:, None].float()], 1))
        return (logits * weights).flatten(1).sum(1) / weights.flatten(1).sum(1).clamp_min(1e-6)

    for step in range(steps):
        rows = torch.randint(len(real[0]), (16,))
        turned = [part[rows] for part in (real[0], made[0], holes[0])]
        turned = [part.flip(-1) if step % 2 else part for part in turned]
        ours, theirs = verdicts(torch.cat(turned[:2]), turned[2].repeat(2, 1, 1)).chunk(2)
        loss = losses.discriminator_loss("non_saturating", ours, theirs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - step / steps)
    with torch.no_grad():
        ours, theirs = verdicts(real[1], holes[1]), verdicts(made[1], holes[1])
    return float(((ours > 0).float().mean() + (theirs < 0).float().mean()) / 2)


def judge(given: argparse.Namespace, recipe: Recipe) -> dict:
    task = get_task("fill")
    data = task.read(given.data, recipe, on_bad="skip")
    order = torch.randperm(len(data.fingerprints), generator=torch.Generator().manual_seed(given.seed))
    count = len(order)
    parts = [data.subset(part) for part in order.split([count - 2 * (count // 8), count // 8, count // 8])]
    began = time.process_time()
    bank = fit(parts[0], recipe=recipe, seed=given.seed, device="cpu", progress=False)
    seconds = time.process_time() - began
    if given.bank:
        bank.save(given.bank)
    squares = [with_holes(part, recipe, given.squares, given.seed + n) for n, part in enumerate(parts[1:])]
    made = [fillings(bank, *pair) for pair in squares]
    real, holes = (squares[0][0], squares[1][0]), (squares[0][1], squares[1][1])
    found = {
        name: [told_right(real, (made[0][name], made[1][name]), holes, given.steps, seed) for seed in given.seeds]
        for name in made[0]
    }
    print(found, flush=True)
    if given.picture:
        save_picture(shown(squares[1], made[1]), given.picture)
    return {
        "set": given.data.name, "images": [len(part.fingerprints) for part in parts], "squares": len(squares[1][0]),
        "fit_cpu_seconds": round(seconds, 1), "kimg": recipe.kimg, "scores": bank.manifest.scores,
        "told_right": {name: [round(100 * value, 1) for value in values] for name, values in found.items()},
    }  # fmt: skip


def shown(squares: tuple[Tensor, Tensor], made: dict[str, Tensor], columns: int = 12) -> Image.Image:
    rows = torch.arange(columns) * len(squares[0]) // columns
    panel = {"real": squares[0][rows], **{name: images[rows] for name, images in made.items()}}
    return draw_grid([("squares of images that were not fitted on", panel)], columns=columns, least=64)


def erased(given: argparse.Namespace, recipe: Recipe) -> dict:
    bank, marked = GeneratorBank.load(given.bank), marked_images(given.data, on_bad="skip")
    order = torch.randperm(len(marked), generator=torch.Generator().manual_seed(given.seed)).tolist()
    count = 2 * (len(order) // 8)
    halves = [order[-count : -count // 2], order[-count // 2 :]]
    found = [squares_of_ground(bank, marked, half, given.seed) for half in halves]
    told = {}
    for name in found[0]:
        if name != "real":
            fewest = [min(len(part["real"]), len(part[name])) for part in found]
            real, made = (
                tuple(
                    part[key][torch.arange(few) * len(part[key]) // few]
                    for part, few in zip(found, fewest, strict=True)
                )
                for key in ("real", name)
            )
            holes = tuple(torch.ones(few, *real[0].shape[-2:], dtype=torch.bool) for few in fewest)
            told[name] = [round(100 * told_right(real, made, holes, given.steps, seed), 1) for seed in given.seeds]
            print(name, fewest, told[name], flush=True)
    if given.erased:
        save_picture(whole_images(bank, marked, halves[1][:3]), given.erased)
    return {"set": given.data.name, "images": [len(half) for half in halves], "squares": fewest, "told_right": told}


def ways_of_erasing(bank: GeneratorBank, image: Tensor, parts: Tensor) -> dict[str, Tensor]:
    hole = parts.any(0)
    smooth = fill_in(image[None].float(), (~hole)[None, None].float())[0].round().clamp(0, 255).to(torch.uint8)
    return {
        "smooth": smooth,
        "at once": bank.fill(image[None], hole[None])[0],
        "in turn": bank.fill_in_turn(image, parts),
    }


def squares_of_ground(
    bank: GeneratorBank, marked: MarkedImages, images: list[int], seed: int, each: int = 12
) -> dict[str, Tensor]:
    """Squares (N, C, R, R) uint8 of real ground without an object, and of what was filled in, in three ways."""
    side, margin, random = bank.resolution, bank.recipe.filling.margin, torch.Generator().manual_seed(seed)
    found: dict[str, list[Tensor]] = {}
    for number in images:
        one = marked.read(number)
        image, parts = torch.from_numpy(one.pixels.transpose(2, 0, 1).copy()), torch.from_numpy(parts_of(one, margin))
        if not parts.any():
            continue
        hole, made = parts.any(0), ways_of_erasing(bank, image, parts)
        here = dict.fromkeys((True, False), 0)
        for _ in range(400):
            top, left = (int(torch.randint(length - side + 1, (), generator=random)) for length in hole.shape)
            part = slice(top, top + side), slice(left, left + side)
            share = float(hole[part].float().mean())
            if (share == 0 or share > 0.9) and here[share > 0.9] < each:
                here[share > 0.9] += 1
                for name, shown in (made if share else {"real": image}).items():
                    found.setdefault(name, []).append(shown[:, part[0], part[1]])
    return {name: torch.stack(squares) for name, squares in found.items()}


def whole_images(bank: GeneratorBank, marked: MarkedImages, images: list[int]) -> Image.Image:
    """As they are, erased at once, and one object after another."""
    pictures = []
    for number in images:
        one = marked.read(number)
        image = torch.from_numpy(one.pixels.transpose(2, 0, 1).copy())
        made = ways_of_erasing(bank, image, torch.from_numpy(parts_of(one, bank.recipe.filling.margin)))
        pictures.append(torch.cat([image, made["at once"], made["in turn"]], 1))
    high = min(picture.shape[1] for picture in pictures)
    wide = torch.cat([picture[:, :high] for picture in pictures], 2)
    return Image.fromarray(wide.permute(1, 2, 0).numpy()).reduce(2)


def augment(given: argparse.Namespace, recipe: Recipe) -> dict:
    rows = []
    for draw in given.draws:
        real, held = few_of_each(
            read_images(given.data / "train", resolution=recipe.resolution), given.per_class, 100, draw
        )
        began = time.process_time()
        bank = fit(whole_squares(real), recipe=recipe, seed=draw, device="cpu", progress=False)
        seconds = time.process_time() - began
        scale = (0.02, 0.33)
        filling = RandomFilling(bank, p=0.5, scale=scale)
        smooth = RandomFilling(bank, p=0.5, scale=scale)
        smooth.filler.bank.fill = lambda images, holes, seed=0: fillings_smooth(images, holes)
        kinds = {"alone": None, "erasing": v2.RandomErasing(p=0.5, scale=scale), "smooth": smooth, "filling": filling}
        found = {}
        for name, hide in kinds.items():
            torch.manual_seed(draw)
            images = real.images.repeat(given.shows, 1, 1, 1)
            images = images if hide is None else torch.stack([hide(image) for image in images])
            found[name] = [
                accuracy(
                    train_classifier(
                        images, real.labels.repeat(given.shows), classes=len(real.class_names), steps=given.steps,
                        seed=seed, augment=given.augment, half=False,
                    ),
                    held.images, held.labels, classes=len(real.class_names),
                )[0]
                for seed in given.seeds
            ]  # fmt: skip
            print(draw, name, [f"{100 * value:.1f}" for value in found[name]], flush=True)
        rows.append({"draw": draw, "fit_cpu_seconds": round(seconds, 1), "accuracy": found})
    means = {
        name: round(100 * statistics.mean(value for row in rows for value in row["accuracy"][name]), 2)
        for name in rows[0]["accuracy"]
    }
    return {
        "set": given.data.name,
        "per_class": given.per_class,
        "augment": given.augment,
        "means": means,
        "rows": rows,
    }


def fillings_smooth(images: Tensor, holes: Tensor) -> Tensor:
    return fill_in(images.float(), (~holes)[:, None].float()).round().clamp(0, 255).to(torch.uint8)


def main() -> None:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["judge", "erased", "augment"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kimg", type=float, default=12)
    parser.add_argument("--set", type=lambda text: text.split(","), default=[], help="settings, as resolution=32,...")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=numbers, default=[0, 1], help="trainings of each judge or classifier")
    parser.add_argument("--steps", type=int, default=300, help="of each of these")
    parser.add_argument("--squares", type=int, default=600, help="to train a judge on, and to judge")
    parser.add_argument("--per-class", type=int, default=50)
    parser.add_argument("--draws", type=numbers, default=[0])
    parser.add_argument("--shows", type=int, default=8)
    parser.add_argument("--augment", default="flip+crop")
    parser.add_argument("--bank", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--erased", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = dict(pair.split("=") for pair in given.set)
    recipe = load_recipe("fill-64").replace({key: json.loads(value) for key, value in settings.items()})
    recipe = recipe.replace({"kimg": given.kimg})
    result = {
        "command": "python benchmarks/filling.py "
        + " ".join(part if "/" not in part else Path(part).name for part in sys.argv[1:]),
        "versions": {"ganaug": __version__, "torch": torch.__version__, "python": platform.python_version()},
        **{"judge": judge, "erased": erased, "augment": augment}[given.what](given, recipe),
    }
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
