import pytest
import torch
from torch.nn import functional

from ganaug.compositing.tiles import in_tiles, mirrored


@pytest.mark.parametrize(("height", "width"), [(64, 64), (16, 20), (65, 200), (130, 71), (1, 300)])
def test_what_leaves_tiles_alone_leaves_the_image_alone(height, width):
    image = torch.rand(3, height, width)
    seen = []

    def run(tile):
        seen.append(tile.shape)
        return tile

    assert torch.allclose(in_tiles(image, 64, 16, run), image, atol=1e-6)
    assert set(seen) == {(1, 3, 64, 64)}


def test_tiles_do_not_show_where_enough_is_seen_around():
    kernel = torch.rand(2, 3, 5, 5)
    image = torch.rand(3, 150, 130)

    def run(tile):
        return functional.conv2d(functional.pad(tile, (2, 2, 2, 2), mode="reflect"), kernel)

    whole, tiled = run(image[None])[0], in_tiles(image, 64, 24, run)
    assert tiled.shape == (2, 150, 130)
    inside = (slice(None), slice(4, -24), slice(4, -24))  # an image that is continued has another border
    assert (tiled[inside] - whole[inside]).abs().max() < 0.02 * whole.abs().max()


def test_tiles_that_disagree_are_mixed_without_a_step():
    tones = iter(range(100))
    made = in_tiles(torch.zeros(1, 64, 216), 64, 32, lambda tile: torch.full_like(tile, next(tones)))
    assert made[0, 0, 0] == 0
    assert made[0, 0, -1] == next(tones) - 1
    assert made.diff(dim=2).abs().max() < 0.06


def test_results_may_be_larger_and_images_of_whole_numbers():
    image = torch.randint(256, (1, 50, 90), dtype=torch.uint8)
    made = in_tiles(image, 40, 8, lambda tile: tile.float().repeat_interleave(2, 2).repeat_interleave(2, 3), scale=2)
    assert torch.allclose(made, image.float().repeat_interleave(2, 1).repeat_interleave(2, 2), atol=1e-4)


def test_an_image_goes_on_as_its_mirror_image():
    row = torch.tensor([[[1, 2, 3]]])
    assert mirrored(row, 2, 8).tolist() == [[[1, 2, 3, 2, 1, 2, 3, 2]] * 2]
