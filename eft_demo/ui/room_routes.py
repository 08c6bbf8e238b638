"""The routes of class rooms: the small page for phones, and what it and the presenter's page post.

Knows requests, addresses and how long an answer may wait; the rooms themselves are in `classroom/`. All of it
runs in the server's event loop. Phones wait for news by long polling, because a proxy that buffers would hold
back a stream. A waiting phone takes one connection and no thread.
"""

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from eft_demo.classroom.poll import read_shown
from eft_demo.classroom.rooms import Classroom
from eft_demo.errors import EFTError, Overloaded
from eft_demo.settings import ASSETS, Settings
from eft_demo.ui.bundle import bundle, source_hash
from eft_demo.ui.visitors import network

ROOM = ASSETS / "room"
NEWS_S = 20.0  # the longest wait for news: many proxies end a silent request after 30 s
GATHER_S = 0.1  # votes within this time reach the presenter's page together, or it would redraw for each
STATUS = {"no_room": 404, "poll_closed": 409}
GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)  # unless it is refused

Posted = Mapping[str, object]
Answer = dict[str, object]


class News:
    """Requests that wait for news of a topic. Use it from one event loop, except `close`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[str, dict[str, asyncio.Future[None]]] = {}  # topic -> who -> turn
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def wake(self, topic: str) -> None:
        """Let everybody who waits for this topic look again."""
        for turn in self._waiting.pop(topic, {}).values():
            if not turn.done():
                turn.set_result(None)

    async def wait(self, topic: str, who: str, seconds: float) -> None:
        """Return at the next change, or after `seconds`.

        A second wait of the same `who` ends the first. If too many wait already, it returns at once.
        """
        if self._closed or (len(self) >= self._most and who not in self._waiting.get(topic, {})):
            return
        self._loop = asyncio.get_running_loop()
        turn = self._loop.create_future()
        others = self._waiting.setdefault(topic, {})
        if (earlier := others.pop(who, None)) and not earlier.done():
            earlier.set_result(None)
        others[who] = turn
        try:
            await asyncio.wait_for(turn, seconds)
        except TimeoutError:
            pass
        finally:
            mine = self._waiting.get(topic, {})
            if mine.get(who) is turn:
                del mine[who]
                if not mine:
                    del self._waiting[topic]

    def close(self) -> None:
        """Let everybody go, now and from now on. Call it from any thread."""
        self._closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for topic in list(self._waiting):
            self.wake(topic)


class Rooms:
    """The rooms of this server and their routes. At most `most_waiting` requests wait for news.

    Each method from `open` to `vote` answers one post of `address`. Raises InputError or Overloaded, as the
    method of `Classroom` that it calls.
    """

    def __init__(self, settings: Settings, most_waiting: int) -> None:
        self.classroom = Classroom(settings)
        self.news = News(most_waiting)

    def routes(self) -> list[Route]:
        """GET /room for phones, and one post for each act of a presenter or a phone."""
        acts = (self.open, self.show, self.tally, self.end, self.join, self.hear, self.vote)
        posts = [Route(f"/room/{act.__name__}", _answering(act), methods=["POST"]) for act in acts]
        return [Route("/room", phone_page), Route("/room/", to_phone_page), *posts]

    # ---- the presenter

    async def open(self, posted: Posted, address: str) -> Answer:
        """Open a room; the answer has its code, the presenter's secret and the invite of its link."""
        room = self.classroom.open(address)
        return {"code": room.code, "secret": room.secret, "invite": room.invite}

    async def show(self, posted: Posted, address: str) -> Answer:
        """Show the phones the posted `poll`, or none, and the `link`; the answer is the tally."""
        room = self.classroom.presented(posted.get("code"), posted.get("secret"))
        before = room.news
        self.classroom.show(room, read_shown(posted))
        if room.news != before:
            self.news.wake(_phones(room.code))
            self.news.wake(_presenter(room.code))
        return self.classroom.tally(room)

    async def tally(self, posted: Posted, address: str) -> Answer:
        """The tally, at once if it has changed since `counted`, else at its next change."""
        room = self.classroom.presented(posted.get("code"), posted.get("secret"))
        if posted.get("counted") == room.counts:
            await self.news.wait(_presenter(room.code), "", NEWS_S)
            await asyncio.sleep(GATHER_S)
        return self.classroom.tally(self.classroom.presented(room.code, room.secret))

    async def end(self, posted: Posted, address: str) -> Answer:
        """End the presenter's room."""
        room = self.classroom.presented(posted.get("code"), posted.get("secret"))
        self.classroom.end(room)
        self.news.wake(_phones(room.code))
        self.news.wake(_presenter(room.code))
        return {}

    # ---- a phone

    async def join(self, posted: Posted, address: str) -> Answer:
        """Let a phone in, with a `code` and the `invite` or its earlier `token`; the answer has its token."""
        code, token, invite = posted.get("code"), posted.get("token"), posted.get("invite")
        room, token = self.classroom.join(code, address, token, invite)
        self.news.wake(_presenter(room.code))
        return {"code": room.code, "token": token, **self.classroom.view(room, token)}

    async def hear(self, posted: Posted, address: str) -> Answer:
        """What to show, at once if it has changed since `news`, else at its next change."""
        token = str(posted.get("token"))
        room = self.classroom.joined(posted.get("code"), token)
        if posted.get("news") == room.news:
            await self.news.wait(_phones(room.code), token, NEWS_S)
            room = self.classroom.joined(room.code, token)
        return self.classroom.view(room, token)

    async def vote(self, posted: Posted, address: str) -> Answer:
        """Count the phone's vote for `option` in the poll number `poll`."""
        token = str(posted.get("token"))
        room = self.classroom.joined(posted.get("code"), token)
        before = room.counts
        self.classroom.vote(room, token, posted.get("poll"), posted.get("option"))
        if room.counts != before:
            self.news.wake(_presenter(room.code))
        return self.classroom.view(room, token)


