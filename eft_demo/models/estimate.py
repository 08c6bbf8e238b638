"""What a family would take here, before anything is fetched: download, memory, tokens per second.

A step reads every weight of the models that run, so the speed follows from how fast this machine reads
memory. Knows plans and the catalogue; loads and downloads nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from eft_demo.errors import FamilyError
from eft_demo.families.catalogue import Entry, readable_entries
from eft_demo.method.roles import LARGE_BASE, SMALL_BASE
from eft_demo.models.memory import CPU, REMOTE
from eft_demo.models.plan import Plan, engine_threads, menu_entry
from eft_demo.settings import BUNDLED, Settings

# Share of the read speed that a whole step reaches: attention, sampling and the gaps between the products
# take the rest.
EFFICIENCY = 0.5
FLUENT = 4.0  # tokens per second: about as fast as people read
# Width of a square matrix and bytes in all. A GPU reads small ones faster than it can be asked to.
CPU_SIZE, GPU_SIZE, ROUNDS = (2048, 256_000_000), (8192, 2_000_000_000), 5
ReadSpeed = Callable[[str, int], float]  # device, torch threads -> bytes per second


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one family takes. `tokens_per_s` is for a single up-scaled stream without drafts."""

    download_bytes: int
    plan: Plan
    tokens_per_s: float

    def __str__(self) -> str:
        needed = ", ".join(
            f"{size / 1e9:.1f} GB of {_memory(device)}" for device, size in self.plan.needed_bytes.items()
        )
        download = f"{self.download_bytes / 1e9:.1f} GB to download" if self.download_bytes else "no download"
        speed = f"about {_rounded(self.tokens_per_s)} tokens/s for one up-scaled stream"
        return f"{download}, needs {needed}, {speed}"


def estimate(
    entry: Entry,
    settings: Settings,
    read_speed: ReadSpeed,
    free: Mapping[str, int] | None = None,
) -> Estimate:
    """The estimate of one family. `read_speed(device, threads)` returns bytes per second.

    Raises FamilyError if the family file gives no sizes and the models are not on this machine.
    """
    choice = menu_entry(entry, settings, free)
    tuned = next(b.role for b in entry.behaviours if not entry.roles[b.role].optional)
    roles = (LARGE_BASE, SMALL_BASE, tuned)
    places = [choice.plan.of(role) for role in roles]
    if remote := [place.role for place in places if place.device == REMOTE]:
        raise FamilyError(f"{remote[0]} of {entry.title} runs on a server, whose speed is not known here.")
    if unknown := [place.role for place in places[:2] if not place.weights_bytes]:
        raise FamilyError(f"The size of {unknown[0]} of {entry.title} is unknown until it is downloaded.")
    threads = engine_threads(entry, settings)
    step_s = sum(place.weights_bytes / read_speed(place.device, threads) for place in places)
    return Estimate(choice.download_bytes, choice.plan, EFFICIENCY / step_s)


def choose_family(
    entries: Iterable[Entry],
    settings: Settings,
    read_speed: ReadSpeed,
    free: Mapping[str, int] | None = None,
) -> tuple[str, str]:
    """The recommended family with the largest large base that fits and writes fluently here, and why.

    Leaves out gated families, which need an account, those of unknown size, and those that would only fit
    with a warning. If none is left, it is the bundled family.
    """
    best, reason, most = BUNDLED, "no recommended family fits and writes at reading speed here", 0
    for entry in entries:
        if entry.gated or not entry.recommended:
            continue
        try:
            found = estimate(entry, settings, read_speed, free)
        except FamilyError:
            continue
        size = found.plan.of(LARGE_BASE).parameters
        if found.plan.problem or found.plan.warning or found.tokens_per_s < FLUENT or size <= most:
            continue
        best, most = entry.name, size
        reason = f"its large model is the largest that fits and writes at reading speed here: {found}"
    return best, reason


def choose_here(settings: Settings) -> tuple[str, str]:
    """The family that `--family auto` takes on this machine, and why."""
    return choose_family(readable_entries(settings), settings, read_speed)


@cache
@torch.inference_mode()
def read_speed(device: str, threads: int) -> float:
    """Bytes per second at which products with one row read weights on `device`, the best of some rounds."""
    place = "cuda:0" if device == "auto" else device
    dtype = torch.float32 if place == CPU else torch.bfloat16
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        width, size = CPU_SIZE if place == CPU else GPU_SIZE
        matrices = torch.ones(
            size // (width * width * dtype.itemsize), width, width, dtype=dtype, device=place
        )
        row = torch.ones(1, width, dtype=dtype, device=place)
        return matrices.nbytes / min(_seconds(matrices.unbind(), row) for _ in range(ROUNDS))
    finally:
        torch.set_num_threads(before)


def _seconds(weights: tuple[torch.Tensor, ...], row: torch.Tensor) -> float:
    start_s = time.perf_counter()
    for weight in weights:
        F.linear(row, weight)
    if row.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start_s


def _memory(device: str) -> str:
    return "memory" if device == CPU else f"memory on {device}"


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
