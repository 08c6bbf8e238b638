"""Real shapes: a large base in 4 bits and in bfloat16 with a small pair, from loading to the goals.

Reports load time, memory against the plan, tokens per second, the share of the card's bandwidth, the time to
the first token, many users, and plain `generate` beside it.
"""

from __future__ import annotations

import importlib.util
import shutil
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from eft_demo.engine.service import Service
from eft_demo.lab.quantisation import weights_bytes
from eft_demo.models.estimate import read_speed
from eft_demo.models.hf import TransformersModel
from eft_demo.models.memory import free_memory, free_unused
from eft_demo.models.plan import MARGIN_GPU_BYTES, MARGIN_SHARE, Plan
from eft_demo.runs.trace import ColumnTrace
from scripts.gpu_family import REAL, SMALL, write_family
from scripts.gpu_runs import THREE, Found, Skipped, Steps, device, open_family, run_columns, wait

TOKENIZER = Path(__file__).resolve().parents[1] / "assets" / "atlas" / "tokenizer.json"
FREE_DISK = 24_000_000_000  # the real shapes take 17 GB
COPIED_BYTES = 2_000_000_000
SENTENCE = "The sea is salty. "
# Goals: tokens/s of one of three columns per token/s of plain generate; the share of the bandwidth; how far
# the memory in use may be from the plan.
THREE_COLUMNS, BANDWIDTH, MEMORY_OFF = 0.8, 0.5, 0.1


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is measured."""

    tokens: int  # per run
    users: int
    prompt: int  # tokens of the long prompt


FULL, FEW = Amounts(64, 30, 1000), Amounts(8, 4, 200)


def steps(folder: Path, small: bool) -> Steps:
    """The measurements by name, in the order in which they depend on each other."""
    yield "write checkpoints", partial(write_checkpoints, folder, small)
    kinds = ("nf4", "none") if importlib.util.find_spec("bitsandbytes") else ("none",)
    for kind in kinds:
        measured = Measured(folder / "family.yaml", kind, FEW if small else FULL, small)
        # What depends on the engine rather than on the weights is measured once.
        for name, step in measured.steps(whole=kind == kinds[0]):
            yield f"{kind}: {name}", step
        measured.close()


def machine() -> Found:
    """Devices, free memory, and how fast this machine reads weights."""
    found: dict[str, Any] = {}
    if torch.cuda.is_available():
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    free = {place: round(size / 1e9, 2) for place, size in free_memory().items()}
    return found | {"free_gb": free, "reads_gb_per_s": round(bandwidth() / 1e9, 1)}


@cache
def bandwidth() -> float:
    """Bytes per second that this device's memory moves: in one large copy on a GPU, in products on a CPU."""
    if not torch.cuda.is_available():
        return read_speed(device(), 1)
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device())
    target = torch.empty_like(source)
    times_s = []
    for _ in range(5):
        wait()
        start_s = time.perf_counter()
        target.copy_(source)
        wait()
        times_s.append(time.perf_counter() - start_s)
    return 2 * COPIED_BYTES / min(times_s)  # read and written


def write_checkpoints(folder: Path, small: bool) -> Found:
    """Random weights in the shapes of Qwen2.5 7B and 0.5B, made on the device."""
    folder.mkdir()
    if not small and (free := shutil.disk_usage(folder).free) < FREE_DISK:
        raise Skipped(
            f"{folder} has {free / 1e9:.0f} GB of disk free, not {FREE_DISK / 1e9:.0f}: use --folder"
        )
    write_family(folder, SMALL if small else REAL, device(), TOKENIZER)
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    return {"gb": round(size / 1e9, 3)}


