"""Dataset and recipe to bank, and the run folder that tells how it went."""

from __future__ import annotations

import dataclasses
import datetime
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ganaug
from ganaug import measures
from ganaug.bank import GeneratorBank, Manifest
from ganaug.basing import refuse_held_back, start_of
from ganaug.beside import as_one, images_known, kept_of, others_of, prints_of, refuse_leaks
from ganaug.data import LabelledImages, usable_rows
from ganaug.gan.loop import Fit, Snapshot
from ganaug.gan.mixed import Others
from ganaug.gan.networks import Generator, NetworkShape
from ganaug.gan.precision import half_pays
from ganaug.gan.processes import Processes
from ganaug.gan.training import Shape, Training
from ganaug.launching import Devices
from ganaug.manifest import Happening
from ganaug.map_reader import train_reader
from ganaug.planning import OnBad, Plan, RecipeLike, enough_memory, plan_fit
from ganaug.progress import Bar
from ganaug.tasks import get_task
from ganaug.tasks.exam import Exam, sampled

__all__ = ["fit", "fit_plan"]

_SHOWN = 8  # images of a class in a grid
_SCORES = (
    "score", "map_dice", "coverage", "kernel_distance", "spread_ratio", "sharpness_ratio", "noise_ratio",
    "source_ratio", "detail_ratio", "error_ratio", "distance_left", "tint_left", "verdict", "content",
)  # fmt: skip
_COMPARED, _LEAST_COMPARED = 6000, 100  # real images that a snapshot is compared with: in all, and of each class


def fit(
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
    run_dir: str | Path | None = None,
    resume: bool = False,
    raw: Any = None,
    target: Any = None,
    unlabelled: Any = None,
    base: GeneratorBank | str | Path | None = None,
    into: GeneratorBank | str | Path | None = None,
    on_bad: OnBad = "stop",
    held_back: Sequence[str] | LabelledImages = (),
    progress: bool = True,
) -> GeneratorBank:
    """Train generators on a labelled image set: of images of a class, or by recipe of label maps or of objects.

    Args:
        dataset: a folder or CSV path, any map-style dataset of (image, class) items, or `LabelledImages`; with a recipe
            of task segment a folder of images and masks, a COCO file, or a dataset of (image, mask); of task detect a
            VOC, YOLO or COCO set, or a dataset of (image, {"boxes", "labels", ...}).
        classes: names of the classes to learn; the recipe's `data.classes` by default, else all.
        recipe: a shipped name, a YAML file, a mapping or a `Recipe`; by default the size of the images decides.
        settings: changes to the recipe, as `{"gan.r1": 0.5}`.
        seed: of weights, noise and order; the recipe's by default.
        kimg: budget in thousands of real images shown; overrides the recipe's.
        minutes: budget in minutes, turned into kimg by a probe; overrides the recipe's.
        batch: real images a step; overrides the recipe's.
        device: "auto", "cpu", "cuda" or "cuda:i".
        devices: processes on each machine, "auto" for one on each CUDA card; by default one, or those that torchrun or
            SLURM has started, all of which must call this. They share each batch and learn what one would. Where they
            are started here, the calling script needs `if __name__ == "__main__"`.
        num_nodes: machines; by default one, or those that torchrun or SLURM uses.
        run_dir: folder for sample grids, log, curves and checkpoints; none of them without it. What an earlier fit
            left there is replaced, unless `resume`.
        resume: go on from the last checkpoint in `run_dir`, with its recipe; afresh where there is none.
        raw: the dataset's images below its transform, where ganaug cannot find them itself.
        target: with a recipe of task translate, the images that those of `dataset` are to look like, of which nobody
            need know which goes with which; a path or a dataset, whose labels are not looked at, nor `dataset`'s own.
        unlabelled: more images, whose labels are not looked at: a folder of any layout, a CSV, a dataset as the first
            argument, or `LabelledImages`; the recipe's `data.unlabelled` by default. Those whose class judges are sure
            of join it, and the generators learn what images are like from all of them. There may be other things among
            them. No sample is drawn of what belongs to no class.
        base: a bank of other classes to start from, at the same resolution; the recipe's `base` by default. Without a
            recipe the bank's is taken. One that keeps its networks (`networks.keep`) is the better start.
        into: a bank to which these classes are added, which is the base as well; its own samples stay as they are.
        on_bad: what to do about an unreadable file, "stop" or "skip".
        held_back: images kept from this fit for an honest comparison, or their fingerprints; listed in the bank.
        progress: show a live bar.

    Returns:
        The bank, on the CPU; with `into` one of its classes and the new ones.

    Raises:
        GanaugError: data, recipe, device or output cannot be used; the message says what to do.
        KeyboardInterrupt: Ctrl-C or SIGTERM; with `run_dir` the step is finished and a checkpoint of it written first.
    """
    plan = plan_fit(
        dataset, classes=classes, recipe=recipe, settings=settings, seed=seed, kimg=kimg, minutes=minutes, batch=batch,
        device=device, devices=devices, num_nodes=num_nodes, raw=raw, target=target, unlabelled=unlabelled,
        base=base, into=into, on_bad=on_bad, run_dir=run_dir, resume=resume,
    )  # fmt: skip
    return fit_plan(plan, held_back=held_back, progress=progress)


