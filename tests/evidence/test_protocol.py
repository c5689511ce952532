"""The stages on trainings that take no time, whose accuracies the test decides."""

import pytest
from planned_trials import Planned

from ganaug.evidence.arms import Arm
from ganaug.evidence.protocol import changes, compete, contrasts, meet, second_best, sweep, worth_in_real

BASE = Arm("none")
ARMS = [Arm("none", ratio) for ratio in (0.25, 0.5, 1.0, 2.0, 4.0)]


def test_the_strongest_classical_arm_wins_on_the_part_for_choosing():
    arms = [Arm("none"), Arm("crop"), Arm("trivial")]
    trials = Planned(lambda arm, place, part: {"none": 0.5, "crop": 0.7, "trivial": 0.6}[arm.augment])
    tried, best = compete(trials, arms)
    assert best == Arm("crop")
    assert [one.mean for one in tried] == pytest.approx([0.5, 0.7, 0.6])
    assert all(len(one.choosing) == 4 for one in tried)
    assert {part for *_, part in trials.ran} == {"choose"}
    assert compete(Planned(lambda *_: 0.5), arms)[1] == Arm("none")  # a tie goes to the earlier


def test_the_worse_half_is_dropped_after_each_round():
    trials = Planned(lambda arm, place, part: 0.5 + 0.1 * arm.ratio)
    found = sweep(trials, BASE, ARMS)
    assert found.winner == ARMS[-1]
    assert found.won
    assert [one.dropped_after for one in found.tried] == [1, 1, 2, None, None]
    assert [len(one.choosing) for one in found.tried] == [1, 1, 2, 4, 4]
    assert [one.p is None for one in found.tried] == [True, True, False, False, False]
    assert found.tried[2].difference == pytest.approx(0.1)
    assert all(one.p_holm >= one.p for one in found.tried[2:])
    assert {part for *_, part in trials.ran} == {"choose"}


def test_real_images_alone_can_win_the_sweep():
    found = sweep(Planned(lambda arm, place, part: 0.8 - 0.05 * arm.ratio), BASE, ARMS)
    assert found.winner == ARMS[0]
    assert not found.won
    assert not sweep(Planned(lambda *_: 0.5), BASE, ARMS).won  # as good is not better


def test_when_time_is_up_the_best_so_far_goes_on():
    trials = Planned(lambda arm, place, part: 0.5 + 0.1 * arm.ratio)
    found = sweep(trials, BASE, ARMS, over=lambda: len(trials.ran) >= 6)
    assert len(trials.ran) == 6  # one round of five arms beside real images alone
    assert found.winner == ARMS[-1]
    assert found.won


@pytest.mark.parametrize(("with_crop", "wanted"), [(0.9, "crop"), (0.7, "none"), (0.6, "none")])
def test_the_best_arm_is_tried_with_another_augmentation_too(with_crop, wanted):
    trials = Planned(lambda arm, *_: with_crop if arm.augment == "crop" else 0.5 + 0.05 * arm.ratio)
    found = sweep(trials, BASE, ARMS, also=[{"augment": "crop"}])
    assert found.winner == Arm(wanted, 4.0)
    assert found.tried[-1].arm == Arm("crop", 4.0)
    assert len(found.tried[-1].choosing) == len(trials.rounds)
    assert found.tried[-1].difference == pytest.approx(with_crop - 0.5)
    assert [arm for arm, *_ in trials.ran if arm.augment == "crop"] == 4 * [Arm("crop", 4.0)]


def test_the_other_augmentation_is_the_second_strongest_and_none_where_time_is_up():
    trials = Planned(lambda arm, *_: {"none": 0.5, "crop": 0.7, "trivial": 0.6}[arm.augment])
    tried, _ = compete(trials, [Arm("none"), Arm("crop"), Arm("trivial")])
    assert second_best(tried) == "trivial"
    assert second_best(tried[:1]) is None
    hasty = Planned(lambda arm, *_: 0.5)
    sweep(hasty, BASE, ARMS, also=[{"augment": "crop"}], over=lambda: True)
    assert {arm.augment for arm, *_ in hasty.ran} == {"none"}


