"""Columns with their own histories: each reads its own prompt, and a column alone writes the same."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from torch import Tensor

from eft_demo.engine.collect import collect, make_trace
from eft_demo.engine.engine import Engine
from eft_demo.engine.run import RunRequest
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.families.family import Family, encode_prompt
from eft_demo.method.sampling import Sampling
from eft_demo.runs.conversation import Turn
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.spec import FIRST, RunSpec
from eft_demo.settings import Settings
from tests.asking import changed, finished, ids_of, make_request, three

ROLES = ("large_base", "small_base", "assistant")
COLUMNS = three("assistant")
WARM = Sampling(temperature=0.8, seed=4)
OWN = ("one", "two and more", "one")  # the first and the last column have the same history


def prompts(family: Family, answer: str) -> dict[str, tuple[int, ...]]:
    return {role: tuple(encode_prompt(family, role, "And?", turns=[("Hi", answer)])) for role in ROLES}


@pytest.fixture
def asked(tiny_family: Family) -> RunRequest:
    own = tuple(prompts(tiny_family, answer) for answer in OWN)
    return replace(make_request(own[0], COLUMNS, {"alpha": 1.3}, WARM, 16), column_prompts=own)


def alone(asked: RunRequest, column: int) -> RunRequest:
    """A run of that column only."""
    prompts = asked.column_prompts[column]
    return replace(changed(asked, columns=(COLUMNS[column],), prompts=prompts), column_prompts=())


@pytest.mark.parametrize("speculation", ["off", "on 4"])
def test_a_column_with_its_own_history_writes_what_it_writes_alone(
    engine: Engine, asked: RunRequest, speculation: str
) -> None:
    asked = replace(asked, spec=RunSpec(**{**dict(asked.spec), "speculation": speculation}))
    together = finished(engine, asked)
    for column in range(3):
        (single,) = finished(engine, alone(asked, column))
        assert ids_of(together[column]) == ids_of(single)
        logprobs = [record.logprob for record in single.tokens]
        assert [record.logprob for record in together[column].tokens] == pytest.approx(logprobs, abs=2e-4)
    assert ids_of(together[0]) != ids_of(together[1])


def _noted(sizes: list[int], forward: Any, slots: Any, tokens: Tensor, *more: Any) -> Any:
    """The forward, after noting how many tokens it reads."""
    sizes.append(tokens.numel())
    return forward(slots, tokens, *more)


def test_columns_with_the_same_prompt_share_its_prefill(
    engine: Engine, asked: RunRequest, models: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[str, list[int]] = {role: [] for role in ROLES}
    for role, model in models.items():
        monkeypatch.setattr(model, "forward", partial(_noted, read[role], model.forward))
    finished(engine, changed(asked, length=1))
    one, two = (len(asked.column_prompts[column]["large_base"]) - 1 for column in (0, 1))
    assert one != two
    # Base and Up-scaled have the same history, so the large base reads it once; Tuned has another.
    assert read["large_base"].count(one) == 1
    assert len([size for size in read["assistant"] if size > 3]) == 2


def test_a_text_is_scored_under_every_history(engine: Engine, asked: RunRequest) -> None:
    original = finished(engine, asked)
    ids = ids_of(original[1])
    scored = finished(engine, changed(asked, forced=ids, length=len(ids)))
    for column in range(3):
        request = changed(alone(asked, column), forced=ids, length=len(ids))
        (single,) = finished(engine, request)
        logprobs = [record.logprob for record in single.tokens]
        assert [record.logprob for record in scored[column].tokens] == pytest.approx(logprobs, abs=2e-4)
    logprobs = [record.logprob for record in original[1].tokens]
    assert [record.logprob for record in scored[1].tokens] == pytest.approx(logprobs, abs=2e-4)


def test_a_history_that_leaves_no_room_is_refused_with_the_way_out(
    engine: Engine, asked: RunRequest, tiny_family: Family
) -> None:
    own = (*asked.column_prompts[:2], prompts(tiny_family, "word " * 3000))
    turns = (Turn("Hi", ("a", "b", "c")),)
    with pytest.raises(InputError, match="earlier turns.*start a new conversation") as caught:
        engine.submit(replace(changed(asked, turns=turns), column_prompts=own))
    assert caught.value.code == "prompt_too_long"


def test_a_prompt_that_leaves_no_room_names_every_part_that_may_be_too_long(
    engine: Engine, asked: RunRequest, tiny_family: Family
) -> None:
    own = tuple(prompts(tiny_family, "word " * 3000) for _ in asked.column_prompts)
    whole = replace(changed(asked, turns=(), system="word " * 1000), column_prompts=own)
    with pytest.raises(InputError, match=r"Please shorten the prompt or shorten the system prompt\."):
        engine.submit(whole)
    formats = {"large_base": PromptFormat("plain", "word " * 1000 + "{prompt}")}
    with pytest.raises(InputError, match=r"shorten the prompt or change the prompt format of large_base\."):
        engine.submit(replace(changed(asked, turns=(), formats=formats), column_prompts=own))


@pytest.fixture
def tiny_service(models: dict[str, Any], tiny_family: Family, tiny_settings: Settings) -> Iterator[Service]:
    engine = Engine(models, (), tiny_settings, tiny_family.token_bytes)
    service = Service(tiny_family, engine, tiny_settings)
    service.start()
    yield service
    service.stop()


def test_the_service_gives_each_column_its_own_history(tiny_service: Service) -> None:
    turns = (Turn("Hi", ("a", "b", "c")), Turn("Ho", ("shared",)))
    spec = RunSpec(prompt="And?", columns=FIRST, turns=turns, length=3)
    run = tiny_service.start_run(spec)
    request = run.request
    for column, answer in enumerate("abc"):
        pairs = [("Hi", answer), ("Ho", "shared")]
        expected = encode_prompt(tiny_service.family, "large_base", "And?", turns=pairs)
        assert request.prompts_of(column)["large_base"] == tuple(expected)
    trace = make_trace(tiny_service, request.spec, collect(run))
    assert trace.spec.turns == turns
    shared = tiny_service.start_run(spec.model_copy(update={"turns": turns[1:]}))
    assert shared.request.column_prompts == ()
    collect(shared)
