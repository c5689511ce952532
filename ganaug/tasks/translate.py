"""Translation: the generator is told an image of one domain and makes it one of another; labels stay as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ganaug.data.domains import DomainImages, Domains, read_domains
from ganaug.data.labelled import LabelledImages
from ganaug.errors import DataError
from ganaug.gan.translating import Pieces, TranslationTrainer, TwoDomains
from ganaug.gan.translation import TranslationGenerator, TranslationShape
from ganaug.measures import content_kept, tint_distance
from ganaug.recipe import Recipe
from ganaug.tasks.exam import Exam
from ganaug.tasks.pictures import Asked, PictureTask

__all__ = ["TranslateTask"]

_HELD = 64  # source images that a generator keeps
_SHOWN = 400  # crops of each domain that a snapshot is judged by
_TINT = 4.0  # levels: domains that are no farther apart than this have the same tint


class TranslateTask(PictureTask):
    """An image of the source domain to one of the target domain."""

    name = "translate"
    _shaped, _generator, _trainer = TranslationShape, TranslationGenerator, TranslationTrainer
    _no_samples = "the bank translates images and makes none of its own to mix in; give GanAugmented mode='translation'"

    def _read(self, dataset: Any, recipe: Recipe, asked: Asked) -> DomainImages:
        """All images of `Domains`, or of a source whose target the recipe names, in pieces."""
        if asked["classes"] is not None:
            raise DataError("a translator looks at no classes; leave classes out, or give folders of these alone")
        if isinstance(dataset, DomainImages):
            return dataset
        if not isinstance(dataset, Domains):
            if recipe.data.target is None:
                raise DataError(
                    "there is a source domain and no target; give both: --source DIR --target DIR, or fit(source, "
                    "target=...)"
                )
            dataset = Domains(dataset, recipe.data.target)
        return read_domains(
            dataset, resolution=recipe.resolution, tile=recipe.data.tile, fit=recipe.data.fit, colour=asked["colour"],
            on_bad=asked["on_bad"], raw=asked["raw"],
        )  # fmt: skip

    def conditions(self, data: LabelledImages) -> TwoDomains:
        """Pieces of both domains."""
        assert isinstance(data, DomainImages), "read by this task"
        return TwoDomains(Pieces(data.sources, data.source_extents), Pieces(data.images, data.target_extents))

    def to_tell_apart(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """Crops NCHW uint8 of both domains, and (N,) which each is of: 0 the source, 1 the target."""
        both, side = self.conditions(data), self._side(data)
        random = torch.Generator().manual_seed(1)
        crops = [part.crops(_SHOWN, side, random) for part in (both.source, both.target)]
        return torch.cat(crops), torch.arange(2).repeat_interleave(_SHOWN)

    def real_samples(self, data: LabelledImages) -> tuple[Tensor, Tensor]:
        """Crops of the target domain, NCHW uint8, all of one group."""
        crops = self.conditions(data).target.crops(_SHOWN, self._side(data), torch.Generator().manual_seed(2))
        return crops, torch.zeros(_SHOWN, dtype=torch.int64)

    def _side(self, data: LabelledImages) -> int:
        """Of a crop: what is an image in every piece, for none is smaller than a crop, and pieces are up to two."""
        assert isinstance(data, DomainImages), "read by this task"
        return data.side

    def shape(self, data: LabelledImages, recipe: Recipe, *, most: int | None = None) -> TranslationShape:
        """The networks that the recipe wants for these images; `most` is for classes of images."""
        assert isinstance(data, DomainImages), "read by this task"
        return TranslationShape(
            resolution=recipe.resolution,
            image_channels=data.images.shape[1],
            latent_dim=2,  # a place among the source images that it holds is all that a sample is drawn by
            width=recipe.networks.generator_channels,
            blocks=recipe.translation.blocks,
            discriminator_channels=recipe.networks.discriminator_channels,
            sources=min(_HELD, len(data.sources)),
            source_name=data.source_name,
            tile=recipe.data.tile,
        )

    def score(self, generator: nn.Module, exam: Exam) -> tuple[float, dict[str, float]]:
        """How near translations come to the target, by how well they keep what the source images show; 0 to 1.

        `kernel_distance` is theirs to crops of the target, in features that were learned to tell the domains apart, and
        `distance_left` that by the source's own. `tint_left` is the same of `tint_distance`: features that tell
        domains apart at a glance see no tint. `verdict` is the share of translations that is taken for the target, and
        `content` as in `content_kept`.
        """
        assert isinstance(generator, TranslationGenerator), "built by this task"
        sources = generator.sources[generator.rows(exam.noise.to(generator.sources.device))].cpu()
        made = exam.samples(generator)
        before, after = exam.distance(sources), exam.distance(made)
        left = max(0.0, after) / max(1e-6, before)
        content = content_kept(sources, made)
        verdict = float((exam.seen(made) == 1).float().mean())
        tint = tint_distance(made, exam.images) / max(_TINT, tint_distance(sources, exam.images))
        score = content / (1 + 10 * left) / (1 + 2 * tint)
        return score, {
            "kernel_distance": after, "distance_left": left, "tint_left": tint, "verdict": verdict,
            "content": content,
        }  # fmt: skip
