"""The benchmark: what three columns cost, what drafts gain, and how plain transformers compares.

Two variants alternate in one process (ABBA). Each pair gives one ratio and the result is the median ratio, so
that other load slows both alike. CPU time, which other load disturbs less, is reported too. Everything is
measured on the given family and on a larger trio with random weights.
Knows the engine's interface; does not know text.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import torch

from eft_demo.engine.decode import PATIENCE_S
from eft_demo.engine.engine import Engine
from eft_demo.engine.run import RunRequest
from eft_demo.errors import InputError
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.lab import baseline
from eft_demo.lab.app_start import app_start_s
from eft_demo.lab.synthetic_models import LARGE, larger_family
from eft_demo.method.recipe import BASE, TUNED, UPSCALED
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.models.dtype import DtypeChoice, choose_dtype, compare_speed
from eft_demo.models.load import group_models, load_models
from eft_demo.models.memory import freeze_loaded_objects
from eft_demo.runs.events import EndEvent
from eft_demo.runs.spec import FIRST, Columns, RunSpec
from eft_demo.settings import ALPHA, DEFAULT_THREADS, Settings

PROMPT = "What is the capital of Peru?"
THREE: Columns = (("Base", BASE), ("Tuned", TUNED), ("Up-scaled", UPSCALED))
ONE, PAGE = THREE[-1:], FIRST
OFF, AUTO = Speculation("off"), Speculation("auto")

Variant = Callable[[], "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """One run of one variant: wall-clock time, CPU time, and time to the first token (0 if unknown)."""

    wall_s: float
    cpu_s: float
    ttft_s: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians over the pairs; each ratio is first / second within a pair."""

    ratio: float
    quartiles: tuple[float, float]
    cpu_ratio: float
    first: Timing
    second: Timing


