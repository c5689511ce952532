import torch

from ganaug.gan.networks import NetworkShape
from ganaug.gan.start import Start
from ganaug.gan.step import Trainer
from ganaug.recipe import Recipe

SIZES = {"resolution": 16, "image_channels": 1, "generator_channels": 4, "discriminator_channels": 4, "max_channels": 8}


def trainer(classes, codes=0, start=None, seed=0):
    torch.manual_seed(seed)
    shape = NetworkShape(classes=classes, codes=codes, **SIZES)
    return Trainer(Recipe(resolution=16, kimg=1), shape, torch.device("cpu"), start=start)


def start_of(other):
    return Start(*(dict(other.networks[name].state_dict()) for name in ("generator", "discriminator", "encoder")))


def test_all_but_what_belongs_to_a_class_is_taken_over():
    base = trainer(4, codes=3)
    begun = trainer(2, codes=5, start=start_of(base), seed=1)
    for name in ("generator", "discriminator", "encoder", "average"):
        ours = begun.networks[name].state_dict()
        theirs = base.networks["generator" if name == "average" else name].state_dict()
        own = [key for key in ours if "class_" in key or key in ("codes", "code_counts")]
        assert len(own) < len(ours)
        for key in ours:
            if key in own:
                assert not torch.equal(ours[key], theirs[key][: len(ours[key])])
            else:
                assert torch.equal(ours[key], theirs[key]), key
    assert begun.generator.codes.shape == (2, 5, 64)


def test_new_classes_begin_near_the_mean_of_the_old_ones_and_apart():
    base = trainer(30)
    with torch.no_grad():
        base.generator.class_embedding.weight.add_(5)
    rows = trainer(200, start=start_of(base)).generator.class_embedding.weight
    old = base.generator.class_embedding.weight
    assert torch.allclose(rows.mean(0), old.mean(0), atol=0.5)
    assert torch.allclose(rows.std(0), old.std(0, correction=0), rtol=0.4)
    alone = trainer(3, start=start_of(trainer(1))).generator.class_embedding.weight
    assert (alone[0] - alone[1]).abs().max() > 0.01


def test_a_generator_alone_leaves_the_other_networks_as_they_were():
    base = trainer(2)
    begun, fresh = (trainer(2, start=start, seed=3) for start in (Start(start_of(base).generator), None))
    assert torch.equal(begun.generator.to_image.weight, base.generator.to_image.weight)
    name = "trunk.downs.0.weight"
    assert torch.equal(begun.encoder.state_dict()[name], fresh.encoder.state_dict()[name])
