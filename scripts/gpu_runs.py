"""How the checks of scripts/gpu_check.py open families and run columns, and why a step may be skipped."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import parse_speculation
from eft_demo.runs.spec import FIRST, RunSpec
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import Settings

Found = Mapping[str, Any]  # what a step reports
Steps = Iterator[tuple[str, Callable[[], Found]]]
THREE = tuple(name for name, _ in FIRST)
SHORT = "Why is the sea salty?"


class Skipped(Exception):
    """A step that cannot run here; the message says why."""


def device() -> str:
    """The device that is checked."""
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def wait() -> None:
    """Wait until the device has done all that was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def need(package: str) -> None:
    """Raises Skipped if the package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise Skipped(f"{package} is not installed")


def open_family(family: Path, place: str, quantisation: str, dtype: str, users: int = 1) -> Service:
    """Load a family on `place` (cpu, or auto for a GPU) with room for three columns of each user."""
    settings = Settings(
        device=place,
        quantisation=quantisation,
        dtype=dtype,
        max_sequences=max(8, 3 * users),
        max_prompt_chars=100_000,
        deadline_s=240.0,
        prefix_cache_mb=0,  # the same prompt is timed again and again
    )
    return Service.load(settings, str(family))


def run_columns(
    service: Service,
    names: Sequence[str],
    length: int,
    speculation: str,
    temperature: float = 0.7,
    *,
    prompt: str = SHORT,
    seed: int = 0,
    forced: Sequence[int] = (),
) -> list[ColumnTrace]:
    """Run these of the first three columns to their end. Raises AssertionError if one ends with an error."""
    spec = RunSpec(
        prompt=prompt,
        columns=tuple(column for column in FIRST if column[0] in names),
        sampling=Sampling(temperature=temperature, seed=seed),
        speculation=parse_speculation(speculation),
        length=length,
    )
    traces = collect(service.start_run(spec, forced))
    if errors := [trace.error for trace in traces if trace.error]:
        raise AssertionError(errors[0])
    return traces
