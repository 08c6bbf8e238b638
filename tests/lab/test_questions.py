"""A file of questions: both forms say the same, errors name their line, and answers are found as words."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import InputError
from eft_demo.lab import questions
from eft_demo.lab.questions import LETTERS, Asked, parse_questions, read_questions, says

JSONL = """{"prompt": "Capital of Peru?", "answer": ["Lima", "City of Kings"]}

{"prompt": "Which metal is liquid, \\"quick\\"?", "choices": ["Iron", "Mercury"], "answer": "B"}
{"prompt": "Hello!"}
"""
CSV = """prompt,answer,A,B
Capital of Peru?,Lima | City of Kings,,

"Which metal is liquid, ""quick""?",B,Iron,Mercury
Hello!,,,
"""
WANTED = [
    ("Capital of Peru?", ("Lima", "City of Kings"), (), None, True),
    ('Which metal is liquid, "quick"?', (), ("Iron", "Mercury"), 1, True),
    ("Hello!", (), (), None, False),
]


def plain(found: Sequence[Asked]) -> list[tuple[object, ...]]:
    return [(q.prompt, q.answers, q.choices, q.right, q.judged) for q in found]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_jsonl_and_csv_say_the_same(tmp_path: Path, end: str, mark: str) -> None:
    for name, text in (("own.jsonl", JSONL), ("own.CSV", CSV)):
        path = tmp_path / name
        path.write_bytes((mark + text.replace("\n", end)).encode())
        found = read_questions(path)
        assert plain(found) == WANTED
        assert [q.line for q in found] == ([1, 3, 4] if name == "own.jsonl" else [2, 4, 5])


texts = st.text(st.characters(codec="utf-8", exclude_characters="|"), min_size=1, max_size=30).filter(
    str.strip
)


@given(st.lists(st.tuples(texts, st.lists(texts, max_size=3)), min_size=1, max_size=5))
def test_every_text_comes_back_from_jsonl(asked: list[tuple[str, list[str]]]) -> None:
    lines = "\n".join(json.dumps({"prompt": p, "answer": a}, ensure_ascii=False) for p, a in asked)
    assert [(q.prompt, list(q.answers)) for q in parse_questions(lines)] == asked


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_read_or_refused(text: str, is_csv: bool) -> None:
    try:
        assert parse_questions(text, is_csv)
    except InputError as refusal:
        assert refusal.code in ("questions_line", "questions_empty")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("nothing", 1),
        ('["a"]', 1),
        ('{"prompt": "a"}\n{"prompt": " "}', 2),
        ('{"prompt": "a"}\n\n{"prompt": 3}', 3),
        ('{"prompt": "a", "answers": "b"}', 1),
        ('{"prompt": "a", "answer": 3}', 1),
        ('{"prompt": "a", "answer": ["b", ""]}', 1),
        ('{"prompt": "a", "choices": ["x"]}', 1),
        ('{"prompt": "a", "choices": "xy"}', 1),
        ('{"prompt": "a", "choices": ["x", "y"], "answer": "C"}', 1),
        ('{"prompt": "a", "choices": ["x", "y"], "answer": ["A", "B"]}', 1),
        (json.dumps({"prompt": "a", "choices": ["x"] * 11}), 1),
        (json.dumps({"prompt": "a", "answer": "x" * 501}), 1),
        ("[" * 100_000, 1),
    ],
)
def test_an_error_names_its_line(text: str, line: int) -> None:
    with pytest.raises(InputError, match=f"Line {line} ") as refused:
        parse_questions(text)
    assert refused.value.code == "questions_line"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("question,answer\na,b", 1),
        ("prompt,prompt\na,b", 1),
        ("prompt,answer\na,b,c", 2),
        ("prompt,answer,A,B\n\n,Lima,,", 3),
        ("prompt,answer,A,B,C\na,A,x,,z", 2),
        ('prompt\n"a', 2),
    ],
)
def test_an_error_in_csv_names_its_line(text: str, line: int) -> None:
    with pytest.raises(InputError, match=f"Line {line} ") as refused:
        parse_questions(text, is_csv=True)
    assert refused.value.code == "questions_line"


def test_the_limits_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "MAX_QUESTIONS", 2)
    with pytest.raises(InputError, match=r"at most 2 questions; line 3") as refused:
        parse_questions('{"prompt": "a"}\n' * 3)
    assert refused.value.code == "questions_count"
    path = tmp_path / "own.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n\xff')
    with pytest.raises(InputError, match="line 2 is not UTF-8"):
        read_questions(path)
    monkeypatch.setattr(questions, "MAX_BYTES", 5)
    with pytest.raises(InputError, match="limit of 5 bytes"):
        read_questions(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_questions(tmp_path)


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("The capital is lima.", "Lima", True),
        ("Limassol", "Lima", False),
        ("It is New\n York!", "new york", True),
        ("It has 15 people", "5", False),
        ("It is 3.5", "3", False),
        ("It is 3.", "3", True),
        ("1,500 m", "500", False),
        ("ﬁre", "fire", True),
        ("答案是東京。", "東京", True),
        ("Римский", "Рим", False),
        ("a+b", "a+b", True),
        ("anything", " ", False),
    ],
)
def test_an_answer_is_found_as_words(text: str, answer: str, found: bool) -> None:
    assert says(text, answer) is found


def test_a_choice_may_be_named_by_its_text() -> None:
    (first,) = parse_questions('{"prompt": "a", "choices": ["B", "A"], "answer": "A"}')
    (second,) = parse_questions('{"prompt": "a", "choices": ["x", "y"], "answer": "y"}')
    assert (first.right, second.right) == (1, 1)
    assert len(LETTERS) == 10


def test_the_guide_shows_the_same_questions_twice() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
    first, second = (text.partition(f"```{kind}\n")[2].partition("```")[0] for kind in ("json", "csv"))
    assert plain(parse_questions(first)) == plain(parse_questions(second, is_csv=True))
    assert [q.judged for q in parse_questions(first)] == [True, True, False]