class Measured:
    """One way of storing the large base, from loading to closing. Later steps use what earlier ones found."""

    def __init__(self, path: Path, quantisation: str, amounts: Amounts, small: bool) -> None:
        self.path, self.quantisation, self.amounts, self.small = path, quantisation, amounts, small
        self._service: Service | None = None
        self.per_column: dict[str, float] = {}  # tokens/s
        self.alone: float | None = None  # tokens/s of plain `generate`
        self.memory_off: float | None = None  # what the device holds against the plan
        self._free_before = 0

    def steps(self, whole: bool) -> Steps:
        """The steps by name, in order."""
        yield "load", self.load
        yield "base alone", partial(self.speed, "base alone", ("Base",), "off")
        yield "one stream", partial(self.speed, "one stream", ("Up-scaled",), "off")
        yield "three columns", partial(self.speed, "three columns", THREE, "off")
        if whole:
            yield "one stream, drafts", partial(self.speed, "drafts", ("Up-scaled",), "on 4")
            yield "one stream, drafts auto", partial(self.speed, "auto", ("Up-scaled",), "auto")
            yield "long prompt", self.long_prompt
            yield f"{self.amounts.users} users", self.many_users
        yield "plain generate", self.generate
        if whole:
            yield "profile", self.profile
        yield "memory", partial(self.memory, with_all_rows=whole)
        yield "goals", self.goals

    def load(self) -> Found:
        """Open the family through its plan."""
        free_unused()
        if torch.cuda.is_available():
            self._free_before = torch.cuda.mem_get_info()[0]
            torch.cuda.reset_peak_memory_stats()
        self._service = open_family(self.path, "auto", self.quantisation, "bf16", self.amounts.users)
        places = {
            p.role: f"{p.weights_bytes / 1e9:.3f} GB, {p.quantisation}, {p.device}"
            for p in self.plan.placements
        }
        return {"rows": self.plan.rows, "places": places}

    @property
    def service(self) -> Service:
        """The open service. Raises Skipped if loading failed."""
        if self._service is None:
            raise Skipped("the family is not loaded")
        return self._service

    @property
    def plan(self) -> Plan:
        """The plan that the models were loaded by."""
        if self.service.plan is None:
            raise Skipped("the family was loaded without a plan")
        return self.service.plan

    def speed(self, key: str, names: Sequence[str], speculation: str) -> Found:
        """Tokens per second of a run on its own, without the time to its first token."""
        run_columns(self.service, names, 8, speculation)  # warms up
        rates, accepted = [], []
        for seed in (1, 2, 3):
            start_s = time.perf_counter()
            traces = run_columns(self.service, names, self.amounts.tokens, speculation, seed=seed)
            took_s = time.perf_counter() - start_s - min(trace.ttft_s for trace in traces)
            rates.append(sum(len(trace.tokens) - 1 for trace in traces) / took_s / len(names))
            accepted += [trace.acceptance_rate for trace in traces if trace.acceptance_rate is not None]
        self.per_column[key] = statistics.median(rates)
        found = {"tokens_per_s_per_column": round(self.per_column[key], 2)}
        if accepted:
            found["accepted"] = round(statistics.mean(accepted), 3)
        if key == "base alone":
            found["share_of_bandwidth"] = round(self._share_of_bandwidth(), 3)
        return found

    def _share_of_bandwidth(self) -> float:
        """Bytes read per second by the large base alone, as a share of what this device moves."""
        sizes = SMALL if self.small else REAL
        looked_up = 2 * sizes.width * sizes.large.hidden  # a token reads one row of the embedding
        read = self.plan.of("large_base").weights_bytes - looked_up
        return read * self.per_column["base alone"] / bandwidth()

    def long_prompt(self) -> Found:
        """The time to the first token of three columns after a long prompt."""
        family = self.service.family
        text = SENTENCE * self.amounts.prompt
        while (length := len(family.codec.encode(text))) > self.amounts.prompt:
            text = text[: int(len(text) * max(self.amounts.prompt / length, 0.5))]
        first = [
            min(t.ttft_s for t in run_columns(self.service, THREE, 2, "off", prompt=text)) for _ in range(2)
        ]
        return {
            "prompt_tokens": length,
            "first_token_ms": round(1000 * first[-1], 1),
            "at_first": round(1000 * first[0], 1),
        }

    def many_users(self) -> Found:
        """All users at once, three columns each."""
        users = max(1, min(self.amounts.users, self.plan.rows // 3))

        def one_user(seed: int) -> list[ColumnTrace]:
            return run_columns(self.service, THREE, self.amounts.tokens, "off", seed=seed)

        start_s = time.perf_counter()
        with ThreadPoolExecutor(users) as pool:
            runs = list(pool.map(one_user, range(users)))
        took_s = time.perf_counter() - start_s
        first = sorted(max(trace.ttft_s for trace in traces) for traces in runs)
        tokens = sum(len(trace.tokens) for traces in runs for trace in traces)
        return {
            "users": users,
            "tokens_per_s": round(tokens / took_s, 1),
            "first_token_median_s": round(statistics.median(first), 3),
            "first_token_worst_s": round(first[-1], 3),
        }

    def generate(self) -> Found:
        """The large base alone by the library's own `generate`, as anybody would run it."""
        model = getattr(self.service.engine.models["large_base"], "model", None)
        if model is None:
            raise Skipped("on a CPU the large base runs without the library")
        options = {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "pad_token_id": 0}
        ids = torch.arange(1, 33, device=model.device)[None]

        def timed(length: int) -> float:
            wait()
            start_s = time.perf_counter()
            with torch.inference_mode():
                model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    min_new_tokens=length,
                    max_new_tokens=length,
                    **options,
                )
            wait()
            return time.perf_counter() - start_s

        timed(8)  # warms up
        rates = []
        for _ in range(2):
            first_s = timed(1)  # reads the prompt
            rates.append((self.amounts.tokens - 1) / max(timed(self.amounts.tokens) - first_s, 1e-6))
        self.alone = statistics.median(rates)
        return {"tokens_per_s": round(self.alone, 2)}

    def profile(self) -> Found:
        """Which operations a step of three columns spends its time on."""
        on_gpu = torch.cuda.is_available()
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        # The engine steps in a thread of its own.
        threads = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
        with profile(activities=kinds, experimental_config=threads) as seen:
            run_columns(self.service, THREE, min(16, self.amounts.tokens), "off")
            wait()
        by = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        rows = sorted(seen.key_averages(), key=lambda row: -getattr(row, by))
        return {
            "ms_by_operation": {row.key[:60]: round(getattr(row, by) / 1000, 2) for row in rows[:12]},
            "device_ms": round(sum(row.self_device_time_total for row in rows) / 1000, 1),
            "host_ms": round(sum(row.self_cpu_time_total for row in rows) / 1000, 1),
        }

    def memory(self, with_all_rows: bool) -> Found:
        """What the device holds after all that, against the plan. The caches keep the size they grew to."""
        plan = self.plan
        planned = sum(place.weights_bytes for place in plan.placements)
        found = {"weights_planned_gb": round(planned / 1e9, 3)}
        if not torch.cuda.is_available():
            return found | {"note": "not measured: there is no GPU"}
        models = [m for m in self.service.engine.models.values() if isinstance(m, TransformersModel)]
        held = sum(map(weights_bytes, models))
        used = self._free_before - torch.cuda.mem_get_info()[0]
        # Each model has as many rows as the columns needed so far, where the plan has all of them for each.
        caches = sum(store.nbytes for cache in {model.cache for model in models} for store in cache.store)
        planned_here = int((planned + caches) * (1 + MARGIN_SHARE)) + MARGIN_GPU_BYTES
        self.memory_off = used / planned_here - 1
        full = plan.full_bytes if with_all_rows else plan.needed_bytes
        return found | {
            "weights_gb": round(held / 1e9, 3),
            "used_gb": round(used / 1e9, 3),
            "peak_of_tensors_gb": round(torch.cuda.max_memory_allocated() / 1e9, 3),
            "planned_for_these_rows_gb": round(planned_here / 1e9, 3),
            "planned_gb": round(full[device()] / 1e9, 3),
        }

    def goals(self) -> Found:
        """Whether the goals are met for which this way of storing is measured."""
        three, alone = self.per_column.get("three columns"), self.alone
        found: dict[str, Any] = {}
        if three is not None and alone is not None:
            found["three columns / generate"] = round(three / alone, 3)
            found["three columns met"] = three >= THREE_COLUMNS * alone
        if self.quantisation == "none" and "base alone" in self.per_column:
            found["bandwidth met"] = self._share_of_bandwidth() >= BANDWIDTH
        if self.memory_off is not None:
            found["memory off"] = round(self.memory_off, 3)
            found["memory met"] = abs(self.memory_off) <= MEMORY_OFF
        if not found:
            raise Skipped("nothing was measured that a goal needs")
        return found

    def close(self) -> None:
        """Stop the engine and free its memory, so that the next way starts with an empty device."""
        if self._service is not None:
            self._service.stop()
        self._service = None
        free_unused()
