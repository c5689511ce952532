"""What a bank makes of real images of classes: variations of them; and banks that vary others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ganaug.bank_moves import CHUNK, VaryingBank, whole
from ganaug.errors import BankError
from ganaug.gan.map_variation import MapVariationGenerator
from ganaug.gan.variation import VariationGenerator
from ganaug.manifest import Manifest
from ganaug.tasks import ClassifyTask, SegmentTask, get_task

if TYPE_CHECKING:
    from ganaug.bank import GeneratorBank

__all__ = ["ImageVarying"]

_OTHERS = {
    "segment": "vary_pairs gives variations of images with their maps",
    "detect": "vary_objects gives variations of objects that were cut out",
}


class _Bank(VaryingBank, Protocol):
    generators: nn.ModuleList
    manifest: Manifest

    @property
    def task(self) -> str: ...

    @property
    def varies(self) -> bool: ...

    @property
    def _instead(self) -> str: ...

    def refuse_to_vary(self) -> None: ...

    def _run(self, make: Callable[[], Tensor]) -> Tensor: ...

    def _of_others(self, generator: nn.Module, changes: Mapping[str, Any]) -> GeneratorBank: ...


class ImageVarying:
    """Variations of images, by a bank that was fitted with a recipe such as vary-32."""

    def vary(self: _Bank, images: Tensor, *, seed: int = 0, start: int = 0) -> Tensor:
        """Another image of the class of each, whatever that is: variation `start + i` of image i.

        Args:
            images: (n, channels, resolution, resolution) uint8.
            seed: of the noise.
            start: index of the first variation; image i varied by the same index and seed gives the same bytes.

        Returns:
            (n, channels, resolution, resolution) uint8 on the CPU.

        Raises:
            BankError: the bank makes images of noise alone, was fitted one generator a class, or the images are of
                another form.
        """
        self.check_task("classify", "vary", _OTHERS.get(self.task, self._instead))
        generator = self._varying()
        start = whole(start, "start", 0, 2**62)
        wanted = (self.channels, self.resolution, self.resolution)
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != wanted:
            raise BankError(
                f"images are {images.dtype} of shape {tuple(images.shape)}; wanted torch.uint8 (n, "
                f"{', '.join(map(str, wanted))})"
            )
        found, held = torch.empty(images.shape, dtype=torch.uint8, device="cpu"), images.cpu()
        for chunk in range(start // CHUNK, -(-(start + len(images)) // CHUNK)):
            places = torch.arange(CHUNK) + chunk * CHUNK - start
            inside = (places >= 0) & (places < len(images))
            shown = held[places.clamp(0, len(images) - 1)].to(self.device)
            noise = self._noise(range(chunk * CHUNK, (chunk + 1) * CHUNK), seed, "vary").to(self.device)
            found[places[inside]] = self._run(functools.partial(generator.vary, shown, noise))[inside]
        return found

    def of_sources(self: _Bank, images: Tensor, labels: Tensor, classes: Mapping[int, str]) -> GeneratorBank:
        """The same variations of other images: samples are then of these classes, which the fit need not have seen.

        Args:
            images: (n, channels, resolution, resolution) uint8.
            labels: (n,) int64, each a place in `classes`.
            classes: name of each class by the user's number, in order.

        Raises:
            BankError: as in `vary`.
        """
        varying = self._varying()
        shape = self.manifest.shape | {"sources": len(images), "classes": len(classes)}
        task = get_task(self.task)
        assert isinstance(task, ClassifyTask), "no other task varies images"
        generator = task.with_sources(varying, shape, images, labels)
        changes = {"shape": shape, "class_names": tuple(classes.values()), "label_numbers": tuple(classes)}
        return self._of_others(generator, changes)

    def of_pairs(self: _Bank, images: Tensor, maps: Tensor) -> GeneratorBank:
        """The same variations of other images with maps of the bank's classes, as `of_sources` has it.

        Args:
            images: (n, channels, resolution, resolution) uint8.
            maps: (n, resolution, resolution) uint8, places in `class_names`, 255 where no class is said.
        """
        self.check_task("segment", "of_pairs", "of_sources takes images of classes")
        varying, task = self._varying(), get_task(self.task)
        assert isinstance(varying, MapVariationGenerator), "what the task builds"
        assert isinstance(task, SegmentTask), "as checked"
        shape = self.manifest.shape | {"sources": len(images)}
        generator = task.with_sources(varying, shape, images, maps)
        return self._of_others(generator, {"shape": shape})

    def refuse_to_vary(self: _Bank) -> None:
        """Raises BankError where this bank cannot vary any image it is given, and says why."""
        if not self.varies:
            raise BankError(
                "the bank makes images of noise and a class, and varies none; fit one with a recipe of variations, as "
                "vary-32, vary-objects-32 or vary-masks-64"
            )
        if len(self.generators) > 1:
            raise BankError(
                f"the bank has {len(self.generators)} generators, each for classes of its own, and other images may be "
                "of none of them; fit one for all classes, with per_class: false"
            )

    def _varying(self: _Bank) -> VariationGenerator:
        self.refuse_to_vary()
        generator = self.generators[0]
        assert isinstance(generator, VariationGenerator)
        return generator
