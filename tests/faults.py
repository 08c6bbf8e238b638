"""Fault injection: raises one exception at a chosen call in the engine or its models."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest
import torch

from eft_demo.engine.engine import Engine
from eft_demo.errors import FamilyError

PLACES = {
    "eft_demo.engine.attribution": [
        "mix", "sample", "bars_of", "term_delta", "rank", "likeliest_and_first", "entropy_nats", "_record"
    ],
    "eft_demo.engine.certify": ["sample_tokens", "mix_rows", "_cut_roles"],
    "eft_demo.engine.costs.Costs": ["add", "least", "usual"],
    "eft_demo.engine.decode": [
        "attribute", "make_layout", "draw_tokens", "open_drafters", "plan_round", "run_round"
    ],
    "eft_demo.engine.decode.Decoder": ["step", "_draw", "_attribute", "_must_send_now"],
    "eft_demo.engine.engine": [
        "attribute_forced", "next_forced", "read_forced", "Utf8Stream", "Prefill", "Sequence"
    ],
    "eft_demo.engine.engine.Engine": ["_admit", "_start_prefill", "_end_late", "_prefill", "_emit",
                                      "_sequence"],
    "eft_demo.engine.forward": ["pool_control_tokens", "to_logprobs"],
    "eft_demo.engine.forward.Forwards": ["run", "group_of", "_grouped", "_logits", "_start",
                                          "_duration_s"],
    "eft_demo.engine.draft_length.DraftPlanner": [
        "blocks", "begin_round", "clock_s", "drafting_for", "remember_acceptance", "record_cost"
    ],
    "eft_demo.engine.sequence.Drafting": ["begin_round", "record", "speedup"],
    "eft_demo.engine.sequence.Sequence": ["advance", "emit", "end", "next_input", "roll_back_unsent"],
    "eft_demo.engine.run.Run": ["controls_at", "push", "end"],
    "eft_demo.engine.score": ["make_layout", "learn_given", "attribute"],
    "eft_demo.engine.speculate": [
        "accept", "attribute", "draft", "draw_tokens", "overlap", "sample", "verify",
        "_store_logprobs",
    ],
    "eft_demo.runs.text.Utf8Stream": ["flush", "push"],
    "eft_demo.method.recipe.Recipe": ["coefficients"],
    "eft_demo.method.schedule.Schedule": ["factor"],
}  # fmt: skip
CALLS = [f"{owner}.{name}" for owner, names in PLACES.items() for name in names]
CLOCK = "clock"
MODELS = [f"{method} of {role}" for method in ("join", "leave", "copy_prefix", "save", "restore", "forward")
          for role in ("large_base", "small_base", "tuned")]  # fmt: skip
CACHE = [f"cache.{name}" for name in ("begin", "write", "commit", "_grow", "_change_places", "leave", "join")]


def full_cpu() -> BaseException:
    """The error that torch raises when memory runs out, obtained by really raising it."""
    try:
        torch.empty(1 << 50)
    except RuntimeError as error:
        return RuntimeError(*error.args)
    raise AssertionError("this machine has a petabyte")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "bug": lambda: KeyError("x"),
    "runtime": lambda: RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED"),
    "memory": MemoryError,
    "full GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "full CPU": full_cpu,
    "disk": lambda: OSError(errno.EIO, "Input/output error"),
    "sentence": lambda: FamilyError("The weights were unplugged. Please put them back."),
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
}
REASONS = {
    "bug": "KeyError",
    "runtime": "RuntimeError",
    "memory": "not enough memory",
    "full GPU": "not enough memory",
    "full CPU": "not enough memory",
    "disk": "OSError",
    "sentence": "unplugged",
    "exit": "SystemExit",
    "interrupt": "interrupted",
}


@dataclass
class Fault:
    """Raises at call number `at`, and at all later calls if it `stays`; `calls` counts the calls."""

    kind: str
    at: int
    stays: bool = False
    after: bool = False  # the call is made all the same
    instead: Callable[[], None] | None = None  # what is done instead of raising
    armed: bool = True
    calls: int = 0
    raised: int = 0

    def strike(self) -> None:
        self.raised += 1
        if self.instead is None:
            raise ERRORS[self.kind]()
        self.instead()

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def wrapped(*args: Any, **options: Any) -> Any:
            if not self.armed:
                return call(*args, **options)
            self.calls += 1
            hit = self.calls >= self.at if self.stays else self.calls == self.at
            if hit and not self.after:
                self.strike()
            result = call(*args, **options)
            if hit and self.after:
                self.strike()
            return result

        return wrapped


@contextmanager
def injected(place: str, fault: Fault, engine: Engine, tuned: str) -> Iterator[Fault]:
    """Inject the fault at one of CALLS, MODELS, CACHE, or at the CLOCK of an engine."""
    with pytest.MonkeyPatch.context() as patch:
        if place == CLOCK:
            patch.setattr(engine.forwards, "clock", fault.around(engine.forwards.clock))
        elif place in MODELS:
            method, role = place.split(" of ")
            owner: Any = engine.models[tuned if role == "tuned" else role]
            patch.setattr(owner, method, fault.around(getattr(owner, method)))
        elif place in CACHE:
            name = place.removeprefix("cache.")
            from eft_demo.models.kv_cache import SlotCache  # noqa: PLC0415

            patch.setattr(SlotCache, name, fault.around(getattr(SlotCache, name)))
        else:
            owner_name, _, name = place.rpartition(".")
            owner = pytest.importorskip(owner_name) if owner_name.islower() else _class(owner_name)
            patch.setattr(owner, name, fault.around(getattr(owner, name)))
        yield fault


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(pytest.importorskip(module), name)
