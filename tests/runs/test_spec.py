"""A RunSpec survives every form in which it is given; invalid values have a code and a place."""

import json
import pickle
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo import cli
from eft_demo.errors import EFTError
from eft_demo.method.recipe import UPSCALED
from eft_demo.method.roles import SMALL_TUNED
from eft_demo.method.sampling_settings import SAMPLING
from eft_demo.runs.conversation import Turn, turn_to_text
from eft_demo.runs.link import Link, from_query
from eft_demo.runs.spec import FIRST, RunSpec, check
from eft_demo.runs.trace import ColumnTrace, RunTrace
from eft_demo.settings import Settings
from tests.command_line import run_cli
from tests.fakes import make_family
from tests.specs import specs

FAMILY = make_family()
HERE = Settings()


@given(specs)
def test_a_spec_survives_a_link(spec: RunSpec) -> None:
    link = from_query(Link(spec).to_query())
    assert link == Link(spec)


@given(specs)
def test_a_spec_survives_the_json_of_the_page(spec: RunSpec) -> None:
    posted = json.loads(json.dumps(spec.as_posted()))
    assert RunSpec.from_posted(posted) == spec
    assert RunSpec.from_posted({**posted, "n": 7, "kind": None, "serial": 0}) == spec


@given(specs)
def test_a_spec_survives_a_trace_except_for_fields_that_traces_omit(spec: RunSpec) -> None:
    played = spec.model_copy(update={"behaviour": "pirate"}).for_behaviour()
    columns = [ColumnTrace(name, str(recipe)) for name, recipe in played.columns]
    shown = played.model_copy(update={"behaviour": "", "length": None})
    assert RunTrace.from_json(RunTrace(shown, columns).to_json()).spec == shown


@given(specs)
def test_a_spec_survives_the_command_line(spec: RunSpec) -> None:
    # The command line sets the family by what is loaded, and always sets alpha and beta.
    typed = spec.model_copy(update={"family": ""})
    typed = typed.model_copy(update={"controls": {"alpha": 1.0, "beta": 1.0, **typed.controls}})
    assert as_typed(arguments(typed)) == typed


def arguments(spec: RunSpec) -> list[str]:
    """The command line for that run."""
    own = {f"--{name}={value!r}" for name, value in spec.controls.items() if name in ("alpha", "beta")}
    own |= {f"--control={n}={v!r}" for n, v in spec.controls.items() if n not in ("alpha", "beta")}
    own |= {f"--{name.replace('_', '-')}={getattr(spec.sampling, name)!r}" for name in SAMPLING}
    own |= {f"--max-new-tokens={spec.length}"} if spec.length else set()
    return [
        *sorted(own),
        *(f"--recipe={name}:{recipe}" for name, recipe in spec.columns),
        *(f"--prompt-format={role}:{own.kind}:{own.text}" for role, own in spec.formats.items()),
        f"--system={spec.system}",
        *(f"--turn={turn_to_text(turn)}" for turn in spec.turns),
        *([f"--behaviour={spec.behaviour}"] if spec.behaviour else []),  # empty is refused
        f"--weight-filter={spec.weight_filter}",
        f"--schedule={spec.schedule}",
        f"--speculation={spec.speculation}",
        "--",
        spec.prompt,
    ]


def as_typed(typed: list[str]) -> RunSpec:
    """The run that the command line makes of these arguments, without loading anything."""
    asked: list[RunSpec] = []

    def run(spec: RunSpec, settings: Settings, family: str) -> RunTrace:
        asked.append(spec)
        return RunTrace(spec, [])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_run", run)
        patch.setattr(cli, "write_stdout", lambda text: None)
        assert run_cli(patch, "generate", *typed) == 0
    return asked[0]


