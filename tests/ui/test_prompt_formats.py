"""Prompt formats: a visitor's own formats are checked, shown in full, and reach the model."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.families.family import encode_prompt
from eft_demo.runs.prompt_format import MAX_TEXT_CHARS, PromptFormat
from eft_demo.runs.spec import check
from eft_demo.settings import Settings
from eft_demo.ui.prompt_formats import family_formats, preview
from tests.asking import spec
from tests.fakes import make_service

SERVICE: Service = make_service(Settings(threads=1))
SERVICE.stop()
OWN = {"kind": "few-shot", "text": "Q: 1+1?\nA: 2\n\nQ: {prompt}\nA:"}
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def test_default_formats_are_listed_and_chat_only_with_a_template() -> None:
    sent = {row["role"]: row for row in family_formats(SERVICE)}
    assert set(sent) == set(SERVICE.family.roles)
    assert sent["small_base"]["kind"] == "plain" and "{prompt}" in str(sent["small_base"]["text"])
    assert sent["small_base"]["kinds"] == ["plain", "few-shot"]


def test_a_custom_format_applies_to_its_model_only() -> None:
    formats = spec(formats={"brief": OWN}).formats
    assert formats == {"brief": PromptFormat("few-shot", OWN["text"])}
    service = make_service(Settings(threads=1))
    try:
        request = service.start_run(spec("Hi", "brief", formats=formats)).request
    finally:
        service.stop()
    family = service.family
    assert request.prompts["brief"] == tuple(encode_prompt(family, "brief", "Hi", formats["brief"]))
    assert request.prompts["small_base"] == tuple(encode_prompt(family, "small_base", "Hi"))
    assert request.prompts["brief"] != request.prompts["small_base"]
    assert request.spec.formats == formats  # so that a branch uses the same


@pytest.mark.parametrize(
    ("posted", "sentence"),
    [
        (5, "by model; got 5"),
        ({"nobody": OWN}, "no model nobody.*small_base"),
        ({"brief": "x"}, "brief must have a kind and a text; got 'x'"),
        ({"brief": {}}, "brief: The prompt format must .* nothing"),
        ({"brief": {"kind": [], "text": ""}}, "brief: The prompt format must .* a list"),
        ({"brief": {"kind": "plain", "text": 3}}, "brief: A prompt format must be text"),
        ({"brief": {"kind": "plain", "text": "no place"}}, r"brief: .*\{prompt\}.*0 times"),
        ({"brief": {"kind": "plain", "text": "{prompt}{prompt}"}}, "2 times"),
        ({"brief": {"kind": "plain", "text": "{prompt}" + "x" * MAX_TEXT_CHARS}}, "up to 8,000 characters"),
    ],
)
def test_an_invalid_format_gives_an_error_message(posted: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check(spec("Hi", formats=posted), SERVICE.family, SERVICE.settings)


def test_the_full_prompt_is_shown() -> None:
    assert json.loads(preview(SERVICE, {"role": "brief", **OWN})) == {"text": OWN["text"]}
    chat = {"role": "brief", "kind": "chat", "text": ""}
    assert "chat template" in json.loads(preview(SERVICE, chat))["error"]
    assert "nobody" in json.loads(preview(SERVICE, {"role": "nobody", **OWN}))["error"]


@given(json_values)
def test_anything_posted_gets_an_answer(value: object) -> None:
    assert set(json.loads(preview(SERVICE, value))) <= {"text", "error"}
    try:
        spec(formats=value)
    except InputError as refusal:
        assert len(str(refusal)) < 400
