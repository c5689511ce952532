import pytest
import torch

from ganaug.gan.batches import Batch
from ganaug.gan.networks import NetworkShape
from ganaug.gan.step import Trainer
from ganaug.recipe import load_recipe

SHAPE = NetworkShape(16, 3, 2, latent_dim=8, generator_channels=8, discriminator_channels=8, max_channels=16, codes=4)


def trainer(**changes):
    torch.manual_seed(0)
    recipe = load_recipe({"resolution": 16, "kimg": 1}).replace(changes)
    made = Trainer(recipe, SHAPE, torch.device("cpu"))
    made.random.manual_seed(0)
    return made


@pytest.fixture
def batch():
    images = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(8) % 2, torch.arange(8) // 2)


def moved(network, before):
    return any(not torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))


def copy_of(network):
    return [p.detach().clone() for p in network.parameters()]


def test_reconstruction_alone_leaves_the_discriminator(batch):
    t = trainer()
    judge, generator, encoder = copy_of(t.discriminator), copy_of(t.generator), copy_of(t.encoder)
    logged = t.step(batch, 0.0)
    assert not moved(t.discriminator, judge)
    assert moved(t.generator, generator)
    assert moved(t.encoder, encoder)
    assert {"reconstruction", "kl"} <= logged.keys()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"gan.loss": "hinge", "gan.lecam": 0.3},
        {"gan.loss": "relativistic", "gan.r2": 1.0, "gan.penalty_every": 1},
        {"networks.discriminators": 2, "gan.augment": []},
        {"reconstruction.share": 0, "gan.class_ramp": [0.2, 0.9], "data.horizontal_flip": True},
    ],
)
def test_the_game_trains_both_sides(batch, changes):
    t = trainer(**changes)
    judge, generator, average = copy_of(t.discriminator), copy_of(t.generator), copy_of(t.average)
    logged = t.step(batch, 0.5)
    assert moved(t.discriminator, judge)
    assert moved(t.generator, generator)
    assert moved(t.average, average)
    assert all(torch.isfinite(value) for value in logged.values())


def test_dropped_reconstruction_leaves_the_encoder(batch):
    t = trainer(**{"reconstruction.weight": 0})
    encoder = copy_of(t.encoder)
    t.step(batch, 0.9)
    assert not moved(t.encoder, encoder)


def test_equal_seeds_give_equal_weights(batch):
    a, b = trainer(), trainer()
    for progress in (0.0, 0.5, 0.9):
        a.step(batch, progress)
        b.step(batch, progress)
    assert all(torch.equal(x, y) for x, y in zip(a.generator.parameters(), b.generator.parameters(), strict=True))


def test_reconstruction_learns(batch):
    t = trainer()
    first = float(t.step(batch, 0.0)["reconstruction"])
    for _ in range(60):
        last = float(t.step(batch, 0.1)["reconstruction"])
    assert last < 0.8 * first


@pytest.mark.parametrize("moment", [0.0, 0.5])
def test_half_precision_follows_full(batch, moment):
    """Losses and the penalty's pull on the discriminator, to what bfloat16's eight bits allow."""
    changes = {"gan.r1": 200.0, "gan.r2": 200.0, "gan.penalty_every": 1}  # the penalty outweighs the rest
    full, half = trainer(**changes), trainer(**changes)
    half.compute_in("bfloat16")
    wanted, found = full.step(batch, moment), half.step(batch, moment)
    for name in {"reconstruction", "discriminator", "generator"} & wanted.keys():
        assert torch.allclose(found[name], wanted[name], rtol=0.05)
    if moment:
        a, b = (torch.cat([p.grad.flatten() for p in t.discriminator.parameters()]) for t in (full, half))
        assert torch.linalg.vector_norm(a - b) < 0.1 * torch.linalg.vector_norm(a)


def test_the_penalty_too_is_computed_in_half_precision(batch):
    seen = set()
    t = trainer(**{"gan.penalty_every": 1})
    t.compute_in("bfloat16")
    t.discriminator.members[0].hidden.register_forward_hook(lambda module, given, out: seen.add(out.dtype))
    t.step(batch, 0.9)
    assert seen == {torch.bfloat16}


def test_float16_follows_full_precision(batch):
    """Losses and unscaled gradients, to what its ten bits allow; the penalty in float32, which has the range for it."""
    full, half = trainer(**{"gan.penalty_every": 1}), trainer(**{"gan.penalty_every": 1})
    half.compute_in("float16")
    seen = set()
    half.discriminator.members[0].hidden.register_forward_hook(lambda module, given, out: seen.add(out.dtype))
    wanted, found = full.step(batch, 0.5), half.step(batch, 0.5)
    for name in {"reconstruction", "discriminator", "generator", "gradient"}:
        assert torch.allclose(found[name], wanted[name], rtol=0.02), name
    a, b = (torch.cat([p.grad.flatten() for p in t.discriminator.parameters()]) for t in (full, half))
    assert torch.linalg.vector_norm(a - b) < 0.05 * torch.linalg.vector_norm(a)
    assert seen == {torch.float16, torch.float32}


def test_a_float16_step_that_overflows_is_not_taken_and_the_next_is_scaled_less(batch):
    t = trainer()
    t.compute_in("float16")
    before = copy_of(t.generator)
    t.scaler.load_state_dict(t.scaler.state_dict() | {"scale": 2.0**100})
    logged = t.step(batch, 0.0)
    assert not moved(t.generator, before)
    assert t.scaler.get_scale() == 2.0**99
    assert all(torch.isfinite(value) for value in logged.values()), "an overflow alone is no trouble"
    t.scaler.load_state_dict(t.scaler.state_dict() | {"scale": 2.0**10})
    t.step(batch, 0.0)
    assert moved(t.generator, before)
