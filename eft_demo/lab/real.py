"""A family of real checkpoints, against the ways people run emulated fine-tuning with plain transformers.

The ways take turns in one process, each round in another order, and every figure is a median of ratios within
a round, so that other load slows all alike. Reading the prompt (up to the first token) and decoding (each
further token) are measured apart. All models read the same prompt, greedily. Knows families and the engine's
interface; does not know how either runs a model.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eft_demo.errors import FamilyError, InputError
from eft_demo.families.catalogue import read_entry
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.families.files import yaml_files
from eft_demo.lab import baseline
from eft_demo.lab.bench import ONE, PROMPT, THREE, BenchEngine, machine
from eft_demo.models.dtype import choose_dtype
from eft_demo.models.logits_processor import EmulatedFineTuning
from eft_demo.settings import ALPHA, Settings

LONG_PROMPT = 430  # tokens
NAMES = ("family.yaml", "family.yml")

# Generates so many tokens after a prompt.
Way = Callable[[Sequence[int], int], "Spell"]


@dataclass(frozen=True, slots=True)
class Spell:
    """One text: the seconds to its first token and to its last, and its tokens."""

    first_s: float
    whole_s: float
    ids: tuple[int, ...]

    @property
    def token_s(self) -> float:
        """Seconds per token after the first."""
        return (self.whole_s - self.first_s) / max(1, len(self.ids) - 1)


def bench_real(settings: Settings, folder: Path, *, rounds: int = 7, new_tokens: int = 32) -> dict[str, Any]:
    """All results as plain numbers under names with units. Raises FamilyError and InputError."""
    family = load_family(read_entry(family_file(folder)), settings)
    short = list(encode_prompt(family, "large_base", PROMPT))
    room = min(LONG_PROMPT, family.context - new_tokens)
    if room < len(short):
        raise InputError(
            f"--new-tokens must be at most {family.context - len(short)}, so that prompt and text fit into "
            f"the context of {family.title}; got {new_tokens}."
        )
    long = (short * (1 + room // len(short)))[:room]
    dtype = choose_dtype(settings)
    engine = BenchEngine(family, settings, dtype.dtype, new_tokens)
    ways: dict[str, Way] = {
        "one": lambda prompt, count: _by_engine(engine, prompt, count, three=False),
        "three": lambda prompt, count: _by_engine(engine, prompt, count, three=True),
        **_plain_ways(family, dtype.dtype),
    }
    decode = _in_turn(ways, short, new_tokens, rounds)
    prefill = _in_turn({name: ways[name] for name in ways if name != "assisted"}, long, 1, rounds)
    return {
        "title": family.title,
        "roles": {role: checkpoint.path.name for role, checkpoint in family.roles.items()},
        "vocab": family.vocab,
        "dtype": str(dtype.dtype).removeprefix("torch."),
        "dtype_reason": dtype.reason,
        "rounds": rounds,
        "new_tokens": new_tokens,
        "prompt_tokens": len(short),
        "long_prompt_tokens": len(long),
        "tokens_per_s": {
            name: 1 / statistics.median(s.token_s for s in found) for name, found in decode.items()
        },
        "decode_over_one": _over_one(decode, lambda spell: spell.token_s),
        "first_token_s": {
            name: statistics.median(s.first_s for s in found) for name, found in prefill.items()
        },
        "prefill_over_one": _over_one(prefill, lambda spell: spell.first_s),
        "same_text": {name: found[0].ids == decode["one"][0].ids for name, found in decode.items()},
        "machine": machine(),
    }


def family_file(folder: Path) -> Path:
    """The family file that `folder` is or has. Raises FamilyError if there is none, or several."""
    if folder.is_file():
        return folder
    named = [folder / name for name in NAMES if (folder / name).is_file()]
    files = named[:1] or yaml_files(folder)
    if len(files) != 1:
        found = f"there are {len(files)}" if files else "there is none"
        raise FamilyError(
            f"bench --real needs a folder with one family file (.yaml), but {found} in {folder}. Please "
            f"write one (docs/models.md), call it {NAMES[0]}, or name the file itself."
        )
    return files[0]


def _in_turn(
    ways: Mapping[str, Way], prompt: Sequence[int], new_tokens: int, rounds: int
) -> dict[str, list[Spell]]:
    """`rounds` texts of each way, in turn, beginning with another one each time; one text each to warm up."""
    names = list(ways)
    found: dict[str, list[Spell]] = {name: [] for name in names}
    for i in range(rounds + 1):
        start = i % len(names)
        for name in [*names[start:], *names[:start]]:
            spell = ways[name](prompt, new_tokens)
            if i:
                found[name].append(spell)
    return found


def _over_one(found: Mapping[str, Sequence[Spell]], seconds: Callable[[Spell], float]) -> dict[str, float]:
    """The median over the rounds of each way's time / the time of one stream of the engine."""
    return {
        name: statistics.median(
            seconds(spell) / seconds(one) for spell, one in zip(spells, found["one"], strict=True)
        )
        for name, spells in found.items()
    }


