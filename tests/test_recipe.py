from pathlib import Path

import pytest
import yaml

from ganaug.errors import RecipeError
from ganaug.recipe import Recipe, budget_steps, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid_and_survives_a_round_trip(name, tmp_path):
    recipe = load_recipe(name)
    file = tmp_path / "resolved.yaml"
    file.write_text(recipe.to_yaml())
    assert load_recipe(file) == recipe


def test_recipes_ship():
    assert {"classify-16", "classify-32", "classify-64", "classify-128"} <= set(recipe_names())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"resolutoin": 32}, "did you mean 'resolution'"),
        ({"gan": {"gamma_r1": 1}}, "there is no setting 'gan.gamma_r1'"),
        ({"gan": {"lecm": 1}}, "did you mean 'lecam'"),
        ({"resolution": 48}, "resolution is 48"),
        ({"kimg": -1}, "kimg is -1"),
        ({"minutes": 0}, "minutes is 0"),
        ({"minutes": float("nan")}, "minutes is nan"),
        ({"gan": {"batch": 1}}, "gan.batch is 1"),
        ({"gan": {"batch": "many"}}, "gan.batch is 'many'"),
        ({"seed": -1}, "seed is -1"),
        ({"gan": {"loss": "wgan"}}, "gan.loss is 'wgan'"),
        ({"gan": {"loss": "relativistic", "lecam": 0.3}}, "lecam does not go"),
        ({"gan": {"class_ramp": [0.5, 0.2]}}, "class_ramp must start"),
        ({"kimg": None, "minutes": None}, "a budget is needed"),
        ({"gan": 3}, "gan"),
    ],
)
def test_what_a_recipe_may_not_say(values, said):
    with pytest.raises(RecipeError, match=said.replace("(", r"\(")) as caught:
        load_recipe(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b", "holds a list, not a mapping"),
        ("", "holds nothing"),
        ("a: [1,", "line 1 is not valid YAML|is not valid YAML"),
        ("just words", "holds a str"),
    ],
)
def test_a_file_that_is_no_mapping(tmp_path, text, said):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=said) as caught:
        load_recipe(file)
    assert str(file) in str(caught.value)


def test_a_recipe_that_is_not_there():
    with pytest.raises(RecipeError, match="did you mean 'classify-32'"):
        load_recipe("clasify-32")
    with pytest.raises(RecipeError, match="no recipe file"):
        load_recipe("nowhere/pets.yaml")


def test_binary_is_no_recipe(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read as text"):
        load_recipe(file)


def test_settings_replace_and_are_checked():
    recipe = Recipe().replace({"gan.r1": 0.5, "data.fit": "pad", "train.epochs": 3})
    assert (recipe.gan.r1, recipe.data.fit, recipe.train.epochs) == (0.5, "pad", 3)
    with pytest.raises(RecipeError, match=r"gan\.r1 is -1"):
        recipe.replace({"gan.r1": -1})
    with pytest.raises(RecipeError, match="did you mean 'r1'"):
        recipe.replace({"gan.rr1": 1})
    with pytest.raises(RecipeError, match="goes below"):
        recipe.replace({"seed.x": 1})


def test_kimg_and_minutes_give_way_to_each_other():
    assert load_recipe({"kimg": 5}).minutes is None
    assert Recipe(kimg=5).replace({"minutes": 2}).kimg is None
    assert Recipe().replace({"kimg": 3}).kimg == 3


def test_budget_steps_show_at_least_the_budget():
    assert budget_steps(1, 64) == 16
    assert budget_steps(0.001, 64) == 1


def test_the_resolved_recipe_says_every_setting():
    said = yaml.safe_load(Recipe().to_yaml())
    assert set(said) == set(Recipe.model_fields)
    assert set(said["gan"]) == set(type(Recipe().gan).model_fields)


def test_every_setting_is_used(request):
    """No dead options: each name is read somewhere in the package."""
    package = Path(load_recipe.__code__.co_filename).parent
    code = "\n".join(path.read_text() for path in package.rglob("*.py") if path.name != "recipe.py")
    for section in ("data", "networks", "reconstruction", "gan", "snapshots", "compare", "export", "train"):
        annotation = Recipe.model_fields[section].annotation
        model = annotation if hasattr(annotation, "model_fields") else annotation.__args__[0]
        for name in model.model_fields:
            assert f".{name}" in code, f"{section}.{name} is never read"
