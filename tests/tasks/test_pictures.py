import pytest

from ganaug.errors import BankError
from ganaug.recipe import Recipe
from ganaug.tasks import get_task


@pytest.mark.parametrize(
    ("name", "instead"), [("enlarge", "enlarge="), ("translate", "mode='translation'"), ("fill", "RandomFilling")]
)
def test_what_makes_pictures_of_pictures_has_nothing_to_mix_in_and_says_what_to_do(name, instead):
    with pytest.raises(BankError, match=f"to mix in; .*{instead}"):
        get_task(name).view([], Recipe(), ())
