"""Fairness between visitors: who they are, which streams they read, and whose turn comes next.

A visitor has a session, which changes at each load of the page, and an address, which nobody can choose
freely but a whole class may share. Soft limits count sessions, hard limits addresses. Behind a proxy
that does not forward addresses, all visitors share one. Knows sessions, streams and seconds; knows nothing of
runs, pages or Gradio.
"""

import asyncio
import ipaddress
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from threading import Condition
from typing import TypeVar
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eft_demo.errors import Overloaded
from eft_demo.settings import Settings

FORGET_S = 60.0  # a session without a run that never listened may be forgotten after this
REOPEN_S = 5.0  # a session whose stream was ended counts as reading for this long: its page may open another
MINUTE_S = 60.0
# While other threads compute, the engine waits this long for each turn, some hundred times a token. With
# Python's default of 5 ms, heavy work makes a run five times slower; with this, hardly slower.
SWITCH_S = 0.0001

# A call of an endpoint, in one of Gradio's two forms, and the stream of its answer. Such a call has a session
# of its own, named like the event.
CALL = re.compile(
    r"/gradio_api/call/(?P<named>v2/)?(?!v2(?:/|$))(?P<name>\w{1,40})(?:/(?P<event>[\w-]{1,64}))?/?", re.ASCII
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request: two plain strings used for counting."""

    session: str
    address: str


NOBODY = Visitor("", "")  # a caller without limits, such as a test


def network(host: str) -> str:
    """The unit of counting: an IPv4 address, or the 64-bit IPv6 prefix of one household."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


@dataclass(slots=True, eq=False)
class _Waiter:
    visitor: Visitor
    dismissed: bool = False


@dataclass(slots=True, eq=False)
class _Stream:
    blocked_since_s: float | None = None  # when the unfinished send began
    whole: bool = False  # Gradio ended it: it knew of no run


@dataclass(slots=True)
class Streams:
    """Sessions that have an open event stream and read it. Safe to use from any thread.

    Gradio ends the stream of a session without runs. A run that is posted at that moment has found it open.
    """

    _open: dict[str, list[_Stream]] = field(default_factory=dict)
    _ended: dict[str, float] = field(default_factory=dict)  # session -> when its whole stream was closed
    _waiters: list[_Waiter] = field(default_factory=list)
    _unheard: list[tuple[float, str]] = field(default_factory=list)
    _changed: Condition = field(default_factory=Condition)

    def opened(self, session: str) -> _Stream:
        """Register a stream of this session."""
        stream = _Stream()
        with self._changed:
            self._open.setdefault(session, []).append(stream)
            self._changed.notify_all()
        return stream

    def closed(self, session: str, stream: _Stream) -> None:
        """Remove that stream."""
        with self._changed:
            self._open[session].remove(stream)
            if not self._open[session]:
                del self._open[session]
            now_s = time.monotonic()
            self._ended = {other: at_s for other, at_s in self._ended.items() if at_s > now_s - REOPEN_S}
            if stream.whole:
                self._ended[session] = now_s

    def listens(self, session: str) -> bool:
        """Whether this session has an open stream."""
        with self._changed:
            return session in self._open

    def is_read(self, session: str, blocked_s: float) -> bool:
        """Whether this session reads: no send on its open stream has been blocked for that long.

        A session whose stream Gradio ended a moment ago counts too, because its page may open another.
        """
        now_s = time.monotonic()
        late_s = now_s - blocked_s
        with self._changed:
            if session not in self._open:
                return self._ended.get(session, -math.inf) > now_s - REOPEN_S
            streams = self._open[session]
            return any(s.blocked_since_s is None or s.blocked_since_s > late_s for s in streams)

    def wait(self, visitor: Visitor, settings: Settings, listen_s: float | None = None) -> bool:
        """Wait until this visitor listens, up to `listen_s` or as the settings say. Returns whether they do.

        When too many wait, the longest wait of the address with the most waits is ended. Raises Overloaded
        then.
        """
        waiter = _Waiter(visitor)
        with self._changed:
            if len(self._waiters) >= settings.max_unheard:
                most = Counter(other.visitor.address for other in self._waiters).most_common(1)[0][0]
                oldest = next(other for other in self._waiters if other.visitor.address == most)
                oldest.dismissed = True
                self._waiters.remove(oldest)
                self._changed.notify_all()
            self._waiters.append(waiter)
            self._changed.wait_for(
                lambda: visitor.session in self._open or waiter.dismissed,
                settings.listen_s if listen_s is None else listen_s,
            )
            if not waiter.dismissed:
                self._waiters.remove(waiter)
            listens = visitor.session in self._open
            if not listens:
                self._unheard.append((time.monotonic(), visitor.session))
        if waiter.dismissed and not listens:
            raise Overloaded("Too many runs begin at once, and this one gave way. Please press Run again.")
        return listens

    def read_out(self, session: str) -> None:
        """A call has been answered, or its caller has gone: nobody will listen to its session again."""
        with self._changed:
            self._unheard.append((time.monotonic(), session))

    def forgotten(self) -> list[str]:
        """Sessions that may now be forgotten: none of them listened, or will; each is returned once."""
        past_s = time.monotonic() - FORGET_S
        with self._changed:
            old = [session for since_s, session in self._unheard if since_s < past_s]
            self._unheard = [(since_s, session) for since_s, session in self._unheard if since_s >= past_s]
            return [session for session in old if session not in self._open]


class TrackStreams:
    """ASGI middleware that tracks the open event streams of pages."""

    def __init__(self, app: ASGIApp, streams: Streams) -> None:
        self.app, self.streams = app, streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = CALL.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if call is not None and call["event"]:
            session = call["event"]
        elif scope["type"] == "http" and scope["path"].rstrip("/").endswith("/queue/data"):
            session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        else:
            await self.app(scope, receive, send)
            return
        stream = self.streams.opened(session)

        async def sending(message: Message) -> None:
            stream.blocked_since_s = time.monotonic()
            await send(message)
            stream.blocked_since_s = None
            stream.whole = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self.app(scope, receive, sending)
        except RuntimeError as error:
            # Gradio's 404 in mid-stream: another stream of this session has ended with its messages.
            if not isinstance(error.__cause__, HTTPException):
                raise
            await sending({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.streams.closed(session, stream)
            if call is not None:
                self.streams.read_out(session)


def is_start(path: str) -> bool:
    """Whether a post there starts a run or calls an endpoint."""
    call = CALL.fullmatch(path)
    return path.rstrip("/").endswith("/queue/join") or (call is not None and not call["event"])


@dataclass(slots=True)
class Arrivals:
    """How many runs were posted that Gradio has not put into its queue yet. Use it from one event loop only.

    In a burst, hundreds arrive before the first of them is in the queue.
    """

    count: int = 0


class TrackArrivals:
    """ASGI middleware that counts posted runs until they are answered, that is, in the queue."""

    def __init__(self, app: ASGIApp, arrivals: Arrivals) -> None:
        self.app, self.arrivals = app, arrivals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        counts = scope["type"] == "http" and is_start(scope["path"])
        self.arrivals.count += counts
        try:
            await self.app(scope, receive, send)
        finally:
            self.arrivals.count -= counts


@dataclass(slots=True, eq=False)
class _Ticket:
    visitor: Visitor
    turn: "asyncio.Future[None]"


class Turns:
    """A queue for heavy work: one task at a time, in a thread, the visitor with the least recent use first.

    Use it from one event loop only. Waiting tasks block no thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: list[_Ticket] = []
        self._busy: _Ticket | None = None
        self._used: list[tuple[float, Visitor, float]] = []  # (time, visitor, CPU seconds), last minute

    async def take(self, visitor: Visitor, work: Callable[[], T], gone: Callable[[], Awaitable[bool]]) -> T:
        """The result of `work`, run in its turn. Raises Overloaded at a limit, or if the visitor has left."""
        self._check(visitor)
        ticket = _Ticket(visitor, asyncio.get_running_loop().create_future())
        self._waiting.append(ticket)
        self._next()
        try:
            await ticket.turn
            if await gone():
                raise Overloaded("The page that requested this is gone.")
            result, seconds = await asyncio.to_thread(_timed, work)
            self._used.append((time.monotonic(), visitor, seconds))
            if isinstance(result, Exception):
                raise result
            return result
        finally:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if self._busy is ticket:
                self._busy = None
            self._next()

    def _check(self, visitor: Visitor) -> None:
        """Raise Overloaded at a limit of this visitor or of all visitors together."""
        tickets = [ticket.visitor for ticket in (*self._waiting, *([self._busy] if self._busy else []))]
        mine = sum(other.session == visitor.session for other in tickets)
        ours = sum(other.address == visitor.address for other in tickets)
        for count, limit, whose in (
            (mine, self._settings.max_heavy_each, "this page"),
            (ours, self._settings.max_heavy_address, "your address"),
            (len(tickets), 4 * self._settings.max_heavy_address, "all visitors"),
        ):
            if count >= limit:
                raise Overloaded(
                    f"{count} files or plots of {whose} are already being prepared, and at most {limit} are "
                    "allowed at once. Please try again in a moment."
                )
        limit_s = self._settings.max_heavy_s
        if self._seconds(lambda other: other.address == visitor.address) >= limit_s:
            raise Overloaded(
                f"Your address has used its {limit_s:g} s of server time a minute for files and plots. "
                "Please try again in a minute."
            )

    def _seconds(self, counts: Callable[[Visitor], bool]) -> float:
        """CPU seconds of the last minute."""
        past_s = time.monotonic() - MINUTE_S
        self._used = [use for use in self._used if use[0] > past_s]
        return sum(seconds for _, visitor, seconds in self._used if counts(visitor))

    def _next(self) -> None:
        if self._busy is not None or not self._waiting:
            return

        def used(ticket: _Ticket) -> tuple[float, float]:  # the first in line where all have used the same
            own = ticket.visitor
            return (
                self._seconds(lambda other: other.address == own.address),
                self._seconds(lambda other: other == own),
            )

        self._busy = min(self._waiting, key=used)
        self._waiting.remove(self._busy)
        if not self._busy.turn.done():
            self._busy.turn.set_result(None)


def _timed(work: Callable[[], T]) -> tuple[T | Exception, float]:
    """(result or exception, CPU seconds). Meanwhile the engine's thread gets its turns sooner."""
    interval_s, since_s = sys.getswitchinterval(), time.thread_time()
    sys.setswitchinterval(SWITCH_S)
    try:
        return work(), time.thread_time() - since_s
    except Exception as error:
        return error, time.thread_time() - since_s
    finally:
        sys.setswitchinterval(interval_s)
