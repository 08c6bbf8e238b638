"""The gate before everything else: who may ask for what, how large a body may be, how soon it must be here.

Knows headers, paths and bytes; knows nothing of Gradio's answers, of models and of the page's contents.
"""

import asyncio
import contextlib
import ipaddress
import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from eft_demo.settings import LOOPBACK, Settings, show_value
from eft_demo.ui.own_address import App, Message, Receive, Scope, Send
from eft_demo.ui.visitors import network

# A prompt far too long must still arrive whole, or it could not be answered with a sentence.
MAX_BODY_BYTES = 1_000_000
MAX_FILE_BODY_BYTES = 10_000_000  # a recorded run comes as a JSON string, where every quote takes two
MAX_BYTES_UNDER_WAY = 64_000_000  # of all bodies that are still coming in; beyond it only small ones may
SMALL_BODY_BYTES = 64_000  # a run has a few thousand
# A body has this long, and a second more for so many bytes: a slow line may send, a dripping one may not.
BODY_S = 20.0
BODY_BYTES_PER_S = 50_000
# Of values in a body, however deep: the largest run has half of it. While JSON is read, all others wait.
MAX_VALUES = 500_000
READING_S = 5.0  # a minute per address to read large bodies: a class opens its files
READINGS = 2  # of a body that is let in: Gradio reads it once more
DRAIN_S = 3.0  # for the rest of a body that was refused: a proxy that still sends it would miss the answer
DRAIN_BYTES = 50_000_000
# All that the page posts to.
POSTED = re.compile(r"/gradio_api/(queue/join|component_server|cancel|reset)/?")
# What of Gradio this page has no use for: ways past the queue and its checks, a link that would write a
# person's page to the disk, a proxy, an editor of the program.
CLOSED = re.compile(
    r"(/gradio_api)?/(runs?|api|call|deep_link|dev|proxy=.*|(undo-)?vibe-[a-z-]+|custom_component|stream|svelte|"
    r"upload_progress|openapi\.json|logout|pwa_icon)(/|$)"
)
ABSOLUTE = re.compile(rb"https?://([^/]*)", re.IGNORECASE)
ALWAYS_OPEN = "/healthz"
PAGE_HEADER = "x-eft-page"  # set by early.js
SAFE = ("GET", "HEAD", "OPTIONS")
ONLY_THE_PAGE = "This app is used through its page; it has no other interface."


