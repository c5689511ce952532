import math

import pytest
import torch
from torchvision.transforms import v2

from ganaug.errors import DataError, TrainingError
from ganaug.evidence import classifier
from ganaug.evidence.classifier import (
    accuracy,
    build_classifier,
    per_class_accuracy,
    predict,
    synthetic_only_accuracy,
    train_classifier,
)


def train(data, **changes):
    arguments = {"classes": 4, "steps": 3, "batch": 8, "augment": "none", **changes}
    return train_classifier(data.images, data.labels, **arguments)


@pytest.mark.parametrize(("resolution", "channels"), [(16, 1), (32, 3), (64, 3), (128, 1)])
def test_networks_of_every_resolution(resolution, channels):
    network = build_classifier(resolution=resolution, channels=channels, classes=5)
    assert network(torch.zeros(2, channels, resolution, resolution)).shape == (2, 5)
    assert network[-1].in_features == (256 if resolution >= 64 else 128)


def test_it_learns(labelled):
    network = train(labelled(30, 1), steps=40, batch=32, augment="trivial")
    overall, per_class = accuracy(network, labelled(30, 2).images, labelled(30, 2).labels, classes=4)
    assert overall > 0.6
    assert overall == pytest.approx(sum(per_class) / 4)


def test_the_same_seed_gives_the_same_network_and_another_another(labelled):
    data = labelled(6, 1)
    first, again, other = (train(data, seed=seed, augment="trivial+flip") for seed in (1, 1, 2))
    outputs = [network(data.images.float()) for network in (first, again, other)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_the_callers_random_state_is_untouched(labelled):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(labelled(3, 1), augment="trivial+flip")
    assert torch.equal(torch.get_rng_state(), before)


def test_every_image_is_seen_equally_often():
    order = classifier._epochs(7, 30, seed=0)
    assert len(order) == 30
    for epoch in order[:28].split(7):
        assert sorted(epoch.tolist()) == list(range(7))
    assert order[:7].tolist() != order[7:14].tolist()


def test_steps_decide_whatever_the_number_of_images(labelled):
    data = labelled(5, 1)
    for steps, batch in ((1, 64), (3, 16), (70, 50)):  # the last spans two chunks of augmentation
        batches = list(classifier._batches(data.images, data.labels, steps=steps, batch=batch, seed=0, augment="none"))
        assert [len(images) for images, _ in batches] == [batch] * steps
    images, labels = batches[-1]
    for image, label in zip(images, labels, strict=True):  # still together
        same = (data.images == image).flatten(1).all(1).nonzero().item()
        assert data.labels[same] == label


@pytest.mark.parametrize("channels", [1, 3])
def test_a_group_is_augmented_as_each_image_alone(channels):
    images = torch.randint(0, 256, (4, channels, 16, 16), dtype=torch.uint8)
    trivial = v2.TrivialAugmentWide()
    changed = 0
    for seed in range(60):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            together = trivial(images)
            for image, made in zip(images, together, strict=True):
                torch.manual_seed(seed)
                assert torch.equal(trivial(image), made)
        changed += not torch.equal(together, images)
    assert changed > 30


def ramps(count):
    """(count, 1, 16, 16) uint8, brighter to the right, each of its own brightness."""
    return (
        (torch.arange(16)[None, None, None] * 5 + torch.arange(count)[:, None, None, None]).repeat(1, 1, 16, 1).byte()
    )


def test_augmentation_keeps_form_and_leaves_some_alone():
    images = ramps(64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = classifier._augmented(images, "trivial")
    assert made.shape == images.shape
    assert made.dtype == torch.uint8
    same = sum(torch.equal(a, b) for a, b in zip(made, images, strict=True))
    assert 0 < same < 48  # identity is one of the operations
    assert classifier._augmented(images, "none") is images


def test_flips_are_by_image_and_every_image_stays_in_its_place(monkeypatch):
    monkeypatch.setattr(classifier.v2, "TrivialAugmentWide", lambda: lambda images: images)
    images = ramps(64)
    assert torch.equal(classifier._augmented(images, "trivial"), images)
    made = classifier._augmented(images, "trivial+flip")
    kept = [torch.equal(a, b) for a, b in zip(made, images, strict=True)]
    mirrored = [torch.equal(a, b.flip(-1)) for a, b in zip(made, images, strict=True)]
    assert all(a != b for a, b in zip(kept, mirrored, strict=True))
    assert 10 < sum(mirrored) < 54


def test_per_class_accuracy_against_counting():
    labels = torch.tensor([0, 0, 0, 1, 1, 3])
    seen = torch.tensor([0, 0, 1, 1, 2, 3])
    found = per_class_accuracy(seen, labels, classes=4)
    assert found[:2] == pytest.approx([2 / 3, 1 / 2])
    assert math.isnan(found[2])
    assert found[3] == 1


def test_predict_is_in_chunks_and_in_evaluation_mode(labelled):
    data = labelled(5, 1)
    network = train(data)
    network.train()
    whole = predict(network, data.images)
    assert torch.equal(whole, predict(network, data.images, chunk=3))
    assert whole.dtype == torch.int64
    assert not network.training


def test_nan_is_said(labelled):
    with pytest.raises(TrainingError, match="nan"):
        train(labelled(3, 1), lr=1e30, steps=6)


def test_half_precision_trains(labelled):
    network = train(labelled(3, 1), half=True)
    assert next(network.parameters()).dtype == torch.float32


def test_synthetic_alone(labelled, bank_of, lying):
    held = labelled(20, 2)
    arguments = {"per_class": 30, "steps": 40, "batch": 32, "augment": "none"}
    right, per_class = synthetic_only_accuracy(bank_of(), held, **arguments)
    wrong, _ = synthetic_only_accuracy(bank_of(lying), held, **arguments)
    assert right > 0.7
    assert len(per_class) == 4
    assert wrong < 0.2


def test_synthetic_alone_matches_classes_by_name(labelled, bank_of):
    backwards = labelled(20, 2, ("doe", "bee"))
    found, per_class = synthetic_only_accuracy(bank_of(), backwards, per_class=30, steps=40, batch=32, augment="none")
    assert found > 0.8
    assert len(per_class) == 2


def test_synthetic_alone_of_a_strange_class(labelled, bank_of):
    import dataclasses

    held = dataclasses.replace(labelled(2, 2), class_names=("ant", "bee", "cow", "dow"))
    with pytest.raises(DataError, match="'dow'; did you mean 'doe'"):
        synthetic_only_accuracy(bank_of(), held)
