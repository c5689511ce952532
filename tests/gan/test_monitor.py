import json
import math

import pytest
import torch

from ganaug.gan.monitor import WINDOW, Monitor, Snapshot, is_good
from ganaug.gan.networks import NetworkShape
from ganaug.gan.step import Trainer
from ganaug.recipe import load_recipe

RECIPE = load_recipe({"resolution": 16, "kimg": 64, "gan": {"batch": 64}})  # 1000 steps, the game from 500 on
HEALTHY = {"least_spread": 0.8, "coverage": 0.7, "confusion": 0.1}


def a_monitor(**changes):
    return Monitor(RECIPE.replace(changes), 1000)


def snapshot(step, score=0.5, **measures):
    return Snapshot(step, step * 0.064, 1.0, score, HEALTHY | measures)


def shown(monitor, steps, first=0, **signals):
    """What the monitor said over these steps, each with the same signals."""
    said = []
    for step in range(first + 1, first + steps + 1):
        monitor.add({name: torch.tensor(float(value)) for name, value in signals.items()})
        said.append(monitor.look(step))
    return [trouble for trouble in said if trouble]


def test_means_are_over_the_steps_since_the_last_snapshot():
    monitor = a_monitor()
    shown(monitor, 10, reconstruction=2.0)
    shown(monitor, 30, first=10, reconstruction=6.0, generator=1.0)
    assert monitor.means() == {"reconstruction": 5.0, "generator": 1.0}
    monitor.turn()
    assert monitor.means() == {}


def test_augmentation_rises_while_the_discriminator_overfits_and_falls_to_its_least():
    monitor = a_monitor()
    assert not shown(monitor, 160, real_sign=0.3)
    assert monitor.strength == 1.0
    shown(monitor, 48, first=160, real_sign=0.9)
    assert monitor.strength == pytest.approx(1 + 3 * WINDOW / 100)
    shown(monitor, 160, first=208, real_sign=0.9)
    assert monitor.strength == 2.0
    shown(monitor, 320, first=368, real_sign=0.3)
    assert monitor.strength == 1.0


def test_augmentation_follows_what_was_seen_lately_and_not_the_mean():
    monitor = a_monitor(**{"monitor.augment_least": 0.0})
    shown(monitor, 320, real_sign=0.0)
    shown(monitor, 32, first=320, real_sign=1.0)
    assert monitor.strength == pytest.approx(2 * WINDOW / 100)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_a_number_is_found_within_a_window(value):
    monitor = a_monitor()
    assert not shown(monitor, 5, generator=1.0)
    shown(monitor, 1, first=5, generator=value)
    (trouble,) = shown(monitor, WINDOW - 6, first=6, generator=1.0)
    assert trouble.kind == "broken"


def test_reconstruction_that_gets_worse_than_it_was_is_found():
    assert not shown(a_monitor(), 64, reconstruction=100.0)
    monitor = a_monitor()
    shown(monitor, WINDOW, reconstruction=100.0)
    (trouble,) = shown(monitor, WINDOW, first=WINDOW, reconstruction=130.0)
    assert "worse than at the start" in trouble.told


@pytest.mark.parametrize(
    ("measures", "kind"),
    [
        ({}, None),
        ({"least_spread": 0.45, "coverage": 0.4, "confusion": 0.5}, None),
        ({"least_spread": 0.35}, "collapse"),
        ({"coverage": 0.3}, "collapse"),
        ({"confusion": 0.6}, "confusion"),
        ({"coverage": math.nan}, "broken"),
    ],
)
def test_a_snapshot_is_judged_beside_the_best(measures, kind):
    trouble = a_monitor().judge(snapshot(800, **measures), [snapshot(600), snapshot(700, 0.1, least_spread=0.1)])
    assert (trouble and trouble.kind) == kind


@pytest.mark.parametrize(
    ("step", "past", "kind"),
    [
        (90, 0.1, None),
        (150, 0.1, "broken"),
        (150, 0.05, None),  # it is growing
        (500, 0.12, "broken"),
        (590, 0.1, None),
        (650, 0.1, "collapse"),
        (650, 0.21, None),
    ],
)
def test_samples_that_were_always_alike_are_a_trouble_once_there_was_time(step, past, kind):
    trouble = a_monitor().judge(snapshot(step, least_spread=0.11), [snapshot(step - 50, least_spread=past)])
    assert (trouble and trouble.kind) == kind