@given(specs)
def test_a_spec_can_be_pickled(spec: RunSpec) -> None:
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_defaults_are_filled_in() -> None:
    spec = check(RunSpec(prompt="Hi"), FAMILY, HERE)
    assert (spec.family, spec.behaviour, spec.length) == ("echo", "assistant", HERE.default_new_tokens)
    assert spec.columns == FIRST and spec.controls == {"alpha": 1.0} and spec.used_controls == ("alpha",)
    assert check(spec, FAMILY, HERE) == spec
    assert SMALL_TUNED not in {role for _, recipe in spec.for_behaviour().columns for role in recipe.roles}
    assert spec.for_behaviour().for_behaviour() == spec.for_behaviour()


def test_a_copy_shares_nothing_that_changes() -> None:
    spec = RunSpec(prompt="Hi", controls={"alpha": 1.0})
    other = spec.model_copy(update={"prompt": "Ho"})
    assert (spec.prompt, other.prompt) == ("Hi", "Ho")
    with pytest.raises(ValueError, match="frozen"):
        spec.prompt = "Ho"
    with pytest.raises(ValueError, match="typo"):
        RunSpec(typo=1)  # type: ignore[call-arg]


def test_a_run_of_some_columns_keeps_their_own_answers() -> None:
    turns = (Turn("Hi", ("a", "b", "c")), Turn("Ho", ("one",)))
    spec = RunSpec(prompt="He", columns=FIRST, turns=turns)
    assert spec.only((2, 0)).turns == (Turn("Hi", ("c", "a")), Turn("Ho", ("one",)))
    assert [name for name, _ in spec.only((2, 0)).columns] == ["Up-scaled", "Base"]


def turn(question: object = "Hi", *answers: object) -> dict[str, object]:
    return {"question": question, "answers": list(answers)}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"system": 3}, "system_text", "system"),
    ({"system": "x" * 8001}, "system_text", "system"),
    ({"turns": "Hi"}, "turns_type", "turns"),
    ({"turns": [turn("Hi", "Ho")] * 65}, "turns_range", "turns"),
    ({"turns": [7]}, "turn_type", "turns"),
    ({"turns": ["Hi"]}, "turn_syntax", "turns"),
    ({"turns": [{"question": "Hi", "answers": "Ho"}]}, "turn_type", "turns"),
    ({"turns": [turn(None, "Ho")]}, "turn_question", "turns"),
    ({"turns": [turn("Hi")]}, "turn_answers", "turns"),
    ({"turns": [turn("Hi", *"x" * 17)]}, "turn_answers", "turns"),
    ({"turns": [turn("Hi", 7)]}, "turn_answer", "turns"),
    ({"turns": [turn("Hi", None)]}, "turn_answer", "turns"),
    ({"turns": ['["Hi",NaN]']}, "turn_answer", "turns"),
    ({"turns": [turn("Hi", {})]}, "turn_answer", "turns"),
    ({"turns": [turn("Hi", "a", "b")]}, "turns_answers", "turns"),
    ({"turns": [turn("Hi", "x" * 40_000)]}, "turns_too_long", "turns"),
    ({"turns": [turn("Hi", "x" * 1_100_000)] * 2}, "turns_too_long", "turns"),
    ({"turns": [turn("Hi", "x" * 39_000)], "system": "x" * 1000}, "turns_too_long", "turns"),
    ({"prompt": 3}, "prompt_type", "prompt"),
    ({"prompt": " \n"}, "prompt_empty", "prompt"),
    ({"prompt": "x" * 4001}, "prompt_too_long", "prompt"),
    ({"family": "other"}, "unknown_family", "family"),
    ({"family": "x" * 61}, "family_name", "family"),
    ({"behaviour": "poet"}, "unknown_behaviour", "behaviour"),
    ({"behaviour": ["pirate"]}, "behaviour_name", "behaviour"),
    ({"columns": "large_base"}, "columns_type", "columns"),
    ({"columns": [{"name": 3, "recipe": "large_base"}]}, "column_name", "column-0"),
    ({"columns": [3]}, "column_type", "column-0"),
    ({"columns": [["x", "large_base"], ["y", " "]]}, "recipe_empty", "column-1"),
    ({"columns": [["x", "large_base +"]]}, "recipe_syntax", "column-0"),
    ({"columns": [["x", "x" * 501]]}, "recipe_too_long", "column-0"),
    ({"columns": [["x", None]]}, "recipe_type", "column-0"),
    ({"columns": [["x", "gorgon"]]}, "unknown_role", "column-0"),
    ({"columns": [["x", "large_base - 0.5*(pirate - small_base)"]]}, "undoing", "column-0"),
    ({"columns": [["x", "large_base + alpha_a*(pirate - small_base)"]]}, "alpha_empty", "alpha_a"),
    ({"controls": [1]}, "controls_type", "controls"),
    ({"controls": {"gamma": 1}}, "unknown_control", "gamma"),
    ({"controls": {"alpha": 9}}, "alpha_range", "alpha"),
    ({"controls": {"alpha": -1}}, "undoing", "alpha"),
    ({"controls": {"beta": None}}, "beta_empty", "beta"),
    ({"temperature": 9}, "temperature_range", "temperature"),
    ({"top_p": 0}, "top_p_range", "top_p"),
    ({"top_k": 1.5}, "top_k_range", "top_k"),
    ({"min_p": "x"}, "min_p_range", "min_p"),
    ({"seed": ""}, "seed_empty", "seed"),
    ({"length": None}, "length_empty", "length"),
    ({"length": 0}, "length_range", "length"),
    ({"length": 300}, "length_range", "length"),
    ({"filter": "some"}, "filter_syntax", "filter"),
    ({"filter": "top-p "}, "filter_empty", "filter"),
    ({"filter": 3}, "unknown_filter", "filter"),
    ({"schedule": "soon"}, "schedule_syntax", "schedule"),
    ({"schedule": "warmup"}, "schedule_tokens_empty", "schedule"),
    ({"schedule": "list 2"}, "schedule_factor_range", "schedule"),
    ({"speculation": "on 99"}, "speculation_block_range", "speculation"),
    ({"speculation": 4}, "speculation_syntax", "speculation"),
    ({"formats": 5}, "formats_type", "formats"),
    ({"formats": {"brief": 5}}, "format_type", "formats"),
    ({"formats": {"brief": {"kind": "poem", "text": ""}}}, "unknown_format", "formats"),
    ({"formats": {"brief": {"kind": "plain", "text": "x"}}}, "format_placeholder", "formats"),
    ({"formats": {"gorgon": {"kind": "chat", "text": ""}}}, "unknown_role", "formats"),
    ({"formats": {f"r{k}": {"kind": "chat", "text": ""} for k in range(17)}}, "formats_range", "formats"),
]


