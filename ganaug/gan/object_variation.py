"""Variations of real objects: how a generator of variations moves and recolours a cut-out, whatever its size.

It learns from crops whose ground is grey (see `over_grey`), and sees a cut-out as such a crop. What it says is smooth:
a flow and a colour transform that were learned at 32 px move and recolour the pixels and the alpha of an object of any
size, which stays as sharp as it was.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganaug.gan.cut_outs import ObjectConditions, over, soft_alphas
from ganaug.gan.variation import Moves, VariationGenerator, VariationNetwork, VariationShape, recoloured, warped
from ganaug.gan.varying import PairBatches, VariationTrainer

__all__ = ["ObjectVariationGenerator", "ObjectVariationTrainer", "alphas_of", "moved", "over_grey"]


def alphas_of(given: Tensor | None, inside: Tensor, labels: Tensor, side: int) -> Tensor:
    """(N, side, side) uint8: as masks say, or boxes `inside` (N, 4) with a soft edge."""
    return soft_alphas(inside, labels, side) if given is None else given


def over_grey(images: Tensor, alphas: Tensor) -> Tensor:
    """Crops (N, C, H, W) uint8 in which what is not the object, by `alphas` (N, H, W) uint8, is grey."""
    opaque = alphas[:, None].float() / 255
    return (images * opaque + 127.5 * (1 - opaque)).round().to(torch.uint8)


def moved(cut_outs: Tensor, moves: Moves) -> Tensor:
    """Colours and alpha (N, C + 1, H, W) in [-1, 1], of any size, moved; what is around keeps its colour.

    What comes in from beyond the border is the image mirrored there: leave room around an object.
    """
    shown = cut_outs if moves.flow is None or moves.affine is None else warped(cut_outs, moves.affine, moves.flow)
    if moves.colours is None:
        return shown
    return over(torch.cat([recoloured(shown[:, :-1], moves.colours).clamp(-1, 1), shown[:, -1:]], 1), shown[:, :-1])


class ObjectVariationGenerator(VariationGenerator):
    """Noise and class to a variation of one of the class's training objects, which it holds, with alpha.

    Called as a network, to that object over grey, as the crops are that it learned from.
    """

    def __init__(self, shape: VariationShape, network: VariationNetwork | None = None) -> None:
        super().__init__(shape, network)
        side = shape.resolution
        self.register_buffer("source_alphas", torch.zeros(shape.sources, side, side, dtype=torch.uint8))
        self.source_alphas: Tensor

    @torch.no_grad()
    def hold_alphas(self, alphas: Tensor, labels: Tensor) -> None:
        """Keep the alphas (N, H, W) uint8 of the objects that `hold` was given, with labels (N,) int64."""
        self.source_alphas[: len(alphas)] = alphas[labels.argsort(stable=True)].to(self.source_alphas.device)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Images in [-1, 1], NCHW: the objects of `cut_outs`, over grey."""
        made = self.cut_outs(noise, labels)
        return over(made, torch.zeros_like(made[:, :-1]))[:, :-1]

    def cut_outs(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Colours and alpha (N, C + 1, H, W) in [-1, 1], from `noise` (N, latent_dim) and `labels` (N,) int64."""
        return self.decode(*self.place(noise, labels))

    def decode(self, codes: Tensor, rows: Tensor) -> Tensor:
        """The same, of the objects held of numbers `rows` (N,) int64, by `codes` (N, latent_dim)."""
        held = torch.cat([self.sources[rows], self.source_alphas[rows][:, None]], dim=1)
        return moved(held.float().div(127.5).sub(1), self.moves(self.sources[rows], codes))


class ObjectVariationTrainer(VariationTrainer):
    """A crop of a real object over grey, and noise, to another object of its class; pairs of both are judged."""

    def take(self, images: Tensor, labels: ObjectConditions, random: torch.Generator) -> PairBatches:  # type: ignore[override]
        """See `Training`; `images` are over grey, and `labels` all that is known of the crops."""
        batches = super().take(images, labels.labels, random)
        alphas = alphas_of(labels.alphas, labels.inside, labels.labels, images.shape[-1])
        assert isinstance(self._sampler, ObjectVariationGenerator), "made here"
        self._sampler.hold_alphas(alphas, labels.labels)
        return batches

    def _made(self) -> ObjectVariationGenerator:
        return ObjectVariationGenerator(self.shape, self.average)
