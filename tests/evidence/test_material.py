import pytest
import torch

from ganaug.evidence.arms import Arm, control_arms
from ganaug.evidence.exams import ClassExam
from ganaug.evidence.exams.classes import Samples, mixed
from ganaug.evidence.material import Stock, digest, share_of
from ganaug.evidence.parts import Parts
from ganaug.evidence.trials import Crew, ReferenceTrials, train_and_tell
from ganaug.recipe import Compare, Screening


@pytest.fixture
def stock(labelled):
    """Images of 4 classes, 8, 4, 4 and 2 of them; synthetic ones that bear their class and number as pixels."""
    whole = labelled(8, 1)
    train = whole.subset([*range(8), *range(8, 12), *range(16, 20), 24, 25])
    parts = Parts(train, labelled(2, 2), labelled(3, 3), "bank", "test")

    def made(first):
        rows = [torch.stack([torch.full((1, 16, 16), 40 * cls + n + first) for n in range(32)]) for cls in range(4)]
        return tuple(images.to(torch.uint8) for images in rows)

    soft = tuple(torch.full((32, 4), 0.1 * cls) for cls in range(4))
    own = torch.eye(4)[train.labels] * 0.5
    return Stock(parts, 7, Samples(made(0)), Samples(made(100), soft), own)


def test_synthetic_images_come_after_the_real_ones_shared_out_by_class_turn_by_turn(stock):
    real = stock.parts.train
    images, labels, added, turns = mixed(stock, Arm("none", 0.5))
    assert torch.equal(images[:18], real.images)
    assert torch.equal(labels[:18], real.labels)
    assert images[18:27, 0, 0, 0].tolist() == [0, 1, 2, 3, 40, 41, 80, 81, 120]
    assert images[27:36, 0, 0, 0].tolist() == [4, 5, 6, 7, 42, 43, 82, 83, 121]
    assert labels[18:].tolist() == 4 * ([0] * 4 + [1] * 2 + [2] * 2 + [3])
    assert (added, turns) == (36, 4)
    more = mixed(stock, Arm("none", 1.0, annealed=True, screened=True))
    assert more[0][18:36, 0, 0, 0].tolist() == [*range(100, 108), *range(140, 144), *range(180, 184), 220, 221]
    assert more[2:] == (72, 4)


def test_real_images_alone_and_a_part_of_them(stock):
    images, labels, added, _ = mixed(stock, Arm("none"))
    assert images is stock.parts.train.images
    assert (len(labels), added) == (18, 0)
    assert torch.bincount(mixed(stock, Arm("none", share=0.5))[1]).tolist() == [4, 2, 2, 1]
    assert share_of(stock.parts.train, 0.25, 0).counts() == [2, 1, 1, 1]


def test_soft_labels_are_the_judges_and_real_ones_are_smoothed(stock):
    winner = Arm("none", 0.5, screened=True, soft=True)
    targets = mixed(stock, winner)[1]
    assert targets.shape == (54, 4)
    assert targets[0].tolist() == pytest.approx([0.9625, 0.0125, 0.0125, 0.0125])
    assert targets[18:, 0].tolist() == pytest.approx(4 * ([0.0] * 4 + [0.1] * 2 + [0.2] * 2 + [0.3]))
    duplicated, shuffled = (mixed(stock, arm)[1] for arm in control_arms(winner))
    assert duplicated[18].tolist() == pytest.approx([0.5, 0, 0, 0])  # the judge's word, not the label
    assert sorted(shuffled[18:, 0].tolist()) == sorted(targets[18:, 0].tolist())
    assert not torch.equal(shuffled, targets)


def test_duplicates_are_real_images_each_as_often_as_any_other(stock):
    real = stock.parts.train
    images, labels, *added = mixed(stock, Arm("none", 2.0, annealed=True, control="duplicated"))
    assert torch.equal(labels[18:].bincount(), 2 * real.labels.bincount())
    assert added == [36, 1]
    for image in real.images:
        assert (images == image).flatten(1).all(1).sum() == 3


