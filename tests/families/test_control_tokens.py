"""Control tokens: stop tokens are pooled into one class; others and padding are never sampled."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eft_demo.engine.engine import Engine
from eft_demo.errors import NumericalError
from eft_demo.families.family import Family
from eft_demo.method.mixing import ControlTokens, pool_control_tokens, to_logprobs
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.models.hf import TransformersModel
from eft_demo.models.protocol import LanguageModel
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.trace import TokenRecord
from eft_demo.settings import Settings
from tests.asking import make_request
from tests.tiny import TINY_LARGE, TINY_SMALL, fused, make_model
from tests.toy import ToyModel

VOCAB, CONTEXT = 40, 96
STOPS, BANNED = (37, 39), (0, 36, 38)
ROLES = ("large_base", "small_base", "assistant")
COLUMNS = tuple((text, parse(text)) for text in ("large_base", "large_base + alpha*(assistant - small_base)"))
WILD = Sampling(temperature=2.0, top_p=1.0)


@settings(max_examples=100)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, VOCAB - 1), unique=True, max_size=12),
    st.integers(0, 5),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_stop_tokens_are_pooled_and_banned_tokens_removed(
    seed: int, ids: list[int], stops: int, dtype: torch.dtype
) -> None:
    control_tokens = ControlTokens(tuple(ids[:stops]), tuple(ids[stops:]))
    logits = (torch.randn(3, VOCAB, generator=torch.Generator().manual_seed(seed)) * 5).to(dtype)
    before = logits.clone()
    found = to_logprobs(pool_control_tokens(logits, control_tokens), "m").double().exp()
    assert torch.equal(logits, before), "the model's own logits were modified"
    probs = logits.double().softmax(1)
    expected = probs.clone()
    if stops and ids:
        expected[:, list(control_tokens.stops)] = 0
        expected[:, ids[0]] = probs[:, list(control_tokens.stops)].sum(1)
    expected[:, list(control_tokens.banned)] = 0
    torch.testing.assert_close(found, expected / expected.sum(1, keepdim=True), atol=1e-5, rtol=1e-4)


def test_a_stop_token_that_is_no_number_is_an_error() -> None:
    logits = torch.zeros(2, VOCAB)
    logits[1, STOPS[1]] = math.nan
    with pytest.raises(NumericalError) as caught:
        to_logprobs(pool_control_tokens(logits, ControlTokens(STOPS)), "m")
    assert caught.value.rows == (1,)


class Preferring(ToyModel):
    """A model with fixed logits for some tokens and hashed ones for the rest."""

    def __init__(self, name: str, prefers: dict[int, float], seed: int = 0) -> None:
        super().__init__(name, VOCAB, seed=seed)
        self.prefers = prefers

    def logits_after(self, history: object) -> Tensor:
        logits = super().logits_after(history)  # type: ignore[arg-type]
        for token, logit in self.prefers.items():
            logits[token] = logit
        return logits


def engine_of(models: dict[str, LanguageModel]) -> Engine:
    return Engine(models, STOPS, Settings(dtype="fp32", threads=1), [b"x"] * VOCAB, BANNED)


def write(engine: Engine, sampling: Sampling, length: int = 60) -> list[tuple[list[TokenRecord], EndEvent]]:
    asked = make_request(dict.fromkeys(ROLES, (1, 2, 3)), COLUMNS, {"alpha": 2.0}, sampling, length)
    run = engine.submit(asked)
    while engine.step():
        pass
    events = run.events()
    ends = {event.column: event for event in events if isinstance(event, EndEvent)}
    return [
        ([e.record for e in events if isinstance(e, TokenEvent) and e.column == column], ends[column])
        for column in range(len(COLUMNS))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_control_tokens_with_high_noise_are_never_sampled(seed: int) -> None:
    """The base gives random logits to untrained rows of its embedding, which makes the delta huge."""
    models: dict[str, LanguageModel] = {
        "large_base": Preferring("large_base", {0: 9.0, 36: 7.0, 39: -20.0, 37: -20.0}),
        "small_base": Preferring("small_base", {0: -9.0, 38: -30.0}, seed=1),
        "assistant": Preferring("assistant", {36: 12.0, 38: 12.0}, seed=2),
    }
    for records, end in write(engine_of(models), Sampling(temperature=2.0, top_p=1.0, seed=seed)):
        assert len(records) > 20 or end.finish_reason == "stop"
        for record in records:
            assert record.id not in BANNED and record.base_first not in BANNED
            possible = [c for c in record.candidates if c.logprob > -math.inf]
            assert not {c.id for c in possible} & {*BANNED, STOPS[1]}


def test_models_with_different_stop_tokens_end_together() -> None:
    """The base ends with 37, tuning added 39: their single deltas are noise, their pooled delta is not."""
    models: dict[str, LanguageModel] = {
        "large_base": Preferring("large_base", {37: 6.0, 39: -4.0}),
        "small_base": Preferring("small_base", {37: 5.0, 39: 8.0}, seed=1),
        "assistant": Preferring("assistant", {37: -9.0, 39: 9.0}, seed=2),
    }
    (plain, _), (upscaled, end) = write(engine_of(models), Sampling(temperature=0))
    assert [record.id for record in upscaled] == [STOPS[0]] and end.finish_reason == "stop"
    logits = {role: models[role].logits_after([1, 2, 3]) for role in ROLES}  # type: ignore[attr-defined]
    for logit in logits.values():
        logit[list(BANNED)] = -torch.inf
    mass = {role: float(logit.softmax(0)[list(STOPS)].sum().log()) for role, logit in logits.items()}
    assert upscaled[0].by_role == pytest.approx(mass, abs=1e-5)
    assert upscaled[0].bars[0] == pytest.approx(2 * (mass["assistant"] - mass["small_base"]), abs=1e-5)
    total = upscaled[0].anchor_logprob + sum(upscaled[0].bars) + upscaled[0].neg_log_z
    assert total == pytest.approx(upscaled[0].logprob, abs=1e-5)
    assert plain[-1].id in STOPS


def padded_models(widths: dict[str, int], fast: bool) -> dict[str, LanguageModel]:
    """Models whose embeddings are wider than the vocabulary, with high logits in the padding."""
    models: dict[str, LanguageModel] = {}
    for seed, (role, width) in enumerate(widths.items()):
        model = make_model(TINY_LARGE if role == "large_base" else TINY_SMALL, VOCAB, CONTEXT, seed).eval()
        model.resize_token_embeddings(width)
        with torch.no_grad():
            for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
                table[VOCAB:] = 50.0
        models[role] = (
            fused(role, model, CONTEXT, VOCAB) if fast else TransformersModel(role, model, CONTEXT, VOCAB)
        )
    return models


@pytest.mark.parametrize("fast", [False, True], ids=["library", "fused"])
@pytest.mark.parametrize("widths", [(64, 48, 40), (40, 64, 48), (48, 48, 64)], ids=str)
def test_wider_logits_are_cut_to_the_shared_vocabulary(widths: tuple[int, int, int], fast: bool) -> None:
    exact = padded_models(dict.fromkeys(ROLES, VOCAB), fast)
    wide = padded_models(dict(zip(ROLES, widths, strict=True)), fast)
    for (ours, end), (theirs, _) in zip(
        write(engine_of(wide), WILD), write(engine_of(exact), WILD), strict=True
    ):
        assert [record.id for record in ours] == [record.id for record in theirs]
        assert end.finish_reason in ("stop", "length") and len(ours) > 1
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_control_tokens_that_are_no_stop_are_banned(tiny_family: Family) -> None:
    assert tiny_family.banned_ids == frozenset()
    assert all(tiny_family.token_bytes[i] or i in tiny_family.stop_ids for i in range(tiny_family.vocab))
