"""Does a translated image still show what the image showed, and at the same place?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["content_kept"]

_WINDOW = 9  # px
_NOISE = (2 / 255) ** 2  # variance below which a window shows nothing


def content_kept(images: Tensor, translated: Tensor) -> float:
    """Share of what `images` show that `translated` show at the same place, both NCHW uint8 of one size; 0 to 1.

    Of the brightness in each window of 9 x 9 pixels, the variance that is a linear function of the translation's, the
    squared local correlation, weighed by the variance that there is: so it matters neither whether dark became bright,
    nor what happens where an image shows nothing (as in registration across modalities, Cachier et al. 2003).
    """
    first, second = (part.float().div(255).mean(1, keepdim=True) for part in (images, translated))
    means = [functional.avg_pool2d(part, _WINDOW, stride=2) for part in (first, second)]
    products = ((first, first), (second, second), (first, second))
    moments = [functional.avg_pool2d(a * b, _WINDOW, stride=2) for a, b in products]
    own = (moments[0] - means[0].square()).clamp_min(0)
    theirs = (moments[1] - means[1].square()).clamp_min(0)
    together = moments[2] - means[0] * means[1]
    explained = torch.minimum(together.square() / (theirs + _NOISE), own)
    there = own * (own > _NOISE)
    return float((explained * (own > _NOISE)).sum() / there.sum().clamp_min(1e-9))
