"""Which number format the weights get: the one that a short measurement on this processor favours.

In float32 every further row costs another pass over the weights; in bfloat16, on processors that have it, a
few rows cost what one costs, and that is what makes several panels as cheap as one.
"""

import time
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F

from eft_demo.settings import DEFAULT_THREADS, Settings

ROWS = 2  # the large base's rows when one person looks at three panels
OUT, IN = 1536, 384  # a matrix of the bundled large base
ROUNDS = 5
# A forward finds none of its weights in the processor's nearer caches, so neither may the measurement.
WEIGHTS_BYTES = 40_000_000


class DtypeChoice(NamedTuple):
    """The format and, for the status line, why it was chosen."""

    dtype: torch.dtype
    reason: str


def choose_dtype(settings: Settings, shape: tuple[int, int] = (OUT, IN)) -> DtypeChoice:
    """What EFT_DTYPE says, or under `auto` what is faster here with matrices of `shape` (50 ms, once).

    Measured with as many threads as an engine with these settings uses.
    """
    if settings.dtype == "bf16":
        return DtypeChoice(torch.bfloat16, "bf16, as EFT_DTYPE says")
    if settings.dtype == "fp32":
        return DtypeChoice(torch.float32, "fp32, as EFT_DTYPE says")
    threads = settings.threads or DEFAULT_THREADS
    fp32_us, bf16_us = (_linear_us(dtype, shape, threads) for dtype in (torch.float32, torch.bfloat16))
    times = f"{ROWS} rows take {bf16_us:.0f} µs in bf16 and {fp32_us:.0f} µs in fp32"
    if bf16_us < fp32_us:
        return DtypeChoice(torch.bfloat16, f"bf16, because here {times}")
    return DtypeChoice(torch.float32, f"fp32, because here {times}")


@cache
def _linear_us(dtype: torch.dtype, shape: tuple[int, int], threads: int) -> float:
    """The best of several timings of a matrix product, in microseconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _timed_us(dtype, shape)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _timed_us(dtype: torch.dtype, shape: tuple[int, int]) -> float:
    calls = max(2, WEIGHTS_BYTES // (shape[0] * shape[1] * dtype.itemsize))
    weights = torch.ones(calls, *shape, dtype=dtype).unbind()
    rows = torch.ones(ROWS, shape[1], dtype=dtype)
    best_s = float("inf")
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        for weight in weights:
            F.linear(rows, weight)
        best_s = min(best_s, time.perf_counter() - start_s)
    return best_s / calls * 1e6
