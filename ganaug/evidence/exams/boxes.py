"""The exam of detection: a detector of a library, trained on the user's own images, and its average precision."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ganaug.adapters.detectors import is_of_ultralytics
from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.data.box_files import BoxFiles, find_layout, list_boxes
from ganaug.data.images import colour_of
from ganaug.data.objects import ObjectImages
from ganaug.errors import DataError, RecipeError, did_you_mean
from ganaug.evidence.arms import Control
from ganaug.evidence.gallery import Gallery, draw_cut_outs, draw_scenes
from ganaug.recipe import Compare
from ganaug.tasks import get_task

__all__ = ["BoxExam"]

_MODEL = "yolo11n.yaml"
_AUGMENTS = ("mosaic", "mosaic+copy-paste")
_OF_TORCHVISION = "zoom+boxcrop+flip+colour"  # which has no mosaic
_SCENES = 4  # on a page


class BoxExam:
    """Objects in scenes; who learns is a detector of Ultralytics or torchvision, or the user's own trainer.

    A score is of all scored images together, the mean over classes of average precision where boxes overlap by half.
    So what an interval says of other images comes from splits and seeds alone.
    """

    fewest = 2
    commands = ("compare", "explore", "report")
    controls: tuple[Control, ...] = ("duplicated", "pasted")

    def gallery(self, bank: GeneratorBank, columns: int, real: LabelledImages | None, source: Any) -> Gallery:
        """Cut-outs of each class, and with the files of training images a few scenes."""
        told = "Generated objects, as they come, unpicked, on grey; below each how much of every pixel is the object."
        samples = {name: draw_cut_outs(bank, name, columns) for name in bank.class_names}
        if not isinstance(source, (str, Path, BoxFiles)):
            return Gallery(told, samples)
        made = 1 - bank.recipe.scenes.real
        told += (
            f" Scenes are training images with more objects pasted in, about {made:.0%} of those generated, not real."
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is left out was told when `real` was read
            files = self.items(source, "data", "skip")
        return Gallery(told, samples, draw_scenes(bank, files, _SCENES))

    def settings(self, settings: Compare) -> Compare:
        """Ratios, each constant, and copy-paste of real objects or none; weights are for classes of images."""
        if settings.weights is not None:
            raise RecipeError("compare.weights are a classifier's, and this bank is for detection; leave them out")
        classes = Compare.model_fields["augments"].default  # which banks of before copy-paste was tried have said
        augments = _AUGMENTS if settings.augments == classes else tuple(dict.fromkeys(settings.augments))
        for augment in augments:
            if augment not in _AUGMENTS:
                raise RecipeError(
                    f"compare.augments has {augment!r}{did_you_mean(augment, _AUGMENTS)}; with boxes they are "
                    f"{' and '.join(_AUGMENTS)}"
                )
        update = {
            "schedules": ("constant",), "screened": (False,), "soft": (False,), "augments": augments,
            "balanced": False,
        }  # fmt: skip
        return settings.model_copy(update=update)

    def names(self, bank: GeneratorBank, classes: Sequence[str] | None) -> list[str] | None:
        """None: a scene holds all its classes."""
        if classes is not None:
            raise DataError("an image with boxes holds all its classes; leave classes out")
        return None

    def scored(self, names: Sequence[str]) -> tuple[str, ...]:
        """All."""
        return tuple(names)

    def read(
        self,
        source: Any,
        bank: GeneratorBank,
        names: Sequence[str] | None,
        *,
        what: str,
        on_bad: Literal["stop", "skip"],
        raw: Any = None,
    ) -> ObjectImages:
        """The objects of `source` as the bank has them: size, channels, and no class that it does not know."""
        recipe = bank.recipe.replace({"data.colour": colour_of(bank.channels)})
        least = 2 if what == "data" else 1  # to train on, or to score
        found = get_task(recipe.task).read(source, recipe, raw=raw, on_bad=on_bad, least=least)
        assert isinstance(found, ObjectImages), "read by this task"
        return found

    def in_order(self, data: LabelledImages, names: Sequence[str], what: str) -> LabelledImages:
        """As it is: classes go by their names."""
        return data

    def items(self, source: Any, what: str, on_bad: str) -> BoxFiles:
        """The user's images and boxes: of a set with parts, the one of that name."""
        if isinstance(source, BoxFiles):
            return source
        if not isinstance(source, (str, Path)):
            raise DataError(
                f"{what} is a {type(source).__name__}; a detector is trained from files: give a path, or give "
                "compare your own trainer"
            )
        layout = find_layout(Path(source).expanduser())
        return list_boxes(source, on_bad=on_bad, part=what if layout is not None and what in layout.parts else "train")

    def trainer(self, settings: Compare, device: str) -> tuple[Any, dict[str, Any]]:
        """Who trains where the user does not, and what is said of it.

        Raises:
            MissingExtraError: Ultralytics is not installed, or pycocotools for a model of torchvision.
            RecipeError: there is no such model.
        """
        model = settings.model or _MODEL
        given: dict[str, Any] = {
            "model": model, "steps": settings.steps, "batch": settings.batch, "size": settings.image_size,
            "lr": settings.lr, "device": device,
        }  # fmt: skip
        training: Any
        if is_of_ultralytics(model):
            from ganaug.adapters.ultralytics_comparison import YoloTraining

            training, library, own = YoloTraining(**given), "Ultralytics", "mosaic"
        else:
            from ganaug.adapters.torchvision_detection import DetectorTraining

            training, library, own = DetectorTraining(**given), "torchvision", _OF_TORCHVISION
        training.check()
        told = f"{model} of {library} at {settings.image_size} px, from scratch"
        augments = tuple(augment.replace("mosaic", own) for augment in settings.augments)
        return training, {"metric": "mAP50", "learner": told, "augments": augments, "by_steps": True}


def scenes_of_real(bank: GeneratorBank) -> dict[str, Any]:
    """What makes `GanAugmented` paste real objects alone."""
    settings: Mapping[str, Any] = {"real": 1.0}
    return {"scenes": bank.recipe.scenes.model_copy(update=settings)}