def fit_plan(plan: Plan, *, held_back: Sequence[str] | LabelledImages = (), progress: bool = True) -> GeneratorBank:
    """Carry out a plan; arguments are those of `fit`."""
    bank = plan.ranks.run(_fit_here, plan, held_back, progress)
    return bank if plan.into is None else plan.into.joined(bank)


def _fit_here(
    processes: Processes,
    device: torch.device,
    plan: Plan,
    held_back: Sequence[str] | LabelledImages,
    progress: bool,
) -> GeneratorBank:
    """One process's part in a plan; the first alone examines, speaks and writes."""
    ranks = dataclasses.replace(plan.ranks, device=device, processes=processes)
    plan, run = dataclasses.replace(plan, ranks=ranks), plan.run if processes.first else None
    refuse_leaks(plan.data, held_back)
    if plan.unlabelled is not None:
        plan = dataclasses.replace(plan, rows=usable_rows(plan.unlabelled, plan.data, *prints_of(held_back)))
    if plan.base is not None:
        refuse_held_back(plan.base, (), prints_of(held_back)[0])
    if run is not None and not plan.goes_on:
        run.start(plan.recipe, plan.data, plan.unlabelled)
    elif run is not None:
        run.go_on()
    fits = []
    try:
        others = others_of(plan, processes, run)
        parts = _parts(plan, others)
        with enough_memory(plan.recipe), Bar(plan.recipe.kimg or 0, shown=progress and processes.first) as bar:
            judge = reader = None
            if processes.first:
                reader = train_reader(plan.data, plan.recipe, plan.ranks.device)
                known = get_task(plan.recipe.task).to_tell_apart(plan.data)
                if known is not None:
                    half = half_pays(torch.device("cpu"))
                    judge = measures.train_features(*known, seed=plan.recipe.seed, half=half)
            for part in parts:
                examiner = _Examiner(plan, part, judge, reader) if processes.first else None
                fits.append(_fit_part(plan, part, len(parts), examiner, bar))
    finally:
        if run is not None:
            run.discard()
    manifest = _manifest(plan, parts, [part_fit for _, part_fit, _ in fits], held_back, others)
    bank = GeneratorBank(manifest, [generator for generator, _, _ in fits], fits[0][2])
    return bank if plan.recipe.latent is None else bank.with_latent(plan.recipe.latent)


