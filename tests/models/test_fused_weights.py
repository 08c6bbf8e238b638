"""The order of the fused weights in memory."""

import pytest
import torch

from eft_demo.models.fused_weights import _stored


@pytest.mark.parametrize(
    ("dtype", "out", "of", "order"),
    [
        (torch.float32, 4096, 384, "in, out"),
        (torch.float32, 384, 384, "in, out"),
        (torch.float32, 384, 768, "out, in"),
        (torch.bfloat16, 4096, 384, "out, in"),  # many times faster without bf16 instructions
    ],
)
def test_the_order_in_memory_follows_from_shape_and_dtype(
    dtype: torch.dtype, out: int, of: int, order: str
) -> None:
    weight = torch.randn(out, of, generator=torch.Generator().manual_seed(0)).to(dtype)
    stored = _stored(weight)
    assert torch.equal(stored, weight.t())
    assert stored.is_contiguous() == (order == "in, out") and stored.t().is_contiguous() == (
        order == "out, in"
    )
