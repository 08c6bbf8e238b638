"""An engine on a GPU that is allocated to one run at a time, as on a Space with ZeroGPU.

The process that serves the page owns no device. Each run is one call of a generator decorated by the host
(`allocate_gpu`): a process forked from this one gets the device and drives an engine step by step. Only plain
data crosses between the two: a request and a seat number go in, lists of events come back. Live controls and
Stop travel through a few numbers in shared memory. Knows runs and engines; the decorator is passed in, so
this module knows nothing about Spaces.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import copy_context
from dataclasses import replace
from multiprocessing.sharedctypes import RawArray
from threading import Lock, Thread
from typing import Any

from eft_demo.engine.engine import PREFILL_CHUNK, Engine
from eft_demo.engine.fairness import max_waiting_of_owner
from eft_demo.engine.run import Run, RunRequest
from eft_demo.errors import InputError, Overloaded
from eft_demo.runs.events import Event

# Upper limits, estimated rather than measured. Moving the weights onto the device counts towards a run's
# time; a run returns the time it does not use.
START_S, STEP_S = 15.0, 0.06
GOODBYE_S = 2.0  # end the run this long before the device is taken away, so that it can report why
MAX_CONTROLS = 32
TIME_OVER = "The GPU time reserved for this run is used up. Please ask for a shorter text."
# duration=function of the generator's arguments -> seconds; then the generator itself
GpuDecorator = Callable[
    ..., Callable[[Callable[..., Iterator[list[Event]]]], Callable[..., Iterator[list[Event]]]]
]

log = logging.getLogger(__name__)


class SharedControls:
    """Live controls and Stop, one seat per run: written in this process, read in the forked one."""

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
                    f"{self.seats} runs are waiting for the GPU already. Please try again in a minute."
                )
            seat = self._free.popleft()
        self.write(seat, run)
        return seat

    def leave(self, seat: int) -> None:
        """Free the seat."""
        with self._lock:
            self._free.append(seat)

    def write(self, seat: int, run: Run) -> None:
        """Store the run's controls and whether it was cancelled."""
        start = seat * (MAX_CONTROLS + 1)
        values = [float(run.cancelled), *(value for _, value in sorted(run.controls.items()))]
        self._values[start : start + len(values)] = values

    def follow(self, seat: int, run: Run) -> None:
        """Apply the stored values to the run."""
        start = seat * (MAX_CONTROLS + 1)
        for place, (name, value) in enumerate(sorted(run.controls.items()), start + 1):
            if self._values[place] != value:
                run.set_control(name, self._values[place])
        if self._values[start]:
            run.cancel()


class ZeroGpuEngine(Engine):
    """An engine made of the same `parts` whose runs execute in the process that has the device.

    `allocate_gpu` decorates one generator, once. Without `needs_device`, runs execute in this process.
    """

    def __init__(self, *parts: Any, allocate_gpu: GpuDecorator, needs_device: bool = True) -> None:
        super().__init__(*parts)
        self._parts = parts
        self.has_device = not needs_device
        self._shared = SharedControls(self.settings.max_waiting + 1)
        self._away: dict[Run, int] = {}  # number of columns of each run on the device or waiting for it
        self._inline: Engine | None = None  # in the forked process
        self._on_device = allocate_gpu(duration=self.duration_s)(self._steps)

    @property
    def active_sequences(self) -> int:
        """How many sequences hold slots here, are on the device or wait for it."""
        return len(self._seqs) + sum(self._away.values())

    def submit(self, request: RunRequest) -> Run:
        """Start the run in the process that has the device. Raises InputError or Overloaded."""
        if self.has_device:
            return super().submit(request)
        self._check(request)
        if len(request.spec.controls) > MAX_CONTROLS:
            raise InputError(
                f"A run may have {MAX_CONTROLS} live controls; this one has {len(request.spec.controls)}."
            )
        self._queue.check_open()
        limit = max_waiting_of_owner(self.settings)
        if request.owner and sum(run.request.owner == request.owner for run in list(self._away)) > limit:
            raise Overloaded(
                f"{limit} runs from your address are waiting for the GPU already, which is the limit. "
                "Please try again in a minute."
            )
        run = Run(request, self.wake, self.counts.note, self.settings.allow_negative_alpha)
        seat = self._shared.take(run)
        self._away[run] = len(request.spec.columns)
        # The decorator reads from the context whose request this is.
        thread = Thread(target=copy_context().run, args=(self._fetch, run, seat), daemon=True)
        try:
            thread.start()
        except BaseException:  # the machine may be out of threads
            self._shared.leave(seat)
            del self._away[run]
            raise
        return run

    def duration_s(self, request: RunRequest, seat: int) -> int:
        """The GPU time to reserve for a run, in seconds."""
        prompts = request.column_prompts or (request.prompts,)
        prompt = max(len(ids) for own in prompts for ids in own.values()) + len(request.forced)
        steps = request.length + prompt // PREFILL_CHUNK + 1
        return int(min(self.settings.deadline_s, START_S + GOODBYE_S + STEP_S * steps))

    def _fetch(self, run: Run, seat: int) -> None:
        """Pass the events that come back from the device to the run's owner, until the end or a failure."""
        message = "The GPU was taken away before this text was finished. Please try again."
        try:
            for events in self._on_device(run.request, seat):
                for event in events:
                    run.push(event)
                self._shared.write(seat, run)
        except BaseException as error:  # anything the decorator raises, such as an exhausted quota
            log.warning("a run on the allocated GPU failed: %s", type(error).__name__)
            said = str(getattr(error, "message", error)).rstrip(".")  # str() of a Gradio error adds quotes
            message = f"No GPU is available for this text now: {said}. Please try again later."
        finally:
            self._shared.leave(seat)
            del self._away[run]
            run.end("error", message)

    def _steps(self, request: RunRequest, seat: int) -> Iterator[list[Event]]:
        """In the forked process: drive one run step by step and yield its events several times a second."""
        # A new engine, because a thread of the parent may have held this one's locks when it forked.
        if self._inline is None:
            self._inline = Engine(*self._parts)
        engine, pause_s = self._inline, 1 / self.settings.updates_per_s
        run = engine.submit(replace(request, pace=0.0))  # the device is lent by the second
        sent_s = time.perf_counter()
        limit_s = sent_s + self.duration_s(request, seat) - GOODBYE_S
        try:
            while not run.done:
                self._shared.follow(seat, run)
                engine.step()
                now_s = time.perf_counter()
                if now_s > limit_s:
                    engine.fail_all(TIME_OVER)
                if now_s - sent_s > pause_s:
                    yield run.events()  # even if empty: the host can stop a run only between two yields
                    sent_s = now_s
            yield run.events()
        finally:
            run.cancel()
            engine.step()  # frees its sequences
