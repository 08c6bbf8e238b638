"""The papers' claim as a table: pre-training scale by fine-tuning scale, each cell a model or its emulation.

More pre-training should make answers more factual, more fine-tuning should give them more of the style, and
up-scaling should get both without tuning the large model. Asks the quiz of the bundled family; knows no page.
"""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eft_demo.atlas import quiz
from eft_demo.atlas.facts import load_facts
from eft_demo.engine.service import Service
from eft_demo.lab.evaluate import Judged, judge
from eft_demo.lab.share import Share, share_of
from eft_demo.method.recipe import BASE, DOWNSCALED, REFERENCE, TUNED, UPSCALED, Recipe
from eft_demo.method.roles import SMALL_BASE
from eft_demo.settings import Settings

BEHAVIOUR = "assistant"  # the only one with a large tuned model
SCALES = ("small", "large")
TUNINGS = ("none", "small", "large")
# By scale of pre-training and of fine-tuning.
CELLS: dict[tuple[str, str], tuple[str, Recipe]] = {
    ("small", "none"): ("small base", Recipe(SMALL_BASE)),
    ("small", "small"): ("small tuned", TUNED),
    ("small", "large"): ("down-scaled", DOWNSCALED),
    ("large", "none"): ("large base", BASE),
    ("large", "small"): ("up-scaled", UPSCALED),
    ("large", "large"): ("large tuned", REFERENCE),
}
# What up-scaling recovers: of the score, the gap from one cell to another.
GAPS = {
    "factual": ("small tuned", "up-scaled", "large tuned"),
    "style": ("large base", "up-scaled", "large tuned"),
}
RESAMPLES = 2000  # of the questions, for the intervals of the recovered shares


@dataclass(frozen=True, slots=True)
class Cell:
    """One model, or its emulation."""

    pre_training: str
    fine_tuning: str
    name: str
    recipe: str
    factual: Share
    style: Share


@dataclass(frozen=True, slots=True)
class Recovered:
    """The share of a gap that up-scaling recovers, with a 95 % interval; None where there is no gap."""

    score: str
    from_cell: str
    to_cell: str
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """Both tables, what up-scaling recovers, and every answer behind them by cell."""

    questions: int
    cells: tuple[Cell, ...]
    recovered: tuple[Recovered, ...]
    answers: dict[str, list[Judged]]

    def as_json(self) -> dict[str, Any]:
        """All of it, with the answers."""
        return asdict(self)


def measure(settings: Settings, questions: int) -> Matrix:
    """Ask every cell the same held-out questions, greedily, at alpha 1."""
    service = Service.load(settings)
    try:
        asked = quiz.questions(load_facts(), questions, behaviour=BEHAVIOUR)
        answers = {
            name: judge(service, BEHAVIOUR, recipe.for_behaviour(BEHAVIOUR), asked)
            for name, recipe in CELLS.values()
        }
    finally:
        service.stop()
    return make_matrix(answers)


def make_matrix(answers: dict[str, list[Judged]]) -> Matrix:
    """The tables of these answers: those of all cells, by their names, to the same questions."""
    cells = tuple(
        Cell(
            *place,
            name,
            str(recipe.for_behaviour(BEHAVIOUR)),
            share_of(each.right for each in answers[name] if each.right is not None),
            share_of(each.in_style for each in answers[name]),
        )
        for place, (name, recipe) in CELLS.items()
    )
    count = len(next(iter(answers.values())))
    return Matrix(count, cells, tuple(_recovered(score, answers) for score in GAPS), answers)


def _recovered(score: str, answers: dict[str, list[Judged]]) -> Recovered:
    start, own, end = GAPS[score]
    sides = [[_hit(score, each) for each in answers[name]] for name in (start, own, end)]
    rows = [row for row in zip(*sides, strict=True) if None not in row]
    share = _share_of_gap(rows)
    rng = random.Random(0)
    drawn = [_share_of_gap(rng.choices(rows, k=len(rows))) for _ in range(RESAMPLES if rows else 0)]
    found = sorted(each for each in drawn if each is not None)
    if share is None or len(found) < RESAMPLES:  # some of the samples have no gap
        return Recovered(score, start, end, share, None, None)
    low, high = found[int(0.025 * len(found))], found[int(0.975 * len(found))]
    return Recovered(score, start, end, share, low, high)


def _hit(score: str, answer: Judged) -> bool | None:
    return answer.right if score == "factual" else answer.in_style


def _share_of_gap(rows: Sequence[Sequence[Any]]) -> float | None:
    """What the second recovers of the gap from the first to the third."""
    low, own, high = (sum(side) for side in zip(*rows, strict=True)) if rows else (0, 0, 0)
    return (own - low) / (high - low) if high > low else None


def to_markdown(found: Matrix) -> str:
    """Two tables, one for each score, and what up-scaling recovers."""
    lines = [f"{found.questions:,} held-out questions, greedy, alpha 1, with 95 % intervals."]
    by_place = {(cell.pre_training, cell.fine_tuning): cell for cell in found.cells}
    for score in GAPS:
        lines += [
            "",
            f"| {score}: pre-training | not tuned | tuned small | tuned large |",
            "|---|---|---|---|",
        ]
        for scale in SCALES:
            row = [by_place[scale, tuning] for tuning in TUNINGS]
            lines.append(f"| {scale} | " + " | ".join(f"{c.name} {getattr(c, score)}" for c in row) + " |")
    lines += ["", *(_sentence(each) for each in found.recovered)]
    return "\n".join(lines)


def _sentence(found: Recovered) -> str:
    gap = f"the gap in {found.score} from {found.from_cell} to {found.to_cell}"
    if found.share is None:
        return f"There is no {gap.removeprefix('the ')}."
    interval = "" if found.low is None or found.high is None else f" ({found.low:.0%} to {found.high:.0%})"
    return f"Up-scaling recovers {found.share:.0%}{interval} of {gap}."
