"""A run as its owner sees it: the request, the events that come back, cancelling, live controls.

Safe to use from any thread. Knows nothing about models and steps.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Condition

from eft_demo.engine.pace import Pace
from eft_demo.errors import InputError
from eft_demo.runs.events import EndEvent, Event
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import check_weight

Prompts = Mapping[str, tuple[int, ...]]
WhatIf = tuple[tuple[Mapping[str, float], ...], ...]  # per forced token, other values of all controls


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What the engine needs to run: a complete `spec` whose columns name loaded models, and token ids.

    `prompts` has the prompt's token ids per role, each in its own prompt format; where the columns have their
    own earlier answers, `column_prompts` has those of each column, and `prompts` those of the first.
    `forced` is the beginning of every answer, given instead of sampled: the part that a branch keeps, or a
    text to score. `what_if` has, for each forced token, equally many other values of all controls, for which
    the run finds what would have been drawn in its place; they are effective values, not scaled again.
    """

    spec: RunSpec
    prompts: Prompts
    forced: tuple[int, ...] = ()
    owner: str = ""  # who it belongs to, for fair sharing; "": not limited per owner
    column_prompts: tuple[Prompts, ...] = ()
    pace: float = 0.0  # tokens a second that a person wants to see; 0 is full speed. It changes no text.
    session: str = ""  # whose texts it may reuse, because many may share an owner's address; "": the owner's
    what_if: WhatIf = ()

    @property
    def reader(self) -> str:
        """Who may see how fast the prompt is read, and reuse the text later."""
        return self.session or self.owner

    def prompts_of(self, column: int) -> Prompts:
        """The prompt of that column per role."""
        return self.column_prompts[column] if self.column_prompts else self.prompts

    @property
    def length(self) -> int:
        """The maximum number of tokens of every answer, including forced ones."""
        assert self.spec.length is not None, "the service fills it in"
        return self.spec.length


class Run:
    """Handle of a submitted run. The owner must call `cancel` when it leaves, for example in a `finally`."""

    def __init__(
        self,
        request: RunRequest,
        wake: Condition,
        note: Callable[[Event], None],
        allow_negative: bool = False,
        hold_s: float = math.inf,
    ) -> None:
        """Calls `note` with every event of the run, when it is sent.

        `hold_s` is the longest time for which its pace and pauses may hold it back.
        """
        self.request = request
        self.pace = Pace(request.pace, hold_s)
        self._allow_negative = allow_negative
        self.submitted_s = time.perf_counter()
        # While its prompt is read: tokens that its models have read, and all that they must read.
        self.reading: tuple[int, int] | None = None
        # (column, position) -> what each of the request's `what_if` would have drawn; complete at the end.
        self.choices: dict[tuple[int, int], tuple[int, ...]] = {}
        self._controls = dict(request.spec.controls)
        self._events: deque[Event] = deque()
        self._open = set(range(len(request.spec.columns)))  # columns that have not ended
        self._cancelled = False
        self._arrived = Condition()
        self._wake = wake
        self._note = note

    @property
    def controls(self) -> dict[str, float]:
        """The current live controls. Every change makes a new dict, so records may keep this one."""
        return self._controls

    def controls_at(self, position: int) -> dict[str, float]:
        """The values for the token at `position`: the live controls scaled by the schedule."""
        factor = self.request.spec.schedule.factor(position)
        if factor == 1:
            return self._controls
        return {name: value if name == "beta" else value * factor for name, value in self._controls.items()}

    @property
    def cancelled(self) -> bool:
        """Whether the owner has stopped the run; its columns end at the next step."""
        return self._cancelled

    @property
    def done(self) -> bool:
        """Whether every column has ended (some events may still be unread)."""
        return not self._open

    def set_control(self, name: str, value: float) -> None:
        """Change a live control, starting with the next token. Raises InputError for a bad name or value."""
        self.set_controls({name: value})

    def set_controls(self, values: Mapping[str, float]) -> None:
        """Change several live controls atomically, all or none. Raises InputError for a bad name or value."""
        checked = {name: check_weight(name, value, self._allow_negative) for name, value in values.items()}
        for name in checked:
            if name not in self._controls:
                raise InputError(f"No column of this run uses {name}.")
        self._controls = {**self._controls, **checked}

    def cancel(self) -> None:
        """Stop every column before its next token. Calling it again, or after the end, does nothing."""
        self._cancelled = True
        with self._wake:
            self._wake.notify_all()

    def events(self, timeout_s: float = 0.0) -> list[Event]:
        """All unread events, after waiting up to `timeout_s` for the first. Also empty after the end."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._events or self.done, timeout_s)
            events = list(self._events)
            self._events.clear()
        return events

    def push(self, event: Event) -> None:
        """For the engine only. Events of a column that has already ended are dropped."""
        with self._arrived:
            if event.column in self._open:
                if isinstance(event, EndEvent):
                    self._open.discard(event.column)
                self._send(event)
                self._arrived.notify_all()

    def end(self, finish_reason: str, error: str | None, columns: Iterable[int] = ()) -> None:
        """For the engine only: end these columns, or all columns, unless they have ended already."""
        with self._arrived:
            for column in self._open.intersection(columns or self._open):
                self._open.discard(column)
                self._send(EndEvent(column, finish_reason, error, 0.0, 0.0, ""))
            self._arrived.notify_all()

    def _send(self, event: Event) -> None:
        self._events.append(event)
        self._note(event)
