"""The identities of the method, and the limits of float32."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eft_demo.errors import NumericalError
from eft_demo.method.mixing import (
    SUPPORT_DELTA_NATS,
    Mixture,
    contributions,
    entropy_nats,
    filter_floor,
    mix,
    term_delta,
    to_logprobs,
)
from eft_demo.method.weight_filter import OFF, WeightFilter

VOCAB = 257  # odd, so that vector tails are exercised
INF = math.inf


def logits(seed: int, rows: int = 3, scale: float = 5.0) -> Tensor:
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * scale


def upscale(large: Tensor, tuned: Tensor, small: Tensor, *, alpha: float) -> Mixture:
    """The up-scaled mixture of three models' raw logits (rows, vocab)."""
    anchor = to_logprobs(large, "large_base")
    delta = term_delta(to_logprobs(tuned, "small_tuned"), to_logprobs(small, "small_base"), anchor)
    return mix(anchor, delta.unsqueeze(1), torch.full((len(large), 1), alpha))


def test_alpha_0_is_the_base_bit_for_bit() -> None:
    # Many rows: normalising a second time changes nothing in most of them anyway.
    mixture = upscale(logits(1, 300), logits(2, 300), logits(3, 300), alpha=0.0)
    assert torch.equal(mixture.logprobs, to_logprobs(logits(1, 300), "large_base"))
    assert torch.equal(mixture.log_z, torch.zeros(300))


def test_a_recipe_without_terms_is_its_anchor_bit_for_bit() -> None:
    anchor = to_logprobs(logits(1), "large_base")
    mixture = mix(anchor, torch.empty(3, 0, VOCAB), torch.empty(3, 0))
    assert torch.equal(mixture.logprobs, anchor)
    anchor_logprob, bars, neg_log_z, logprob = contributions(mixture, torch.tensor([0, 5, 256]))
    assert bars.shape == (3, 0) and torch.equal(anchor_logprob, logprob) and not neg_log_z.any()


def test_only_rows_with_coefficient_0_keep_their_anchor() -> None:
    anchor = to_logprobs(logits(1), "m")
    deltas = term_delta(to_logprobs(logits(2), "m"), anchor, anchor).unsqueeze(1)
    mixture = mix(anchor, deltas, torch.tensor([[0.0], [1.0], [-0.0]]))
    assert torch.equal(mixture.logprobs[0], anchor[0]) and torch.equal(mixture.logprobs[2], anchor[2])
    assert not torch.equal(mixture.logprobs[1], anchor[1])
    assert mixture.log_z[0] == 0 and mixture.log_z[1] != 0


def test_large_equal_to_small_base_at_alpha_1_is_the_tuned_model() -> None:
    mixture = upscale(logits(1), logits(2), logits(1), alpha=1.0)
    torch.testing.assert_close(mixture.logprobs, to_logprobs(logits(2), "t"), atol=1e-5, rtol=0)
    torch.testing.assert_close(mixture.log_z, torch.zeros(3), atol=1e-5, rtol=0)


def test_the_mixture_is_the_formula_in_float64() -> None:
    large, tuned, small = logits(1), logits(2), logits(3)
    expected = torch.log_softmax((large + 1.7 * (tuned - small)).double(), -1)
    torch.testing.assert_close(
        upscale(large, tuned, small, alpha=1.7).logprobs.double(), expected, atol=1e-4, rtol=0
    )


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.floats(0, 5), st.integers(1, 3))
def test_bars_sum_to_the_logprob(seed: int, alpha: float, terms: int) -> None:
    anchor = to_logprobs(logits(seed), "m")
    deltas = torch.stack([to_logprobs(logits(seed + k), "m") - anchor for k in range(1, terms + 1)], dim=1)
    mixture = mix(anchor, deltas, torch.full((3, terms), alpha))
    ids = torch.tensor([0, 100, VOCAB - 1])
    anchor_logprob, bars, neg_log_z, logprob = contributions(mixture, ids)
    assert bars.shape == (3, terms)
    torch.testing.assert_close(anchor_logprob + bars.sum(1) + neg_log_z, logprob, atol=1e-4, rtol=0)
    log_z = torch.logsumexp((anchor + alpha * deltas.sum(1)).double(), -1)
    torch.testing.assert_close(-neg_log_z.double(), log_z, atol=1e-4, rtol=0)
    assert (logprob <= 1e-6).all()


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("constant", [-100.0, 0.5, 64.0])
def test_a_constant_added_to_any_models_logits_changes_nothing(which: int, constant: float) -> None:
    models = [logits(1), logits(2), logits(3)]
    before = upscale(*models, alpha=1.3)
    models[which] = models[which] + constant
    after = upscale(*models, alpha=1.3)
    torch.testing.assert_close(after.logprobs, before.logprobs, atol=1e-4, rtol=0)
    torch.testing.assert_close(after.log_z, before.log_z, atol=1e-4, rtol=0)


