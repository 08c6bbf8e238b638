"""The speed figures: what three panels cost beside one stream, and beside the usual way to do it.

Two ways take turns in one process (ABBA), each pair gives one ratio, and the figure is the median of the
ratios: a busy machine then slows both alike. CPU time, which neighbours disturb less, stands beside it.
Knows the engine's contract; does not know text.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from eft_demo.engine.engine import Engine
from eft_demo.engine.events import TokenEvent
from eft_demo.engine.run import RunRequest
from eft_demo.engine.service import Panels, default_panels
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.lab.app_start import app_start_s
from eft_demo.models import peer
from eft_demo.models.dtype import choose_dtype
from eft_demo.models.load import load_models
from eft_demo.sampling import Sampling
from eft_demo.settings import ALPHA, Settings

PROMPT = "What is the capital of Peru?"

Way = Callable[[], "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """One run of one way: on the clock, on the CPU, and until its first token (0 where unknown)."""

    wall_s: float
    cpu_s: float
    ttft_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the pairs; the ratios are those of first / second within a pair."""

    ratio: float
    quartiles: tuple[float, float]
    cpu_ratio: float
    first: Timing
    second: Timing


def bench(
    settings: Settings, family_name: str, *, pairs: int, new_tokens: int, start_app: bool
) -> dict[str, Any]:
    """Every figure as plain numbers under names with units. Some seconds per pair and comparison."""
    family = load_family(family_name, settings)
    dtype, reason = choose_dtype(settings)
    engine_ways = _engine_ways(family, settings, dtype, new_tokens)
    plain_ways = _plain_ways(family, dtype, new_tokens)
    shared = compare(engine_ways["three"], engine_ways["one"], pairs)
    one = compare(plain_ways["one"], engine_ways["one"], max(3, pairs // 3))
    three = compare(plain_ways["three"], engine_ways["three"], max(3, pairs // 3))
    return {
        "machine": machine(),
        "dtype": str(dtype).removeprefix("torch."),
        "dtype_reason": reason,
        "new_tokens": new_tokens,
        "pairs": pairs,
        "three_panels_over_one_stream": shared.ratio,
        "three_panels_over_one_stream_quartiles": shared.quartiles,
        "three_panels_over_one_stream_cpu": shared.cpu_ratio,
        "one_stream_tokens_per_s": new_tokens / shared.second.wall_s,
        "three_panels_tokens_per_s_each": new_tokens / shared.first.wall_s,
        "three_panels_ttft_s": shared.first.ttft_s,
        "plain_one_stream_tokens_per_s": new_tokens / one.first.wall_s,
        "plain_over_engine_one_stream": one.ratio,
        "plain_over_engine_three_panels": three.ratio,
        "app_start_s": app_start_s() if start_app else None,
    }


def compare(first: Way, second: Way, pairs: int) -> Comparison:
    """Time both ways in turns, first-second then second-first, after one run of each that does not count."""
    first(), second()
    timings = []
    for pair in range(pairs):
        if pair % 2:
            b, a = second(), first()
        else:
            a, b = first(), second()
        timings.append((a, b))
    ratios = [a.wall_s / b.wall_s for a, b in timings]
    low, middle, high = statistics.quantiles(ratios, n=4)
    cpu_ratio = statistics.median(a.cpu_s / b.cpu_s for a, b in timings)
    sides = (_median(list(side)) for side in zip(*timings, strict=True))
    return Comparison(middle, (low, high), cpu_ratio, *sides)


def _median(timings: list[Timing]) -> Timing:
    columns = zip(*((t.wall_s, t.cpu_s, t.ttft_s) for t in timings), strict=True)
    return Timing(*(statistics.median(column) for column in columns))


def _engine_ways(
    family: Family, settings: Settings, dtype: torch.dtype, new_tokens: int
) -> dict[str, Way]:
    """One up-scaled stream, and three panels, on one engine."""
    # No stop id: every text has the same length, whatever the models would rather say.
    engine = Engine(load_models(family, dtype), (), settings, family.token_bytes)
    panels = default_panels(family.behaviours[0].role)
    one, three = _request(family, panels[-1:], new_tokens), _request(family, panels, new_tokens)
    return {"one": lambda: _engine_run(engine, one), "three": lambda: _engine_run(engine, three)}


def _request(family: Family, panels: Panels, new_tokens: int) -> RunRequest:
    roles = {role for _, recipe in panels for role in recipe.roles}
    prompts = {role: tuple(encode_prompt(family, role, PROMPT)) for role in roles}
    return RunRequest(prompts, panels, {"alpha": ALPHA.default}, Sampling(), new_tokens)


def _engine_run(engine: Engine, request: RunRequest) -> Timing:
    """Drive the engine by hand until the run has ended, reading its events as a page would."""
    started, cpu_started, ttft_s = time.perf_counter(), time.process_time(), 0.0
    run = engine.submit(request)
    while not run.done:
        engine.tick()
        if any(isinstance(event, TokenEvent) for event in run.events(0)) and not ttft_s:
            ttft_s = time.perf_counter() - started
    return Timing(time.perf_counter() - started, time.process_time() - cpu_started, ttft_s)


def _plain_ways(family: Family, dtype: torch.dtype, new_tokens: int) -> dict[str, Way]:
    """The same texts by transformers' `generate`: up-scaled alone, and three columns one after the other."""
    names = ("large_base", family.behaviours[0].role, "small_base")
    base, tuned, small = (peer.load(family.roles[name].path, dtype) for name in names)
    prompt = list(encode_prompt(family, "large_base", PROMPT))
    draw = Sampling()
    sampling = {"do_sample": True, "temperature": draw.temperature, "top_p": draw.top_p, "top_k": draw.top_k}

    def upscaled() -> None:
        peer.generate(base, prompt, new_tokens, peer.EFTProcessor(tuned, small, ALPHA.default), **sampling)

    def all_three() -> None:
        peer.generate(base, prompt, new_tokens, None, **sampling)
        peer.generate(tuned, prompt, new_tokens, None, **sampling)
        upscaled()

    return {"one": lambda: _timed(upscaled), "three": lambda: _timed(all_three)}


def _timed(way: Callable[[], None]) -> Timing:
    started, cpu_started = time.perf_counter(), time.process_time()
    way()
    return Timing(time.perf_counter() - started, time.process_time() - cpu_started, 0.0)


def machine() -> dict[str, Any]:
    """What the absolute times depend on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpus": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_1min": os.getloadavg()[0],
        "gpu": gpu,
        "platform": platform.platform(),
        "torch": torch.__version__,
    }


def to_markdown(r: Mapping[str, Any]) -> str:
    """The table of one result of `bench`, for README.md."""
    low, high = r["three_panels_over_one_stream_quartiles"]
    cpu = r["three_panels_over_one_stream_cpu"]
    rows = {
        "three panels / one up-scaled stream, time": f"{r['three_panels_over_one_stream']:.2f} "
        f"(quartiles {low:.2f} to {high:.2f}; CPU time {cpu:.2f})",
        "one up-scaled stream": f"{r['one_stream_tokens_per_s']:.0f} tokens/s",
        "three panels at once, each": f"{r['three_panels_tokens_per_s_each']:.0f} tokens/s",
        "first token of three panels": f"{1000 * r['three_panels_ttft_s']:.0f} ms",
        "plain transformers, one up-scaled stream": f"{r['plain_one_stream_tokens_per_s']:.0f} tokens/s, "
        f"{r['plain_over_engine_one_stream']:.1f} times as long",
        "plain transformers, three texts in turn": f"{r['plain_over_engine_three_panels']:.1f} times as long",
    }
    if r["app_start_s"] is not None:
        rows["`python app.py` to a page that answers"] = f"{r['app_start_s']:.1f} s"
    m = r["machine"]
    note = (
        f"{r['dtype_reason']}; {r['new_tokens']} tokens per text, medians of {r['pairs']} pairs, "
        f"{m['cpus']} CPUs, {m['torch_threads']} torch threads, load {m['load_1min']:.1f}, "
        f"torch {m['torch']}. "
        "Plain transformers: `generate` with a logits processor, caches on, the same sampling."
    )
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items()), "", note])
