import pytest
import torch

from ganaug.gan.average import recompute_norms, update_average
from ganaug.gan.networks import Discriminators, Encoder, Generator, NetworkShape


@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_at_every_resolution(resolution, channels):
    shape = NetworkShape(
        resolution, channels, 3, latent_dim=8, generator_channels=4, discriminator_channels=4, max_channels=16
    )
    noise, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, 0])
    images = Generator(shape)(noise, labels)
    assert images.shape == (4, channels, resolution, resolution)
    assert images.abs().max() <= 1
    logits, classes = Discriminators(shape, 2)(images, labels)
    assert logits.shape == (8,)
    assert classes.shape == (8, 3)
    mean, log_variance = Encoder(shape)(images, labels)
    assert mean.shape == log_variance.shape == (4, 8)


SHAPE = NetworkShape(16, 1, 3, latent_dim=8, generator_channels=8, discriminator_channels=8, max_channels=16)


def test_without_class_strength_classes_are_alike():
    generator = Generator(SHAPE).eval()
    noise = torch.randn(1, 8).expand(2, 8)
    labels = torch.tensor([0, 2])
    told, untold = generator(noise, labels), generator(noise, labels, 0.0)
    assert not torch.allclose(told[0], told[1], atol=1e-4)
    assert torch.allclose(untold[0], untold[1], atol=1e-5)


def test_the_discriminator_projects_on_the_class():
    judge = Discriminators(SHAPE)
    images, labels = torch.randn(1, 1, 16, 16).expand(2, 1, 16, 16), torch.tensor([0, 2])
    assert judge(images, labels)[0].unique().numel() == 2
    untold, _ = judge(images, labels, 0.0)
    assert torch.allclose(untold[0], untold[1])


def test_average_follows_the_network():
    a, b = Generator(SHAPE), Generator(SHAPE)
    before = a.seed.weight.clone()
    wanted = 0.9 * before + 0.1 * b.seed.weight
    update_average(a, b, 0.9)
    assert torch.allclose(a.seed.weight, wanted, atol=1e-6)


def test_recomputed_statistics_make_evaluation_match_training():
    generator = Generator(SHAPE)
    noise, labels = torch.randn(64, 8), torch.arange(64) % 3
    generator.train()
    trained = generator(noise, labels)
    recompute_norms(generator, noise, labels, chunk=64)
    assert not generator.training
    # Unbiased variance is kept where training normalises with the biased one, hence the tolerance.
    assert torch.allclose(generator(noise, labels), trained, atol=0.02)


CODED = NetworkShape(16, 1, 3, latent_dim=8, generator_channels=8, discriminator_channels=8, max_channels=16, codes=5)


def test_without_codes_noise_is_the_code():
    noise = torch.randn(4, 8)
    assert torch.equal(Generator(SHAPE).place(noise, torch.zeros(4, dtype=torch.int64)), noise)


def test_codes_are_mixed_in_pairs_of_one_class_along_an_arc():
    generator = Generator(CODED)
    generator.code_spread.zero_()
    # Orthonormal codes of class 1, and another class that must not be touched.
    generator.codes[1] = torch.eye(8)[:5]
    generator.codes[0].fill_(100)
    placed = generator.place(torch.randn(400, 8), torch.ones(400, dtype=torch.int64))
    assert torch.allclose(placed.norm(dim=1), torch.ones(400), atol=1e-4)
    used = (placed > 1e-4).sum(1)
    assert used.max() == 2
    assert (placed.max(0).values > 0.9).sum() == 5  # every code is met, and nearly alone at times
    assert ((placed > 0.3).sum(1) == 2).float().mean() > 0.3


def test_only_as_many_codes_as_a_class_has_are_used():
    generator = Generator(CODED)
    generator.code_spread.zero_()
    generator.codes[2] = torch.eye(8)[:5]
    generator.code_counts.copy_(torch.tensor([5, 5, 2]))
    placed = generator.place(torch.randn(200, 8), torch.full((200,), 2))
    assert placed[:, 2:].abs().max() == 0
    assert placed[:, :2].abs().max() > 0.9


def test_remembered_codes_are_the_latest_and_their_spread_is_followed():
    generator = Generator(CODED)
    before = generator.codes.clone()
    mean, log_variance = torch.randn(2, 8), torch.full((2, 8), -2.0)
    for _ in range(300):
        generator.remember(torch.tensor([0, 2]), torch.tensor([4, 1]), mean, log_variance)
    assert torch.equal(generator.codes[0, 4], mean[0])
    assert torch.equal(generator.codes[2, 1], mean[1])
    assert torch.equal(generator.codes[1], before[1])
    assert torch.allclose(generator.code_spread, torch.full((8,), -1.0).exp(), atol=0.01)


def test_a_code_is_mixed_with_its_nearest_and_never_with_the_far():
    shape = NetworkShape(
        16, 1, 1, latent_dim=8, generator_channels=4, discriminator_channels=4, max_channels=8, codes=12
    )
    generator = Generator(shape)
    generator.code_spread.zero_()
    near, far = torch.zeros(6, 8), torch.zeros(6, 8)
    near[:, 0], far[:, 4] = 1, 50  # two groups of six: each code has its five neighbours in its own
    near[:, 1:4] += 0.1 * torch.randn(6, 3)
    generator.codes[0] = torch.cat([near, far])
    placed = generator.place(torch.randn(300, 8), torch.zeros(300, dtype=torch.int64))
    assert ((placed[:, 0] > 0.5) ^ (placed[:, 4] > 25)).all()


def test_a_class_with_a_single_code_stays_there():
    generator = Generator(CODED)
    generator.code_spread.zero_()
    generator.code_counts.fill_(1)
    placed = generator.place(torch.randn(20, 8), torch.full((20,), 1))
    assert torch.allclose(placed, generator.codes[1, 0].expand(20, 8))


def test_the_large_layers_read_features_as_they_lie_in_memory():
    """Row, column, channel: any other order would copy them, and their gradients back, at every step."""
    judge = Discriminators(SHAPE).members[0].to(memory_format=torch.channels_last)
    given = []
    judge.hidden.register_forward_hook(lambda module, inputs, out: given.append(inputs[0]))
    images = torch.randn(2, 1, 16, 16)
    judge(images, torch.tensor([0, 2]))
    features = judge.trunk(images)
    assert torch.equal(given[0], torch.stack([f.movedim(0, -1).reshape(-1) for f in features]))
    assert given[0]._is_view()
