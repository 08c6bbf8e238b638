"""Columns: the menu's presets, typed recipes, and where an invalid one is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError
from eft_demo.families.catalogue import Behaviour
from eft_demo.families.checkpoint import Checkpoint
from eft_demo.method.recipe import PAD, parse
from eft_demo.runs.spec import FIRST, RunSpec, check
from eft_demo.settings import COLUMNS
from eft_demo.ui.columns import check_columns, describe_column, presets, read_columns
from tests.asking import spec
from tests.fakes import NOWHERE, make_family

FAMILY = make_family()
TYPED = "large_base + 0.7*(assistant - small_base) + 0.5*(pirate - small_base)"


def column(recipe: object, name: object = "Mine") -> dict[str, object]:
    return {"name": name, "recipe": recipe}


def test_the_menu_offers_every_preset_the_family_has_models_for() -> None:
    names = [preset.name for preset in presets(FAMILY)]
    assert names == [
        "Base", "Small base", "Tuned", "Up-scaled", "Amplified", "Down-scaled", "Blend", "Pad", "Large tuned"
    ]  # fmt: skip
    without = replace(FAMILY, roles={r: c for r, c in FAMILY.roles.items() if r != "large_tuned"})
    assert {p.name for p in presets(FAMILY)} - {p.name for p in presets(without)} == {
        "Down-scaled",
        "Large tuned",
    }
    assert all(parse(str(preset.recipe)) == preset.recipe for preset in presets(FAMILY))
    blend = next(preset.recipe for preset in presets(FAMILY) if preset.name == "Blend")
    assert blend.controls == ("alpha_assistant", "alpha_brief", "alpha_pirate", "alpha_guarded")


def test_a_blend_takes_two_behaviours_with_names_that_make_sliders() -> None:
    def blends(*roles: str) -> list[str]:
        behaviours = tuple(Behaviour(role, role, "") for role in roles)
        checkpoints = {role: Checkpoint(role, NOWHERE) for role in roles}
        family = replace(FAMILY, behaviours=behaviours, roles={**FAMILY.roles, **checkpoints})
        return [str(preset.recipe) for preset in presets(family) if preset.name == "Blend"]

    assert blends("chat") == blends("chat", "x" * 40) == []
    assert blends("a", "b") == ["large_base + alpha_a*(a - small_base) + alpha_b*(b - small_base)"]
    assert blends(*"abcdefgh")[0].count("alpha_") == 6


def test_a_column_lists_its_sliders_and_the_model_behind_small_tuned() -> None:
    sent = describe_column("Pad", PAD, "pirate", {})
    assert sent["controls"] == ("alpha", "beta") and sent["pad"]
    assert sent["text"] == str(PAD) and "pirate" in str(sent["recipe"])
    by_name = parse(str(PAD).replace("small_tuned", "pirate"))
    assert describe_column("Pad", by_name, "pirate", {})["pad"]
    assert not describe_column("Pad", by_name, "brief", {})["pad"]


@pytest.mark.parametrize(
    ("text", "unusual"),
    [
        ("large_base + alpha*(small_tuned - small_base)", ()),
        ("small_base + alpha*(large_tuned - large_base) + beta*(large_base - small_base)", ()),
        ("large_base + alpha_pirate*(pirate - small_base) + 0.5*(large_base - small_base)", ()),
        ("large_base + alpha*(pirate - small_base) + beta*(brief - small_base)", ("beta",)),
        ("small_tuned + alpha*(large_base - small_base)", ("alpha",)),
        ("large_base - alpha*(pirate - small_base) + beta*(pirate - brief)", ("alpha", "beta")),
    ],
)
def test_a_column_names_sliders_that_weigh_something_else(text: str, unusual: tuple[str, ...]) -> None:
    assert describe_column("Own", parse(text), "pirate", {})["unusual"] == unusual


def test_typed_columns_are_read_and_small_tuned_is_not_replaced(service: Service) -> None:
    mine, up = read_columns([column(TYPED), column(str(FIRST[2][1]), "Up")])
    assert mine == ("Mine", parse(TYPED)) and up == ("Up", FIRST[2][1])
    assert read_columns(None) == FIRST


@pytest.mark.parametrize(
    ("posted", "where", "words"),
    [
        ([], "columns", "from 1 to 4; got 0"),
        ([column("large_base")] * 5, "columns", "from 1 to 4; got 5"),
        ("large_base", "columns", "must be a list"),
        ({}, "columns", "must be a list"),
        ([3], "column-0", "a name and a recipe"),
        ([column("large_base", "")], "column-0", "1 to 60 characters"),
        ([column("large_base", "x" * 61)], "column-0", "1 to 60 characters"),
        ([column("large_base", ["x"])], "column-0", "got a list"),
        ([column("large_base"), column(None)], "column-1", "must be text; got nothing"),
        ([column("  \n")], "column-0", "no recipe yet"),
        ([column("large_base + alpha*(gorgon - small_base)")], "column-0", "There is no model gorgon"),
        ([column("large_base - ")], "column-0", "\n             ^"),
        ([column("large_base - 0.5*(small_tuned - small_base)")], "column-0", "assistant"),
        ([column("x" * 501)], "column-0", "500 characters"),
        ([column("large_base + 11*(pirate - small_base)")], "column-0", "a weight of at most 10"),
    ],
)
def test_an_invalid_column_is_refused_with_its_index(
    service: Service, posted: object, where: str, words: str
) -> None:
    with pytest.raises(EFTError) as caught:
        check(RunSpec(prompt="Hi", columns=read_columns(posted)), service.family, service.settings)
    assert caught.value.where == where and words in str(caught.value)


def test_while_typing_each_column_gets_its_own_answer(service: Service) -> None:
    asked = [column(TYPED), column("large_base + alpha*(small_tuned - small_bse)"), column("large_base +")]
    good, unknown, unfinished = json.loads(check_columns(service, {"behaviour": "brief", "columns": asked}))
    assert good["about"] == "Large model's knowledge, 2 behaviours blended" and good["controls"] == []
    assert "small_bse" in unknown["error"] and "small_tuned" in unknown["error"]
    sentence, line, caret = unfinished["error"].split("\n")
    assert "character 13" in sentence and line[: len(caret)] + "^" == "large_base +" + "^"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(
    JSON
    | st.fixed_dictionaries(
        {"behaviour": JSON | st.just("brief"), "columns": st.lists(st.builds(column, JSON, JSON), max_size=6)}
    )
)
def test_any_posted_columns_get_one_answer_each(service: Service, posted: object) -> None:
    answers = json.loads(check_columns(service, posted))
    assert len(answers) <= COLUMNS.high
    assert all(answer.get("error") or answer["text"] for answer in answers)


def test_the_owner_may_allow_recipes_that_undo_tuning(service: Service) -> None:
    undoing = spec("Hi", columns=[column("large_base - alpha*(small_tuned - small_base)")])
    with pytest.raises(EFTError) as caught:
        check(undoing, service.family, service.settings)
    assert (caught.value.code, caught.value.where) == ("undoing", "column-0")
    assert check(
        undoing, service.family, replace(service.settings, allow_negative_alpha=True)
    ).used_controls == ("alpha",)
