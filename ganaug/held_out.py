"""Images that a whole recipe trains on, and images that nothing trains on."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganaug.data import LabelledImages, read_unlabelled, without_copies
from ganaug.data.class_tables import made_table
from ganaug.data.folders import ImageFiles, list_images
from ganaug.data.mask_files import MaskFiles, list_masks
from ganaug.data.masks import MaskedImages
from ganaug.errors import LeakError
from ganaug.evidence.exams import get_exam
from ganaug.evidence.parts import hold_back
from ganaug.output import write_text
from ganaug.recipe import Recipe
from ganaug.tasks import get_task

__all__ = ["Split", "split_off"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Split:
    """Images to train on, and images that nothing trains on."""

    source: Path
    val: Path | None
    """Where the user has those; none where they are held back from `source`."""
    train: LabelledImages
    held: LabelledImages
    files: dict[tuple[str, str], Path]
    """The file of every image of `source`, by its fingerprint and class; the latter is empty for images with masks."""
    pairs: MaskFiles | None = None
    """Of images with masks those to train on, and those that nothing trains on where they are of `source` too."""
    held_pairs: MaskFiles | None = None

    def unlabelled(self, recipe: Recipe) -> LabelledImages | None:
        """The recipe's unlabelled images, without what is held back here; images of `val` among them are an error."""
        if recipe.data.unlabelled is None:
            return None
        found = read_unlabelled(
            recipe.data.unlabelled,
            resolution=recipe.resolution,
            channels=self.train.images.shape[1],
            fit=recipe.data.fit,
        )
        return found if self.val is not None else without_copies(found, [self.held])

    def write(self, folder: Path, say: Say) -> tuple[Any, Any]:
        """Both parts; of what is held back here and of the rest, lists are written into `folder`.

        They are paths, of the lists where these say all: masks are not in them, so that such parts are as read.
        """
        if self.val is not None:
            return self.source, self.val
        count = len(self.held.fingerprints)
        say(
            f"no data.val in the recipe: {count} of {count + len(self.train.fingerprints)} images are held back "
            f"for the answer, listed in {folder / 'held-back.csv'}"
        )
        lists = self._list(self.train, folder / "train.csv"), self._list(self.held, folder / "held-back.csv")
        return (self.train, self.held) if isinstance(self.train, MaskedImages) else lists

    def _list(self, part: LabelledImages, path: Path) -> Path:
        text = io.StringIO(newline="")
        names = _labels(part)
        files = [self.files[key].absolute() for key in zip(part.fingerprints, names, strict=True)]
        csv.writer(text).writerows([("path", "label"), *zip(files, names, strict=True)])
        write_text(path, text.getvalue())
        return path


def _labels(part: LabelledImages) -> list[str]:
    """The class of each image; none of images with masks."""
    if isinstance(part, MaskedImages):
        return [""] * len(part.fingerprints)
    return [part.class_names[label] for label in part.labels.tolist()]


def split_off(source: Path, recipe: Recipe, classes: Sequence[str] | None) -> Split:
    """Read what a whole recipe is carried out on; without `data.val` a fifth of every class is held back of it.

    Raises:
        DataError: it cannot be read, or there is too little to hold any back.
        LeakError: `data.val` and the training images share some.
    """
    task = get_task(recipe.task)
    if recipe.task == "segment":
        files: ImageFiles | MaskFiles = list_masks(
            source, None if recipe.data.table is None else made_table(recipe.data.table)
        )
    else:
        files = list_images(source, classes=classes)
    paths = files.images if isinstance(files, MaskFiles) else files.paths
    data = task.read(files, recipe, classes=classes)
    places = dict(zip(zip(data.fingerprints, _labels(data), strict=True), paths, strict=True))
    if recipe.data.val is None:
        parts = hold_back(data, several=False, seed=recipe.seed, fewest=get_exam(recipe.task).fewest)
        pairs = [_some(files, data, part) for part in (parts.train, parts.score)]
        return Split(source, None, parts.train, parts.score, places, *pairs)
    held = task.read(recipe.data.val, recipe, classes=classes, least=1)
    if shared := len(set(held.fingerprints) & set(data.fingerprints)):
        raise LeakError(
            f"{shared} images of {recipe.data.val} are among those of {source} too; give others as data.val"
        )
    return Split(source, Path(recipe.data.val), data, held, places, files if isinstance(files, MaskFiles) else None)


def _some(files: ImageFiles | MaskFiles, data: LabelledImages, part: LabelledImages) -> MaskFiles | None:
    """Of images with masks those of a part of them."""
    if not isinstance(files, MaskFiles):
        return None
    wanted = set(part.fingerprints)
    return files.subset([index for index, found in enumerate(data.fingerprints) if found in wanted])