def bench(
    settings: Settings, family_name: str, *, pairs: int, new_tokens: int, start_app: bool, larger: bool
) -> dict[str, Any]:
    """All results as plain numbers under names with units. Takes seconds per pair and comparison."""
    family = load_family(family_name, settings)
    if larger:
        _temporary_folder()
    longest = max(len(encode_prompt(family, role, PROMPT)) for role in family.roles)
    if new_tokens > (most := family.context - longest):
        raise InputError(
            f"--new-tokens must be at most {most}, so that prompt and text fit into the context of "
            f"{family.title}; got {new_tokens}."
        )
    result: dict[str, Any] = {"new_tokens": new_tokens, "pairs": pairs}
    dtype, threads = choose_dtype(settings), settings.threads or DEFAULT_THREADS
    result["trios"] = [bench_trio(family, settings, dtype, compare_speed(threads), pairs, new_tokens)]
    if larger:
        with TemporaryDirectory(dir=_temporary_folder()) as folder:
            trio = larger_family(family, Path(folder))
            speed = compare_speed(threads, (LARGE.feed_forward * 2, LARGE.hidden))
            result["trios"].append(bench_trio(trio, settings, dtype, speed, max(3, pairs // 5), new_tokens))
    result["machine"] = machine()  # only now, because the engine sets the number of threads
    result["app_start_s"] = app_start_s() if start_app else None
    return result


def _temporary_folder() -> Path:
    """The folder for the larger models during the benchmark. Raises InputError if there is none."""
    try:
        return Path(gettempdir())
    except OSError:
        raise InputError(
            "The larger models need a writable temporary folder, but there is none. Please set TMPDIR, or "
            "leave these models out with --no-larger."
        ) from None


def bench_trio(
    family: Family, settings: Settings, dtype: DtypeChoice, speed: str, pairs: int, new_tokens: int
) -> dict[str, Any]:
    """The results for one trio of models. A ratio of 2 means that the first takes twice as long."""
    few = max(3, pairs // 3)
    engine = BenchEngine(family, settings, dtype.dtype, new_tokens)
    plain = _plain_variants(family, dtype.dtype, new_tokens)
    three, one = engine.variant(THREE), engine.variant(ONE)
    shared = compare(three, one, pairs)
    page = compare(engine.variant(PAGE), one, pairs)
    plain_one, plain_three = compare(plain["one"], one, few), compare(plain["three"], three, few)
    auto_one, auto_three = engine.variant(ONE, AUTO), engine.variant(THREE, AUTO)
    result = {
        "title": family.title,
        "dtype": str(dtype.dtype).removeprefix("torch."),
        "dtype_reason": f"{dtype.reason} ({speed})",
        "large_over_small_time": engine.large_over_small(pairs),
        "three_columns_over_one_stream": shared.ratio,
        "three_columns_over_one_stream_quartiles": shared.quartiles,
        "three_columns_over_one_stream_cpu": shared.cpu_ratio,
        "page_columns_over_one_stream": page.ratio,
        "page_columns_over_one_stream_cpu": page.cpu_ratio,
        "one_stream_tokens_per_s": new_tokens / shared.second.wall_s,
        "three_columns_tokens_per_s_each": new_tokens / shared.first.wall_s,
        "three_columns_ttft_s": shared.first.ttft_s,
        "plain_one_stream_tokens_per_s": new_tokens / plain_one.first.wall_s,
        "plain_over_engine_one_stream": plain_one.ratio,
        "plain_over_engine_three_columns": plain_three.ratio,
        "plain_over_engine_one_stream_auto": compare(plain["one"], auto_one, few).ratio,
        "plain_over_engine_three_columns_auto": compare(plain["three"], auto_three, few).ratio,
    }
    for mode in ("on", "auto"):
        engine.acceptance_rate = None
        drafted = engine.variant(ONE, Speculation(mode))
        result[f"no_drafts_over_drafts_{mode}"] = compare(one, drafted, pairs).ratio
        result[f"acceptance_rate_{mode}"] = engine.acceptance_rate
    return result


def compare(first: Variant, second: Variant, pairs: int) -> Comparison:
    """Time two variants alternately, first-second then second-first, after one warm-up run of each."""
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


class BenchEngine:
    """One engine, and variants of running it."""

    def __init__(self, family: Family, settings: Settings, dtype: torch.dtype, new_tokens: int) -> None:
        self.family, self.new_tokens = family, new_tokens
        self.tuned = family.behaviours[0].role
        self.models = load_models(family, dtype, ("large_base", self.tuned, "small_base"))
        # No stop ids, so that every text has the same length.
        groups = group_models(self.models)
        apart = replace(settings, prefix_cache_mb=0)  # every run reads its prompt
        self.engine = Engine(
            self.models, (), apart, family.token_bytes, family.banned_ids, groups, PATIENCE_S
        )
        freeze_loaded_objects()  # as a service does before it starts
        self.acceptance_rate: float | None = None  # of the last run that drafted

    def variant(self, columns: Columns, speculation: Speculation = OFF) -> Variant:
        """The variant that runs these columns."""
        spec = RunSpec(
            behaviour=self.tuned,
            columns=columns,
            controls={"alpha": ALPHA.default},
            speculation=speculation,
            length=self.new_tokens,
        ).for_behaviour()
        roles = {role for _, recipe in spec.columns for role in recipe.roles}
        prompts = {role: tuple(encode_prompt(self.family, role, PROMPT)) for role in roles}
        return lambda: self._run(RunRequest(spec, prompts))

    def greedy(
        self, columns: Columns, prompt: Sequence[int], new_tokens: int
    ) -> Callable[[], tuple[tuple[int, ...], Timing]]:
        """The greedy variant, in which all models read `prompt`: the last column's tokens too."""
        spec = RunSpec(
            behaviour=self.tuned,
            columns=columns,
            controls={"alpha": ALPHA.default},
            sampling=Sampling(0),
            speculation=OFF,
            length=new_tokens,
        ).for_behaviour()
        request = RunRequest(spec, dict.fromkeys(self.models, tuple(prompt)))

        def run() -> tuple[tuple[int, ...], Timing]:
            last: list[int] = []
            timing = self._run(request, last)
            return tuple(last), timing

        return run

    def _run(self, request: RunRequest, last: list[int] | None = None) -> Timing:
        """Step the engine until the run has ended, reading its events as a page would.

        The tokens of its last column are appended to `last`.
        """
        started, cpu_started, ttft_s = time.perf_counter(), time.process_time(), 0.0
        run = self.engine.submit(request)
        while not run.done:
            self.engine.step()
            for event in run.events(0):
                if isinstance(event, EndEvent):
                    self.acceptance_rate = event.acceptance_rate or self.acceptance_rate
                    continue
                ttft_s = ttft_s or time.perf_counter() - started
                if last is not None and event.column == len(request.spec.columns) - 1:
                    last.append(event.record.id)
        return Timing(time.perf_counter() - started, time.process_time() - cpu_started, ttft_s)

    def large_over_small(self, pairs: int) -> float:
        """The time of one token of one row on the large base, divided by that on the small base."""

        def forward(role: str) -> Timing:
            slot = self.models[role].join()
            self.models[role].forward([slot], torch.zeros(1, 16, dtype=torch.int64))
            way = _timed(lambda: self.models[role].forward([slot], torch.zeros(1, 1, dtype=torch.int64)))
            self.models[role].leave(slot)
            return way

        return compare(lambda: forward("large_base"), lambda: forward("small_base"), pairs).ratio


def _plain_variants(family: Family, dtype: torch.dtype, new_tokens: int) -> dict[str, Variant]:
    """The same with transformers' `generate`: up-scaled alone, and three columns one after the other."""
    names = ("large_base", family.behaviours[0].role, "small_base")
    base, tuned, small = (baseline.load(family.roles[name].path, dtype) for name in names)
    prompt = list(encode_prompt(family, "large_base", PROMPT))
    draw = Sampling()
    sampling = {"do_sample": True, "temperature": draw.temperature, "top_p": draw.top_p, "top_k": draw.top_k}

    def upscaled() -> None:
        eft = baseline.EFTProcessor(tuned, small, ALPHA.default)
        baseline.generate(base, prompt, new_tokens, [eft], **sampling)

    def all_three() -> None:
        baseline.generate(base, prompt, new_tokens, [], **sampling)
        baseline.generate(tuned, prompt, new_tokens, [], **sampling)
        upscaled()

    return {"one": lambda: _timed(upscaled), "three": lambda: _timed(all_three)}


def _timed(way: Callable[[], object]) -> Timing:
    started, cpu_started = time.perf_counter(), time.process_time()
    way()
    return Timing(time.perf_counter() - started, time.process_time() - cpu_started, 0.0)


def machine() -> dict[str, Any]:
    """The machine facts that absolute times depend on."""
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
    """A result of `bench` as a table for docs/results.md."""
    columns = [_column(trio) for trio in r["trios"]]
    titles = [trio["title"] for trio in r["trios"]]
    lines = [f"| | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
    lines += [f"| {name} | {' | '.join(column[name] for column in columns)} |" for name in columns[0]]
    if r["app_start_s"] is not None:
        rest = " |" * (len(titles) - 1)
        lines.append(f"| `python app.py` to a page that answers | {r['app_start_s']:.1f} s |{rest}")
    m = r["machine"]
    reasons = "; ".join(f"{trio['title']}: {trio['dtype_reason']}" for trio in r["trios"])
    note = (
        f"{r['new_tokens']} tokens per text, medians of {r['pairs']} pairs (fewer where it takes long), "
        f"{m['cpus']} CPUs, {m['torch_threads']} torch threads, load {m['load_1min']:.1f}, "
        f"torch {m['torch']}. {reasons}. "
        "Plain transformers: `generate` with a logits processor, caches on, the same sampling."
    )
    return "\n".join([*lines, "", note])


def _column(trio: Mapping[str, Any]) -> dict[str, str]:
    """The table's column for one trio."""
    low, high = trio["three_columns_over_one_stream_quartiles"]
    drafts = {}
    for mode, name in (("on", "drafts on"), ("auto", "drafts where they pay (auto)")):
        rate = trio[f"acceptance_rate_{mode}"]
        accepted = "none drafted" if rate is None else f"{rate:.0%} accepted"
        gain = trio[f"no_drafts_over_drafts_{mode}"]
        drafts[f"one up-scaled stream, {name}"] = f"{gain:.2f} times as fast, {accepted}"
    return {
        "large base / small base, time of a token": f"{trio['large_over_small_time']:.1f}",
        "three columns / one up-scaled stream, time": f"{trio['three_columns_over_one_stream']:.2f} "
        f"(quartiles {low:.2f} to {high:.2f}; CPU time {trio['three_columns_over_one_stream_cpu']:.2f})",
        "the page's three columns / one up-scaled stream": f"{trio['page_columns_over_one_stream']:.2f} "
        f"(CPU time {trio['page_columns_over_one_stream_cpu']:.2f})",
        "one up-scaled stream": f"{trio['one_stream_tokens_per_s']:.0f} tokens/s",
        "three columns at once, each": f"{trio['three_columns_tokens_per_s_each']:.0f} tokens/s",
        "first token of three columns": f"{1000 * trio['three_columns_ttft_s']:.0f} ms",
        "plain transformers, one up-scaled stream": f"{trio['plain_one_stream_tokens_per_s']:.0f} tokens/s, "
        f"{trio['plain_over_engine_one_stream']:.2f} times as long "
        f"({trio['plain_over_engine_one_stream_auto']:.2f} against auto)",
        "plain transformers, three texts in turn": f"{trio['plain_over_engine_three_columns']:.2f} times "
        f"as long ({trio['plain_over_engine_three_columns_auto']:.2f} against auto)",
        **drafts,
    }
