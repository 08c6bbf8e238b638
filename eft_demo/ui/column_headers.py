"""Headers of columns: the kind of a column, its recipe and a short description of what the recipe does.

Knows the shapes of recipes; knows nothing of models or of how a header is drawn.
"""

from collections.abc import Mapping
from types import MappingProxyType

from eft_demo.method.recipe import Recipe, Term, lone_model
from eft_demo.method.roles import LARGE_BASE, LARGE_TUNED, SMALL_BASE, SMALL_TUNED, is_base, is_large

ALPHA, BETA = "alpha", "beta"
LARGE_TUNING, OTHER, SIZE, SMALL_TUNING = "large tuning", "other", "size", "small tuning"  # of terms
# True of every family; what is special about one family stands in its file.
GENERAL = {
    LARGE_BASE: "The large model alone",
    SMALL_BASE: "The small model alone",
    SMALL_TUNED: "The small model after fine-tuning",
    LARGE_TUNED: "The large model after fine-tuning: what up-scaling emulates",
}


def column_head(
    name: str, recipe: Recipe, captions: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """`name`, `kind`, `recipe` and `about` as the page draws them; `captions` are those of the family."""
    return {
        "name": name,
        "kind": column_kind(recipe),
        "recipe": recipe_text(recipe),
        "about": column_about(recipe, captions),
    }


def column_kind(recipe: Recipe) -> str:
    """Which of three styles a column gets: `up` for a mixed recipe, `base` for a base model, else `tuned`."""
    if recipe.controls:
        return "up"
    return "base" if not recipe.terms and is_base(recipe.anchor) else "tuned"


def recipe_text(recipe: Recipe) -> str:
    """A recipe as a column shows it; `small_base + (pirate - small_base)` is shortened to `pirate`."""
    return lone_model(recipe) or str(recipe)


def column_about(recipe: Recipe, captions: Mapping[str, str] = MappingProxyType({})) -> str:
    """A short description of what such a recipe does."""
    model = lone_model(recipe)
    if model:
        role = model if is_base(model) or is_large(model) else SMALL_TUNED
        return captions.get(model) or captions.get(role) or GENERAL.get(role, "A model alone")
    kinds = [_kind(term) for term in recipe.terms]
    shape = (recipe.anchor, *sorted(kinds))
    if shape == (LARGE_BASE, SMALL_TUNING):
        return "Small model's behaviour, large model's knowledge"
    if shape == (SMALL_BASE, LARGE_TUNING):
        return "Large model's behaviour, small model's knowledge"
    if shape == (SMALL_BASE, SIZE, SMALL_TUNING):
        return "Small base; α adds behaviour, β adds knowledge"
    if _is_small_tuned(recipe.anchor) and kinds == [SIZE]:
        return "Small model's behaviour; β adds knowledge"
    if recipe.anchor == LARGE_BASE and set(kinds) == {SMALL_TUNING}:
        return f"Large model's knowledge, {len(kinds)} behaviours blended"
    return "Custom recipe"


def unusual_controls(recipe: Recipe) -> tuple[str, ...]:
    """The controls that do not weigh what their names promise everywhere: alpha tuning, beta size."""
    promised = {ALPHA: {SMALL_TUNING, LARGE_TUNING}, BETA: {SIZE}}
    found = [
        term.weight
        for term in recipe.terms
        if _kind(term) not in promised.get(str(term.weight), {_kind(term)})
    ]
    return tuple(dict.fromkeys(str(control) for control in found))


def _kind(term: Term) -> str:
    """What a term adds: the tuning of a small or the large model, the size of a base, or something else."""
    weight = term.scale if isinstance(term.weight, str) else term.weight
    if weight <= 0:
        return OTHER
    if (term.plus, term.minus) == (LARGE_TUNED, LARGE_BASE):
        return LARGE_TUNING
    if (term.plus, term.minus) == (LARGE_BASE, SMALL_BASE):
        return SIZE
    return SMALL_TUNING if _is_small_tuned(term.plus) and term.minus == SMALL_BASE else OTHER


def _is_small_tuned(role: str) -> bool:
    return not is_base(role) and not is_large(role)
