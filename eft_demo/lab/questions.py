"""A person's own questions from a file, and whether an answer is right. Knows no models and no runs.

The file is JSONL or CSV in UTF-8. Each question has a `prompt`; `answer` and the choices may be left out:

    {"prompt": "What is the capital of Peru?", "answer": ["Lima", "City of Kings"]}
    {"prompt": "Which metal is liquid at 20 °C?", "choices": ["Iron", "Mercury"], "answer": "B"}

    prompt,answer,A,B
    What is the capital of Peru?,Lima | City of Kings,,
    Which metal is liquid at 20 °C?,B,Iron,Mercury
"""

import csv
import io
import json
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eft_demo.errors import InputError
from eft_demo.settings import show_value

MAX_BYTES = 2_000_000
MAX_QUESTIONS = 1_000
MAX_ANSWER_CHARS = 500  # of a right answer or a choice
LETTERS = string.ascii_uppercase[:10]  # the names of the choices
FIELDS = ("prompt", "answer", "choices")
BETWEEN = "|"  # right answers in a cell of a CSV file
# Scripts that put no spaces between words, by the names of their characters in Unicode.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question. Without choices, an answer that says any of `answers` is right."""

    line: int  # of the file, from 1
    prompt: str
    answers: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    right: int | None = None  # place of the right choice

    @property
    def judged(self) -> bool:
        """Whether the file says what is right."""
        return bool(self.answers) or self.right is not None


def read_questions(path: Path) -> tuple[Asked, ...]:
    """The questions of a file whose name ends in .csv or, as JSONL, in anything else. Raises InputError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or type(error).__name__}). Please choose another file.",
            code="questions_read",
        ) from None
    if len(data) > MAX_BYTES:
        raise InputError(
            f"{path} is longer than the limit of {MAX_BYTES:,} bytes. Please split it.", code="questions_size"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line} is not UTF-8 text. Please save the file as UTF-8.", code="questions_utf8"
        ) from None
    return parse_questions(text, is_csv=path.suffix.lower() == ".csv")


def parse_questions(text: str, is_csv: bool = False) -> tuple[Asked, ...]:
    """The questions of a file's text. Raises InputError naming the line."""
    found: list[Asked] = []
    for line, fields in _csv_lines(text) if is_csv else _json_lines(text):
        if len(found) == MAX_QUESTIONS:
            raise InputError(
                f"There may be at most {MAX_QUESTIONS:,} questions; line {line} begins another. Please split "
                "the file.",
                code="questions_count",
            )
        found.append(_question(line, fields))
    if not found:
        raise InputError(
            'There is no question in the file. Please write one per line, as {"prompt": "..."}, or as CSV '
            "with a first line of names.",
            code="questions_empty",
        )
    return tuple(found)


def says(text: str, answer: str) -> bool:
    """Whether the text has the answer's words, in any case, and not as a part of other words or numbers."""
    wanted = _plain(answer)
    before = "" if _is_unspaced(wanted[:1]) else r"(?<!\w)(?<!\d[.,])"
    after = "" if _is_unspaced(wanted[-1:]) else r"(?!\w)(?![.,]\d)"
    return bool(wanted) and re.search(before + re.escape(wanted) + after, _plain(text)) is not None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _is_unspaced(char: str) -> bool:
    return bool(char) and unicodedata.name(char, "").startswith(_UNSPACED)


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            fields = json.loads(content)
        except (ValueError, RecursionError):
            raise _wrong(line, 'must be JSON, such as {"prompt": "..."}', content) from None
        if not isinstance(fields, dict):
            raise _wrong(line, 'must be a JSON object, such as {"prompt": "..."}', content)
        if unknown := fields.keys() - set(FIELDS):
            raise _wrong(line, f"may have only {', '.join(FIELDS)}", min(unknown))
        yield line, fields


def _csv_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows as JSON lines would have them. Rows whose cells are all empty are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] | None = None
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if names is None:
                names = _names(cells)
                continue
            if len(cells) > len(names) and any(cells[len(names) :]):
                raise _wrong(reader.line_num, f"may have at most {len(names)} cells", len(cells))
            yield reader.line_num, _fields(dict(zip(names, cells, strict=False)), reader.line_num)
    except csv.Error as error:
        raise _wrong(reader.line_num, "must be CSV", str(error)) from None


def _names(cells: list[str]) -> list[str]:
    names = [cell.upper() if cell.upper() in LETTERS and len(cell) == 1 else cell.lower() for cell in cells]
    allowed = {*FIELDS[:2], *LETTERS}
    if unknown := [name for name in names if name and name not in allowed]:
        raise _wrong(1, f"must name the cells prompt, answer, A to {LETTERS[-1]}", unknown[0])
    if "prompt" not in names or len(set(names)) < len(names):
        raise _wrong(1, "must name a cell prompt, and each name once", ",".join(cells))
    return names


def _fields(cells: Mapping[str, str], line: int) -> dict[str, Any]:
    choices = [cells.get(letter, "") for letter in LETTERS]
    while choices and not choices[-1]:
        choices.pop()
    if not all(choices):
        raise _wrong(
            line, "must have its choices in the first cells", f"{LETTERS[choices.index('')]} is empty"
        )
    fields: dict[str, Any] = {"prompt": cells["prompt"], "choices": choices}
    answer = cells.get("answer", "")
    return fields | {"answer": answer if choices else [a for a in map(str.strip, answer.split(BETWEEN)) if a]}


def _question(line: int, fields: Mapping[str, Any]) -> Asked:
    prompt, choices, answer = fields.get("prompt"), fields.get("choices") or [], fields.get("answer")
    if not isinstance(prompt, str) or not prompt.strip():
        raise _wrong(line, "must have a prompt", prompt)
    if not isinstance(choices, list) or not all(_is_answer(choice) for choice in choices):
        raise _wrong(line, f"must have choices that are texts of 1 to {MAX_ANSWER_CHARS} characters", choices)
    if len(choices) == 1 or len(choices) > len(LETTERS):
        raise _wrong(line, f"must have 2 to {len(LETTERS)} choices", len(choices))
    answers = [answer] if isinstance(answer, str) and answer else answer or []
    if not isinstance(answers, list) or not all(_is_answer(each) for each in answers):
        raise _wrong(
            line, f"must have as answer a text of 1 to {MAX_ANSWER_CHARS} characters, or several", answer
        )
    if not choices:
        return Asked(line, prompt, tuple(answers))
    if len(answers) > 1:
        raise _wrong(line, "must have one right choice", answers)
    right = _place(line, answers[0], choices) if answers else None
    return Asked(line, prompt, choices=tuple(choices), right=right)


def _is_answer(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_ANSWER_CHARS


def _place(line: int, answer: str, choices: list[str]) -> int:
    """The place of the right choice, named by its letter or its text; a text goes first."""
    if choices.count(answer) == 1:
        return choices.index(answer)
    place = LETTERS[: len(choices)].find(answer.strip().upper()) if len(answer.strip()) == 1 else -1
    if place < 0:
        raise _wrong(line, f"must name a choice, from A to {LETTERS[len(choices) - 1]}", answer)
    return place


def _wrong(line: int, must: str, got: object) -> InputError:
    return InputError(f"Line {line} {must}; got {show_value(got)}.", code="questions_line")
