"""Regions of images filled with what a bank finds plausible: a transform, and a picture of what it does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from ganaug.bank import GeneratorBank
from ganaug.compositing.filling import fill_in
from ganaug.compositing.holes import Holes, drawn_hole
from ganaug.data.fillable import FillableImages
from ganaug.errors import BankError, DataError, RecipeError
from ganaug.gan.filling import FillingGenerator
from ganaug.gan.hole_batches import Grounds, HoleBatches
from ganaug.pictures import Panel, draw_grid
from ganaug.tasks import get_task

__all__ = ["Filler", "RandomFilling", "preview_filling"]

_ROWS = 8  # of a preview
_HOLE = (230, 25, 230)  # the colour that a hole is shown in


class Filler:
    """What transforms of any library hide regions with: a bank of task fill on the CPU. It pickles.

    Args:
        bank: the bank, or its file.
        p: probability that an image is changed; looked at alone.
        scale: least and most part of the image that is hidden.
        name: of the transform, for messages.

    Raises:
        BankError: the bank is for another task.
        RecipeError: a number is out of range.
    """

    def __init__(self, bank: GeneratorBank | str | Path, p: float, scale: tuple[float, float], name: str) -> None:
        loaded = bank if isinstance(bank, GeneratorBank) else GeneratorBank.load(bank)
        loaded.check_task("fill", name, "fit one for it with a recipe such as fill-64")
        if not 0 <= p <= 1:
            raise RecipeError(f"p is {p}; wanted a probability, 0 to 1")
        if not 0 < scale[0] <= scale[1] < 1:
            raise RecipeError(f"scale is {scale}; wanted two parts of an image between 0 and 1, the lesser first")
        kept = GeneratorBank(loaded.manifest, [generator for generator in loaded.generators])
        self.bank = kept.to("cpu") if loaded.device.type != "cpu" else kept
        self.scale = scale

    def draw(self, size: tuple[int, int], random: np.random.Generator) -> tuple[Holes, int]:
        """A hole (H, W) in an image of that height and width, and the seed of the noise that fills it."""
        share = math.exp(random.uniform(math.log(self.scale[0]), math.log(self.scale[1])))
        return drawn_hole(size, share, random), int(random.integers(2**31))

    def fill(self, image: Tensor, hole: Holes, seed: int) -> Tensor:
        """(C, H, W) uint8; grey and RGB go through banks of the other kind where they can."""
        channels = image.shape[0]
        shown = image.cpu()
        if channels == 1 and self.bank.channels == 3:
            shown = shown.expand(3, -1, -1)
        elif channels == 3 and self.bank.channels == 1:
            if not bool((shown == shown[:1]).all()):
                raise BankError("an image has colours and the bank fills grey ones; fit one with data.colour=rgb")
            shown = shown[:1]
        made = self.bank.fill(shown[None], torch.from_numpy(hole)[None], seed=seed)[0]
        if made.shape[0] != channels:
            made = made.expand(channels, -1, -1) if channels == 3 else made.float().mean(0, keepdim=True).round().byte()
        return made.contiguous()


class RandomFilling(v2.Transform):  # type: ignore[misc]
    """Hides a random region of an image, with probability `p`, under what a bank fills it with.

    It stands where `torchvision.transforms.v2.RandomErasing` does, and shows plausible content where that shows grey;
    for training images alone. The region is a rectangle, an ellipse, brush strokes or a blob. Boxes, masks and labels
    are left as they are. What is drawn follows torch's global seed, as of all of torchvision's transforms, and the bank
    runs on the CPU, wherever it was, so that it works in the workers of a loader; it pickles.

    Args:
        bank: a bank of task fill, or its file.
        p: probability that an image is changed.
        scale: least and most part of the image that is hidden.

    Raises:
        BankError: the bank is for another task.
        RecipeError: a number is out of range.
    """

    _transformed_types = (Image.Image, tv_tensors.Image, v2.functional.is_pure_tensor)

    def __init__(
        self, bank: GeneratorBank | str | Path, p: float = 0.5, scale: tuple[float, float] = (0.02, 0.33)
    ) -> None:
        super().__init__()
        self.filler, self.p = Filler(bank, p, scale, "RandomFilling"), p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is drawn for a sample: the hole (H, W) bool or none, and the seed of the noise."""
        if float(torch.rand(())) >= self.p:
            return {"hole": None}
        height, width = functional.get_size(next(one for one in flat_inputs if _is_image(one)))
        hole, seed = self.filler.draw((height, width), np.random.default_rng(int(torch.randint(2**31, ()))))
        return {"hole": hole, "seed": seed}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """An image of the sample, of the kind that it was."""
        hole = params["hole"]
        if hole is None or hole.all():
            return inpt
        if isinstance(inpt, Image.Image):
            if inpt.mode not in {"L", "RGB"}:
                raise DataError(f"an image is of mode {inpt.mode}; convert it to RGB or L before RandomFilling")
            made = self.filler.fill(functional.pil_to_tensor(inpt), hole, params["seed"])
            return functional.to_pil_image(made)
        if inpt.dtype != torch.uint8:
            raise DataError(f"an image is {inpt.dtype}; put RandomFilling before what makes floats of uint8")
        plain = inpt.as_subclass(Tensor)
        flat = [self.filler.fill(one, hole, params["seed"]) for one in plain.reshape(-1, *plain.shape[-3:])]
        made = torch.stack(flat).view(plain.shape).to(plain.device)
        return tv_tensors.wrap(made, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else made


def _is_image(one: Any) -> bool:
    return isinstance(one, (Image.Image, tv_tensors.Image)) or v2.functional.is_pure_tensor(one)


def preview_filling(bank: GeneratorBank, data: Any, seed: int, on_bad: Any) -> Image.Image:
    """Squares with holes: as they are, hidden, smoothly filled, and filled by the bank, under two noises.

    Those that the bank holds, or with `data` others of that, with new holes.
    """
    generator = bank.generators[0]
    assert isinstance(generator, FillingGenerator), "what the task builds"
    images, holes = generator.sources.cpu(), generator.holes.cpu()
    if data is not None:
        task, recipe = get_task(bank.task), bank.recipe
        real = task.read(data, recipe, on_bad=on_bad, least=1)
        if real.images.shape[1] != bank.channels:
            raise DataError(f"the images of {data} have {real.images.shape[1]} channels and the bank's {bank.channels}")
        assert isinstance(real, FillableImages), "read by the task"
        random, grounds = torch.Generator().manual_seed(seed), Grounds(real.objects, real.shapes)
        batches = HoleBatches(real.images, grounds, shares=recipe.filling.holes, batch=_ROWS, random=random)
        drawn = batches.at(torch.arange(min(_ROWS, len(real))) * len(real) // min(_ROWS, len(real)))
        images, holes = drawn.images, drawn.holes
    chosen = holes.flatten(1).any(1).nonzero().flatten()
    chosen = chosen[torch.arange(min(_ROWS, len(chosen))) * len(chosen) // min(_ROWS, len(chosen))]
    images, holes = images[chosen], holes[chosen]
    colour = torch.tensor(_HOLE if bank.channels == 3 else (128,), dtype=torch.uint8)[:, None, None]
    smooth = fill_in(images.float(), (~holes)[:, None].float()).round().clamp(0, 255).to(torch.uint8)
    shown = {
        "image": images,
        "hole": torch.where(holes[:, None], colour, images),
        "smooth guess": smooth,
        "filled": bank.fill(images, holes, seed=seed),
        "other noise": bank.fill(images, holes, seed=seed + 1),
    }
    rows = [str(number) for number in range(1, len(images) + 1)]
    panels: list[Panel] = [
        (name, {row: made[place : place + 1] for place, row in enumerate(rows)}) for name, made in shown.items()
    ]
    return draw_grid(panels, columns=1, least=96)