@pytest.mark.parametrize("rows", [2, 3, 8])
def test_a_row_among_others_equals_the_row_alone_bit_for_bit(rows: int) -> None:
    large, tuned, small = logits(1, rows), logits(2, rows), logits(3, rows)
    together = upscale(large, tuned, small, alpha=1.3)
    for i in range(rows):
        alone = upscale(large[i : i + 1], tuned[i : i + 1], small[i : i + 1], alpha=1.3)
        assert torch.equal(alone.logprobs[0], together.logprobs[i])
        assert torch.equal(alone.log_z[0], together.log_z[i])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_logprobs_are_float32_and_normalised(dtype: torch.dtype) -> None:
    logprobs = to_logprobs(logits(1).to(dtype), "m")
    assert logprobs.dtype == torch.float32
    torch.testing.assert_close(logprobs.exp().sum(-1), torch.ones(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("bad", [math.nan, INF])
@pytest.mark.parametrize("at", [0, 1, 100, VOCAB - 1])
def test_nan_or_inf_raises_an_error_that_names_model_and_row(bad: float, at: int) -> None:
    values = logits(1)
    values[1, at] = bad
    with pytest.raises(NumericalError, match="small_base") as caught:
        to_logprobs(values, "small_base")
    assert caught.value.rows == (1,) and caught.value.model == "small_base"


def test_a_row_of_only_minus_infinity_is_an_error() -> None:
    values = logits(1)
    values[2] = -INF
    with pytest.raises(NumericalError) as caught:
        to_logprobs(values, "m")
    assert caught.value.rows == (2,)


def test_infinities_follow_the_support_rule() -> None:
    """Four tokens, ruled out by plus, by minus, by both, and by the anchor."""
    anchor = torch.tensor([[0.0, 0.0, 0.0, -INF, 0.0]])
    plus = torch.tensor([[-INF, -1.0, -INF, 5.0, -1.0]])
    minus = torch.tensor([[-2.0, -INF, -INF, 1.0, -3.0]])
    delta = term_delta(plus, minus, anchor)
    assert delta.tolist() == [[-SUPPORT_DELTA_NATS, SUPPORT_DELTA_NATS, 0.0, 0.0, 2.0]]
    mixture = mix(anchor, delta.unsqueeze(1), torch.ones(1, 1))
    assert mixture.logprobs[0, 3] == -INF and mixture.logprobs[0, :3].isfinite().all()


@settings(max_examples=200)
@given(
    st.integers(0, 10**6),
    st.floats(0, 5),
    st.sampled_from([1e-3, 1.0, 30.0, 1e3, 1e4]),
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, VOCAB - 1), st.sampled_from([-INF, INF, math.nan, 1e4, -1e4])
        )
    ),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_every_input_gives_a_distribution_or_a_named_error(
    seed: int, alpha: float, scale: float, edits: list[tuple[int, int, float]], dtype: torch.dtype
) -> None:
    models = [logits(seed + k, rows=1).clamp(-1, 1) * scale for k in range(3)]
    for model, token, value in edits:
        models[model][0, token] = value
    try:
        mixture = upscale(*(m.to(dtype) for m in models), alpha=alpha)
    except NumericalError as error:
        assert error.model in ("large_base", "small_tuned", "small_base", "mixture")
        return
    assert not mixture.logprobs.isnan().any() and (mixture.logprobs <= 1e-6).all()
    torch.testing.assert_close(
        mixture.logprobs.double().exp().sum(), torch.tensor(1.0).double(), atol=1e-5, rtol=0
    )
    assert mixture.deltas.isfinite().all() and mixture.log_z.isfinite().all()


def test_a_mixture_beyond_float32_is_an_error_and_not_a_nan() -> None:
    anchor = to_logprobs(logits(1), "m")
    with pytest.raises(NumericalError, match="mixture"):
        mix(anchor, torch.full((3, 1, VOCAB), 3e38), torch.full((3, 1), 5.0))


def mixed_with(seed: int, filters: list[WeightFilter], alpha: float, scale: float = 5.0) -> Mixture:
    anchor = to_logprobs(logits(seed, len(filters), scale), "m")
    plus, minus = (to_logprobs(logits(seed + k, len(filters)), "m") for k in (1, 2))
    deltas = term_delta(plus, minus, anchor).unsqueeze(1)
    return mix(anchor, deltas, torch.full((len(filters), 1), alpha), filters)


def inside(anchor: Tensor, weight_filter: WeightFilter) -> list[bool]:
    """The rule in plain Python, token by token: one row of log-probs, all of them different."""
    probs = anchor.double().exp().tolist()
    if weight_filter.kind == "mask":
        return [p >= weight_filter.value * max(probs) for p in probs]
    kept, mass = [False] * len(probs), 0.0
    for token in sorted(range(len(probs)), key=lambda token: -probs[token]):
        kept[token] = mass <= weight_filter.value
        mass += probs[token]
    return kept


