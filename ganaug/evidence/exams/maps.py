"""The exam of segmentation: a segmenter, and for every image the Dice of its classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.data.images import colour_of
from ganaug.data.masks import MaskedImages, scored_classes
from ganaug.errors import DataError, RecipeError
from ganaug.evidence.arms import Arm, Control, classical_arms, synthetic_arms
from ganaug.evidence.gallery import Gallery, draw_pairs
from ganaug.evidence.material import Stock, repeated, share_of
from ganaug.evidence.protocol import Outcome
from ganaug.map_shares import map_shares, told_shares
from ganaug.measures import mean_dice, overlaps
from ganaug.recipe import Compare, Screening
from ganaug.screening import screen
from ganaug.segmenter import check_augment, predict_maps, train_segmenter
from ganaug.showing import TURNS
from ganaug.tasks import get_task

__all__ = ["MapExam", "Pairs", "mixed"]

_ORDER = ("flip", "turn", "affine", "elastic", "colour", "cutmix")


@dataclass(frozen=True)
class Pairs:
    """Synthetic images and their maps, in the order in which a low ratio takes the first of them."""

    images: Tensor  # NCHW uint8
    maps: Tensor  # NHW uint8


class MapExam:
    """Label map to image; the learner is ganaug's segmenter (an `Exam`).

    An image's score is the mean Dice of its classes. The first class is left out where it is the ground that others
    lie on: where it is one of two, or is called so; and so are classes that are neither in an image's map nor seen
    there. Where that leaves none, nothing was to be found and nothing was: 1.
    """

    fewest = 2  # one image tells nothing of how others differ, and two little
    cell = "reference segmenter 1"
    controls: tuple[Control, ...] = ("duplicated", "shuffled")
    commands = ("compare", "screen")

    def gallery(self, bank: GeneratorBank, columns: int, real: LabelledImages | None, source: Any) -> Gallery:
        """Pairs, three rows of them."""
        told = (
            "Above a synthetic image, as it comes, unpicked; below it the label map that it was made of. The shares of "
            f"such maps' pixels: {told_shares(map_shares(bank))}."
        )
        return Gallery(told, {"images and their maps": draw_pairs(bank, range(3 * columns))})

    def settings(self, settings: Compare) -> Compare:
        """Without what maps do not have: soft labels, classes of images."""
        if settings.model is not None:
            raise RecipeError(
                "compare.model is a classifier, and this bank is for segmentation; leave it out, or give compare your "
                "own trainer"
            )
        return settings.model_copy(update={"soft": (False,), "balanced": False})

    def metric(self, settings: Compare, train: LabelledImages) -> str:
        """Dice."""
        return "Dice"

    def learner(self, settings: Compare) -> str:
        """Who learns in every arm, in words."""
        return "ganaug's reference segmenter, from scratch"

    def names(self, bank: GeneratorBank, classes: Sequence[str] | None) -> list[str] | None:
        """None: a map holds all its classes."""
        if classes is not None:
            raise DataError("a label map holds all its classes; leave classes out")
        return None

    def scored(self, names: Sequence[str]) -> tuple[str, ...]:
        """All but the ground that they lie on."""
        return tuple(names[place] for place in scored_classes(names))

    def read(
        self,
        source: Any,
        bank: GeneratorBank,
        names: Sequence[str] | None,
        *,
        what: str,
        on_bad: Literal["stop", "skip"],
        raw: Any = None,
    ) -> MaskedImages:
        """The pairs of `source` as the bank has them: size, channels, squares, and classes by name or number."""
        if not isinstance(source, LabelledImages):
            recipe = bank.recipe.replace({"data.colour": colour_of(bank.channels)})
            least = 2 if what == "data" else 1  # to train on, or to score
            source = get_task(recipe.task).read(source, recipe, raw=raw, on_bad=on_bad, least=least)
        if not isinstance(source, MaskedImages):
            raise DataError(f"{what} has classes of images, and the bank is for segmentation; give images with masks")
        wanted, got = (bank.channels, bank.resolution, bank.resolution), tuple(source.images.shape[1:])
        if got != wanted:
            raise DataError(f"images of {what} are {got} and the bank's {wanted}; read them like the bank's")
        return source.with_classes(bank.class_names, bank.label_numbers, what)

    def in_order(self, data: LabelledImages, names: Sequence[str], what: str) -> LabelledImages:
        """As it is: what is read has the bank's classes in the bank's order."""
        return data

    def classical(self, settings: Compare, flips: bool) -> list[Arm]:
        """Flips are where a mirrored image is as real as it was."""
        return classical_arms(settings.augments, flips, parts_of=check_augment, order=_ORDER, mirrored=("flip",))

    def synthetic(self, settings: Compare, augment: str, train: LabelledImages) -> list[Arm]:
        """Every ratio with every schedule."""
        return synthetic_arms(settings, augment)

    def training(self, settings: Compare) -> dict[str, Any]:
        """Steps and batch."""
        return settings.model_dump(include={"steps", "batch"})

    def samples(
        self,
        bank: GeneratorBank,
        names: Sequence[str],
        most: Sequence[int],
        run: int,
        seed: int,
        screening: Mapping[str, Any] | None,
    ) -> Pairs:
        """`TURNS` times as many as there are slots; the next so many of those that passed the screening."""
        count = max(1, TURNS * sum(most))
        if screening is None:
            return Pairs(*bank.sample_pairs(count, seed=seed + run))
        kept = screening["kept"]
        taken = [kept[place % len(kept)] for place in range(run * count, (run + 1) * count)] if kept else []
        made = bank.sample_at(0, taken, seed=seed)
        return Pairs(made[:, :-1], made[:, -1])

    def tensors(self, stock: Stock, arm: Arm) -> tuple[Tensor, ...]:
        """Images and maps."""
        images, maps, _, _ = mixed(stock, arm)
        return images, maps

    def train(self, stock: Stock, arm: Arm, training: Mapping[str, Any], device: str) -> dict[str, Any]:
        """Train the segmenter; for each image held back and class the pixels in both maps, in the seen, in the true."""
        images, maps, added, turns = mixed(stock, arm)
        classes = len(stock.parts.train.class_names)
        network = train_segmenter(
            images,
            maps,
            classes=classes,
            seed=stock.seed,
            augment=arm.augment,
            added=added,
            turns=turns,
            fading=arm.annealed,
            device=device,
            **training,
        )
        told: dict[str, Any] = {}
        for what, part in stock.parts.judged().items():
            assert isinstance(part, MaskedImages), "read by this exam"
            seen = predict_maps(network, part.images)
            told[what] = overlaps(seen, part.maps, part.sources, classes=classes).tolist()
        return told

    def outcome(self, told: Any, held: LabelledImages, metric: str) -> Outcome:
        """Of each image the mean Dice of its classes; of each class its Dice on the images that have it."""
        counts = torch.tensor(told)  # (images, classes, 3)
        both, seen, true = np.moveaxis(counts.double().numpy(), 2, 0)
        dice, scored = 2 * both / np.maximum(seen + true, 1), scored_classes(held.class_names)
        by_class = {held.class_names[cls]: dice[true[:, cls] > 0, cls] for cls in scored}
        return Outcome(mean_dice(counts, scored).numpy(), by_class)

    def screening(
        self,
        train: LabelledImages,
        bank: GeneratorBank,
        count: Mapping[str, int],
        settings: Mapping[str, Any],
        *,
        seed: int,
        soft: bool,
        device: str,
    ) -> dict[str, Any]:
        """Of pairs that passed, the indices."""
        assert isinstance(train, MaskedImages), "read by this exam"
        wanted = {name: TURNS * n for name, n in count.items()}
        found = screen(bank, train, wanted, settings=Screening.model_validate(settings), seed=seed, device=device)
        return {"kept": found.kept[0].tolist(), "shortage": found.shortage}

    def shuffled(self, bank: GeneratorBank) -> GeneratorBank:
        """The same images with the maps of others."""
        return _Shuffled(bank.manifest, list(bank.generators))


class _Shuffled(GeneratorBank):
    """The same images, each with the map of the next sample."""

    @property
    def fingerprint(self) -> str:
        """Other than that of the bank: its samples are others."""
        return hashlib.sha256(f"shuffled {super().fingerprint}".encode()).hexdigest()[:32]

    def sample_at(self, class_index: int, indices: Sequence[int], *, seed: int = 0) -> Tensor:
        """For each index its image and the next one's map; samples are drawn apart, so any other is as good."""
        found = super().sample_at(class_index, indices, seed=seed)
        found[:, -1] = super().sample_at(class_index, [index + 1 for index in indices], seed=seed)[:, -1]
        return found


def mixed(stock: Stock, arm: Arm) -> tuple[Tensor, Tensor, int, int]:
    """What an arm trains on: images NCHW uint8, maps NHW uint8, how many of the last are added, and in how many turns.

    A ratio is of squares, as those of `GanAugmented` are of the items that a training draws.
    """
    real = share_of(stock.parts.train, arm.share, stock.seed)
    assert isinstance(real, MaskedImages), "read by this exam"
    (count,) = arm.added([len(real)])
    if count == 0:
        return real.images, real.maps, 0, 1
    if arm.control == "duplicated":
        again = repeated(real.labels, [count], stock.seed)
        return torch.cat([real.images, real.images[again]]), torch.cat([real.maps, real.maps[again]]), count, 1
    samples = stock.screened if arm.screened else stock.plain
    assert isinstance(samples, Pairs)
    images, maps = samples.images[: TURNS * count], samples.maps[: TURNS * count]
    if not len(images):  # none passed
        return real.images, real.maps, 0, 1
    if arm.control == "shuffled":
        maps = maps[torch.randperm(len(maps), generator=torch.Generator().manual_seed(stock.seed))]
    return torch.cat([real.images, images]), torch.cat([real.maps, maps]), len(images), TURNS
