"""Late answers of another process: nobody waits for long, and who asks again gets the first answer."""

from collections.abc import Callable
from threading import Event

import pytest

from eft_demo.models.late_answers import KEPT_S, Answers
from eft_demo.models.protocol import NotYet
from tests.waiting import PATIENCE_S, until


def held(go: Event, made: list[str], text: str) -> Callable[[], str]:
    def work() -> str:
        assert go.wait(PATIENCE_S)
        made.append(text)
        return text

    return work


def test_a_late_answer_is_given_to_the_same_question_and_work_is_done_once() -> None:
    answers, go, made = Answers("test", patience_s=0.0), Event(), list[str]()
    with pytest.raises(NotYet):
        answers.ask("a", held(go, made, "a"))()
    assert answers.late_s > 0
    with pytest.raises(NotYet):
        answers.ask("b", held(go, made, "b"))()  # does not displace the other one
    go.set()
    until(lambda: answers.late_s == 0)
    assert [answers.ask(name, held(go, made, "again"))() for name in "ab"] == ["a", "b"]
    assert answers.ask("a", held(go, made, "again"))() == "a"  # what followed from it was late too
    assert made == ["a", "b"]


def test_a_late_failure_is_raised_once() -> None:
    answers, go = Answers("test", patience_s=0.0), Event()

    def fail() -> None:
        assert go.wait(PATIENCE_S)
        raise ValueError("late")

    with pytest.raises(NotYet):
        answers.ask("a", fail)()
    go.set()
    until(lambda: answers.late_s == 0)
    with pytest.raises(ValueError, match="late"):
        answers.ask("a", fail)()


def test_an_old_late_answer_is_forgotten() -> None:
    answers, go, made = Answers("test", patience_s=0.0), Event(), list[str]()
    with pytest.raises(NotYet):
        answers.ask("a", held(go, made, "old"))()
    go.set()
    until(lambda: answers.late_s == 0)
    answers._late["a"].answered_s -= KEPT_S + 1
    answers.patience_s = PATIENCE_S
    assert answers.ask("a", held(go, made, "new"))() == "new"
