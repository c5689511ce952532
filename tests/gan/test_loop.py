import errno
import itertools
import json
import signal

import pytest
import torch
from safetensors.torch import save_file

from ganaug.errors import TrainingError
from ganaug.gan import checkpoint, loop
from ganaug.gan.batches import BalancedBatches
from ganaug.gan.checkpoint import read_checkpoint, write_checkpoint
from ganaug.gan.interruption import Interrupted
from ganaug.gan.loop import Fit, seconds_per_step
from ganaug.gan.networks import NetworkShape
from ganaug.gan.step import Trainer
from ganaug.recipe import load_recipe

SHAPE = NetworkShape(16, 1, 2, latent_dim=4, generator_channels=4, discriminator_channels=4, max_channels=8, codes=10)
RECIPE = load_recipe({"resolution": 16, "gan": {"batch": 8}, "snapshots": {"count": 4}, "kimg": 0.096})  # 12 steps
IMAGES = torch.randint(0, 256, (30, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0] * 25 + [1] * 5)
CPU = torch.device("cpu")


def a_fit(**changes):
    values = {"evaluate": lambda generator: (0.5, {}), "precision": "float32", "recipe": RECIPE} | changes
    return Fit(images=IMAGES, labels=LABELS, shape=SHAPE, build=Trainer, device=CPU, kimg=0.096, **values)


def weights(generator):
    return torch.cat([p.flatten() for p in generator.state_dict().values()]).double()


def test_batches_balance_classes_or_follow_them():
    def share(balanced):
        batches = BalancedBatches(
            IMAGES, LABELS, batch=500, balanced=balanced, codes=0, random=torch.Generator().manual_seed(0)
        )
        return float(batches.draw().labels.float().mean())

    assert share(True) == pytest.approx(0.5, abs=0.07)
    assert share(False) == pytest.approx(1 / 6, abs=0.07)


def test_batches_draw_the_images_of_a_class_equally_often():
    labels = torch.tensor([3, 0, 3, 3, 0, 3, 3, 3])  # of other classes there are none
    images = torch.arange(8, dtype=torch.uint8)[:, None, None, None]
    batches = BalancedBatches(
        images, labels, batch=30_000, balanced=True, codes=4, random=torch.Generator().manual_seed(0)
    )
    batch = batches.draw()
    expected = torch.where(labels == 0, 1 / 4, 1 / 12) * 30_000
    assert torch.bincount(batch.images.flatten().long(), minlength=8).tolist() == pytest.approx(expected, rel=0.08)
    assert torch.equal(labels[batch.images.flatten().long()], batch.labels)
    assert batches.slots.tolist() == [0, 0, 1, 2, 1, 3, 0, 1]


def test_the_best_snapshot_is_kept_and_not_the_last():
    scores, seen = iter([0.1, 0.9, 0.4, 0.2]), []

    def evaluate(generator):
        seen.append(weights(generator))
        return next(scores), {}

    kept = a_fit(evaluate=evaluate).run()
    assert torch.equal(weights(kept), seen[1])
    assert not torch.equal(weights(kept), seen[3])


def test_a_fit_goes_on_from_its_checkpoint_as_if_never_stopped(tmp_path):
    whole = a_fit(evaluate=_rising()).run()

    class Stopped(Exception):
        pass

    def stop(step, steps):
        if step == 8:  # the checkpoint of step 6 is the last one
            raise Stopped

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Stopped):
        a_fit(evaluate=_rising(), checkpoint=path, on_step=stop).run()
    steps = []
    resumed = a_fit(evaluate=_rising(2), checkpoint=path, resume=True, on_step=lambda step, _: steps.append(step))
    assert torch.equal(weights(resumed.run()), weights(whole))
    assert steps[0] == 7
    assert [snapshot.step for snapshot in resumed.history] == [3, 6, 9, 12]


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_fit_told_to_stop_between_snapshots_goes_on_as_if_it_had_not_been(tmp_path, precision):
    path, beside = tmp_path / "checkpoint.safetensors", tmp_path / "whole.safetensors"
    whole = a_fit(evaluate=_rising(), precision=precision, checkpoint=beside)
    expected = whole.run()

    def stop(step, steps):
        if step == 8:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        a_fit(evaluate=_rising(), checkpoint=path, on_step=stop, precision=precision).run()
    assert (caught.value.step, caught.value.saved, caught.value.number) == (8, 8, signal.SIGINT)
    resumed = a_fit(evaluate=_rising(2), checkpoint=path, resume=True)  # in the precision that it began in
    assert torch.equal(weights(resumed.run()), weights(expected))
    # The signals summed since the last snapshot are state too.
    assert [snapshot.measures for snapshot in resumed.history] == [snapshot.measures for snapshot in whole.history]
    (found, _), (wanted, _) = read_checkpoint(path), read_checkpoint(beside)
    assert ("scaler" in wanted) == (precision == "float16")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_without_a_checkpoint_an_interrupt_stops_at_once():
    steps = []

    def stop(step, steps_):
        steps.append(step)
        if step == 2:
            signal.raise_signal(signal.SIGINT)
            steps.append("after it")

    with pytest.raises(KeyboardInterrupt):
        a_fit(on_step=stop).run()
    assert steps == [1, 2]


def test_checkpoints_follow_the_clock_too(tmp_path, monkeypatch):
    path, seen = tmp_path / "checkpoint.safetensors", []
    monkeypatch.setattr(loop, "_SAVED_EVERY", 0.0)
    kept = a_fit(checkpoint=path, on_step=lambda step, steps: seen.append(path.exists() and saved(path)))
    kept.run()
    assert seen == [False, *range(1, 12)]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    monkeypatch.setattr(loop, "_SAVED_EVERY", 3600.0)
    seen.clear()
    kept.run()
    assert set(seen[4:6]) == {3}


