import pytest
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from ganaug.bank import GeneratorBank
from ganaug.batches import FixedShareBatchSampler
from ganaug.dataset import GanAugmented
from ganaug.errors import RecipeError


@pytest.mark.parametrize(("drop_last", "count"), [(False, 6), (True, 5)])
def test_batches_with_a_fixed_real_share(
    tiny_bank: GeneratorBank, pets: ImageFolder, drop_last: bool, count: int
) -> None:
    train = GanAugmented(pets, tiny_bank, ratio=1.0)
    sampler = FixedShareBatchSampler(train, 6, 2 / 3, seed=4, drop_last=drop_last)
    batches = list(sampler)
    assert len(batches) == len(sampler) == count
    assert all(len(batch) == 6 and sum(map(train.is_synthetic, batch)) == 2 for batch in batches)
    real = [index for batch in batches for index in batch if not train.is_synthetic(index)]
    assert len(set(real)) == min(21, 4 * count)
    assert list(sampler) == batches == list(FixedShareBatchSampler(train, 6, 2 / 3, seed=4, drop_last=drop_last))
    sampler.set_epoch(1)
    assert train.epoch == 1
    assert list(sampler) != batches
    assert next(iter(DataLoader(train, batch_sampler=sampler)))[0].shape == (6, 3, 16, 16)


def test_fixed_shares_follow_the_schedule_and_keep_their_number(tiny_bank: GeneratorBank, pets: ImageFolder) -> None:
    train = GanAugmented(pets, tiny_bank, ratio=[1.0, 0.2, 0.0])
    sampler = FixedShareBatchSampler(train, 4, 0.5)
    for epoch, synthetic in enumerate([2, 2, 0]):
        sampler.set_epoch(epoch)
        assert [sum(map(train.is_synthetic, batch)) for batch in sampler] == [synthetic] * 11
    plain = FixedShareBatchSampler(GanAugmented(pets, tiny_bank, ratio=0), 4, 0.5)
    assert sorted({index for batch in plain for index in batch}) == list(range(21))
    assert len(plain) == 6
    for wrong in ({"batch_size": 0}, {"real_share": 0}, {"real_share": 1.5}):
        with pytest.raises(RecipeError):
            FixedShareBatchSampler(train, **{"batch_size": 4, "real_share": 0.5, **wrong})
