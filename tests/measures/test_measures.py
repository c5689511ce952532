import pytest
import torch

from ganaug import measures


def test_kernel_distance_equals_the_double_sum():
    real, fake = torch.randn(4, 3), torch.randn(5, 3)

    def k(a, b):
        return (float(a @ b) / 3 + 1) ** 3

    within_real = sum(k(real[i], real[j]) for i in range(4) for j in range(4) if i != j) / 12
    within_fake = sum(k(fake[i], fake[j]) for i in range(5) for j in range(5) if i != j) / 20
    across = sum(k(a, b) for a in real for b in fake) / 20
    assert measures.kernel_distance(real, fake) == pytest.approx(within_real + within_fake - 2 * across, rel=1e-4)


def test_kernel_distance_is_near_zero_for_one_distribution_and_grows_away_from_it():
    a, b = torch.randn(2, 300, 8, generator=torch.Generator().manual_seed(0)).unbind()
    assert abs(measures.kernel_distance(a, b)) < 0.1
    assert measures.kernel_distance(a, b + 1) > 0.5


def test_coverage_equals_the_naive_count():
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(20, 2, generator=generator), torch.randn(7, 2, generator=generator)
    covered = 0
    for i in range(20):
        others = sorted(float((real[i] - real[j]).norm()) for j in range(20) if j != i)
        covered += any(float((real[i] - f).norm()) <= others[2] for f in fake)
    assert measures.coverage(real, fake, neighbours=3) == pytest.approx(covered / 20)


def test_coverage_falls_when_modes_are_missing():
    real = torch.cat([torch.randn(50, 4), torch.randn(50, 4) + 20])
    assert measures.coverage(real, real[:50]) == pytest.approx(0.5)


def test_fidelity_sees_what_pooling_hides():
    a, b = torch.randn(40, 4), torch.randn(40, 4) + 6
    real, labels = torch.cat([a, b]), torch.tensor([0] * 40 + [1] * 40)
    right = measures.fidelity(real, labels, torch.cat([a, b]), labels)
    swapped = measures.fidelity(real, labels, torch.cat([b, a]), labels)
    assert right.coverage == 1
    assert swapped.coverage == 0
    assert swapped.score < 0.1 < right.score


def test_nearest_images_finds_planted_copies():
    real = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8)
    indices, distances = measures.nearest_images(real[[4, 7]], real)
    assert indices.tolist() == [4, 7]
    assert distances.max() < 0.5
    apart = measures.nearest_images(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0))[1]
    assert float(apart) == pytest.approx(3.0)


def test_spread_and_sharpness_of_known_images():
    assert measures.spread(torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 2.0)])) == pytest.approx(2**0.5)
    assert measures.spread(torch.zeros(1, 1, 4, 4)) == 0
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    assert measures.sharpness(3 * ramp) == pytest.approx(3.0)


def stripes(count, seed):
    """Two classes of 16 px images: stripes across and stripes down, at random phases."""
    random = torch.Generator().manual_seed(seed)
    phase = torch.rand(count, 1, 1, generator=random) * 6.3
    wave = (torch.arange(16).float()[None, None, :] * 1.2 + phase).sin().expand(count, 16, 16)
    labels = torch.arange(count) % 2
    images = torch.where(labels[:, None, None] == 1, wave.transpose(1, 2), wave)
    return ((images + 1) * 127).to(torch.uint8)[:, None], labels


def test_features_tell_classes_apart_and_are_standardised():
    images, labels = stripes(80, 0)
    network = measures.train_features(images, labels, seed=0, steps=60)
    fresh, fresh_labels = stripes(80, 1)
    guessed = network(fresh.float() / 127.5 - 1).argmax(1)
    assert (guessed == fresh_labels).float().mean() > 0.9
    features = network.features(images)
    assert torch.allclose(features.mean(0), torch.zeros(features.shape[1]), atol=1e-4)
    told = network.classes(network.features(images))
    assert torch.equal(told, network(images.float() / 127.5 - 1).argmax(1))
    assert float((told == labels).float().mean()) > 0.9


def test_features_of_a_single_class_and_equal_seeds():
    images, _ = stripes(20, 0)
    one = torch.zeros(20, dtype=torch.int64)
    a, b = (measures.train_features(images, one, seed=3, steps=5) for _ in range(2))
    assert torch.equal(a.features(images), b.features(images))
    assert a.head.out_features == 4


@pytest.mark.parametrize("sizes", [(20, 7), (12, 30)])
def test_precision_recall_and_density_equal_the_naive_counts(sizes):
    generator = torch.Generator().manual_seed(2)
    real, fake = (torch.randn(size, 2, generator=generator) for size in sizes)

    def radius(points, i, k=3):
        return sorted(float((points[i] - points[j]).norm()) for j in range(len(points)) if j != i)[k - 1]

    def balls(centres, point):
        return sum(float((centres[i] - point).norm()) <= radius(centres, i) for i in range(len(centres)))

    held_by = [balls(real, point) for point in fake]
    assert measures.precision(real, fake, 3) == pytest.approx(sum(count > 0 for count in held_by) / len(fake))
    assert measures.density(real, fake, 3) == pytest.approx(sum(held_by) / (3 * len(fake)))
    wanted = sum(balls(fake, point) > 0 for point in real) / len(real)
    assert measures.recall(real, fake, 3) == pytest.approx(wanted)


def test_precision_sees_outliers_and_recall_missing_modes():
    random = torch.Generator().manual_seed(3)
    a, b = torch.randn(60, 4, generator=random), torch.randn(60, 4, generator=random)
    strange = torch.cat([b[:30], torch.full((30, 4), 50.0) + torch.randn(30, 4, generator=random)])
    assert measures.precision(a, strange) < 0.6 < measures.precision(a, b)
    two = torch.cat([a, a + 40])
    assert measures.recall(two, torch.cat([b, b])) == pytest.approx(0.5, abs=0.1)
    assert measures.density(a, b) == pytest.approx(1, abs=0.3)


def test_fewer_vectors_than_neighbours():
    pair = torch.tensor([[0.0], [1.0]])
    assert measures.precision(pair, torch.tensor([[0.5], [3.0]])) == 0.5
    assert measures.density(pair, torch.tensor([[0.5], [3.0]])) == 1.0
