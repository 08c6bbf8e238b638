"""How many connections there may be, and how long one may take to ask for something.

Knows uvicorn's connections and the machine's limit on open files; knows nothing of what is asked for. Without
a free file descriptor a connection cannot even be refused, so a place is always left for the next.
"""

import asyncio
import logging
import time
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from eft_demo.ui.gate import ALWAYS_OPEN, Refusal, answer
from eft_demo.ui.own_address import App, Message, Receive, Scope, Send

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

MOST_CONNECTIONS = 2000  # a class of hundreds; each holds two while it runs
FEWEST_CONNECTIONS = 16
# Of the open files: weights, logs, downloads, the interpreter's own; and what the system accepted already.
FILES_OF_OUR_OWN = 64
LONGEST_BACKLOG = 128  # of connections that nobody has accepted yet
FOR_HEALTH = 16  # beyond the cap, where all others are busy streaming: answered with a sentence
HEAD_S = 10.0  # for the head of a request; browsers send it at once
LINGER_S = 3.0  # for the rest of a body that was refused, so that the answer can be read
SAME_AGAIN_S = 10.0
FULL = Refusal(503, "Too many people are connected to this server. Please try again in a minute.")


def room() -> tuple[int, int]:
    """How many connections the limit on open files leaves room for, and how many may wait to be accepted."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else -1
    if files < 0:  # no limit
        return MOST_CONNECTIONS, LONGEST_BACKLOG
    backlog = min(LONGEST_BACKLOG, files // 8)
    most = files - FILES_OF_OUR_OWN - backlog - FOR_HEALTH
    return max(FEWEST_CONNECTIONS, min(MOST_CONNECTIONS, most)), backlog


def bound(server: uvicorn.Server) -> None:
    """From the next connection on, let `server` hold only so many, and give each a time to ask."""
    most, backlog = room()
    server.config.http_protocol_class = type("Bounded", (Connection,), {"most": most})
    server.config.ws_protocol_class = None  # the page uses none, and they would know no deadline
    for listening in server.servers:
        for sock in listening.sockets:
            with sock.dup() as same:  # asyncio's own object cannot listen
                same.listen(backlog)
    for name in ("asyncio", "uvicorn.error"):
        logging.getLogger(name).addFilter(Sparing())


class Sparing(logging.Filter):
    """The same message once in ten seconds: out of files, the event loop logs one per attempt."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR and record.name != "asyncio":
            return True  # a bug of ours, each with a traceback of its own
        key, now = str(record.msg)[:200], time.monotonic()
        if now - self._last.get(key, -SAME_AGAIN_S) < SAME_AGAIN_S:
            return False
        if len(self._last) > 100:
            self._last.clear()
        self._last[key] = now
        return True


class Connection(H11Protocol):
    """A connection that is closed if it takes too long to ask, or when a newcomer needs its place meanwhile.

    Only those that are being answered cannot be closed for another: runs that stream, above all.
    """

    most = MOST_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = time.monotonic()
        self._deadline: asyncio.TimerHandle | None = None
        self._lingering = False

    @property
    def asking(self) -> bool:
        """Nothing is being answered yet: the request, or the rest of it, is still awaited."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(HEAD_S)
        if len(self.connections) <= self.most:
            return
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        slow = [other for other in others if other.asking]
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
        """Close at once, without waiting for what was not sent yet."""
        self._expect(None)
        self.connections.discard(self)  # its place is free now; the system hears of it in the next round
        self.transport.abort()

    def _expect(self, within_s: float | None) -> None:
        """Close this connection then, unless something else is expected before."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if within_s is None else self.loop.call_later(within_s, self.drop)


def only_health(app: App) -> App:
    """`app` for a connection too many: whoever asks how the server is hears it, everybody else a sentence."""

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