def test_overfitting_is_a_trouble_only_where_augmentation_can_do_no_more_and_the_score_has_fallen():
    monitor, before = a_monitor(), [snapshot(600, 0.9)]
    assert monitor.judge(snapshot(800, 0.5, real_sign=0.9), before) is None
    monitor.strength = 2.0
    assert monitor.judge(snapshot(800, 0.85, real_sign=0.9), before) is None
    assert monitor.judge(snapshot(800, 0.5, real_sign=0.4), before) is None
    assert monitor.judge(snapshot(800, 0.5, real_sign=0.9), before).kind == "overfitting"


def test_a_fit_ends_when_nothing_improves_for_long_but_not_before_the_game_had_its_turn():
    monitor, before = a_monitor(), [snapshot(300, 0.9)]
    assert monitor.has_had_enough(snapshot(800, 0.5), before) is None
    trouble = monitor.has_had_enough(snapshot(900, 0.5), before)
    assert trouble.kind == "stopped"
    assert "since 19.2 kimg" in trouble.told
    assert monitor.has_had_enough(snapshot(900, 0.95), before) is None
    assert monitor.has_had_enough(snapshot(1000, 0.5), before) is None
    assert a_monitor(**{"monitor.patience": None}).has_had_enough(snapshot(950, 0.5), before) is None


@pytest.mark.parametrize(
    ("scores", "short"),
    [
        ([0.1, 0.2, 0.3], True),
        ([0.1, 0.29, 0.3], False),  # it had come to its end
        ([0.3, 0.5, 0.7], False),  # good enough
        ([0.1, 0.4, 0.3], False),
        ([0.3], False),
    ],
)
def test_a_budget_that_was_too_short_is_told(scores, short):
    monitor = a_monitor()
    steps = [400, 700, 1000][-len(scores) :]
    event = monitor.note_end([snapshot(step, score) for step, score in zip(steps, scores, strict=True)])
    assert (event is not None) == short
    assert [event.kind for event in monitor.events] == ["short"] * short
    if event:
        assert "score 0.20 after 70% of it, 0.30 at its end" in event.told


def test_each_return_is_gentler_and_their_number_is_bounded():
    monitor = a_monitor(**{"monitor.retries": 2})
    trouble = monitor.judge(snapshot(800, coverage=0.1), [snapshot(600)])
    assert monitor.settle(trouble, 800, 600)
    assert (monitor.ease, monitor.strength, monitor.least) == (0.5, 1.25, 1.25)
    assert monitor.settle(trouble, 850, 600)
    trainer = Trainer(RECIPE, NetworkShape(16, 1, 2), torch.device("cpu"))
    monitor.guide(trainer)
    assert (trainer.ease, trainer.strength, trainer.hold) == (0.25, 1.5, 2.25)
    assert not monitor.settle(trouble, 900, 600)
    assert monitor.stopped
    assert [event.kind for event in monitor.events] == ["collapse"] * 3
    assert "back to the state at 38.4 kimg, with learning rates x 0.25 (2 of 2)" in monitor.events[1].told


def test_all_it_knows_can_be_written_down_and_read_back():
    monitor = a_monitor()
    shown(monitor, 40, real_sign=0.9)
    monitor.settle(monitor.judge(snapshot(800, coverage=0.1), [snapshot(600)]), 800, 600)
    shown(monitor, 24, first=800, real_sign=0.9)
    other = a_monitor()
    other.restore(monitor.sums, json.loads(json.dumps(monitor.notes())), torch.device("cpu"))
    assert other == monitor
    for each in (monitor, other):
        shown(each, 40, first=824, real_sign=0.2)
    assert other.means() == monitor.means()
    assert other.strength == monitor.strength


def test_a_good_state_is_near_the_best():
    assert is_good(snapshot(100, 0.0), [])
    assert is_good(snapshot(200, 0.45), [snapshot(100, 0.5)])
    assert not is_good(snapshot(200, 0.35), [snapshot(100, 0.5)])
    assert not is_good(snapshot(200, 0.5, least_spread=0.1), [snapshot(100, 0.5)])
