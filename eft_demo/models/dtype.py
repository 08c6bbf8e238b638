"""Which number format the weights get: the one that a short measurement on this processor favours.

In float32 every further row costs another pass over the weights; in bfloat16, on processors that have it, a
few rows cost what one costs, and that is what makes several panels as cheap as one.
"""

import time
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F

from eft_demo.settings import Settings

ROWS = 2  # the large base's rows when one person looks at three panels
OUT, IN = 1536, 384  # a matrix of the bundled large base
CALLS, ROUNDS = 20, 5


class DtypeChoice(NamedTuple):
    """The format and, for the status line, why it was chosen."""

    dtype: torch.dtype
    reason: str


def choose_dtype(settings: Settings) -> DtypeChoice:
    """What EFT_DTYPE says, or under `auto` what is faster here (about 20 ms, measured once)."""
    if settings.dtype == "bf16":
        return DtypeChoice(torch.bfloat16, "bf16, as EFT_DTYPE says")
    if settings.dtype == "fp32":
        return DtypeChoice(torch.float32, "fp32, as EFT_DTYPE says")
    fp32_us, bf16_us = _linear_us(torch.float32), _linear_us(torch.bfloat16)
    times = f"{ROWS} rows take {bf16_us:.0f} µs in bf16 and {fp32_us:.0f} µs in fp32"
    if bf16_us < fp32_us:
        return DtypeChoice(torch.bfloat16, f"bf16, because here {times}")
    return DtypeChoice(torch.float32, f"fp32, because here {times}")


@cache
@torch.inference_mode()
def _linear_us(dtype: torch.dtype) -> float:
    """The best of several timings of one matrix product, in microseconds."""
    weight, rows = torch.ones(OUT, IN, dtype=dtype), torch.ones(ROWS, IN, dtype=dtype)
    best_s = float("inf")
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        for _ in range(CALLS):
            F.linear(rows, weight)
        best_s = min(best_s, time.perf_counter() - start_s)
    return best_s / CALLS * 1e6
