"""A run as its owner sees it: what was asked for, the events that come back, cancel, live controls.

Safe to use from any thread. Knows nothing of models and ticks.
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Condition

from eft_demo.engine.events import EndEvent, Event
from eft_demo.errors import InputError
from eft_demo.recipe import Recipe
from eft_demo.sampling import Sampling
from eft_demo.settings import check_control


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Panels that answer one prompt with the same dice. `prompts` has token ids per role."""

    prompts: Mapping[str, tuple[int, ...]]
    panels: tuple[tuple[str, Recipe], ...]
    controls: Mapping[str, float]
    sampling: Sampling
    max_new_tokens: int


class Run:
    """Handle of a submitted run. The owner calls `cancel` when it goes away, at the latest in a `finally`."""

    def __init__(self, request: RunRequest, wake: Condition) -> None:
        self.request = request
        self.submitted_s = time.perf_counter()
        self._controls = dict(request.controls)
        self._events: deque[Event] = deque()
        self._open_panels = len(request.panels)
        self._cancelled = False
        self._arrived = Condition()
        self._wake = wake

    @property
    def controls(self) -> dict[str, float]:
        """The live controls now: a new dict after every change, so a record may keep its own."""
        return self._controls

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    @property
    def done(self) -> bool:
        """Whether every panel has ended (its events may still wait to be read)."""
        return self._open_panels == 0

    def set_control(self, name: str, value: float) -> None:
        """Change a live control from the next token on. Raises InputError for a bad name or value."""
        number = check_control(name, value)
        if name not in self._controls:
            raise InputError(f"No panel of this run listens to {name}.")
        self._controls = {**self._controls, name: number}

    def cancel(self) -> None:
        """Stop every panel before its next token. Calling it again, or after the end, does nothing."""
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
        """For the engine only."""
        with self._arrived:
            self._events.append(event)
            self._open_panels -= isinstance(event, EndEvent)
            self._arrived.notify_all()
