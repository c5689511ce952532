import pytest
import torch
from torch.nn import functional

from ganaug.gan.variation import VariationGenerator, VariationNetwork, VariationShape, recoloured, warped

VALUES = dict(latent_dim=4, generator_channels=4, discriminator_channels=4, max_channels=8)


def shape(resolution=16, channels=3, **changes):
    return VariationShape(resolution, channels, 2, **VALUES | changes)


def images(count=6, channels=3, side=16):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def noise(count=6, seed=1):
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))


def test_nothing_moves_at_nought():
    shown = images()
    assert torch.allclose(warped(shown, torch.zeros(6, 6), torch.zeros(6, 2, 8, 8)), shown, atol=1e-5)
    assert torch.equal(recoloured(shown, torch.zeros(6, 12)), shown)


def test_a_warp_moves_pixels_where_it_says():
    shown = images()
    affine = torch.zeros(6, 6)
    affine[:, 2] = torch.atanh(torch.tensor(2 * 2 / 16 / 0.4))  # two of 16 pixels to the right
    moved = warped(shown, affine, torch.zeros(6, 2, 8, 8))
    assert torch.allclose(moved[..., :-2], shown[..., 2:], atol=1e-4)


def test_colours_are_mixed_pixel_by_pixel():
    shown, settings = images(1), torch.randn(1, 12, generator=torch.Generator().manual_seed(2))
    made = recoloured(shown, settings)
    bounded = 0.4 * torch.tanh(settings).view(3, 4)
    for row in range(3):
        expected = shown[0, row] + sum(bounded[row, c] * shown[0, c] for c in range(3)) + bounded[row, 3]
        assert torch.allclose(made[0, row], expected, atol=1e-5)


@pytest.mark.parametrize(("resolution", "channels"), [(16, 1), (32, 3), (64, 3)])
def test_an_untrained_network_all_but_keeps_its_image(resolution, channels):
    shown = functional.interpolate(images(2, channels), size=resolution)
    made = VariationNetwork(shape(resolution, channels)).eval()(shown, noise(2))
    assert made.shape == shown.shape
    assert float((made - shown).detach().abs().max()) < 0.2


def test_where_there_is_no_noise_nothing_moves_and_noise_moves_to_all_sides():
    torch.manual_seed(0)
    network = VariationNetwork(shape(residual=0.0)).eval()
    for layer in (network.affine, network.colours, network.flow):
        torch.nn.init.normal_(layer.weight, std=0.3)
    shown = images(1).expand(400, -1, -1, -1) * 0.5
    with torch.no_grad():
        assert torch.allclose(network(shown[:3], torch.zeros(3, 4)), shown[:3], atol=1e-4)
        made = network(shown, noise(400))
    brighter = made.mean((1, 2, 3)) > shown.mean((1, 2, 3))
    assert 0.3 < float(brighter.float().mean()) < 0.7


def test_noise_reaches_as_far_as_asked():
    torch.manual_seed(0)
    near = VariationGenerator(shape(sources=1)).eval()
    far = VariationGenerator(shape(sources=1, reach=2.0), near.network).eval()
    shown = (images() * 100 + 100).to(torch.uint8)
    assert torch.equal(far.vary(shown, noise()), near.vary(shown, 2 * noise()))
    assert not torch.equal(far.vary(shown, noise()), near.vary(shown, noise()))


@pytest.mark.parametrize("part", ["flow", "colour", "residual"])
def test_each_part_can_be_alone(part):
    off = {"flow": False, "colour": False, "residual": 0.0} | {part: 0.5 if part == "residual" else True}
    network = VariationNetwork(shape(**off))
    made = network(images(), noise())
    made.sum().backward()
    graded = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    parts = {"flow": "flow.weight", "colour": "colours.weight", "residual": "residual.weight"}
    assert {name for name in parts.values() if name in graded} == {parts[part]}


def test_a_generator_takes_each_image_of_the_class_asked_for_equally_often():
    generator = VariationGenerator(shape(sources=5, flow=False, colour=False, residual=0.0)).eval()
    pixels = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 16, 16) * 10
    generator.hold(pixels, torch.tensor([0, 1, 0, 1, 1]))
    labels = torch.arange(4000) % 2
    random = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    seen = generator(random, labels)[:, 0, 0, 0].add(1).mul(12.75).round().long()
    counts = torch.stack([torch.bincount(seen[labels == label], minlength=5) for label in (0, 1)])
    assert counts[0].tolist() == pytest.approx([1000, 0, 1000, 0, 0], abs=110)
    assert counts[1].tolist() == pytest.approx([0, 667, 0, 667, 667], abs=110)


def test_the_choice_of_an_image_leaves_all_noise_to_its_variation(monkeypatch):
    generator, given = VariationGenerator(shape(sources=4)).eval(), []
    generator.hold((images(4) * 100 + 100).to(torch.uint8), torch.tensor([0, 0, 0, 1]))
    monkeypatch.setattr(generator, "vary", lambda sources, left: given.append(left) or sources)
    random = torch.randn(4000, 4, generator=torch.Generator().manual_seed(0))
    generator(random, torch.zeros(4000, dtype=torch.int64))
    first = given[0][:, 0]
    assert float(first.mean()) == pytest.approx(0, abs=0.06)
    assert float(first.std()) == pytest.approx(1, abs=0.05)
    assert torch.equal(given[0][:, 1:], random[:, 1:])
