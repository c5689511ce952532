import numpy as np
import torch

from ganaug.compositing.hole_windows import fill_holes, fill_in_turn, windows_of


def a_hole(size, *boxes):
    hole = np.zeros(size, dtype=bool)
    for top, left, bottom, right in boxes:
        hole[top:bottom, left:right] = True
    return hole


def image_of(height, width, channels=3):
    return torch.randint(
        0, 256, (channels, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_a_small_hole_is_seen_at_the_images_own_scale_and_a_large_one_whole():
    windows = windows_of(a_hole((200, 300), (50, 60, 60, 70), (100, 100, 180, 130)), 32)
    assert [window.side for window in windows] == [32, 160]
    for window in windows:
        assert 0 <= window.top <= 200 - window.side
        assert 0 <= window.left <= 300 - window.side
    assert [int(window.part.sum()) for window in windows] == [100, 80 * 30]


def test_touching_corners_are_one_hole():
    assert len(windows_of(a_hole((64, 64), (10, 10, 20, 20), (20, 20, 30, 30)), 32)) == 1
    assert len(windows_of(a_hole((64, 64), (10, 10, 20, 20), (21, 21, 30, 30)), 32)) == 2


def test_what_is_added_lands_in_the_hole_alone():
    image, hole = image_of(90, 70), a_hole((90, 70), (5, 5, 15, 12), (30, 8, 80, 40))

    def adds(guess, missing, window):
        return 1000 * torch.ones_like(guess)

    filled = fill_holes(image, hole, 32, adds)
    assert torch.equal(filled[:, ~hole], image[:, ~hole])
    assert bool((filled[:, hole] == 255).all())


def test_nothing_added_leaves_the_smooth_guess():
    image, hole = torch.full((1, 70, 60), 40, dtype=torch.uint8), a_hole((70, 60), (10, 10, 50, 50))
    image[:, hole] = 255  # what is hidden must not be seen
    seen = []

    def adds(guess, missing, window):
        seen.append((guess, missing))
        return torch.zeros_like(guess)

    assert torch.equal(fill_holes(image, hole, 16, adds), torch.full_like(image, 40))
    ((guess, missing),) = seen
    assert guess.shape == (1, 1, 16, 16)
    assert missing.shape == (1, 1, 16, 16)
    assert float((guess - 40).abs().max()) < 1e-3
    assert 0.2 < float(missing.mean()) < 0.4


def test_a_window_larger_than_the_image_sees_it_mirrored():
    image = image_of(20, 24, 1)
    hole = a_hole((20, 24), (8, 8, 12, 12))
    seen = []
    fill_holes(image, hole, 32, lambda guess, missing, window: seen.append((guess, missing)) or torch.zeros_like(guess))
    ((guess, missing),) = seen
    inner = guess[0, 0, 6:26, 4:28]
    known = torch.from_numpy(~hole)
    assert torch.equal(inner[known], image[0].float()[known])
    assert torch.equal(guess[0, 0, 5, 4:28], guess[0, 0, 6, 4:28])
    assert torch.equal(guess[0, 0, 6:26, 28:], inner[:, 20:].flip(1))
    assert int(missing.sum()) == 16


def test_a_hole_is_filled_alike_whatever_else_is_filled():
    image = image_of(64, 128)

    def adds(guess, missing, window):
        return guess.flip(3) * missing

    one = a_hole((64, 128), (10, 10, 20, 20))
    two = one | a_hole((64, 128), (40, 100, 50, 110))
    first, both = fill_holes(image, one, 32, adds), fill_holes(image, two, 32, adds)
    assert torch.equal(first[:, one], both[:, one])


def test_the_part_of_whose_surroundings_most_is_known_comes_first_and_others_see_what_fills_it():
    """Three in a row that touch, of which the middle one has least around it."""
    image = torch.full((1, 96, 120), 40, dtype=torch.uint8)
    parts = [a_hole((96, 120), (40, left, 50, left + 20)) for left in (50, 30, 70)]
    image[:, np.any(parts, axis=0)] = 255  # what is hidden must not be seen
    seen = []

    def adds(guess, missing, window):
        seen.append((window.left, round(float(guess.max())), int(missing.sum())))
        return torch.full_like(guess, 20.0)

    filled = fill_in_turn(image, parts, 40, adds)
    assert seen[0] == (20, 40, 300)  # the one on the left; half of the middle one is in its window
    assert [level > 55 for _, level, _ in seen] == [False, True, True]
    assert torch.equal(filled[:, ~np.any(parts, axis=0)], image[:, ~np.any(parts, axis=0)])
    assert bool((filled[0, 40:50, 30:50] == 60).all())
    assert 60 < float(filled[0, 40:50, 50:70].float().mean()) < 100


def test_a_part_alone_is_filled_as_a_hole_and_what_parts_share_only_once():
    image, hole = image_of(64, 64), a_hole((64, 64), (10, 10, 24, 30))

    def adds(guess, missing, window):
        return 9 * missing

    once = fill_in_turn(image, [hole], 32, adds)
    assert torch.equal(once, fill_holes(image, hole, 32, adds))
    assert torch.equal(fill_in_turn(image, [hole, hole, np.zeros_like(hole)], 32, adds), once)
