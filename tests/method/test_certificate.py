"""The certificate, against the same row with nothing hidden: what it calls certain is the true token."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.method.certificate import CutRow, check_draw, log_z_error_nats
from eft_demo.method.sampling import Sampling, sample

VOCAB = 200
samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.3, 0.7, 1.0, 1.6]),
    top_p=st.sampled_from([1.0, 0.95, 0.7]),
    top_k=st.sampled_from([0, 0, 3, 12]),
    min_p=st.sampled_from([0.0, 0.0, 0.05]),
    seed=st.integers(0, 2**31),
)


def server_row(seed: int, peak: float) -> torch.Tensor:
    """Log-probs of a server's model, (VOCAB,): a greater `peak` gives a lower entropy."""
    return (peak * torch.randn(VOCAB, generator=torch.Generator().manual_seed(seed))).log_softmax(0)


def cut(server: torch.Tensor, delta: torch.Tensor, weight: float, sent: set[int], kth: float) -> CutRow:
    """The row mixed of `weight` times the server's and a difference that is known, with only `sent` known."""
    known = torch.zeros(VOCAB, dtype=torch.bool)
    known[list(sent)] = True
    rest = max(0.0, 1 - float(server[known].exp().sum())) + 1e-6
    capped = min(kth, math.log(rest))
    ceiling = weight * server.masked_fill(~known, capped) + delta
    even = server.masked_fill(~known, math.log(rest / max(1, int((~known).sum()))))
    return CutRow(weight * even + delta, ceiling, known, rest / math.exp(capped), weight)


@given(
    seed=st.integers(0, 2**31),
    peak=st.sampled_from([0.5, 2.0, 4.0]),
    strength=st.sampled_from([0.0, 1.0, 3.0]),
    weight=st.sampled_from([0.5, 1.0, 2.0]),
    first=st.sampled_from([1, 5, 20, 100]),
    sampling=samplings,
)
def test_what_is_certain_is_the_true_token_and_doubts_can_be_settled(
    seed: int, peak: float, strength: float, weight: float, first: int, sampling: Sampling
) -> None:
    server, delta = server_row(seed, peak), strength * server_row(seed + 1, 1.0)
    true = int(sample((weight * server + delta).log_softmax(0)[None], [sampling], [7]))
    top = server.topk(first)
    sent, kth = set(top.indices.tolist()), float(top.values[-1])
    for _ in range(VOCAB):
        row = cut(server, delta, weight, sent, kth)
        drawn = int(sample(row.mixed.log_softmax(0)[None], [sampling], [7]))
        verdict = check_draw(row, sampling, 7, drawn)
        if verdict.is_certain:
            assert drawn == true
            break
        asked = verdict.doubtful[:8]
        assert asked and not sent & set(asked)
        sent |= set(asked)
    else:
        pytest.fail("never certain")


@given(seed=st.integers(0, 2**31), weight=st.sampled_from([0.5, 1.0, 1.5]), first=st.sampled_from([5, 50]))
def test_log_z_is_within_its_error(seed: int, weight: float, first: int) -> None:
    server, delta = server_row(seed, 2.0), server_row(seed + 1, 1.0)
    top = server.topk(first)
    row = cut(server, delta, weight, set(top.indices.tolist()), float(top.values[-1]))
    mixed = weight * server + delta
    error = float(mixed.double().logsumexp(0) - mixed[row.known].double().logsumexp(0))
    assert 0 <= error <= log_z_error_nats(row) + 1e-6


def test_a_sure_row_is_certain_at_once_and_a_flat_one_names_few_rivals() -> None:
    sure, flat = torch.full((VOCAB,), -20.0), torch.zeros(VOCAB)
    sure[3] = 0.0
    sampling = Sampling(temperature=1.0, seed=5)
    for server, certain in ((sure.log_softmax(0), True), (flat.log_softmax(0), False)):
        top = server.topk(20)
        row = cut(server, torch.zeros(VOCAB), 1.0, set(top.indices.tolist()), float(top.values[-1]))
        drawn = int(sample(row.mixed[None], [sampling], [0]))
        verdict = check_draw(row, sampling, 0, drawn)
        assert verdict.is_certain is certain
        assert certain or 0 < len(verdict.doubtful) < VOCAB - 20


def test_greedy_needs_only_what_may_be_likelier() -> None:
    server = server_row(1, 3.0)
    top = server.topk(10)
    delta = torch.zeros(VOCAB)
    row = cut(server, delta, 1.0, set(top.indices.tolist()), float(top.values[-1]))
    assert check_draw(row, Sampling(temperature=0), 0, int(server.argmax())).is_certain
    far = int(server.argmin())
    delta[far] = 50.0
    row = cut(server, delta, 1.0, set(top.indices.tolist()), float(top.values[-1]))
    verdict = check_draw(row, Sampling(temperature=0), 0, int(row.mixed.argmax()))
    assert not verdict.is_certain and verdict.doubtful == (far,)
