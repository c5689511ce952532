"""How fast is a pool written? Samples a second at 32 px, made here by one thread or by all, and by processes.

    python benchmarks/pool_speed.py --workers 0,1,2 --samples 100000 --out benchmarks/results/pool-speed.json

An untrained generator of the default recipe serves: what a sample shows does not change what it costs. Seconds of the
workers' start count. On a machine with other work to do, samples a CPU second tell more than samples a second.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

import torch

from ganaug.bank import GeneratorBank, Manifest
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.pool import SamplePool
from ganaug.recipe import load_recipe

CLASSES = 10


def untrained_bank() -> GeneratorBank:
    recipe = load_recipe("classify-32")
    sizes = recipe.networks
    shape = NetworkShape(
        recipe.resolution, 3, CLASSES, sizes.latent_dim, generator_channels=sizes.generator_channels,
        discriminator_channels=sizes.discriminator_channels, max_channels=sizes.max_channels, codes=50,
    )  # fmt: skip
    manifest = Manifest(
        task="classify", class_names=tuple(map(str, range(CLASSES))), label_numbers=tuple(range(CLASSES)),
        shape=shape.to_dict(), recipe=recipe.model_dump(mode="json"), per_class=False, kimg=1.0, scores={},
        versions={}, created="2025-01-01T00:00:00+00:00", train_fingerprints=(),
    )  # fmt: skip
    torch.manual_seed(0)
    return GeneratorBank(manifest, [Generator(shape)])


def measured(bank: GeneratorBank, samples: int, workers: int, threads: int) -> dict[str, object]:
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.perf_counter(), os.times()
        counts = dict.fromkeys(range(CLASSES), samples // CLASSES)
        pool = SamplePool.create(bank, counts, directory=folder, workers=workers)
        seconds, after = time.perf_counter() - began, os.times()
        spent = sum(after[:4]) - sum(before[:4])  # of this process and of those it waited for
        digest = hashlib.sha256((pool.folder / "images.u8").read_bytes()).hexdigest()[:16]
    return {
        "workers": workers, "threads": threads, "samples": len(pool), "seconds": round(seconds, 2),
        "samples_per_second": round(len(pool) / seconds), "samples_per_cpu_second": round(len(pool) / spent),
        "digest": digest,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--workers", type=lambda text: [int(count) for count in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    bank, cores, rows = untrained_bank(), os.cpu_count() or 1, []
    for workers in given.workers:
        for threads in sorted({1, cores}) if workers == 0 else [workers]:
            load = os.getloadavg()[0]
            rows.append(measured(bank, given.samples, workers, threads) | {"load_before": round(load, 1)})
            print(json.dumps(rows[-1]), flush=True)
    if given.out:
        command = shlex.join(["python", *sys.argv])
        given.out.write_text(json.dumps({"command": command, "cores": cores, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
