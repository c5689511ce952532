import torch

from ganaug.gan.batches import BalancedBatches
from ganaug.gan.mixed import MixedBatches, Others


def mixed(codes=4, seed=0, batch=12, own=6):
    """Two classes of 6 and 2 labelled images of value 0; others from value 100 on, of class 0, of none or left out."""
    labels = torch.tensor([0] * 6 + [1] * 2)
    images = torch.zeros(8, 1, 2, 2, dtype=torch.uint8)
    random = torch.Generator().manual_seed(seed)
    labelled = BalancedBatches(images, labels, batch=own, balanced=True, codes=codes, random=random)
    others = Others(100 + torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(10, 1, 2, 2),
                    torch.tensor([0, 2, 2, -1, 0, 2, 2, 2, -1, 2]))  # fmt: skip
    return MixedBatches(labelled, others, classes=3, batch=batch, codes=codes)


def test_a_fixed_part_is_labelled_and_of_the_others_each_is_as_likely():
    batches = mixed()
    seen = torch.zeros(10)
    for _ in range(400):
        batch = batches.draw()
        value = batch.images[:, 0, 0, 0].long()
        assert (value == 0).sum() == 6
        assert (batch.labels[value == 0] < 2).all()
        others = value[value > 0] - 100
        assert torch.equal(batch.labels[value > 0], batches.others.labels[others])
        seen += torch.bincount(others, minlength=10)
    assert seen[[3, 8]].sum() == 0
    assert seen[batches.usable].min() > 0.8 * 300
    assert seen.sum() == 2400


def test_order_is_random_and_the_same_for_a_seed():
    first = [mixed(seed=3).draw().images for _ in range(2)]
    assert torch.equal(*first)
    batches = mixed()
    labelled_first = sum(int(batches.draw().images[0, 0, 0, 0]) == 0 for _ in range(200))
    assert 60 < labelled_first < 140


def test_codes_of_others_come_after_those_of_labelled_images():
    batches = mixed(codes=10)
    assert batches.counts.tolist() == [8, 2, 6]
    assert batches.slots[batches.others.labels[batches.usable] == 0].tolist() == [6, 7]
    assert batches.slots[batches.others.labels[batches.usable] == 2].tolist() == [0, 1, 2, 3, 4, 5]
    assert mixed(codes=4).slots.max() == 3
