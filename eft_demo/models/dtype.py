"""Chooses the weights' dtype: bf16 if the processor has instructions for it, else float32.

The dtype changes the generated texts, so it depends only on the processor and is the same at every start,
however busy the machine is. With bf16 instructions a few rows cost about as much as one, which makes several
columns as cheap as one; without them, prompts and large batches take several times as long as in float32.
"""

import time
from typing import NamedTuple

import torch
import torch.nn.functional as F

from eft_demo.settings import Settings

# Keys are torch's names: x86 multiplies bf16 in vectors or tiles, ARM in either of two kinds of vectors.
BF16_INSTRUCTIONS = {
    "avx512_bf16": "AVX512_BF16",
    "amx_bf16": "AMX_BF16",
    "bf16": "ARM BF16",
    "sve_bf16": "ARM SVE BF16",
}
ROWS = (1, 8, 64, 256)  # a single text, several users, and blocks of a long prompt
OUT, IN = 1536, 384  # a matrix of the bundled large base
AGREED = 1.05  # a timing counts once the two fastest rounds differ by no more than this factor
MAX_ROUNDS = 12
# In a real forward the weights are not in the processor's inner caches, so the measurement avoids that too.
WEIGHTS_BYTES = 40_000_000


class DtypeChoice(NamedTuple):
    """The dtype, and why it was chosen (for the status line)."""

    dtype: torch.dtype
    reason: str


def choose_dtype(settings: Settings) -> DtypeChoice:
    """The dtype set by EFT_DTYPE, or under `auto` the one this processor has instructions for."""
    if settings.dtype == "bf16":
        return DtypeChoice(torch.bfloat16, "bf16, set by EFT_DTYPE")
    if settings.dtype == "fp32":
        return DtypeChoice(torch.float32, "fp32, set by EFT_DTYPE")
    if name := bf16_instructions():
        return DtypeChoice(torch.bfloat16, f"bf16, because this processor has {name}")
    return DtypeChoice(torch.float32, "fp32, because this processor has no bf16 instructions")


def bf16_instructions() -> str:
    """The name of this processor's bf16 instructions, if it has any that torch uses, else ""."""
    if not torch.backends.mkldnn.is_available():  # only this library uses the instructions
        return ""
    here = torch.cpu.get_capabilities()
    return next((name for key, name in BF16_INSTRUCTIONS.items() if here.get(key)), "")


def compare_speed(threads: int, shape: tuple[int, int] = (OUT, IN)) -> str:
    """A sentence on how long products with matrices of `shape` (out, in) take here in both dtypes.

    Lets people check the choice; it takes about a second and decides nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        bf16, fp32 = (
            "/".join(f"{_timed_us(dtype, shape, rows):.0f}" for rows in ROWS)
            for dtype in (torch.bfloat16, torch.float32)
        )
    finally:
        torch.set_num_threads(before)
    return f"{'/'.join(map(str, ROWS))} rows take {bf16} µs in bf16 and {fp32} µs in fp32"


@torch.inference_mode()
def _timed_us(dtype: torch.dtype, shape: tuple[int, int], rows: int) -> float:
    """The time of one product in microseconds: the best of rounds that repeat until two agree."""
    calls = max(2, WEIGHTS_BYTES // (shape[0] * shape[1] * dtype.itemsize * max(1, rows // 8)))
    weights = torch.ones(calls, *shape, dtype=dtype).unbind()
    inputs = torch.ones(rows, shape[1], dtype=dtype)
    rounds: list[float] = []
    while len(rounds) < MAX_ROUNDS:
        start_s = time.perf_counter()
        for weight in weights:
            F.linear(inputs, weight)
        rounds = sorted([*rounds, time.perf_counter() - start_s])
        if len(rounds) > 2 and rounds[1] <= AGREED * rounds[0]:
            break
    return rounds[0] / calls * 1e6
