"""What a direction changes: samples brought to places along it, looked at by measures and by a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganaug.classifier import probabilities
from ganaug.exploring.exploration import Effect, Turn
from ganaug.gan.steering import Directions
from ganaug.latent import Space
from ganaug.measures import ATTRIBUTES

__all__ = ["PLACES", "Codes", "Looks", "changes", "draw_codes", "look", "render"]

PLACES = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Standard deviations from a direction's middle that samples are brought to."""

_CHUNK = 64
_GREY = 127 / 127.5 - 1  # beneath an object that is cut out
_LEAST_TURNED = 0.25  # share of a class that is seen as another before that is said
_FEWEST_TURNED = 4  # samples of the class that a share is taken of
_MOST_TURNS = 3


@dataclass(frozen=True)
class Codes:
    """Samples before they are decoded; on the generator's device."""

    codes: Tensor
    """(N, latent_dim)."""
    told: Tensor
    """(N,) int64: what the generator is told beside them."""
    labels: Tensor
    """(N,) int64: their classes, of the space."""


@dataclass(frozen=True)
class Looks:
    """What measures and the judge say of N images."""

    measures: Mapping[str, Tensor]
    """(N,) float32 each."""
    judged: Tensor | None
    """(N, classes) float32: the judge's probabilities."""


@torch.no_grad()
def draw_codes(space: Space, classes: Sequence[int], count: int, seed: int) -> Codes:
    """`count` samples of each of `classes`, the same for the same seed."""
    labels = torch.tensor(list(classes)).repeat_interleave(count)
    source = torch.Generator(device="cpu").manual_seed(seed)
    noise = torch.randn(len(labels), space.latent_dim, generator=source).to(space.device)
    labels = labels.to(space.device)
    codes, told = space.start(noise, labels)
    return Codes(codes, told, labels)


@torch.no_grad()
def render(space: Space, codes: Tensor, told: Tensor, channels: int) -> Tensor:
    """Images (N, channels, H, W) uint8 on the CPU; objects lie on grey."""
    parts = zip(codes.split(_CHUNK), told.split(_CHUNK), strict=True)
    return as_images(torch.cat([space.decode(*part) for part in parts]), channels)


def as_images(raw: Tensor, channels: int) -> Tensor:
    """Raw output (N, planes, H, W) in [-1, 1] as images (N, channels, H, W) uint8 on the CPU, objects on grey."""
    images = raw[:, :channels]
    if raw.shape[1] > channels:
        images = torch.lerp(torch.full_like(images, _GREY), images, (raw[:, channels:] + 1) / 2)
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def look(images: Tensor, judge: nn.Module | None) -> Looks:
    """All that is measured of `images` NCHW uint8."""
    measured = {name: measure(images) for name, measure in ATTRIBUTES.items()}
    return Looks(measured, None if judge is None else probabilities(judge, images))


def changes(
    space: Space,
    found: Directions,
    number: int,
    drawn: Codes,
    usual: Looks,
    judge: nn.Module | None,
    *,
    channels: int,
    judged_as: Sequence[int],
    names: Sequence[str],
) -> tuple[dict[str, Effect], tuple[Turn, ...]]:
    """What direction `number` does to the samples `drawn`, as all of them are brought to each of `PLACES`.

    Args:
        space: that the codes are of.
        found: its directions.
        number: of the direction.
        drawn: ordinary samples.
        usual: what is said of these, as they are.
        judge: a classifier, if there is one.
        channels: of images.
        judged_as: of each class of the space, which of the judge's it is.
        names: of the judge's classes.
    """
    rows = space.rows(drawn.labels).cpu()
    looks = []
    for place in PLACES:
        moved = found.at(drawn.codes.cpu(), rows, number, place).to(drawn.codes.device)
        looks.append(look(render(space, moved, drawn.told, channels), judge))
    labels = drawn.labels.cpu()
    effects = {
        name: _effect(looks[0].measures[name], looks[-1].measures[name], usual.measures[name], labels)
        for name in ATTRIBUTES
    }
    if judge is None:
        return effects, ()
    own = torch.tensor(list(judged_as))[labels]
    low, middle, high, ordinary = (_judged(one) for one in (looks[0], looks[len(PLACES) // 2], looks[-1], usual))
    sure = [one.gather(1, own[:, None])[:, 0] for one in (low, high, ordinary)]
    effects["own_class"] = _effect(sure[0], sure[1], sure[2], labels)
    before, ends = middle.argmax(1), (("-", low), ("+", high))
    turns = [turn for end, seen in ends for turn in _turns(seen.argmax(1), before, own, end, names)]
    return effects, tuple(sorted(turns, key=lambda turn: -turn.share)[:_MOST_TURNS])


def _judged(looks: Looks) -> Tensor:
    assert looks.judged is not None, "asked of a judge"
    return looks.judged


def _effect(low: Tensor, high: Tensor, usual: Tensor, labels: Tensor) -> Effect:
    """The mean change of a measure, and that by its standard deviation within classes; 0 where it never differs."""
    change = float((high - low).mean())
    spreads = [usual[labels == label].var(correction=0) for label in labels.unique()]
    spread = float(torch.stack(spreads).mean().sqrt())
    return Effect(change, change / spread if spread > 1e-4 else 0.0)


def _turns(seen: Tensor, before: Tensor, own: Tensor, end: str, names: Sequence[str]) -> list[Turn]:
    """How often samples of a class that were seen as such are seen as another, where that is often."""
    turns = []
    for cls in own.unique().tolist():
        there = seen[(own == cls) & (before == cls)]
        counts = torch.bincount(there, minlength=len(names))
        counts[cls] = 0
        other = int(counts.argmax())
        share = float(counts[other]) / max(1, len(there))
        if len(there) >= _FEWEST_TURNED and share >= _LEAST_TURNED:
            turns.append(Turn(names[cls], names[other], end, share))
    return turns
