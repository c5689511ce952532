"""What a fit will do, settled before it starts: data read, recipe resolved, minutes turned into kimg."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.basing import as_base, check_base, recipe_of_base, refuse_held_back
from ganaug.data import DatasetView, LabelledImages, read_unlabelled, usable_rows
from ganaug.data.box_files import holds_boxes
from ganaug.data.domains import DomainImages, Domains
from ganaug.data.folders import list_images
from ganaug.data.images import kind_of
from ganaug.data.items import split_item
from ganaug.data.mask_files import holds_masks
from ganaug.data.masks import MaskedImages
from ganaug.data.objects import ObjectImages
from ganaug.errors import DataError, RecipeError, TrainingError
from ganaug.gan.loop import seconds_per_step
from ganaug.gan.networks import NetworkShape
from ganaug.gan.processes import Processes
from ganaug.gan.training import Shape
from ganaug.launching import Devices, Ranks, resolve_ranks
from ganaug.recipe import Recipe, budget_steps, load_recipe
from ganaug.run_folder import RunFolder
from ganaug.tasks import get_task

__all__ = ["OnBad", "Plan", "RecipeLike", "choose_recipe", "enough_memory", "plan_fit"]

OnBad = Literal["stop", "skip"]
RecipeLike = str | Path | Recipe | Mapping[str, Any]

_STEPPING = 0.9  # share of the minutes spent on training steps; the rest goes to snapshots
_KINDS: dict[type, str] = {MaskedImages: "segment", ObjectImages: "detect", DomainImages: "translate"}
_LOOKED_AT = 64  # images whose size is looked at to choose a resolution


@dataclass(frozen=True)
class Plan:
    """What a fit will do, known before it starts."""

    recipe: Recipe
    """As resolved; its kimg is set."""
    data: LabelledImages
    ranks: Ranks
    """The processes that carry it out, and the device of this one."""
    minutes: float | None = None
    """Minutes that the training steps alone will take, where a probe was made."""
    run: RunFolder | None = None
    unlabelled: LabelledImages | None = None
    """Images without labels to learn from too, all of one class."""
    rows: Tensor | None = None
    """(n,) int64: which of these."""
    base: GeneratorBank | None = None
    """What the networks start from."""
    into: GeneratorBank | None = None
    """The bank that the classes are added to."""
    goes_on: bool = False
    """Whether the fit goes on from a checkpoint in `run`."""
    notes: tuple[str, ...] = ()
    """What was chosen, a line each."""

    def lines(self) -> list[str]:
        """The plan in words, a line each."""
        names = self.data.class_names
        counts = [f"{name} {count}" for name, count in zip(names, self.data.counts(), strict=True)]
        listed = ", ".join(counts[:20]) + (", ..." if len(counts) > 20 else "")
        kinds = f"{_several(len(names), 'class', 'classes')} ({listed})"
        what = {"detect": "objects", "translate": "pieces of the target"}.get(self.recipe.task, "images")
        lines = [*self.notes, f"{what}: {len(self.data)} in {kinds}"]
        lines += self.data.remarks
        if skipped := self.data.skipped:
            lines.append(f"skipped: {len(skipped)} that cannot be read, the first: {skipped[0]}")
        if self.unlabelled is not None and self.rows is not None:
            copies = len(self.unlabelled) - len(self.rows)
            known = f", {copies} copies left out" if copies else ""
            lines.append(f"unlabelled: {len(self.rows)} images{known}; judges sort them first, beside the budget")
        if self.base is not None:
            whole = "encoder and discriminator too" if self.base.kept else "the generator alone: it keeps no more"
            lines.append(f"starts from: a bank of {', '.join(self.base.class_names[:20])} ({whole})")
        channels = kind_of(self.data.images.shape[1])
        networks = "one for each class" if self.recipe.per_class else "one for all classes"
        flip = (
            "on" if self.recipe.data.horizontal_flip else "off (data.horizontal_flip=true where mirrors keep the class)"
        )
        steps = budget_steps(self.recipe.kimg or 0, self.recipe.gan.batch)
        where = str(self.ranks.device) if self.ranks.size == 1 else f"{self.ranks.size} x {self.ranks.device.type}"
        time = f", about {self.minutes:.1f} minutes" if self.minutes else ""
        return [
            *lines,
            f"generator: {self.recipe.resolution} px, {channels}, {networks}; horizontal flip {flip}",
            f"budget: {self.recipe.kimg:.1f} kimg, {_several(steps, 'step', 'steps')}{time}, on {where}",
        ]


def plan_fit(
    dataset: Any,
    *,
    classes: Sequence[str] | None = None,
    recipe: RecipeLike | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    device: str | torch.device = "auto",
    devices: Devices = None,
    num_nodes: int | None = None,
    raw: Any = None,
    target: Any = None,
    unlabelled: Any = None,
    base: GeneratorBank | str | Path | None = None,
    into: GeneratorBank | str | Path | None = None,
    on_bad: OnBad = "stop",
    run_dir: str | Path | None = None,
    resume: bool = False,
    ranks: Ranks | None = None,
) -> Plan:
    """Read the data, resolve the recipe and turn minutes into kimg, without training and without writing anything.

    Arguments are those of `fit`; `ranks`, where they are settled already, outdo `device`, `devices` and `num_nodes`.
    """
    if base is not None and into is not None:
        raise RecipeError("both base and into are given; classes are added from the bank itself: give one of them")
    flags = {
        "seed": seed, "kimg": kimg, "minutes": minutes, "gan.batch": batch, "data.unlabelled": _said(unlabelled),
        "data.target": _said(target), "base": _said(base if into is None else into),
    }  # fmt: skip
    if target is not None:
        dataset = Domains(dataset, target)
    changes = _changes(settings, flags)
    ranks = ranks or resolve_ranks(device, devices, num_nodes).joined()
    with ranks.as_one():
        target = as_base(into)
        started = target or as_base(base)
        plan = _without_budget(
            dataset, changes, ranks, classes, recipe, raw, unlabelled, started, on_bad, run_dir, resume
        )
        plan = dataclasses.replace(plan, base=started or as_base(None, plan.recipe), into=target)
        _check_start(plan)
    return plan if plan.recipe.kimg is not None else _with_kimg(plan)


def _without_budget(
    dataset: Any,
    changes: dict[str, Any],
    ranks: Ranks,
    classes: Sequence[str] | None,
    recipe: RecipeLike | None,
    raw: Any,
    unlabelled: Any,
    base: GeneratorBank | None,
    on_bad: OnBad,
    run_dir: str | Path | None,
    resume: bool,
) -> Plan:
    """The plan, but for turning minutes into kimg."""
    run = RunFolder(Path(run_dir)) if run_dir is not None else None
    goes_on = resume and run is not None and run.can_go_on()
    notes = [f"{run.path} holds no checkpoint yet; starting afresh"] if resume and run and not goes_on else []
    if run is not None and goes_on:
        resolved = _gone_on_with(run, recipe, changes)
        notes.append(f"going on from the last checkpoint in {run.path}, with its recipe")
    elif recipe is None and base is not None:
        resolved = recipe_of_base(base).replace(changes)
        notes.append("recipe: that of the bank to start from")
    elif recipe is None:
        recipe, why = choose_recipe(dataset, raw=raw)
        notes.append(f"recipe: {recipe} ({why})")
        resolved = load_recipe(recipe).replace(changes)
    else:
        resolved = load_recipe(recipe).replace(changes)
    if resolved.task != "classify" and (unlabelled is not None or base is not None):
        raise RecipeError(f"unlabelled, base and into do not go with task {resolved.task}; leave them out")
    if isinstance(dataset, Domains) and resolved.task != "translate":
        raise RecipeError(
            f"there is a target domain and the recipe is of task {resolved.task}; leave it out, or take translate-64"
        )
    ranks.check_batch(resolved.gan.batch)
    data = _read(dataset, resolved, classes, raw, on_bad)
    ranks.check_images(len(data))
    others = _read_unlabelled(unlabelled, resolved, data, on_bad)
    if run is not None and goes_on:
        run.check_images(data, others)
    rows = None if others is None else usable_rows(others, data)
    return Plan(resolved, data, ranks, run=run, unlabelled=others, rows=rows, goes_on=goes_on, notes=tuple(notes))


def _check_start(plan: Plan) -> None:
    """Make sure that the networks can start from the base, and that classes to add are new."""
    if plan.base is None:
        return
    for name in plan.data.class_names if plan.into is not None else ():
        if name in plan.base.class_names:
            raise DataError(f"class {name!r} is in the bank already; name the new classes alone (--classes)")
    shape = get_task(plan.recipe.task).shape(plan.data, plan.recipe)
    assert isinstance(shape, NetworkShape), "a recipe for label maps has no base"
    check_base(plan.base, plan.recipe, shape)
    others = plan.unlabelled.fingerprints if plan.unlabelled is not None else ()
    refuse_held_back(plan.base, (*plan.data.fingerprints, *others), ())


def _said(source: Any) -> str | None:
    """What a recipe says of a source of images: its path, if it has one."""
    return str(source) if isinstance(source, (str, Path)) else None


def _read_unlabelled(source: Any, recipe: Recipe, data: LabelledImages, on_bad: OnBad) -> LabelledImages | None:
    """The images without labels that are given, or those that the recipe names."""
    source = recipe.data.unlabelled if source is None else source
    if source is None:
        return None
    if recipe.generator == "variation":
        raise RecipeError("variations are learned from pairs of one class; leave unlabelled images out")
    channels = data.images.shape[1]
    return read_unlabelled(
        source, resolution=recipe.resolution, channels=channels, fit=recipe.data.fit, on_bad=on_bad
    )  # fmt: skip


def _changes(settings: Mapping[str, Any] | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with flags over them."""
    given = {key: value for key, value in flags.items() if value is not None}
    if {"kimg", "minutes"} <= set(given):
        raise RecipeError("both kimg and minutes are given; give one of them")
    budget = {"kimg", "minutes"} if {"kimg", "minutes"} & set(given) else set()  # one flag outdoes both settings
    return {key: value for key, value in (settings or {}).items() if key not in budget} | given


