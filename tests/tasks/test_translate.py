from types import SimpleNamespace

import torch
from torch import nn

from ganaug.gan.translation import TranslationGenerator
from ganaug.tasks import get_task


class Held(TranslationGenerator):
    """Holds sources, and nothing that would translate them."""

    def __init__(self, sources):
        nn.Module.__init__(self)
        self.register_buffer("sources", sources)

    def rows(self, noise):
        return torch.arange(len(noise))


def test_a_tint_costs_a_snapshot_where_features_see_none():
    target = torch.randint(0, 200, (4, 1, 16, 16), generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    target = target.to(torch.uint8).contiguous()
    tinted, source = target.clone(), target.clone()
    tinted[:, 0] += 20
    source[:, 0] += 50

    def score(made):
        exam = SimpleNamespace(
            noise=torch.zeros(4, 2), images=target, samples=lambda generator: made, distance=lambda images: 1.0,
            seen=lambda images: torch.ones(4),
        )  # fmt: skip
        return get_task("translate").score(Held(source), exam)

    (plain, told), (worse, seen) = score(target), score(tinted)
    assert told["tint_left"] == 0
    assert 0.3 < seen["tint_left"] < 0.5
    assert worse < 0.7 * plain
