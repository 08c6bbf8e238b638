"""The routes of class rooms: who waits for news and how it ends, and the page for phones behind a proxy."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from eft_demo.classroom.codes import LETTERS, make_code, read_code
from eft_demo.classroom.poll import MAX_LABEL_CHARS, MAX_LINK_CHARS, MAX_OPTIONS, read_shown
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.settings import Settings
from eft_demo.ui import server
from eft_demo.ui.page import build_demo
from eft_demo.ui.room_routes import News, phone_page
from tests import nginx
from tests.waiting import PATIENCE_S

JSON = {"Content-Type": "application/json"}
FOREVER_S = PATIENCE_S  # no test waits for this to pass
ASKED: dict[str, Any] = {
    "id": "a",
    "kind": "token",
    "title": "Which?",
    "options": [{"id": "7", "label": " Lima"}, {"id": "9", "label": ""}],
}


async def begun(news: News, *waits: tuple[str, str]) -> list["asyncio.Task[None]"]:
    """Waits of (topic, who) that have begun."""
    tasks = [asyncio.create_task(news.wait(topic, who, FOREVER_S)) for topic, who in waits]
    await asyncio.sleep(0)
    return tasks


def test_news_wake_those_who_wait_for_the_topic_and_nobody_else() -> None:
    async def go() -> None:
        news = News(10)
        one, two, other = await begun(news, ("a", "1"), ("a", "2"), ("b", "1"))
        news.wake("a")
        await asyncio.gather(one, two)
        assert not other.done() and len(news) == 1
        news.close()
        await other
        await news.wait("a", "1", FOREVER_S)  # closed: at once
        assert len(news) == 0

    asyncio.run(go())


def test_one_phone_waits_once_and_beyond_the_limit_nobody_waits() -> None:
    async def go() -> None:
        news = News(2)
        first, other = await begun(news, ("a", "1"), ("a", "2"))
        (again,) = await begun(news, ("a", "1"))
        await first
        await news.wait("a", "3", FOREVER_S)  # there is no place: at once
        assert not again.done() and not other.done() and len(news) == 2
        again.cancel()  # the client is gone
        await asyncio.gather(again, return_exceptions=True)
        assert len(news) == 1
        await news.wait("b", "3", 0.001)
        assert len(news) == 1
        news.wake("a")
        await other

    asyncio.run(go())


def test_a_code_is_read_as_people_type_it() -> None:
    code = make_code()
    assert len(code) == 6 and set(code) <= set(LETTERS) and not set(LETTERS) & set("AEIOULQSW0158")
    assert read_code(f" {code[:3].lower()}-{code[3:]} ") == code
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in code)
    for typed in (
        f"\u200e{code}\u202c",
        f"{code[:3]}\u2013{code[3:]}",
        f"{code[:2]}\u200b\u3000{code[2:]}",
        wide,
    ):
        assert read_code(typed) == code
    for wrong in ("", code[:5], code + "B", "ABCDEF", "BCDFG0", "\u0392CDFGH", 7, None, [code], "B" * 10_000):
        assert read_code(wrong) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": 5},
        {"kind": "other"},
        {"kind": ["token"]},
        {"title": None},
        {"title": "x" * 401},
        {"prompt": "x" * 201},
        {"prompt": None},
        {"before": "x" * 401},
        {"options": None},
        {"options": {}},
        {"options": ["7", "9"]},
        {"options": ASKED["options"][:1]},
        {"options": ASKED["options"] + ASKED["options"]},
        {"options": [{"id": str(n), "label": "x"} for n in range(MAX_OPTIONS + 1)]},
        {"options": [{"id": "7", "label": "x" * (MAX_LABEL_CHARS + 1)}, {"id": "9", "label": "x"}]},
        {"revealed": True, "answer": "8"},
        {"revealed": True, "answer": ["7"]},
        {"revealed": True, "notes": {"8": "x"}},
        {"revealed": True, "notes": {"7": 5}},
        {"revealed": True, "notes": ["7"]},
    ],
    ids=str,
)
def test_what_a_presenter_posts_is_checked(change: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        read_shown({"poll": {**ASKED, **change}})
    assert refused.value.code == "poll_form"


def test_an_answer_that_is_posted_too_early_is_not_kept() -> None:
    early = read_shown({"poll": {**ASKED, "answer": "7", "notes": {"7": "x"}}}).poll
    assert early and early.answer is None and not early.notes
    late = read_shown({"poll": {**ASKED, "answer": "7", "notes": {"7": "x"}, "revealed": True}}).poll
    assert late and late.answer == "7" and late.notes == {"7": "x"}
    for link in (None, 5, "x" * (MAX_LINK_CHARS + 1)):
        with pytest.raises(InputError):
            read_shown({"poll": None, "link": link})
    with pytest.raises(InputError):
        read_shown({"poll": [ASKED]})


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page that nginx serves under a path."""
    demo = build_demo(Service.without_models(Settings()), settings := Settings(port=0))
    inside = f"location /tools/eft/ {{ proxy_pass {server.start(demo, settings)}/; }}"
    port = nginx.free_port()
    with nginx.running(tmp_path_factory.mktemp("nginx"), nginx.server_block(port, inside), [port]):
        yield f"http://127.0.0.1:{port}/tools/eft"
    server.stop(demo)