def _phones(code: str) -> str:
    return f"phones {code}"


def _presenter(code: str) -> str:
    return f"presenter {code}"


def _answering(act: Callable[[Posted, str], Awaitable[Answer]]) -> Callable[[Request], Awaitable[Response]]:
    """A route that answers with what `act` returns, or with {"error": its code, "detail": a sentence}."""

    async def answer(request: Request) -> Response:
        address = network(request.client.host) if request.client else ""
        try:
            return _json(await act(await request.json(), address), 200)
        except EFTError as refusal:
            status = 429 if isinstance(refusal, Overloaded) else STATUS.get(refusal.code, 400)
            return _json({"error": refusal.code, "detail": str(refusal)}, status)

    return answer


def _json(answer: Answer, status: int) -> Response:
    """In ASCII, because a text may contain half of a surrogate pair, which UTF-8 cannot hold."""
    return Response(json.dumps(answer), status, {"Cache-Control": "no-store"}, "application/json")


@cache
def _page() -> tuple[bytes, bytes, dict[str, str]]:
    """The phones' page, plain and compressed, and its headers. It contains its style and script."""
    style, script = _read("page.css"), bundle(ROOM / "phone.js")
    page = _read("page.html").replace("{style}", style).replace("{script}", script)
    rules = (
        f"default-src 'none'; script-src '{source_hash(script)}'; style-src '{source_hash(style)}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    return (
        page.encode(),
        gzip.compress(page.encode()),
        {
            "Content-Security-Policy": rules,
            "Cache-Control": "no-cache",
            "Vary": "Accept-Encoding",
        },
    )


def phone_page(request: Request) -> Response:
    """The page on which students join a room and vote."""
    page, compressed, headers = _page()
    if GZIP.search(request.headers.get("accept-encoding", "")):
        page, headers = compressed, {**headers, "Content-Encoding": "gzip"}
    return Response(page, media_type="text/html", headers=headers)


def to_phone_page(request: Request) -> Response:
    """Redirect to the address without a slash at the end, because the page's requests are relative to it."""
    return RedirectResponse("../room", status_code=308)


def _read(name: str) -> str:
    return (ROOM / name).read_text(encoding="utf-8")
