import pytest
import torch
from torch import nn

from ganaug.gan.picture_networks import PatchDiscriminator, PixelNorm, ResidualBlock, down, up


@pytest.mark.parametrize(("height", "width"), [(16, 16), (24, 40)])
def test_pictures_of_any_size_keep_it(height, width):
    network = nn.Sequential(down(3, 8), down(8, 16), ResidualBlock(16), up(16, 8), up(8, 3))
    assert network(torch.rand(2, 3, height, width)).shape == (2, 3, height, width)


def test_what_is_made_at_a_place_depends_on_what_is_around_it_alone():
    network = nn.Sequential(down(1, 8), ResidualBlock(8), up(8, 4))
    image = torch.rand(1, 1, 32, 64)
    other = image.clone()
    other[..., 40:] = 5
    made, changed = network(image), network(other)
    assert torch.allclose(made[..., :24], changed[..., :24], atol=1e-6)
    assert not torch.allclose(made[..., 40:], changed[..., 40:], atol=1e-2)


def test_pixel_norm_is_that_of_each_pixel():
    x = torch.randn(2, 6, 3, 5)
    pixels = x.permute(0, 2, 3, 1).reshape(-1, 6)
    wanted = torch.stack([pixel / pixel.square().mean().sqrt() for pixel in pixels])
    assert torch.allclose(PixelNorm(6)(x).permute(0, 2, 3, 1).reshape(-1, 6), wanted, atol=1e-4)


def test_a_residual_block_changes_little_at_first():
    x = torch.randn(1, 16, 12, 12)
    assert (ResidualBlock(16)(x) - x).std() < 0.2 * x.std()


def test_patches_are_judged_one_by_one():
    judge = PatchDiscriminator(3, 8, 3)
    image = torch.rand(2, 3, 64, 96)
    logits = judge(image)
    assert logits.shape == (2, 1, 8, 12)
    assert logits.dtype == torch.float32
    image[:, :, :, 80:] = -1
    moved = (judge(image) - logits).abs().amax((0, 1, 2))
    assert moved[-1] > 0
    assert moved[:6].max() < 1e-6
