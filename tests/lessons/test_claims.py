"""What the bundled lessons say holds on the recorded runs, and a false claim is found."""

from pathlib import Path
from typing import Any

import pytest

from eft_demo.lessons.claims import broken_claim, find_token, problems
from eft_demo.lessons.reader import RUNS, Claim, TokenPlace, lesson_files, read_lesson
from eft_demo.runs.export import pieces_of, token_texts
from eft_demo.runs.replay import read_run
from tests.javascript import find_node, modules


@pytest.mark.parametrize("path", lesson_files(), ids=lambda path: path.stem)
def test_what_a_lesson_says_holds_on_the_recorded_runs(path: Path) -> None:
    lesson = read_lesson(path)
    assert list(problems(lesson)) == []
    assert all(step.holds and step.question for step in lesson.steps)


def test_the_step_about_alpha_can_be_run_where_its_recording_leaves_values_uncertain() -> None:
    (step,) = [step for path in lesson_files() for step in read_lesson(path).steps if "Alpha 0" in step.title]
    recorded = read_run(RUNS / f"{step.show.open}.json").spec
    (made,) = [state for state in step.actions if state.run]
    assert made.settings["prompt"] == recorded.prompt and made.settings["seed"] == recorded.sampling.seed
    assert made.settings["controls"] == {"alpha": recorded.controls["alpha"]}


FIRST = TokenPlace("Up-scaled", 1)


@pytest.mark.parametrize(
    ("column", "place", "says"),
    [
        ("Base", None, {"lacks": "Nairobi"}),
        ("Tuned", None, {"has": "Nairobi"}),
        ("Tuned", None, {"ends": "length"}),
        ("Base", None, {"same_as": ("pirate", "Base")}),
        ("Up-scaled", None, {"accepted_above": 0.1}),
        ("Up-scaled", None, {"base_never_below": 0.9}),
        ("Up-scaled", None, {"base_somewhere_below": 1e-9}),
        ("Up-scaled", FIRST, {"changed": False}),
        ("Up-scaled", FIRST, {"above": 0.99}),
        ("Up-scaled", FIRST, {"below": 0.01}),
        ("Up-scaled", FIRST, {"at_alpha": 0, "changes": False}),
        ("Up-scaled", FIRST, {"at_alpha": 1, "changes": True}),
        ("Base", TokenPlace("Base", "Nairobi"), {"split": False}),
        ("Base", TokenPlace("Base", "Oslo"), {"split": True}),
        ("Base", TokenPlace("Base", 999), {"changed": True}),
        ("Other", None, {"has": "a"}),
        ("Base", None, {"same_as": ("pirate", "Other")}),
    ],
)
def test_a_false_claim_is_found(column: str, place: TokenPlace | None, says: dict[str, Any]) -> None:
    assert broken_claim(Claim("up-scaling", column, 1, place, says))


def test_a_token_that_is_not_there_is_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: Mine\nsteps:\n- title: A\n  text: B\n"
        "  show: {open: pirate, select: {column: Base, token: Lima}}\n"
    )
    (problem,) = problems(read_lesson(path))
    assert "Step 1, show: in the run pirate" in problem and "Lima" in problem


@pytest.mark.skipif(find_node() is None, reason="needs Node.js")
def test_the_page_finds_the_same_tokens() -> None:
    run = read_run(RUNS / "up-scaling.json")
    columns = [
        {"name": column.name, "tokens": [{"s": text} for text in token_texts(column, pieces_of(run))]}
        for column in run.columns
    ]
    with modules("lib/lesson.js") as page:
        for column, token, nth in (("Base", "Nairobi", 1), ("Tuned", "capital", 2), ("Up-scaled", 3, 1)):
            index, _ = find_token(run, TokenPlace(column, token, nth))
            asked = {"columns": columns, "place": {"column": column, "token": token, "nth": nth}}
            assert page.evaluate("({ columns, place }) => placeOf(columns, place)", asked)["i"] == index
