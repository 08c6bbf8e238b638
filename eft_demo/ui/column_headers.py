"""What the head of a column says: its kind, its recipe, and one sentence on what such a recipe does.

Knows the shapes of recipes; knows nothing of models and of how a head is drawn.
"""

from eft_demo.method.recipe import Recipe
from eft_demo.method.roles import LARGE_BASE, LARGE_TUNED, SMALL_BASE, is_base


def column_head(name: str, recipe: Recipe) -> dict[str, str]:
    """`name`, `kind`, `recipe` and `about` as the page draws them."""
    return {
        "name": name,
        "kind": column_kind(recipe),
        "recipe": recipe_text(recipe),
        "about": column_about(recipe),
    }


def column_kind(recipe: Recipe) -> str:
    """Which of three looks a column gets: a live recipe is up, a plain base base, everything else tuned."""
    if recipe.controls:
        return "up"
    return "base" if not recipe.terms and is_base(recipe.anchor) else "tuned"


def recipe_text(recipe: Recipe) -> str:
    """A recipe as a column shows it; `small_base + (pirate - small_base)` is simply `pirate`."""
    return lone_model(recipe) or str(recipe)


def column_about(recipe: Recipe) -> str:
    """One sentence on what such a recipe does."""
    model = lone_model(recipe)
    if model:
        return _about_model(model)
    behaviours = sum(not is_base(term.plus) and is_base(term.minus) for term in recipe.terms)
    sizes = sum(is_base(term.plus) and is_base(term.minus) for term in recipe.terms)
    shape = (recipe.anchor, behaviours, sizes)
    if behaviours + sizes < len(recipe.terms):
        return "Written by hand"
    if shape == (LARGE_BASE, 1, 0):
        return "The small model's behaviour, the large model's knowledge"
    if shape == (SMALL_BASE, 1, 0):
        return "The large model's behaviour, the small model's knowledge"
    if shape == (SMALL_BASE, 1, 1):
        return "From the small base: behaviour by α, knowledge by β"
    if not is_base(recipe.anchor) and (behaviours, sizes) == (0, 1):
        return "The small model's behaviour, and more knowledge with β"
    if recipe.anchor == LARGE_BASE and not sizes:
        return f"The large model's knowledge, {behaviours} behaviours blended"
    return "Written by hand"


def lone_model(recipe: Recipe) -> str:
    """The one model that a recipe comes down to; empty if it takes several."""
    if not recipe.terms:
        return recipe.anchor
    (first, *more) = recipe.terms
    whole = not more and first.weight == 1 and first.minus == recipe.anchor
    return first.plus if whole else ""


def _about_model(role: str) -> str:
    if role == SMALL_BASE:
        return "Knows little, and does not answer"
    if role == LARGE_TUNED:
        return "A large model that really was tuned: what is emulated"
    return "Knows, but does not answer" if is_base(role) else "Answers, but does not know"
