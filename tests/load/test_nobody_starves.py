"""Attacks over real HTTP from one address: users at other addresses keep their sequences, places and runs."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from eft_demo.settings import Settings
from eft_demo.ui import server
from eft_demo.ui.page import Page, build_demo
from tests.fakes import CHANT, make_service
from tests.tiers import exhaustive
from tests.waiting import until

pytestmark = pytest.mark.load
ASKED = {"behaviour": "brief", "controls": {"alpha": 1}, "temperature": 0, "top_p": 1, "top_k": 0}
ASKED |= {"min_p": 0, "seed": 0}
SETTINGS = Settings(dtype="fp32", threads=1, port=0, listen_s=1.0, max_sequences=24, max_waiting=8)
VICTIM, ATTACKER = "127.0.0.1", "127.0.0.2"


@dataclass(frozen=True)
class Place:
    """A running page for raw HTTP clients; `at` opens a client at one of this machine's addresses."""

    demo: Page
    url: str

    def at(self, address: str) -> httpx.Client:
        transport = httpx.HTTPTransport(local_address=address, limits=httpx.Limits(max_connections=200))
        return httpx.Client(base_url=self.url, timeout=60, transport=transport)

    @property
    def ids(self) -> tuple[int, int]:
        config = self.demo.config
        return config["dependencies"][0]["id"], config["dependencies"][0]["outputs"][0]

    def post(self, client: httpx.Client, session: str, prompt: str, length: int = 8, **more: object) -> None:
        fn, component = self.ids
        data = {**ASKED, "n": 1, "prompt": prompt, "length": length, **more}
        body = {"data": [], "event_data": data, "fn_index": fn, "trigger_id": component}
        answer = client.post("/gradio_api/queue/join", json={**body, "session_hash": session})
        assert answer.status_code == 200, answer.text

    def ask(self, client: httpx.Client, session: str, name: str, data: object) -> dict[str, Any]:
        body = {"data": data, "component_id": self.ids[1], "fn_name": name, "session_hash": session}
        answer = client.post("/gradio_api/component_server/", json=body)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = json.loads(answer.json())
        return said

    def run(
        self, client: httpx.Client, session: str, prompt: str, length: int = 8, **more: object
    ) -> list[dict[str, Any]]:
        """The lines of a run, as the page receives them."""
        self.post(client, session, prompt, length, **more)
        return read(client, session)


def read(client: httpx.Client, session: str) -> list[dict[str, Any]]:
    value = ""
    with client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            for piece in message.get("output", {}).get("data") or []:
                value = piece if isinstance(piece, str) else value + "".join(step[2] for step in piece)
            if message.get("msg") == "process_completed":
                break
    return [json.loads(line) for line in value.splitlines()]


def sentence(lines: list[dict[str, Any]]) -> str:
    return next((line["text"] for line in lines if line["k"] == "error"), "")


@pytest.fixture
def place() -> Iterator[Place]:
    service = make_service(SETTINGS, pause_s=0.005)
    demo = build_demo(service, SETTINGS)
    url = server.start(demo, SETTINGS).replace("localhost", "127.0.0.1")
    yield Place(demo, url)
    server.stop(demo)
    service.stop()


def test_runs_that_nobody_reads_take_nothing_from_others_at_the_same_address(place: Place) -> None:
    service = place.demo.service
    with place.at(VICTIM) as client, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: place.post(client, f"deaf{n}", CHANT, 200), range(80)))
        for number in range(4):
            lines = place.run(client, f"ears{number}", "Hi")
            assert lines[0]["k"] == "run" and not sentence(lines)
            assert service.engine.active_sequences <= 3 and service.engine.waiting == 0
        assert not any(line["k"] == "run" for line in read(client, "deaf0"))
        until(lambda: not place.demo.live.streams._waiters)
    assert not place.demo.live.by_id


def test_one_address_never_holds_all_sequences_and_queue_places(place: Place) -> None:
    engine = place.demo.service.engine
    with place.at(ATTACKER) as attacker, place.at(VICTIM) as client, ExitStack() as streams:
        for number in range(20):  # each connects, and does not read
            place.post(attacker, f"a{number}", CHANT, 250)
            url = f"/gradio_api/queue/data?session_hash=a{number}"
            streams.enter_context(attacker.stream("GET", url))
        until(lambda: engine.active_sequences == 18 and engine.waiting == 7)  # of 24 sequences and 8 places
        refused = sentence(place.run(attacker, "one-more", CHANT))
        assert "your address" in refused and " 7." in refused
        lines = place.run(client, "victim", "Hi")
        assert not sentence(lines) and {line["why"] for line in lines if line["k"] == "end"} == {"stop"}
        assert engine.active_sequences == 18  # they lost nothing, and got no more
    until(lambda: engine.active_sequences == engine.waiting == 0)  # all have disconnected


def test_a_page_has_a_limit_of_runs_and_the_error_names_it(place: Place) -> None:
    with place.at(VICTIM) as client, client.stream("GET", "/healthz"), ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            place.post(client, "busy", CHANT, 250)
        said = pool.submit(read, client, "busy")
        live = place.demo.live
        until(lambda: len(live.by_id) == SETTINGS.max_runs_each)
        assert str(SETTINGS.max_runs_each) in sentence(said.result())
    until(lambda: not live.by_id)


def test_thirty_visitors_at_one_address_keep_all_their_runs(place: Place) -> None:
    with place.at(VICTIM) as client, place.at(ATTACKER) as attacker, ThreadPoolExecutor(5) as pool:
        runs: dict[str, list[str]] = {f"v{n}": [] for n in range(30)}
        for _ in range(3):  # rounds
            for session, lines in zip(
                runs, pool.map(lambda v: place.run(client, v, "Hi"), runs), strict=True
            ):
                runs[session].append(lines[0]["id"])
        wanted = {"run": runs["v0"][0], "format": "json"}
        file = place.ask(client, "v0", "save", wanted)["text"]
        for number in range(80):
            assert "lines" in place.ask(attacker, f"stranger{number % 4}", "open_file", {"text": file})
            place.run(attacker, "runner", "Hi", 1)
        kept = place.demo.live.store
        assert all(kept.find(run) for ids in runs.values() for run in ids)
        assert sum(thing.opened for thing in kept.by_id.values()) == 4 * SETTINGS.max_opened_files


@exhaustive
def test_traces_are_opened_one_at_a_time(place: Place) -> None:
    with place.at(VICTIM) as client, place.at(ATTACKER) as attacker, ThreadPoolExecutor(16) as pool:
        run = place.run(client, "v", CHANT, 200)[0]["id"]
        file = place.ask(client, "v", "save", {"run": run, "format": "json"})["text"]
        opened = list(
            pool.map(lambda _: place.ask(attacker, "flood", "open_file", {"text": file}), range(16))
        )
        refusals = [answer["error"] for answer in opened if "error" in answer]
        assert len(opened) - len(refusals) >= SETTINGS.max_heavy_each
        assert all(str(SETTINGS.max_heavy_each) in sentence for sentence in refusals)
        assert not sentence(place.run(client, "v", "Hi"))
        branch = place.run(client, "v", "", kind="branch", run=run, column=2, position=3)
        assert branch[0]["of"] == run and branch[-1]["k"] == "done" and not sentence(branch)
