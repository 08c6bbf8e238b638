"""Limits on connections: how many there may be, and how long one may take to send a request.

Knows uvicorn's connections and the machine's limit on open files; knows nothing of what is requested. Without
a free file descriptor a connection cannot even be refused, so one place is always left for the next.
"""

import asyncio
import logging
import time
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from eft_demo.ui.gate import ALWAYS_OPEN, Refusal, answer

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

MOST_CONNECTIONS = 2000  # enough for a class of hundreds; each page holds two during a run
FEWEST_CONNECTIONS = 16
# File descriptors reserved for weights, logs, downloads, the interpreter, and connections already accepted.
FILES_OF_OUR_OWN = 64
LONGEST_BACKLOG = 128  # of connections that nobody has accepted yet
FOR_HEALTH = 16  # beyond the cap while all others are streaming: they get an error message
HEAD_S = 10.0  # for the head of a request; browsers send it at once
LINGER_S = 3.0  # for the rest of a body that was refused, so that the answer can be read
SAME_AGAIN_S = 10.0
FULL = Refusal(503, "Too many connections to this server. Please try again in a minute.")


def connection_limits() -> tuple[int, int]:
    """(connections that the limit on open files allows, connections that may wait to be accepted)."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else -1
    if files < 0:  # no limit
        return MOST_CONNECTIONS, LONGEST_BACKLOG
    backlog = min(LONGEST_BACKLOG, files // 8)
    most = files - FILES_OF_OUR_OWN - backlog - FOR_HEALTH
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, most)), backlog


def limit_connections(server: uvicorn.Server) -> None:
    """Limit the connections of `server`, from the next one on, and give each a deadline for its request."""
    most, backlog = connection_limits()
    server.config.http_protocol_class = type("Bounded", (Connection,), {"most": most})
    server.config.ws_protocol_class = None  # the page uses none, and no deadline would apply to them
    for listening in server.servers:
        for sock in listening.sockets:
            with sock.dup() as same:  # asyncio's own object cannot listen
                same.listen(backlog)
    for name in ("asyncio", "uvicorn.error"):
        logging.getLogger(name).addFilter(RateLimitedLog())


class RateLimitedLog(logging.Filter):
    """Log the same message at most every 10 s: without free files the event loop logs one per attempt."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and record.name != "asyncio":
            return True  # a bug of ours: keep every traceback
        key, now = str(record.msg)[:200], time.monotonic()
        if now - self._last.get(key, -SAME_AGAIN_S) < SAME_AGAIN_S:
            return False
        if len(self._last) > 100:
            self._last.clear()
        self._last[key] = now
        return True


class Connection(H11Protocol):
    """A connection that is closed if its request takes too long, or if a new connection needs its place.

    Connections that are being answered, mostly streaming runs, are never closed for a new one.
    """

    most = MOST_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = time.monotonic()
        self._deadline: asyncio.TimerHandle | None = None
        self._lingering = False

    @property
    def is_awaiting_request(self) -> bool:
        """Whether the request, or the rest of it, is still awaited."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(HEAD_S)
        if len(self.connections) <= self.most:
            return
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        slow = [other for other in others if other.is_awaiting_request]
        if slow:
            min(slow, key=lambda other: other.since).drop()
        elif len(self.connections) > self.most + FOR_HEALTH:
            self.drop()
        else:
            self.app = only_health(self.app)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self.since = time.monotonic()
            self._expect(HEAD_S)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect(None)  # the head is here; the gate waits for the body
        elif self._lingering and self.conn.their_state is not h11.SEND_BODY:
            self._lingering = False  # the rest of what was refused is here: it may ask again
            self._expect(HEAD_S)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: such requests are answered. Uvicorn would advise to install a library."""

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.since = time.monotonic()
        if self.conn.their_state is h11.SEND_BODY:
            self._lingering = True
            self._expect(LINGER_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close immediately and drop unsent data."""
        self._expect(None)
        self.connections.discard(self)  # its place is free now; the system closes it in the next round
        self.transport.abort()

    def _expect(self, within_s: float | None) -> None:
        """Close this connection at that time, unless an earlier deadline is set."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if within_s is None else self.loop.call_later(within_s, self.drop)


def only_health(app: ASGIApp) -> ASGIApp:
    """`app` for connections beyond the limit: health checks are answered, all others get an error message."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == ALWAYS_OPEN:
            await app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await answer(closing, FULL)

    return answering
