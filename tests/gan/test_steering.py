import pytest
import torch

from ganaug.gan.networks import Generator, NetworkShape
from ganaug.gan.steering import Steering, find_directions

LATENT = 6


def mixing():
    """An invertible matrix from true axes to codes, neither orthogonal nor of one scale."""
    return torch.randn(LATENT, LATENT, generator=torch.Generator().manual_seed(3)) + 1.5 * torch.eye(LATENT)


def place(noise, groups):
    """Codes whose axes 0 and 1 mean something, mixed, with a centre of their own for each group."""
    return noise @ mixing() + 5 * groups[:, None].float()


def early(codes, groups):
    """What an early layer might say: bent position, brightness, faint rest, and loudly the group."""
    axes = (codes - 5 * groups[:, None].float()) @ mixing().inverse()
    return torch.cat(
        [3 * torch.tanh(axes[:, :1] / 2), 1.0 * axes[:, 1:2], 0.1 * axes[:, 2:], 50.0 * groups[:, None]], 1
    )


@pytest.fixture(scope="module")
def found():
    return find_directions(place, early, torch.arange(4), 3, latent_dim=LATENT)


def test_the_directions_found_are_the_axes_that_matter(found):
    noise = torch.randn(500, LATENT, generator=torch.Generator().manual_seed(9))
    groups = torch.arange(500) % 4
    places = found.places(place(noise, groups), groups)
    for number in (0, 1):
        related = torch.corrcoef(torch.stack([places[:, number], *noise.T]))[0, 1:].abs()
        assert related.argmax() == number
        assert related[number] > 0.98
    assert places.mean(0).abs().max() < 0.2
    assert (places.std(0) - 1).abs().max() < 0.1
    assert list(found.explained) == sorted(found.explained, reverse=True)
    assert 0.5 < found.explained[0] < sum(found.explained) < 1


def test_a_step_moves_along_its_own_direction_alone(found):
    torch.testing.assert_close(found.readings @ found.steps.T, torch.eye(3), atol=1e-4, rtol=0)
    codes, groups = place(torch.randn(20, LATENT), torch.arange(20) % 4), torch.arange(20) % 4
    before, after = found.places(codes, groups), found.places(found.at(codes, groups, 1, -2.0), groups)
    torch.testing.assert_close(after[:, 1], torch.full((20,), -2.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]], atol=1e-3, rtol=0)


def test_they_are_the_same_each_time_and_fewer_are_the_first_of_more(found):
    again = find_directions(place, early, torch.arange(4), 3, latent_dim=LATENT)
    assert torch.equal(found.steps, again.steps)
    fewer = find_directions(place, early, torch.arange(4), 1, latent_dim=LATENT)
    torch.testing.assert_close(fewer.steps[0], found.steps[0])


def test_codes_that_do_not_differ_have_no_directions_there():
    flat = find_directions(
        lambda noise, groups: noise * torch.tensor([1.0, 2, 0, 0, 0, 0]), lambda codes, groups: codes,
        torch.arange(2), LATENT, latent_dim=LATENT,
    )  # fmt: skip
    assert len(flat) == 2
    assert flat.steps.isfinite().all()
    assert flat.readings.isfinite().all()


def test_steering_equals_the_naive_sum():
    random = torch.Generator().manual_seed(0)
    steering = Steering(3, 2, 5)
    for tensor in steering.buffers():
        tensor.copy_(torch.randn(tensor.shape, generator=random))
    codes, labels = torch.randn(7, 5, generator=random), torch.tensor([0, 1, 2, 0, 1, 2, 2])
    moved = steering(codes, labels)
    for row, label in enumerate(labels.tolist()):
        wanted = codes[row].clone()
        for k in range(2):
            at = float((codes[row] - steering.centres[label]) @ steering.readings[k])
            wanted += (steering.shift[label, k] + steering.spread[label, k] * at - at) * steering.steps[k]
        torch.testing.assert_close(moved[row], wanted)


def test_a_generator_without_directions_says_the_same_as_ever():
    shape = NetworkShape(16, 1, 2, latent_dim=4, generator_channels=4, max_channels=8, codes=3)
    generator = Generator(shape).eval()
    noise, labels = torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1])
    assert not [name for name in generator.state_dict() if "steering" in name]
    painted = generator.paint(generator.place(noise, labels), generator.class_embedding(labels))
    assert torch.equal(painted, generator(noise, labels))
    assert generator.early(noise, labels).shape[2:] == (4, 4)
