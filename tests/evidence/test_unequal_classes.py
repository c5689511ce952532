"""Where some classes have few images: arms that bring them up to the largest, and every class counting the same."""

import pytest
import torch

from ganaug.evidence.comparison import compare
from ganaug.evidence.parts import Parts
from ganaug.evidence.trials import Crew, ReferenceTrials
from ganaug.recipe import Compare

SETTINGS = {"augments": ["none"], "schedules": ["constant"], "screened": [False]}


@pytest.fixture
def few_does(labelled):
    data = labelled(30, 1)
    return data.subset([index for index, label in enumerate(data.labels.tolist()) if label != 3 or index % 15 == 0])


@pytest.mark.slow
def test_levelling_helps_the_rare_class_and_the_verdict_says_so_class_by_class(few_does, labelled, bank_of):
    bank = bank_of()
    found = compare(
        few_does, bank, val=labelled(30, 2), test=labelled(150, 3), ratios=[0.1], seeds=3, steps=60, batch=32,
        settings=SETTINGS,
    )  # fmt: skip
    assert few_does.counts() == [30, 30, 30, 2]
    assert found.chosen.balanced
    assert found.summary.startswith("This bank helps: balanced accuracy ")
    rival = next(contrast for contrast in found.contrasts if contrast.name.endswith("duplicated"))
    assert ("repeating real images was not shown to do less" in found.summary) == (rival.low <= 0)
    assert found.verdict.ratio == {"ant": 0, "bee": 0, "cow": 0, "doe": 14}
    assert found.changes[3].low > 0
    assert [one.arm.ratio for one in found.sweep] == [0.1, pytest.approx(28 / 92)]
    assert found.to_dict()["sweep"][1]["balanced"]


def test_every_class_counts_the_same(few_does, labelled):
    scored = labelled(10, 2).subset(range(33))  # three of the last class
    parts = Parts(few_does, None, scored, "bank", "test")
    trials = ReferenceTrials("classify", [parts], Compare(), False, 0, Crew(torch.device("cpu")))
    assert trials.metric == "balanced accuracy"
    told = {"score": "1" * 30 + "000"}
    outcome = trials._outcome(told, (0, 0), "score")
    assert outcome.accuracy == pytest.approx(0.75)
    assert outcome.by_class["doe"].tolist() == [0, 0, 0]
    trials.settings = Compare(balanced=False)
    assert trials._outcome(told, (0, 0), "score").accuracy == pytest.approx(30 / 33)
