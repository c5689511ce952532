import math

import numpy as np
import pytest
import torch

from ganaug.recipe import Screening
from ganaug.screening.limits import REASONS, Limits, limits_of, nearest_features, reasons

NONE = Screening(doubt=None, far=None, copies=None, redundant=None)


def world(seed=0, sizes=(30, 20)):
    random = torch.Generator().manual_seed(seed)
    own = [torch.rand(size, generator=random) for size in sizes]
    features = [torch.randn(size, 5, generator=random) for size in sizes]
    images = [torch.randint(0, 256, (size, 1, 8, 8), generator=random).to(torch.uint8) for size in sizes]
    return own, features, images


def test_limits_are_the_real_images_own():
    own, features, images = world()
    own[1] = own[1] / 2 + 0.5  # a class that the judge is sure of
    found = limits_of(Screening(doubt=0.3, far=0.9, copies=0.2, redundant=0.1), own, features, images)
    for place, limits in enumerate(found):
        known = features[place].numpy()
        apart = np.linalg.norm(known[:, None] - known[None], axis=2)
        np.fill_diagonal(apart, np.inf)
        nearest = np.sort(apart.min(1))
        assert limits.far == pytest.approx(float(np.quantile(nearest, 0.9)), rel=1e-4)
        assert limits.redundant == pytest.approx(0.1 * nearest[(len(nearest) - 1) // 2], rel=1e-4)
        assert limits.copy > 0
    assert found[0].doubted == pytest.approx(float(np.quantile(own[0].numpy(), 0.3)), rel=1e-5)
    assert found[1].doubted == 0.5


def test_the_usual_distance_in_pixels_forgives_moves_as_that_of_samples_does():
    image = torch.randint(0, 256, (1, 1, 16, 16)).to(torch.uint8)
    moved = torch.cat([image, image.roll(1, -1), image.flip(-1), image.roll((1, 1), (-1, -2))])
    (limits,) = limits_of(Screening(copies=1.0), [torch.rand(4)], [torch.randn(4, 3)], [moved])
    assert limits.copy < 1


def test_what_is_off_drops_nothing():
    (limits, _) = limits_of(NONE, *world())
    kept = reasons(limits, torch.zeros(3), torch.full((3,), 1e9), torch.zeros(3), torch.zeros(3, 3), 3)
    assert kept == [-1, -1, -1]


def test_a_class_of_one_image_borrows_the_others_distance():
    own, features, images = world(sizes=(20, 1))
    many, one = limits_of(Screening(), own, features, images)
    assert (one.copy, one.redundant, one.far) == (many.copy, many.redundant, math.inf)
    (alone,) = limits_of(Screening(), own[1:], features[1:], images[1:])
    assert (alone.copy, alone.redundant) == (0, 0)


def naive(limits, own, far, pixels, earlier, features, room):
    """One sample after another, as it is told to people."""
    kept, found = list(earlier), []
    for row, vector in enumerate(features):
        if own[row] < limits.doubted:
            found.append("doubted")
        elif far[row] > limits.far:
            found.append("far")
        elif pixels[row] <= limits.copy:
            found.append("copy")
        elif any((vector - other).norm() < limits.redundant for other in kept):
            found.append("redundant")
        else:
            found.append("kept")
            kept.append(vector)
            if len(kept) - len(earlier) == room:
                break
    return found


@pytest.mark.parametrize("seed", range(6))
def test_reasons_are_those_of_a_naive_look(seed):
    random = torch.Generator().manual_seed(seed)
    own, pixels = torch.rand(2, 80, generator=random)
    features, real, earlier = (torch.randn(size, 2, generator=random) for size in (80, 10, 5))
    limits = Limits(doubted=0.2, far=1.0, copy=0.1, redundant=0.3)
    far = nearest_features(features, real)
    assert torch.allclose(far, torch.stack([(real - one).norm(dim=1).min() for one in features]), atol=1e-5)
    for room in (3, 100):
        found = reasons(limits, own, far, pixels, torch.cdist(features, torch.cat([earlier, features])), room)
        names = ["kept" if reason < 0 else REASONS[reason] for reason in found]
        assert names == naive(limits, own, far, pixels, earlier, features, room)
    assert {"kept", *REASONS} == set(names)