def saved(path):
    return read_checkpoint(path)[1]["steps"]


def test_a_full_disk_leaves_the_last_whole_checkpoint_and_is_said(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"

    def full(tensors, beside, metadata):
        if json.loads(metadata["notes"])["steps"] == 6:
            beside.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, beside, metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    seen = []
    with pytest.warns(UserWarning, match=r"No space left.*goes on.*the last whole one is of step 3; make room"):
        a_fit(checkpoint=path, on_step=lambda step, _: seen.append(path.exists() and saved(path))).run()
    assert seen[6:9] == [3, 3, 3]
    assert saved(path) == 12
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("changed", ["missing", "shape"])
def test_a_checkpoint_of_another_version_is_refused(tmp_path, changed):
    path = tmp_path / "checkpoint.safetensors"
    a_fit(checkpoint=path).run()
    tensors, notes = read_checkpoint(path)
    weight = tensors.pop("generator/seed.weight")
    if changed == "shape":
        tensors["generator/seed.weight"] = weight[:-1].clone()
    write_checkpoint(path, tensors, notes)
    with pytest.raises(TrainingError, match="another version of ganaug"):
        a_fit(checkpoint=path, resume=True).run()


def test_a_checkpoint_of_another_budget_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    a_fit(checkpoint=path).run()
    longer = a_fit(checkpoint=path, resume=True)
    longer.kimg = 0.2
    with pytest.raises(TrainingError, match="another recipe"):
        longer.run()


def _rising(first=0):
    counter = itertools.count(first)
    return lambda generator: (float(next(counter)), {})


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    a_fit(checkpoint=path).run()
    other = RECIPE.replace({"gan.r1": 3.0})
    with pytest.raises(TrainingError, match="another recipe"):
        a_fit(checkpoint=path, resume=True, recipe=other).run()


def test_a_cut_checkpoint_is_said_to_be_cut(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    a_fit(checkpoint=path).run()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="no whole checkpoint"):
        read_checkpoint(path)


def poisoned(*at, **changes):
    """A fit whose generator turns to NaN at steps `at`."""
    broken, trainers = a_fit(**{"evaluate": _rising()} | changes), []
    original = broken._begin

    def begin():
        trainers.append(original())
        return trainers[0]

    def poison(step, steps):
        if step in at:
            with torch.no_grad():
                trainers[0][0].generator.seed.weight.fill_(float("nan"))

    broken._begin, broken.on_step = begin, poison
    return broken


def test_a_fit_that_breaks_down_again_and_again_says_what_to_lower():
    with pytest.raises(TrainingError, match="generator_lr"):
        poisoned(*range(1, 13)).run()


def test_a_fit_that_breaks_down_at_once_begins_again_gentler():
    broken = poisoned(1)
    assert torch.isfinite(weights(broken.run())).all()
    assert [snapshot.step for snapshot in broken.history] == [6, 9, 12]
    (event,) = broken.events
    assert (event.step, event.kind) == (3, "broken")
    assert "back to the state at 0.0 kimg, with learning rates x 0.25 (1 of 3)" in event.told


def test_a_fit_that_breaks_down_later_goes_back_to_its_last_good_snapshot():
    broken = poisoned(7)
    assert torch.isfinite(weights(broken.run())).all()
    assert [snapshot.step for snapshot in broken.history] == [3, 6, 12]
    assert broken.good_step == 12
    assert "back to the state at 0.0 kimg" in broken.events[0].told  # of step 6, 48 images


def test_without_retries_a_fit_that_breaks_down_keeps_its_best_snapshot():
    broken = poisoned(7, recipe=RECIPE.replace({"monitor.retries": 0}))
    assert torch.isfinite(weights(broken.run())).all()
    assert [snapshot.step for snapshot in broken.history] == [3, 6]
    assert broken.monitor.stopped


def test_a_fit_that_went_back_is_resumed_exactly(tmp_path):
    class Stopped(Exception):
        pass

    whole = poisoned(7)
    expected = whole.run()
    path = tmp_path / "checkpoint.safetensors"
    broken = poisoned(7, checkpoint=path)
    poison = broken.on_step

    def stop(step, steps):
        poison(step, steps)
        if step == 11:  # the checkpoint of step 9, where it went back, is the last one
            raise Stopped

    broken.on_step = stop
    with pytest.raises(Stopped):
        broken.run()
    resumed = a_fit(evaluate=_rising(2), checkpoint=path, resume=True)
    assert torch.equal(weights(resumed.run()), weights(expected))
    assert resumed.events == whole.events
    assert [snapshot.measures for snapshot in resumed.history] == [snapshot.measures for snapshot in whole.history]


def test_seconds_per_step_is_a_time():
    assert 0 < seconds_per_step(RECIPE, SHAPE, Trainer, CPU, IMAGES, LABELS) < 5


def test_a_fit_leaves_the_callers_random_state():
    before = torch.random.get_rng_state()
    a_fit().run()
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_image_has_a_code_of_its_class():
    batches = BalancedBatches(IMAGES, LABELS, batch=4, balanced=True, codes=10, random=torch.Generator().manual_seed(0))
    assert batches.slots[LABELS == 1].tolist() == [0, 1, 2, 3, 4]
    assert batches.slots[LABELS == 0].tolist() == [i % 10 for i in range(25)]


def test_samples_start_from_the_codes_of_the_training_images():
    kept = a_fit().run()
    assert kept.code_counts.tolist() == [10, 5]
    assert kept.code_spread.max() < 1.5
