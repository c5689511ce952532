"""The training of a generator of objects with alpha, on crops of real ones.

Real and synthetic objects are laid on the same real grounds before they are judged, with their alpha beside them: no
ground tells them apart, and what alpha hides is not asked for. Where masks say the alpha of the real ones, or their
boxes a soft-edged one, the generator learns it as it learns colours.

Else it is found out while reconstruction is alone, from boxes. Under an object lies a ground, guessed from around its
box, and a pixel belongs to the object where the object's decoded colours explain it better than the ground does, by
more than a small price. So the alphas of real objects emerge, which then are learned and judged as masks would be: a
shape must fool the discriminator in place (Arandjelovic & Zisserman 2019, 1905.11369).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from ganaug.compositing.filling import fill_in, grounds_of
from ganaug.gan import losses
from ganaug.gan.augment import augment
from ganaug.gan.batches import BalancedBatches, Batch
from ganaug.gan.cut_outs import (
    ObjectConditions,
    ObjectGenerator,
    box_alphas,
    largest_part,
    opacity,
    over,
    soft_alphas,
    without_holes,
)
from ganaug.gan.networks import NetworkShape
from ganaug.gan.seeding import drawn
from ganaug.gan.step import Trainer
from ganaug.recipe import Recipe

__all__ = ["ObjectBatch", "ObjectBatches", "ObjectTrainer", "alpha_of"]

_PRICE, _NOISE = 0.06, 1.5  # of a pixel's alpha, in colours of [-1, 1]: at least, and by how rough the ground is
_MIDDLE, _EDGE = 0.4, 1.2  # of that price: in the middle of a box, and what is added at its sides
_AROUND = 0.25  # weight of colours away from the object
_SURE = 2.0  # steepness of a found alpha
_LEAST_EXTENT = 0.75  # of a box's sides, below which a found alpha is not of all that is in the box
_GROUNDS = 128  # of each class, filled in behind real objects, at the most
_CHUNK = 64  # crops whose alphas are found at a time


def alpha_of(recipe: Recipe, masks: bool) -> Literal["given", "learned", "soft"]:
    """Where alphas come from, with masks of all objects or without."""
    wanted = recipe.objects.alpha
    if wanted != "auto":
        return wanted
    learned = recipe.reconstruction.share and recipe.generator == "image"
    return "given" if masks else "learned" if learned else "soft"


@dataclass(frozen=True)
class ObjectBatch(Batch):
    """Crops, and which of all each is, (N,) int64."""

    rows: Tensor


class ObjectBatches(BalancedBatches):
    """Random batches of crops, which say which crops they are."""

    def draw(self) -> ObjectBatch:
        """See `BalancedBatches.draw`."""
        rows = self.rows()
        return ObjectBatch(self.images[rows], self.labels[rows], self.slots[rows], rows)


@dataclass
class ObjectTrainer(Trainer):
    """Noise and class to an object with alpha; what is judged is an object over a ground, and its alpha."""

    def take(self, images: Tensor, labels: ObjectConditions, random: torch.Generator) -> ObjectBatches:  # type: ignore[override]
        """See `Training`; `labels` are all that is known of the crops."""
        said, side, gan = labels, images.shape[-1], self.recipe.gan
        kind = alpha_of(self.recipe, said.alphas is not None)
        if kind == "learned":
            alphas = box_alphas(said.inside, side)
        elif kind == "given" and said.alphas is not None:
            alphas = said.alphas
        else:
            alphas = soft_alphas(said.inside, said.labels, side)
        self._crops, self._labels, self._inside = images, said.labels, said.inside.to(self.device)
        self._alphas, self._found = alphas.to(self.device), torch.tensor(kind != "learned")
        rows = _evenly(said.labels, _GROUNDS)
        under = _as_values(grounds_of(images[rows], said.inside[rows])).to(self.device)
        self._grounds = torch.cat([_as_values(said.backgrounds).to(self.device), under])
        for generator in (self.generator, self.average):
            assert isinstance(generator, ObjectGenerator), "built here"
            generator.hold(under, said.labels[rows].to(self.device))
        codes = self.shape.codes
        batches = ObjectBatches(
            images, said.labels, batch=gan.batch, balanced=gan.class_balanced, codes=codes, random=random
        )
        if codes:
            self.generator.code_counts.copy_(batches.counts.clamp_max(codes))
        return batches

    @property
    def running(self) -> dict[str, Tensor]:
        """See `Training`."""
        return {**super().running, "alphas": self._alphas, "found": self._found}

    def step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """See `Training`."""
        assert isinstance(batch, ObjectBatch), "drawn by `ObjectBatches`"
        if not self._found and progress >= self.recipe.reconstruction.share:
            self._find()
        alphas = self._alphas[batch.rows.to(self.device)][:, None]
        images = torch.cat([batch.images.to(self.device), alphas], dim=1)
        return super().step(Batch(images, batch.labels, batch.slots), progress)

    def _built(self) -> ObjectGenerator:
        return ObjectGenerator(self.shape)

    def _judged(self) -> NetworkShape:
        return replace(self.shape, image_channels=self.shape.image_channels + 1)

    def _error(self, made: Tensor, real: Tensor) -> Tensor:
        """Of colours where the object is and a little around it, and of alpha."""
        crops, alphas = real[:, :-1], opacity(real)
        near = functional.max_pool2d(alphas, 5, stride=1, padding=2).clamp_min(_AROUND)
        shown = torch.lerp(crops, made[:, :-1], near)
        if self._found:
            return losses.reconstruction(torch.cat([shown, made[:, -1:]], 1), real)
        cost = torch.lerp(_unexplained(crops, alphas), _price(crops, alphas), opacity(made)).mean()
        return losses.reconstruction(shown, crops) + real[0].numel() / 2 * cost

    def _augmented(self, samples: Tensor) -> Tensor:
        """Laid on grounds; colours are changed alone, places together with their alpha."""
        chosen = drawn(self._places, len(samples), self.random).to(self.device)
        laid = over(samples, self._grounds[chosen])
        policy = self.recipe.gan.augment
        colours = augment(laid[:, :-1], [part for part in policy if part == "colour"], self.random, self.strength)
        laid = torch.cat([colours, laid[:, -1:]], dim=1)
        return augment(laid, [part for part in policy if part != "colour"], self.random, self.strength)

    def _places(self, count: int) -> Tensor:
        return torch.randint(len(self._grounds), (count,), generator=self.random)

    @torch.no_grad()
    def _find(self) -> None:
        """Alphas of all crops by what reconstruction has learned; soft-edged ones where they leave much of a box."""
        side = self._crops.shape[-1]
        for network in (self.encoder, self.generator):
            network.eval()
        for rows in torch.arange(len(self._crops)).split(_CHUNK):
            inside, windows = self._inside[rows], self._alphas[rows][:, None]
            labels = self._labels[rows].to(self.device)
            real = torch.cat([self._crops[rows].to(self.device), windows], dim=1).float().div(127.5).sub(1)
            with self._autocast():
                codes, _ = self.encoder(real, labels)
                made = self.generator.decode(codes, labels)
            sure = (_SURE * (opacity(made) - 0.5) + 0.5).clamp(0, 1) * opacity(real)
            found = largest_part(without_holes(sure))
            soft = soft_alphas(inside.cpu(), labels.cpu(), side)[:, None].to(found).div(255)
            slight = (_extent(found) < _LEAST_EXTENT * _extent(soft)).any(1)
            found[slight] = soft[slight]
            self._alphas[rows] = found[:, 0].mul(255).round().to(torch.uint8)
        for network in (self.encoder, self.generator):
            network.train()
        self.processes.share([self._alphas])
        self._found.fill_(True)


def _extent(alphas: Tensor) -> Tensor:
    """(N, 2): columns and rows that alphas (N, 1, H, W) in [0, 1] are seen in."""
    seen = (alphas >= 0.5).float()
    return torch.stack([seen.amax(2).sum((1, 2)), seen.amax(3).sum((1, 2))], 1)


def _evenly(labels: Tensor, most: int) -> Tensor:
    """Rows of up to `most` of each of `labels` (N,), evenly spread."""
    rows = []
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        count = min(most, len(members))
        rows.append(members[torch.arange(count) * len(members) // count])
    return torch.cat(rows)


def _as_values(images: Tensor) -> Tensor:
    """uint8 as float32 in [-1, 1]."""
    return images.float().div(127.5).sub(1)


def _unexplained(crops: Tensor, windows: Tensor) -> Tensor:
    """(N, 1, H, W): mean absolute error of the ground guessed within `windows` (N, 1, H, W) from around them."""
    return (crops - fill_in(crops, 1 - windows)).abs().mean(1, keepdim=True)


def _price(crops: Tensor, windows: Tensor) -> Tensor:
    """(N, 1, H, W): the error of the ground from which on a pixel belongs to the object.

    The rougher the ground around `windows` (N, 1, H, W), the larger; cheap in the middle, dear in the corners.
    """
    around = 1 - windows
    smooth = functional.avg_pool2d(functional.pad(crops, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    rough = ((crops - smooth).abs() * around).mean((1, 2, 3), keepdim=True)
    price = _PRICE + _NOISE * rough / around.mean((2, 3), keepdim=True).clamp_min(1e-3)
    away = _squared_distance(windows.sum(2)[:, :, None, :]) + _squared_distance(windows.sum(3)[:, :, :, None])
    return price * (_MIDDLE + _EDGE * away) * windows + around


def _squared_distance(weights: Tensor) -> Tensor:
    """From the middle of an even run of weights along the last or the last but one dimension; 1 at its ends."""
    places = torch.arange(weights.numel() // len(weights), device=weights.device).view(weights.shape[1:]).float()
    shares = weights / weights.sum((2, 3), keepdim=True).clamp_min(1e-3)
    middle = (shares * places).sum((2, 3), keepdim=True)
    squares = (places - middle).square()
    return squares / (3 * (shares * squares).sum((2, 3), keepdim=True)).clamp_min(1e-3)
