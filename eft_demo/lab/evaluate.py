"""Runs the quiz on recipes through the engine, and makes the tables that test the paper's claim.

Knows the Atlas judges, the engine and recipes; knows no page.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from eft_demo.atlas import quiz
from eft_demo.atlas.behaviours import BEHAVIOURS, follows
from eft_demo.atlas.facts import load_facts
from eft_demo.atlas.queries import KINDS
from eft_demo.atlas.quiz import Question
from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.lab.share import Share, share_of
from eft_demo.method.recipe import BASE, DOWNSCALED, REFERENCE, TUNED, UPSCALED, Recipe
from eft_demo.method.roles import SMALL_BASE
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import TEMPERATURE, TOP_P, Settings, show_value

ROWS_AT_ONCE = 32
LENGTH = 128  # tokens; the longest answers of the quiz's behaviours have about 100
OUTSIDE = 300  # questions outside the almanac, and as many inside that must not be declined
PER_FORM = 2  # entities for every form of the separately written list

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
BASE_ROW = ("large base", BASE)

# Parts of the evaluation, with what their questions are.
PARTS = {
    "unseen": "questions about held-out entities, in forms of the grammar that no model read",
    "list": "questions about held-out entities, in the forms of a separately written list",
    "kinds": "questions beyond one fact",
    "talk": "small talk in forms that no model read",
    "outside": "questions outside the almanac, in forms that no model read",
}


@dataclass(frozen=True, slots=True)
class Result:
    """The scores of one recipe on one part: right answers (also by kind of question), style, declines."""

    part: str
    behaviour: str
    row: str
    recipe: str
    factual: Share
    style: Share
    declined: Share
    by_kind: dict[str, Share]


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer, whether it is right (None: to a hazardous question) and whether it has the style."""

    prompt: str
    kind: str
    text: str
    right: bool | None
    in_style: bool


def evaluate(
    settings: Settings,
    *,
    questions: int,
    sampling: bool,
    behaviours: list[str],
    parts: Iterable[str] = ("unseen",),
) -> dict[str, Any]:
    """Ask each recipe the same questions, greedily or with `sampling` at the page's defaults.

    `questions` is their number in the part "unseen" and, for each kind, a tenth of it in the part "kinds". An
    empty list of behaviours means all of them. Raises InputError for a behaviour that the quiz cannot judge
    or an unknown part.
    """
    for name in behaviours:
        check_behaviour(name)
    chosen = tuple(parts)
    for part in chosen:
        if part not in PARTS:
            raise InputError(
                f"There is no part {show_value(part)}. Choose one of {', '.join(PARTS)}.",
                code="unknown_part",
                where="part",
            )
    service = Service.load(settings)
    try:
        results = [
            evaluate_recipe(service, behaviour, row, recipe, asked, sampling, part)
            for part in chosen
            for behaviour in behaviours or BEHAVIOURS
            for row, recipe, asked in _lines(part, behaviour, questions)
        ]
    finally:
        service.stop()
    temperature, top_p = _warp(sampling)
    return {
        "questions": {
            part: max((r.style.count for r in results if r.part == part), default=0) for part in chosen
        },
        "temperature": temperature,
        "top_p": top_p,
        "alpha": 1.0,
        "results": [asdict(r) for r in results],
    }