@nginx.needs_nginx
def test_phones_join_under_a_path_of_a_buffering_proxy(proxied: str) -> None:
    with httpx.Client(timeout=PATIENCE_S, follow_redirects=True) as client:
        page = client.get(f"{proxied}/room/")
        assert str(page.url) == f"{proxied}/room" and "The code on the screen" in page.text
        room = client.post(f"{proxied}/room/open", json={}).json()
        phone = client.post(f"{proxied}/room/join", json={"code": room["code"]}).json()
        mine = {"code": room["code"], "secret": room["secret"]}
        about = {"prompt": "What is the capital of Peru?", "before": "It is"}
        client.post(f"{proxied}/room/show", json={**mine, "poll": {**ASKED, **about}, "link": ""})
        heard = client.post(f"{proxied}/room/hear", json={**phone, "news": 0}).json()
        assert heard["poll"]["title"] == ASKED["title"] and about.items() <= heard["poll"].items()
        assert client.post(f"{proxied}/room/end", json=mine).status_code == 200


@pytest.mark.parametrize(
    ("accepts", "compressed"),
    [
        ("gzip, br", True),
        ("br;q=1, GZIP;q=0.5", True),
        ("", False),
        ("gzip;q=0", False),
        ("br, gzip ; q=0.0, x", False),
    ],
)
def test_the_phones_page_is_compressed_if_the_client_accepts_it(accepts: str, compressed: bool) -> None:
    page = phone_page(Request({"type": "http", "headers": [(b"accept-encoding", accepts.encode())]}))
    assert (page.headers.get("content-encoding") == "gzip") == compressed
    assert (b"The code on the screen" in page.body) != compressed


def test_half_of_a_surrogate_pair_stops_no_phone() -> None:
    demo = build_demo(Service.without_models(Settings()), settings := Settings(port=0))
    url, half = server.start(demo, settings), "\ud83d"
    options = [{"id": half, "label": half}, {"id": "9", "label": ""}]
    poll = {"id": half, "kind": "token", "title": half, "options": options}
    try:
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:

            def post(act: str, body: dict[str, Any]) -> dict[str, Any]:
                text = json.dumps(body)  # httpx's own `json` refuses half of a pair
                answer = client.post(f"/room/{act}", content=text, headers=JSON)
                assert answer.status_code == 200
                found: dict[str, Any] = answer.json()
                return found

            room = post("open", {})
            phone = post("join", {"code": room["code"]})
            mine = {"code": room["code"], "secret": room["secret"]}
            assert post("show", {**mine, "poll": poll, "link": half})["poll"] == half
            heard = post("hear", {**phone, "news": 0})
            assert heard["poll"]["title"] == heard["poll"]["options"][0]["label"] == half
            post("vote", {**phone, "poll": heard["poll"]["number"], "option": half})
            assert post("tally", {**mine, "counted": -1})["counts"] == {half: 1, "9": 0}
    finally:
        server.stop(demo)


def test_a_closing_server_lets_waiting_phones_go() -> None:
    demo = build_demo(Service.without_models(Settings()), settings := Settings(port=0))
    url = server.start(demo, settings)

    async def wait() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
            room = (await client.post("/room/open", json={})).json()
            phone = (await client.post("/room/join", json={"code": room["code"]})).json()
            waiting = asyncio.create_task(client.post("/room/hear", json=phone))
            while not len(demo.rooms.news):
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.stop, demo)
            assert (await waiting).json()["news"] == phone["news"]

    asyncio.run(wait())
