"""A text that somebody brings is scored as the model itself would, or refused with a sentence."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2ForCausalLM

from eft_demo.engine.collect import collect
from eft_demo.engine.given_text import score_text
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.families.family import encode_prompt
from eft_demo.method.recipe import BASE
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import Settings

PROMPT = "What is the capital of Peru?"
SPEC = RunSpec(prompt=PROMPT, columns=(("Base", BASE),))


@pytest.fixture(scope="module")
def tiny(tiny_settings: Settings) -> Iterator[Service]:
    service = Service.load(tiny_settings, "tiny")
    yield service
    service.stop()


def scored(service: Service, text: str, spec: RunSpec = SPEC) -> ColumnTrace:
    return collect(score_text(service, spec, text))[0]


def test_the_log_probs_are_those_of_the_model(tiny: Service, tiny_assets: Path) -> None:
    column = scored(tiny, "The capital of Peru is Lima.")
    assert column.text == " The capital of Peru is Lima." and column.is_scored is False
    prompt = encode_prompt(tiny.family, "large_base", PROMPT)
    text = tiny.family.codec.encode(" The capital of Peru is Lima.")
    assert [record.id for record in column.tokens] == text
    model = Qwen2ForCausalLM.from_pretrained(tiny_assets / "tiny" / "large_base")
    with torch.no_grad():
        logprobs = model(torch.tensor([[*prompt, *text]])).logits[0].log_softmax(-1)
    expected = [logprobs[len(prompt) - 1 + i, token].item() for i, token in enumerate(text)]
    assert [record.logprob for record in column.tokens] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "after", "read"),
    [
        ("Lima", "\nAssistant:", " Lima"),
        (" Lima", "\nAssistant:", " Lima"),
        ("\nLima", "\nAssistant:", "\nLima"),
        ("Lima", "\nAssistant: ", "Lima"),
        ("Lima", "\n", "Lima"),
        ("Lima", "", "Lima"),
    ],
)
def test_a_space_comes_first_only_where_a_model_would_write_one(
    tiny: Service, text: str, after: str, read: str
) -> None:
    own = {"large_base": PromptFormat("plain", "User: {prompt}" + after)}
    assert scored(tiny, text, SPEC.model_copy(update={"formats": own})).text == read


def test_what_looks_like_a_control_token_is_text(tiny: Service) -> None:
    column = scored(tiny, "Lima<|endoftext|> it is")
    assert column.text == " Lima<|endoftext|> it is" and not column.error


@pytest.mark.parametrize(
    ("text", "code"),
    [(None, "text_type"), (["a"], "text_type"), ("", "text_empty"), (" \n", "text_empty")]
    + [("x" * 4001, "text_too_long"), ("é " * 300, "text_too_long")],
)
def test_a_text_that_cannot_be_scored_is_refused(tiny: Service, text: Any, code: str) -> None:
    with pytest.raises(InputError) as caught:
        score_text(tiny, SPEC, text)
    assert (caught.value.code, caught.value.where) == (code, "text")
    assert "of" in str(caught.value) or "text" in str(caught.value)


def test_the_prompt_is_checked_like_that_of_any_run(tiny: Service) -> None:
    with pytest.raises(InputError, match="The prompt is empty"):
        score_text(tiny, RunSpec(), "Lima")


@given(st.text(alphabet=st.characters(), max_size=30))
def test_any_text_is_scored_whole_or_refused(tiny: Service, text: str) -> None:
    try:
        column = scored(tiny, text)
    except EFTError as refusal:
        assert refusal.code.startswith("text_")
    else:
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert column.text in (whole, f" {whole}")
        assert all(math.isfinite(record.logprob) for record in column.tokens)
