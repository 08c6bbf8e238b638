"""The earlier turns of a conversation, as a value; `families.prompt` renders them.

All columns were asked the same questions. In each turn, either every column has its own answer, or all of
them go on from one answer that a person chose. Knows text; knows no models and no templates.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eft_demo.errors import InputError
from eft_demo.settings import show_value

MAX_TURNS = 64
MAX_ANSWERS = 16  # as many as a run may have columns
MAX_CHARS = 2_000_000  # of all turns and columns together; an app's own limit is lower
MAX_SYSTEM_CHARS = 8000
Pair = tuple[str, str]  # a question and the answer that one column sees


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answers: one that all columns share, or one per column. Raises InputError."""

    question: str
    answers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.question, str):
            raise InputError(
                f"The question of a turn must be text; got {show_value(self.question)}.", code="turn_question"
            )
        if not isinstance(self.answers, tuple) or not 1 <= len(self.answers) <= MAX_ANSWERS:
            raise InputError(
                f"A turn must have one answer, or one per column, at most {MAX_ANSWERS}; "
                f"got {show_value(self.answers)}.",
                code="turn_answers",
            )
        for answer in self.answers:
            if not isinstance(answer, str):
                raise InputError(
                    f"An answer of a turn must be text; got {show_value(answer)}.", code="turn_answer"
                )

    @property
    def chars(self) -> int:
        """The characters of the question and all answers."""
        return len(self.question) + sum(map(len, self.answers))

    def answer(self, column: int) -> str:
        """The answer that the column of that index sees."""
        return self.answers[column if len(self.answers) > 1 else 0]


Turns = tuple[Turn, ...]


def parse_turn(text: str) -> Turn:
    """Parse a JSON list of a question and its answers, as in links and on the command line.

    Raises InputError.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) < 2:
        raise InputError(
            f'A turn must be a JSON list such as ["question", "answer"]; got {show_value(text)}.',
            code="turn_syntax",
        )
    return Turn(found[0], tuple(found[1:]))


def turn_to_text(turn: Turn) -> str:
    """The turn in the form that `parse_turn` reads."""
    return json.dumps([turn.question, *turn.answers], ensure_ascii=False, separators=(",", ":"))


def read_turns(value: object) -> Turns:
    """Read a list of turns: values, {"question", "answers"} objects, or texts. Raises InputError."""
    if not isinstance(value, (list, tuple)):
        raise InputError(f"The earlier turns must be a list; got {show_value(value)}.", code="turns_type")
    if len(value) > MAX_TURNS:
        raise InputError(
            f"A conversation may have at most {MAX_TURNS} earlier turns; this one has {len(value):,}. "
            "Please start a new one.",
            code="turns_range",
        )
    turns = tuple(map(_read_turn, value))
    if (chars := sum(turn.chars for turn in turns)) > MAX_CHARS:
        raise InputError(
            f"The earlier turns may have at most {MAX_CHARS:,} characters; these have {chars:,}. "
            "Please start a new conversation.",
            code="turns_too_long",
        )
    return turns


def read_system(value: object) -> str:
    """Read a system prompt. Raises InputError."""
    if not isinstance(value, str) or len(value) > MAX_SYSTEM_CHARS:
        shown = f"{len(value):,} characters" if isinstance(value, str) else show_value(value)
        raise InputError(
            f"The system prompt must be text of up to {MAX_SYSTEM_CHARS:,} characters; got {shown}.",
            code="system_text",
        )
    return value


def fits(turns: Turns, columns: int) -> bool:
    """Whether every turn has one answer for all, or one for each of that many columns."""
    return all(len(turn.answers) in (1, columns) for turn in turns)


def seen_by(turns: Turns, column: int) -> tuple[Pair, ...]:
    """The (question, answer) pairs that the column of that index sees."""
    return tuple((turn.question, turn.answer(column)) for turn in turns)


def for_columns(turns: Turns, columns: Sequence[int]) -> Turns:
    """The turns of a run of only these columns."""
    return tuple(
        turn if len(turn.answers) == 1 else Turn(turn.question, tuple(turn.answers[i] for i in columns))
        for turn in turns
    )


def as_json(turns: Iterable[Turn]) -> list[dict[str, object]]:
    """The turns as `read_turns` accepts them."""
    return [{"question": turn.question, "answers": list(turn.answers)} for turn in turns]


def _read_turn(value: Any) -> Turn:
    if isinstance(value, Turn):
        return value
    if isinstance(value, str):
        return parse_turn(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("answers"), (list, tuple)):
        raise InputError(
            f"A turn must have a question and answers; got {show_value(value)}.", code="turn_type"
        )
    return Turn(value.get("question"), tuple(value["answers"]))  # type: ignore[arg-type]  # Turn checks them
