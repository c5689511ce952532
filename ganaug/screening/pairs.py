"""Which synthetic pairs are fit to train on: those whose image shows its map, as far as segmenters can tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganaug import measures
from ganaug.bank import CHUNK, GeneratorBank
from ganaug.data.masks import MaskedImages
from ganaug.measures.copies import nearest_tolerant
from ganaug.recipe import Screening
from ganaug.screening.limits import usual_pixels
from ganaug.screening.map_judge import MapJudge, train_map_judge
from ganaug.screening.screened import Screened, Shown, Tally

__all__ = ["screen_pairs"]

Reason = str | None

_DRAWN_AT_ONCE = 2 * CHUNK
_EXAMPLES = 8  # dropped pairs that are remembered, of each reason


def screen_pairs(
    bank: GeneratorBank,
    data: MaskedImages,
    count: int,
    *,
    settings: Screening,
    seed: int,
    device: torch.device,
    report: Callable[[str], None] | None = None,
) -> Screened:
    """Choose pairs, drawn until `count` are kept, within a bound.

    A pair is doubted if the Dice of its map and what a segmenter sees in its image is below that of all but the share
    `doubt` of the real squares, and below that of its nearest real square too: what comes of a hard image has to be
    as good as that. Its whole image is a copy as in classes of images. Far and redundant ones are not looked for: a
    pair is made of pixels of real images, and another map is another lesson.

    Args:
        bank: for segmentation, on the device that it is on.
        data: training pairs in the bank's size, channels and classes.
        count: pairs wanted, at least 1.
        settings: what is dropped.
        seed: of the samples and of the judge.
        device: where the judge is trained.
        report: is given lines of progress.
    """
    say = report or (lambda _: None)
    settings = settings.model_copy(update={"far": None, "redundant": None})
    say(f"training {settings.judges} segmenters on {len(data)} real pairs")
    flips = bank.recipe.data.horizontal_flip
    judge = train_map_judge(
        data, judges=settings.judges, steps=settings.steps, flips=flips, seed=seed, device=device
    )  # fmt: skip
    own = measures.mean_dice(judge.own, judge.scored)
    say(f"segmenters find the maps of real images that they were not trained on with a Dice of {own.mean():.1%}")
    yardstick = _yardstick(data, judge, own, settings, flips=flips)
    reasons, counts = _judged(bank, count, yardstick, math.ceil(settings.draw * count), seed)
    kept = [index for index, reason in enumerate(reasons) if reason is None]
    say(f"kept {len(kept)} of {len(reasons)} drawn")
    dropped = {name: [place for place, told in enumerate(reasons) if told == name] for name in ("doubted", "copy")}
    return Screened(
        bank=bank.fingerprint,
        seed=seed,
        settings=settings,
        names={0: "images"},
        judged=data.class_names,
        kept={0: np.array(kept, dtype=np.int64)},
        soft={0: np.zeros((len(kept), 0), dtype=np.float32)},
        tallies={0: Tally(count, len(reasons), len(kept), **{name: len(found) for name, found in dropped.items()})},
        examples={0: {name: found[:_EXAMPLES] for name, found in dropped.items() if found}},
        accuracy=float(own.mean()),
        temperature=1.0,
        shown=_shown(data.class_names, judge, counts, reasons),
    )


@dataclass(frozen=True)
class _Yardstick:
    """What pairs are measured by."""

    judge: MapJudge
    images: Tensor  # the real ones
    least: Tensor  # (N,) the Dice that a pair must have whose nearest real square is this one
    copy: float  # distance in pixels up to which an image is a copy
    flips: bool

    def reasons(self, images: Tensor, maps: Tensor) -> tuple[list[Reason], Tensor]:
        """Why each pair is to be dropped, None where it is not; and (n, classes, 3), its overlaps."""
        nearest, apart = nearest_tolerant(images, self.images, flips=self.flips)
        counts = self.judge.overlaps(images, maps, nearest)
        doubted = measures.mean_dice(counts, self.judge.scored) < self.least[nearest]
        found = zip(doubted.tolist(), (apart <= self.copy).tolist(), strict=True)
        return ["doubted" if doubt else "copy" if near else None for doubt, near in found], counts


def _yardstick(data: MaskedImages, judge: MapJudge, own: Tensor, settings: Screening, *, flips: bool) -> _Yardstick:
    """`own` (N,) is the Dice of each real square."""
    least = torch.full_like(own, -math.inf)
    if settings.doubt is not None:
        least = own.clamp(max=float(own.quantile(settings.doubt)))
    copy = -math.inf if settings.copies is None else settings.copies * usual_pixels(data.images)
    return _Yardstick(judge, data.images, least, copy, flips)


def _judged(
    bank: GeneratorBank, count: int, yardstick: _Yardstick, bound: int, seed: int
) -> tuple[list[Reason], Tensor]:
    """Of samples 0, 1, 2, ... until `count` are kept or the bound is reached, as `_Yardstick.reasons`.

    Whether a pair is kept depends on no other: whoever wants more keeps these, and others after them.
    """
    reasons: list[Reason] = []
    parts: list[Tensor] = []
    kept = 0
    while len(reasons) < bound and kept < count:
        here = range(len(reasons), min(len(reasons) + _DRAWN_AT_ONCE, bound))
        made = bank.sample_at(0, here, seed=seed)
        found, counts = yardstick.reasons(made[:, :-1], made[:, -1])
        passed = np.cumsum([reason is None for reason in found])
        end = min(len(found), int(np.searchsorted(passed, count - kept)) + 1)  # the last that is wanted
        reasons += found[:end]
        parts.append(counts[:end])
        kept += int(passed[end - 1])
    return reasons, torch.cat(parts)


def _shown(names: Sequence[str], judge: MapJudge, counts: Tensor, reasons: Sequence[Reason]) -> dict[str, Shown]:
    """How well each class that counts is seen where real maps have it, and where those of pairs do."""
    kept = torch.tensor([reason is None for reason in reasons])
    real, ours, theirs = (measures.class_dice(part) for part in (judge.own, counts[kept], counts[~kept]))
    return {names[cls]: Shown(real[cls], ours[cls], theirs[cls]) for cls in judge.scored}
