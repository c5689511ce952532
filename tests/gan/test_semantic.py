import pytest
import torch
from torch.nn import functional

from ganaug.gan import semantic
from ganaug.gan.spade import one_hot


def logits_and_maps(ignored=False):
    random = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 3, (2, 6, 6), generator=random)
    if ignored:
        maps[:, :2] = 255
    return torch.randn(2, 4, 6, 6, generator=random), maps


def test_one_hot():
    _, maps = logits_and_maps(ignored=True)
    classes = one_hot(maps, 3)
    assert torch.equal(classes.argmax(1)[:, 2:], maps[:, 2:])
    assert classes[:, :, 2:].sum(1).eq(1).all()
    assert classes[:, :, :2].eq(0).all()


def test_class_error_is_a_weighted_cross_entropy():
    logits, maps = logits_and_maps(ignored=True)
    weights = torch.tensor([0.5, 1.0, 2.0])
    error = semantic.class_error(logits, one_hot(maps, 3), weights)
    naive = [
        weights[maps[n, y, x]] * -torch.log_softmax(logits[n, :, y, x], 0)[maps[n, y, x]]
        for n in range(2) for y in range(2, 6) for x in range(6)
    ]  # fmt: skip
    assert error == pytest.approx(float(torch.stack(naive).mean()), rel=1e-5)


def test_synthetic_error_is_a_cross_entropy_against_the_last():
    logits, maps = logits_and_maps()
    wanted = functional.cross_entropy(logits, torch.full_like(maps, 3))
    assert torch.allclose(semantic.synthetic_error(logits, one_hot(maps, 3)), wanted)


def test_class_weights_are_inverse_to_frequency_and_one_on_average():
    pixels = torch.tensor([900.0, 100.0, 0.0])
    weights = semantic.class_weights(pixels)
    assert weights[1] / weights[0] == pytest.approx(9)
    assert float((weights * pixels).sum() / pixels.sum()) == pytest.approx(1)
    assert weights[2] == 0


def test_label_mix_and_its_inconsistency():
    real, fake = torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)
    from_real = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    mixed = semantic.label_mix(real, fake, from_real)
    assert torch.equal(mixed, from_real.expand(1, 4, 2, 2))
    assert semantic.mix_inconsistency(mixed, real, fake, from_real) == 0
    assert semantic.mix_inconsistency(mixed + 2, real, fake, from_real) == 4


def test_realness_is_the_log_odds_of_any_class():
    logits, _ = logits_and_maps()
    shares = logits.softmax(1)
    assert torch.allclose(semantic.realness(logits), (shares[:, :3].sum(1) / shares[:, 3]).log(), atol=1e-5)
