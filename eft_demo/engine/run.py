"""A run as its owner sees it: what was asked for, the events that come back, cancel, live controls.

Safe to use from any thread. Knows nothing of models and steps.
"""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Condition

from eft_demo.errors import InputError
from eft_demo.runs.events import EndEvent, Event
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import check_weight


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run as the engine takes it: `spec` leaves nothing open, and its columns name models that are here.

    `prompts` has the prompt's token ids per role, in the form that each role is shown it. `forced` is the
    beginning of every answer, given and not drawn: what a branch keeps, or a text to score.
    """

    spec: RunSpec
    prompts: Mapping[str, tuple[int, ...]]
    forced: tuple[int, ...] = ()
    owner: str = ""  # whose it is, for sharing sequences and places; "": nobody's share is counted

    @property
    def length(self) -> int:
        """Tokens of every answer at most, the given ones included."""
        assert self.spec.length is not None, "the service fills it in"
        return self.spec.length


class Run:
    """Handle of a submitted run. The owner calls `cancel` when it goes away, at the latest in a `finally`."""

    def __init__(self, request: RunRequest, wake: Condition, allow_negative: bool = False) -> None:
        self.request = request
        self._allow_negative = allow_negative
        self.submitted_s = time.perf_counter()
        self._controls = dict(request.spec.controls)
        self._events: deque[Event] = deque()
        self._open = set(range(len(request.spec.columns)))  # columns that have not ended
        self._cancelled = False
        self._arrived = Condition()
        self._wake = wake

    @property
    def controls(self) -> dict[str, float]:
        """The live controls now: a new dict after every change, so a record may keep its own."""
        return self._controls

    def controls_at(self, position: int) -> dict[str, float]:
        """The values that act on the token at `position` now: the schedule makes them of the live ones."""
        factor = self.request.spec.schedule.factor(position)
        if factor == 1:
            return self._controls
        return {name: value if name == "beta" else value * factor for name, value in self._controls.items()}

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    @property
    def done(self) -> bool:
        """Whether every column has ended (its events may still wait to be read)."""
        return not self._open

    def set_control(self, name: str, value: float) -> None:
        """Change a live control from the next token on. Raises InputError for a bad name or value."""
        self.set_controls({name: value})

    def set_controls(self, values: Mapping[str, float]) -> None:
        """Change several at once: all or none, and no token is made with half of them. Raises InputError."""
        checked = {name: check_weight(name, value, self._allow_negative) for name, value in values.items()}
        for name in checked:
            if name not in self._controls:
                raise InputError(f"No column of this run listens to {name}.")
        self._controls = {**self._controls, **checked}

    def cancel(self) -> None:
        """Stop every column before its next token. Calling it again, or after the end, does nothing."""
        self._cancelled = True
        with self._wake:
            self._wake.notify_all()

    def events(self, timeout_s: float = 0.0) -> list[Event]:
        """All events not read yet, after waiting up to `timeout_s` for the first. Empty at the end too."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._events or self.done, timeout_s)
            events = list(self._events)
            self._events.clear()
        return events

    def push(self, event: Event) -> None:
        """For the engine only. A column ends once: what comes for it after its end is dropped."""
        with self._arrived:
            if event.column in self._open:
                if isinstance(event, EndEvent):
                    self._open.discard(event.column)
                self._events.append(event)
                self._arrived.notify_all()

    def end(self, finish_reason: str, error: str | None, columns: Iterable[int] = ()) -> None:
        """For the engine only: end these columns, or all, where they have not ended."""
        with self._arrived:
            for column in self._open.intersection(columns or self._open):
                self._open.discard(column)
                self._events.append(EndEvent(column, finish_reason, error, 0.0, 0.0, ""))
            self._arrived.notify_all()
