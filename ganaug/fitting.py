"""Dataset and recipe to bank, and the run folder that tells how it went."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

import ganaug
from ganaug import measures
from ganaug.bank import GeneratorBank, Manifest
from ganaug.data import LabelledImages, open_folder
from ganaug.errors import DataError, RecipeError
from ganaug.gan.device import resolve_device
from ganaug.gan.loop import Fit, Snapshot, seconds_per_step
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.recipe import Recipe, budget_steps, load_recipe
from ganaug.run_folder import RunFolder
from ganaug.tasks import get_task

__all__ = ["Plan", "choose_recipe", "fit", "fit_plan", "plan_fit", "resumed_recipe"]

_LOOKING = 0.9  # share of the minutes spent on training; the rest goes to snapshots


@dataclass(frozen=True)
class Plan:
    """What a fit will do, known before it starts."""

    recipe: Recipe
    """As resolved; its kimg is set."""
    data: LabelledImages
    device: torch.device
    minutes: float | None
    """Minutes that the training steps alone will take, where a probe was made."""

    def lines(self) -> list[str]:
        """The plan in words, a line each."""
        counts = ", ".join(f"{name} {count}" for name, count in zip(self.data.class_names, self.data.counts(), strict=True))
        channels = "grey" if self.data.images.shape[1] == 1 else "colour"
        flip = "on" if self.recipe.data.horizontal_flip else "off; data.horizontal_flip=true where mirror images keep their class"
        steps = budget_steps(self.recipe.kimg or 0, self.recipe.gan.batch)
        time = f", about {self.minutes:.1f} minutes" if self.minutes else ""
        return [
            f"images: {len(self.data)} in {len(self.data.class_names)} classes ({counts})",
            f"skipped: {len(self.data.skipped)} unreadable" if self.data.skipped else "skipped: none",
            f"generator: {self.recipe.resolution} px, {channels}, {'one for each class' if self.recipe.per_class else 'one for all classes'}",
            f"horizontal flip: {flip}",
            f"budget: {self.recipe.kimg:.1f} kimg, {steps} steps{time}, on {self.device}",
        ]


def plan_fit(
    dataset: Any,
    *,
    classes: Sequence[str] | None = None,
    recipe: str | Path | Recipe | Mapping[str, Any] = "classify-32",
    seed: int | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    device: str | torch.device = "auto",
    raw: Any = None,
    on_bad: Literal["stop", "skip"] = "stop",
) -> Plan:
    """Read the data, resolve the recipe and turn minutes into kimg, without training. Arguments are those of `fit`."""
    given = {"seed": seed, "kimg": kimg, "minutes": minutes, "gan.batch": batch}
    if kimg is not None and minutes is not None:
        raise RecipeError("both kimg and minutes are given; give one of them")
    resolved = load_recipe(recipe).replace({key: value for key, value in given.items() if value is not None})
    where = resolve_device(device)
    task = get_task(resolved.task)
    if isinstance(dataset, LabelledImages):
        data = dataset
        if data.images.shape[-1] != resolved.resolution:
            raise DataError(f"images are {data.images.shape[-1]} px and the recipe is for {resolved.resolution}; read them at that size")
    else:
        data = task.read(dataset, resolved, classes=classes, raw=raw, on_bad=on_bad)
    if resolved.kimg is not None:
        return Plan(resolved, data, where, None)
    assert resolved.minutes is not None
    seconds = seconds_per_step(resolved, task.shape(data, resolved), where, data.images, data.labels)
    steps = max(1, int(_LOOKING * resolved.minutes * 60 / seconds))
    found = resolved.replace({"kimg": steps * resolved.gan.batch / 1000})
    return Plan(found, data, where, steps * seconds / 60)


def fit(
    dataset: Any,
    *,
    classes: Sequence[str] | None = None,
    recipe: str | Path | Recipe | Mapping[str, Any] = "classify-32",
    seed: int | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    device: str | torch.device = "auto",
    run_dir: str | Path | None = None,
    resume: bool = False,
    raw: Any = None,
    on_bad: Literal["stop", "skip"] = "stop",
    held_back: Sequence[str] = (),
    progress: bool = True,
) -> GeneratorBank:
    """Train class-conditional generators on a labelled image set.

    Args:
        dataset: a folder or CSV path, any map-style dataset of (image, class) items, or `LabelledImages`.
        classes: names of the classes to learn; all by default.
        recipe: a shipped name, a YAML file, a mapping or a `Recipe`.
        seed: of weights, noise and order; the recipe's by default.
        kimg: budget in thousands of real images shown; overrides the recipe's.
        minutes: budget in minutes, turned into kimg by a probe; overrides the recipe's.
        batch: real images a step; overrides the recipe's.
        device: "auto", "cpu", "cuda" or "cuda:i".
        run_dir: folder for sample grids, log, curves and checkpoints; none of them without it.
        resume: go on from the last checkpoint in `run_dir`; afresh where there is none.
        raw: the dataset's images below its transform, where ganaug cannot find them itself.
        on_bad: what to do about an unreadable file, "stop" or "skip".
        held_back: fingerprints of images kept from this fit for an honest comparison; listed in the bank.
        progress: show a live bar.

    Returns:
        The bank, on the CPU.

    Raises:
        GanaugError: data, recipe, device or output cannot be used; the message says what to do.
    """
    folder = Path(run_dir) if run_dir is not None else None
    resumed = resumed_recipe(folder) if resume and folder is not None else None
    if resumed is not None:
        plan = plan_fit(dataset, classes=classes, recipe=resumed, device=device, raw=raw, on_bad=on_bad)
    else:
        plan = plan_fit(
            dataset, classes=classes, recipe=recipe, seed=seed, kimg=kimg, minutes=minutes, batch=batch,
            device=device, raw=raw, on_bad=on_bad,
        )  # fmt: skip
    return fit_plan(plan, run_dir=folder, resume=resume, held_back=held_back, progress=progress)


def fit_plan(
    plan: Plan, *, run_dir: Path | None = None, resume: bool = False, held_back: Sequence[str] = (), progress: bool = True
) -> GeneratorBank:
    """Carry out a plan; arguments are those of `fit`."""
    run = RunFolder(run_dir, plan.recipe) if run_dir is not None else None
    judge = measures.train_features(plan.data.images, plan.data.labels, seed=plan.recipe.seed)
    parts = _parts(plan)
    steps = budget_steps(plan.recipe.kimg or 0, plan.recipe.gan.batch)
    generators, histories = [], []
    with _Bar(progress, steps, plan.recipe.gan.batch) as bar:
        for index, part in enumerate(parts):
            part_fit = _part_fit(plan, part, index, len(parts), judge, run, bar)
            part_fit.resume = resume
            generators.append(part_fit.run())
            histories.append(part_fit.history)
    return GeneratorBank(_manifest(plan, parts[0].shape, histories, held_back), generators)


@dataclass(frozen=True)
class _Part:
    """What one pair of networks learns: all classes, or a single one."""

    name: str
    classes: tuple[str, ...]
    images: Tensor
    labels: Tensor
    shape: NetworkShape


def _parts(plan: Plan) -> list[_Part]:
    data = plan.data
    task = get_task(plan.recipe.task)
    if not plan.recipe.per_class:
        return [_Part("all", data.class_names, data.images, data.labels, task.shape(data, plan.recipe))]
    parts = []
    for index, name in enumerate(data.class_names):
        images = data.images[data.labels == index]
        shape = dataclasses.replace(task.shape(data, plan.recipe), classes=1)
        parts.append(_Part(f"class-{index}", (name,), images, torch.zeros(len(images), dtype=torch.int64), shape))
    return parts


def _part_fit(
    plan: Plan, part: _Part, index: int, count: int, judge: measures.FeatureNetwork, run: RunFolder | None, bar: _Bar
) -> Fit:
    real_features = judge.features(part.images)
    samples = plan.recipe.snapshots.samples
    labels = torch.arange(len(part.classes)).repeat_interleave(samples)
    noise = torch.randn(len(labels), part.shape.latent_dim, generator=torch.Generator().manual_seed(plan.recipe.seed + 3))

    def evaluate(generator: Generator) -> tuple[float, dict[str, float]]:
        synthetic = _images(generator, noise, labels)
        found = measures.fidelity(real_features, part.labels, judge.features(synthetic), labels)
        return found.score, {
            "coverage": found.coverage,
            "kernel_distance": found.kernel_distance,
            "spread_ratio": _class_ratio(measures.spread, synthetic, labels, part),
            "sharpness_ratio": _class_ratio(measures.sharpness, synthetic, labels, part),
        }

    def on_snapshot(snapshot: Snapshot, generator: Generator) -> None:
        bar.say(snapshot.score)
        if run is not None:
            shown = {name: noise[labels == i][:8] for i, name in enumerate(part.classes)}
            synthetic = {
                name: _images(generator, latent, torch.full((len(latent),), i))
                for i, (name, latent) in enumerate(shown.items())
            }
            real = {name: part.images[part.labels == i][:8] for i, name in enumerate(part.classes)}
            run.record(part.name, part_fit.history, synthetic, real)

    assert plan.recipe.kimg is not None
    part_fit = Fit(
        images=part.images,
        labels=part.labels,
        recipe=plan.recipe,
        shape=part.shape,
        device=plan.device,
        kimg=plan.recipe.kimg / count,
        evaluate=evaluate,
        seed=plan.recipe.seed + index,
        checkpoint=run.checkpoint(part.name) if run is not None else None,
        on_step=lambda step, steps: bar.move((index + step / steps) / count),
        on_snapshot=on_snapshot,
    )
    return part_fit


@torch.no_grad()
def _images(generator: Generator, noise: Tensor, labels: Tensor, chunk: int = 64) -> Tensor:
    """NCHW uint8 on the CPU, from noise (N, latent_dim) and labels (N,)."""
    device = next(generator.parameters()).device
    parts = [
        generator(part.to(device), part_labels.to(device)).add(1).mul(127.5).round().to("cpu", torch.uint8)
        for part, part_labels in zip(noise.split(chunk), labels.split(chunk), strict=True)
    ]
    return torch.cat(parts)


def _class_ratio(measure: Callable[[Tensor], float], synthetic: Tensor, labels: Tensor, part: _Part) -> float:
    """Mean over classes of a measure of the synthetic images by that of the real ones."""
    ratios = [
        measure(synthetic[labels == label]) / max(1e-6, measure(part.images[part.labels == label]))
        for label in part.labels.unique()
    ]
    return sum(ratios) / len(ratios)


def _manifest(
    plan: Plan, shape: NetworkShape, histories: Sequence[Sequence[Snapshot]], held_back: Sequence[str]
) -> Manifest:
    best = [max(history, key=lambda snapshot: snapshot.score) for history in histories]
    names = ("score", "coverage", "kernel_distance", "spread_ratio", "sharpness_ratio")
    rows = [{"score": snapshot.score, **snapshot.measures} for snapshot in best]
    return Manifest(
        task=plan.recipe.task,
        class_names=plan.data.class_names,
        label_numbers=plan.data.label_numbers,
        shape=shape.to_dict(),
        per_class=plan.recipe.per_class,
        recipe=plan.recipe.model_dump(mode="json"),
        kimg=sum(snapshot.kimg for snapshot in best),
        scores={name: sum(row[name] for row in rows) / len(rows) for name in names},
        versions={"ganaug": ganaug.__version__, "torch": torch.__version__, "python": platform.python_version()},
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        train_fingerprints=plan.data.fingerprints,
        held_back_fingerprints=tuple(held_back),
    )


def resumed_recipe(run_dir: Path) -> Recipe | None:
    """The recipe of the fit that left a checkpoint in `run_dir`; None where there is none."""
    if not list(run_dir.glob("checkpoint-*.safetensors")):
        return None
    return load_recipe(run_dir / "recipe.yaml")


def choose_recipe(data: str | Path) -> tuple[str, str]:
    """Name of the shipped recipe that fits the images at `data`, and why."""
    files = open_folder(data)
    step = max(1, len(files) // 64)
    sides = []
    for path in files.paths[::step]:
        with contextlib.suppress(OSError, ValueError), Image.open(path) as image:
            sides.append(min(image.size))
    side = statistics.median(sides) if sides else 32
    if side <= 20:
        return "classify-16", f"the images are about {side:.0f} px"
    finer = "; classify-64 and classify-128 are finer and slower" if side >= 64 else ""
    return "classify-32", f"the images are about {side:.0f} px{finer}"


class _Bar:
    """A live bar: kimg, images a second, time left, and the score of the last snapshot."""

    def __init__(self, shown: bool, steps: int, batch: int) -> None:
        self.kimg = steps * batch / 1000
        self.first: tuple[float, float] | None = None
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[kimg]:.1f}/{task.fields[total_kimg]:.1f} kimg  {task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            TextColumn("fidelity {task.fields[score]}"),
            disable=not shown,
            console=Console(stderr=True),
        )
        self.row = self.progress.add_task(
            "fit", total=1.0, kimg=0.0, total_kimg=self.kimg, rate=0.0, score="-"
        )

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def move(self, share: float) -> None:
        """`share` of the budget is spent."""
        now = time.perf_counter()
        if self.first is None:  # a resumed fit starts in the middle
            self.first = (now, share)
        elapsed, done = now - self.first[0], share - self.first[1]
        rate = 1000 * self.kimg * done / elapsed if elapsed > 0 else 0.0
        self.progress.update(self.row, completed=share, kimg=share * self.kimg, rate=rate)

    def say(self, score: float) -> None:
        """Show the score of a snapshot."""
        self.progress.update(self.row, score=f"{score:.2f}")