def test_shuffled_labels_are_those_of_the_winner_dealt_out_anew(stock):
    arm = Arm("none", 1.0)
    images, labels, *_ = mixed(stock, arm)
    others, dealt, *_ = mixed(stock, control_arms(arm)[1])
    assert torch.equal(images, others)
    assert torch.equal(labels[:18], dealt[:18])
    assert torch.equal(labels.bincount(), dealt.bincount())
    assert (labels != dealt).sum() >= 5


def test_each_seed_has_samples_of_its_own(make_bank):
    bank = make_bank()
    names = bank.class_names
    runs = [ClassExam().samples(bank, names, [3, 2, 0], run, 5, None) for run in (0, 1)]
    assert torch.equal(runs[1].images[0], bank.sample("cat", 4 * 3, seed=6))
    assert not torch.equal(runs[0].images[0], runs[1].images[0])


def test_screened_samples_are_taken_in_turn_and_repeated_where_too_few_passed(make_bank):
    bank = make_bank(("cat", "dog", "owl"))
    kept = {"cat": [4, 9, 11, 30, 31, 40, 41, 50], "dog": [2, 3, 5]}
    screening = {"kept": kept, "soft": {"cat": [[0.1, 0.9]] * 7 + [[0.3, 0.7]], "dog": [], "owl": []}}
    first, second = (ClassExam().samples(bank, ("cat", "dog"), [1, 1], run, 5, screening) for run in (0, 1))
    assert torch.equal(first.images[0], bank.sample_at(0, [4, 9, 11, 30], seed=5))
    assert torch.equal(second.images[0], bank.sample_at(0, [31, 40, 41, 50], seed=5))
    assert torch.equal(second.images[1], bank.sample_at(1, [3, 5, 2, 3], seed=5))
    assert second.soft[0][:, 0].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.3])
    none = ClassExam().samples(bank, ("cat", "owl"), [2, 2], 0, 5, screening)
    assert [len(images) for images in none.images] == [8, 0]  # nothing of the owl passed


def test_a_cell_tells_of_both_parts_and_its_key_of_what_it_used(stock):
    told = train_and_tell(
        {((0, 0), None): stock}, ((0, 0), None), "classify", Arm("none", 0.5), {"steps": 2, "batch": 8}, "cpu"
    )
    assert [len(told[part]) for part in ("choose", "score")] == [8, 12]
    assert set(told["score"]) <= {"0", "1"}
    arms = [Arm("none"), Arm("none", 0.5), Arm("none", 1.0), Arm("none", 0.5, screened=True)]
    assert len({digest(*ClassExam().tensors(stock, arm)) for arm in arms}) == 4
    assert digest(torch.zeros(2, 3)) != digest(torch.zeros(3, 2))


def test_a_real_screening_is_made_once_and_kept(labelled, make_bank, tiny_recipe, tmp_path):
    names = ("ant", "bee", "cow", "doe")
    train = labelled(6, 1)
    bank = make_bank(names, channels=1)
    settings = Compare(ratios=(0.5,), screened=(True,), soft=(True,), splits=1, steps=2, batch=8)
    screening = Screening(doubt=None, far=None, redundant=None, judges=2, steps=2)
    parts = [Parts(train, labelled(2, 2), labelled(2, 3), "bank", "test")]

    def ask():
        trials = ReferenceTrials(
            "classify", parts, settings, False, 0, Crew(torch.device("cpu"), tmp_path), [bank], screening=screening
        )
        winner = Arm("none", 0.5, screened=True, soft=True)
        trials.run([(winner, (0, 0)), (winner, (0, 1)), (control_arms(winner)[0], (0, 0))], "score")
        return trials

    told = ask()._screenings(None)[0]
    assert set(told["kept"]) == set(names)
    assert all(len(kept) == 2 * 4 * 3 for kept in told["kept"].values())  # 2 seeds, 4 turns, and half of 6 for each
    assert len(told["own"]) == 24
    files = sorted(tmp_path.glob("*.json"))
    stamps = [file.stat().st_mtime_ns for file in files]
    assert len(files) == 4
    ask()
    assert [file.stat().st_mtime_ns for file in sorted(tmp_path.glob("*.json"))] == stamps
