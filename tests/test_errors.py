import doctest
import importlib

import pytest

from ganaug import errors
from ganaug.errors import GanaugError, LeakError, MissingExtraError, did_you_mean


def test_every_error_is_a_ganaug_error():
    for name in set(errors.__all__) - {"did_you_mean"}:
        assert issubclass(getattr(errors, name), GanaugError)
    assert issubclass(LeakError, errors.DataError)


def test_a_missing_extra_says_how_to_get_it_and_is_an_import_error():
    with pytest.raises(
        ImportError, match=r"lightning is not installed; run: python -m pip install 'ganaug\[lightning\]'"
    ):
        raise MissingExtraError("lightning", "lightning")


@pytest.mark.parametrize(
    ("got", "choices", "said"),
    [
        ("catt", ["cat", "dog"], "; did you mean 'cat'?"),
        ("zebra", ["cat", "dog"], "; choose from: cat, dog"),
        ("x", [], ""),
        ("zebra", [f"class {n:02}" for n in range(30)], ", class 11, ..."),
        ("Cat", iter([1, "cat"]), "; did you mean 'cat'?"),
    ],
)
def test_did_you_mean(got, choices, said):
    assert did_you_mean(got, choices).endswith(said)


@pytest.mark.parametrize("module", ["errors", "data.class_names", "gan.networks"])
def test_examples_in_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"ganaug.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
