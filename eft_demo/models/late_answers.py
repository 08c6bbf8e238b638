"""Waits for the answers of another process, but never for long: who asks again gets the late answer.

One answer at a time. Knows threads and seconds; does not know what is asked.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from eft_demo.models.protocol import NotYet

PATIENCE_S = 0.3  # all columns of a step wait this long for an answer; then those that need none go on
# A late answer is kept for those who ask again: longer than a step of the other columns, and than the
# questions that follow from the answer.
KEPT_S = 5.0

T = TypeVar("T")


@dataclass(slots=True)
class _Late:
    answer: Future[Any]
    since_s: float
    answered_s: float = 0.0


class Answers:
    """The thread that asks, and the late answers by their questions."""

    def __init__(self, name: str, patience_s: float = PATIENCE_S) -> None:
        """`name` is that of the thread."""
        self.patience_s = patience_s
        self._thread = ThreadPoolExecutor(1, name)
        self._late: dict[Hashable, _Late] = {}

    @property
    def late_s(self) -> float:
        """For how many seconds an answer has been due since NotYet was raised; 0 if none is."""
        due = [late.since_s for late in list(self._late.values()) if not late.answer.done()]
        return time.monotonic() - min(due) if due else 0.0

    def ask(self, question: Hashable, work: Callable[[], T]) -> Callable[[], T]:
        """Begin `work`, or if the answer to the same question was late just now, take that answer.

        The result waits for it, and raises NotYet after `patience_s`. A late failure is raised once.
        """
        self._late = {other: late for other, late in self._late.items() if not _is_old(late)}
        known = self._late.get(question)
        asked = known or _Late(self._thread.submit(work), time.monotonic())

        def finish() -> T:
            if wait([asked.answer], self.patience_s).not_done:
                if known is None:
                    asked.answer.add_done_callback(lambda _: setattr(asked, "answered_s", time.monotonic()))
                    self._late = {**self._late, question: asked}  # others may be reading the old one
                raise NotYet("The server has not answered yet.")
            if asked.answer.exception():
                self._late = {other: late for other, late in self._late.items() if late is not asked}
            return cast("T", asked.answer.result())

        return finish


def _is_old(late: _Late) -> bool:
    return 0 < late.answered_s < time.monotonic() - KEPT_S
