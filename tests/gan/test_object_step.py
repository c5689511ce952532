import functools

import pytest
import torch

from ganaug.gan.cut_outs import ObjectConditions, opacity, soft_alphas
from ganaug.gan.loop import Fit
from ganaug.gan.networks import NetworkShape
from ganaug.gan.object_step import ObjectTrainer
from ganaug.recipe import load_recipe

RECIPE = load_recipe("detect-32").replace(
    {"gan.batch": 8, "reconstruction.kl": 1.0, "reconstruction.codes": 24, "networks.latent_dim": 8}
)
SHAPE = NetworkShape(32, 3, 2, latent_dim=8, generator_channels=8, discriminator_channels=8, max_channels=32, codes=24)
STEPS = 128


@functools.cache
def shapes(count=48):
    """Bright discs and dark diamonds on a shaded ground, their boxes, and their true alphas (N, 32, 32) uint8."""
    random = torch.Generator().manual_seed(0)
    places = torch.arange(32) + 0.5
    labels = torch.arange(count) % 2
    radius = 9 + 3 * torch.rand(count, 1, 1, generator=random)
    x, y = (16 + 2 * torch.rand(2, count, 1, 1, generator=random) - 1).unbind()
    across, down = (places[None, None, :] - x).abs(), (places[None, :, None] - y).abs()
    away = torch.where(labels[:, None, None] == 0, (across.square() + down.square()).sqrt(), across + down)
    alphas = (away <= radius).to(torch.uint8) * 255
    ground = 110 + 30 * torch.rand(count, 3, 1, 1, generator=random) + places / 2
    colour = torch.where(labels == 0, 225, 25)[:, None, None, None]
    images = torch.where(alphas[:, None] > 0, colour, ground) + 6 * torch.rand(count, 3, 32, 32, generator=random)
    inside = torch.stack([x - radius, y - radius, x + radius, y + radius], 1).flatten(1)
    backgrounds = (ground[:8] + torch.zeros(8, 3, 32, 32)).to(torch.uint8)
    return images.to(torch.uint8), alphas, ObjectConditions(labels, inside, None, backgrounds)


def conditions(given):
    _, alphas, said = shapes()
    return ObjectConditions(said.labels, said.inside, alphas if given else None, said.backgrounds)


def trainer(alpha, seed=0):
    torch.manual_seed(seed)
    made = ObjectTrainer(RECIPE.replace({"objects.alpha": alpha}), SHAPE, torch.device("cpu"))
    made.random.manual_seed(seed)
    return made


@functools.cache
def trained(alpha):
    made = trainer(alpha)
    batches = made.take(shapes()[0], conditions(alpha == "given"), torch.Generator().manual_seed(1))
    for step in range(STEPS):
        logged = made.step(batches.draw(), step / STEPS)
    assert all(bool(value.isfinite()) for value in logged.values())
    made.settle(torch.Generator().manual_seed(2))
    return made


def overlap(alphas, others):
    """Mean intersection over union."""
    ours, theirs = alphas >= 128, others >= 128
    return float(((ours & theirs).sum((1, 2)) / (ours | theirs).sum((1, 2)).clamp_min(1)).mean())


def rebuilt(made):
    """Alphas that the generator gives the codes of the real objects."""
    images, _, said = shapes()
    generator = made.sampler
    codes = generator.codes[said.labels, torch.arange(len(images)) // 2]
    with torch.no_grad():
        return (opacity(generator.decode(codes, said.labels)) * 255)[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ["given", "learned"])
def test_the_generator_learns_the_shape_of_objects(alpha):
    made, (images, alphas, said) = trained(alpha), shapes()
    untrained = trainer(alpha)
    untrained.take(images, conditions(alpha == "given"), torch.Generator())
    after = overlap(rebuilt(made), alphas)
    assert after > 0.8
    assert after > overlap(rebuilt(untrained), alphas) + 0.2
    noise = torch.randn(24, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        samples = made.sampler.cut_outs(noise, said.labels[:24])
    seen = (opacity(samples) >= 0.5).float()
    colours = (samples[:, :3] * seen).sum((1, 2, 3)) / (3 * seen.sum((1, 2, 3))).clamp_min(1)
    assert colours[0::2].mean() - colours[1::2].mean() > 0.8


@pytest.mark.slow
def test_alphas_are_found_where_only_boxes_are_known():
    alphas, said = shapes()[1], shapes()[2]
    found = trained("learned").running["alphas"]
    diamonds = said.labels == 1
    assert overlap(found, alphas) > 0.85
    soft = soft_alphas(said.inside, said.labels, 32)
    assert overlap(found[diamonds], alphas[diamonds]) > overlap(soft[diamonds], alphas[diamonds]) + 0.1


def test_what_cannot_be_told_from_its_ground_gets_the_soft_alpha_of_its_box():
    made, (images, _, said) = trainer("learned"), shapes()
    flat = torch.full_like(images, 130)
    batches = made.take(flat, conditions(False), torch.Generator().manual_seed(1))
    for step in range(40):
        made.step(batches.draw(), step / 80)
    made.step(batches.draw(), 0.5)
    assert torch.equal(made.running["alphas"], soft_alphas(said.inside, said.labels, 32))


@pytest.mark.parametrize(("alpha", "given"), [("soft", True), ("auto", True), ("given", True), ("soft", False)])
def test_alphas_are_those_that_the_recipe_asks_for(alpha, given):
    made, (images, alphas, said) = trainer(alpha), shapes()
    made.take(images, conditions(given), torch.Generator())
    expected = soft_alphas(said.inside, said.labels, 32) if alpha == "soft" else alphas
    assert torch.equal(made.running["alphas"], expected)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "stop"), [("given", 4), ("learned", 2), ("learned", 6)])  # found at step 4
def test_a_fit_goes_on_bit_for_bit(tmp_path, alpha, stop):
    def a_fit(**changes):
        recipe = RECIPE.replace({"objects.alpha": alpha, "kimg": 0.064, "snapshots.count": 4})
        return Fit(
            images=shapes()[0], labels=conditions(alpha == "given"), recipe=recipe, shape=SHAPE, build=ObjectTrainer,
            device=torch.device("cpu"), kimg=0.064, evaluate=lambda generator: (0.5, {}),
            precision="float32", **changes,
        )  # fmt: skip

    class Stopped(Exception):
        pass

    def at(step, steps):
        if step > stop:
            raise Stopped

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stopped):
        a_fit(checkpoint=path, on_step=at).run()
    resumed, whole = a_fit(checkpoint=path, resume=True), a_fit()
    kept, expected = resumed.run().state_dict(), whole.run().state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in expected.items())
    assert [snapshot.measures for snapshot in resumed.history] == [snapshot.measures for snapshot in whole.history]
