"""Handlers of the page's requests: run, branch, score a text, move a control, stop.

Knows the service and the wire format; knows nothing of Gradio. Whatever the page sends is untrusted JSON: it
is checked here or in the service, and every error names the field of the page that it belongs to.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock

from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.engine.thread import RESTARTING
from eft_demo.errors import EFTError, InputError, Overloaded
from eft_demo.runs.events import EndEvent, Event
from eft_demo.settings import Settings, show_value
from eft_demo.ui import stream as wire
from eft_demo.ui.branches import start_branch, start_same_text
from eft_demo.ui.posted import fields_of
from eft_demo.ui.run_form import read_control_values, read_pace, read_run_spec
from eft_demo.ui.run_store import CHANGED, RunStore, StoredRun
from eft_demo.ui.visitors import MINUTE_S, NOBODY, Streams, Visitor

HEARTBEAT_S = 1.0  # Gradio notices a closed tab only at the next yield
GONE = "This run has ended. Press Run to start another."
CLOSING = RESTARTING
SUPERSEDED = "A newer run of this page has taken the place of this one."
UNHEARD = "No page received this run for {:g} s, so it was stopped. Please press Run again."
BUG = "Internal error: this run was stopped. The server log has the traceback. Please press Run again."

StartedRun = tuple[Run, StoredRun]
InTurn = Callable[[Callable[[], StartedRun]], StartedRun]  # does heavy work when its turn comes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Who started a run, when, and the page's number for it: a page wants only its newest run."""

    visitor: Visitor
    at_s: float
    number: int


@dataclass(slots=True)
class LiveRuns:
    """The active runs by their unguessable id, and `store`, the store of recent runs.

    `closing` refuses new ones. `streams` knows which sessions are listening.
    """

    by_id: dict[str, Run] = field(default_factory=dict)
    store: RunStore = field(default_factory=RunStore)
    streams: Streams = field(default_factory=Streams)
    closing: bool = False
    _reservations: dict[str, Reservation] = field(
        default_factory=dict
    )  # of the last minute, and of all active runs
    _starting: set[str] = field(default_factory=set)  # started, but without a run yet
    _lock: Lock = field(default_factory=Lock)

    def reserve(self, visitor: Visitor, settings: Settings, number: int = 0) -> str:
        """An id for a run of this visitor, whose runs with a lower number are cancelled.

        Raises Overloaded at the visitor's limit, EFTError if there is a run with a higher number. So the
        newest run wins in whatever order they get here; on a slow network, a page cannot stop its older
        runs before it knows them.
        """
        now_s = time.monotonic()
        with self._lock:
            recent = {
                run_id: start
                for run_id, start in self._reservations.items()
                if run_id in self.by_id or start.at_s > now_s - MINUTE_S
            }
            own = {run_id: start.number for run_id, start in recent.items() if start.visitor == visitor}
            if any(other > number for other in own.values()):
                raise EFTError(SUPERSEDED)
            older = [run_id for run_id, other in own.items() if other < number]
            if (going := sum(map(self._is_active, own.keys() - older))) >= (most := settings.max_runs_each):
                raise Overloaded(
                    f"This page has {going} active runs, and at most {most} are allowed. "
                    "Please stop one, or wait until it has ended."
                )
            minute = [s for s in recent.values() if s.visitor.address == visitor.address]
            if len(minute) >= settings.max_runs_per_minute:
                raise Overloaded(
                    f"Your address has started {len(minute)} runs within a minute, and at most "
                    f"{settings.max_runs_per_minute} are allowed. Please try again in a moment."
                )
            run_id = secrets.token_urlsafe(18)
            self._reservations = {**recent, run_id: Reservation(visitor, now_s, number)}
            self._starting.add(run_id)
            going_on = [run for run_id in older if (run := self.by_id.get(run_id))]
        for run in going_on:
            run.cancel()
        return run_id

    def register(self, run_id: str, run: Run | None) -> None:
        """Register that run as active; None if it could not start. Cancel it if there is a newer one."""
        with self._lock:
            self._starting.discard(run_id)
            if run is not None:
                self.by_id[run_id] = run
            own = self._reservations.get(run_id)
            late = own is not None and any(
                own.visitor == other.visitor and own.number < other.number
                for other in self._reservations.values()
            )
        if run is not None and late:
            run.cancel()

    def release(self, run_id: str) -> None:
        """End that registered run: nobody reads it any more."""
        self.by_id.pop(run_id).cancel()

    def _is_active(self, run_id: str) -> bool:
        run = self.by_id.get(run_id)
        return run_id in self._starting or (run is not None and not run.cancelled and not run.done)

    def close(self) -> None:
        """Refuse new runs and cancel the active ones."""
        self.closing = True
        for run in list(self.by_id.values()):
            run.cancel()


def stream_run(
    service: Service,
    live: LiveRuns,
    posted: object,
    visitor: Visitor | None = None,
    in_turn: InTurn = lambda work: work(),
) -> Iterator[str]:
    """Yield the NDJSON of one run, longer each time, until every column has ended or the page is gone.

    A `visitor` has limits and listens through an event stream; None is a caller that reads this directly.
    `in_turn` queues the work of starting a run.
    """
    text = ""
    request = fields_of(posted)
    nonce = _nonce(request.get("n"))
    place = "prompt" if request.get("kind") is None else "branch"
    try:
        for piece in _run_lines(service, live, request, nonce, visitor, in_turn):
            text += piece
            yield text
    except EFTError as refusal:
        where = refusal.where or place if place == "prompt" else place  # a branch has one place for all
        yield text + _refusal(nonce, where, str(refusal))
    except Exception:
        log.exception("A bug ended a run")
        yield text + _refusal(nonce, place, BUG)


