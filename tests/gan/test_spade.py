import dataclasses

import pytest
import torch

from ganaug.gan.spade import IGNORED, MapGenerator, MapShape, SegmentingDiscriminator, StyleEncoder, one_hot

SHAPE = MapShape(
    32, 3, 2, style_dim=8, generator_channels=8, discriminator_channels=8, max_channels=16, maps=3, mirror=True
)


@pytest.fixture
def generator():
    torch.manual_seed(0)
    made = MapGenerator(SHAPE).eval()
    maps = torch.zeros(3, 32, 32, dtype=torch.uint8)
    for row in range(3):
        maps[row, 6 + row : 16 + row, 8:20] = 1
    made.maps.copy_(maps)
    return made


def noise(count=4, seed=1):
    return torch.randn(count, SHAPE.latent_dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_shapes(resolution):
    shape = MapShape(resolution, 1, 5, generator_channels=4, discriminator_channels=4, max_channels=8)
    assert MapShape.from_dict(shape.to_dict()) == shape
    maps = torch.randint(0, 5, (2, resolution, resolution))
    images = MapGenerator(shape).paint(torch.randn(2, shape.latent_dim), one_hot(maps, 5))
    assert images.shape == (2, 1, resolution, resolution)
    assert images.abs().max() <= 1
    assert SegmentingDiscriminator(shape)(images).shape == (2, 6, resolution, resolution)
    mean, log_variance = StyleEncoder(shape)(images)
    assert mean.shape == log_variance.shape == (2, shape.style_dim)


def test_maps_and_noise_both_matter(generator):
    classes = one_hot(generator.maps[:1].expand(2, -1, -1), 2)
    same = generator.paint(noise(1).expand(2, -1), classes)
    assert torch.allclose(same[0], same[1], atol=1e-5)
    other = generator.paint(noise(2), classes)
    assert (other[0] - other[1]).abs().mean() > 1e-3
    moved = generator.paint(noise(1).expand(2, -1), one_hot(generator.maps[:2], 2))
    changed = (moved[0] - moved[1]).abs().mean(0)
    assert changed[5:18, 7:21].mean() > 2 * changed[24:].mean(), "what the map says of a place shows there"


def test_noise_settles_the_map_and_the_image(generator):
    images, maps = generator.pairs(noise())
    again, same = generator.pairs(noise())
    assert torch.equal(maps, same)
    assert torch.equal(images, again)
    assert maps.dtype == torch.uint8
    assert set(maps.unique().tolist()) == {0, 1}
    alone, map_alone = generator.pairs(noise()[2:3])
    assert torch.equal(map_alone[0], maps[2])
    assert torch.allclose(alone[0], images[2], atol=1e-4)


def test_codes_stay_near_those_of_real_images(generator):
    generator.codes.copy_(torch.tensor([[10.0], [-10.0], [50.0]]).expand(3, 8))
    generator.code_spread.fill_(0.01)
    styles = generator.place(noise(200), torch.zeros(200, dtype=torch.int64))[:, :8].mean(1)
    nearest = (styles[:, None] - torch.tensor([10.0, -10.0, 50.0])).abs().amin(1)
    assert float((nearest <= 20.5).float().mean()) == 1
    assert (styles - 10).abs().lt(10).float().mean() > 0.4, "half are of the image whose map it is"


def test_remembered_codes(generator):
    generator.remember(torch.tensor([1]), torch.full((1, 8), 3.0), torch.zeros(1, 8))
    assert generator.codes[1].eq(3).all()
    assert not generator.codes[0].eq(3).any()


def test_pixels_of_no_class_are_told_nothing():
    maps = torch.full((1, 8, 8), IGNORED, dtype=torch.uint8)
    assert one_hot(maps, 200).sum() == 0


def test_a_generator_that_is_told_sketches_keeps_the_images():
    shape = dataclasses.replace(SHAPE, sketched=True)
    torch.manual_seed(0)
    made = MapGenerator(shape).eval()
    made.maps.zero_()[:, 6:16, 8:20] = 1
    made.images.copy_((60 + 150 * made.maps)[:, None].expand(-1, 3, -1, -1))
    with torch.no_grad():
        made.to_image.weight.zero_()
        made.to_image.bias.zero_()
        images, maps = made.pairs(noise())
        nothing = made.paint(noise(), one_hot(maps, 2))
        shown = made.paint(noise(3), one_hot(made.maps, 2), made.sketch(made.maps, torch.tensor([0, 1, 2])))
        moved = made.paint(
            noise(3), one_hot(made.maps.roll(4, 2), 2), made.sketch(made.maps.roll(4, 2), torch.tensor([0, 1, 2]))
        )
    assert (shown - made.images.float().div(127.5).sub(1)).abs().max() < 0.03, "where maps agree, real pixels are told"
    wanted = made.images.roll(4, 3).float().div(127.5).sub(1)
    assert (moved - wanted).abs().max() < 0.03, "and where they do not, the nearest of the class"
    assert torch.equal(maps, made.pairs(noise())[1])
    assert nothing.abs().max() == 0, "nothing is known, and nothing is added"
    inside, outside = (images.mean(1)[maps == cls] for cls in (1, 0))
    assert (inside.median() - outside.median()).item() == pytest.approx(150 / 127.5, abs=0.06)
