"""A finished screening is kept on disk, so that the same one is never done twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.data.masks import MaskedImages
from ganaug.pool import alone_in, pool_home, writing_to
from ganaug.recipe import Screening
from ganaug.screening.pairs import screen_pairs
from ganaug.screening.screened import Screened, as_values, from_values
from ganaug.screening.selection import Say, screen_samples

__all__ = ["kept_screening"]

FORMAT = 1  # raise it when samples are chosen in another way
_FILE = "screening.safetensors"


def kept_screening(
    bank: GeneratorBank,
    data: LabelledImages,
    wanted: Mapping[int, int],
    places: Mapping[int, int],
    *,
    settings: Screening,
    seed: int,
    directory: str | Path | None = None,
    report: Say | None = None,
) -> Screened:
    """As `screen_samples` or `screen_pairs`, on the bank's device; done once and then read.

    Once is for each bank, data, settings, seed and counts. Other processes that want the same wait for the first.

    Args:
        bank: to sample from.
        data: training images in the bank's size and channels.
        wanted: samples of each class, at least 1, by its place in `bank.class_names`.
        places: place in `data.class_names` of each of these classes.
        settings: what is dropped.
        seed: of the samples and of the judge.
        directory: folder that screenings are kept in, as pools are; the user's cache by default.
        report: is given lines of progress.

    Raises:
        OutputError: the folder cannot be written.
    """
    images = hashlib.sha256(json.dumps([data.class_names, data.labels.tolist(), data.fingerprints]).encode())
    if isinstance(data, MaskedImages):
        for tensor in (data.maps, data.sources):
            images.update(tensor.contiguous().numpy().tobytes())
    said = {
        "screening": FORMAT,
        "bank": bank.fingerprint,
        "flips": bank.recipe.data.horizontal_flip,
        "data": images.hexdigest(),
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "wanted": [[index, count, places[index]] for index, count in sorted(wanted.items())],
    }
    key = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]
    folder = pool_home(directory) / key
    if (found := _read(folder / _FILE)) is not None:
        return found
    with writing_to(folder), alone_in(folder):
        found = _read(folder / _FILE)  # another process may have done it while this one waited
        if found is None:
            how: dict[str, Any] = {"settings": settings, "seed": seed, "device": bank.device, "report": report}
            if isinstance(data, MaskedImages):
                found = screen_pairs(bank, data, sum(wanted.values()), **how)
            else:
                found = screen_samples(bank, data, dict(sorted(wanted.items())), places, **how)
            _write(folder / _FILE, found)
    return found


def _write(path: Path, screened: Screened) -> None:
    tensors = {}
    for index, indices in screened.kept.items():
        tensors[f"kept.{index}"] = torch.from_numpy(indices)
        tensors[f"soft.{index}"] = torch.from_numpy(screened.soft[index])
    beside = path.with_suffix(".tmp")
    save_file(tensors, beside, metadata={"screened": json.dumps(as_values(screened))})
    beside.replace(path)


def _read(path: Path) -> Screened | None:
    """What is kept there; none where nothing is, or it is damaged."""
    try:
        with safetensors.safe_open(path, framework="np") as opened:
            values = json.loads(opened.metadata()["screened"])
            indices = [int(index) for index in values["tallies"]]
            kept = {index: opened.get_tensor(f"kept.{index}") for index in indices}
            soft = {index: opened.get_tensor(f"soft.{index}") for index in indices}
        return from_values(values, kept, soft)
    except (safetensors.SafetensorError, OSError, ValueError, LookupError, TypeError, ValidationError):
        return None
