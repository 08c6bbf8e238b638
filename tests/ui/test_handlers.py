"""The page's requests, without a page: runs, live controls, stop, and untrusted values of every kind."""

import json
import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from eft_demo.ui import handlers
from eft_demo.ui.handlers import LiveRuns
from eft_demo.ui.visitors import Visitor
from tests.asking import spec
from tests.fakes import CHANT, EchoModel, make_service
from tests.waiting import PATIENCE_S, until

Json = dict[str, Any]
GOOD: Json = {"n": 5, "prompt": "Hi <b>${x}</b> 🦙", "behaviour": "assistant"}
GOOD |= {
    "controls": {"alpha": 1},
    "temperature": 0,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "seed": 0,
    "length": 40,
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = make_service(replace(Settings(), updates_per_s=50.0))
    yield service
    service.stop()


def lines_of(service: Service, posted: object, live: LiveRuns | None = None) -> list[Json]:
    values = list(handlers.stream_run(service, live or LiveRuns(), posted))
    for shorter, longer in zip(values, values[1:], strict=False):
        assert longer.startswith(shorter), "the stream must only grow"
    return [json.loads(line) for line in values[-1].splitlines()]


def message_for(lines: list[Json]) -> tuple[str, str]:
    error = next(line for line in lines if line["k"] == "error")
    return error["where"], error["text"]


def test_a_run_streams_three_columns_to_their_ends(service: Service) -> None:
    live = LiveRuns()
    lines = lines_of(service, GOOD, live)
    assert lines[0]["k"] == "run" and lines[0]["n"] == 5 and len(lines[0]["id"]) >= 20
    assert lines[-1] == {"k": "done"}
    ends = {line["p"]: line for line in lines if line["k"] == "end"}
    for column in range(3):
        text = "".join(line["s"] for line in lines if line["k"] == "t" and line["p"] == column)
        assert text + ends[column]["s"] == GOOD["prompt"]
        assert ends[column]["why"] == "stop"
    assert not live.by_id


def test_a_streaming_run_is_stored_and_can_be_branched_and_scored(service: Service) -> None:
    live = LiveRuns()
    lines = lines_of(service, GOOD, live)
    parent, ids = lines[0]["id"], [line["i"] for line in lines if line["k"] == "t" and line["p"] == 2]
    assert [record.id for record in live.store.find(parent).traces[2].tokens] == ids
    posted = {"n": 6, "kind": "branch", "run": parent, "column": 2, "position": 3}
    branch = lines_of(service, posted, live)
    assert (branch[0]["of"], branch[0]["copied"], branch[0]["given"]) == (parent, [0, 1], 3)
    assert len(branch[0]["columns"]) == 3
    assert [line["i"] for line in branch if line["k"] == "t"] == ids
    assert {line["p"] for line in branch if line["k"] in ("t", "end")} == {2}
    same = lines_of(service, {"n": 7, "kind": "same", "run": branch[0]["id"], "column": 2}, live)
    for column in range(3):
        assert [line["i"] for line in same if line["k"] == "t" and line["p"] == column] == ids
    assert not live.by_id and len(live.store.by_id) == 3


@pytest.mark.parametrize(
    ("posted", "words"),
    [
        ({"kind": "branch"}, "no longer has"),
        ({"kind": "same", "run": "guess", "column": 0}, "no longer has"),
        ({"kind": "<b>"}, "branch or same"),
        ({"kind": ["branch"]}, "branch or same"),
    ],
)
def test_a_branch_of_an_unknown_run_gets_an_error_with_its_place(
    service: Service, posted: Json, words: str
) -> None:
    lines = lines_of(service, {"n": 5, **posted})
    assert [line["k"] for line in lines] == ["refused", "error", "done"]
    place, text = message_for(lines)
    assert place == "branch" and words in text


def test_a_page_of_the_previous_family_must_reload(service: Service) -> None:
    live = LiveRuns()
    live.store.renew()
    assert "Echo" in message_for(lines_of(service, {**GOOD, "serial": 0}, live))[1]
    assert lines_of(service, {**GOOD, "serial": 1}, live)[0]["k"] == "run"


def test_stored_runs_of_the_previous_family_are_forgotten(service: Service) -> None:
    live = LiveRuns()
    run_id = lines_of(service, GOOD, live)[0]["id"]
    live.store.renew()
    branch = {"kind": "branch", "n": 1, "run": run_id, "column": 0, "position": 0}
    assert "no longer has" in message_for(lines_of(service, branch, live))[1]


def test_a_custom_prompt_format_applies_to_runs_and_branches(service: Service) -> None:
    live, own = LiveRuns(), {"kind": "plain", "text": "User: Again {prompt}\nAssistant:"}
    lines = lines_of(service, {**GOOD, "prompt": "Hi", "formats": {"assistant": own}}, live)
    branch = {"kind": "branch", "n": 1, "run": lines[0]["id"], "column": 1, "position": 0}
    for sent in (lines, lines_of(service, branch, live)):
        texts = ["".join(line["s"] for line in sent if line["k"] == "t" and line["p"] == p) for p in (0, 1)]
        assert texts[1] == "Again Hi" and texts[0] in ("Hi", "")


def test_an_invalid_prompt_format_gets_an_error_message(service: Service) -> None:
    asked = {**GOOD, "formats": {"assistant": {"kind": "plain", "text": "nowhere"}}}
    assert "{prompt}" in message_for(lines_of(service, asked))[1]


def test_the_requested_length_applies(service: Service) -> None:
    lines = lines_of(service, {**GOOD, "prompt": "chant", "length": 7})
    assert sum(line["k"] == "t" for line in lines) == 21
    assert {line["why"] for line in lines if line["k"] == "end"} == {"length"}


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        ({"prompt": ""}, "prompt", "empty"),
        ({"prompt": None}, "prompt", "must be text"),
        ({"prompt": ["x"]}, "prompt", "must be text"),
        ({"prompt": "x" * 100_000}, "prompt", "100,000"),
        ({"behaviour": "<script>"}, "behaviour", "There is no behaviour"),
        ({"behaviour": {}}, "behaviour", "The name of a behaviour"),
        ({"controls": {"alpha": float("nan")}}, "alpha", "Alpha must be a number from 0 to 3"),
        ({"controls": {"alpha": "1; drop"}}, "alpha", "Alpha must be"),
        ({"controls": {"alpha": 3.01}}, "alpha", "got 3.01"),
        ({"controls": 3}, "alpha", "Alpha is empty"),
        ({"temperature": None}, "temperature", "Temperature is empty"),
        ({"temperature": True}, "temperature", "Temperature must be"),
        ({"top_p": 0}, "top_p", "Top-p must be"),
        ({"top_k": 1.5}, "top_k", "Top-k must be"),
        ({"seed": -1}, "seed", "Seed must be"),
        ({"seed": 1e300}, "seed", "Seed must be"),
        ({"length": 100_000}, "length", "Length must be"),
        ({"length": float("inf")}, "length", "Length must be"),
    ],
)
def test_invalid_values_get_an_error_with_their_place(
    service: Service, change: Json, where: str, words: str
) -> None:
    lines = lines_of(service, {**GOOD, **change})
    assert [line["k"] for line in lines] == ["refused", "error", "done"]
    assert lines[0]["n"] == 5
    place, text = message_for(lines)
    assert place == where and words in text and len(text) < 300


