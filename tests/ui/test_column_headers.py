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
    (BASE, "base", "Knows the facts, but just continues text"),
    (TUNED, "tuned", "Answers, but lacks many facts"),
    (parse("small_base + (pirate - small_base)"), "tuned", "Answers, but lacks many facts"),
    (Recipe("small_base"), "base", "Knows little and just continues text"),
    (UPSCALED, "up", "Small model's behaviour, large model's knowledge"),
    (DOWNSCALED, "up", "Large model's behaviour, small model's knowledge"),
    (AMPLIFIED, "up", "Small model's behaviour; β adds knowledge"),
    (PAD, "up", "Small base; α adds behaviour, β adds knowledge"),
    (REFERENCE, "tuned", "Actually fine-tuned: what up-scaling emulates"),
    (blend(["brief", "pirate"]), "up", "Large model's knowledge, 2 behaviours blended"),
    (parse("large_base - 2*(small_base - pirate)"), "tuned", "Custom recipe"),
    (parse("pirate + 0.5*(brief - small_base)"), "tuned", "Custom recipe"),
]


@pytest.mark.parametrize(("recipe", "kind", "about"), SHAPES, ids=[str(shape[0]) for shape in SHAPES])
def test_every_form_of_recipe_has_its_kind_and_description(recipe: Recipe, kind: str, about: str):
    head = column_head("Name", recipe)
    assert (head["name"], head["kind"], head["about"]) == ("Name", kind, about)


def test_a_model_written_as_a_difference_is_shown_as_that_model():
    assert column_head("Tuned", parse("small_base + (pirate - small_base)"))["recipe"] == "pirate"
    assert column_head("Up", UPSCALED)["recipe"] == str(UPSCALED)