@dataclass(frozen=True)
class _Part:
    """What one pair of networks learns: all classes, or a single one."""

    index: int
    name: str
    classes: tuple[str, ...]
    images: Tensor
    labels: Tensor
    """(N,) int64, places in `classes`."""
    conditions: Any
    """What the generator is told of each image, as its task gives it."""
    real: tuple[Tensor, Tensor]
    """Real images in the form of samples, NCHW uint8, and their labels as above."""
    shape: Shape
    """Of the generator that is kept: of these classes."""
    others: Others | None = None
    """Images without labels, which of these classes they have joined, or none."""

    @property
    def trained(self) -> Shape:
        """Of the networks that are trained: with a class more for images of none."""
        if self.others is None:
            return self.shape
        assert isinstance(self.shape, NetworkShape), "only images of classes go without labels"
        return dataclasses.replace(self.shape, classes=self.shape.classes + 1)


def _parts(plan: Plan, others: Others | None) -> list[_Part]:
    data, task = plan.data, get_task(plan.recipe.task)
    counts = torch.bincount(data.labels, minlength=len(data.class_names))
    if others is not None:
        counts = torch.bincount(others.labels[others.labels >= 0], minlength=len(counts) + 1)[:-1] + counts
    shape = task.shape(data, plan.recipe, most=int(counts.max()))
    if not plan.recipe.per_class:
        known, real = task.conditions(data), task.real_samples(data)
        return [_Part(0, "all", task.groups(data), data.images, data.labels, known, real, shape, others)]
    shape = dataclasses.replace(shape, classes=1)
    parts = []
    for index, name in enumerate(data.class_names):
        images = _rows(data.images, (data.labels == index).nonzero().flatten())
        labels = torch.zeros(len(images), dtype=torch.int64)
        own = None if others is None else as_one(others, index)
        parts.append(_Part(index, f"class-{index}", (name,), images, labels, labels, (images, labels), shape, own))
    return parts


def _rows(images: Tensor, rows: Tensor) -> Tensor:
    """Those of `images`; not a copy where they follow each other, for all may be more than memory holds."""
    if int(rows[-1] - rows[0]) + 1 == len(rows):
        return images[int(rows[0]) : int(rows[-1]) + 1]
    return images[rows]


@dataclass
class _Examiner:
    """Scores what a generator of one part makes of noise that stays the same, and shows some of it."""

    plan: Plan
    part: _Part
    judge: measures.FeatureNetwork | None
    """None where the task scores without one."""
    reader: Callable[[Tensor, Tensor], float] | None
    """See `Exam`."""
    exam: Exam = field(init=False)

    def __post_init__(self) -> None:
        recipe, task = self.plan.recipe, get_task(self.plan.recipe.task)
        random = torch.Generator().manual_seed(recipe.seed + 3)  # Fit uses the three before
        labels = torch.arange(len(self.part.classes)).repeat_interleave(recipe.snapshots.samples)
        noise = torch.randn(len(labels), self.part.shape.latent_dim, generator=random)
        known = len(task.groups(self.plan.data))
        asked = labels + (self.part.index if recipe.per_class else 0) if known > 1 else None
        images, image_labels = self.part.real
        rows = _compared(image_labels, len(self.part.classes))
        self.exam = Exam(
            recipe, self.judge, images[rows], image_labels[rows], noise, labels, asked, known, self.reader
        )  # fmt: skip

    def score(self, generator: nn.Module) -> tuple[float, dict[str, float]]:
        """One number to choose a snapshot by, and what is worth logging."""
        return get_task(self.plan.recipe.task).score(generator, self.exam)

    def synthetic(self, generator: nn.Module) -> dict[str, Tensor]:
        """A few images of each class, NCHW uint8."""
        exam = self.exam
        chosen = torch.cat([(exam.labels == i).nonzero().flatten()[:_SHOWN] for i in range(len(self.part.classes))])
        labels = exam.labels[chosen]
        images = sampled(generator, exam.noise[chosen], labels)
        return {name: images[labels == i] for i, name in enumerate(self.part.classes)}

    def real(self) -> dict[str, Tensor]:
        """As many real ones."""
        images, labels = self.exam.images, self.exam.image_labels
        return {name: images[labels == i][:_SHOWN] for i, name in enumerate(self.part.classes)}


