import dataclasses

import pytest

from ganaug.data import perceptual_print
from ganaug.errors import LeakError
from ganaug.evidence.parts import refuse_leaks


@pytest.fixture
def seen(labelled):
    """Images that know what they look like."""

    def make(per_class, seed):
        data = labelled(per_class, seed)
        return dataclasses.replace(data, perceptual=tuple(map(perceptual_print, data.images)))

    return make


def brighter(data):
    images = (data.images * 0.9 + 12).byte()
    return dataclasses.replace(
        data,
        fingerprints=tuple(f"brighter {index}" for index in range(len(data))),
        perceptual=tuple(map(perceptual_print, images)),
    )


def test_near_copies_are_noted_and_exact_ones_refused(seen, bank_of):
    train, val = seen(4, 1), seen(4, 2)
    assert refuse_leaks(bank_of(), train, {"val": val, "test": seen(4, 3)}) == ()
    (note,) = refuse_leaks(bank_of(), train, {"val": val, "test": brighter(train.subset([1, 5, 6]))})
    assert note.startswith("3 of the 3 images of test are near-copies")
    (note,) = refuse_leaks(bank_of(), train, {"val": val, "test": brighter(val)})
    assert note.startswith("16 of the 16 images of test are near-copies")
    with pytest.raises(LeakError):
        refuse_leaks(bank_of(), train, {"test": train.subset([1])})


def test_near_copies_of_what_the_bank_was_fitted_on_are_noted(seen, bank_of):
    fitted = seen(4, 1)
    bank = bank_of()
    bank.manifest = bank.manifest.model_copy(update={"train_perceptual": fitted.perceptual})
    (note,) = refuse_leaks(bank, seen(4, 2), {"val": brighter(fitted.subset([0, 9]))})
    assert note.startswith("2 of the 2 images of val")
