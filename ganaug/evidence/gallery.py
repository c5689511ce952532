"""Pictures for a page: samples with the training images that they are nearest to, and samples that were dropped."""

from __future__ import annotations

import base64
import contextlib
import io
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset

from ganaug.bank import GeneratorBank
from ganaug.data import LabelledImages
from ganaug.data.box_files import BoxFiles
from ganaug.data.fingerprints import fingerprint
from ganaug.dataset import GanAugmented
from ganaug.errors import DataError
from ganaug.measures.copies import nearest_tolerant
from ganaug.pictures import as_picture, draw_boxes, map_colours

__all__ = ["Gallery", "Picture", "as_uri", "draw_cut_outs", "draw_pairs", "draw_samples", "draw_scenes", "only_fitted"]

_GREY = 127  # beneath an object
_MOST = 96  # pixels of a picture's side on the page
_SCENE = 480  # of a scene's
_GROUNDS = 16  # images that scenes are made of: a large set is not gone through for a few


@dataclass(frozen=True)
class Picture:
    """A sample of a bank as a page shows it."""

    class_name: str
    index: int
    uri: str
    nearest: str | None = None
    """The nearest training image, mirrored and moved as it may be, or the label map; None where there is neither."""
    apart: float | None = None
    """How far it is: the root mean square difference of pixels, as a share of their range."""


@dataclass(frozen=True)
class Gallery:
    """What a report shows of a bank's samples."""

    told: str
    """What there is to see, in words."""
    samples: dict[str, list[Picture]]
    """By heading."""
    scenes: tuple[str, ...] = ()
    """Whole images with samples in them and their labels drawn, as addresses that hold them."""


def only_fitted(data: LabelledImages, bank: GeneratorBank) -> LabelledImages:
    """The images of `data` that the bank was fitted on.

    Raises:
        DataError: there is none.
    """
    fitted = set(bank.manifest.train_fingerprints)
    kept = [index for index, print_ in enumerate(data.fingerprints) if print_ in fitted]
    if not kept:
        raise DataError(
            f"none of the {len(data.fingerprints)} images of data is among the {len(fitted)} that the bank was fitted "
            "on; give the training images as --data, or leave it out"
        )
    return data.subset(kept)


def draw_samples(
    bank: GeneratorBank, class_name: str, indices: Sequence[int], *, seed: int = 0, real: LabelledImages | None = None
) -> list[Picture]:
    """Samples of a class by their indices; with `real`, the nearest of its images of that class beneath each.

    Mirrored images count as near only where the bank's recipe says that a mirror image is of the same class.
    """
    if not indices:
        return []
    images = bank.sample_at(bank.class_index(class_name), indices, seed=seed)
    drawn = [Picture(class_name, int(index), as_uri(image)) for index, image in zip(indices, images, strict=True)]
    others = _of_class(real, class_name)
    if others is None:
        return drawn
    found, apart = nearest_tolerant(images, others, flips=bool(_data_settings(bank).get("horizontal_flip")))
    return [
        replace(picture, nearest=as_uri(others[index]), apart=float(distance) / 255)
        for picture, index, distance in zip(drawn, found.tolist(), apart.tolist(), strict=True)
    ]


def draw_pairs(bank: GeneratorBank, indices: Sequence[int], *, seed: int = 0) -> list[Picture]:
    """Samples of a bank for segmentation by their indices, the label map of each beneath it."""
    if not indices:
        return []
    made = bank.sample_at(0, indices, seed=seed)
    shown = zip(indices, made[:, :-1], map_colours(made[:, -1]), strict=True)
    return [Picture("image", int(index), as_uri(image), as_uri(drawn)) for index, image, drawn in shown]


def draw_cut_outs(bank: GeneratorBank, class_name: str, count: int) -> list[Picture]:
    """The first objects of a class of a bank for detection, on grey, the alpha of each beneath it."""
    images, alphas = bank.sample_objects(class_name, count)
    opaque = alphas[:, None].float() / 255
    shown = (images * opaque + _GREY * (1 - opaque)).round().to(images.dtype)
    pairs = zip(shown, alphas[:, None], strict=True)
    return [Picture(class_name, index, as_uri(image), as_uri(alpha)) for index, (image, alpha) in enumerate(pairs)]


def draw_scenes(bank: GeneratorBank, files: BoxFiles, count: int) -> tuple[str, ...]:
    """Scenes as `GanAugmented` makes them at ratio 1 of images that the bank was fitted on, with their boxes.

    Addresses that hold JPEGs; none where no such image has an object of the bank's classes.
    """
    fitted = set(bank.manifest.train_fingerprints)
    places: list[int] = []
    for place in np.random.default_rng(0).permutation(len(files)).tolist():
        if any(files.classes[label] in bank.class_names for label in files.objects[place].labels):
            with contextlib.suppress(DataError):  # one that cannot be read was told of before
                if fingerprint(files[place][0]) in fitted:
                    places.append(place)
        if len(places) == _GROUNDS:
            break
    if not places:
        return ()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those are for who trains
        images: Any = Subset(cast("Dataset[Any]", files), places)
        mixed = GanAugmented(images, bank, ratio=1, check=False, pool_dir=folder, pool_factor=1)
        made = [mixed[index] for index in mixed.synthetic_indices()[:count].tolist()]
    drawn = [
        draw_boxes(picture, target["boxes"].tolist(), target["labels"].tolist(), files.classes, side=_SCENE)
        for picture, target in made
    ]
    return tuple(_encoded(picture, "JPEG") for picture in drawn)


def as_uri(image: Tensor) -> str:
    """An image CHW uint8, grey or RGB, as an address that holds its PNG; large ones are reduced."""
    picture = as_picture(image)
    if max(picture.size) > _MOST:
        picture.thumbnail((_MOST, _MOST), Image.Resampling.LANCZOS)
    return _encoded(picture, "PNG")


def _encoded(picture: Image.Image, form: Literal["PNG", "JPEG"]) -> str:
    """A picture as an address that holds it."""
    file = io.BytesIO()
    picture.save(file, form, optimize=True, **({"quality": 88} if form == "JPEG" else {}))
    return f"data:image/{form.lower()};base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _of_class(real: LabelledImages | None, class_name: str) -> Tensor | None:
    if real is None or class_name not in real.class_names:
        return None
    images = real.images[real.labels == real.class_names.index(class_name)]
    return images if len(images) else None


def _data_settings(bank: GeneratorBank) -> Mapping[str, object]:
    found = bank.manifest.recipe.get("data")
    return found if isinstance(found, dict) else {}
