"""Sampling: shared noise, the right distribution, and the same warpers as transformers."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from eft_demo.errors import InputError
from eft_demo.method import sampling as sampling_module
from eft_demo.method.sampling import FIRST_CANDIDATES, Sampling, _noise, _splitmix, gumbel, sample, warp

VOCAB = 1000

samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 1e-5, 0.1, 0.7, 1.0, 2.0]),
    top_p=st.sampled_from([1e-9, 0.3, 0.95, 0.999, 1.0]),
    top_k=st.sampled_from([0, 0, 1, 7, 63, 64, 200]),
    min_p=st.sampled_from([0.0, 0.0, 0.05, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)


def logprobs_of(seed: int, rows: int, scale: float = 3.0, vocab: int = VOCAB) -> Tensor:
    values = torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * scale
    return values.log_softmax(-1)


def warped(logprobs: Tensor, *chosen: Sampling) -> Tensor:
    def column(name: str) -> Tensor:
        return torch.tensor([getattr(s, name) for s in chosen])

    return warp(logprobs, column("temperature"), column("top_k"), column("top_p"), column("min_p"))


def chi_square_bound(cells: int) -> float:
    """The chi-square value that is exceeded once in about 30,000 times (4 standard deviations)."""
    return (cells - 1) + 4 * math.sqrt(2 * (cells - 1))


# --- the noise ----------------------------------------------------------------------------------------------


def test_the_hash_is_splitmix64() -> None:
    """The first outputs of the published generator with seed 1234567."""
    golden, state, outputs = 0x9E3779B97F4A7C15, 1234567, []
    for _ in range(5):
        outputs.append(_splitmix(state))
        state = (state + golden) & (2**64 - 1)
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_noise_is_the_gumbel_of_the_hash() -> None:
    """The noise is pinned: a saved seed gives the same text in every later version."""
    noise = gumbel([3], [5], 1000)[0]
    key = _splitmix(_splitmix(3) + 5 * 0x9E3779B97F4A7C15)
    for token in (0, 1, 2, 999):
        u = _splitmix(key + token * 0x9E3779B97F4A7C15) / 2**64
        assert noise[token].item() == pytest.approx(-math.log(-math.log1p(-u)), abs=1e-5)


def test_noise_is_finite_at_the_ends_of_the_hash() -> None:
    lowest, highest = gumbel([0], [0], 10**6).aminmax()
    assert -2.9 < lowest < -2.3 and 11 < highest < 44.4
    hashes = _noise([0], np.array([0, 1, 2**63, 2**64 - 1], np.uint64))  # the hash of 0 is 0
    assert np.isfinite(hashes).all() and hashes[0, 0] > 44


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 10**6),
    st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40),
)
def test_noise_is_the_same_for_any_subset_of_ids(seed: int, position: int, ids: list[int]) -> None:
    everything = gumbel([seed], [position], VOCAB)
    assert torch.equal(gumbel([seed], [position], torch.tensor([ids])), everything[:, ids])
    assert torch.equal(gumbel([seed], [position], torch.tensor(ids)), everything[:, ids])


def test_noise_depends_on_seed_and_position_and_not_on_the_batch() -> None:
    seeds, positions = [5, 5, 6, 5], [1, 2, 1, 1]
    noise = gumbel(torch.tensor(seeds), torch.tensor(positions), VOCAB)
    assert noise.shape == (4, VOCAB) and noise.dtype == torch.float32
    assert torch.equal(noise[0], noise[3])
    for i, (seed, position) in enumerate(zip(seeds, positions, strict=True)):
        assert torch.equal(gumbel([seed], [position], VOCAB)[0], noise[i])
    correlation = torch.corrcoef(noise[:3]) - torch.eye(3)
    assert correlation.abs().max() < 0.15


def test_noise_has_the_gumbel_distribution() -> None:
    noise = torch.cat([gumbel([seed], [position], 4096) for seed in range(5) for position in range(10)])
    uniform = torch.exp(
        -torch.exp(-noise.double())
    ).flatten()  # the distribution function, so uniform on (0, 1)
    for counts in (torch.histc(uniform, 64, 0, 1), torch.histc(uniform, 64, 0.99, 1)):
        expected = counts.sum() / 64
        assert ((counts - expected) ** 2 / expected).sum() < chi_square_bound(64)
    assert abs((uniform > 0.99).double().mean() - 0.01) < 0.001


@pytest.mark.parametrize("vary", ["seed", "position"])
@pytest.mark.parametrize(
    "sampling", [Sampling(1.0, 1.0), Sampling(0.7, 0.9), Sampling(1.5, 1.0, top_k=4)], ids=str
)
def test_tokens_are_drawn_with_their_probabilities(sampling: Sampling, vary: str) -> None:
    """Chi-square over 20,000 draws with neighbouring keys, the worst case for a hash."""
    draws = 20_000
    logprobs = torch.tensor([[0.3, 0.25, 0.2, 0.1, 0.08, 0.04, 0.03]]).log()
    expected = warped(logprobs, sampling).softmax(-1)[0] * draws
    seeds = range(draws) if vary == "seed" else [7] * draws
    positions = range(draws) if vary == "position" else [7] * draws
    chosen = [Sampling(sampling.temperature, sampling.top_p, sampling.top_k, seed=seed) for seed in seeds]
    ids = sample(logprobs.expand(draws, -1), chosen, positions)
    counts = torch.bincount(ids, minlength=7)
    possible = expected > 0
    assert not counts[~possible].any()
    statistic = ((counts - expected) ** 2 / expected)[possible].sum()
    assert statistic < chi_square_bound(int(possible.sum()))


# --- warpers ------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 1.0, 3.0, 10.0]), samplings)
def test_warpers_keep_the_same_tokens_as_transformers(seed: int, scale: float, sampling: Sampling) -> None:
    if sampling.is_greedy:
        return
    logprobs = logprobs_of(seed, 1, scale)
    expected = TemperatureLogitsWarper(sampling.temperature)(None, logprobs)
    if sampling.top_k:
        expected = TopKLogitsWarper(sampling.top_k)(None, expected)
    if sampling.top_p < 1:
        expected = TopPLogitsWarper(sampling.top_p)(None, expected)
    if sampling.min_p:
        expected = MinPLogitsWarper(sampling.min_p)(None, expected)
    probs, reference = warped(logprobs, sampling).softmax(-1), expected.softmax(-1)
    # A token exactly on the edge of top-p may fall either way with the order of a float sum.
    differing = ((probs > 0) != (reference > 0)).sum()
    assert differing <= (1 if sampling.top_p < 1 else 0)
    if not differing:
        torch.testing.assert_close(probs, reference, atol=1e-6, rtol=1e-4)


@given(
    st.integers(0, 10**6),
    st.lists(samplings, min_size=1, max_size=6),
    st.sampled_from([0.0, 0.01, 3.0, 30.0]),
)
def test_at_least_one_token_is_always_kept(seed: int, chosen: list[Sampling], scale: float) -> None:
    logprobs = logprobs_of(seed, len(chosen), scale)
    kept = warped(logprobs, *chosen)
    assert not kept.isnan().any()
    assert kept.gather(1, logprobs.argmax(-1, keepdim=True)).isfinite().all()


def test_a_kept_set_larger_than_the_first_candidates_is_complete() -> None:
    flat = torch.zeros(1, VOCAB).log_softmax(-1)
    assert warped(flat, Sampling(1.0, 0.5)).isfinite().all()  # all tie, so all are kept
    slope = (-torch.arange(VOCAB) * 1e-4).log_softmax(-1).unsqueeze(0)
    kept = int(warped(slope, Sampling(1.0, 0.9)).isfinite().sum())
    assert kept == int((slope.exp().double().cumsum(-1) < 0.9).sum()) + 1 > FIRST_CANDIDATES
    assert int(warped(slope, Sampling(1.0, 1.0, top_k=199)).isfinite().sum()) == 199


def test_top_k_keeps_all_that_tie_with_the_kth() -> None:
    logprobs = torch.full((1, VOCAB), -10.0)
    logprobs[0, :100] = -1.0
    assert warped(logprobs.log_softmax(-1), Sampling(1.0, 1.0, top_k=5)).isfinite().sum() == 100


# --- drawing ------------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(samplings, st.integers(0, 1000)), min_size=1, max_size=8),
    st.sampled_from([0.01, 1.0, 3.0, 30.0]),
    st.booleans(),
)
def test_sample_is_argmax_of_warped_plus_noise_for_any_mix_of_rows(
    seed: int, rows: list[tuple[Sampling, int]], scale: float, rule_out: bool
) -> None:
    logprobs = logprobs_of(seed, len(rows), scale)
    if rule_out:
        logprobs = logprobs.masked_fill(torch.arange(VOCAB) % 3 > 0, -math.inf).log_softmax(-1)
    chosen, positions = [s for s, _ in rows], [p for _, p in rows]
    ids = sample(logprobs, chosen, positions)
    assert ids.dtype == torch.int64 and logprobs.gather(1, ids.unsqueeze(1)).isfinite().all()
    noise = gumbel([s.seed for s in chosen], positions, VOCAB)
    assert torch.equal(ids, (warped(logprobs, *chosen) + noise).argmax(-1))
    for i, (sampling, position) in enumerate(rows):  # alone as among others
        assert sample(logprobs[i : i + 1], [sampling], [position]).item() == ids[i].item()


def plainly_drawn(scaled: Tensor, sampling: Sampling, position: int) -> tuple[int, float]:
    """The rule for one row (vocab,) in plain Python: sort all, sum up, add noise to all; id and its lead."""
    values, order = scaled.sort(descending=True, stable=True)
    kept = sampling_module._kept(values.tolist(), sampling.top_k, sampling.top_p, sampling.min_p)
    ids = order[:kept]
    scores = scaled[ids] + gumbel([sampling.seed], [position], len(scaled))[0, ids]
    best = scores.topk(min(2, kept)).values
    return int(ids[scores.argmax()]), float(best[0] - best[-1]) if kept > 1 else math.inf


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("vocab", [17, 600, 20_000])
@pytest.mark.parametrize("scale", [0.0, 0.02, 1.0, 4.0])
def test_wide_rows_draw_what_the_plain_rule_draws(vocab: int, scale: float, ties: bool) -> None:
    """Whatever is skipped: tokens that cannot win, sorting, and the noise of most tokens."""
    chosen = [
        Sampling(temperature, top_p, top_k, min_p, seed)
        for seed, (temperature, top_p, top_k, min_p) in enumerate(
            [
                (1.0, 1.0, 0, 0.0),
                (0.7, 1.0, 0, 0.0),
                (1.0, 0.95, 0, 0.0),
                (1.0, 0.5, 0, 0.0),
                (1.5, 0.05, 0, 0.0),
                (1.0, 0.9, 5, 0.0),
                (1.0, 1.0, 200, 0.0),
                (1.0, 1.0, 0, 0.3),
                (1.0, 0.8, 0, 0.97),
                (1.0, 1 - 1e-9, 0, 0.0),
            ]
        )
    ]
    outside = 0
    for round_ in range(6):
        values = torch.randn(len(chosen), vocab, generator=torch.Generator().manual_seed(round_)) * scale
        if ties:
            values = (values * 4).round() / 4
        if round_ % 2:
            values[:, ::3] = -math.inf
        logprobs = values.log_softmax(-1)
        scaled = (logprobs / torch.tensor([[s.temperature] for s in chosen])).log_softmax(-1)
        drawn = sample(logprobs, chosen, [round_] * len(chosen)).tolist()
        for row, sampling, token in zip(scaled, chosen, drawn, strict=True):
            expected, lead = plainly_drawn(row, sampling, round_)
            assert token == expected or lead == 0, sampling
            outside += int((row > row[token]).sum()) >= FIRST_CANDIDATES
    if scale in (0.02, 1.0) and vocab > 100 and not ties:
        assert outside > 5, "the long way was not taken"


def test_noise_is_computed_only_for_tokens_that_can_win(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    plain = sampling_module._gumbel_of

    def counted(bits: np.ndarray) -> np.ndarray:
        counts.append(bits.size)
        return plain(bits)

    monkeypatch.setattr(sampling_module, "_gumbel_of", counted)
    vocab = 50_000
    flat = logprobs_of(1, 3, 0.01, vocab)
    sample(flat, [Sampling(1.0, 0.95), Sampling(1.0, 1.0), Sampling(0.7, 0.9, seed=4)], [0, 0, 0])
    assert 0 < sum(counts) < vocab // 2
    counts.clear()
    sample(logprobs_of(2, 1, 4.0, vocab), [Sampling(1.0, 1.0)], [0])
    assert 0 < sum(counts) < vocab // 20


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-9, 5e-324])
def test_temperature_0_picks_the_likeliest_token_with_the_lowest_id(temperature: float) -> None:
    logprobs = torch.full((2, VOCAB), -5.0)
    logprobs[0, [400, 17, 900]] = -1.0
    logprobs[1, 3] = -1.0
    assert sample(logprobs, [Sampling(temperature)] * 2, [0, 0]).tolist() == [17, 3]


def test_columns_that_agree_draw_the_same_token() -> None:
    """Shared noise: at one position, rows of one run pick the same token if the models agree."""
    row = logprobs_of(3, 1)
    ids = sample(row.expand(5, -1), [Sampling(1.0, 1.0, seed=9)] * 5, [4] * 5)
    assert len(set(ids.tolist())) == 1


def test_a_vocabulary_smaller_than_the_first_candidates_works() -> None:
    logprobs = logprobs_of(1, 2, vocab=3)
    assert sample(logprobs, [Sampling(top_k=200), Sampling(top_p=0.5)], [0, 1]).max() < 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", math.nan),
        ("top_p", 0),
        ("top_p", 1.01),
        ("top_p", "0.9"),
        ("top_k", 201),
        ("top_k", 1.5),
        ("top_k", None),
        ("min_p", -1),
        ("seed", 2**32),
        ("seed", True),
        ("seed", 10**400),
    ],
    ids=lambda value: str(value)[:9],
)
def test_values_out_of_limits_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"(?i){name.replace('_', '.')}"):
        Sampling(**{name: value})  # type: ignore[arg-type]


def test_whole_floats_from_a_page_become_whole_numbers() -> None:
    sampling = Sampling(1, 1, 40.0, 0, 7.0)  # type: ignore[arg-type]
    assert sampling == Sampling(1.0, 1.0, 40, 0.0, 7)
    assert type(sampling.top_k) is int and type(sampling.seed) is int and type(sampling.temperature) is float


class Apart(Tensor):
    """Log-probs that are not in this machine's memory, as on a GPU, where no numpy can read them."""

    is_cpu = False

    def numpy(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("they are on a GPU")


@given(st.integers(0, 2**16), st.lists(samplings, min_size=1, max_size=4), st.sampled_from([0.3, 1.0, 3.0]))
@settings(max_examples=60, deadline=None)
def test_a_gpu_draws_the_same_tokens(seed: int, chosen: list[Sampling], scale: float) -> None:
    logprobs = logprobs_of(seed, len(chosen), scale, vocab=20_000)
    positions = [seed % 7 + i // 2 for i in range(len(chosen))]
    expected = sample(logprobs, chosen, positions)
    assert sample(logprobs.as_subclass(Apart), chosen, positions).equal(expected)


@pytest.mark.parametrize(("scale", "looks"), [(0.3, [16, 256, 4096]), (3.0, [16, 256])])
def test_a_gpu_looks_at_as_many_tokens_as_are_kept(
    scale: float, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    listed = sampling_module._draw_listed

    def counting(scaled: Tensor, limits: Any, keys: Any, count: int) -> Any:
        looked.append(count)
        return listed(scaled, limits, keys, count)

    monkeypatch.setattr(sampling_module, "_draw_listed", counting)
    logprobs = logprobs_of(1, 2, scale, vocab=20_000).as_subclass(Apart)
    sample(logprobs, [Sampling(top_p=0.9)] * 2, [0, 1])
    assert looked == looks
    looked.clear()
    sample(logprobs, [Sampling(top_k=40)] * 2, [0, 1])
    assert looked == [16]
