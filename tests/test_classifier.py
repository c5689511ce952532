import math

import pytest
import torch
from torchvision.transforms import v2

from ganaug import classifier
from ganaug.classifier import (
    accuracy,
    build_classifier,
    per_class_accuracy,
    predict,
    probabilities,
    train_classifier,
)
from ganaug.errors import RecipeError, TrainingError
from ganaug.showing import epochs, faded


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
    order = epochs(7, 30, seed=0)
    assert len(order) == 30
    for epoch in order[:28].split(7):
        assert sorted(epoch.tolist()) == list(range(7))
    assert order[:7].tolist() != order[7:14].tolist()


def batches(data, *, steps, batch, augment="none"):
    targets = torch.nn.functional.one_hot(data.labels, 4).float()
    order = epochs(len(data.images), steps * batch, 0)
    return list(classifier._batches(data.images, targets, order, batch=batch, parts=classifier.check_augment(augment)))


def test_steps_decide_whatever_the_number_of_images(labelled):
    data = labelled(5, 1)
    for steps, batch in ((1, 64), (3, 16), (70, 50)):  # the last spans two chunks of augmentation
        found = batches(data, steps=steps, batch=batch)
        assert [len(images) for images, _ in found] == [batch] * steps
    images, targets = found[-1]
    for image, target in zip(images, targets, strict=True):  # still together
        same = (data.images == image).flatten(1).all(1).nonzero().item()
        assert data.labels[same] == target.argmax()


def test_cutmix_mixes_targets_as_it_mixes_pixels(labelled):
    data = labelled(5, 1)
    mixed = [targets for _, targets in batches(data, steps=12, batch=8, augment="cutmix")]
    untouched = [bool((targets.max(1).values == 1).all()) for targets in mixed]
    assert any(untouched)
    assert not all(untouched)
    for targets in mixed:
        assert torch.allclose(targets.sum(1), torch.ones(len(targets)))


def test_crops_move_images_by_an_eighth_at_most():
    images = ramps(16)
    made = classifier._augmented(images, frozenset({"crop"}))
    moved = [(a.int() - b.int())[..., 4:12].unique() for a, b in zip(made, images, strict=True)]
    assert all(len(shift) == 1 and abs(int(shift)) <= 10 for shift in moved)  # 5 a pixel, 2 pixels
    assert len({int(shift) for shift in moved}) > 1


def test_others_are_shown_in_turn_and_give_way_to_real_images(labelled, monkeypatch):
    """Two real images a class, and for each of four slots three others, whose first pixel says turn and class."""
    real, shown = labelled(2, 1), []
    others = torch.stack([torch.full((1, 16, 16), 10 * turn + cls) for turn in range(3) for cls in range(4)]).byte()
    images, targets = torch.cat([real.images, others]), torch.cat([real.labels, torch.arange(4).repeat(3)])

    def batches(images, targets, order, **rest):
        shown.append(order)
        return iter([(images[order[:8]], targets[order[:8]])])

    monkeypatch.setattr(classifier, "_batches", batches)
    settings = {"classes": 4, "steps": 9, "batch": 12, "augment": "none", "added": 12, "turns": 3}
    for fading in (False, True):
        train_classifier(images, targets, fading=fading, **settings)
    turns = [sorted(epoch[epoch >= 8].tolist()) for epoch in shown[0].split(12)]
    assert turns == 3 * [[*range(8, 12)], [*range(12, 16)], [*range(16, 20)]]
    assert (shown[1][-12:] >= 8).sum() <= 1
    assert (shown[1][:36] >= 8).sum() > (shown[1][36:72] >= 8).sum() > 0
    assert torch.equal(targets[shown[0]], targets[shown[1]])  # in the place of each a real one of its class


def test_images_fade_in_a_straight_line_and_their_class_stays():
    classes = torch.tensor([0] * 10 + [1] * 10 + [0] * 10 + [1] * 10)  # the last twenty are synthetic
    order = epochs(40, 4000, 0)
    shown = faded(order, classes, 20, 0)
    assert torch.equal(classes[shown], classes[order])
    synthetic = (shown >= 20).float().split(1000)
    shares = [float(part.mean()) for part in synthetic]
    assert shares == pytest.approx([0.5 * share for share in (0.875, 0.625, 0.375, 0.125)], abs=0.03)
    assert torch.equal(faded(order, classes, 0, 0), order)


def test_soft_targets_are_learned_from(labelled):
    data = labelled(30, 1)
    targets = torch.nn.functional.one_hot((data.labels + 1) % 4, 4).float()
    network = train_classifier(data.images, targets, classes=4, steps=40, batch=32, augment="none")
    assert float((predict(network, data.images) == (data.labels + 1) % 4).float().mean()) > 0.7


@pytest.mark.parametrize(
    ("augment", "message"), [("trivia", "did you mean 'trivial'"), ("none+flip", "goes with no other")]
)
def test_strange_augmentations(augment, message):
    with pytest.raises(RecipeError, match=message):
        classifier.check_augment(augment)


def test_probabilities_soften_with_temperature(labelled):
    data = labelled(10, 1)
    network = train(data, steps=20, batch=16)
    sharp, soft = (probabilities(network, data.images, temperature=t) for t in (1, 4))
    assert torch.allclose(sharp.sum(1), torch.ones(40))
    assert torch.equal(sharp.argmax(1), soft.argmax(1))
    assert float(soft.max(1).values.mean()) < float(sharp.max(1).values.mean())


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
        made = classifier._augmented(images, frozenset({"trivial"}))
    assert made.shape == images.shape
    assert made.dtype == torch.uint8
    same = sum(torch.equal(a, b) for a, b in zip(made, images, strict=True))
    assert 0 < same < 48  # identity is one of the operations
    assert classifier._augmented(images, frozenset()) is images


def test_flips_are_by_image_and_every_image_stays_in_its_place(monkeypatch):
    monkeypatch.setattr(classifier.v2, "TrivialAugmentWide", lambda: lambda images: images)
    images = ramps(64)
    assert torch.equal(classifier._augmented(images, frozenset({"trivial"})), images)
    made = classifier._augmented(images, frozenset({"flip", "trivial"}))
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


def test_elastic_warps_move_pixels_by_about_a_thirtieth_of_the_side():
    side = 32
    torch.manual_seed(0)
    flows = [
        classifier._elastic(side).make_params([torch.zeros(1, side, side)])["displacement"] * side / 2
        for _ in range(20)
    ]
    flow = torch.cat(flows)
    assert 0.5 < float(flow.std()) / (side / 30) < 1.5
    assert float((flow[:, 1:] - flow[:, :-1]).std()) < float(flow.std()) / 2
