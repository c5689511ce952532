import pytest
import torch

from ganaug.gan.average import recompute_norms, update_average
from ganaug.gan.networks import Discriminators, Encoder, Generator, NetworkShape


@pytest.mark.parametrize("resolution", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_at_every_resolution(resolution, channels):
    shape = NetworkShape(resolution, channels, 3, latent_dim=8, generator_channels=4, discriminator_channels=4, max_channels=16)
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