@pytest.mark.parametrize("posted", [None, 3, "x", [], {}, {"prompt": "Hi"}])
def test_a_request_of_the_wrong_type_gets_an_error_message(service: Service, posted: object) -> None:
    assert message_for(lines_of(service, posted))[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([*GOOD, "columns", "schedule", "filter", "speculation", "kind"]), JSON)
def test_any_json_value_gets_a_run_or_an_error(service: Service, name: str, value: object) -> None:
    lines = lines_of(service, {**GOOD, "prompt": "a", "length": 2} | {name: value})
    assert lines[-1] == {"k": "done"}
    assert all(line["text"] != handlers.BUG for line in lines if line["k"] == "error")


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    st.text(alphabet=st.characters(), max_size=30) | st.sampled_from(["\ud800", "<|endoftext|>", "a\x00b"])
)
def test_any_prompt_is_answered(service: Service, prompt: str) -> None:
    lines = lines_of(service, {**GOOD, "prompt": prompt, "length": 3})
    assert lines[-1] == {"k": "done"}
    assert all(line["text"] != handlers.BUG for line in lines if line["k"] == "error")


def test_alpha_moved_while_streaming_takes_effect_at_the_next_token(monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(Settings())
    live = LiveRuns()
    large, moved, steps = service.engine.models["large_base"], threading.Event(), iter(range(1000))
    forward = large.forward

    def held(*inputs: Any) -> object:
        """Go on after the third step when alpha has moved."""
        assert next(steps) < 3 or moved.wait(60)
        return forward(*inputs)

    monkeypatch.setattr(large, "forward", held)
    stream = handlers.stream_run(
        service, live, {**GOOD, "prompt": "chant", "controls": {"alpha": 0}, "length": 20}
    )
    try:
        run_id = json.loads(next(stream))["id"]
        while '"k":"t"' not in next(stream):
            pass
        assert handlers.set_controls(live, {"run": run_id, "values": {"alpha": 3}}) == ""
        moved.set()
        text = list(stream)[-1]
    finally:
        moved.set()
        service.stop()
    said = [line for line in map(json.loads, text.splitlines()) if line["k"] == "t" and line["p"] == 2]
    assert said[0]["s"] == "l" and said[-1]["s"] == "h"
    assert {(line["v"]["alpha"], line["s"]) for line in said if "v" in line} == {(0.0, "l"), (3.0, "h")}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "Alpha"),
        ("2", "Alpha"),
        (None, "Alpha"),
        (9, "Alpha"),
        ([], "Alpha"),
        (1.0, "has ended"),
    ],
)
def test_invalid_slider_values_are_refused_with_a_message(value: object, words: str) -> None:
    assert words in handlers.set_controls(LiveRuns(), {"run": "guess", "values": {"alpha": value}})


