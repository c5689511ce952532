import pytest
import torch

from ganaug.gan.augment import augment, mirror_half


@pytest.fixture
def images():
    return torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def draw(images, part, seed=1):
    return augment(images, [part], torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("part", ["colour", "translation", "cutout"])
def test_each_part_changes_images_differently_and_lets_gradients_through(images, part):
    images = images.clone().requires_grad_(True)
    changed = draw(images, part)
    assert changed.shape == images.shape
    moves = (changed - images).abs().flatten(1).sum(1)
    assert len(moves.unique()) > 32
    changed.sum().backward()
    assert images.grad.abs().sum() > 0


@pytest.mark.parametrize("part", ["colour", "translation", "cutout"])
def test_the_same_seed_draws_the_same(images, part):
    assert torch.equal(draw(images, part), draw(images, part))
    assert not torch.equal(draw(images, part), draw(images, part, seed=2))


def test_translation_moves_by_whole_pixels_up_to_an_eighth(images):
    marked = torch.zeros(64, 1, 16, 16)
    marked[:, :, 8, 8] = 1
    where = draw(marked, "translation").flatten(1).argmax(1)
    rows, columns = where // 16, where % 16
    assert set(rows.tolist()) == set(columns.tolist()) == {6, 7, 8, 9, 10}


def test_cutout_hides_a_square_of_half_the_side_at_most():
    hidden = (draw(torch.ones(64, 1, 16, 16), "cutout") == 0).flatten(1).sum(1)
    assert hidden.max() == 64
    assert hidden.min() >= 16  # a centre at the corner hides a quarter of the square


def test_colour_keeps_grey_images_grey():
    grey = torch.rand(8, 1, 4, 4).expand(8, 3, 4, 4)
    changed = draw(grey, "colour")
    assert torch.allclose(changed[:, 0], changed[:, 2], atol=1e-6)


def test_an_empty_policy_changes_nothing(images):
    assert torch.equal(augment(images, []), images)


def test_mirror_half_mirrors_about_half(images):
    mirrored = mirror_half(images, torch.Generator().manual_seed(0))
    flipped = [torch.equal(a, b.flip(2)) for a, b in zip(mirrored, images, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(mirrored, images, strict=True)]
    assert all(a or b for a, b in zip(flipped, kept, strict=True))
    assert 20 <= sum(flipped) <= 44


@pytest.mark.parametrize(("strength", "share"), [(0.0, 0.0), (0.4, 0.4), (1.0, 1.0)])
def test_below_full_strength_some_images_stay_as_they_are(strength, share):
    images = torch.ones(1000, 1, 16, 16)
    changed = augment(images, ["cutout"], torch.Generator().manual_seed(0), strength)
    moved = (changed != images).flatten(1).any(1).float().mean()
    assert float(moved) == pytest.approx(share, abs=0.05)


def test_above_full_strength_there_is_a_second_round():
    images = torch.ones(1000, 1, 16, 16)
    twice = (augment(images, ["cutout"], torch.Generator().manual_seed(0), 1.5) == 0).flatten(1).sum(1) > 64
    assert 0.2 < float(twice.float().mean()) < 0.5  # of half of the images, and some squares lie within others
    full = augment(images, ["cutout"], torch.Generator().manual_seed(0), 1.0)
    assert torch.equal(full, augment(images, ["cutout"], torch.Generator().manual_seed(0)))
