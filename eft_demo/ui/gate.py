"""The gate in front of the app: which requests are allowed, how large a body may be, how long it may take.

Knows headers, paths and bytes; knows nothing of Gradio's answers, models or the page's contents.
"""

import asyncio
import contextlib
import ipaddress
import json
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eft_demo.settings import LOOPBACK, Settings, show_value
from eft_demo.ui.visitors import CALL, network
from eft_demo.ui.web_modules import FOR_GOOD

# A prompt that is far too long must still arrive whole, or it could not get an error message.
MAX_BODY_BYTES = 1_000_000
MAX_FILE_BODY_BYTES = 10_000_000  # a trace comes as a JSON string; each quote takes two bytes
MAX_BYTES_UNDER_WAY = 64_000_000  # of all bodies being received; beyond it only small ones are accepted
SMALL_BODY_BYTES = 64_000  # a run has a few thousand
# The time for a body, plus a second for so many bytes: slow lines are accepted, slow-drip attacks are not.
BODY_S = 20.0
BODY_BYTES_PER_S = 50_000
# Values in a body at any depth; the largest run has half as many. Parsing JSON blocks all other visitors.
MAX_VALUES = 500_000
READING_S = 5.0  # a minute per address for parsing large bodies: enough for a class that opens files
READINGS = 2  # of an accepted body: Gradio parses it again
DRAIN_S = 3.0  # for the rest of a refused body: a proxy that is still sending it would miss the answer
DRAIN_BYTES = 50_000_000
# Every path that the page posts to.
ROOM_POST = re.compile(r"/room/(open|show|tally|end|join|hear|vote)")  # routes of room_routes.py
POSTED = re.compile(rf"/gradio_api/(queue/join|component_server|cancel|reset)/?|{ROOM_POST.pattern}")
# Gradio's routes that this page does not use: ways around the queue and its checks, a link that would write
# a visitor's page to disk, a proxy, a code editor.
CLOSED = re.compile(
    r"(/gradio_api)?/(runs?|api|call|deep_link|dev|proxy=.*|(undo-)?vibe-[a-z-]+|custom_component|stream|svelte|"
    r"upload_progress|openapi\.json|logout|pwa_icon)(/|$)"
)
# Gradio's files whose names change with their contents. Gradio does not say that they may be kept, and sends
# them whole to a browser that asks whether they changed: up to sixty at each load.
NAMED_BY_CONTENT = re.compile(r"/assets/[\w.-]+-[\w-]{8}\d*\.\w+")
ABSOLUTE = re.compile(rb"https?://([^/]*)", re.IGNORECASE)
ALWAYS_OPEN = "/healthz"
PAGE_HEADER = "x-eft-page"  # set by early.js
SAFE = ("GET", "HEAD", "OPTIONS")
ONLY_THE_PAGE = "This app is used through its page, and by programs only if it was started with --api."


class Refusal(NamedTuple):
    """An HTTP status and its error message."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of the gate. `names` are the allowed hosts; None allows any.

    `guessed`: the names were not configured, so requests through a proxy are allowed too.
    """

    names: frozenset[str] | None
    guessed: bool
    root_path: str
    framed_by: str
    room_bytes: int  # the largest post of a class room
    api: bool  # whether the endpoints for programs may be called
    run_scale: float  # `Settings.run_scale`: how many times as large an opened file may be


def rules(settings: Settings, addresses: Sequence[str] = ()) -> Rules:
    """The rules for the app's host, its allowed names, and whether it is a Space.

    `addresses` are those that the app listens on: the name of a host does not tell whether they are all
    loopback ones, as those of many a machine's own name are.
    """
    allowed = frozenset(settings.allowed_hosts.replace(",", " ").lower().split())
    machine = socket.gethostname().lower()
    here = frozenset({*LOOPBACK, machine, f"{machine}.local", _name(settings.host)})
    only_here = all(map(_is_loopback, addresses or [settings.host]))
    return Rules(
        names=here | allowed if allowed or only_here else None,
        guessed=not allowed,
        root_path=settings.root_path,
        framed_by="'self' https://huggingface.co" if settings.space else "'self'",
        room_bytes=1000 * settings.max_poll_kb,
        api=settings.api,
        run_scale=settings.run_scale,
    )


# (path, query, posted value or None) -> the refusal of a request for what the page does not have, or None.
Unknown = Callable[[str, Mapping[str, str], object], Refusal | None]


