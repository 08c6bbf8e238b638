"""Recipes: the text form parses back to the same value, and errors point at the invalid character."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import RecipeError
from eft_demo.method import recipe as recipes
from eft_demo.method.recipe import MAX_TERMS, MAX_WEIGHT, UPSCALED, Recipe, Term, parse

PRESETS = [getattr(recipes, name) for name in "BASE TUNED UPSCALED AMPLIFIED DOWNSCALED REFERENCE".split()]

roles = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(lambda s: s not in ("alpha", "beta"))
weights = st.floats(-MAX_WEIGHT, MAX_WEIGHT)
terms = st.builds(Term, weights, roles, roles) | st.builds(
    Term, st.sampled_from(["alpha", "beta"]), roles, roles, weights
)
valid_recipes = st.builds(Recipe, roles, st.lists(terms, max_size=MAX_TERMS).map(tuple))


def mark_of(error: RecipeError) -> int:
    """The 0-based index of the character above an error's caret."""
    return len(str(error).splitlines()[-1]) - 1


@pytest.mark.parametrize("recipe", PRESETS, ids=str)
def test_every_preset_survives_its_text_form(recipe: Recipe) -> None:
    assert parse(str(recipe)) == recipe


@given(valid_recipes)
def test_any_recipe_survives_its_text_form(recipe: Recipe) -> None:
    assert parse(str(recipe)) == recipe
    assert str(parse(str(recipe))) == str(recipe)


@given(st.text(max_size=60) | st.text(alphabet="ab_1.e+-*() alph\n−×αβ", max_size=60))
def test_any_text_parses_or_raises_a_recipe_error(text: str) -> None:
    try:
        recipe = parse(text)
    except RecipeError as error:
        assert 0 <= mark_of(error) <= len(text)
    else:
        assert parse(str(recipe)) == recipe


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", 0),
        ("Large", 0),
        ("alpha", 0),
        ("large_base +", 12),
        ("large_base large", 11),
        ("large_base + gamma*(a - b)", 13),
        ("large_base + alpha*alpha*(a - b)", 19),
        ("large_base + alpha(a - b)", 18),
        ("large_base + α*α*(a - b)", 15),
        ("large_base + α(a - b)", 14),
        ("α + (a - b)", 0),
        ("large_base small_base", 11),
        ("large_base + alpha*(a + b)", 22),
        ("large_base + alpha*(a - b", 25),
        ("large_base + alpha*(a - )", 24),
        ("large_base + 11*(a - b)", 13),
        ("large_base + 2*1e300*1e300*(a - b)", 15),
        ("large_base ⊕ alpha*(a - b)", 11),
        ("large_base + ٣*(a - b)", 13),
        ("b" + " + (a - b)" * 7, 62),
    ],
)
def test_an_error_points_at_the_wrong_character(text: str, at: int) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(text)
    assert mark_of(caught.value) == at
    assert f"character {at + 1}:" in str(caught.value)


@given(valid_recipes, st.data())
def test_an_error_points_at_an_invalid_character_anywhere(recipe: Recipe, data: st.DataObject) -> None:
    text = str(recipe)
    at = data.draw(st.integers(0, len(text)))
    with pytest.raises(RecipeError) as caught:
        parse(f"{text[:at]}${text[at:]}")
    # A name that is split may be invalid from its start.
    cut = re.search(r"[\w.-]*$", text[:at])
    assert cut is not None and cut.start() <= mark_of(caught.value) <= at


def test_spaces_and_lookalike_signs_do_not_matter() -> None:
    assert parse("  large_base+\talpha × ( small_tuned − small_base )\n") == UPSCALED
    assert parse("large_base ＋ α·（small_tuned — small_base）\ufeff") == UPSCALED  # as the page shows it
    assert parse("a + 1,5*α_b∙(b‑c) ﹣ 𝛽⋅(d – c)") == parse("a + 1.5*alpha_b*(b - c) - beta*(d - c)")
    assert parse("a - 0.5*beta*(b - c)") == Recipe("a", (Term("beta", "b", "c", -0.5),))
    assert parse("a + 2*.5*alpha*3*(b - c)") == Recipe("a", (Term("alpha", "b", "c", 3.0),))
    assert parse("large base + α · (small tuned − small\u00a0base)") == UPSCALED
    assert parse("a + 0.5·β·(b − c)") == Recipe("a", (Term("beta", "b", "c", 0.5),))
    assert parse("a + α_pirate*(pirate - c)") == Recipe("a", (Term("alpha_pirate", "pirate", "c"),))
    assert parse("a - (b - c)") == Recipe("a", (Term(-1, "b", "c"),))


@pytest.mark.parametrize("text", ["x" * 501, None, 3, b"large_base", ["large_base"]])
def test_a_recipe_must_be_short_text(text: object) -> None:
    with pytest.raises(RecipeError):
        parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "weight", [float("nan"), float("inf"), 10.5, True, None, "gamma", 10**400], ids=lambda w: str(w)[:9]
)
def test_a_weight_must_be_a_small_number_or_a_control(weight: object) -> None:
    with pytest.raises(RecipeError):
        Term(weight, "a", "b")  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["", "A", "a-b", "alpha", "1a", "x" * 41, None, 5, "a\n"])
def test_a_role_must_be_a_plain_name(role: object) -> None:
    with pytest.raises(RecipeError):
        Recipe(role)  # type: ignore[arg-type]


def test_roles_are_listed_once_with_the_anchor_first() -> None:
    recipe = parse("large_base + alpha*(assistant - small_base) + beta*(pirate - small_base)")
    assert recipe.roles == ("large_base", "assistant", "small_base", "pirate")
    assert recipe.controls == ("alpha", "beta")


def test_coefficients_follow_the_controls() -> None:
    recipe = parse("a + 2*alpha*(b - c) - 0.5*(b - c) - beta*(b - c)")
    assert recipe.coefficients({"alpha": 1.5, "beta": 0.25}) == (3.0, -0.5, -0.25)
    with pytest.raises(RecipeError, match="beta"):
        recipe.coefficients({"alpha": 1.0})


def test_roles_can_be_renamed() -> None:
    assert str(UPSCALED.with_roles({"small_tuned": "pirate"})) == "large_base + alpha*(pirate - small_base)"
    assert UPSCALED.with_roles({}) == UPSCALED


@pytest.mark.parametrize(
    "text", ["large_base + 0.5²*(a - b)", "large_base + 1₂*(a - b)", "large_base + 2ª*(a - b)"]
)
def test_an_exponent_is_not_a_digit(text: str) -> None:
    with pytest.raises(RecipeError) as refused:
        parse(text)
    assert text[mark_of(refused.value)] in "²₂ª"
