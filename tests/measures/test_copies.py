import math

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


def test_mann_whitney_z_equals_the_count_of_pairs():
    synthetic, held = torch.tensor([1.0, 4.0, 4.5]), torch.tensor([2.0, 3.0, 5.0, 6.0])
    u = sum(float(a > b) for a in synthetic for b in held)
    assert measures.mann_whitney_z(synthetic, held) == pytest.approx((u - 6) / (3 * 4 * 8 / 12) ** 0.5)


def test_mann_whitney_z_with_ties_agrees_with_scipy():
    from scipy import stats

    random = torch.Generator().manual_seed(0)
    synthetic = torch.randint(0, 6, (30,), generator=random).float()
    held = torch.randint(1, 7, (40,), generator=random).float()
    z = measures.mann_whitney_z(synthetic, held)
    wanted = stats.mannwhitneyu(synthetic, held, use_continuity=False, method="asymptotic").pvalue
    assert z < 0
    assert 2 * stats.norm.cdf(z) == pytest.approx(float(wanted))


def test_mann_whitney_z_without_an_answer():
    assert math.isnan(measures.mann_whitney_z(torch.ones(3), torch.ones(4)))
    assert math.isnan(measures.mann_whitney_z(torch.ones(0), torch.ones(4)))


def test_mann_whitney_z_is_standard_where_nothing_was_copied():
    random = torch.Generator().manual_seed(1)
    found = torch.tensor([measures.mann_whitney_z(*torch.rand(2, 40, generator=random)) for _ in range(400)])
    assert abs(float(found.mean())) < 0.2
    assert float(found.std()) == pytest.approx(1, abs=0.12)


def test_copying_in_one_cell_is_weighted_by_its_held_images():
    random = torch.Generator().manual_seed(2)
    near, far = torch.rand(30, generator=random) * 0.1, torch.rand(30, generator=random) + 1
    honest = torch.rand(10, generator=random)
    held = torch.cat([torch.rand(60, generator=random) + 1, torch.rand(20, generator=random)])
    held_cells = torch.tensor([0] * 60 + [1] * 20)
    cells = torch.tensor([0] * 30 + [1] * 10)
    found = [
        measures.copying_statistic(torch.cat([first, honest]), held, synthetic_cells=cells, held_cells=held_cells)
        for first in (near, far)
    ]
    z = [measures.mann_whitney_z(near, held[:60]), measures.mann_whitney_z(honest, held[60:])]
    assert found[0] == pytest.approx(0.75 * z[0] + 0.25 * z[1])
    assert found[0] < -4 < found[1]


def test_cells_of_too_few_images_are_left_out():
    cells = torch.tensor([0] * 5 + [1] * 4)
    distances = torch.arange(9.0)
    whole = measures.copying_statistic(distances, distances + 0.5, synthetic_cells=cells, held_cells=cells)
    assert whole == pytest.approx(measures.mann_whitney_z(distances[:5], distances[:5] + 0.5))
    assert math.isnan(
        measures.copying_statistic(distances[5:], distances[5:], synthetic_cells=cells[5:], held_cells=cells[5:])
    )


def test_cells_are_those_of_the_training_vectors():
    train = torch.cat([torch.zeros(10, 2), torch.full((10, 2), 9.0)]) + torch.rand(20, 2)
    first, second = measures.partition(train, (torch.zeros(3, 2), torch.full((2, 2), 9.0)), cells=2, seed=0)
    assert len(set(first.tolist())) == len(set(second.tolist())) == 1
    assert first[0] != second[0]
    assert measures.partition(train[:1], (train,), cells=5, seed=0)[0].tolist() == [0] * 20