filters = st.one_of(
    st.just(OFF), st.builds(WeightFilter, st.sampled_from(["top_p", "mask"]), st.floats(0.001, 1))
)


@settings(max_examples=100)
@given(
    st.integers(0, 10**6), st.lists(filters, min_size=1, max_size=5), st.floats(0.01, 5), st.floats(0.01, 9)
)
def test_each_rows_weight_filter_applies_and_the_attribution_stays_exact(
    seed: int, chosen: list[WeightFilter], alpha: float, scale: float
) -> None:
    found = mixed_with(seed, chosen, alpha, scale)
    unfiltered = mixed_with(seed, [OFF] * len(chosen), alpha, scale)
    every_tenth = torch.arange(0, VOCAB, 10)
    parts = [contributions(found, ids.expand(len(chosen))) for ids in every_tenth]
    anchor, bars, neg_log_z, logprob = (torch.stack(part, 1) for part in zip(*parts, strict=True))
    torch.testing.assert_close(found.logprobs.exp().sum(1), torch.ones(len(chosen)), atol=1e-4, rtol=0)
    for i, weight_filter in enumerate(chosen):
        if not weight_filter.is_active:
            assert torch.equal(found.logprobs[i], unfiltered.logprobs[i])
        rule = inside(found.anchor[i], weight_filter) if weight_filter.is_active else [True] * VOCAB
        kept = torch.tensor(rule)[every_tenth]
        floor = filter_floor(found.anchor[[i]], [weight_filter])[0]
        doubtful = (anchor[i] - floor).abs() < 1e-5  # float32 rounding
        assert not ((bars[i, :, 0] != 0) & ~kept & ~doubtful).any()
        raw = alpha * unfiltered.deltas[i, 0, every_tenth]
        torch.testing.assert_close(bars[i, kept & ~doubtful, 0], raw[kept & ~doubtful])
        ruled_out = logprob[i] == -INF
        if weight_filter.kind == "mask":
            assert torch.equal(ruled_out[~doubtful], ~kept[~doubtful])
        else:
            assert not ruled_out.any()
        total = anchor[i] + bars[i].sum(1) + neg_log_z[i]
        torch.testing.assert_close(total[~ruled_out], logprob[i, ~ruled_out], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["top_p", "mask"])
def test_a_filter_changes_nothing_at_alpha_0(kind: str) -> None:
    mixture = mixed_with(1, [WeightFilter(kind, 0.3)] * 300, alpha=0.0)
    assert torch.equal(mixture.logprobs, to_logprobs(logits(1, 300), "m")) and not mixture.log_z.any()


def test_outside_the_top_p_set_only_the_normaliser_moves_a_token() -> None:
    mixture = mixed_with(3, [WeightFilter("top_p", 0.5)], alpha=2.0)
    outside = mixture.deltas[0, 0] == 0
    assert 0 < (~outside).sum() < 40
    moved = (mixture.logprobs - mixture.anchor)[0, outside]
    torch.testing.assert_close(moved, -mixture.log_z.expand(len(moved)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mass", [0.1, 0.5, 0.9, 0.999, 1 - 1e-9])
def test_a_top_p_set_larger_than_the_first_candidates_is_found(mass: float) -> None:
    anchor = to_logprobs(torch.randn(2, 5000, generator=torch.Generator().manual_seed(1)) * 0.1, "m")
    floor = filter_floor(anchor, [WeightFilter("top_p", mass), OFF])
    expected = inside(anchor[0], WeightFilter("top_p", mass))
    assert (anchor[0] >= floor[0]).tolist() == expected or mass > 0.9999
    assert floor[1] == -INF


def test_tied_tokens_are_kept_together() -> None:
    anchor = to_logprobs(torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]]), "m")
    floor = filter_floor(anchor, [WeightFilter("top_p", 0.6)])
    assert (anchor >= floor).tolist() == [[True, True, True, True, False]]


def test_tokens_ruled_out_by_the_anchor_stay_out_under_every_filter() -> None:
    raw = logits(1, 3)
    raw[:, ::2] = -INF
    anchor = to_logprobs(raw, "m")
    deltas = term_delta(to_logprobs(logits(2), "m"), to_logprobs(logits(3), "m"), anchor).unsqueeze(1)
    mixture = mix(
        anchor,
        deltas,
        torch.full((3, 1), 5.0),
        [OFF, WeightFilter("top_p", 1 - 1e-9), WeightFilter("mask", 1e-9)],
    )
    assert (mixture.logprobs[:, ::2] == -INF).all() and not mixture.logprobs.isnan().any()


def test_entropy_ignores_tokens_that_are_ruled_out() -> None:
    logprobs = to_logprobs(torch.tensor([[0.0, 0.0, -INF, -INF], [0.0, -INF, -INF, -INF]]), "m")
    torch.testing.assert_close(entropy_nats(logprobs), torch.tensor([math.log(2), 0.0]))