def test_changes_to_the_best_arm_are_tried_one_after_another_and_what_is_better_stays():
    gains = {(None, "none"): 0, (None, "crop"): -0.1, (2.0, "none"): 0.1, (3.0, "none"): 0.05}
    trials = Planned(lambda arm, *_: 0.5 + 0.05 * arm.ratio + gains[arm.reach, arm.augment])
    found = sweep(trials, BASE, ARMS, also=[{"augment": "crop"}, {"reach": 2.0}, {"reach": 3.0}])
    assert found.winner == Arm("none", 4.0, reach=2.0)
    assert [one.arm.reach for one in found.tried[-3:]] == [None, 2.0, 3.0]
    assert {one.arm.ratio for one in found.tried[-3:]} == {4.0}


def test_without_a_part_for_choosing_nothing_is_trained_before_the_end():
    trials = Planned(lambda *_: 0.5, choosing=False)
    assert compete(trials, [BASE])[1] == BASE
    found = sweep(trials, BASE, ARMS[:1])
    assert found.winner == ARMS[0]
    assert found.won
    assert trials.ran == []


def test_only_the_winner_its_baseline_and_the_controls_are_scored():
    winner = Arm("crop", 1.0, annealed=True, screened=True)
    trials = Planned(lambda arm, place, part: 0.6 if arm.ratio and arm.control is None else 0.4)
    final = meet(trials, Arm("crop"), winner)
    assert {part for *_, part in trials.ran} == {"score"}
    scored = {arm for arm, *_ in trials.ran}
    assert scored == {Arm("crop"), winner, Arm("crop", 1.0, True, True, control="duplicated"),
                      Arm("crop", 1.0, True, True, control="shuffled")}  # fmt: skip
    assert final.accuracies(winner) == ((0.6, 0.6), (0.6, 0.6))
    told = contrasts(final)
    assert [name for name, *_ in told] == [
        "with synthetic - real only", "with synthetic - duplicated", "with synthetic - shuffled",
    ]  # fmt: skip
    assert all(found.mean == pytest.approx(0.2) for _, found, _ in told)
    assert all(p_holm >= found.p for _, found, p_holm in told)


def test_changes_are_paired_by_split_and_of_one_class():
    """Splits differ by far more than arms do; pairing takes that away. Images 0 to 19 are of class a."""
    easy = {0: 0.5, 1: 0.9}
    trials = Planned(lambda arm, place, part: easy[place[0]] - (0.1 if arm.ratio else 0))
    final = meet(trials, BASE, ARMS[0])
    assert changes(final, BASE, ARMS[0]).mean == pytest.approx(-0.1)
    # of 0.5 to 0.4 all is lost in class a, and of 0.9 to 0.8 all in class b
    assert changes(final, BASE, ARMS[0], "a").mean == pytest.approx(-0.1)
    assert final.class_mean(BASE, "a") == pytest.approx(1.0)
    assert final.class_mean(BASE, "b") == pytest.approx(0.4)


def test_what_a_gain_is_worth_in_real_images():
    """Each doubling brings 10 points, and so does the winner: as much as 100 more images."""

    def accuracy(arm, place, part):
        return 0.6 if arm.ratio else {0.25: 0.3, 0.5: 0.4, 1.0: 0.5}[arm.share]

    trials = Planned(accuracy)
    assert worth_in_real(trials, meet(trials, BASE, ARMS[0])) == pytest.approx(100)
    flat = Planned(lambda arm, place, part: 0.6 if arm.ratio else 0.5)
    assert worth_in_real(flat, meet(flat, BASE, ARMS[0])) is None
    lost = Planned(lambda arm, place, part: 0.4 if arm.ratio else 0.5)
    final = meet(lost, BASE, ARMS[0])
    before = len(lost.ran)
    assert worth_in_real(lost, final) is None
    assert len(lost.ran) == before
