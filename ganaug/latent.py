"""The latent space of a bank: what its generators can be explored by, and samples moved along its directions.

Directions are those of the generators as they were fitted, whatever setting is in force: their numbers stay, and a
setting replaces the one before.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ganaug.errors import BankError, did_you_mean
from ganaug.gan.networks import Generator
from ganaug.gan.steering import Directions, Steering, find_directions
from ganaug.gan.variation import VariationGenerator
from ganaug.manifest import FORMAT, Manifest
from ganaug.recipe_latent import Latent, LatentMoves
from ganaug.tasks import get_task

__all__ = ["Space", "open_spaces", "steered"]

_MOST_GROUPS = 64  # classes, or images varied, that directions are found from

Run = Callable[[Tensor, Tensor], Tensor]
_Generator = TypeVar("_Generator", Generator, VariationGenerator)


@dataclass(frozen=True)
class Space:
    """The codes of one generator, unmoved, and what is made of them.

    What is told beside a code is the class's number, or the number of the image that is varied. Directions are found on
    the CPU, whatever the device, so that their numbers are the same everywhere; samples are made on the device.
    """

    classes: tuple[str, ...]
    latent_dim: int
    device: torch.device
    start: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    """Noise and class numbers to codes and what is told."""
    place: Run
    """Noise and what is told to codes, on the CPU."""
    early: Run
    """Codes and what is told to features of an early layer, on the CPU."""
    decode: Run
    """Codes and what is told to raw output (N, planes, H, W) in [-1, 1]."""
    between: Callable[[Tensor, Tensor, Tensor, float], Tensor] | None
    """Codes, two classes and how far from one to the other, to raw output; none where the class is not told."""
    groups: Tensor
    """What is told, of which directions are found; on the CPU."""

    @property
    def by_class(self) -> bool:
        """Whether the generator is told the class."""
        return self.between is not None

    def directions(self, count: int) -> Directions:
        """Its first directions; a BankError where it has fewer."""
        if count > self.latent_dim:
            raise BankError(
                f"direction {count - 1} is not there: codes of this bank have {self.latent_dim} numbers, so directions "
                f"are 0 to {self.latent_dim - 1}"
            )
        found = find_directions(self.place, self.early, self.groups, count, latent_dim=self.latent_dim)
        if len(found) < count:
            raise BankError(
                f"direction {count - 1} is not there: samples of this bank differ along {len(found)} directions, 0 to "
                f"{len(found) - 1}"
            )
        if self.by_class:
            known = dict(zip(self.groups.tolist(), found.centres, strict=True))
            centres = [known[c] if c in known else self._centre(c) for c in range(len(self.classes))]
        else:
            centres = [torch.zeros(self.latent_dim)]  # of the standard normal codes of every image
        return Directions(torch.stack(centres), found.steps, found.readings, found.explained)

    def rows(self, labels: Tensor) -> Tensor:
        """Of classes (N,) int64, which centres of `directions` are theirs."""
        return labels if self.by_class else torch.zeros_like(labels)

    def _centre(self, cls: int) -> Tensor:
        """The mean code of a class that directions were not found from."""
        source = torch.Generator(device="cpu").manual_seed(cls)
        noise = torch.randn(256, self.latent_dim, generator=source)
        return self.place(noise, torch.full((256,), cls, dtype=torch.int64)).mean(0)


def open_spaces(manifest: Manifest, generators: Sequence[nn.Module]) -> list[Space]:
    """One for each generator of a bank.

    Raises:
        BankError: they have no codes that anything could be learned from.
    """
    if manifest.task not in ("classify", "detect"):
        raise BankError(
            f"a bank of task {manifest.task} has no directions to explore, for what it makes follows what it is given; "
            "look at its samples with: ganaug preview"
        )
    return _spaces(manifest, generators)


def _spaces(manifest: Manifest, generators: Sequence[nn.Module]) -> list[Space]:
    names, spaces = list(manifest.class_names), []
    for shape, generator in zip(manifest.shapes, generators, strict=True):
        own, names = tuple(names[: shape["classes"]]), names[shape["classes"] :]
        bare = _bare(manifest.task, shape, generator)
        if isinstance(bare, VariationGenerator):
            spaces.append(_of_variations(bare, own))
        elif isinstance(bare, Generator):
            spaces.append(_of_classes(bare, own))
        else:
            raise BankError(f"a {type(bare).__name__} has no codes to explore; fit a bank with a shipped recipe")
    return spaces


def steered(
    manifest: Manifest, generators: Sequence[nn.Module], latent: Latent | None
) -> tuple[Manifest, list[nn.Module]]:
    """The same generators, whose codes are moved as `latent` says; none for samples as they were fitted.

    Raises:
        BankError: a direction or a class is not there, or the generators are not told the class that is spoken of.
    """
    varies = manifest.task != "translate" and "sources" in manifest.shape
    spaces = _spaces(manifest, generators) if varies else open_spaces(manifest, generators)
    moves = latent if latent is not None and (latent.numbers or latent.reach != 1) else None
    numbers = sorted(moves.numbers) if moves is not None else []
    changed: dict[str, Any] = {"directions": len(numbers)}
    if moves is not None:
        _check_classes(moves, manifest.class_names, all(space.by_class for space in spaces))
    if varies:
        changed["reach"] = 1.0 if moves is None else moves.reach
    elif moves is not None and moves.reach != 1:
        raise BankError("latent.reach is of variations, and this bank makes its samples of noise alone; leave it out")
    made = []
    shapes = [shape | changed for shape in manifest.shapes]
    for shape, generator, space in zip(shapes, generators, spaces, strict=True):
        bare = _bare(manifest.task, shape, generator)
        if moves is None:
            made.append(bare)
            continue
        built, steering = _empty(manifest.task, shape), {}
        if numbers:
            part = "network." if isinstance(bare, VariationGenerator) else ""
            steering = {f"{part}steering.{n}": t for n, t in _steering(space, numbers, moves).state_dict().items()}
        built.load_state_dict(bare.state_dict() | steering, assign=True)
        made.append(built.requires_grad_(False).to(space.device))
    told = None if moves is None else moves.model_dump(mode="json")
    first = len(shapes) - len(manifest.added)
    changes: dict[str, Any] = {
        "format": FORMAT, "shape": shapes[0], "added": tuple(shapes[first:]), "verdict": None,
        "recipe": {**manifest.recipe, "latent": told},
    }  # fmt: skip
    return manifest.model_copy(update=changes), made


def _steering(space: Space, numbers: Sequence[int], latent: Latent) -> Steering:
    """What moves the codes of one generator."""
    found = space.directions(numbers[-1] + 1)
    rows = space.classes if space.by_class else ("",)
    steering = Steering(len(rows), len(numbers), space.latent_dim)
    steering.centres.copy_(found.centres)
    steering.steps.copy_(found.steps[list(numbers)])
    steering.readings.copy_(found.readings[list(numbers)])
    for row, name in enumerate(rows):
        moves: LatentMoves = latent.by_class.get(name, latent)
        for column, number in enumerate(numbers):
            steering.shift[row, column] = moves.shift.get(number, 0.0)
            steering.spread[row, column] = 0.0 if number in moves.exclude else moves.spread.get(number, 1.0)
    return steering


def _check_classes(latent: Latent, names: Sequence[str], by_class: bool) -> None:
    for name in latent.by_class:
        if name not in names:
            raise BankError(f"latent.by_class: the bank knows no class {name!r}{did_you_mean(name, names)}")
    if latent.by_class and not by_class:
        raise BankError("variations are told no class, so latent.by_class does not go with this bank; leave it out")


def _bare(task: str, shape: dict[str, Any], generator: nn.Module) -> nn.Module:
    """The generator as it was fitted; it shares its tensors."""
    fitted = {"directions": 0, "reach": 1.0}
    moved = {name for name, value in fitted.items() if getattr(getattr(generator, "shape", None), name, value) != value}
    if not moved:
        return generator
    made = _empty(task, shape | {name: value for name, value in fitted.items() if name in shape})
    state = {n: t for n, t in generator.state_dict().items() if "steering." not in n}
    made.load_state_dict(state, assign=True)
    return made.requires_grad_(False)


def _empty(task: str, shape: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return get_task(task).build_generator(shape).eval()


def _of_classes(generator: Generator, classes: tuple[str, ...]) -> Space:
    device = generator.class_embedding.weight.device

    def start(noise: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return generator.place(noise, labels), labels

    def between(codes: Tensor, one: Tensor, other: Tensor, how_far: float) -> Tensor:
        embedding = generator.class_embedding
        return generator.paint(codes, torch.lerp(embedding(one), embedding(other), how_far))

    found_on = _on_cpu(generator)
    return Space(
        classes, generator.shape.latent_dim, device, start, found_on.place, found_on.early, generator.decode, between,
        _spaced(len(classes)),
    )  # fmt: skip


def _of_variations(generator: VariationGenerator, classes: tuple[str, ...]) -> Space:
    groups = _spaced(int(generator.source_counts.sum()))
    return Space(
        classes, generator.shape.latent_dim, generator.sources.device, generator.place, _as_it_is,
        _on_cpu(generator).early, generator.decode, None, groups,
    )  # fmt: skip


def _on_cpu(generator: _Generator) -> _Generator:
    """The generator, or a copy of it on the CPU."""
    here = next(generator.parameters()).device.type == "cpu"
    return generator if here else copy.deepcopy(generator).cpu()


def _as_it_is(noise: Tensor, told: Tensor) -> Tensor:
    return noise


def _spaced(count: int) -> Tensor:
    """At most `_MOST_GROUPS` numbers below `count`, evenly spaced."""
    most = min(_MOST_GROUPS, count)
    return torch.arange(most) * count // most
