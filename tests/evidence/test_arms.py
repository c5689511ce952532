import pytest

from ganaug.errors import RecipeError
from ganaug.evidence.arms import Arm, control_arms, fewer_real, synthetic_arms
from ganaug.evidence.exams import ClassExam
from ganaug.recipe import Compare


def test_flips_are_where_a_mirror_keeps_the_class():
    names = [arm.augment for arm in ClassExam().classical(Compare(), flips=True)]
    assert names == ["none", "flip+crop", "flip+trivial", "flip+trivial+cutmix", "flip+elastic+trivial"]
    assert [arm.augment for arm in ClassExam().classical(Compare(), flips=False)] == [
        "none",
        "crop",
        "trivial",
        "trivial+cutmix",
        "elastic+trivial",
    ]
    both = Compare(augments=("flip", "none", "trivial", "flip+trivial"))
    assert [arm.augment for arm in ClassExam().classical(both, flips=False)] == ["none", "trivial"]
    with pytest.raises(RecipeError, match="'flop'; did you mean 'flip'"):
        ClassExam().classical(Compare(augments=("flop",)), flips=True)


def test_every_ratio_has_every_treatment_the_plainest_first():
    arms = synthetic_arms(Compare(), "crop")
    assert len(arms) == len(set(arms)) == 3 * 2 * 2
    assert arms[:3] == [Arm("crop", 0.25), Arm("crop", 0.5), Arm("crop", 1.0)]
    assert arms[-1] == Arm("crop", 1.0, annealed=True, screened=True)


def test_soft_labels_need_the_judge_of_a_screening():
    arms = synthetic_arms(Compare(soft=(True, False), ratios=(1,)), "none")
    assert [(arm.screened, arm.soft) for arm in arms] == [(False, False)] * 2 + [(True, False)] * 2 + [(True, True)] * 2
    assert synthetic_arms(Compare(soft=(True,), screened=(False,), ratios=(1,)), "none") == [Arm("none", 1.0)]


def test_names_and_keys():
    winner = Arm("flip+trivial+cutmix", 0.5, annealed=True, screened=True, soft=True)
    assert winner.name == "flip + TrivialAugmentWide + CutMix, ratio 0.5, annealed, screened, soft labels"
    assert [arm.name.removeprefix(f"{winner.name}, ") for arm in control_arms(winner)] == [
        "real duplicated", "labels shuffled",
    ]  # fmt: skip
    assert [arm.name for arm in fewer_real(Arm("none"))] == [
        "no augmentation, 25% of the real images", "no augmentation, 50% of the real images",
    ]  # fmt: skip
    farther = Arm("none", 0.5, reach=2.0)
    assert farther.name == "no augmentation, ratio 0.5, reach 2"
    assert farther.key == {**Arm("none", 0.5).key, "reach": 2.0}
    assert Arm("none").key == {
        "augment": "none", "ratio": 0.0, "annealed": False, "screened": False, "soft": False, "balanced": False,
        "control": None, "share": 1.0,
    }  # fmt: skip


def test_unequal_classes_are_levelled_too():
    settings = Compare(ratios=(0.5,), schedules=("constant",), screened=(False, True))
    equal = synthetic_arms(settings, "none", (10, 10, 14))
    assert not any(arm.balanced for arm in equal)
    levelling = [arm for arm in synthetic_arms(settings, "none", (20, 5, 10)) if arm.balanced]
    assert [arm.screened for arm in levelling] == [False, True]
    assert levelling[0].added((20, 5, 10)) == [0, 15, 10]
    assert levelling[0].added((40, 10, 20)) == [0, 30, 20]  # another split of the same classes
    assert levelling[0].name == "no augmentation, ratio 0.714, rarest classes first"
    assert [arm.balanced for arm in control_arms(levelling[0])] == [True, True]
    assert not any(
        arm.balanced for arm in synthetic_arms(settings.model_copy(update={"balanced": False}), "none", (9, 1))
    )
    assert Arm("none", 0.5).added((20, 5, 10)) == [10, 3, 5]