@pytest.mark.parametrize(("posted", "code", "where"), WRONG, ids=lambda value: str(value)[:30])
def test_an_error_has_a_code_and_a_place(posted: dict[str, Any], code: str, where: str) -> None:
    with pytest.raises(EFTError) as caught:
        check(RunSpec.from_posted({"prompt": "Hi", **posted}), FAMILY, HERE)
    assert (caught.value.code, caught.value.where) == (code, where)
    assert str(caught.value) and not re.search(r"\b(None|nan|dict|tuple)\b", str(caught.value))


def test_a_family_without_models_runs_nothing() -> None:
    with pytest.raises(EFTError) as caught:
        check(RunSpec(prompt="Hi"), replace(FAMILY, behaviours=()), HERE)
    assert caught.value.code == "no_model"


def test_a_negative_alpha_needs_permission() -> None:
    spec = RunSpec(prompt="Hi", columns=(("Up", UPSCALED),), controls={"alpha": -1})
    study = replace(HERE, allow_negative_alpha=True)
    assert check(spec, FAMILY, study).controls == {"alpha": -1}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["prompt", "behaviour", "columns", "controls", "temperature", "seed", "length", "filter", "schedule",
         "speculation", "formats", "family"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), JSON, max_size=6))
def test_any_posted_value_is_a_spec_or_an_error_with_a_code(posted: dict[str, Any]) -> None:
    try:
        spec = RunSpec.from_posted(posted)
    except EFTError as refusal:
        assert refusal.code != "error" and refusal.where
    else:
        assert RunSpec.from_posted(spec.as_posted()) == spec
