import pytest

from ganaug.errors import DataError
from ganaug.evidence.synthetic_only import synthetic_only_accuracy


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
