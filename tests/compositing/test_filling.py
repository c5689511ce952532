import torch

from ganaug.compositing.filling import fill_in, grounds_of


def test_what_is_known_stays_and_holes_follow_what_is_around_them():
    ramp = torch.linspace(-1, 1, 32).expand(2, 3, 32, 32)
    known = torch.ones(2, 1, 32, 32)
    known[:, :, 10:22, 12:20] = 0
    filled = fill_in(torch.where(known > 0, ramp, torch.full_like(ramp, 9.0)), known)
    assert torch.equal(filled[:, :, :10], ramp[:, :, :10])
    assert (filled - ramp).abs().max() < 0.3
    assert (filled[0, 0, 16, 12:20].diff() > 0).all()


def test_a_hole_in_one_colour_is_of_that_colour():
    image = torch.full((1, 1, 24, 17), 0.25)
    known = torch.zeros(1, 1, 24, 17)
    known[..., 3, 4] = 1
    assert torch.allclose(fill_in(image, known), image, atol=1e-6)


def test_where_nothing_is_known_there_is_nothing():
    assert not fill_in(torch.ones(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)).any()


def test_grounds_are_without_what_is_in_the_boxes():
    crops = torch.full((2, 3, 32, 32), 200, dtype=torch.uint8)
    crops[0, :, 8:24, 6:20] = 10
    inside = torch.tensor([[6.0, 8.0, 20.0, 24.0], [4.0, 4.0, 20.0, 20.0]])
    assert torch.equal(grounds_of(crops, inside), torch.full_like(crops, 200))