@pytest.mark.parametrize("posted", [None, {}, {"run": 3}, {"run": ["x"]}, {"run": "guess"}, "x"])
def test_stop_needs_the_id_of_a_run(posted: object) -> None:
    assert handlers.stop(LiveRuns(), posted) == handlers.GONE
    assert handlers.set_controls(LiveRuns(), posted)


def test_stop_ends_every_column_within_a_token() -> None:
    service = make_service(Settings(), pause_s=0.02)
    live = LiveRuns()
    stream = handlers.stream_run(service, live, {**GOOD, "prompt": "chant", "length": 200})
    try:
        run_id = json.loads(next(stream))["id"]
        next(stream)
        run = live.by_id[run_id]
        assert handlers.stop(live, {"run": run_id}) == ""
        large = service.engine.models["large_base"]
        assert isinstance(large, EchoModel)
        forwards = large.forwards
        text = list(stream)[-1]
        assert large.forwards <= forwards + 1
    finally:
        service.stop()
    assert text.count('"why":"cancelled"') == 3 and run.cancelled and not live.by_id


def test_a_closed_page_frees_its_rows() -> None:
    service = make_service(Settings(), pause_s=0.02)
    live = LiveRuns()
    stream = handlers.stream_run(service, live, {**GOOD, "prompt": "chant", "length": 200})
    try:
        next(stream)
        next(stream)
        assert isinstance(stream, Generator)
        stream.close()  # as Gradio does when the tab is closed
        until(lambda: not service.engine.active_sequences and not live.by_id)
    finally:
        service.stop()


