import numpy as np
import pytest
import torch
from PIL import Image

from ganaug.gan.processes import Processes
from ganaug.gan.seeding import SharedGenerator
from ganaug.gan.shrinking import blurred, degraded, detail, plainly_enlarged, shrunk


def some(count=2, height=16, width=24):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(("change", "factor"), [(shrunk, 0.5), (plainly_enlarged, 2)])
def test_sizes_change_as_pillow_has_it(change, factor):
    images = some()
    made = change(images)
    size = int(24 * factor), int(16 * factor)
    for image, ours in zip(images.flatten(0, 1), made.flatten(0, 1), strict=True):
        theirs = np.asarray(Image.fromarray(image.numpy()).resize(size, Image.Resampling.BICUBIC))
        assert np.allclose(ours.numpy(), theirs, atol=1e-5)


def test_each_image_is_blurred_by_its_own_gaussian():
    point = torch.zeros(3, 2, 15, 15)
    point[:, :, 7, 7] = 1
    made = blurred(point, torch.tensor([0.0, 0.6, 1.0]))
    assert torch.allclose(made[0], point[0])
    assert torch.allclose(made.sum((2, 3)), torch.ones(3, 2))
    places = torch.arange(15) - 7.0
    for image, deviation in ((made[1], 0.6), (made[2], 1.0)):
        bell = torch.exp(-0.5 * (places / deviation) ** 2) * (places.abs() <= 3)
        assert torch.allclose(image[0], torch.outer(bell, bell) / bell.sum() ** 2, atol=1e-6)
    flat = torch.full((1, 1, 8, 8), 0.3)
    assert torch.allclose(blurred(flat, torch.tensor([1.0])), flat)


def test_degraded_images_are_blurred_and_noisy_up_to_what_is_said():
    flat, random = torch.zeros(200, 1, 16, 16), torch.Generator().manual_seed(0)
    deviations = degraded(flat, 0.8, 0.1, random).flatten(1).std(1)
    assert 0.04 < deviations.mean() < 0.06
    assert deviations.max() < 0.12
    images = some()
    assert torch.allclose(degraded(images, 0, 0, random), images, atol=1e-6)
    assert detail(degraded(images, 2, 0, random)).std() < detail(images).std()


def test_processes_draw_what_one_would():
    class Half(Processes):
        size = 2

        def __init__(self, rank):
            self.rank = rank

        def mine(self, rows):
            return rows[self.rank :: 2]

    images = some(4)
    whole = degraded(images, 1, 0.2, torch.Generator().manual_seed(3))
    for rank in (0, 1):
        random = SharedGenerator()
        random.processes = Half(rank)
        random.manual_seed(3)
        assert torch.allclose(degraded(images[rank::2], 1, 0.2, random), whole[rank::2], atol=1e-6)


def test_detail_is_what_an_enlargement_lacks():
    smooth = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32)
    chequers = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1).expand(1, 1, 32, 32)
    assert detail(smooth)[..., 4:-4, 4:-4].abs().max() < 0.01
    assert detail(chequers).square().mean() > 0.9
