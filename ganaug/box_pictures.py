"""What a bank for detection makes, to look at: its objects, and scenes with them beside the real ones they are of."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset

from ganaug.bank import GeneratorBank
from ganaug.data import choose_classes, to_uint8
from ganaug.data.box_files import list_boxes
from ganaug.data.box_view import BoxView
from ganaug.data.items import split_item
from ganaug.data.objects import ObjectImages
from ganaug.errors import DataError
from ganaug.measures import nearest_images
from ganaug.pictures import Panel, draw_boxes, draw_grid, draw_rows, stacked
from ganaug.planning import OnBad
from ganaug.pool import SamplePool
from ganaug.tasks import get_task

__all__ = ["preview_boxes"]

_SCENES = 3  # real images, and scenes of each
_GROUNDS = 16  # images that are counted and that objects are cut out of
_SIDE = 400  # of a scene, in pixels


def preview_boxes(
    bank: GeneratorBank, data: Any, classes: Sequence[str] | None, columns: int, seed: int, on_bad: OnBad
) -> Image.Image:
    """Objects on chequers; with `data` on real grounds beside the nearest real crops, and below whole scenes.

    Raises:
        DataError: a class is unknown, or the data cannot be read or has no objects of the bank's classes.
    """
    names = choose_classes(bank.class_names, classes)
    made = {name: bank.sample_objects(name, columns, seed=seed) for name in names}
    places = torch.arange(bank.resolution) // max(1, bank.resolution // 8)
    chequers = (255 - 64 * ((places[:, None] + places) % 2)).to(torch.uint8).expand(columns, bank.channels, -1, -1)
    panels: list[Panel] = [("synthetic", {name: _laid(*made[name], chequers) for name in names})]
    if data is None:
        return draw_grid(panels, columns=columns)
    real = get_task(bank.task).read(data, bank.recipe, classes=names, on_bad=on_bad, least=1)
    assert isinstance(real, ObjectImages), "read by this task"
    by_class = {name: real.images[real.labels == index] for index, name in enumerate(names)}
    grounds = real.backgrounds[torch.arange(columns) * len(real.backgrounds) // columns]
    shown = {name: _laid(*made[name], grounds) for name in names}
    nearest = {name: by_class[name][nearest_images(made[name][0], by_class[name])[0]] for name in names}
    others = {name: images[:columns] for name, images in by_class.items()}
    panels += [("on real grounds", shown), ("nearest real crop to each", nearest), ("real", others)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is left out was told when `real` was read
        dataset = list_boxes(data, on_bad=on_bad) if isinstance(data, (str, Path)) else data
    return stacked([draw_grid(panels, columns=columns), _scenes(bank, dataset, names, seed)])


def _scenes(bank: GeneratorBank, dataset: Any, names: Sequence[str], seed: int) -> Image.Image:
    """Rows of a real image and scenes of it, with boxes and the names of their classes."""
    view = _view_of(bank, dataset, seed)
    numbers = {n for name, n in zip(bank.class_names, bank.label_numbers, strict=True) if name in names}
    chosen: list[int] = []
    for index in np.random.default_rng(seed).permutation(len(view)).tolist():
        with contextlib.suppress(DataError):  # one that cannot be read was told of before
            labels = view.target(index)[0].labels.tolist()
            if any(view.object_name(n) in names if view.class_names is not None else n in numbers for n in labels):
                chosen.append(index)
        if len(chosen) == _GROUNDS:
            break
    few = Subset(dataset, chosen)
    view = _view_of(bank, few, seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        wanted = view.samples_for({0: _SCENES**2}, bank.class_names, bank.label_numbers)
        pool = SamplePool.create(bank, wanted, seed=seed, directory=folder) if wanted else None
        for row in range(min(_SCENES, len(few))):
            scenes = [view.raw_scene(row, pool, np.random.default_rng([seed, row, n])) for n in range(_SCENES)]
            rows.append([_drawn(view, *pair) for pair in (view.pair(row), *map(split_item, scenes))])
    generated = f"{1 - bank.recipe.scenes.real:.0%} of them {'variations' if bank.varies else 'generated'}"
    return draw_rows(("real", f"scenes of it, with more objects pasted in, about {generated}"), rows)


def _view_of(bank: GeneratorBank, dataset: Any, seed: int) -> BoxView:
    view: Any = get_task(bank.task).view(dataset, bank.recipe, bank.label_numbers)
    assert isinstance(view, BoxView), "of this task"
    if bank.varies:
        view.vary_by(lambda objects, start: bank.vary_objects(objects, seed=seed, start=start))
    return view


def _drawn(view: BoxView, image: Any, target: Any) -> Image.Image:
    pixels = to_uint8(image)
    labels = [int(label) for label in target["labels"]]
    names = [view.object_name(label) for label in range(max(labels, default=-1) + 1)]
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return draw_boxes(picture, np.asarray(target["boxes"]).tolist(), labels, names, side=_SIDE)


def _laid(images: Tensor, alphas: Tensor, grounds: Tensor) -> Tensor:
    """Images NCHW uint8 with alphas (N, H, W) uint8 over grounds NCHW uint8."""
    return torch.lerp(grounds.float(), images.float(), alphas[:, None].float() / 255).round().to(torch.uint8)
