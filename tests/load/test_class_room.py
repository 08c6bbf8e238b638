"""Sixty phones in a class room over real HTTP: no vote is lost or counts twice, and nothing forged counts."""

import asyncio
import gc
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from eft_demo.ui import server
from eft_demo.ui.page import Page, build_demo

pytestmark = pytest.mark.load
PHONES = 60
SETTINGS = Settings(port=0, max_wrong_codes=5)
SCHOOL, ELSEWHERE = "127.0.0.1", "127.0.0.2"
OPTIONS = [{"id": str(number), "label": f"token {number}"} for number in range(4)]
ASKED = {"id": "first", "kind": "token", "title": "Which token is next?", "options": OPTIONS, "answer": "2"}
REVEALED = {**ASKED, "revealed": True, "notes": {"2": "base 90 %"}}


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[Page, str]]:
    demo = build_demo(Service.without_models(SETTINGS), SETTINGS)
    yield demo, server.start(demo, SETTINGS).replace("localhost", "127.0.0.1")
    server.stop(demo)


class Caller:
    """A client of the class rooms at one address."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def post(self, act: str, status: int = 200, **body: object) -> dict[str, Any]:
        answer = await self.client.post(f"/room/{act}", json=body)
        assert answer.status_code == status, (act, answer.text)
        said: dict[str, Any] = answer.json()
        return said


@asynccontextmanager
async def calling(url: str, address: str = SCHOOL) -> AsyncIterator[Caller]:
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=httpx.Limits(max_connections=200))
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=60) as client:
        yield Caller(client)


async def all_of(*jobs: Awaitable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*jobs))


async def news_of(phone: Caller, code: str, joined: dict[str, Any], news: int) -> dict[str, Any]:
    """What the phone shows after its next news; it asks again where the wait was too long."""
    while True:
        view = await phone.post("hear", code=code, token=joined["token"], news=news)
        if view["news"] != news:
            return view


def test_sixty_phones_vote_at_once_and_each_vote_counts_once(demo: tuple[Page, str]) -> None:
    async def lesson() -> None:
        async with calling(demo[1]) as phones, calling(demo[1], ELSEWHERE) as teacher:
            room = await teacher.post("open")
            mine = {"code": room["code"], "secret": room["secret"]}
            joined = await all_of(*(phones.post("join", code=room["code"]) for _ in range(PHONES)))
            assert len({one["token"] for one in joined}) == PHONES
            assert {one["news"] for one in joined} == {0} and joined[0]["poll"] is None

            heard = [asyncio.create_task(news_of(phones, room["code"], one, 0)) for one in joined]
            await teacher.post("show", **mine, poll=ASKED, link="v=1&prompt=x")
            views = await asyncio.gather(*heard)
            assert all(view["poll"]["options"] == OPTIONS and not view["link"] for view in views)
            assert '"answer"' not in str(views).replace("'", '"')

            chosen = [str(number % 3) for number in range(PHONES)]
            votes = [
                phones.post("vote", code=room["code"], token=one["token"], poll=1, option=option)
                for one, option in zip(joined, chosen, strict=True)
                for _ in range(2)  # a phone that lost the answer sends its vote again
            ]
            await all_of(*votes)
            tally = await teacher.post("tally", **mine, counted=-1)
            assert tally["counts"] == {**Counter(chosen), "3": 0} and tally["voted"] == PHONES
            assert tally["joined"] == tally["here"] == PHONES

            again = await phones.post("join", code=room["code"], token=joined[0]["token"])  # a lost phone
            assert (again["token"], again["mine"]) == (joined[0]["token"], "0")
            changed = await phones.post(
                "vote", code=room["code"], token=again["token"], poll=1, option="2"
            )  # it changes its mind
            assert changed["mine"] == "2"

            heard = [asyncio.create_task(news_of(phones, room["code"], one, 1)) for one in joined]
            await teacher.post("show", **mine, poll=REVEALED, link="v=1&prompt=x")
            views = await asyncio.gather(*heard)
            assert {view["poll"]["answer"] for view in views} == {"2"}
            assert views[0]["poll"]["counts"] == {"0": 19, "1": 20, "2": 21, "3": 0}
            assert views[0]["poll"]["notes"] == REVEALED["notes"] and views[0]["link"] == "v=1&prompt=x"
            late = {"code": room["code"], "token": joined[1]["token"], "poll": 1, "option": "2"}
            assert (await phones.post("vote", 409, **late))["error"] == "poll_closed"

            rooms = demo[0].rooms
            dead = weakref.ref(rooms.classroom.rooms[room["code"]])
            waiting = [
                asyncio.create_task(phones.post("hear", 404, code=room["code"], token=one["token"], news=2))
                for one in joined
            ]
            while len(rooms.news) < PHONES:  # all phones wait for news
                await asyncio.sleep(0.01)
            await teacher.post("end", **mine)
            assert {answer["error"] for answer in await asyncio.gather(*waiting)} == {"no_room"}
            gc.collect()
            assert dead() is None and len(rooms.news) == 0 and rooms.classroom.rooms == {}
            assert (await teacher.post("tally", 404, **mine))["error"] == "no_room"

    asyncio.run(lesson())


def test_nothing_forged_counts_and_guessing_stops_neither_phones_nor_scanned_codes(
    demo: tuple[Page, str],
) -> None:
    async def lesson() -> None:
        async with calling(demo[1]) as school, calling(demo[1], ELSEWHERE) as teacher:
            room = await teacher.post("open")
            code = room["code"]
            mine = {"code": code, "secret": room["secret"]}
            phone = await school.post("join", code=code)
            await teacher.post("show", **mine, poll=ASKED)
            forged = [
                ("vote", {"code": code, "token": "x" * 22, "poll": 1, "option": "1"}, "no_room"),
                ("vote", {"code": code, "token": None, "poll": 1, "option": "1"}, "no_room"),
                ("vote", {"code": "BCDFGH", "token": phone["token"], "poll": 1, "option": "1"}, "no_room"),
                ("vote", {"code": code, "token": phone["token"], "poll": 2, "option": "1"}, "poll_closed"),
                ("vote", {"code": code, "token": phone["token"], "poll": True, "option": "1"}, "poll_closed"),
                ("vote", {"code": code, "token": phone["token"], "poll": 1, "option": "7"}, "no_option"),
                ("vote", {"code": code, "token": phone["token"], "poll": 1, "option": ["1"]}, "no_option"),
                ("hear", {"code": code, "token": room["secret"], "news": 0}, "no_room"),
                ("show", {"code": code, "secret": phone["token"], "poll": REVEALED}, "no_room"),
                ("show", {"code": code, "secret": room["invite"], "poll": None}, "no_room"),
                ("tally", {"code": code, "secret": "", "counted": -1}, "no_room"),
                ("end", {"code": code}, "no_room"),
                ("show", {**mine, "poll": {**ASKED, "options": OPTIONS[:1]}}, "poll_form"),
                ("show", {**mine, "poll": {**REVEALED, "notes": {"7": "x"}}}, "poll_form"),
            ]
            status = {"no_room": 404, "poll_closed": 409}
            for act, body, error in forged:
                answer = await school.post(act, status.get(error, 400), **body)
                assert answer["error"] == error and answer["detail"]
            assert (await teacher.post("tally", **mine, counted=-1))["voted"] == 0

            for letter in "BCDFG":
                assert (await school.post("join", 404, code=letter * 6))["error"] == "no_room"
            refused = await school.post("join", 429, code=code)  # the right code, but that is not said
            assert refused["error"] == "too_many_codes" and "5" in refused["detail"]
            assert (await school.post("join", code=code, invite=room["invite"]))["token"]
            assert (await school.post("join", code=code, token=phone["token"]))["token"] == phone["token"]
            vote = {"code": code, "token": phone["token"], "poll": 1, "option": "3"}
            assert (await school.post("vote", **vote))["mine"] == "3"
            await teacher.post("end", **mine)

    asyncio.run(lesson())


def test_limits_are_named(demo: tuple[Page, str]) -> None:
    async def lesson() -> None:
        async with calling(demo[1]) as teacher:
            rooms = [await teacher.post("open") for _ in range(SETTINGS.max_rooms_address)]
            refused = await teacher.post("open", 429)
            assert (
                refused["error"] == "too_many_rooms" and str(SETTINGS.max_rooms_address) in refused["detail"]
            )
            long = await teacher.client.post("/room/show", json={"link": "x" * 1000 * SETTINGS.max_poll_kb})
            assert long.status_code == 413 and f"{SETTINGS.max_poll_kb},000" in long.json()["detail"]
            for room in rooms:
                await teacher.post("end", code=room["code"], secret=room["secret"])

    asyncio.run(lesson())


def test_the_page_for_phones_loads_nothing_and_no_other_site_may_post(demo: tuple[Page, str]) -> None:
    with httpx.Client(base_url=demo[1]) as client:
        page = client.get("/room")
        assert page.status_code == 200 and int(page.headers["content-length"]) < 7000
        rules = page.headers["content-security-policy"]
        assert "default-src 'none'" in rules and "unsafe" not in rules and "frame-ancestors" in rules
        assert "src=" not in page.text and "{" + "style}" not in page.text
        assert client.get("/room/").headers["location"] == "../room"
        assert client.get("/room/open").status_code == 405
        foreign = {"Origin": "https://example.org", "Sec-Fetch-Site": "cross-site"}
        assert client.post("/room/open", json={}, headers=foreign).status_code == 403
        assert client.post("/room/open", json=[]).status_code == 400
        assert client.post("/room/else", json={}).status_code == 404
