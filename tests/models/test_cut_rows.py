"""A server that sends only the likeliest log-probs: the same texts as here, tokens certified or labelled."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.engine.engine import Engine
from eft_demo.errors import RemoteError
from eft_demo.families.catalogue import find_entry
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.method.recipe import parse
from eft_demo.method.sampling_settings import Sampling
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.models.cut_row import ROUNDING, cut_row, fill, lacking, with_ids
from eft_demo.models.load import load_models
from eft_demo.models.remote import TOPS, CutModel, RemoteModel
from eft_demo.runs.trace import ColumnTrace, RunTrace
from eft_demo.settings import Settings
from tests.asking import QUESTION, finished, ids_of, make_request, three
from tests.completions import MODEL, Completions, serving
from tests.waiting import PATIENCE_S

HOT = Sampling(temperature=1.0, seed=11)
SAMPLINGS = {
    "hot": HOT,
    "warm": Sampling(temperature=0.8, top_p=0.95, seed=3),
    "greedy": Sampling(temperature=0),
    "top_k": Sampling(temperature=1.2, top_k=20, seed=4),
    "min_p": Sampling(temperature=1.5, min_p=0.02, seed=5),
}
LENGTH = 10


@pytest.fixture
def server(tiny_assets: Path) -> Iterator[Completions]:
    with serving(tiny_assets / "tiny", {MODEL: "large_base"}) as found:
        found.max_logprobs = 20
        yield found


@pytest.fixture
def settings(tiny_settings: Settings, server: Completions) -> Settings:
    return replace(tiny_settings, base_url=server.url, base_answer_s=60.0)


def open_engine(settings: Settings) -> tuple[Family, Engine]:
    family = load_family(find_entry("tiny", settings), settings)
    models = load_models(family, torch.float32, settings=settings)
    return family, Engine(models, family.stop_ids, settings, family.token_bytes, family.banned_ids)


def ask(opened: tuple[Family, Engine], **fields: Any) -> list[ColumnTrace]:
    family, engine = opened
    prompts = {role: tuple(encode_prompt(family, role, QUESTION)) for role in family.roles}
    fields = {"columns": three("assistant"), "sampling": HOT, "length": LENGTH, **fields}
    return finished(engine, make_request(prompts, controls={"alpha": 1.5, "beta": 0.7}, **fields))


def assert_same_and_certain(found: list[ColumnTrace], here: list[ColumnTrace]) -> None:
    assert [ids_of(column) for column in found] == [ids_of(column) for column in here]
    assert all(record.cut is None or record.cut.certain for column in found for record in column.tokens)


def cut_model(opened: tuple[Family, Engine]) -> CutModel:
    model = opened[1].models["large_base"]
    assert isinstance(model, CutModel)
    return model


@pytest.mark.parametrize(
    ("top", "name", "speculation"),
    [
        *((top, name, "off") for top in (1, 20) for name in SAMPLINGS),
        *((top, name, "on 4") for top in (5, 100) for name in ("hot", "warm", "greedy")),
    ],
)
def test_texts_are_those_of_the_model_here_and_each_token_is_certain(
    tiny_settings: Settings, settings: Settings, server: Completions, top: int, name: str, speculation: str
) -> None:
    server.max_logprobs = 100
    wanted = {"sampling": SAMPLINGS[name], "speculation": speculation}
    here = ask(open_engine(tiny_settings), **wanted)
    opened = open_engine(replace(settings, base_top=top))
    found = ask(opened, **wanted)
    assert [ids_of(column) for column in found] == [ids_of(column) for column in here]
    for column, expected in zip(found, here, strict=True):
        for mine, theirs in zip(column.tokens, expected.tokens, strict=True):
            assert mine.by_role == pytest.approx(theirs.by_role, abs=1e-4)
            if mine.cut is None:  # nothing is hidden: no large base, or all of its tokens were asked for
                assert mine.logprob == pytest.approx(theirs.logprob, abs=1e-4)
                continue
            assert mine.cut.certain and mine.cut.sent == top
            assert mine.cut.off_nats is not None and abs(mine.logprob - theirs.logprob) < mine.cut.off_nats
            listed = {one.id: one for one in theirs.candidates}
            for one in mine.candidates:  # none of them is a guess
                if one.id in listed:
                    assert one.by_role == pytest.approx(listed[one.id].by_role, abs=1e-4)


@pytest.mark.parametrize(
    ("recipe", "weights"),
    [
        ("assistant + beta*(large_base - small_base)", "off"),
        ("large_base + alpha*(assistant - small_base) + 0.5*(pirate - small_base)", "off"),
        ("large_base + alpha*(assistant - small_base)", "mask 0.1"),
        ("large_base + 0*(assistant - small_base)", "off"),
    ],
)
def test_other_recipes_are_certified_too(
    tiny_settings: Settings, settings: Settings, recipe: str, weights: str
) -> None:
    wanted = {"columns": ((recipe, parse(recipe)),), "weight_filter": parse_weight_filter(weights)}
    here = ask(open_engine(tiny_settings), **wanted)
    found = ask(open_engine(settings), **wanted)
    assert ids_of(found[0]) == ids_of(here[0])
    assert all(record.cut is None or record.cut.certain for record in found[0].tokens)


@pytest.mark.parametrize("weights", ["off", "top-p 0.3", "top-p 0.9"])
def test_what_a_recipe_subtracts_or_a_filter_hides_is_labelled_uncertain_or_true(
    tiny_settings: Settings, settings: Settings, weights: str
) -> None:
    text = (
        "large_base + alpha*(assistant - small_base)"
        if weights != "off"
        else ("small_base + alpha*(assistant - large_base)")
    )
    wanted = {"columns": (("One", parse(text)),), "weight_filter": parse_weight_filter(weights)}
    here = ask(open_engine(tiny_settings), **wanted)
    found = ask(open_engine(settings), **wanted)
    cuts = [record.cut for record in found[0].tokens]
    for mine, theirs, cut in zip(ids_of(found[0]), ids_of(here[0]), cuts, strict=False):
        if mine != theirs:
            assert cut is not None and not cut.certain
            break
    if weights == "off":
        assert not any(cut and cut.certain for cut in cuts)
        assert all(cut and cut.off_nats is None for cut in cuts)


def test_without_questions_by_id_the_uncertain_tokens_are_labelled(
    tiny_settings: Settings, settings: Settings, server: Completions
) -> None:
    server.answers_by_id = False
    here = ask(open_engine(tiny_settings))
    found = ask(open_engine(replace(settings, base_top=5)))
    certain = [[bool(record.cut and record.cut.certain) for record in column.tokens] for column in found]
    assert not all(certain[2])
    for mine, theirs, sure in zip(found, here, certain, strict=True):
        pairs = list(zip(ids_of(mine), ids_of(theirs), strict=False))
        first = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
        assert first is None or not sure[first]  # later tokens follow another text


def test_a_given_text_is_attributed_exactly_and_continued_as_here(
    tiny_settings: Settings, settings: Settings
) -> None:
    wanted = {"forced": tuple(range(40, 60)), "length": 26}
    here, found = ask(open_engine(tiny_settings), **wanted), ask(open_engine(settings), **wanted)
    assert [ids_of(column) for column in found] == [ids_of(column) for column in here]
    for column, expected in zip(found, here, strict=True):
        for mine, theirs in zip(column.tokens, expected.tokens, strict=True):
            assert mine.by_role == pytest.approx(theirs.by_role, abs=1e-4)


@pytest.mark.parametrize("fields", [{}, {"speculation": "on 4"}, {"forced": (5, 9, 200, 31)}])
def test_texts_are_the_same_when_every_answer_is_late(settings: Settings, fields: dict[str, Any]) -> None:
    settings = replace(settings, base_top=1)
    opened = open_engine(settings)
    expected = ask(opened, **fields)
    late = open_engine(settings)
    cut_model(late)._answers.patience_s = 0.0
    found = ask(late, **fields)
    assert [column.error for column in found] == [None] * len(found)
    assert [ids_of(column) for column in found] == [ids_of(column) for column in expected]


def test_it_asks_for_as_many_as_the_server_sends(settings: Settings, server: Completions) -> None:
    opened = open_engine(settings)
    assert "its 20 likeliest tokens" in cut_model(opened).where
    assert [body["logprobs"] for body in server.asked] == [-1, *TOPS[: TOPS.index(20) + 1]]
    server.asked.clear()
    assert "its 7 likeliest tokens" in cut_model(open_engine(replace(settings, base_top=7))).where
    assert [body["logprobs"] for body in server.asked] == [7]
    with pytest.raises(RemoteError, match=r"of 21, .* 20"):
        open_engine(replace(settings, base_top=21))
    server.max_logprobs = 4
    with pytest.raises(RemoteError, match="--max-logprobs"):
        open_engine(settings)


def test_rivals_of_several_columns_share_a_request(settings: Settings, server: Completions) -> None:
    opened = open_engine(replace(settings, base_top=20))
    cut_model(opened)._answers.patience_s = PATIENCE_S  # columns whose answers are late ask by themselves
    server.asked.clear()
    ask(opened, sampling=Sampling(temperature=2.0, seed=2), length=6)
    by_id = [body for body in server.asked if "logprob_token_ids" in body]
    assert by_id and all(len(body["logprob_token_ids"]) <= 128 for body in by_id)
    assert len(by_id) <= 4 * 6
    assert any(len(body["prompt"]) > 1 for body in by_id)


def test_a_fault_while_asking_for_rivals_ends_the_columns_that_need_them(
    settings: Settings, server: Completions, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_engine(replace(settings, base_top=1))
    answer = server.answer

    def strike(handler: Any, body: dict[str, Any]) -> None:
        if "logprob_token_ids" in body:
            handler.send({"error": {"message": "too hot"}}, 400)
        else:
            answer(handler, body)

    monkeypatch.setattr(server, "answer", strike)
    base, tuned, upscaled = ask(opened)
    assert base.finish_reason == upscaled.finish_reason == "error"
    assert "too hot" in str(upscaled.error) and "large_base" in str(upscaled.error)
    assert tuned.finish_reason != "error" and len(tuned.tokens) == LENGTH
    monkeypatch.undo()
    assert all(column.finish_reason != "error" for column in ask(opened))


def test_traces_keep_what_is_open_about_each_token(settings: Settings) -> None:
    opened = open_engine(settings)
    family, engine = opened
    prompts = {role: tuple(encode_prompt(family, role, QUESTION)) for role in family.roles}
    request = make_request(
        prompts, controls={"alpha": 1.0}, columns=three("assistant"), sampling=SAMPLINGS["greedy"], length=4
    )
    trace = RunTrace(request.spec, finished(engine, request))
    again = RunTrace.from_json(trace.to_json())
    assert again.columns == trace.columns
    assert any(record.cut and record.cut.sent == 20 for record in again.columns[2].tokens)


# -- what no row can be --


def rescaled(answer: dict[str, Any], factor: float, shift: float) -> dict[str, Any]:
    """The answer with a scale that is not that of log-probs, as raw logits have."""
    for choice in answer["choices"]:
        (table,) = choice["logprobs"]["top_logprobs"]
        table |= {key: value * factor + shift for key, value in table.items()}
    return answer


@pytest.mark.parametrize("scale", [(1.0, 3.0), (1.0, -30.0), (0.0, 0.0), (0.0, -99999.0)])
def test_lists_that_are_no_log_probs_are_refused(
    settings: Settings, server: Completions, scale: tuple[float, float]
) -> None:
    whole = server.completion
    server.completion = lambda body: rescaled(whole(body), *scale)  # type: ignore[method-assign]
    with pytest.raises(RemoteError, match="raw_logprobs"):
        open_engine(settings)


@pytest.mark.parametrize("most", [20, -1])
def test_another_scale_in_a_step_ends_the_columns_that_need_it(
    settings: Settings, server: Completions, most: int
) -> None:
    server.max_logprobs = most  # with no limit, whole rows are sent
    opened, whole = open_engine(settings), server.completion
    server.completion = lambda body: rescaled(whole(body), 1.0, 3.0)  # type: ignore[method-assign]
    base, tuned, upscaled = ask(opened)
    assert "raw_logprobs" in str(base.error) and "raw_logprobs" in str(upscaled.error)
    assert tuned.finish_reason != "error"


def test_log_probs_of_single_tokens_are_checked_too(settings: Settings, server: Completions) -> None:
    opened, whole = open_engine(replace(settings, base_top=1)), server.completion

    def by_id_rescaled(body: dict[str, Any]) -> dict[str, Any]:
        return rescaled(whole(body), 0.0, -0.05) if "logprob_token_ids" in body else whole(body)

    server.completion = by_id_rescaled  # type: ignore[method-assign]
    assert "raw_logprobs" in str(ask(opened)[2].error)


@pytest.mark.parametrize("speaks", ["vllm", "sglang"])
def test_a_list_of_unknown_tokens_alone_is_refused(
    settings: Settings, server: Completions, monkeypatch: pytest.MonkeyPatch, speaks: str
) -> None:
    server.speaks = speaks
    opened = open_engine(settings)
    wide = torch.full((1, 5000), -50.0)
    wide[0, 4000:] = 0.0  # another model, whose likeliest tokens do not exist here
    server.models = {MODEL: lambda tokens: wide.expand(1, tokens.shape[1], -1)}
    base, *_ = ask(opened)
    assert "the tokenizer here does not have" in str(base.error)
    with pytest.raises(RemoteError, match="the tokenizer here does not have"):
        open_engine(settings)


# -- other servers --


@pytest.mark.parametrize("top", [0, 1, 20])
def test_sglang_writes_the_same_texts(
    tiny_settings: Settings, settings: Settings, server: Completions, top: int
) -> None:
    server.speaks = "sglang"
    here = ask(open_engine(tiny_settings))
    opened = open_engine(replace(settings, base_top=top))
    model = cut_model(opened)
    assert "SGLang" in model.where and model.context == 128
    server.asked.clear()
    found = ask(opened)
    assert_same_and_certain(found, here)
    assert any("token_ids_logprob" in body for body in server.asked)


def test_sglang_with_another_answer_is_refused(
    settings: Settings, server: Completions, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.speaks = "sglang"
    answers: list[Any] = [
        [],
        [{}],
        [{"meta_info": {"output_top_logprobs": []}}],
        [{"meta_info": None}] * 2,
        {},
    ]
    for answer in answers:
        monkeypatch.setattr(server, "sglang_generation", lambda _, answer=answer: answer)
        with pytest.raises(RemoteError, match=r"docs/deploying.md"):
            open_engine(settings)


@pytest.mark.parametrize("top", [0, 1, 20])
def test_llama_cpp_writes_the_same_texts(
    tiny_settings: Settings, settings: Settings, server: Completions, top: int
) -> None:
    server.speaks = "llamacpp"
    here = ask(open_engine(tiny_settings))
    opened = open_engine(replace(settings, base_top=top))
    model = opened[1].models["large_base"]
    assert isinstance(model, RemoteModel) and "llama.cpp" in model.where and model.context == 128
    assert isinstance(model, CutModel) is bool(top)
    server.asked.clear()
    found = ask(opened)
    assert_same_and_certain(found, here)
    assert {len(body["prompt"]) for body in server.asked} >= {1, 2}  # one answer, and a list of them


def test_llama_cpp_with_another_model_is_refused(
    tiny_family: Family, settings: Settings, server: Completions
) -> None:
    server.speaks = "llamacpp"
    server.tokenize = lambda text: [1, 2]
    with pytest.raises(RemoteError, match="tokenizer"):
        open_engine(settings)
    server.tokenize = tiny_family.codec.encode
    assert open_engine(settings)
    server.models = {MODEL: lambda tokens: torch.zeros(1, tokens.shape[1], 300)}
    with pytest.raises(RemoteError, match=r"300 .* 3\d\d"):
        open_engine(settings)


# -- rows --

rows = st.tuples(st.integers(0, 2**31), st.integers(1, 40), st.lists(st.integers(0, 39), max_size=9))


@given(rows)
def test_a_filled_row_sums_to_one_and_stays_below_its_ceiling(row: tuple[int, int, list[int]]) -> None:
    seed, top, asked = row
    true = (3 * torch.randn(40, generator=torch.Generator().manual_seed(seed))).log_softmax(0)
    likeliest = true.topk(top).indices
    sent = cut_row(likeliest, true[likeliest], top)
    ids = torch.tensor(asked, dtype=torch.long).unique()
    sent = with_ids(sent, ids, true[ids])
    logprobs, ceiling = fill(sent, 40)
    known = sorted({*likeliest.tolist(), *asked})
    assert sorted(sent.ids.tolist()) == known and sent.asked == len(known) - top
    assert float(logprobs.exp().sum()) == pytest.approx(1, abs=1e-4)
    assert torch.equal(logprobs[known], true[known]) and torch.equal(ceiling[known], true[known])
    assert (ceiling >= true - 1e-6).all()
    hidden = [token for token in range(40) if token not in known]
    assert (logprobs[hidden] != ceiling[hidden]).all()
    assert lacking(sent, [*range(40), *range(40)]) == hidden


def test_the_servers_own_token_beyond_the_likeliest_does_not_lower_the_ceiling() -> None:
    logprobs = torch.tensor([0.5, 0.3, 0.01]).log()
    row = cut_row(torch.tensor([4, 7, 9]), logprobs, 2)
    _, ceiling = fill(row, 12)
    assert float(ceiling[0]) == pytest.approx(math.log(1 - 0.81), abs=10 * ROUNDING)
