"""How fast does a fit train, and how near is that to what the machine can do?

    python benchmarks/fit_speed.py --threads 1 --out benchmarks/results/fit-speed.json

A fixed case: 500 random images of 10 classes at 32x32, batch 64, else the default recipe. The loop that is timed is
that of a fit: `BalancedBatches.draw` and `Trainer.step`, in the phases of the budget by their shares of it. The
ceiling is a bare 128-channel 3x3 convolution on 16x16, batch 64, forward and backward, channels_last, in the fit's
own precision (bfloat16 where the machine computes in it, else float32), in the same run: blocks of the two take turns.
On one thread of a CPU the clock is the process's own CPU time, which other jobs of the machine do not run up as they
do the clock on the wall; elsewhere it is the wall's, and the device is waited for.

Floating-point operations are what torch's FlopCounterMode counts in whole steps, penalties included, two for each
multiplication and addition. A reconstruction step is counted by hand too (`by_hand`): the two agree. The parts are
torch.profiler's, a share of the time each: an operation of a backward pass belongs to the part whose forward pass
asked for it.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from ganaug import __version__
from ganaug.data import LabelledImages
from ganaug.gan import game
from ganaug.gan.batches import BalancedBatches
from ganaug.gan.device import resolve_device
from ganaug.gan.memory import freed_memory_kept
from ganaug.gan.networks import NetworkShape
from ganaug.gan.precision import Precision, fastest_precision
from ganaug.gan.step import Trainer
from ganaug.recipe import Recipe, load_recipe
from ganaug.tasks import get_task

CLASSES, IMAGES = 10, 500


def made_up_case(resolution: int, batch: int) -> tuple[Recipe, NetworkShape, BalancedBatches]:
    """The default recipe, its networks, and batches of random images."""
    recipe = load_recipe({"resolution": resolution, "gan": {"batch": batch}})
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, resolution, resolution), dtype=torch.uint8, generator=random)
    labels = torch.arange(IMAGES) % CLASSES
    names = tuple(f"class {number}" for number in range(CLASSES))
    files = tuple(f"{number}.png" for number in range(IMAGES))
    data = LabelledImages(images, labels, names, files, files)
    shape = get_task(recipe.task).shape(data, recipe)
    batches = BalancedBatches(
        images,
        labels,
        batch=recipe.gan.batch,
        balanced=recipe.gan.class_balanced,
        codes=shape.codes,
        random=random,
    )
    return recipe, shape, batches


def phases(recipe: Recipe) -> list[tuple[str, float, float]]:
    """Name, share of the budget and a moment of each phase."""
    share = recipe.reconstruction.share
    both = [("reconstruction", share, 0.0), ("game", 1 - share, (1 + share) / 2)]
    return [phase for phase in both if phase[1] > 0]


def clock_of(device: torch.device, threads: int) -> Callable[[], float]:
    if device.type == "cpu":
        return time.process_time if threads == 1 else time.perf_counter

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def timed(clock: Callable[[], float], work: Callable[[], Any], times: int) -> float:
    """Mean seconds of `work`."""
    began = clock()
    for _ in range(times):
        work()
    return (clock() - began) / times


def ceiling(device: torch.device, precision: Precision) -> tuple[Callable[[], None], int]:
    """The bare convolution's forward and backward pass, and its floating-point operations."""
    dtype: torch.dtype = getattr(torch, precision)
    made = functools.partial(torch.randn, device=device, dtype=dtype)
    images = made(64, 128, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
    gradient = made(64, 128, 16, 16).to(memory_format=torch.channels_last)
    convolution = torch.nn.Conv2d(128, 128, 3, padding=1, device=device, dtype=dtype)
    convolution.to(memory_format=torch.channels_last)

    def work() -> None:
        images.grad = None
        convolution.zero_grad()
        convolution(images).backward(gradient)

    return work, 3 * 2 * 64 * 16 * 16 * 128 * 128 * 3 * 3


def counted(trainer: Trainer, batches: BalancedBatches, progress: float) -> float:
    """Floating-point operations of a step, the mean over one period of the penalty."""
    every = trainer.recipe.gan.penalty_every
    with FlopCounterMode(display=False) as counter:
        for _ in range(every):
            trainer.step(batches.draw(), progress)
    return counter.get_total_flops() / every


def by_hand(shape: NetworkShape, batch: int) -> float:
    """Floating-point operations of a reconstruction step, convolutions and large layers: what `counted` must say.

    Every layer costs its forward pass three times, but the encoder's first convolution, which sends nothing back.
    """
    channels = [min(shape.max_channels, shape.generator_channels * 2**i) for i in range(8)]
    side, passes = shape.resolution, 3 * 2 * batch
    condition = shape.latent_dim + shape.class_dim
    total = float(side * side * channels[0] * shape.image_channels * 9)  # to the image
    stages = (side // 4).bit_length() - 1
    for stage in range(stages):
        below = side // 2 ** (stage + 1)
        total += below * below * 16 * channels[stage + 1] * channels[stage]  # an up: each input pixel meets 4x4
    total += sum(condition * 2 * channels[stage] for stage in range(stages + 1))  # scales and shifts
    total += condition * 16 * channels[stages]  # the first map
    narrow = [min(shape.max_channels, shape.discriminator_channels * 2**i) for i in range(8)]
    first = (side // 2) ** 2 * 16 * shape.image_channels * narrow[1]
    for stage in range(1, stages):
        total += (side // 2 ** (stage + 1)) ** 2 * 16 * narrow[stage] * narrow[stage + 1]
    total += (16 * narrow[stages] + shape.class_dim) * 2 * shape.latent_dim
    return passes * total + 2 * 2 * batch * first


@contextmanager
def marked(trainer: Trainer) -> Iterator[None]:
    """Calls of each part recorded under its name, for the profiler."""

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with record_function(f"part:{name}"):
                return function(*args, **kwargs)

        return recorded

    places: list[tuple[object, str, str]] = [
        (game, "augment", "augmentation"),
        (game, "update_average", "average"),
        (game.losses, "gradient_penalty", "penalty"),
        (trainer.generator, "decode", "generator"),
        (trainer.generator, "place", "generator"),
        (trainer.discriminator, "forward", "discriminator"),
        (trainer.encoder, "forward", "encoder"),
        (BalancedBatches, "draw", "data"),
        (torch.optim.Adam, "step", "optimiser"),
    ]
    patches = [mock.patch.object(at, name, wrapped(part, getattr(at, name))) for at, name, part in places]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def parts(trainer: Trainer, batches: BalancedBatches, progress: float) -> dict[str, float]:
    """Share of a step's time by part."""
    cuda = trainer.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with marked(trainer), profile(activities=activities) as seen:
        for _ in range(trainer.recipe.gan.penalty_every):
            trainer.step(batches.draw(), progress)
    events = [event for event in seen.events() if event.device_type.name == "CPU"]
    owners: dict[int, str] = {}
    for event in events:
        if event.sequence_nr >= 0 and not _in_backward(event):
            owners.setdefault(event.sequence_nr, _owner(event, owners))
    sums: dict[str, float] = defaultdict(float)
    for event in events:
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        sums[_owner(event, owners)] += spent
    whole = sum(sums.values())
    return {name: round(spent / whole, 4) for name, spent in sorted(sums.items(), key=lambda item: -item[1])}


def _in_backward(event: FunctionEvent) -> bool:
    return event.name.startswith("autograd::engine::evaluate_function")


def _owner(event: FunctionEvent, owners: dict[int, str]) -> str:
    """The outermost part that an operation lies in, or that asked for the backward pass it lies in."""
    found = "rest"
    at: FunctionEvent | None = event
    while at is not None:
        if at.name.startswith("part:"):
            found = at.name.removeprefix("part:")
        elif _in_backward(at) and found == "rest":
            found = owners.get(at.sequence_nr, "rest")
        at = at.cpu_parent
    return found


def peak_mib(device: torch.device) -> dict[str, float]:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    found = {"process": round(most)}
    return found | {"cuda": round(torch.cuda.max_memory_allocated(device) / 2**20)} if device.type == "cuda" else found


@freed_memory_kept()
def measure(device: torch.device, *, threads: int, resolution: int, batch: int, rounds: int) -> dict[str, Any]:
    recipe, shape, batches = made_up_case(resolution, batch)
    torch.manual_seed(0)
    trainer = Trainer(recipe, shape, device, fastest_precision(device))
    clock, (bare, bare_flops) = clock_of(device, threads), ceiling(device, trainer.precision)
    plan = phases(recipe)
    flops = {name: counted(trainer, batches, moment) for name, _, moment in plan}
    seconds: dict[str, list[float]] = defaultdict(list)
    timed(clock, bare, 3)
    for _ in range(rounds):
        seconds["ceiling"].append(timed(clock, bare, 8 if device.type == "cpu" else 200))
        for name, _, moment in plan:
            seconds[name].append(
                timed(clock, lambda at=moment: trainer.step(batches.draw(), at), recipe.gan.penalty_every)
            )
    best = {name: min(found) for name, found in seconds.items()}
    usual = {name: statistics.median(found) for name, found in seconds.items()}

    def row(of: dict[str, float]) -> dict[str, float]:
        step = sum(share * of[name] for name, share, _ in plan)
        operations = sum(share * flops[name] for name, share, _ in plan)
        top = bare_flops / of["ceiling"]
        return {
            "images_per_second": round(recipe.gan.batch / step, 1),
            "gflops": round(operations / step / 1e9, 1),
            "ceiling_gflops": round(top / 1e9, 1),
            "share_of_ceiling": round(operations / step / top, 3),
            **{f"{name}_share": round(flops[name] / of[name] / top, 3) for name, _, _ in plan},
            **{f"{name}_ms": round(of[name] * 1e3, 2) for name, _, _ in plan},
        }

    return {
        "case": f"{resolution}x{resolution}, batch {recipe.gan.batch}, {CLASSES} classes",
        "precision": trainer.precision,
        "clock": "process CPU time" if clock is time.process_time else "wall",
        "gflop_a_step": {name: round(count / 1e9, 3) for name, count in flops.items()},
        "gflop_a_reconstruction_step_by_hand": round(by_hand(shape, recipe.gan.batch) / 1e9, 3),
        "best_of_rounds": row(best),
        "median_of_rounds": row(usual),
        "parts": {name: parts(trainer, batches, moment) for name, _, moment in plan},
        "peak_mib": peak_mib(device),
    }


def processor() -> str:
    """What the processor is and can do: the widest vector instructions that torch uses."""
    return f"{platform.processor() or platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64, help="64 is the fixed case; the recipe's own is smaller")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = resolve_device(given.device)
    found = {
        "command": " ".join(["python", *sys.argv]),
        "ganaug": __version__,
        "torch": torch.__version__,
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": given.threads,
        **measure(device, threads=given.threads, resolution=given.resolution, batch=given.batch, rounds=given.rounds),
    }
    text = json.dumps(found, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
