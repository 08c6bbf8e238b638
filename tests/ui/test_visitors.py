"""Listeners and turns, without a server; the store's quotas; sequences and places by owner."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Send

from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError, Overloaded
from eft_demo.settings import Settings
from eft_demo.ui import visitors
from eft_demo.ui.handlers import SUPERSEDED, LiveRuns
from eft_demo.ui.visitor_store import VisitorStore
from eft_demo.ui.visitors import Arrivals, Streams, TrackArrivals, TrackStreams, Turns, Visitor, network
from tests.asking import spec
from tests.fakes import CHANT, make_service
from tests.waiting import until

ONE, OTHER = Visitor("one", "10.0.0.1"), Visitor("other", "10.0.0.2")
WAIT_S = 30.0


@pytest.mark.parametrize(
    ("host", "counts_as"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_addresses_of_one_household_count_as_one(host: str, counts_as: str) -> None:
    assert network(host) == counts_as


# -- listeners --


async def silent() -> Message:
    raise AssertionError("nobody reads the request")


def serve(streams: Streams, query: bytes, path: str, app: ASGIApp) -> None:
    async def send(message: object) -> None:
        """Accepts everything immediately."""

    scope = {"type": "http", "path": path, "query_string": query}
    asyncio.run(TrackStreams(app, streams)(scope, silent, send))


@pytest.mark.parametrize("cause", [HTTPException(404), None])
def test_a_stream_whose_messages_another_one_took_ends_and_raises_nothing(
    cause: HTTPException | None,
) -> None:
    sent: list[Message] = []

    async def app(scope: object, receive: object, send: Send) -> None:
        raise RuntimeError("response already started") from cause

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/gradio_api/queue/data", "query_string": b"session_hash=two"}
    streams = Streams()
    if cause is None:  # a mistake of the program, which the log must show
        with pytest.raises(RuntimeError):
            asyncio.run(TrackStreams(app, streams)(scope, silent, send))
    else:
        asyncio.run(TrackStreams(app, streams)(scope, silent, send))
        assert sent[-1]["type"] == "http.response.body" and not sent[-1]["more_body"]
    assert not streams.listens("two")


@pytest.mark.parametrize(
    "path", ["/gradio_api/queue/data", "/gradio_api/queue/data/", "/tools/eft/queue/data"]
)
def test_a_stream_counts_while_it_is_open(path: str) -> None:
    streams = Streams()

    async def app(scope: object, receive: object, send: Send) -> None:
        await send({"type": "http.response.start"})
        assert streams.is_read("one", 1) and not streams.is_read("other", 1)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        serve(streams, b"session_hash=one", path, app)
    assert not streams.is_read("one", 1)
    serve(streams, b"", path, lambda *_: asyncio.sleep(0))  # without a session nothing is counted


@pytest.mark.parametrize(
    ("path", "counted"),
    [
        ("/gradio_api/queue/join", 1),
        ("/gradio_api/queue/data", 0),
        ("/gradio_api/call/generate", 1),
        ("/gradio_api/call/v2/generate", 1),
        ("/gradio_api/call/v2/generate/some-event", 0),
        ("/gradio_api/call/v2", 0),
    ],
)
def test_a_posted_run_counts_until_it_is_answered(path: str, counted: int) -> None:
    arrivals = Arrivals()

    async def app(scope: object, receive: object, send: Send) -> None:
        assert arrivals.count == counted
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(
            TrackArrivals(app, arrivals)(
                {"type": "http", "path": path}, silent, lambda message: asyncio.sleep(0)
            )
        )
    assert arrivals.count == 0


def test_a_reader_with_a_blocked_stream_counts_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    streams, clock = Streams(), [100.0]
    monkeypatch.setattr("eft_demo.ui.visitors.time.monotonic", lambda: clock[0])

    async def blocked(message: object) -> None:
        assert streams.is_read("one", 20)
        clock[0] += 19
        assert streams.is_read("one", 20)
        clock[0] += 2
        assert not streams.is_read("one", 20)

    async def app(scope: object, receive: object, send: Send) -> None:
        await send({"type": "http.response.body"})
        assert streams.is_read("one", 20)  # it took it after all

    scope = {"type": "http", "path": "/queue/data", "query_string": b"session_hash=one"}
    asyncio.run(TrackStreams(app, streams)(scope, silent, blocked))


def test_a_page_whose_stream_was_ended_has_a_moment_to_open_another(monkeypatch: pytest.MonkeyPatch) -> None:
    streams, clock = Streams(), [100.0]
    monkeypatch.setattr("eft_demo.ui.visitors.time.monotonic", lambda: clock[0])

    async def app(scope: object, receive: object, send: Send) -> None:
        await send({"type": "http.response.body", "more_body": True})
        await send({"type": "http.response.body", "more_body": False})

    serve(streams, b"session_hash=one", "/queue/data", app)
    assert streams.is_read("one", 20) and not streams.listens("one")
    clock[0] += visitors.REOPEN_S + 1
    assert not streams.is_read("one", 20)
    serve(streams, b"session_hash=other", "/queue/data", app)
    assert streams._ended.keys() == {"other"}  # the rest is forgotten


def test_a_visitor_who_listens_in_time_gets_a_run() -> None:
    streams = Streams()
    threading.Timer(0.05, lambda: streams.opened("one")).start()
    assert streams.wait(ONE, Settings(listen_s=WAIT_S))
    assert not streams.wait(OTHER, Settings(listen_s=0.01))


def test_over_the_limit_the_address_with_most_unread_runs_loses_its_oldest() -> None:
    streams, settings = Streams(), Settings(listen_s=WAIT_S, max_unheard=3)
    heard: dict[str, bool] = {}

    def listen(visitor: Visitor) -> None:
        try:
            heard[visitor.session] = streams.wait(visitor, settings)
        except Overloaded:
            heard[visitor.session] = False

    def wait(visitor: Visitor) -> threading.Thread:
        waiting = len(streams._waiters)
        thread = threading.Thread(target=listen, args=(visitor,))
        thread.start()
        until(lambda: waiting == 3 or len(streams._waiters) > waiting)
        return thread

    first, second = wait(ONE), wait(OTHER)
    third = wait(replace(OTHER, session="other 2"))
    fourth = wait(replace(OTHER, session="other 3"))
    second.join(WAIT_S)
    assert heard == {"other": False}
    for session in ("one", "other 2", "other 3"):
        streams.opened(session)
    for thread in (first, third, fourth):
        thread.join(WAIT_S)
    assert heard == {"one": True, "other": False, "other 2": True, "other 3": True}


def test_sessions_that_never_listened_are_named_once_for_forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams()
    streams.wait(ONE, Settings(listen_s=0.01))
    assert streams.forgotten() == []
    monkeypatch.setattr(visitors, "FORGET_S", -1.0)
    assert streams.forgotten() == ["one"] and streams.forgotten() == []


# -- turns --


async def stay() -> bool:
    return False


def test_heavy_work_runs_one_at_a_time_and_the_lightest_user_goes_first() -> None:
    order: list[str] = []
    going = [0]

    def work(name: str) -> Callable[[], str]:
        def done() -> str:
            going[0] += 1
            assert going[0] == 1
            order.append(name)
            sum(range(200_000))
            going[0] -= 1
            return name

        return done

    async def all_at_once() -> list[str]:
        turns = Turns(Settings())
        await turns.take(ONE, work("before"), stay)
        tasks = [turns.take(ONE, work(f"one {n}"), stay) for n in range(4)]
        return await asyncio.gather(*tasks, turns.take(OTHER, work("other"), stay))

    answers = asyncio.run(all_at_once())
    assert answers == ["one 0", "one 1", "one 2", "one 3", "other"]
    assert order[:3] == ["before", "one 0", "other"]  # it came last and waited only for the task under way


def test_limits_of_heavy_work_give_messages_and_do_not_affect_others() -> None:
    settings = Settings(max_heavy_each=2, max_heavy_address=3)

    async def flood() -> None:
        turns = Turns(settings)
        mine = [asyncio.ensure_future(turns.take(ONE, lambda: 1, stay)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="this page .* at most 2"):
            await turns.take(ONE, lambda: 1, stay)
        neighbour = replace(ONE, session="neighbour")
        mine.append(asyncio.ensure_future(turns.take(neighbour, lambda: 1, stay)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="your address .* at most 3"):
            await turns.take(neighbour, lambda: 1, stay)
        assert await turns.take(OTHER, lambda: 2, stay) == 2
        assert await asyncio.gather(*mine) == [1, 1, 1]

    asyncio.run(flood())


def test_an_address_that_has_used_its_seconds_waits_for_the_next_minute() -> None:
    async def twice() -> None:
        turns = Turns(Settings(max_heavy_s=1e-6))
        await turns.take(ONE, lambda: sum(range(100_000)), stay)
        with pytest.raises(Overloaded, match="s of server time a minute"):
            await turns.take(replace(ONE, session="anew"), lambda: 1, stay)
        assert await turns.take(OTHER, lambda: 1, stay) == 1

    asyncio.run(twice())


def test_work_for_departed_visitors_is_skipped_and_a_failure_frees_the_turn() -> None:
    async def gone() -> bool:
        return True

    def broken() -> None:
        raise ZeroDivisionError

    async def come_and_go() -> None:
        turns = Turns(Settings())
        with pytest.raises(Overloaded):
            await turns.take(ONE, lambda: pytest.fail("nobody waits for it"), gone)
        with pytest.raises(ZeroDivisionError):
            await turns.take(ONE, broken, stay)
        assert await turns.take(ONE, lambda: 1, stay) == 1

    before_s = sys.getswitchinterval()
    asyncio.run(come_and_go())
    assert sys.getswitchinterval() == before_s


# -- the store --


def fill(
    shelf: VisitorStore[bytes], visitor: Visitor, name: str, size: int = 1, opened: bool = False
) -> None:
    """An item that cannot be compressed."""
    shelf.put(name, bytes(threading.get_ident() * k % 251 for k in range(size)), visitor, opened)
    shelf.pack(name)


def test_a_visitor_has_a_quota_and_files_do_not_take_the_place_of_runs() -> None:
    shelf: VisitorStore[bytes] = VisitorStore(Settings(max_kept_runs=2, max_opened_files=3))
    for number in range(4):
        fill(shelf, ONE, f"run {number}")
    fill(shelf, OTHER, "of the other")
    for number in range(9):
        fill(shelf, ONE, f"file {number}", opened=True)
    assert list(shelf.by_id) == ["run 2", "run 3", "of the other", "file 6", "file 7", "file 8"]


def test_over_quota_evicts_from_the_largest_holder() -> None:
    shelf: VisitorStore[bytes] = VisitorStore(Settings(max_kept_mb=1))
    many = 1_000_000 // 4096  # of the minimum counted size
    for number in range(20):
        fill(shelf, Visitor(f"pupil {number}", "10.0.0.1"), f"pupil {number}")
    for number in range(2 * many):
        fill(shelf, Visitor(f"greedy {number}", "10.0.0.9"), f"greedy {number}")
    names = list(shelf.by_id)
    assert len(names) == many and names[:20] == [f"pupil {number}" for number in range(20)]
    assert names[-1] == f"greedy {2 * many - 1}"


def test_memory_of_unused_items_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("eft_demo.ui.visitor_store.time.monotonic", lambda: clock[0])
    shelf: VisitorStore[bytes] = VisitorStore(Settings(keep_minutes=10))
    fill(shelf, ONE, "used")
    fill(shelf, ONE, "left")
    clock[0] = 400.0
    assert shelf.get("used")
    clock[0] = 700.0
    assert shelf.get("left") is None and shelf.get("used")
    assert list(shelf.by_id) == ["used"]


# -- sequences and places --


@pytest.fixture
def service() -> Iterator[Service]:
    service = make_service(Settings(threads=1, dtype="fp32", max_sequences=24, max_waiting=8), pause_s=0.01)
    yield service
    service.stop()


def test_one_owner_cannot_hold_all_sequences_and_queue_places(service: Service) -> None:
    def start(owner: str) -> Run:
        return service.start_run(spec(CHANT, "brief", length=200), owner=owner)

    with pytest.raises(Overloaded, match="your address .* 7[.]"):
        for _ in range(20):
            start("greedy")
    until(lambda: service.engine.active_sequences == 18)
    assert service.engine.waiting == 7
    late = start("modest")
    assert late.events(WAIT_S)
    assert service.engine.active_sequences == 21 and service.engine.waiting == 7


def test_runs_without_an_owner_have_no_share_limit(service: Service) -> None:
    for _ in range(8):
        service.start_run(spec(CHANT, "brief", length=200))
    until(lambda: service.engine.active_sequences == 24)


def test_runs_per_minute_and_address_are_limited() -> None:
    live, settings = LiveRuns(), Settings(max_runs_per_minute=2)
    for number in range(2):
        live.register(live.reserve(replace(ONE, session=str(number)), settings), None)
    with pytest.raises(Overloaded, match="2 runs within a minute, and at most 2"):
        live.reserve(ONE, settings)
    assert live.reserve(OTHER, settings)


def test_a_pages_runs_count_from_the_moment_they_are_reserved() -> None:
    live, settings = LiveRuns(), Settings(max_runs_each=2)
    ids = [live.reserve(ONE, settings) for _ in range(2)]
    with pytest.raises(Overloaded, match="at most 2 are allowed"):
        live.reserve(ONE, settings)
    live.register(ids[0], None)
    assert live.reserve(ONE, settings)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_the_newest_run_of_a_page_wins_in_whatever_order_its_runs_arrive(
    service: Service, order: tuple[int, ...]
) -> None:
    live, settings = LiveRuns(), Settings(max_runs_each=1)
    runs = {}
    for number in order:
        try:
            run_id = live.reserve(ONE, settings, number)
        except EFTError as refusal:
            assert str(refusal) == SUPERSEDED
        else:
            runs[number] = service.start_run(spec(CHANT, "brief", length=200))
            live.register(run_id, runs[number])
    assert [number for number, run in runs.items() if not run.cancelled] == [3]
    other = service.start_run(spec(CHANT, "brief", length=200))
    live.register(live.reserve(OTHER, settings, 1), other)
    assert not other.cancelled
    for run in (other, *runs.values()):
        run.cancel()


def test_a_run_that_starts_after_a_newer_one_is_cancelled(service: Service) -> None:
    live, settings = LiveRuns(), Settings(max_runs_each=1)
    older, newer = (live.reserve(ONE, settings, number) for number in (1, 2))
    for run_id in (newer, older):
        live.register(run_id, service.start_run(spec(CHANT, "brief", length=200)))
    assert live.by_id[older].cancelled and not live.by_id[newer].cancelled
    live.by_id[newer].cancel()


@pytest.mark.parametrize(
    "name", ["max_runs_each", "max_kept_mb", "max_opened_files", "max_share", "listen_s"]
)
def test_a_limit_of_zero_is_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=f"EFT_{name.upper()}"):
        Settings(**{name: 0})  # type: ignore[arg-type]