def test_two_pages_get_their_own_text(service: Service) -> None:
    texts: dict[str, str] = {}

    def ask(prompt: str) -> None:
        lines = lines_of(service, {**GOOD, "prompt": prompt})
        texts[prompt] = "".join(line["s"] for line in lines if line["k"] == "t" and line["p"] == 2)

    threads = [threading.Thread(target=ask, args=(f"page {i} says {'x' * i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8 and all(prompt == text for prompt, text in texts.items())


def test_a_closing_server_refuses_and_cancels(service: Service) -> None:
    live = LiveRuns()
    live.close()
    assert message_for(lines_of(service, GOOD, live))[1] == handlers.CLOSING


def test_a_run_without_an_engine_thread_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "HEARTBEAT_S", 0.05)
    service = make_service(Settings())
    service.stop()
    assert message_for(lines_of(service, GOOD))[1] == handlers.CLOSING


def test_a_bug_is_reported_and_logged(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Service, "start_run", lambda *args, **kwargs: 1 / 0)
    assert message_for(lines_of(service, GOOD))[1] == handlers.BUG
    assert "ZeroDivisionError" in caplog.text


TURNS = [{"question": "Ho", "answers": ["a", "b", "c"]}, {"question": "He", "answers": ["all"]}]


def test_a_follow_up_runs_after_each_columns_own_turns_and_so_do_its_branches(service: Service) -> None:
    live = LiveRuns()
    lines = lines_of(service, {**GOOD, "prompt": "And?", "turns": TURNS, "system": "Be kind."}, live)
    assert (lines[0]["turns"], lines[0]["system"]) == (TURNS, "Be kind.")
    parent = lines[0]["id"]
    for column in range(3):
        assert "".join(line["s"] for line in lines if line["k"] == "t" and line["p"] == column) == "And?"
        branch = {"kind": "branch", "n": 6, "run": parent, "column": column, "position": 2}
        sent = lines_of(service, branch, live)
        ids = [line["i"] for line in lines if line["k"] == "t" and line["p"] == column]
        assert [line["i"] for line in sent if line["k"] == "t"] == ids
        stored = live.store.find(sent[0]["id"])
        assert sent[0]["turns"] == TURNS and len(stored.spec.turns[0].answers) == 3
    same = lines_of(service, {"kind": "same", "n": 7, "run": parent, "column": 1}, live)
    assert same[0]["turns"] == TURNS and sum(line["k"] == "t" for line in same) == 3 * len(ids)


def test_a_run_of_one_turn_is_described_as_before(service: Service) -> None:
    first = lines_of(service, GOOD)[0]
    assert "turns" not in first and "system" not in first


def test_turns_of_other_columns_get_an_error_message(service: Service) -> None:
    asked = {**GOOD, "turns": [{"question": "Ho", "answers": ["a", "b"]}]}
    place, text = message_for(lines_of(service, asked))
    assert place == "turns" and "each of the 3 columns" in text


def test_the_page_learns_how_much_of_a_long_prompt_is_read(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr("eft_demo.engine.engine.LONE_CHUNK", 128)
    known, large = threading.Event(), service.engine.models["large_base"]
    forward = large.forward

    def waiting(slots: Any, tokens: Any, *more: Any) -> Any:
        if slots[0].length and tokens.shape[1] > 1:  # the next part is read once the page knows of the first
            assert known.wait(PATIENCE_S)
        return forward(slots, tokens, *more)

    monkeypatch.setattr(large, "forward", waiting)
    for value in handlers.stream_run(service, LiveRuns(), {**GOOD, "prompt": "x" * 200, "length": 2}):
        if '"reading"' in value:
            known.set()
    lines = [json.loads(line) for line in value.splitlines()]
    reading = [line for line in lines if line["k"] == "reading"]
    assert reading and all(0 < line["done"] < line["of"] for line in reading)
    kinds = [line["k"] for line in lines]
    assert kinds.index("t") > max(i for i, kind in enumerate(kinds) if kind == "reading")


def test_the_page_learns_its_place_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "HEARTBEAT_S", 0.01)
    service = make_service(replace(Settings(), max_sequences=3), pause_s=0.05)  # 13 s, if nobody stops it
    first = service.start_run(spec(CHANT, "assistant", length=250))
    until(lambda: service.engine.active_sequences == 3)
    for value in handlers.stream_run(service, LiveRuns(), GOOD):
        if '"place"' in value:
            first.cancel()
    lines = [json.loads(line) for line in value.splitlines()]
    places = [line.get("place", 0) for line in lines if line["k"] == "load"]
    assert places[0] == 1 and places[-1] == 0
    assert {line["why"] for line in lines if line["k"] == "end"} == {"stop"}
    service.stop()


def test_runs_branches_and_scored_texts_are_their_sessions_own(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class shares an address: its runs are counted together, but its texts are not reused."""
    live, readers = LiveRuns(), []
    live.streams.opened("ann")
    submit = service.engine.submit

    def noting(request: RunRequest) -> Run:
        readers.append((request.owner, request.reader))
        return submit(request)

    monkeypatch.setattr(service.engine, "submit", noting)
    number, run_id = 0, ""
    for posted in (
        GOOD,
        {"kind": "branch", "column": 2, "position": 3},
        {"kind": "same", "column": 2},
    ):
        number += 1
        posted = {**posted, "n": number, **({"run": run_id} if run_id else {})}
        lines = list(handlers.stream_run(service, live, posted, Visitor("ann", "10.0.0.1")))[-1].splitlines()
        run_id = json.loads(lines[0])["id"]
    assert readers == [("10.0.0.1", "ann")] * 3


def test_a_posted_pace_holds_a_run_and_can_be_changed(service: Service) -> None:
    live = LiveRuns()
    stream = handlers.stream_run(service, live, {**GOOD, "pace": 1})
    first = json.loads(next(stream).splitlines()[0])
    run = live.by_id[first["id"]]
    assert run.pace.rate == 1
    assert handlers.set_pace(live, {"run": first["id"], "paused": True}) == "" and run.pace.paused
    assert "speed" in handlers.set_pace(live, {"run": first["id"], "rate": -1}).lower()
    assert handlers.set_pace(live, {"run": first["id"], "paused": False, "rate": 0}) == ""
    *_, last = stream
    assert json.loads(last.splitlines()[-1]) == {"k": "done"}
    assert handlers.set_pace(live, {"run": first["id"], "rate": 1}) == handlers.GONE


@pytest.mark.parametrize("posted", [None, 3, {}, {"run": 3, "rate": 1}, {"run": "x", "step": True}])
def test_a_pace_needs_the_id_of_a_run(posted: object) -> None:
    assert handlers.set_pace(LiveRuns(), posted) == handlers.GONE