def _by_engine(engine: BenchEngine, prompt: Sequence[int], new_tokens: int, three: bool) -> Spell:
    way = engine.greedy(THREE if three else ONE, prompt, new_tokens)
    ids, timing = way()
    return Spell(timing.ttft_s, timing.wall_s, ids)


def _plain_ways(family: Family, dtype: torch.dtype) -> dict[str, Way]:
    """Up-scaling with plain transformers: a loop, `generate`, and `generate` with an assistant."""
    roles = ("large_base", family.behaviours[0].role, "small_base")
    large, tuned, small = baseline.load_roles(family, roles, dtype)

    def loop(prompt: Sequence[int], new_tokens: int) -> Spell:
        times: list[float] = []
        started_s = time.perf_counter()
        ids = baseline.plain_loop(
            large,
            tuned,
            small,
            prompt,
            new_tokens,
            ALPHA.default,
            family.vocab,
            lambda: times.append(time.perf_counter()),
        )
        return Spell(times[0] - started_s, times[-1] - started_s, tuple(ids))

    def by_generate(assistant: Any) -> Way:
        def way(prompt: Sequence[int], new_tokens: int) -> Spell:
            clock = _FirstToken()
            eft = EmulatedFineTuning(tuned, small, ALPHA.default, vocab_size=family.vocab)
            started_s = time.perf_counter()
            ids = baseline.generate(
                large, list(prompt), new_tokens, [eft, clock], do_sample=False, assistant_model=assistant
            )
            return Spell(clock.first_s - started_s, time.perf_counter() - started_s, tuple(ids))

        return way

    ways = {"loop": loop, "generate": by_generate(None)}
    if _can_assist(large, tuned):
        ways["assisted"] = by_generate(tuned)
    return ways


def _can_assist(large: Any, tuned: Any) -> bool:
    """Whether transformers takes `tuned` as the assistant: it wants equal widths, and caches it can cut."""
    widths = {model.config.get_text_config().vocab_size for model in (large, tuned)}
    windows = [getattr(model.config, "sliding_window", None) for model in (large, tuned)]
    return tuned is not large and len(widths) == 1 and not any(windows)


class _FirstToken:
    """A logits processor that changes nothing and remembers when it was first called."""

    def __init__(self) -> None:
        self.first_s = 0.0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.first_s = self.first_s or time.perf_counter()
        return scores


_TITLES = {
    "one": "one up-scaled stream of the engine",
    "three": "three columns of the engine",
    "loop": "plain loop with caches",
    "generate": "`generate` with the logits processor",
    "assisted": "the same with the tuned model as assistant",
}


def to_markdown(r: Mapping[str, Any]) -> str:
    """A result of `bench_real` as a table for docs/results.md."""
    lines = [
        f"| {r['title']} | tokens/s | time per token / one stream | first token | / one stream | same text |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in _TITLES.items():
        if name not in r["tokens_per_s"]:
            continue
        first = [" ", " "]
        if name in r["first_token_s"]:
            first = [f" {r['first_token_s'][name]:.2f} s ", f" {r['prefill_over_one'][name]:.2f} "]
        same = "yes" if r["same_text"][name] else "no"
        lines.append(
            f"| {title} | {r['tokens_per_s'][name]:.1f} | {r['decode_over_one'][name]:.2f} "
            f"|{first[0]}|{first[1]}| {same} |"
        )
    m = r["machine"]
    roles = ", ".join(f"{role} {name}" for role, name in r["roles"].items())
    note = (
        f"{roles}; vocabulary {r['vocab']:,}. Medians of {r['rounds']} rounds in which all take turns: "
        f"{r['new_tokens']} tokens after a prompt of {r['prompt_tokens']}, and the first token after one of "
        f"{r['long_prompt_tokens']}. Greedy, {r['dtype']}, {m['cpus']} CPU cores, "
        f"{m['torch_threads']} torch threads, load {m['load_1min']:.1f}, torch {m['torch']}."
    )
    return "\n".join([*lines, "", note])