class Refusal(NamedTuple):
    """An HTTP status and the sentence that goes with it."""

    status: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What the gate goes by. `names` are the hosts that may be asked for; None allows any.

    `guessed`: the names are not of a person's choosing, so whatever a proxy brings is let in too.
    """

    names: frozenset[str] | None
    guessed: bool
    root_path: str
    framed_by: str
    run_scale: float  # `Settings.run_scale`: a file that is opened may be so many times as large


def rules(settings: Settings) -> Rules:
    """The rules that follow from where the app listens, under which names, and whether it is a Space."""
    asked = frozenset(settings.allowed_hosts.replace(",", " ").lower().split())
    machine = socket.gethostname().lower()
    here = frozenset({*LOOPBACK, machine, f"{machine}.local"})
    return Rules(
        names=here | asked if asked or _is_loopback(settings.host) else None,
        guessed=not asked,
        root_path=settings.root_path,
        framed_by="'self' https://huggingface.co" if settings.space else "'self'",
        run_scale=settings.run_scale,
    )


# What is asked of the page, if it does not exist: path, query, and what was posted (None for nothing).
Unknown = Callable[[str, Mapping[str, str], object], Refusal | None]


class Gate:
    """ASGI middleware, outermost: refuses what no page of ours asks for, and bounds what it lets in."""

    def __init__(self, app: App, rules: Rules, unknown: Unknown) -> None:
        self.app, self.rules, self.unknown = app, rules, unknown
        self._under_way = 0  # bytes
        self._read: list[tuple[float, str, float]] = []  # when, whose, seconds of CPU; of the last minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = _origin_form(scope)
        pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        headers = {name.lower(): value for name, value in pairs}
        scope = self._as_ours(scope, headers)
        send = self._with_headers(send)
        refusal = self._refusal(scope, headers)
        if refusal is None and scope["method"] not in SAFE:
            receive, refusal = await self._whole(scope, receive, headers)
        elif refusal is None:
            refusal = self.unknown(scope["path"], _query(scope), None)
        if refusal is None:
            await self.app(scope, receive, send)
        elif refusal.status:
            await answer(send if scope["method"] in SAFE else _draining(send, receive), refusal)

    def _as_ours(self, scope: Scope, headers: Mapping[str, str]) -> Scope:
        """The request as if no proxy had changed its path; without its origin, once that has been checked.

        Without an origin Gradio allows no other site to read anything, whatever it asks before.
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
        if path != ALWAYS_OPEN and not self._named_right(scope, headers):
            name = show_value(_name(headers.get("host", "")))
            return Refusal(
                403,
                f"This app is not known by the name {name}. Whoever runs it may allow the name with "
                "EFT_ALLOWED_HOSTS, for example where a proxy leads here (docs/deploying.md).",
            )
        if CLOSED.match(path):
            return Refusal(404, ONLY_THE_PAGE)
        return None if method in SAFE else _refused_post(path, headers)

    def _named_right(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Whether the request names this server. A foreign name may lead here too (DNS rebinding)."""
        name = _name(headers.get("host", ""))
        names = self.rules.names
        if names is None or not name or name in names or name.endswith(".localhost") or _is_address(name):
            return True
        if any(known.startswith("*.") and name.endswith(known[1:]) for known in names):
            return True
        # No page can make its browser send either, so the request came through a proxy that somebody set up.
        return self.rules.guessed and (scope.get("http_version") == "1.0" or "via" in headers)

    async def _whole(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str]
    ) -> tuple[Receive, Refusal | None]:
        """`receive` with the whole body, or why it is not taken; status 0 if nobody waits any more."""
        largest = int(MAX_FILE_BODY_BYTES * self.rules.run_scale)
        limit = largest if "/component_server" in scope["path"] else MAX_BODY_BYTES
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
            return rest, Refusal(400, "What was posted is not JSON.")
        if not isinstance(posted, dict):
            return rest, Refusal(400, "What was posted is not a JSON object.")
        return _again(body, receive), self.unknown(scope["path"], _query(scope), posted)

    async def _collected(self, receive: Receive, limit: int) -> bytes:
        """The body, counted while it comes: what a request says about its length proves nothing."""
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
                    raise _Refused(Refusal(503, "Too much is being sent here at once. Please try again."))
                if not message.get("more_body"):
                    return bytes(body)
        except TimeoutError:
            raise _Refused(Refusal(408, "This request came too slowly. Please try again.")) from None
        finally:
            self._under_way -= len(body)

    def _read_json(self, body: bytes, address: str) -> object:
        """The value of the body. Raises ValueError if it is no JSON, _Refused if to read it takes long."""
        most = int(MAX_VALUES * self.rules.run_scale)
        if sum(map(body.count, (b",", b"[", b"{"))) > most:
            raise _Refused(Refusal(413, f"A request may have {most:,} values; this one has more."))
        if len(body) <= SMALL_BODY_BYTES:
            return json.loads(body)
        past_s = time.monotonic() - 60
        self._read = [use for use in self._read if use[0] > past_s]
        if sum(seconds for _, whose, seconds in self._read if whose == address) > READING_S:
            raise _Refused(Refusal(503, "Your address sends too much at once. Please try again in a minute."))
        since_s = time.thread_time()
        try:
            return json.loads(body)
        finally:
            self._read.append((time.monotonic(), address, READINGS * (time.thread_time() - since_s)))

    def _with_headers(self, send: Send) -> Send:
        frames = f"frame-ancestors {self.rules.framed_by}".encode()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
                if kind.startswith(b"text/event-stream"):  # live only if nothing in between keeps it back
                    headers = [(name, value) for name, value in headers if name.lower() != b"cache-control"]
                    headers.append((b"cache-control", b"no-cache, no-transform"))
                    headers.append((b"x-accel-buffering", b"no"))
                headers += [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
                headers.append((b"content-security-policy", frames))
                message = {**message, "headers": headers}
            await send(message)

        return sending


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class _Rest:
    """`receive` that knows whether the whole body has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.ended = message["type"] != "http.request" or not message.get("more_body")
        return message


def _draining(send: Send, receive: Receive) -> Send:
    """`send` that ends the answer when the body has come, or too much of it, or after a while.

    The answer goes out at once. But a connection that is closed while its body still comes is reset, and
    nginx, which asks for that, says "502 Bad Gateway" to the page.
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


def _refused_post(path: str, headers: Mapping[str, str]) -> Refusal | None:
    """Why a post is not taken, as far as its path and its headers show."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if "/upload" in path or kind.startswith("multipart/"):
        return Refusal(403, "This app takes no files.")
    if not POSTED.fullmatch(path):
        return Refusal(404, ONLY_THE_PAGE)
    if _foreign(headers):
        return Refusal(403, "Only this app's own page may ask for that. Please open it and use it there.")
    if kind != "application/json":
        return Refusal(415, "What is posted here must be JSON (Content-Type: application/json).")
    return None


def _foreign(headers: Mapping[str, str]) -> bool:
    """Whether another site's page sent this. What no page sent, such as a test, has none of these headers."""
    site = headers.get("sec-fetch-site")
    if site is not None:  # the browser itself has compared the addresses, as they are outside
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None or PAGE_HEADER in headers:
        return False
    scheme, _, host = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    return host.removesuffix(default) != headers.get("host", "").lower().removesuffix(default)


def _name(host: str) -> str:
    """The name in a Host header: without port, brackets and the last dot of a full name, in small letters."""
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
    """An address cannot be made to lead here by somebody else, as a name can."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _origin_form(scope: Scope) -> Scope:
    """The request with the address in its target taken off and put in the place of Host (RFC 9112, 3.2.2).

    Proxies ask so for what they take to be another proxy.
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
    return Refusal(413, f"A request may have {limit:,} bytes; this one has more. Send less text.")


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` that gives the body that was already taken, then waits for the end of the connection."""
    given: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return given.pop() if given else await receive()

    return receiving


async def answer(send: Send, refusal: Refusal) -> None:
    """Send the refusal as JSON with its sentence in `detail`, as Gradio does."""
    body = json.dumps({"detail": refusal.sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
