import pytest
import torch

from ganaug.errors import RecipeError, TrainingError
from ganaug.measures import overlaps
from ganaug.segmenter import augmented, check_augment, predict_maps, soft_dice, train_segmenter
from ganaug.showing import in_turn

ALL = check_augment("flip+turn+affine+elastic+colour+cutmix")


def squares(count, seed=0, side=16):
    """Grey images with a bright square each, seen through noise, and their maps."""
    random = torch.Generator().manual_seed(seed)
    maps = torch.zeros(count, side, side, dtype=torch.uint8)
    for one, (top, left) in zip(maps, torch.randint(1, side - 7, (count, 2), generator=random).tolist(), strict=True):
        one[top : top + 6, left : left + 6] = 1
    noise = torch.randint(0, 60, (count, 1, side, side), generator=random)
    return (40 + 120 * maps[:, None] + noise).byte(), maps


def dice(network, images, maps):
    both, seen, true = overlaps(predict_maps(network, images), maps, range(len(maps)), classes=2)[:, 1].unbind(1)
    return float((2 * both / (seen + true)).mean())


def test_it_learns_to_find_squares_and_the_seed_decides_all():
    images, maps = squares(6)
    state = torch.get_rng_state()
    first, again = (train_segmenter(images, maps, classes=2, steps=30, batch=6, augment="flip+affine") for _ in "ab")
    assert torch.equal(state, torch.get_rng_state())
    assert dice(first, *squares(20, 1)) > 0.8
    assert torch.equal(predict_maps(first, images), predict_maps(again, images))
    other = train_segmenter(images, maps, classes=2, steps=30, batch=6, augment="flip+affine", seed=1)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_others_are_shown_in_turn_and_fade():
    order = torch.arange(6).repeat(5)  # four real ones and two slots, five epochs
    shown = in_turn(order, 4, 2, 3).reshape(5, 6)
    assert (shown[:, :4] == torch.arange(4)).all()
    assert shown[:, 4:].tolist() == [[4, 5], [6, 7], [8, 9], [4, 5], [6, 7]]


@pytest.mark.parametrize("part", sorted(ALL))
def test_every_image_is_changed_by_draws_of_its_own_and_its_map_goes_along(part):
    torch.manual_seed(0)
    maps = squares(24, 2)[1][:1].repeat(24, 1, 1)
    images = (60 + 100 * maps[:, None]).repeat(1, 3, 1, 1)
    images[:, :, 8:] += torch.arange(24, dtype=torch.uint8)[:, None, None, None]  # no two alike
    shown, found = augmented(images, maps, frozenset({part}))
    assert (shown.dtype, shown.shape, found.dtype, found.shape) == (torch.uint8, images.shape, torch.uint8, maps.shape)
    changed = (shown != images).flatten(1).any(1)
    assert changed.sum() > 6
    assert part in {"colour", "turn", "affine"} or not changed.all()
    assert {bytes(one.numpy().tobytes()) for one in shown[changed]}.__len__() > 3
    if part == "colour":
        assert torch.equal(found, maps)
        return
    inside = found != 255
    bright = shown[:, 0] > 110
    agree = (bright == (found == 1)) | ~inside
    assert agree.float().mean() > 0.97  # but for the blur at borders
    assert set(found.unique().tolist()) <= ({0, 1, 255} if part in {"affine", "elastic"} else {0, 1})


def test_what_no_class_is_said_of_teaches_nothing():
    logits = torch.randn(2, 3, 4, 4)
    maps = torch.randint(0, 3, (2, 4, 4), dtype=torch.uint8)
    maps[:, 0] = 255
    other = logits.clone()
    other[:, :, 0] = 9.0 * torch.randn(2, 3, 4)
    assert torch.allclose(soft_dice(logits, maps), soft_dice(other, maps))
    perfect = torch.nn.functional.one_hot(maps.long().clamp(max=2), 3).permute(0, 3, 1, 2) * 50.0
    assert soft_dice(perfect, maps) < 0.01


def test_overlaps_are_counted_over_the_squares_of_an_image():
    random = torch.Generator().manual_seed(3)
    seen, maps = (torch.randint(0, 3, (5, 4, 4), generator=random) for _ in range(2))
    maps[0, 0] = 255
    sources = [0, 1, 0, 2, 1]
    found = overlaps(seen, maps, sources, classes=3)
    for image, cls in ((image, cls) for image in range(3) for cls in range(3)):
        rows = [row for row in range(5) if sources[row] == image]
        ours = sum(int((seen[row] == cls)[maps[row] != 255].sum()) for row in rows)
        both = sum(int(((seen[row] == cls) & (maps[row] == cls)).sum()) for row in rows)
        assert found[image, cls].tolist() == [both, ours, sum(int((maps[row] == cls).sum()) for row in rows)]


def test_what_cannot_be_done_is_one_line():
    with pytest.raises(RecipeError, match="no augmentation 'flop' of images with masks; did you mean 'flip'"):
        check_augment("flop")
    with pytest.raises(RecipeError, match="'none' goes with no other"):
        check_augment("none+flip")
    images, maps = squares(4)
    with pytest.raises(TrainingError, match="loss became nan"):
        train_segmenter(images, maps, classes=2, steps=2, lr=1e30)
