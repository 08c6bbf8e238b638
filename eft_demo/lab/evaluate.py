"""Runs the quiz on recipes through the engine, and makes the table that tests the paper's claim.

Knows the Atlas judges, the engine and recipes; knows no page.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from eft_demo.atlas.behaviours import BEHAVIOURS, follows
from eft_demo.atlas.facts import load_facts
from eft_demo.atlas.quiz import Question, factual, questions
from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.method.recipe import BASE, DOWNSCALED, REFERENCE, TUNED, UPSCALED, Recipe
from eft_demo.method.roles import SMALL_BASE
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import TEMPERATURE, TOP_P, Settings, show_value

ROWS_AT_ONCE = 32
LENGTH = 96  # tokens; the longest answers of the quiz's behaviours have about 70

# (row of the table, recipe) for the assistant; the other behaviours have no large tuned model.
ASSISTANT_ROWS = (
    ("small base", Recipe(SMALL_BASE)),
    ("large base", BASE),
    ("small tuned", TUNED),
    ("up-scaled", UPSCALED),
    ("large tuned (reference)", REFERENCE),
    ("down-scaled", DOWNSCALED),
)
OTHER_ROWS = (("small tuned", TUNED), ("up-scaled", UPSCALED))


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `count`, with Wilson's (1927) 95 % interval, which stays within 0 and 1."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        """The share, from 0 to 1; 0 of an empty count."""
        return self.hits / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The interval's lower and upper end, from 0 to 1."""
        if not self.count:
            return 0.0, 1.0
        z, n, p = 1.959964, self.count, self.value
        centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} ({low:.3f} to {high:.3f})"


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of one recipe."""

    behaviour: str
    row: str
    recipe: str
    factual: Share
    style: Share


def evaluate(settings: Settings, *, questions: int, sampling: bool, behaviours: list[str]) -> dict[str, Any]:
    """Ask each recipe the same `questions`, greedily or with `sampling` at the page's defaults.

    An empty list of behaviours means all of them. Raises InputError for one that the quiz cannot judge.
    """
    for name in behaviours:
        check_behaviour(name)
    service = Service.load(settings)
    try:
        results = [
            evaluate_recipe(service, behaviour, row, recipe, questions, sampling)
            for behaviour in behaviours or BEHAVIOURS
            for row, recipe in (ASSISTANT_ROWS if behaviour == "assistant" else OTHER_ROWS)
        ]
    finally:
        service.stop()
    temperature, top_p = _warp(sampling)
    return {
        "questions": min(r.style.count for r in results),  # fewer if the quiz has fewer
        "temperature": temperature,
        "top_p": top_p,
        "alpha": 1.0,
        "results": [asdict(r) for r in results],
    }


def check_behaviour(name: str) -> None:
    """Raises InputError for a behaviour that the quiz has no judge for."""
    if name not in BEHAVIOURS:
        raise InputError(
            f"There is no behaviour {show_value(name)}. Choose one of {', '.join(BEHAVIOURS)}.",
            code="unknown_behaviour",
            where="behaviour",
        )


def evaluate_recipe(
    service: Service, behaviour: str, row: str, recipe: Recipe, count: int, sampling: bool
) -> Result:
    """Score one recipe: one line of the table."""
    asked = questions(load_facts(), count, behaviour=behaviour)
    column = recipe.for_behaviour(behaviour)
    answers = [
        trace
        for start in range(0, len(asked), ROWS_AT_ONCE)
        for trace in _ask(service, asked, start, behaviour, column, sampling)
    ]
    true = [factual(t.text, q.fact) for q, t in zip(asked, answers, strict=True) if q.fact]
    kept = [
        follows(behaviour, t.text, finished=t.finish_reason == "stop", hazardous=q.hazardous)
        for q, t in zip(asked, answers, strict=True)
    ]
    return Result(behaviour, row, str(column), Share(sum(true), len(true)), Share(sum(kept), len(kept)))


def _warp(sampling: bool) -> tuple[float, float]:
    """(temperature, top-p): the page's defaults, or greedy."""
    return (TEMPERATURE.default, TOP_P.default) if sampling else (0.0, 1.0)


def _ask(
    service: Service, asked: list[Question], start: int, behaviour: str, column: Recipe, sampling: bool
) -> list[ColumnTrace]:
    """Ask up to 32 questions in one batch. A question's index is its seed."""
    temperature, top_p = _warp(sampling)
    runs = [
        service.start_run(
            RunSpec(
                prompt=q.prompt,
                behaviour=behaviour,
                columns=(("answer", column),),
                sampling=Sampling(temperature, top_p, seed=start + i),
                length=LENGTH,
                # In bf16 drafts may change the rounding, and whether to draft depends on the machine's load.
                speculation=Speculation("off"),
            )
        )
        for i, q in enumerate(asked[start : start + ROWS_AT_ONCE])
    ]
    return [collect(run)[0] for run in runs]


def to_markdown(result: dict[str, Any]) -> str:
    """The table of one evaluation, with 95 % intervals."""
    how = (
        "greedy"
        if result["temperature"] == 0
        else f"temperature {result['temperature']}, top-p {result['top_p']}"
    )
    lines = [
        f"{result['questions']:,} held-out questions, {how}, alpha {result['alpha']:g}; 95 % intervals.",
        "",
        "| behaviour | model | factual | style |",
        "|---|---|---|---|",
    ]
    for r in result["results"]:
        shares = [Share(**r[key]) for key in ("factual", "style")]
        name = f"**{r['row']}**" if r["row"] == "up-scaled" else r["row"]
        lines.append(f"| {r['behaviour']} | {name} | {shares[0]} | {shares[1]} |")
    return "\n".join(lines)
