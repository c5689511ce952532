import pytest
import torch

from ganaug.gan.cut_outs import ObjectConditions
from ganaug.gan.object_variation import (
    ObjectVariationGenerator,
    ObjectVariationTrainer,
    alphas_of,
    moved,
    over_grey,
)
from ganaug.gan.variation import Moves, VariationShape
from ganaug.recipe import load_recipe

SHAPE = VariationShape(
    16, 3, 2, latent_dim=8, generator_channels=8, max_channels=16, discriminator_channels=8, sources=4, residual=0.0
)  # fmt: skip


def disc(side):
    """Red on green, with the alpha of a disc in the middle: (1, 4, side, side) in [-1, 1]."""
    places = (torch.arange(side) + 0.5) / side * 2 - 1
    inside = (places[None] ** 2 + places[:, None] ** 2) < 0.3
    colours = torch.stack([inside, ~inside, torch.zeros_like(inside)]).float() * 2 - 1
    return torch.cat([colours, inside.float()[None] * 2 - 1])[None]


def test_where_nothing_is_said_nothing_changes():
    still = Moves(torch.zeros(1, 6), torch.zeros(1, 2, 8, 8), torch.zeros(1, 12))
    for side in (16, 41):
        assert torch.allclose(moved(disc(side), still), disc(side), atol=1e-5)
        assert torch.equal(moved(disc(side), Moves(None, None, None)), disc(side))


@pytest.mark.parametrize("side", [32, 96])
def test_alpha_goes_where_the_pixels_go_whatever_the_size(side):
    affine = torch.tensor([[0.0, 0.0, 0.5, 0.0, 0.0, -0.5]])  # a shift
    made = moved(disc(side), Moves(affine, torch.zeros(1, 2, 8, 8), None))
    red, alpha = made[0, 0] > 0, made[0, 3] > 0
    assert (red == alpha).float().mean() > 0.97
    rows, columns = alpha.nonzero().float().add(0.5).div(side / 2).sub(1).mean(0).tolist()
    reach = 0.4 * torch.tensor(0.5).tanh().item()
    assert (rows, columns) == pytest.approx((reach, -reach), abs=0.03)


def test_only_the_object_is_recoloured():
    colours = torch.zeros(1, 12)
    colours[0, 11] = 9.0  # more blue, wherever it is
    before, made = disc(32), moved(disc(32), Moves(None, None, colours))
    inside = before[0, 3] > 0
    assert (made[0, 2][inside] > before[0, 2][inside] + 0.3).all()
    assert torch.equal(made[0, :, ~inside], before[0, :, ~inside])


def test_crops_are_grey_around_the_object():
    images = torch.full((2, 3, 16, 16), 200, dtype=torch.uint8)
    alphas = alphas_of(None, torch.tensor([[4.0, 4, 12, 12]] * 2), torch.tensor([0, 1]), 16)
    made = over_grey(images, alphas)
    assert set(made[:, :, 0, 0].flatten().tolist()) <= {127, 128}
    assert (made[:, :, 8, 8] == 200).all()
    given = torch.full((2, 16, 16), 255, dtype=torch.uint8)
    assert alphas_of(given, torch.zeros(2, 4), torch.tensor([0, 1]), 16) is given


def test_a_generator_gives_cut_outs_of_the_class_asked_for_and_shows_them_over_grey():
    torch.manual_seed(0)
    generator = ObjectVariationGenerator(SHAPE).eval()
    for layer in (generator.network.flow, generator.network.colours):
        torch.nn.init.normal_(layer.weight, std=0.3)
    labels = torch.tensor([1, 0, 1, 0])
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    images[labels == 1] = 255
    alphas = torch.zeros(4, 16, 16, dtype=torch.uint8)
    alphas[:, 4:12, 4:12] = 255
    generator.hold(over_grey(images, alphas), labels)
    generator.hold_alphas(alphas, labels)
    noise = torch.randn(6, 8)
    for label, bright in ((0, False), (1, True)):
        asked = torch.full((6,), label)
        made = generator.cut_outs(noise, asked)
        assert made.shape == (6, 4, 16, 16)
        middle = made[:, :3, 7:9, 7:9].mean((1, 2, 3))
        assert ((middle > 0) == bright).all()
        shown = generator(noise, asked)
        assert shown.shape == (6, 3, 16, 16)
        clear = made[:, 3:] < -0.999
        assert clear.any()
        assert shown.masked_select(clear).abs().max() < 0.01
    assert not torch.equal(made[0], made[1])
    assert torch.equal(generator.decode(noise[:1], torch.tensor([3])), generator.decode(noise[:1], torch.tensor([3])))


def test_training_holds_the_objects_with_their_alphas():
    recipe = load_recipe("vary-objects-32").replace({"gan.batch": 4})
    trainer = ObjectVariationTrainer(recipe, SHAPE, torch.device("cpu"))
    labels = torch.tensor([1, 0, 1, 0])
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    inside = torch.tensor([[4.0, 4, 12, 12], [2, 2, 14, 14], [5, 5, 9, 11], [3, 3, 13, 13]])
    said = ObjectConditions(labels, inside, None, images[:0])
    batches = trainer.take(images, said, torch.Generator().manual_seed(0))
    trainer.step(batches.draw(), 0.9)
    sampler = trainer.sampler
    wanted = alphas_of(None, inside, labels, 16)[labels.argsort(stable=True)]
    assert torch.equal(sampler.source_alphas, wanted)
    assert torch.equal(sampler.sources, images[labels.argsort(stable=True)])
    assert sampler(torch.randn(3, 8), torch.tensor([0, 1, 1])).isfinite().all()
