"""Asks the models of an engine for one token each, to learn whether they answer.

Knows how to start a run; knows nothing of models and pages.
"""

import time
from collections.abc import Callable
from threading import Lock

from eft_demo.engine.engine import Engine
from eft_demo.engine.run import Run
from eft_demo.errors import Overloaded
from eft_demo.runs.events import EndEvent
from eft_demo.runs.spec import RunSpec

FRESH_S = 10.0  # models that answered this recently are not asked again
WAIT_S = 5.0  # how long they may take
QUESTION = RunSpec(prompt="Hello", length=1)  # in the usual columns: a base, a tuned and an up-scaled one


class Probe:
    """Whether the models of one engine answer. Safe to use from any thread; one asks and the others wait."""

    def __init__(self, engine: Engine, start_run: Callable[[RunSpec], Run]) -> None:
        self._engine, self._start_run = engine, start_run
        self._lock = Lock()
        self._answered_s = -FRESH_S  # when they last did

    def answers(self) -> bool:
        """Whether every model writes a token within 5 s, or has just done so.

        An engine that is too busy to answer in time does if it is stepping. Nobody asks where there is no
        model, or where one token would book a GPU.
        """
        if not self._engine.models or not self._engine.has_device:
            return True
        with self._lock:
            return time.monotonic() - self._answered_s < FRESH_S or self._ask()

    def _ask(self) -> bool:
        steps = self._engine.counts.steps
        try:
            run = self._start_run(QUESTION)
        except Overloaded:
            return self._engine.stalled_s < WAIT_S
        give_up_s = time.monotonic() + WAIT_S
        ends: list[EndEvent] = []
        try:
            while len(ends) < len(run.request.spec.columns) and (left_s := give_up_s - time.monotonic()) > 0:
                ends += [event for event in run.events(left_s) if isinstance(event, EndEvent)]
        finally:
            run.cancel()
        if any(end.finish_reason == "error" for end in ends):
            return False
        if len(ends) == len(run.request.spec.columns):
            self._answered_s = time.monotonic()
            return True
        return self._engine.counts.steps > steps