def _lines(part: str, behaviour: str, count: int) -> list[tuple[str, Recipe, list[Question]]]:
    """(row, recipe, questions) of one behaviour in one part."""
    facts, assistant = load_facts(), behaviour == "assistant"
    rows: tuple[tuple[str, Recipe], ...] = ASSISTANT_ROWS if assistant else OTHER_ROWS
    if part == "unseen":
        asked = quiz.questions(facts, count, behaviour=behaviour)
    elif part == "list":
        asked = quiz.blind_questions(facts, PER_FORM)
        rows = ASSISTANT_ROWS[:5] if assistant else OTHER_ROWS[1:]
    elif part in ("talk", "outside"):
        asked = (quiz.talk_questions if part == "talk" else quiz.outside_questions)(OUTSIDE)
        rows = (BASE_ROW, *OTHER_ROWS) if assistant else OTHER_ROWS
    else:
        kinds = KINDS if assistant else ("two_hop",) if behaviour == "thinker" else ()
        asked = [q for kind in kinds for q in quiz.kind_questions(facts, kind, max(count // 10, 1))]
        rows = ASSISTANT_ROWS[1:5] if assistant else OTHER_ROWS
    return [(row, recipe, asked) for row, recipe in rows] if asked else []


def check_behaviour(name: str) -> None:
    """Raises InputError for a behaviour that the quiz has no judge for."""
    if name not in BEHAVIOURS:
        raise InputError(
            f"There is no behaviour {show_value(name)}. Choose one of {', '.join(BEHAVIOURS)}.",
            code="unknown_behaviour",
            where="behaviour",
        )


def evaluate_recipe(
    service: Service,
    behaviour: str,
    row: str,
    recipe: Recipe,
    asked: list[Question],
    sampling: bool = False,
    part: str = "unseen",
) -> Result:
    """Score one recipe on these questions: one line of a table."""
    column = recipe.for_behaviour(behaviour)
    judged = judge(service, behaviour, column, asked, sampling)
    by_kind: dict[str, list[bool]] = {}
    for each in judged:
        if each.right is not None:
            by_kind.setdefault(each.kind, []).append(each.right)
    return Result(
        part,
        behaviour,
        row,
        str(column),
        share_of(good for own in by_kind.values() for good in own),
        share_of(each.in_style for each in judged),
        share_of(quiz.declines(each.text) for each in judged if each.right is not None),
        {kind: share_of(own) for kind, own in sorted(by_kind.items())},
    )


def judge(
    service: Service, behaviour: str, column: Recipe, asked: list[Question], sampling: bool = False
) -> list[Judged]:
    """Ask one recipe these questions, and judge each answer."""
    answers = [
        trace
        for start in range(0, len(asked), ROWS_AT_ONCE)
        for trace in _ask(service, asked, start, behaviour, column, sampling)
    ]
    return [
        Judged(
            q.prompt,
            q.kind,
            trace.text,
            None if q.hazardous else quiz.right(trace.text, q),
            follows(
                behaviour,
                trace.text,
                finished=trace.finish_reason == "stop",
                hazardous=q.hazardous,
                asked=_form_of(q),
            ),
        )
        for q, trace in zip(asked, answers, strict=True)
    ]


def _form_of(question: Question) -> str:
    return question.asked if question.asked in ("talk", "outside") else "fact"


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
    """The tables of one evaluation, one for each part, with 95 % intervals."""
    return "\n\n".join(_part_table(part, result) for part in result["questions"])


def _part_table(part: str, result: dict[str, Any]) -> str:
    greedy = result["temperature"] == 0
    how = "greedy" if greedy else f"temperature {result['temperature']}, top-p {result['top_p']}"
    count = result["questions"][part]
    lines = [f"{count:,} {PARTS[part]}, {how}, alpha {result['alpha']:g}; 95 % intervals.", ""]
    rows = [r for r in result["results"] if r["part"] == part]
    if part == "kinds":
        return "\n".join([*lines, *_kind_lines(rows)])
    first = "declines" if part == "outside" else "apt" if part == "talk" else "factual"
    lines += [
        f"| behaviour | model | {first} | style | says that it does not know |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['behaviour']} | {_row(r)} | "
        + " | ".join(str(Share(**r[key])) for key in ("factual", "style", "declined"))
        + " |"
        for r in rows
    ]
    if part in ("unseen", "list"):
        lines += ["", *_attribute_lines(rows)]
    return "\n".join(lines)


def _row(r: dict[str, Any]) -> str:
    return f"**{r['row']}**" if r["row"] == "up-scaled" else str(r["row"])


def _kind_lines(rows: list[dict[str, Any]]) -> list[str]:
    """One line for each kind of question and model."""
    lines = ["| kind | behaviour | model | right |", "|---|---|---|---|"]
    for kind in dict.fromkeys(kind for r in rows for kind in r["by_kind"]):
        lines += [
            f"| {kind.replace('_', ' ')} | {r['behaviour']} | {_row(r)} | {Share(**r['by_kind'][kind])} |"
            for r in rows
            if kind in r["by_kind"]
        ]
    return lines


def _attribute_lines(rows: list[dict[str, Any]]) -> list[str]:
    """What the assistant gets right, by attribute: hits of questions for each model."""
    own = [r for r in rows if r["behaviour"] == "assistant"]
    if not own:
        return []
    kinds = sorted({kind for r in own for kind in r["by_kind"]})
    lines = [
        "| asked for | questions | " + " | ".join(r["row"] for r in own) + " |",
        "|---|---|" + "---|" * len(own),
    ]
    for kind in kinds:
        shares = [Share(**r["by_kind"][kind]) for r in own]
        lines.append(
            f"| {kind.replace('_', ' ')} | {shares[0].count} | "
            + " | ".join(f"{s.value:.2f}" for s in shares)
            + " |"
        )
    return lines
