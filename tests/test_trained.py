import pytest
import torch

from ganaug.bank import GeneratorBank
from ganaug.data import read_images
from ganaug.demonstration import write_digits
from ganaug.evidence.synthetic_only import synthetic_only_accuracy
from ganaug.fitting import fit
from ganaug.measures import spread
from ganaug.tasks import get_task


@pytest.mark.slow
@pytest.mark.well_taught
def test_a_fit_learns_digits_from_twenty_of_each(tmp_path):
    train, test = write_digits(tmp_path)
    bank = fit(train, recipe="classify-16", kimg=24, settings={"snapshots.count": 4}, progress=False)
    held, real = read_images(test, resolution=16), read_images(train, resolution=16)
    torch.manual_seed(0)
    untrained = GeneratorBank(bank.manifest, [get_task("classify").build_generator(bank.manifest.shape)])
    learned, by_class = synthetic_only_accuracy(bank, held, steps=200)
    by_chance, _ = synthetic_only_accuracy(untrained, held, steps=200)
    assert learned > 0.6
    assert learned > by_chance + 0.4
    assert min(by_class) > 0.1
    for index, name in enumerate(bank.class_names):
        assert spread(bank.sample(name, 100)) / spread(real.images[real.labels == index]) > 0.5
