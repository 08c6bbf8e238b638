"""Column headers: the kind and description of every shape of recipe."""

import pytest

from eft_demo.method.recipe import (
    AMPLIFIED,
    BASE,
    DOWNSCALED,
    PAD,
    REFERENCE,
    TUNED,
    UPSCALED,
    Recipe,
    blend,
    parse,
)
from eft_demo.ui.column_headers import column_head

SHAPES = [
    (BASE, "base", "The large model alone"),
    (TUNED, "tuned", "The small model after fine-tuning"),
    (parse("small_base + (pirate - small_base)"), "tuned", "The small model after fine-tuning"),
    (Recipe("small_base"), "base", "The small model alone"),
    (Recipe("huge_base"), "base", "A model alone"),
    (Recipe("large_other"), "tuned", "A model alone"),
    (UPSCALED, "up", "Small model's behaviour, large model's knowledge"),
    (DOWNSCALED, "up", "Large model's behaviour, small model's knowledge"),
    (AMPLIFIED, "up", "Small model's behaviour; β adds knowledge"),
    (PAD, "up", "Small base; α adds behaviour, β adds knowledge"),
    (REFERENCE, "tuned", "The large model after fine-tuning: what up-scaling emulates"),
    (blend(["brief", "pirate"]), "up", "Large model's knowledge, 2 behaviours blended"),
    (parse("large_base - 2*(small_base - pirate)"), "tuned", "Custom recipe"),
    (parse("pirate + 0.5*(brief - small_base)"), "tuned", "Custom recipe"),
    # The same shapes, but with models of the other size or weights that add nothing.
    (parse("small_base + alpha*(small_tuned - small_base)"), "up", "Custom recipe"),
    (parse("large_base + alpha*(large_tuned - large_base)"), "up", "Custom recipe"),
    (parse("large_tuned + beta*(large_base - small_base)"), "up", "Custom recipe"),
    (parse("small_base + 0*(pirate - small_base)"), "tuned", "Custom recipe"),
    (parse("large_base - alpha*(pirate - small_base)"), "up", "Custom recipe"),
]


@pytest.mark.parametrize(("recipe", "kind", "about"), SHAPES, ids=[str(shape[0]) for shape in SHAPES])
def test_every_form_of_recipe_has_its_kind_and_description(recipe: Recipe, kind: str, about: str) -> None:
    head = column_head("Name", recipe)
    assert (head["name"], head["kind"], head["about"]) == ("Name", kind, about)


def test_a_model_written_as_a_difference_is_shown_as_that_model() -> None:
    assert column_head("Tuned", parse("small_base + (pirate - small_base)"))["recipe"] == "pirate"
    assert column_head("Up", UPSCALED)["recipe"] == str(UPSCALED)


def test_the_captions_of_a_family_replace_the_general_ones() -> None:
    captions = {"large_base": "Knows much", "small_tuned": "Answers", "brief": "Answers briefly"}
    recipes = [BASE, parse("pirate"), parse("brief"), REFERENCE, UPSCALED]
    assert [column_head("", recipe, captions)["about"] for recipe in recipes] == [
        "Knows much",
        "Answers",
        "Answers briefly",
        "The large model after fine-tuning: what up-scaling emulates",
        "Small model's behaviour, large model's knowledge",
    ]
