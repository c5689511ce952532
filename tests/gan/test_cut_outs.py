import numpy as np
import pytest
import torch
from scipy import ndimage

from ganaug.gan.cut_outs import ObjectGenerator, box_alphas, largest_part, over, soft_alphas, without_holes
from ganaug.gan.networks import NetworkShape

SHAPE = NetworkShape(32, 3, 2, latent_dim=4, generator_channels=4, discriminator_channels=4, max_channels=8, codes=3)


def blobs(count=12, side=32):
    """Alphas (count, 1, side, side) in [0, 1] of several smooth parts each."""
    noise = np.random.default_rng(0).standard_normal((count, side, side))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2))
    return torch.from_numpy(0.5 + smooth / smooth.std() / 2).clamp(0, 1).float()[:, None]


def test_an_object_hides_its_ground_by_its_alpha():
    samples = torch.cat([torch.full((1, 3, 4, 4), 0.5), torch.tensor([-1.0, 0.0, 1.0, 1.0]).expand(1, 1, 4, 4)], 1)
    laid = over(samples, torch.full((1, 3, 4, 4), -0.5))
    assert laid[0, 0, 0].tolist() == [-0.5, 0.0, 0.5, 0.5]
    assert torch.equal(laid[:, 3:], samples[:, 3:])


@pytest.mark.parametrize("box", [(6.0, 4.0, 26.0, 24.0), (3.0, 10.0, 29.0, 18.0)])
def test_a_soft_alpha_has_the_box_that_it_was_made_of(box):
    alphas = soft_alphas(torch.tensor([box]), torch.tensor([0]), 32)
    down, across = (alphas[0] >= 128).nonzero().unbind(1)
    found = (int(across.min()), int(down.min()), int(across.max()) + 1, int(down.max()) + 1)
    assert found == pytest.approx(box, abs=1.01)
    assert alphas[0, 15, 15] == 255
    assert alphas[0, 0, 0] == 0


def test_what_is_as_wide_as_high_is_round_and_else_it_has_corners():
    inside = torch.tensor([[4.0, 4.0, 28.0, 28.0], [4.0, 4.0, 28.0, 28.0], [4.0, 9.0, 28.0, 23.0]])[[0, 1, 2, 2]]
    round_, square, flat, _ = (soft_alphas(inside, torch.tensor([0, 1, 1, 1]), 32) >= 128).flatten(1).sum(1).tolist()
    assert round_ == pytest.approx(np.pi * 12**2, rel=0.05)
    assert square > 0.93 * 24 * 24
    assert flat > 0.93 * 24 * 14


def test_the_alpha_of_a_box_is_whole_within_it():
    alphas = box_alphas(torch.tensor([[8.0, 6.0, 20.0, 26.0]]), 32)
    assert (alphas[0, 6:26, 8:20] > 120).all()
    assert (alphas[0, 7:25, 9:19] > 200).all()
    assert not alphas[0, :, :6].any()
    assert not alphas[0, :4].any()


def test_the_largest_part_is_that_of_a_naive_search():
    alphas = blobs()
    kept = largest_part(alphas)
    for before, after in zip(alphas[:, 0].numpy(), kept[:, 0].numpy(), strict=True):
        numbers, _ = ndimage.label(before >= 0.5, structure=np.ones((3, 3)))
        largest = numbers == np.bincount(numbers.flat)[1:].argmax() + 1
        assert np.array_equal(after >= 0.5, largest)
        assert np.array_equal(after[largest], before[largest])


def test_a_faint_object_is_one_and_nothing_is_none():
    alphas = torch.zeros(2, 1, 16, 16)
    alphas[0, :, 4:9, 4:9] = 0.2
    kept = largest_part(alphas)
    assert (kept[0] >= 0.5).sum() == 25
    assert not kept[1].any()


def test_holes_are_those_of_a_naive_search():
    alphas = blobs()
    for before, after in zip(alphas[:, 0].numpy(), without_holes(alphas)[:, 0].numpy(), strict=True):
        filled = ndimage.binary_fill_holes(before >= 0.5, structure=np.ones((3, 3)))
        assert np.array_equal(after >= 0.5, filled)
        assert np.array_equal(after[before >= 0.5], np.where(before >= 0.5, before, 1)[before >= 0.5])


def test_objects_are_laid_on_grounds_of_their_class():
    torch.manual_seed(0)
    generator = ObjectGenerator(SHAPE).eval()
    noise, labels = torch.randn(6, 4), torch.tensor([0, 1, 0, 1, 1, 0])
    made = generator.cut_outs(noise, labels)
    assert made.shape == (6, 4, 32, 32)
    assert torch.allclose(generator(noise, labels), over(made, torch.zeros(6, 3, 32, 32))[:, :3])
    values = torch.tensor([0.9, -0.9, 0.8])
    generator.hold(values.view(3, 1, 1, 1).expand(3, 3, 32, 32), torch.tensor([1, 0, 1]))
    assert "_grounds" not in generator.state_dict()
    expected = [over(made[row : row + 1], values[at].expand(1, 3, 32, 32)) for row, at in enumerate([1, 2, 1, 2, 0, 1])]
    assert torch.allclose(generator(noise, labels), torch.cat(expected)[:, :3])
