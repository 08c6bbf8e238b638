"""What a step costs beside the models' forwards, at the widths of real vocabularies.

A real engine decodes three columns on models that answer at once with logits made up beforehand, so its CPU
time is that of mixing, sampling, ranking and attribution. It is divided by the CPU time of a forward of a
real architecture with that vocabulary and made-up weights. Knows the engine; does not know text.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eft_demo.engine.engine import Engine
from eft_demo.engine.run import RunRequest
from eft_demo.method.recipe import BASE, TUNED, UPSCALED
from eft_demo.method.sampling import Sampling
from eft_demo.models.dtype import choose_dtype
from eft_demo.models.protocol import Slot
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import Settings

# Standard deviations of the logits. Flat: top-p keeps nearly the whole vocabulary. Like text: a few tokens.
SPREADS = {"flat": 0.02, "like text": 4.5}
TOKENS = 12  # per measured run
VARIETY = 8  # different log-probs of each model, taken in turn
ROLES = ("large_base", "tuned", "small_base")
READ = 64  # tokens that the model has read before the measured one


@dataclass(frozen=True, slots=True)
class Architecture:
    """A real model by the values of its config.json that its speed depends on."""

    title: str
    model_type: str
    vocab: int
    hidden: int
    layers: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int

    def config(self) -> dict[str, Any]:
        """The values under the library's names."""
        return {
            "vocab_size": self.vocab,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "intermediate_size": self.feed_forward,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "tie_word_embeddings": True,
        }


ARCHITECTURES = (
    Architecture("SmolLM2 135M", "llama", 49_152, 576, 30, 1536, 9, 3, 64),
    Architecture("Qwen2.5 0.5B", "qwen2", 151_936, 896, 24, 4864, 14, 2, 64),
    Architecture("Gemma 3 270M", "gemma3_text", 262_144, 640, 18, 2048, 4, 1, 256),
    Architecture("Gemma 3 1B", "gemma3_text", 262_144, 1152, 26, 6912, 4, 1, 256),
)


