"""A class at once: many users over HTTP, against plain transformers that serves them one after the other.

The app runs in a process of its own. Every user asks the bundled family a question in three columns, with a
seed, and reads the stream as the page does. Users, server and the models in turn share one machine, and the
two ways alternate, so that other load slows both alike.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from eft_demo.atlas.facts import load_facts
from eft_demo.atlas.quiz import questions
from eft_demo.families.catalogue import find_entry
from eft_demo.families.family import encode_prompt, load_family
from eft_demo.lab import baseline
from eft_demo.lab.app_start import serving
from eft_demo.lab.bench import machine
from eft_demo.lab.page_client import ALPHA, BEHAVIOUR, LENGTH, SAMPLING, Heard, ask
from eft_demo.models.dtype import choose_dtype
from eft_demo.settings import Settings


def bench_users(settings: Settings, users: int = 30, *, rounds: int = 3) -> dict[str, Any]:
    """All results as plain numbers under names with units. Raises EFTError if the app does not start."""
    prompts = [question.prompt for question in questions(load_facts(), users, seed=1)]
    in_turn = InTurn(settings)
    together, turns = [], []
    with serving("atlas") as server:
        url = server.url
        asyncio.run(ask(url, prompts[:1], [0]))  # warm up
        alone = [asyncio.run(ask(url, [prompt], [seed]))[0][0] for seed, prompt in enumerate(prompts)]
        for _ in range(rounds):
            together.append(asyncio.run(ask(url, prompts, range(users))))
            turns.append(in_turn.tokens_per_s(prompts, alone))
    heard = [one for found, _ in together for one in found]
    served = [one for one in heard if not one.refused]
    rates = [sum(one.tokens for one in found) / whole_s for found, whole_s in together]
    first = sorted(one.first_s for one in served)
    equal = [one.ids == alone[n % users].ids for n, one in enumerate(heard) if not one.refused]
    return {
        "users": users,
        "rounds": rounds,
        "refused": len(heard) - len(served),
        "unfinished": sum(reason not in ("stop", "length") for one in served for reason in one.reasons),
        "equal_to_alone": sum(equal) / len(equal),
        "first_token_p50_s": statistics.median(first),
        "first_token_p95_s": first[math.ceil(0.95 * len(first)) - 1],
        "first_token_alone_s": statistics.median(one.first_s for one in alone),
        "tokens_per_s": statistics.median(rates),
        "in_turn_tokens_per_s": statistics.median(turns),
        "ratio": statistics.median(a / b for a, b in zip(rates, turns, strict=True)),
        "dtype": choose_dtype(settings).reason,
        "machine": machine(),
    }


class InTurn:
    """Plain transformers with a logits processor, one text after the other, as behind a lock."""

    def __init__(self, settings: Settings) -> None:
        self.family = load_family(find_entry("atlas", settings), settings)
        dtype = choose_dtype(settings).dtype
        self.large, self.small, self.tuned = baseline.load_roles(
            self.family, ("large_base", "small_base", BEHAVIOUR), dtype
        )

    def tokens_per_s(self, prompts: Sequence[str], wanted: Sequence[Heard]) -> float:
        """Generate as many tokens per column as each of `wanted` has, with the page's sampling."""
        began_s = time.perf_counter()
        for prompt, heard in zip(prompts, wanted, strict=True):
            base, tuned, upscaled = map(len, heard.ids)
            self._text(self.large, "large_base", prompt, base)
            self._text(self.tuned, BEHAVIOUR, prompt, tuned)
            self._text(self.large, "large_base", prompt, upscaled, self.tuned, self.small)
        return sum(heard.tokens for heard in wanted) / (time.perf_counter() - began_s)

    def _text(self, model: Any, role: str, prompt: str, length: int, *pair: Any) -> None:
        processors = [baseline.EFTProcessor(pair[0], pair[1], ALPHA)] if pair else []
        ids = list(encode_prompt(self.family, role, prompt))
        sampling = {"temperature": SAMPLING["temperature"], "top_p": SAMPLING["top_p"], "top_k": 0}
        baseline.generate(model, ids, length, processors, do_sample=True, **sampling)


def to_markdown(r: Mapping[str, Any]) -> str:
    """A result of `bench_users` as a table for docs/results.md."""
    rows = {
        "tokens a second, all users": f"{r['tokens_per_s']:.0f}",
        "the same one after the other, `generate`": f"{r['in_turn_tokens_per_s']:.0f}",
        "ratio": f"{r['ratio']:.1f}",
        "first token, p50": f"{r['first_token_p50_s']:.2f} s",
        "first token, p95": f"{r['first_token_p95_s']:.2f} s",
        "first token of a user alone": f"{r['first_token_alone_s']:.2f} s",
        "runs refused": str(r["refused"]),
        "columns without their end": str(r["unfinished"]),
        "texts equal to the same seed alone": f"{100 * r['equal_to_alone']:.0f} %",
    }
    lines = [f"| {r['users']} users, three columns each | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    m = r["machine"]
    note = (
        f"{r['rounds']} rounds, {LENGTH} tokens a column at most, {m['cpus']} CPUs that users, server and "
        f"`generate` share, load {m['load_1min']:.1f}, torch {m['torch']}, {r['dtype']}."
    )
    return "\n".join([*lines, "", note])