def _gone_on_with(run: RunFolder, recipe: RecipeLike | None, changes: Mapping[str, Any]) -> Recipe:
    """The recipe of the fit in `run`; a RecipeError where another one is asked for."""
    before = run.recipe()
    asked = (before if recipe is None else load_recipe(recipe)).replace(changes)
    if asked.kimg is None and asked.minutes == before.minutes:
        asked = asked.replace({"kimg": before.kimg})  # what the probe found then
    old, new = _flat(before.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    for key in old | new:
        if old.get(key) != new.get(key):
            raise RecipeError(
                f"the fit in {run.path} has {key} {old.get(key)!r}, and {new.get(key)!r} is asked for; "
                "go on with the same settings, or choose another --out"
            )
    return before


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {above + key: value}
    return found


def _read(dataset: Any, recipe: Recipe, classes: Sequence[str] | None, raw: Any, on_bad: OnBad) -> LabelledImages:
    task = get_task(recipe.task)
    if isinstance(dataset, LabelledImages):
        data, side = dataset, dataset.side if isinstance(dataset, DomainImages) else dataset.images.shape[-1]
        if task.of_pictures:
            data = task.read(dataset, recipe, classes=classes)
        if side != recipe.resolution:
            raise DataError(f"images are {side} px and the recipe is for {recipe.resolution}; read them at that size")
        if classes is not None and tuple(classes) != dataset.class_names:
            raise DataError(f"images are of the classes {', '.join(dataset.class_names)}; leave classes out")
        if not task.of_pictures and recipe.task != _KINDS.get(type(data), "classify"):
            raise DataError(f"the images do not go with a recipe of task {recipe.task}; read them with its own task")
        for name, count in zip(data.class_names, data.counts(), strict=True):
            if count < 2 and recipe.task == "classify":
                raise DataError(f"class {name!r} has {_several(count, 'image', 'images')}; wanted at least 2")
    else:
        chosen = classes if classes is not None else recipe.data.classes
        data = task.read(dataset, recipe, classes=chosen, raw=raw, on_bad=on_bad)
    for name in data.class_names:
        # a folder's name may be no text in the system's encoding, or hold line breaks
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
            raise DataError(f"the class name {name!r} cannot be written as text; rename the class")
    return data


def _with_kimg(plan: Plan) -> Plan:
    """The plan with the kimg that its minutes are good for, and the minutes that its steps alone will take."""
    recipe, data = plan.recipe, plan.data
    assert recipe.minutes is not None
    task = get_task(recipe.task)
    shape = task.shape(data, recipe)
    seconds = plan.ranks.run(_probe, recipe, shape, data.images, task.conditions(data))
    steps = max(1, int(_STEPPING * recipe.minutes * 60 / seconds))
    kimg = min(steps * recipe.gan.batch / 1000, 1e6)
    return dataclasses.replace(plan, recipe=recipe.replace({"kimg": kimg}), minutes=steps * seconds / 60)


def _probe(
    processes: Processes, device: torch.device, recipe: Recipe, shape: Shape, images: Tensor, labels: Any
) -> float:
    with enough_memory(recipe):
        return seconds_per_step(recipe, shape, get_task(recipe.task).build_training, device, images, labels, processes)


def choose_recipe(dataset: Any, *, raw: Any = None) -> tuple[str, str]:
    """Name of the shipped recipe that fits the images of a path or a dataset, and why."""
    if isinstance(dataset, Domains):
        return "translate-64", "there are two domains"
    if isinstance(dataset, MaskedImages) or (isinstance(dataset, (str, Path)) and holds_masks(Path(dataset))):
        return "segment-64", "there are images with masks"
    if isinstance(dataset, ObjectImages) or _has_boxes(dataset if raw is None else raw):
        return "detect-64", "there are images with boxes"
    if isinstance(dataset, LabelledImages):
        side = float(dataset.images.shape[-1])
    else:
        view = DatasetView(list_images(dataset) if isinstance(dataset, (str, Path)) else dataset, raw=raw)
        sides = []
        for index in range(0, len(view), max(1, len(view) // _LOOKED_AT)):
            with contextlib.suppress(DataError):  # what cannot be read is reported by who reads all
                sides.append(min(view.image_size(index)))
        side = statistics.median(sides) if sides else 32.0
    if side <= 20:
        return "classify-16", f"the images are about {side:.0f} px"
    finer = "; classify-64 and classify-128 are finer and slower" if side >= 48 else ""
    return "classify-32", f"the images are about {side:.0f} px{finer}"


def _has_boxes(dataset: Any) -> bool:
    """Whether a path is of images with boxes, or the targets of a dataset are dicts, as those of detection are."""
    if isinstance(dataset, (str, Path)):
        return holds_boxes(Path(dataset))
    try:
        return isinstance(split_item(dataset[0])[1], Mapping)
    except Exception:  # a user's code, or no dataset at all: told by who reads it
        return False


@contextlib.contextmanager
def enough_memory(recipe: Recipe) -> Iterator[None]:
    """Turn running out of memory into a TrainingError that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # PyTorch has a class of its own for CUDA, and none for the CPU
        out_of_memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "memory" in str(error)
        if not out_of_memory:
            raise
        raise TrainingError(
            f"there is not enough memory for batches of {recipe.gan.batch} at {recipe.resolution} px; "
            "lower gan.batch (--batch), or the channels under networks"
        ) from error


def _several(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
