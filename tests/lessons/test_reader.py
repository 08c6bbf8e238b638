"""Lessons: what a good file says, and that every bad one is refused with its line and entry."""

import json
import os
import re
from pathlib import Path

import pytest

from eft_demo.lessons.claims import problems
from eft_demo.lessons.reader import (
    CLAIM,
    COLOURS,
    LESSON,
    LINK_WORDS,
    PAGE_WORDS,
    SELECT,
    STEP,
    LessonError,
    TokenPlace,
    lesson_files,
    read_lesson,
)
from eft_demo.runs.link import Link, from_query
from eft_demo.ui.lessons import lesson_list, open_lesson
from tests.javascript import find_node, modules

GOOD = """\
title: Mine
steps:
  - title: First
    text: One paragraph.
    show: {open: up-scaling, alpha: 2, select: {column: Base, token: Lima}}
    do: Look.
    actions:
      - {label: Ask, prompt: "What is the capital of Chile?", behaviour: pirate, seed: 7, run: true}
      - {label: Two, column: ["Base: large_base", "Own: small_base"], tab: strip, colour: rank}
    question: Why?
    answer: Because.
    holds:
      - {column: Tuned, lacks: Lima}
  - {title: Last, text: [One, Two]}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_lesson_is_read(tmp_path: Path) -> None:
    lesson = read_lesson(written(tmp_path, GOOD))
    first, last = lesson.steps
    assert (lesson.name, lesson.title, last.text) == ("mine", "Mine", ("One", "Two"))
    assert first.show.select == TokenPlace("Base", "Lima") and first.show.settings == {
        "controls": {"alpha": 2.0}
    }
    ask, two = first.actions
    assert ask.run and ask.needs_model and not first.show.needs_model
    assert ask.settings == {"prompt": "What is the capital of Chile?", "behaviour": "pirate", "seed": 7}
    assert two.settings["columns"] == [
        {"name": "Base", "recipe": "large_base"},
        {"name": "Own", "recipe": "small_base"},
    ]
    (claim,) = first.holds
    assert (claim.run, claim.column, claim.says, claim.line) == ("up-scaling", "Tuned", {"lacks": "Lima"}, 13)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Mine\n", "", "line 1: the file has no title"),
        ("steps:", "stepps:", "line 2: 'stepps'.*Did you mean steps"),
        (GOOD[GOOD.index("steps:") :], "steps: []\n", "line 2: steps is empty"),
        (GOOD[GOOD.index("steps:") :], "steps: no\n", "line 2: steps must be a list"),
        ("    text: One paragraph.\n", "", "line 3: steps.1 has no text"),
        ("One paragraph.", "''", "line 4: steps.1.text is empty"),
        ("One paragraph.", "x" * 1501, "line 4: steps.1.text may have at most 1,500 characters"),
        ("open: up-scaling", "open: ../secret", "line 5: There is no recorded run '../secret'"),
        ("alpha: 2", "alpha: 9", "line 5: .*9.*"),
        ("alpha: 2", "alpha: [1]", "line 5: steps.1.show.alpha must be a text or a number"),
        ("alpha: 2", "aplha: 2", "line 5: 'aplha' is not a known entry.*Did you mean alpha"),
        ("alpha: 2", "label: No", "line 5: 'label' is not a known entry"),
        ("token: Lima", "token: 0", "line 5: steps.1.show.select.token must be at least 1"),
        ("token: Lima", "token: true", "line 5: steps.1.show.select.token"),
        (", token: Lima", "", "line 5: steps.1.show.select has no token"),
        ("do: Look.", "do: [Look]", "line 6: steps.1.do must be text"),
        ("label: Ask, ", "", "line 8: steps.1.actions.1 has no label"),
        ("seed: 7", "seed: -1", "line 8: .*-1"),
        ("seed: 7", "open: pirate", "line 8: steps.1.actions.1 cannot both run"),
        ("run: true", "run: often", "line 8: steps.1.actions.1.run must be true or false"),
        ("Own: small_base", "Own small_base", "line 9: A column in a link must be"),
        ("Own: small_base", "Own: small_base +", "line 9: "),
        ('column: ["Base: large_base", "Own: small_base"]', "column: []", "line 9: .*column is empty"),
        ("One paragraph.", '"\\ud83d"', "line 4: steps.1.text has half of a surrogate pair"),
        ("do: Look.", '"\\udc00": Look.', "line 6: a name in steps.1 has half of a surrogate pair"),
        ("alpha: 2", 'alpha: "\\udc00"', "line 5: .*alpha has half of a surrogate pair"),
        ("tab: strip", "tab: plot", "line 9: steps.1.actions.2.tab must be one of bars"),
        ("colour: rank", "colour: red", "line 9: steps.1.actions.2.colour must be one of"),
        ("    answer: Because.\n", "", "line 3: steps.1 needs a question and an answer"),
        ("lacks: Lima", "lack: Lima", "line 13: 'lack' is not a known entry.*Did you mean lacks"),
        (", lacks: Lima", "", "line 13: steps.1.holds.1 claims nothing"),
        ("lacks: Lima", "changed: true", "line 13: steps.1.holds.1 has no token"),
        ("lacks: Lima", "token: 1, at_alpha: 1", "line 13: steps.1.holds.1 needs at_alpha and changes"),
        ("lacks: Lima", "token: 1, above: 2", "line 13: steps.1.holds.1.above must be a number from 0 to 1"),
        ("lacks: Lima", "ends: soon", "line 13: steps.1.holds.1.ends must be one of stop, length"),
        (
            "open: up-scaling, alpha: 2, select: {column: Base, token: Lima}",
            "alpha: 2",
            "line 13: .*has no run",
        ),
        (
            "{title: Last, text: [One, Two]}",
            "{title: Last, text: [One, Two], show: {}}",
            "line 14: .*sets nothing",
        ),
        ("{title: Last", "{title: [Last", "this is not YAML"),
        ("title: Mine", "title: &a [*a]", "contains itself|title"),
        ("title: Mine", "title: Mine\ntitle: Yours", "title is there twice"),
        ("    do: Look.", "    do: Lo\x07ok.", r"line 6: .*invisible character U\+0007"),
        ('prompt: "What is the capital of Chile?"', "prompt: 1.50", "line 8: .*prompt.* in quotes"),
    ],
)
def test_a_bad_lesson_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(LessonError, match=message) as refusal:
        read_lesson(written(tmp_path, GOOD.replace(old, new)))
    assert "mine.yaml" in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"title: x\n" * 30_000, b"<html>", b"- 1\n"])
def test_a_file_that_is_no_lesson_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(LessonError, match=r"mine\.yaml") as refusal:
        read_lesson(path)
    assert str(tmp_path) not in str(refusal.value)  # every visitor may read it
    with pytest.raises(LessonError):
        read_lesson(tmp_path / "absent.yaml")


def test_every_word_of_a_lesson_is_one_of_a_link() -> None:
    samples = {"column": "A:large_base", "filter": "off", "schedule": "constant", "speculation": "off"}
    for word in LINK_WORDS:
        link = from_query(f"v=1&{word}={samples.get(word, 1)}")
        assert isinstance(link, Link) and not link.left_out, word


@pytest.mark.skipif(find_node() is None, reason="needs Node.js")
def test_colours_are_those_of_the_page() -> None:
    with modules("lib/colours.js") as page:
        assert tuple(page.evaluate("Object.keys(COLOURS)")) == COLOURS


def test_the_page_reads_a_changed_file_again_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    assert lesson_list(tmp_path) == [{"name": "mine", "title": "Mine"}]
    sent = json.loads(open_lesson({"name": "mine"}, tmp_path))
    assert [step["title"] for step in sent["steps"]] == ["First", "Last"]
    assert sent["steps"][0]["show"]["run_settings"]["prompt"] == "What is the capital of Kenya?"
    assert "holds" not in sent["steps"][0]
    written(tmp_path, GOOD.replace("do:", "doo:"))
    os.utime(path, ns=(1, 1))
    assert "mine.yaml, line 6: 'doo'" in json.loads(open_lesson({"name": "mine"}, tmp_path))["error"]
    assert lesson_list(tmp_path) == [{"name": "mine", "title": "mine"}]


@pytest.mark.parametrize("prompt", ["12:30", "007", "0x7f", "1_000", "1:30.5", "0b11", "1e3", "no", "7"])
def test_a_prompt_without_quotes_stays_as_it_is_written(tmp_path: Path, prompt: str) -> None:
    text = GOOD.replace('prompt: "What is the capital of Chile?"', f"prompt: {prompt}")
    assert read_lesson(written(tmp_path, text)).steps[0].actions[0].settings["prompt"] == prompt


@pytest.mark.parametrize("ending", ["yml", "YAML"])
def test_a_lesson_may_have_the_other_ending(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"mine.{ending}").write_text(GOOD)
    assert [read_lesson(path).name for path in lesson_files(tmp_path)] == ["mine"]
    assert "Mine" in json.dumps(lesson_list(tmp_path))


def test_hidden_files_are_no_lessons(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    (tmp_path / "._mine.yaml").write_bytes(b"\0\5\x16\7")  # as macOS adds on other systems' disks
    assert lesson_list(tmp_path) == [{"name": "mine", "title": "Mine"}]


@pytest.mark.parametrize("posted", [None, {}, {"name": 3}, {"name": "../atlas/family"}, {"name": "x" * 9000}])
def test_a_lesson_that_is_not_there_is_refused(posted: object) -> None:
    message = json.loads(open_lesson(posted))["error"]
    assert "ten-steps" in message and len(message) < 400


def test_the_example_of_the_documentation_is_valid_and_true(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "teaching.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert list(problems(read_lesson(written(tmp_path, shown)))) == []
    words = {*LESSON, *STEP, *LINK_WORDS, *PAGE_WORDS, *SELECT, *CLAIM} - {"column", "run"}
    assert [word for word in words if f"`{word}`" not in text and f"{word}:" not in text] == []


def test_every_bundled_lesson_is_valid() -> None:
    assert [len(read_lesson(path).steps) for path in lesson_files()] == [10]
