"""How many pixels each class has in new label maps, beside real ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ganaug.bank import GeneratorBank
from ganaug.compositing import class_shares
from ganaug.gan.map_variation import MapVariationGenerator
from ganaug.gan.spade import MapGenerator

__all__ = ["map_shares", "told_shares"]


def map_shares(bank: GeneratorBank, *, count: int = 64, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Of each class its share, 0 to 1, of the pixels of the real maps that the bank holds, and of `count` new ones.

    Pixels that are of no class are not counted. Nothing is painted for it.

    Raises:
        BankError: the bank is not for segmentation.
    """
    bank.check_task("segment", "shares of pixels", "it makes no label maps")
    generator, classes = bank.generators[0], len(bank.class_names)
    if isinstance(generator, MapVariationGenerator):
        held, made = generator.source_maps, bank.sample_pairs(count, seed=seed)[1]
    else:
        assert isinstance(generator, MapGenerator), "what the task builds"
        noise = torch.randn(count, generator.shape.latent_dim, generator=torch.Generator().manual_seed(seed))
        held, (made, _, _) = generator.maps, generator.compose(noise)
    real, new = (class_shares(maps.cpu().numpy(), classes).tolist() for maps in (held, made))
    return dict(zip(bank.class_names, zip(real, new, strict=True), strict=True))


def told_shares(shares: Mapping[str, tuple[float, float]]) -> str:
    """In words, class by class."""
    return ", ".join(f"{name} {new:.1%} (real {real:.1%})" for name, (real, new) in shares.items())
