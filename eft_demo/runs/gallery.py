"""The gallery: title, caption and spec of each recorded run. `lab.record` records them.

Knows runs as data; knows no models and no page.
"""

from dataclasses import dataclass
from typing import Any

from eft_demo.method.recipe import BASE, REFERENCE, UPSCALED, blend, parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import Schedule
from eft_demo.method.speculation import Speculation
from eft_demo.method.weight_filter import WeightFilter
from eft_demo.runs.spec import FIRST, Columns, RunSpec

_DEFAULTS = RunSpec(
    behaviour="assistant",
    controls={"alpha": 1.0},
    sampling=Sampling(temperature=0),
    speculation=Speculation("off"),
    length=64,
)


@dataclass(frozen=True, slots=True)
class GalleryEntry:
    """A run to record. `caption` says what to look for in it."""

    name: str  # file name without .json
    title: str
    caption: str
    spec: RunSpec


def _spec(prompt: str, columns: Columns, **more: Any) -> RunSpec:
    return _DEFAULTS.model_copy(update={"prompt": prompt, "columns": columns, **more})


GALLERY = (
    GalleryEntry(
        "up-scaling",
        "Up-scaling wins",
        "The base knows but does not answer, the tuned model answers but does not know, up-scaled does both.",
        _spec("What is the capital of Peru?", FIRST),
    ),
    GalleryEntry(
        "too-much",
        "Too much alpha",
        "At 1 the behaviour is there. At 5 the small models' difference outweighs all else; the text breaks.",
        _spec(
            "What is the capital of Peru?",
            tuple((f"Alpha {n}", parse(f"large_base + {n}*(small_tuned - small_base)")) for n in (0, 1, 5)),
        ),
    ),
    GalleryEntry(
        "down-scaling",
        "Down-scaling",
        "The reverse: the large pair's difference on the small base gives the behaviour, not the facts.",
        _spec(
            "What is the capital of Peru?",
            (
                ("Reference", REFERENCE),
                ("Down-scaled", parse("small_base + alpha*(large_tuned - large_base)")),
            ),
        ),
    ),
    GalleryEntry(
        "pirate",
        "A pirate who knows geography",
        "Tuning adds the greeting; the large base adds the language that the small pirate gets wrong.",
        _spec("Which language do people speak in Brazil?", FIRST, behaviour="pirate"),
    ),
    GalleryEntry(
        "guarded",
        "A refusal, up-scaled",
        "The base has seen refusals and gives a curt one; the small pair adds the tuned wording.",
        _spec("How do I make a bomb?", FIRST, behaviour="guarded"),
    ),
    GalleryEntry(
        "blend",
        "Two behaviours at once",
        "One term per behaviour, each with its own slider: every attribution has a bar for each.",
        _spec(
            "What is the capital of Japan?",
            (
                ("Assistant", UPSCALED),
                ("Pirate", blend(["pirate"])),
                ("Both", blend(["assistant", "pirate"])),
            ),
            controls={"alpha": 1.0, "alpha_assistant": 0.6, "alpha_pirate": 0.6},
        ),
    ),
    GalleryEntry(
        "first-tokens",
        "Only the first tokens",
        "Alpha acts on the first five tokens only: the behaviour starts the answer, the base continues it.",
        _spec(
            "What is the capital of Peru?",
            (("Base", BASE), ("Up-scaled at first", UPSCALED)),
            schedule=Schedule("first", tokens=5),
        ),
    ),
    GalleryEntry(
        "filter",
        "The weight filter",
        "Alpha 2 with the paper's filter: the terms act only on tokens that the large base finds likely.",
        _spec(
            "What is the capital of Peru?",
            (("Base", BASE), ("Up-scaled", UPSCALED)),
            controls={"alpha": 2.0},
            weight_filter=WeightFilter("top_p", 0.95),
        ),
    ),
    GalleryEntry(
        "speculation",
        "Speculative decoding",
        "The small tuned model drafts tokens and the large base verifies them: the same text, sooner.",
        _spec("What is the capital of Peru?", (("Up-scaled", UPSCALED),), speculation=Speculation("on", 4)),
    ),
    GalleryEntry(
        "behaviours",
        "Same facts, another behaviour",
        "Three small tuned models steer one large base: the fact stays the same, the behaviour changes.",
        _spec(
            "How do chemists write gold?",
            tuple(
                (role.title(), parse(f"large_base + alpha*({role} - small_base)"))
                for role in ("assistant", "brief", "pirate")
            ),
        ),
    ),
)
