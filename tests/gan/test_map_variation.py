"""An image and its label map are moved alike, at any size, and the map keeps to its classes."""

import pytest
import torch

from ganaug.gan.map_variation import MapVariationGenerator, moved_alike
from ganaug.gan.spade import IGNORED
from ganaug.gan.variation import Moves, VariationShape, places_from, taken, warped

SHAPE = VariationShape(
    32, 3, 2, latent_dim=4, generator_channels=4, discriminator_channels=4, max_channels=8, residual=0.0, sources=5
)


def moves(count=1, colours=True, seed=0, strength=0.5):
    random = torch.Generator().manual_seed(seed)
    drawn = (torch.randn(count, *size, generator=random) * strength for size in ((6,), (2, 8, 8), (12,)))
    affine, flow, told = drawn
    return Moves(affine, flow, told if colours else None)


def coarse(count, height, width, seed=0):
    """Maps of large squares of the numbers 0, 7 and 70000."""
    random = torch.Generator().manual_seed(seed)
    small = torch.tensor([0, 7, 70000])[torch.randint(3, (count, -(-height // 16), -(-width // 16)), generator=random)]
    return small.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width]


@pytest.mark.parametrize(
    ("size", "sides"), [((64, 64), (1.0, 1.0)), ((48, 96), (2.0, 1.0)), ((96, 40), (40 / 96, 1.0))]
)
def test_pixels_and_classes_go_to_the_same_place(size, sides):
    maps = coarse(3, *size)
    images = (maps[:, None].float() / 35000 - 1).expand(-1, 3, -1, -1)  # each class has its own grey
    shown, told = moved_alike(images, maps, moves(3, colours=False), sides=sides)
    assert told.dtype == maps.dtype
    assert set(told.unique().tolist()) <= {0, 7, 70000}
    assert (told != maps).float().mean() > 0.1
    agree = (shown[:, 0] - (told.float() / 35000 - 1)).abs() < 0.02
    assert agree.float().mean() > 0.85  # all but the seams, which pixels share
    assert not torch.equal(told[0], told[1])


def test_colours_change_and_the_map_does_not():
    maps, images = coarse(2, 32, 32), torch.zeros(2, 3, 32, 32)
    shown, told = moved_alike(images, maps, Moves(None, None, moves(2).colours))
    assert torch.equal(told, maps)
    assert shown.abs().max() > 0.05


def test_beyond_its_square_a_flow_goes_on_and_inside_it_is_the_same():
    told = moves(1, strength=0.2)
    images = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    wide = taken(images, places_from(told.affine, told.flow, (32, 64), (2.0, 1.0)))
    square = warped(images[..., 16:48], told.affine, told.flow)
    assert torch.allclose(wide[..., 24:40][:, :, 8:24], square[..., 8:24][:, :, 8:24], atol=1e-4)
    assert (wide[..., :8] - images[..., :8]).abs().mean() > 0.01
    constant = torch.zeros(1, 6)
    constant[0, 2] = torch.atanh(torch.tensor(2 * 4 / 32 / 0.4))  # four of the square's 32 pixels to the right
    moved = taken(images, places_from(constant, torch.zeros(1, 2, 8, 8), (32, 64), (2.0, 1.0)))
    assert torch.allclose(moved[..., :-4], images[..., 4:], atol=1e-4)
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = torch.atanh(torch.tensor(2 * 4 / 32 / 0.3))
    moved = taken(images, places_from(torch.zeros(1, 6), flow, (32, 64), (2.0, 1.0)))
    assert torch.allclose(moved[..., :-4], images[..., 4:], atol=1e-4)


def test_a_generator_varies_the_pairs_that_it_holds():
    torch.manual_seed(0)
    generator = MapVariationGenerator(SHAPE).eval()
    torch.nn.init.normal_(generator.network.flow.weight, std=0.3)
    images = (torch.arange(4, dtype=torch.uint8) * 60)[:, None, None, None].expand(4, 3, 32, 32)
    maps = (torch.arange(4, dtype=torch.uint8) + 10)[:, None, None].expand(4, 32, 32)
    generator.hold(images, torch.zeros(4, dtype=torch.int64))
    generator.hold_maps(maps)
    assert (generator.source_maps[4] == IGNORED).all()
    noise = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        shown, told = generator.pairs(noise)
        assert torch.equal(shown, generator(noise, torch.ones(40, dtype=torch.int64)))
        codes, rows = generator.chosen(noise)
    assert set(rows.tolist()) == {0, 1, 2, 3}
    assert told.dtype == torch.uint8
    assert torch.equal(told[:, 0, 0].long(), rows + 10)
    grey = shown.mean((1, 2, 3)).add(1).mul(127.5)
    assert (grey - 60 * rows).abs().max() < 15
    assert codes.shape == (40, 4)
