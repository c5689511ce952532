"""What a fit learns from beside its labelled images, and what the bank then knows of all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganaug.data import LabelledImages
from ganaug.errors import LeakError
from ganaug.gan.mixed import Others
from ganaug.gan.processes import Processes
from ganaug.gan.training import Training
from ganaug.guesses import guess_classes
from ganaug.planning import Plan
from ganaug.run_folder import RunFolder

__all__ = ["as_one", "images_known", "kept_of", "others_of", "prints_of", "refuse_leaks"]


def others_of(plan: Plan, processes: Processes, run: RunFolder | None) -> Others | None:
    """The unlabelled images with what judges make of them; in a fit that goes on, what they made of them before."""
    if plan.unlabelled is None:
        return None
    return Others(plan.unlabelled.images, torch.tensor(processes.told(lambda: _guessed(plan, run))))


def _guessed(plan: Plan, run: RunFolder | None) -> list[int]:
    assert plan.unlabelled is not None
    assert plan.rows is not None
    if run is not None and plan.goes_on:
        return run.guesses()
    recipe = plan.recipe
    guesses = guess_classes(
        plan.data, plan.unlabelled.images, plan.rows, recipe.unlabelled, flips=recipe.data.horizontal_flip,
        seed=recipe.seed, device=plan.ranks.device,
    )  # fmt: skip
    labels: list[int] = guesses.labels.tolist()
    if run is not None:
        run.keep_guesses(plan.unlabelled, labels, guesses.confidence.tolist())
    return labels


def as_one(others: Others, index: int) -> Others:
    """The same images for the networks of one class: 0 is that class, and 1 is none of it."""
    labels = torch.where(others.labels < 0, -1, (others.labels != index).long())
    return dataclasses.replace(others, labels=labels)


def images_known(plan: Plan, held_back: Sequence[str] | LabelledImages, others: Others | None) -> dict[str, Any]:
    """Prints of all images that the generators learned from or must not have seen, those of the base among them."""
    exact, near = prints_of(held_back)
    trained, like, counts = plan.data.fingerprints, plan.data.perceptual, {}
    if others is not None and plan.unlabelled is not None:
        used = (others.labels >= 0).nonzero().flatten().tolist()
        trained += tuple(plan.unlabelled.fingerprints[row] for row in used)
        like += tuple(plan.unlabelled.perceptual[row] for row in used if plan.unlabelled.perceptual)
        joined = {name: int((others.labels == index).sum()) for index, name in enumerate(plan.data.class_names)}
        counts = {"unlabelled": len(used), "joined": joined}
    if plan.base is not None:
        before = plan.base.manifest
        trained, like = trained + before.train_fingerprints, like + before.train_perceptual
        exact, near = exact + before.held_back_fingerprints, near + before.held_back_perceptual
    return {
        "train_fingerprints": trained,
        "held_back_fingerprints": exact,
        "train_perceptual": like,
        "held_back_perceptual": near,
        **counts,
    }


def prints_of(held_back: Sequence[str] | LabelledImages) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fingerprints and, where they are known, perceptual prints."""
    if isinstance(held_back, LabelledImages):
        return held_back.fingerprints, held_back.perceptual
    return tuple(held_back), ()


def refuse_leaks(data: LabelledImages, held_back: Sequence[str] | LabelledImages) -> None:
    """Raises LeakError where an image to be fitted on is one that is held back."""
    if leaked := len(set(data.fingerprints) & set(prints_of(held_back)[0])):
        raise LeakError(
            f"{leaked} of the images to fit on are among those held back for an honest score; leave them out of the fit"
        )


def kept_of(trained: Training) -> dict[str, Tensor]:
    """The networks that a generator was trained with, by name, on the CPU."""
    return {
        f"{name}.{key}": tensor.detach().to("cpu", copy=True)
        for name in ("discriminator", "encoder")
        for key, tensor in trained.networks[name].state_dict().items()
    }