def _run_lines(
    service: Service,
    live: LiveRuns,
    request: Mapping[str, object],
    nonce: int,
    visitor: Visitor | None,
    in_turn: InTurn,
) -> Iterator[str]:
    if live.closing:
        raise EFTError(CLOSING)
    serial = live.store.serial
    if request.get("serial", serial) != serial:
        raise EFTError(CHANGED.format(title=service.family.title))
    settings = service.settings
    if visitor is not None and not live.streams.wait(visitor, settings):
        raise EFTError(UNHEARD.format(settings.listen_s))  # before it uses anything shared
    run_id = live.reserve(visitor, settings, nonce) if visitor else secrets.token_urlsafe(18)
    run = None
    try:
        run, stored = _start(service, live.store, request, visitor or NOBODY, in_turn, serial)
    finally:
        live.register(run_id, run)
    live.store.keep(run_id, stored, visitor)
    try:
        family = service.family
        encoder = wire.Encoder(stored.spec, family.token_bytes, family.stop_ids, family.captions)
        yield encoder.run_line(run_id, nonce, {**stored.origin, "record": stored.record(service)})
        for lines in _event_lines(service, run, stored, encoder):
            yield lines
            if visitor is not None and not live.streams.is_read(visitor.session, settings.blocked_s):
                raise EFTError(UNHEARD.format(settings.blocked_s))
        if live.closing:
            yield wire.error_line("prompt", CLOSING)
        yield load_line(service, run) + wire.line("done")
    finally:
        live.release(run_id)
        live.store.pack(run_id)


def _start(
    service: Service,
    runs: RunStore,
    request: Mapping[str, object],
    visitor: Visitor,
    in_turn: InTurn,
    serial: int,
) -> StartedRun:
    """The requested run: a `branch` of a stored one, a text scored by all columns (`same`), or a new run."""
    kind = request.get("kind")
    if kind == "branch":
        return in_turn(lambda: start_branch(service, runs, request, visitor))
    if kind == "same":
        return in_turn(lambda: start_same_text(service, runs, request, visitor))
    if kind is not None:
        raise InputError(f"The kind of a run is branch or same; got {show_value(kind)}.")
    run = service.start_run(
        read_run_spec(service, request),
        owner=visitor.address,
        pace=read_pace(request),
        session=visitor.session,
    )
    return run, replace(StoredRun.of_run(run), serial=serial)


def _event_lines(service: Service, run: Run, stored: StoredRun, encoder: wire.Encoder) -> Iterator[str]:
    """Batches of lines, at least one per heartbeat."""
    beat = 0.0
    for events in batches(service, run):
        now_s = time.monotonic()
        lines = "".join([encoder.event_line(stored.add(event)) for event in events])
        if now_s - beat >= HEARTBEAT_S or not events:
            lines += load_line(service, run)
            beat = now_s
        if not events and (reading := run.reading) and not service.engine.late_of(run):
            lines += wire.line("reading", done=reading[0], of=reading[1])
        yield lines


def batches(service: Service, run: Run) -> Iterator[list[Event]]:
    """The events of a run until its last column has ended, at most `updates_per_s` batches a second.

    There is at least one batch per heartbeat, which may be empty. Raises EFTError if the engine has ended.
    """
    pause_s = 1 / service.settings.updates_per_s
    open_columns = len(run.request.spec.columns)
    while open_columns:
        began = time.monotonic()
        events = run.events(HEARTBEAT_S)
        if not events and not service.alive:  # no more events will come
            raise EFTError(CLOSING)
        open_columns -= sum(isinstance(event, EndEvent) for event in events)
        yield events
        time.sleep(max(0.0, pause_s - (time.monotonic() - began)) if open_columns else 0)


def load_line(service: Service, run: Run) -> str:
    """The engine's load, one sequence per column of every active run, and what the run waits for."""
    engine = service.engine
    place, wait_s = engine.place_of(run)
    own: dict[str, object] = {}
    if place:
        own |= {"place": place, **({"wait_s": round(wait_s)} if wait_s else {})}
    if late := engine.late_of(run):
        own["late"] = [late[0], round(late[1])]
    busy = {"active": engine.active_sequences, "of": engine.max_sequences, "waiting": engine.waiting}
    return wire.line("load", **busy, **own)


def set_controls(live: LiveRuns, posted: object) -> str:
    """Move live controls of a run from its next token on. An error message for the page, or ""."""
    request = fields_of(posted)
    try:
        values = read_control_values(request)
        run = _find(live, request.get("run"))
        if run is None:
            return GONE
        run.set_controls(values)
    except EFTError as refusal:
        return str(refusal)
    return ""


def set_pace(live: LiveRuns, posted: object) -> str:
    """Change how fast a run goes: `rate`, `paused` or one `step`. An error message for the page, or ""."""
    request = fields_of(posted)
    run = _find(live, request.get("run"))
    if run is None:
        return GONE
    try:
        run.pace.set(request.get("rate"), request.get("paused"), request.get("step"))
    except EFTError as refusal:
        return str(refusal)
    return ""


def stop(live: LiveRuns, posted: object) -> str:
    """Stop a run before its next token. An error message for the page, or ""."""
    run = _find(live, fields_of(posted).get("run"))
    if run is None:
        return GONE
    run.cancel()
    return ""


def _find(live: LiveRuns, run_id: object) -> Run | None:
    return live.by_id.get(run_id) if isinstance(run_id, str) else None


def _nonce(value: object) -> int:
    """The page's number for this run, sent back so that it can tell its runs apart. 0 if invalid."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _refusal(nonce: int, where: str, message: str) -> str:
    return wire.line("refused", n=nonce) + wire.error_line(where, message) + wire.line("done")
