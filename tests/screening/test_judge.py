from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ganaug.crossfit import fitted_temperature, folds_of
from ganaug.errors import DataError
from ganaug.screening.judge import Judge, train_judge


def test_parts_hold_every_class_evenly(real):
    folds = folds_of(real, 3, seed=4)
    assert sorted(folds.unique().tolist()) == [0, 1, 2]
    for label in range(4):
        assert sorted(torch.bincount(folds[real.labels == label]).tolist()) == [13, 13, 14]
    assert torch.equal(folds, folds_of(real, 3, seed=4))
    assert not torch.equal(folds, folds_of(real, 3, seed=5))


def test_copies_are_never_in_two_parts(real):
    prints = ("same",) * 10 + real.fingerprints[10:]
    assert len(folds_of(replace(real, fingerprints=prints), 3, seed=0)[:10].unique()) == 1


def test_parts_that_copies_leave_empty_are_no_parts(real):
    few = replace(real.subset([0, 1, 2, 40]), fingerprints=("a", "a", "a", "b"))
    assert folds_of(few, 4, seed=0).max() < 2


def test_the_temperature_is_that_of_least_cross_entropy():
    random = np.random.default_rng(0)
    true = torch.from_numpy(random.normal(size=(4000, 3)))
    labels = torch.distributions.Categorical(logits=true).sample()
    found = fitted_temperature(3.0 * true, labels)
    assert found == pytest.approx(3.0, rel=0.15)
    grid = np.geomspace(0.5, 15, 300)
    losses = [float(nn.functional.cross_entropy(3.0 * true / heat, labels)) for heat in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)


def test_a_sample_is_judged_by_the_network_without_its_nearest_real_image():
    class Always(nn.Module):
        def __init__(self, seen):
            super().__init__()
            self.logits = nn.Parameter(30.0 * nn.functional.one_hot(torch.tensor(seen), 3).float())

        def forward(self, images):
            return self.logits.expand(len(images), 3)

    judge = Judge((Always(0), Always(1), Always(2)), torch.tensor([2, 0, 1]), 1.0, torch.ones(3), 1.0)
    told = judge.probabilities(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 2, 0]))
    assert told.argmax(1).tolist() == [2, 0, 1, 2]


def test_real_images_are_judged_out_of_fold(real):
    judge = train_judge(real, judges=2, steps=8, flips=False, seed=0, device="cpu")
    told = judge.probabilities(real.images, torch.arange(len(real)))
    assert torch.allclose(told[torch.arange(len(real)), real.labels], judge.own, atol=1e-5)
    assert judge.accuracy == pytest.approx(float((told.argmax(1) == real.labels).double().mean()))


def test_no_network_is_trained_on_the_part_that_it_judges(real, monkeypatch):
    given = []

    def noted(images, labels, **options):
        given.append(images)
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))

    monkeypatch.setattr("ganaug.screening.judge.train_classifier", noted)
    judge = train_judge(real, judges=3, steps=1, flips=False, seed=0, device="cpu")
    for fold, images in enumerate(given):
        theirs = {image.numpy().tobytes() for image in real.images[judge.folds == fold]}
        seen = {image.numpy().tobytes() for image in images}
        assert len(theirs) + len(seen) == len(real)
        assert not theirs & seen


def test_images_that_are_all_copies_are_an_error(real):
    copies = replace(real.subset([0, 0, 0]), fingerprints=("a",) * 3)
    with pytest.raises(DataError, match="copies of one, which nothing can be judged by"):
        train_judge(copies, judges=3, steps=2, flips=False, seed=0, device="cpu")