class MadeUpModel:
    """A `LanguageModel` that reads nothing: it returns given logits (variety, vocab) in turn, uncopied."""

    def __init__(self, name: str, logits: Tensor) -> None:
        self.name, self.logits = name, logits
        self.vocab, self.context = logits.shape[1], 4096
        self.calls = 0  # chooses among the logits

    def join(self) -> Slot:
        """A row."""
        return Slot(0)

    def leave(self, slot: Slot) -> None:
        """Nothing to free."""

    def reset(self) -> None:
        """Nothing to free."""

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Only the length counts."""
        target.length = source.length

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """(rows, block) -> (rows, keep, vocab); one row after the other gets the next of the logits."""
        for slot in slots:
            slot.length += tokens.shape[1]
        wanted = len(slots) * keep
        first = self.calls % (len(self.logits) - wanted + 1)
        self.calls += 1
        return self.logits[first : first + wanted].view(len(slots), keep, self.vocab)


def made_up_engine(vocab: int, spread: float, dtype: torch.dtype, settings: Settings) -> Engine:
    """An engine on three made-up models. The small pair agrees with the large base about as real ones do."""
    generator = torch.Generator().manual_seed(vocab)
    shared = torch.randn(VARIETY, vocab, generator=generator)
    models = {}
    for role in ROLES:
        own = torch.randn(VARIETY, vocab, generator=generator)
        models[role] = MadeUpModel(role, ((0.9 * shared + 0.44 * own) * spread).to(dtype))
    # Some control tokens, as real vocabularies have.
    return Engine(models, (1, 2, 3), settings, [b"x"] * vocab, range(4, 20))


def step_s(engine: Engine, sampling: Sampling, tokens: int = TOKENS) -> float:
    """CPU seconds per step of three columns with this sampling."""
    columns = (("Base", BASE), ("Tuned", TUNED), ("Up-scaled", UPSCALED))
    spec = RunSpec(
        behaviour="tuned", columns=columns, controls={"alpha": 1.0}, sampling=sampling, length=tokens
    ).for_behaviour()
    run = engine.submit(RunRequest(spec, dict.fromkeys(ROLES, (30, 31))))
    steps, started_s = 0, time.thread_time()
    while not run.done:
        engine.step()
        run.events(0)
        steps += 1
    return (time.thread_time() - started_s) / steps


def bench_vocabulary(
    settings: Settings, architectures: Sequence[Architecture] = ARCHITECTURES, rounds: int = 7
) -> dict[str, Any]:
    """The results for each architecture, as plain numbers under names with units."""
    choice = choose_dtype(settings)
    before = torch.get_num_threads()
    try:
        found = [_bench_one(settings, kind, choice.dtype, rounds) for kind in architectures]
    finally:
        torch.set_num_threads(before)
    return {
        "architectures": found,
        "dtype_reason": choice.reason,
        "cpus": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
        "torch": torch.__version__,
    }


def _bench_one(settings: Settings, kind: Architecture, dtype: torch.dtype, rounds: int) -> dict[str, Any]:
    """Forwards and runs in turn, because both slow down alike when the machine is busy."""
    engines = {
        name: made_up_engine(kind.vocab, spread, dtype, replace(settings, threads=1))
        for name, spread in SPREADS.items()
    }
    forward = _forward_of(kind, dtype)
    forwards_s: list[float] = []
    shares: dict[str, list[float]] = {name: [] for name in SPREADS}
    steps_s: dict[str, list[float]] = {name: [] for name in SPREADS}
    for i in range(rounds + 1):
        for name, engine in engines.items():
            sides_s = [_cpu_s(forward)]
            took_s = step_s(engine, Sampling(seed=i))
            sides_s.append(_cpu_s(forward))
            if i:  # the first round warms up
                forwards_s += sides_s
                steps_s[name].append(took_s)
                shares[name].append(took_s / statistics.mean(sides_s))
    return {
        "title": kind.title,
        "vocab": kind.vocab,
        "dtype": str(dtype).removeprefix("torch."),
        "forward_s": statistics.median(forwards_s),
        "step_s": {name: statistics.median(found) for name, found in steps_s.items()},
        "share": {name: statistics.median(found) for name, found in shares.items()},
    }


@torch.inference_mode()
def _forward_of(kind: Architecture, dtype: torch.dtype) -> Callable[[], object]:
    """A forward of one token of one text with plain transformers, its cache holding `READ` tokens."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM  # noqa: PLC0415  # takes seconds

    config = CONFIG_MAPPING[kind.model_type](**kind.config())
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model = model.to_empty(device="cpu").eval()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        tensor.fill_(0.5 if "inv_freq" in name else 0.01)  # memory that nobody wrote would not be read
    cache = model(torch.zeros(1, READ, dtype=torch.int64), use_cache=True).past_key_values
    token = torch.zeros(1, 1, dtype=torch.int64)

    @torch.inference_mode()
    def forward() -> None:
        model(token, past_key_values=cache, use_cache=True, logits_to_keep=1)

    return forward


def _cpu_s(way: Callable[[], object]) -> float:
    started_s = time.thread_time()
    way()
    return time.thread_time() - started_s


def to_markdown(r: Mapping[str, Any]) -> str:
    """A result of `bench_vocabulary` as a table for docs/results.md."""
    found = r["architectures"]
    lines = [
        "| | " + " | ".join(one["title"] for one in found) + " |",
        "|---" * (1 + len(found)) + "|",
        "| vocabulary | " + " | ".join(f"{one['vocab']:,}" for one in found) + " |",
        "| one forward | " + " | ".join(f"{1000 * one['forward_s']:.1f} ms" for one in found) + " |",
    ]
    lines += [
        f"| mixing to attribution of a step of three columns, {name} | "
        + " | ".join(f"{1000 * one['step_s'][name]:.1f} ms, {one['share'][name]:.0%}" for one in found)
        + " |"
        for name in SPREADS
    ]
    note = (
        f"CPU time in one thread, medians, forwards and steps in turn; the share is that of a forward of one "
        f"token by plain transformers in {found[0]['dtype']}. {r['cpus']} CPUs, load {r['load_1min']:.1f}, "
        f"torch {r['torch']}."
    )
    return "\n".join([*lines, "", note])
