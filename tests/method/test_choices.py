"""The counterfactual equals sampling each row at each weight alone, with the same noise."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.method.counterfactual import choices_at
from eft_demo.method.mixing import mix, term_delta
from eft_demo.method.sampling import Sampling, gumbel, sample, warp
from eft_demo.method.weight_filter import WeightFilter
from tests.drawing import FILTERS, samplings

VOCAB = 50


@given(
    st.integers(0, 10_000),
    st.lists(st.tuples(samplings(0, 1, 5), FILTERS, st.integers(0, 500)), min_size=1, max_size=5),
    st.lists(st.tuples(st.floats(-3, 5), st.floats(0, 3)), min_size=1, max_size=4),
)
def test_each_row_and_value_draws_as_it_would_alone(
    seed: int,
    rows: list[tuple[Sampling, WeightFilter, int]],
    values: list[tuple[float, float]],
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(rows), 4, VOCAB, generator=generator) * 3
    logits[:, 1, 0] = -math.inf  # a token that one model rules out
    anchor, tuned, base, third = logits.log_softmax(-1).unbind(1)
    deltas = torch.stack([term_delta(tuned, base, anchor), term_delta(third, base, anchor)], 1)
    own, guards, positions = zip(*rows, strict=True)
    coefficients = torch.tensor([values] * len(rows))
    found = choices_at(anchor, deltas, coefficients, guards, own, positions)
    assert found.shape == (len(rows), len(values))
    for i, (sampling, guard, position) in enumerate(rows):
        for k in range(len(values)):
            alone = mix(anchor[i : i + 1], deltas[i : i + 1], coefficients[i : i + 1, k], [guard]).logprobs
            assert found[i, k] == sample(alone, [sampling], [position]).item()
            temperature, top_k = torch.tensor([sampling.temperature]), torch.tensor([sampling.top_k])
            top_p, min_p = torch.tensor([sampling.top_p]), torch.tensor([sampling.min_p])
            warped = warp(alone, temperature, top_k, top_p, min_p)
            scores = warped + gumbel([sampling.seed], [position], VOCAB)
            best = scores[0, found[i, k]]
            assert best >= scores.max() - 1e-5  # the plain formula, up to rounding


def test_without_weight_the_choice_is_the_anchors() -> None:
    anchor = torch.randn(6, VOCAB, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    deltas = torch.randn(6, 1, VOCAB, generator=torch.Generator().manual_seed(2))
    own = [Sampling(temperature=1.0, top_p=0.9, seed=seed) for seed in range(6)]
    guards = [WeightFilter("mask", 0.5)] * 6  # acts only where a weight does
    found = choices_at(anchor, deltas, torch.zeros(6, 1, 1), guards, own, range(6))
    assert found[:, 0].tolist() == sample(anchor, own, range(6)).tolist()
