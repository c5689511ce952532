import math

import pytest
import torch

from ganaug.gan import losses


def naive_softplus(x):
    return math.log1p(math.exp(x))


@pytest.fixture
def logits():
    return torch.tensor([1.5, -0.3, 0.2]), torch.tensor([-1.0, 0.4, 2.0])


def test_discriminator_losses_equal_their_equations(logits):
    real, fake = logits
    r, f = real.tolist(), fake.tolist()
    naive = {
        "non_saturating": sum(naive_softplus(-x) for x in r) / 3 + sum(naive_softplus(x) for x in f) / 3,
        "hinge": sum(max(0, 1 - x) for x in r) / 3 + sum(max(0, 1 + x) for x in f) / 3,
        "relativistic": sum(naive_softplus(b - a) for a, b in zip(r, f, strict=True)) / 3,
    }
    for kind, wanted in naive.items():
        assert float(losses.discriminator_loss(kind, real, fake)) == pytest.approx(wanted, rel=1e-5)


def test_generator_losses_equal_their_equations(logits):
    real, fake = logits
    r, f = real.tolist(), fake.tolist()
    naive = {
        "non_saturating": sum(naive_softplus(-x) for x in f) / 3,
        "hinge": -sum(f) / 3,
        "relativistic": sum(naive_softplus(a - b) for a, b in zip(r, f, strict=True)) / 3,
    }
    for kind, wanted in naive.items():
        assert float(losses.generator_loss(kind, fake, real)) == pytest.approx(wanted, rel=1e-5)


def test_gradient_penalty_of_a_known_function():
    # D(x) = sum of a x^2 / 2 has the gradient a x, so the penalty is gamma/2 mean |a x|^2.
    images = torch.randn(5, 2, 3, 3)
    found = losses.gradient_penalty(lambda x: (1.7 * x.square() / 2).flatten(1).sum(1), images, gamma=0.8)
    wanted = sum(0.4 * sum((1.7 * v) ** 2 for v in image.flatten().tolist()) for image in images) / 5
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-4)


def test_gradient_penalty_reaches_the_discriminators_weights():
    layer = torch.nn.Linear(4, 1)
    losses.gradient_penalty(lambda x: layer(x.flatten(1)).squeeze(1), torch.randn(3, 1, 2, 2), 1.0).backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.abs().sum() > 0


def test_lecam_counts_only_what_goes_away_from_the_other_side(logits):
    real, fake = logits
    found = losses.lecam(real, fake, torch.tensor(0.5), torch.tensor(-0.5))
    wanted = sum(max(0, x + 0.5) ** 2 for x in real.tolist()) / 3 + sum(max(0, 0.5 - x) ** 2 for x in fake.tolist()) / 3
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_mode_seeking_is_the_inverse_ratio_of_distances():
    images, noise = torch.randn(6, 1, 4, 4), torch.randn(6, 5)
    ratios = []
    for a in range(3):
        apart = sum((images[a] - images[a + 3]).abs().flatten().tolist()) / 16
        ratios.append(apart / (sum((noise[a] - noise[a + 3]).abs().tolist()) / 5))
    assert float(losses.mode_seeking(images, noise)) == pytest.approx(1 / (sum(ratios) / 3), rel=1e-3)


def test_mode_seeking_punishes_one_picture_a_class():
    noise = torch.randn(4, 5)
    same, apart = torch.zeros(4, 1, 4, 4), torch.randn(4, 1, 4, 4)
    assert losses.mode_seeking(same, noise) > 100 * losses.mode_seeking(apart, noise)


def test_kl_divergence_equals_torch_distributions():
    mean, log_variance = torch.randn(7, 3), torch.randn(7, 3)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    wanted = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1).mean()
    assert float(losses.kl_divergence(mean, log_variance)) == pytest.approx(float(wanted), rel=1e-5)


def test_reconstruction_scales_with_the_size_of_the_image():
    images, targets = torch.full((2, 3, 4, 4), 0.5), torch.zeros(2, 3, 4, 4)
    assert float(losses.reconstruction(images, targets)) == pytest.approx(24 * (0.125 + 0.5))
