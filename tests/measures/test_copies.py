import pytest
import torch

from ganaug import measures
from ganaug.measures import copies


def noise(count, seed, channels=1, side=9):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), generator=random, dtype=torch.uint8)


def naive(synthetic, real, flips, shift):
    """The least root mean square difference over all mirrorings and moves, one pair at a time."""
    side = real.shape[-1]
    best = torch.full((len(synthetic), len(real)), float("inf"), dtype=torch.float64)
    for i, ours in enumerate(synthetic.double()):
        for j, theirs in enumerate(real.double()):
            for image in (ours, ours.flip(-1)) if flips else (ours,):
                for y in range(-shift, shift + 1):
                    for x in range(-shift, shift + 1):
                        a = image[:, max(0, y) : side + min(0, y), max(0, x) : side + min(0, x)]
                        b = theirs[:, max(0, -y) : side + min(0, -y), max(0, -x) : side + min(0, -x)]
                        best[i, j] = min(best[i, j], (a - b).square().mean().sqrt())
    return best.min(1)


@pytest.mark.parametrize(("flips", "shift"), [(True, 2), (False, 1), (True, 0), (False, 0)])
def test_nearest_tolerant_equals_the_naive_search(flips, shift):
    synthetic, real = noise(7, 1, 2), noise(5, 2, 2)
    wanted = naive(synthetic, real, flips, shift)
    index, distance = measures.nearest_tolerant(synthetic, real, flips=flips, shift=shift)
    assert index.tolist() == wanted.indices.tolist()
    assert distance.tolist() == pytest.approx(wanted.values.tolist(), rel=1e-5)


def test_nearest_tolerant_finds_moved_and_mirrored_copies():
    real = noise(20, 3, 3, 16)
    planted = torch.roll(real[[4, 11, 17]].flip(-1), (2, -1), (2, 3))
    index, distance = measures.nearest_tolerant(planted, real)
    assert index.tolist() == [4, 11, 17]
    assert distance.max() == 0
    assert measures.nearest_tolerant(planted, real, flips=False)[1].min() > 50
    assert measures.nearest_tolerant(planted, real, shift=1)[1].min() > 50


def test_nearest_tolerant_without_tolerance_is_nearest_images():
    synthetic, real = noise(6, 4), noise(8, 5)
    plain = measures.nearest_images(synthetic, real)
    found = measures.nearest_tolerant(synthetic, real, flips=False, shift=0)
    assert torch.equal(found[0], plain[0])
    assert torch.allclose(found[1], plain[1], atol=1e-3)


def test_nearest_tolerant_in_chunks_is_the_same(monkeypatch):
    synthetic, real = noise(7, 6), noise(9, 7)
    whole = measures.nearest_tolerant(synthetic, real)
    monkeypatch.setattr(copies, "_SYNTHETIC", 3)
    monkeypatch.setattr(copies, "_REAL", 2 * real[0].numel())
    chunked = measures.nearest_tolerant(synthetic, real)
    assert torch.equal(whole[0], chunked[0])
    assert torch.allclose(whole[1], chunked[1], atol=1e-3)


def test_nearest_tolerant_of_tiny_images_moves_less():
    assert measures.nearest_tolerant(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0))[1].item() == 3
