"""Who is here, who listens, and whose turn it is: what keeps one visitor from starving the others.

A visitor has a session, one per page load and of the page's own choice, and an address, which a stranger
cannot choose freely but a whole class may share. Friendly limits go by session, the hard ones by address.
A server in front that does not forward addresses makes all visitors one address. Knows sessions, streams and
seconds; knows nothing of runs, of pages or of Gradio.
"""

import asyncio
import ipaddress
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, TypeVar
from urllib.parse import parse_qs

from eft_demo.errors import Overloaded
from eft_demo.settings import Settings

FORGET_S = 60.0  # after it got no run, a session that never listened may be forgotten
MINUTE_S = 60.0
# While Python computes, every step of the engine waits this long for its turn, some hundred times a token.
# With Python's own 5 ms a run takes five times as long beside heavy work; with this, hardly longer.
SWITCH_S = 0.0001

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whose request it is. Both are plain words for counting."""

    session: str
    address: str


def network(host: str) -> str:
    """What counts as one address: an IPv4 address, or the 64 bits of IPv6 that one household is given."""
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
    blocked_since_s: float | None = None  # when the send began that has not come back yet


@dataclass(slots=True)
class Streams:
    """Which sessions have an event stream open and read it. Safe to use from any thread."""

    _open: dict[str, list[_Stream]] = field(default_factory=dict)
    _waiters: list[_Waiter] = field(default_factory=list)
    _unheard: list[tuple[float, str]] = field(default_factory=list)
    _changed: Condition = field(default_factory=Condition)

    def opened(self, session: str) -> _Stream:
        """A stream of this session begins."""
        stream = _Stream()
        with self._changed:
            self._open.setdefault(session, []).append(stream)
            self._changed.notify_all()
        return stream

    def closed(self, session: str, stream: _Stream) -> None:
        """That stream has ended."""
        with self._changed:
            self._open[session].remove(stream)
            if not self._open[session]:
                del self._open[session]

    def listens(self, session: str) -> bool:
        """Whether a stream of this session is open."""
        with self._changed:
            return session in self._open

    def is_read(self, session: str, blocked_s: float) -> bool:
        """Whether a stream of this session is open, and no send has waited for its reader for so long."""
        late_s = time.monotonic() - blocked_s
        with self._changed:
            streams = self._open.get(session, ())
            return any(s.blocked_since_s is None or s.blocked_since_s > late_s for s in streams)

    def wait(self, visitor: Visitor, settings: Settings) -> bool:
        """Wait until this visitor listens; whether they do.

        Where too many wait, the one that has waited longest of the address with the most of them goes.
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
                lambda: visitor.session in self._open or waiter.dismissed, settings.listen_s
            )
            if not waiter.dismissed:
                self._waiters.remove(waiter)
            heard = visitor.session in self._open
            if not heard:
                self._unheard.append((time.monotonic(), visitor.session))
        return heard

    def forgotten(self) -> list[str]:
        """Sessions that posted a run, never listened, and may be forgotten by now; each is named once."""
        past_s = time.monotonic() - FORGET_S
        with self._changed:
            old = [session for since_s, session in self._unheard if since_s < past_s]
            self._unheard = [(since_s, session) for since_s, session in self._unheard if since_s >= past_s]
            return [session for session in old if session not in self._open]


class Listening:
    """ASGI middleware: counts the event streams that pages have open."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], streams: Streams) -> None:
        self.app, self.streams = app, streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].rstrip("/").endswith("/queue/data"):
            await self.app(scope, receive, send)
            return
        session = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        stream = self.streams.opened(session)

        async def sending(message: MutableMapping[str, Any]) -> None:
            stream.blocked_since_s = time.monotonic()
            await send(message)
            stream.blocked_since_s = None

        try:
            await self.app(scope, receive, sending)
        finally:
            self.streams.closed(session, stream)


@dataclass(slots=True, eq=False)
class _Ticket:
    visitor: Visitor
    turn: "asyncio.Future[None]"


class Turns:
    """Heavy work: one piece at a time, in a thread, and first for whoever has used least of late.

    To be used from one event loop. Who waits holds no thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: list[_Ticket] = []
        self._busy: _Ticket | None = None
        self._used: list[tuple[float, Visitor, float]] = []  # when, who, seconds of CPU; of the last minute

    async def take(self, visitor: Visitor, work: Callable[[], T], gone: Callable[[], Awaitable[bool]]) -> T:
        """The result of `work`, when its turn has come. Raises Overloaded at a limit, or if they left."""
        self._check(visitor)
        ticket = _Ticket(visitor, asyncio.get_running_loop().create_future())
        self._waiting.append(ticket)
        self._next()
        try:
            await ticket.turn
            if await gone():
                raise Overloaded("Nobody waits for this any more.")
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
        """Raises Overloaded where this visitor, or everybody together, has asked for enough."""
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
                    f"{count} files, plots or openings of {whose} are being made already, and {limit} is the "
                    "most at once. Please try again in a moment."
                )
        limit_s = self._settings.max_heavy_s
        if self._seconds(lambda other: other.address == visitor.address) >= limit_s:
            raise Overloaded(
                f"Your address has used the {limit_s:g} seconds a minute that files, plots and openings may "
                "take of this server. Please try again in a minute."
            )

    def _seconds(self, counts: Callable[[Visitor], bool]) -> float:
        """CPU seconds of the last minute."""
        past_s = time.monotonic() - MINUTE_S
        self._used = [use for use in self._used if use[0] > past_s]
        return sum(seconds for _, visitor, seconds in self._used if counts(visitor))

    def _next(self) -> None:
        if self._busy is not None or not self._waiting:
            return

        def used(ticket: _Ticket) -> tuple[float, float]:  # of the first in line where all are level
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
    """(result or what was raised, CPU seconds). The engine's thread gets its turns meanwhile."""
    before_s, since_s = sys.getswitchinterval(), time.thread_time()
    sys.setswitchinterval(SWITCH_S)
    try:
        return work(), time.thread_time() - since_s
    except Exception as error:
        return error, time.thread_time() - since_s
    finally:
        sys.setswitchinterval(before_s)
