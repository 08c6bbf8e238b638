"""An engine on a GPU that is allocated to one run at a time, as on a Space with ZeroGPU.

The process that serves the page owns no device. Each run is one call of one generator that the lender has
decorated: a process forked from this one gets the device and drives an engine inline, step by step. What
crosses between the two is plain data: a request and a seat number go in, lists of events come back. Live
controls and Stop go through a few numbers in memory that both processes share. Knows runs and engines; the
lender is handed in, so this knows nothing of Spaces.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import copy_context
from multiprocessing.sharedctypes import RawArray
from threading import Lock, Thread
from typing import Any

from eft_demo.engine.engine import PREFILL_CHUNK, Engine
from eft_demo.engine.fairness import places_of_one
from eft_demo.engine.run import Run, RunRequest
from eft_demo.errors import InputError, Overloaded
from eft_demo.runs.events import Event

# Upper limits, chosen and not measured: moving the weights onto the device comes out of the run's time, and
# what a run does not use, it gives back.
START_S, STEP_S = 15.0, 0.06
GOODBYE_S = 2.0  # before the lender takes the device away, so that the run can end with a sentence
MAX_CONTROLS = 32
TIME_OVER = "The time that was asked of the device is over. Please ask for less text."
# duration=function of the generator's arguments -> seconds; then the generator itself
Lend = Callable[..., Callable[[Callable[..., Iterator[list[Event]]]], Callable[..., Iterator[list[Event]]]]]

log = logging.getLogger(__name__)


class Board:
    """What a run's owner wants now, one seat per run: written in this process, read in the forked one."""

    def __init__(self, seats: int) -> None:
        self._values = RawArray("d", seats * (MAX_CONTROLS + 1))  # per seat: cancelled, then the controls
        self._free = deque(range(seats))
        self._lock = Lock()
        self.seats = seats

    def take(self, run: Run) -> int:
        """A seat for the run. Raises Overloaded if there is none."""
        with self._lock:
            if not self._free:
                raise Overloaded(
                    f"All {self.seats} places are taken by runs that wait for the device. "
                    "Please try again in a minute."
                )
            seat = self._free.popleft()
        self.write(seat, run)
        return seat

    def leave(self, seat: int) -> None:
        """Free the seat."""
        with self._lock:
            self._free.append(seat)

    def write(self, seat: int, run: Run) -> None:
        """Put down the run's controls and whether it was cancelled."""
        start = seat * (MAX_CONTROLS + 1)
        values = [float(run.cancelled), *(value for _, value in sorted(run.controls.items()))]
        self._values[start : start + len(values)] = values

    def follow(self, seat: int, run: Run) -> None:
        """Give the run what was put down."""
        start = seat * (MAX_CONTROLS + 1)
        for place, (name, value) in enumerate(sorted(run.controls.items()), start + 1):
            if self._values[place] != value:
                run.set_control(name, self._values[place])
        if self._values[start]:
            run.cancel()


class LentEngine(Engine):
    """An engine of the same `parts` whose runs are carried out where the device is.

    `lend` decorates one generator, once. Without `needs_device` runs are carried out here all the same.
    """

    def __init__(self, *parts: Any, lend: Lend, needs_device: bool = True) -> None:
        super().__init__(*parts)
        self._parts = parts
        self._needs_device = needs_device
        self._board = Board(self.settings.max_waiting + 1)
        self._away: dict[Run, int] = {}  # runs on the device or on their way: their columns
        self._inline: Engine | None = None  # in the forked process
        self._on_device = lend(duration=self.duration_s)(self._steps)

    @property
    def active_sequences(self) -> int:
        return len(self._seqs) + sum(self._away.values())

    def submit(self, request: RunRequest) -> Run:
        """Start the run where the device is. Raises InputError or Overloaded."""
        if not self._needs_device:
            return super().submit(request)
        self._check(request)
        if len(request.spec.controls) > MAX_CONTROLS:
            raise InputError(
                f"A run may have {MAX_CONTROLS} live controls; this has {len(request.spec.controls)}."
            )
        self._queue.check_open()
        limit = places_of_one(self.settings)
        if request.owner and sum(run.request.owner == request.owner for run in list(self._away)) > limit:
            raise Overloaded(
                f"{limit} runs from your address wait for the device already, and that is the most, so that "
                "others find a place. Please try again in a minute."
            )
        run = Run(request, self.wake, self.settings.allow_negative_alpha)
        seat = self._board.take(run)
        self._away[run] = len(request.spec.columns)
        # The lender reads from the context whose request this is.
        thread = Thread(target=copy_context().run, args=(self._fetch, run, seat), daemon=True)
        try:
            thread.start()
        except BaseException:  # a machine has only so many threads
            self._board.leave(seat)
            del self._away[run]
            raise
        return run

    def duration_s(self, request: RunRequest, seat: int) -> int:
        """Seconds of the device that a run asks for at most."""
        prompt = max(len(ids) for ids in request.prompts.values()) + len(request.forced)
        steps = request.length + prompt // PREFILL_CHUNK + 1
        return int(min(self.settings.deadline_s, START_S + GOODBYE_S + STEP_S * steps))

    def _fetch(self, run: Run, seat: int) -> None:
        """Hand the run's owner what comes back from the device, until the end or a failure."""
        sentence = "The device was taken away before this text was finished. Please try again."
        try:
            for events in self._on_device(run.request, seat):
                for event in events:
                    run.push(event)
                self._board.write(seat, run)
        except BaseException as error:  # whatever the lender raises, such as that a quota is used up
            log.warning("a run on the allocated GPU failed: %s", type(error).__name__)
            said = str(getattr(error, "message", error)).rstrip(".")  # str() of Gradio's errors quotes it
            sentence = f"There is no device for this text now: {said}. Please try again later."
        finally:
            self._board.leave(seat)
            del self._away[run]
            run.end("error", sentence)

    def _steps(self, request: RunRequest, seat: int) -> Iterator[list[Event]]:
        """In the forked process: one run, driven step by step; what happened, some ten times a second."""
        # Not this object itself: a thread of the other process may have held its locks when it was copied.
        if self._inline is None:
            self._inline = Engine(*self._parts)
        engine, pause_s = self._inline, 1 / self.settings.updates_per_s
        run = engine.submit(request)
        sent_s = time.perf_counter()
        limit_s = sent_s + self.duration_s(request, seat) - GOODBYE_S
        try:
            while not run.done:
                self._board.follow(seat, run)
                engine.step()
                now_s = time.perf_counter()
                if now_s > limit_s:
                    engine.fail_all(TIME_OVER)
                if now_s - sent_s > pause_s:
                    yield run.events()  # empty too: the lender stops a run only between two of these
                    sent_s = now_s
            yield run.events()
        finally:
            run.cancel()
            engine.step()  # frees its sequences
