"""What does a wrapped dataset cost? Items a second through a DataLoader, plain against `GanAugmented` at ratio 0.5.

    python benchmarks/throughput.py --data DIR --workers 0,4

`DIR` holds class folders. The two are read in turn, five times each, in one run; the figure is the ratio of medians.
An untrained generator serves: what a sample shows does not change what it costs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from ganaug import GanAugmented, GeneratorBank, fit


def untrained_bank(folder: Path, resolution: int) -> GeneratorBank:
    return fit(folder, recipe={"resolution": resolution, "kimg": 0.064, "snapshots": {"count": 1}}, progress=False)


def items_per_second(dataset: Dataset, workers: int) -> float:
    loader = DataLoader(dataset, batch_size=64, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    for _ in loader:  # workers started, files in the page cache
        pass
    began = time.perf_counter()
    for _ in loader:
        pass
    return len(dataset) / (time.perf_counter() - began)


def digest(dataset: Dataset, workers: int) -> str:
    """Of every byte of an epoch's batches, in order."""
    loader = DataLoader(dataset, 64, shuffle=True, num_workers=workers, generator=torch.Generator().manual_seed(0))
    found = hashlib.sha256()
    for images, labels in loader:
        found.update(images.numpy().tobytes() + labels.numpy().tobytes())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workers", type=lambda text: [int(count) for count in text.split(",")], default=[0, 4])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    plain = ImageFolder(given.data, transform=v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]))
    bank = untrained_bank(given.data, 32)
    rows = []
    with tempfile.TemporaryDirectory() as pools:
        wrapped = GanAugmented(plain, bank, ratio=0.5, pool_dir=pools)
        for workers in given.workers:
            figures: dict[str, list[float]] = {"plain": [], "wrapped": []}
            for _ in range(5):
                figures["plain"].append(items_per_second(plain, workers))
                figures["wrapped"].append(items_per_second(wrapped, workers))
            ratio = statistics.median(figures["wrapped"]) / statistics.median(figures["plain"])
            same = len({digest(wrapped, workers) for _ in range(2)}) == 1
            rows.append({"workers": workers, "wrapped_by_plain": ratio, "identical_batches": same, **figures})
            print(json.dumps(rows[-1]), flush=True)
    if given.out:
        given.out.write_text(json.dumps({"items": len(plain), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