def _compared(labels: Tensor, classes: int) -> Tensor:
    """Which real images a snapshot is compared with: all, or of large classes some, evenly spread.

    Neighbours within a class cost the square of its images, at every snapshot.
    """
    most = max(_LEAST_COMPARED, _COMPARED // classes)
    rows = []
    for index in range(classes):
        own = (labels == index).nonzero().flatten()
        rows.append(own if len(own) <= most else own[torch.arange(most) * len(own) // most])
    return torch.cat(rows).sort().values


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _fit_part(
    plan: Plan, part: _Part, count: int, examiner: _Examiner | None, bar: Bar
) -> tuple[nn.Module, Fit, dict[str, Tensor]]:
    """The generator, how its fit went, and what is kept of the networks that trained it."""
    assert plan.recipe.kimg is not None
    kimg = plan.recipe.kimg / count

    def on_snapshot(snapshot: Snapshot, generator: nn.Module) -> None:
        bar.score(snapshot.score)
        if plan.run is not None and examiner is not None:
            synthetic = examiner.synthetic(generator)
            plan.run.record(part.name, part_fit.history, synthetic, examiner.real(), part_fit.events)

    trained: list[Training] = []
    beside: dict[str, Any] = {}
    if part.others is not None:
        beside["others"] = part.others
    if plan.base is not None:
        beside["start"] = start_of(plan.base)

    make: Callable[..., Training] = get_task(plan.recipe.task).build_training

    def build(*arguments: Any, **settings: Any) -> Training:
        trained.append(make(*arguments, **settings, **beside))
        return trained[-1]

    def evaluate(generator: nn.Module) -> tuple[float, dict[str, float]]:
        assert examiner is not None, "the first process alone examines"
        return examiner.score(generator)

    part_fit = Fit(
        images=part.images,
        labels=part.conditions,
        recipe=plan.recipe,
        shape=part.trained,
        build=build,
        device=plan.ranks.device,
        kimg=kimg,
        evaluate=evaluate,
        seed=(plan.recipe.seed + 1_000_003 * part.index) % 2**63,
        checkpoint=plan.run.checkpoint(part.name) if plan.run is not None else None,
        resume=plan.goes_on,
        processes=plan.ranks.processes,
        on_step=lambda step, steps: bar.move((part.index + step / steps) / count),
        on_snapshot=on_snapshot,
        on_event=lambda event: warnings.warn(f"training: {event.told}", stacklevel=2),
    )
    generator = part_fit.run()
    if part.others is not None:
        assert isinstance(generator, Generator)
        generator = generator.of_first(len(part.classes))
    bar.skip_to((part.index + 1) / count)
    if plan.run is not None and plan.ranks.first:
        plan.run.draw(part.name, part_fit.history, part_fit.events)
    return generator, part_fit, kept_of(trained[-1]) if plan.recipe.networks.keep else {}


def _manifest(
    plan: Plan,
    parts: Sequence[_Part],
    fits: Sequence[Fit],
    held_back: Sequence[str] | LabelledImages,
    others: Others | None,
) -> Manifest:
    best = [max(part_fit.history, key=lambda snapshot: snapshot.score) for part_fit in fits]
    rows = [{"score": snapshot.score, **snapshot.measures} for snapshot in best]
    names = [name for name in _SCORES if name in rows[0]]
    return Manifest(
        task=plan.recipe.task,
        class_names=plan.data.class_names,
        label_numbers=plan.data.label_numbers,
        shape=parts[0].shape.to_dict(),
        per_class=plan.recipe.per_class,
        recipe=plan.recipe.model_dump(mode="json"),
        kimg=sum(snapshot.kimg for snapshot in best),
        scores={name: _mean([row[name] for row in rows]) for name in names},
        events=tuple(
            Happening(part=part.name, kimg=event.kimg, kind=event.kind, told=event.told)
            for part, part_fit in zip(parts, fits, strict=True)
            for event in part_fit.events
        ),
        versions={"ganaug": ganaug.__version__, "torch": torch.__version__, "python": platform.python_version()},
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        base=plan.base.class_names if plan.base is not None else (),
        **images_known(plan, held_back, others),
    )
