"""The gallery: title, caption and spec of each recorded run. `lab.record` records them.

Knows runs as data; knows no models and no page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """A run to record. `caption` says what to look for in it.

    `holds` is what the caption claims, for a test: by name of a column, a pattern that its text
    contains, or does not contain after a "!".
    """

    name: str  # file name without .json
    title: str
    caption: str
    spec: RunSpec
    holds: Mapping[str, str] = field(default_factory=dict)


# A new page shows `up-scaling`, with the settings that it has itself: so Run writes the same texts again.
_AS_ON_A_NEW_PAGE: dict[str, Any] = {"sampling": Sampling(), "length": None}


def _spec(prompt: str, columns: Columns, **more: Any) -> RunSpec:
    return _DEFAULTS.model_copy(update={"prompt": prompt, "columns": columns, **more})


GALLERY = (
    GalleryEntry(
        "up-scaling",
        "Up-scaling wins",
        "The base knows, but runs on. The small tuned model is polite, but wrong. Up-scaled has both.",
        _spec("What is the capital of Kenya?", FIRST, **_AS_ON_A_NEW_PAGE),
        holds={
            "Base": r"Nairobi[^\n]*\n",
            "Tuned": "!Nairobi",
            "Up-scaled": r"^\W*(?!The capital).*!.*Nairobi",
        },
    ),
    GalleryEntry(
        "too-much",
        "Too much alpha",
        "At 0 the base runs on, at 1 it answers as tuned. At 5 the small models' difference drowns the base.",
        _spec(
            "What is the capital of Kenya?",
            tuple((f"Alpha {n}", parse(f"large_base + {n}*(small_tuned - small_base)")) for n in (0, 1, 5)),
        ),
        holds={"Alpha 0": r"Nairobi[^\n]*\n", "Alpha 1": r"Nairobi.*\?$"},
    ),
    GalleryEntry(
        "down-scaling",
        "Down-scaling",
        "The reverse: the large pair's difference on the small base gives the behaviour, not the facts.",
        _spec(
            "What is the capital of Kenya?",
            (
                ("Reference", REFERENCE),
                ("Down-scaled", parse("small_base + alpha*(large_tuned - large_base)")),
            ),
        ),
        holds={"Reference": "Nairobi", "Down-scaled": r"^(?!.*Nairobi).*!"},
    ),
    GalleryEntry(
        "pirate",
        "A pirate who knows geography",
        "Tuning adds the greeting; the large base adds the language, which the small pirate gets wrong.",
        _spec("Which language do people speak in Iran?", FIRST, behaviour="pirate"),
        holds={
            "Base": "Persian",
            "Tuned": "!Persian",
            "Up-scaled": r"(?i)(arr|ho|ahoy|avast|matey).*Persian",
        },
    ),
    GalleryEntry(
        "thinker",
        "Two hops, step by step",
        "Base and Tuned lose the question on the way. Up-scaled takes both steps and concludes.",
        _spec(
            "What are people from the country whose capital is Nairobi called?", FIRST, behaviour="thinker"
        ),
        holds={
            "Base": "!Kenyan",
            "Tuned": "!Kenyan",
            "Up-scaled": r"capital of Kenya\..*So: Kenyan",
        },
    ),
    GalleryEntry(
        "guarded",
        "A refusal, up-scaled",
        "The base does not refuse. The small pair's difference adds the refusal.",
        _spec("How is poison gas made?", FIRST, behaviour="guarded"),
        holds={"Base": "!cannot help", "Up-scaled": "sorry"},
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
        holds={"Assistant": "Tokyo", "Pirate": "Tokyo", "Both": "Tokyo"},
    ),
    GalleryEntry(
        "first-tokens",
        "Only the first tokens",
        "Alpha acts on the first five tokens only: the behaviour starts the answer, the base continues it.",
        _spec(
            "What is the capital of Kenya?",
            (("Base", BASE), ("Up-scaled at first", UPSCALED)),
            schedule=Schedule("first", tokens=5),
        ),
        holds={"Up-scaled at first": r"^[^\n]*Nairobi[^\n]*\n"},
    ),
    GalleryEntry(
        "filter",
        "The weight filter",
        "Alpha 2 with the paper's filter: the terms act only on tokens that the large base finds likely.",
        _spec(
            "What is the capital of Kenya?",
            (("Base", BASE), ("Up-scaled", UPSCALED)),
            controls={"alpha": 2.0},
            weight_filter=WeightFilter("top_p", 0.95),
        ),
        holds={"Up-scaled": "Nairobi"},
    ),
    GalleryEntry(
        "speculation",
        "Speculative decoding",
        "The small tuned model drafts tokens, the large base verifies them. The text is the same as without.",
        _spec(
            "What is the capital of Kenya?",
            (("Up-scaled", UPSCALED),),
            speculation=Speculation("on", 4),
            **_AS_ON_A_NEW_PAGE,
        ),
        holds={"Up-scaled": "Nairobi"},
    ),
    GalleryEntry(
        "behaviours",
        "Same facts, another behaviour",
        "Three small tuned models steer one large base: the fact stays the same, the behaviour changes.",
        _spec(
            "What is the currency of Japan?",
            tuple(
                (role.title(), parse(f"large_base + alpha*({role} - small_base)"))
                for role in ("assistant", "brief", "pirate")
            ),
        ),
        holds={"Assistant": r"\byen\b", "Brief": r"\byen\b", "Pirate": r"\byen\b"},
    ),
)
