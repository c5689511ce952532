import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganaug.data import choose_classes, safe_stem
from ganaug.errors import DataError


def test_wanted_classes_keep_the_wanted_order():
    assert choose_classes(["a", "b", "c"], ["c", "a"]) == ["c", "a"]
    assert choose_classes(["b", "a"], None) == ["b", "a"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["catt"], "did you mean 'cat'"),
        (["cat", "cat"], "2 times"),
        ([], "no class is wanted"),
        ("cat,dog", "one string"),
    ],
)
def test_a_wrong_choice_says_what_to_do(wanted, said):
    with pytest.raises(DataError, match=said):
        choose_classes(["cat", "dog"], wanted)


@pytest.mark.parametrize("name", ["tabby cat", "cat", "犬", "собака", "हिन्दी", "a-b_c.d (2)"])
def test_a_harmless_name_stays(name):
    assert safe_stem(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "a\\b", "con", "COM1.jpg", "a\0b", "a\nb", ".hidden", "end.", " x ", "c:"),
        *("e\u0301", "x" * 300, "\ud800", "🐈"),
    ],
)
def test_a_harmful_name_is_made_safe(name):
    stem = safe_stem(name)
    assert stem != name
    assert re.fullmatch(r"[^/\\:\0\n. ][^/\\:\0\n]*-[0-9a-f]{8}", stem)
    assert len(stem.encode()) < 100
    assert stem.split("-")[0].split(".")[0].lower() not in {"con", "com1"}


NAMES = st.text(max_size=12) | st.text("./\\ac-0\n :", max_size=8)


@settings(max_examples=150, deadline=None)
@given(NAMES, NAMES)
def test_distinct_names_stay_distinct_and_usable(one, other):
    stem = safe_stem(one)
    assert stem
    assert not set(stem) & set('/\\:*?"<>|\0\n\t')
    assert stem.strip(". ") == stem
    assert (stem == safe_stem(other)) == (one == other)


def test_a_name_cannot_pose_as_an_altered_one():
    altered = safe_stem("a/b")
    assert safe_stem(altered) != altered
