"""Fast top-k and rank give the same results as torch.topk and a full comparison."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.method.topk import BLOCK, FEW, likeliest, rank


@given(
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.integers(1, 5000),
    st.integers(1, 12),
    st.sampled_from([3.0, 0.3]),
    st.sampled_from([0.0, 0.5, 0.999]),
)
def test_the_likeliest_are_those_of_topk(
    seed: int, rows: int, width: int, count: int, scale: float, ruled_out: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randn(rows, width, generator=generator) * scale).round(decimals=1)  # many are equal
    values[torch.rand(rows, width, generator=generator) < ruled_out] = -math.inf
    count = min(count, width)
    found, places = likeliest(values, count)
    assert torch.equal(found, values.topk(count).values)
    assert torch.equal(values.gather(1, places), found)
    assert all(len(set(row)) == count for row in places.tolist())


@pytest.mark.parametrize("width", [FEW * BLOCK, FEW * BLOCK + 1, (FEW + 1) * BLOCK - 1])
def test_the_highest_value_may_be_at_the_end_of_a_row(width: int) -> None:
    values = torch.zeros(2, width)
    values[0, 0] = values[1, -1] = 1.0
    assert likeliest(values, 1)[1].tolist() == [[0], [width - 1]]


def test_rank_starts_at_1_and_ties_share_the_better_rank() -> None:
    values = torch.tensor([[-1.0, -2.0, -2.0, -math.inf]]).expand(4, 4)
    assert rank(values, torch.arange(4)).tolist() == [1, 2, 2, 4]