class Gate:
    """Outermost ASGI middleware: refuses requests that our page never makes and limits the others."""

    def __init__(self, app: ASGIApp, rules: Rules, unknown: Unknown) -> None:
        self.app, self.rules, self.unknown = app, rules, unknown
        self._under_way = 0  # bytes
        self._read: list[tuple[float, str, float]] = []  # (time, address, seconds of CPU) of the last minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = _origin_form(scope)
        pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        headers = {name.lower(): value for name, value in pairs}
        scope = self._normalised(scope, headers)
        send = self._with_headers(send, bool(NAMED_BY_CONTENT.fullmatch(scope["path"])))
        refusal = self._refusal(scope, headers)
        if refusal is None and scope["method"] not in SAFE:
            receive, refusal = await self._read_body(scope, receive, headers)
        elif refusal is None:
            refusal = self.unknown(scope["path"], _query(scope), None)
        if refusal is None:
            await self.app(scope, receive, send)
        elif refusal.status:
            await answer(send if scope["method"] in SAFE else _draining(send, receive), refusal)

    def _normalised(self, scope: Scope, headers: Mapping[str, str]) -> Scope:
        """The request with its path as before any proxy, and without its origin once that has been checked.

        Without an origin, Gradio allows no other site to read anything.
        """
        path = "/" + scope["path"].lstrip("/")
        raw = b"/" + (scope.get("raw_path") or path.encode()).lstrip(b"/")
        for prefix in (self.rules.root_path, "/" + headers.get("x-forwarded-prefix", "").strip("/")):
            if prefix not in ("", "/") and (path + "/").startswith(prefix + "/"):
                path, raw = path[len(prefix) :] or "/", raw.removeprefix(prefix.encode()) or b"/"
                break
        kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"origin"]
        return {**scope, "path": path, "raw_path": raw, "headers": kept}

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
        path, method = scope["path"], scope["method"]
        if path != ALWAYS_OPEN and not self._has_allowed_name(scope, headers):
            name = show_value(_name(headers.get("host", "")))
            return Refusal(
                403,
                f"This app does not accept the host name {name}. Its operator can allow it with "
                "EFT_ALLOWED_HOSTS, for example where a proxy leads here (docs/deploying.md).",
            )
        call = CALL.fullmatch(path) if self.rules.api else None
        is_call = call is not None and bool(call["event"]) == (method in SAFE)
        if CLOSED.match(path) and not is_call:
            return Refusal(404, ONLY_THE_PAGE)
        return None if method in SAFE else _refused_post(path, headers, is_call)

    def _has_allowed_name(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Whether the request names this server. A foreign name may point here too (DNS rebinding)."""
        name = _name(headers.get("host", ""))
        names = self.rules.names
        if names is None or not name or name in names or name.endswith(".localhost") or _is_address(name):
            return True
        if any(known.startswith("*.") and name.endswith(known[1:]) for known in names):
            return True
        # No page can make its browser send either, so the request came through a proxy set up here.
        return self.rules.guessed and (scope.get("http_version") == "1.0" or "via" in headers)

    async def _read_body(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str]
    ) -> tuple[Receive, Refusal | None]:
        """`receive` with the whole body, or why it is refused; status 0 if the client has gone."""
        limit = self._largest(scope["path"])
        announced = headers.get("content-length", "0")
        if not (announced.isascii() and announced.isdecimal()):
            return receive, Refusal(400, "Content-Length must be a number of bytes.")
        if int(announced) > limit:
            return receive, _too_large(limit)
        rest = _Rest(receive)
        try:
            body = await self._collected(rest, limit)
            posted = self._read_json(body, network((scope.get("client") or ("",))[0]))
        except _Refused as refused:
            return rest, refused.refusal
        except (ValueError, RecursionError):
            return rest, Refusal(400, "The request body is not JSON.")
        if not isinstance(posted, dict):
            return rest, Refusal(400, "The request body is not a JSON object.")
        return _replay_body(body, receive), self.unknown(scope["path"], _query(scope), posted)

    def _largest(self, path: str) -> int:
        """How many bytes a body posted there may have."""
        if ROOM_POST.fullmatch(path):
            return self.rules.room_bytes
        return (
            int(MAX_FILE_BODY_BYTES * self.rules.run_scale) if "/component_server" in path else MAX_BODY_BYTES
        )

    async def _collected(self, receive: Receive, limit: int) -> bytes:
        """The body, counted while it arrives: a declared length proves nothing."""
        body, began = bytearray(), time.monotonic()
        most = MAX_BYTES_UNDER_WAY * self.rules.run_scale
        try:
            while True:
                patience = began + BODY_S + len(body) / BODY_BYTES_PER_S - time.monotonic()
                message = await asyncio.wait_for(receive(), patience)
                if message["type"] != "http.request":
                    raise _Refused(Refusal(0, ""))
                piece = message.get("body", b"")
                body += piece
                self._under_way += len(piece)
                if len(body) > limit:
                    raise _Refused(_too_large(limit))
                if self._under_way > most and len(body) > SMALL_BODY_BYTES:
                    raise _Refused(Refusal(503, "Too much data is arriving at once. Please try again."))
                if not message.get("more_body"):
                    return bytes(body)
        except TimeoutError:
            raise _Refused(Refusal(408, "This request arrived too slowly. Please try again.")) from None
        finally:
            self._under_way -= len(body)

    def _read_json(self, body: bytes, address: str) -> object:
        """The value of the body. Raises ValueError if it is not JSON, _Refused if it is costly to parse."""
        most = int(MAX_VALUES * self.rules.run_scale)
        if sum(map(body.count, (b",", b"[", b"{"))) > most:
            raise _Refused(Refusal(413, f"A request may have at most {most:,} values; this one has more."))
        if len(body) <= SMALL_BODY_BYTES:
            return json.loads(body)
        past_s = time.monotonic() - 60
        self._read = [use for use in self._read if use[0] > past_s]
        if sum(seconds for _, whose, seconds in self._read if whose == address) > READING_S:
            raise _Refused(Refusal(503, "Your address sends too much data. Please try again in a minute."))
        since_s = time.thread_time()
        try:
            return json.loads(body)
        finally:
            self._read.append((time.monotonic(), address, READINGS * (time.thread_time() - since_s)))

    def _with_headers(self, send: Send, named_by_content: bool) -> Send:
        frames = f"frame-ancestors {self.rules.framed_by}".encode()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
                if kind.startswith(b"text/event-stream"):  # live only if nothing in between buffers it
                    headers = [(name, value) for name, value in headers if name.lower() != b"cache-control"]
                    headers.append((b"cache-control", b"no-cache, no-transform"))
                    headers.append((b"x-accel-buffering", b"no"))
                elif named_by_content and message["status"] == 200:
                    headers.append((b"cache-control", FOR_GOOD.encode()))
                headers += [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
                headers.append((b"content-security-policy", frames))
                message = {**message, "headers": headers}
            await send(message)

        return sending


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class _Rest:
    """`receive` that records whether the whole body has arrived."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.ended = message["type"] != "http.request" or not message.get("more_body")
        return message


def _draining(send: Send, receive: Receive) -> Send:
    """`send` that ends the answer once the body has arrived, is too large, or takes too long.

    The answer itself is sent immediately. A connection closed while its body is still arriving is reset, and
    nginx then shows "502 Bad Gateway".
    """
    rest = receive if isinstance(receive, _Rest) else _Rest(receive)

    async def drain() -> None:
        count = 0
        while not rest.ended and count < DRAIN_BYTES:
            count += len((await rest()).get("body", b""))

    async def sending(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({**message, "more_body": True})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drain(), DRAIN_S)
        await send({"type": "http.response.body", "body": b""})

    return sending


def _refused_post(path: str, headers: Mapping[str, str], is_call: bool) -> Refusal | None:
    """Why a post is refused, judging by its path and headers."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "/upload" in path or kind.startswith("multipart/"):
        return Refusal(403, "This app accepts no file uploads.")
    if not (is_call or POSTED.fullmatch(path)):
        return Refusal(404, ONLY_THE_PAGE)
    if _is_foreign(headers):
        return Refusal(403, "Only this app's own page may request that. Please open the page.")
    if kind != "application/json":
        return Refusal(415, "The request body must be JSON (Content-Type: application/json).")
    return None


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether another site's page sent this. Clients other than browsers send none of these headers."""
    site = headers.get("sec-fetch-site")
    if site is not None:  # the browser has compared the public addresses itself
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None or PAGE_HEADER in headers:
        return False
    scheme, _, host = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    return host.removesuffix(default) != headers.get("host", "").lower().removesuffix(default)


def _name(host: str) -> str:
    """The name in a Host header in lower case, without port, brackets and trailing dot."""
    return re.sub(r":\d*$", "", host.strip()).strip("[]").rstrip(".").lower()


def _is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    name = host.lower().rstrip(".")
    return (
        name in LOOPBACK
        or name.startswith("127.")
        or (_is_address(name) and ipaddress.ip_address(name).is_loopback)
    )


def _is_address(name: str) -> bool:
    """Whether the host is an IP address. Nobody else can make an address point here, as they can a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _origin_form(scope: Scope) -> Scope:
    """The request with the address in its target moved to the Host header (RFC 9112, 3.2.2).

    Proxies send this form to a server that they take for a proxy.
    """
    raw = scope.get("raw_path") or b""
    absolute = ABSOLUTE.match(raw)
    if absolute is None:
        return scope
    rest = raw[absolute.end() :] or b"/"
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
    headers.append((b"host", absolute.group(1)))
    return {**scope, "raw_path": rest, "path": unquote(rest.decode("latin-1")), "headers": headers}


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"A request may have at most {limit:,} bytes; this one has more. Send less text.")


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """`receive` that returns the body already read, then waits for the end of the connection."""
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return given.pop() if given else await receive()

    return receiving


async def answer(send: Send, refusal: Refusal) -> None:
    """Send the refusal as JSON with its message in `detail`, as Gradio does."""
    body = json.dumps({"detail": refusal.message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
