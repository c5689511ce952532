"""What all trainings are made of: real images, refitted banks that never saw the rest, and their keys."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages, stratified_split, without_copies
from ganaug.evidence.parts import Parts
from ganaug.fitting import fit
from ganaug.recipe_latent import Latent

__all__ = ["Beside", "Stock", "as_bank", "digest", "reaching", "refit", "repeated", "share_of"]


@dataclass(frozen=True)
class Stock:
    """All that the arms of one split and seed are made of and scored on."""

    parts: Parts
    seed: int
    plain: Any = None
    """Synthetic samples as the task's exam draws them; none where no arm needs them."""
    screened: Any = None
    """The same, of those that passed a screening."""
    own: Tensor | None = None
    """(N, classes): the judge's out-of-fold probabilities for the real images, for duplicates with soft labels."""


@dataclass(frozen=True)
class Beside:
    """What a refit learns from beside its labelled images."""

    unlabelled: LabelledImages | None = None
    base: GeneratorBank | None = None

    def digest(self) -> str:
        """32 hex digits that change with any of it."""
        images = [self.unlabelled.images] if self.unlabelled is not None else []
        return digest(*images, *(self.base.generators.state_dict().values() if self.base is not None else []))

    def without(self, part: Parts) -> dict[str, Any]:
        """Arguments of `fit` in which no image of a part that is held back, nor a near-copy of one, is left."""
        if self.unlabelled is None:
            return {"base": self.base}
        held = [images for images in (part.score, part.choose) if images is not None]
        return {"base": self.base, "unlabelled": without_copies(self.unlabelled, held)}


def digest(*tensors: Tensor) -> str:
    """32 hex digits that change with any number or shape."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(json.dumps([str(tensor.dtype), *tensor.shape]).encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:32]


def refit(parts: Sequence[Parts], beside: Beside, split: int, recipe: Mapping[str, Any], device: str) -> dict[str, str]:
    """A cell: the recipe fitted on a split's own training part; the bank's file in base 64."""
    part = parts[split]
    bank = fit(
        part.train, recipe=recipe, device=device, held_back=part.held, progress=False, **beside.without(part)
    )  # fmt: skip
    assert not set(bank.manifest.held_back_fingerprints) & set(part.train.fingerprints)
    with tempfile.TemporaryDirectory() as folder:
        return {"bank": base64.b64encode(bank.save(Path(folder) / "refit.ganaug").read_bytes()).decode()}


def as_bank(result: Mapping[str, str], device: str) -> GeneratorBank:
    """The bank that `refit` made."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "refit.ganaug"
        path.write_bytes(base64.b64decode(result["bank"]))
        return GeneratorBank.load(path, device)


def reaching(bank: GeneratorBank, reach: float | None) -> GeneratorBank:
    """The bank, whose variations go as far as this; as far as it has it where that is not said."""
    if reach is None:
        return bank
    return bank.with_latent((bank.recipe.latent or Latent()).model_copy(update={"reach": reach}))


def share_of(data: LabelledImages, share: float, seed: int) -> LabelledImages:
    """A part of the images, the same of every kind; each keeps one at least."""
    return data if share == 1 else data.subset(stratified_split(data.strata, 1 - share, seed)[0])


def repeated(labels: Tensor, counts: Sequence[int], seed: int) -> Tensor:
    """Indices of so many images of each class, each as often as any other of its class, give or take once."""
    random = torch.Generator().manual_seed(seed)
    places = []
    for label, count in enumerate(counts):
        members = (labels == label).nonzero().flatten()
        shuffled = members[torch.randperm(len(members), generator=random)]
        places.append(shuffled[torch.arange(count) % max(1, len(members))])
    return torch.cat(places)
