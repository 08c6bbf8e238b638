"""The endpoints for programs: off unless wanted, the page's texts, checks and limits, hostile values."""

import asyncio
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from hypothesis import given, settings
from hypothesis import strategies as st

from eft_demo.engine.collect import collect
from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError
from eft_demo.lab import page_client
from eft_demo.method.recipe import UPSCALED, parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.runs.conversation import Turn
from eft_demo.runs.gallery import GALLERY
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.spec import FIRST, RunSpec
from eft_demo.settings import Settings
from eft_demo.ui import endpoints, server, visitors
from eft_demo.ui.page import MAX_PARALLEL_RUNS, Page, build_demo
from tests.calling import CALLS, answer, begin, call, events
from tests.fakes import BRIEF_CHANT, CHANT, make_service
from tests.waiting import until

JOIN = "/gradio_api/queue/join"
NAMES = ["generate", "score", "families", "recorded"]
MARK = "Zanzibar-4711"  # typed by somebody; must not appear in any log


@pytest.fixture(scope="module")
def api() -> Iterator[tuple[Page, httpx.Client]]:
    """A page with endpoints, and a client of it."""
    settings = replace(Settings(), port=0, api=True)
    service = make_service(settings)
    demo = build_demo(service, settings)
    url = server.start(demo, settings)
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield demo, client
    server.stop(demo)
    service.stop()


@pytest.fixture(scope="module")
def gradio(api: tuple[Page, httpx.Client]) -> Iterator[Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        client = Client(str(api[1].base_url), verbose=False, analytics_enabled=False, download_files=False)
    yield client
    client.close()


@pytest.fixture
def slow_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run lasts until it is cancelled."""

    def start(service: Service, spec: RunSpec, visitor: visitors.Visitor) -> Run:
        return service.start_run(spec, owner=visitor.address, pace=0.5, session=visitor.session)

    monkeypatch.setattr(endpoints, "_start", start)


def test_without_the_setting_nothing_can_be_called(client: httpx.Client, page: tuple[Page, str]) -> None:
    assert client.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
    assert len(client.get("/config").json()["dependencies"]) == len(page[0].fns) == 1
    for name in (*NAMES, "run_eft"):
        for version in ("", "v2/"):
            assert client.post(f"{CALLS}{version}{name}", json={"data": []}).status_code == 404
        assert client.get(f"{CALLS}{name}/abc").status_code == 404
    for number in range(1, 6):
        body = {"data": [], "fn_index": number, "session_hash": "abc"}
        assert client.post(JOIN, json=body).status_code == 404


def test_the_endpoints_are_described(api: tuple[Page, httpx.Client]) -> None:
    described = api[1].get("/gradio_api/info").json()
    assert described["unnamed_endpoints"] == {}
    assert list(described["named_endpoints"]) == [f"/{name}" for name in NAMES]
    for name, act in zip(NAMES, endpoints.ENDPOINTS, strict=True):
        found = described["named_endpoints"][f"/{name}"]
        shown = {p["parameter_name"]: p["parameter_has_default"] for p in found["parameters"]}
        assert shown == {name: not needed for name, needed in endpoints.parameters_of(act).items()}
        assert all(parameter["type"] for parameter in found["parameters"])
        assert found["description"] == " ".join((act.__doc__ or "").split())
        assert all(parameter in found["description"] for parameter in shown if parameter != "prompt")
        assert found["returns"][0]["type"]["type"] == "object"


def test_generate_streams_columns_that_grow_to_the_texts_of_the_page(
    api: tuple[Page, httpx.Client], gradio: Client
) -> None:
    spec = RunSpec(prompt="What is it?", controls={"alpha": 2.0}, sampling=Sampling(seed=7), length=30)
    expected = [column.text for column in collect(api[0].service.start_run(spec))]
    job = gradio.submit("What is it?", alpha=2.0, seed=7, max_tokens=30, tokens=True, api_name="/generate")
    updates = list(job)
    texts = [[column["text"] for column in update["columns"]] for update in updates]
    assert texts[-1] == expected
    for earlier, later in zip(texts, texts[1:], strict=False):
        assert all(b.startswith(a) for a, b in zip(earlier, later, strict=True))
    last = updates[-1]
    assert [column["name"] for column in last["columns"]] == [name for name, _ in FIRST]
    assert last["controls"] == {"alpha": 2.0} and last["family"] == "echo"
    for column in last["columns"]:
        assert column["finish_reason"] in ("stop", "length") and column["error"] is None
        assert "".join(token["text"] for token in column["tokens"]) == column["text"]
        for token in column["tokens"]:
            parts = token["anchor_logprob"] + sum(token["contributions"]) + token["neg_log_z"]
            assert parts == pytest.approx(token["logprob"], abs=1e-5)


def test_a_call_over_plain_http_streams_whole_values(api: tuple[Page, httpx.Client]) -> None:
    event = begin(api[1], "generate", {"prompt": "What is it?", "temperature": 0}).json()["event_id"]
    found = list(events(api[1], "generate", event))
    assert {kind for kind, _ in found} <= {"generating", "complete", "heartbeat"}
    assert found[-1][0] == "complete"
    for _, data in found:
        assert [column["name"] for column in data[0]["columns"]] == ["Base", "Tuned", "Up-scaled"]
    assert found[-1][1][0]["columns"][2]["text"] == "What is it?"


def test_positional_values_are_accepted_if_they_are_all_there(api: tuple[Page, httpx.Client]) -> None:
    data = ["Hi", 1.0, ["large_base"], "", 0, 0, None, None, False]
    posted = api[1].post(f"{CALLS}generate", json={"data": data})
    *_, (kind, found) = events(api[1], "generate", posted.json()["event_id"])
    assert kind == "complete" and found[0]["columns"][0]["text"] == "Hi"


def test_a_run_may_set_everything_that_a_page_can(api: tuple[Page, httpx.Client]) -> None:
    run = {
        "prompt": "Hello",
        "columns": [{"name": "One", "recipe": "small_base"}, {"name": "Two", "recipe": "large_base"}],
        "temperature": 0,
        "length": 3,
        "schedule": "first 2",
        "speculation": "off",
    }
    found = answer(api[1], "generate", prompt="ignored", run=run)
    assert found["prompt"] == "Hello"
    assert [(c["name"], c["recipe"], c["text"]) for c in found["columns"]] == [
        ("One", "small_base", "Hel"),
        ("Two", "large_base", "Hel"),
    ]


def test_a_spec_in_the_form_of_the_page_is_the_same_run(api: tuple[Page, httpx.Client]) -> None:
    spec = RunSpec(
        prompt="And now?",
        family="echo",
        behaviour="pirate",
        columns=(("Up", UPSCALED), ("Own", parse("small_base + alpha_brief*(brief - small_base)"))),
        controls={"alpha": 1.5, "beta": 1.0, "alpha_brief": 0.5},
        sampling=Sampling(temperature=1.2, top_k=20, seed=3),
        schedule=parse_schedule("first 5"),
        weight_filter=parse_weight_filter("top-p 0.95"),
        length=12,
        formats={"small_base": PromptFormat("plain", "Say: {prompt}\nAssistant:")},
        system="Be brief.",
        turns=(Turn("What is it?", ("It is.",)),),
    )
    expected = [column.text for column in collect(api[0].service.start_run(spec))]
    found = answer(api[1], "generate", run=spec.as_posted())
    assert [column["text"] for column in found["columns"]] == expected
    assert found["controls"]["alpha"] == 1.5


def test_a_cancelled_job_ends_its_run(
    api: tuple[Page, httpx.Client], gradio: Client, slow_runs: None
) -> None:
    job = gradio.submit(CHANT, max_tokens=256, api_name="/generate")
    until(lambda: job.outputs())
    (run,) = api[0].live.by_id.values()
    job.cancel()
    until(lambda: run.cancelled and not api[0].live.by_id)


def test_score_gives_the_log_probs_with_which_the_text_was_written(api: tuple[Page, httpx.Client]) -> None:
    asked = {"prompt": BRIEF_CHANT, "columns": ["Up-scaled:large_base + alpha*(small_tuned - small_base)"]}
    written = answer(api[1], "generate", **asked, temperature=0, max_tokens=3, tokens=True)["columns"][0]
    spec = RunSpec(prompt=BRIEF_CHANT, columns=FIRST[2:], length=3)
    (forced,) = collect(api[0].service.start_run(spec, [token["id"] for token in written["tokens"]]))
    assert [nats for token in written["tokens"] if (nats := token["logprob"])] == pytest.approx(
        [record.logprob for record in forced.tokens], abs=1e-5
    )
    (scored,) = answer(api[1], "score", **asked, text=" " + written["text"])["columns"]
    logprobs = [token["logprob"] for token in scored["tokens"]]
    assert scored["text"] == " " + written["text"] and len(logprobs) == 4
    assert scored["logprob"] == pytest.approx(sum(logprobs), abs=1e-5)
    assert scored["perplexity"] == pytest.approx(math.exp(-sum(logprobs) / 4), rel=1e-4)
    assert "finish_reason" not in scored


def test_families_says_what_is_loaded_and_what_is_known(api: tuple[Page, httpx.Client]) -> None:
    found = answer(api[1], "families")
    family = api[0].service.family
    assert found["loaded"]["name"] == "echo" and found["loaded"]["models"] == list(family.roles)
    assert [b["role"] for b in found["loaded"]["behaviours"]] == [b.role for b in family.behaviours]
    assert found["loaded"]["limits"]["max_tokens"] == Settings().max_new_tokens
    known = {choice["name"]: choice for choice in found["known"]}
    assert {"atlas", "qwen2.5"} <= known.keys() and known["atlas"]["fits"] is True


def test_recorded_lists_the_runs_and_opens_one(api: tuple[Page, httpx.Client]) -> None:
    listed = answer(api[1], "recorded")["runs"]
    assert [entry["name"] for entry in listed] == [entry.name for entry in GALLERY]
    opened = answer(api[1], "recorded", name="up-scaling")
    assert opened["prompt"] == next(e["prompt"] for e in listed if e["name"] == "up-scaling")
    for column in opened["columns"]:
        assert "".join(token["text"] for token in column["tokens"]) == column["text"]


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("generate", {}, "prompt_empty"),
    ("generate", {"prompt": 3}, "prompt_type"),
    ("generate", {"prompt": "x" * 5000}, "prompt_too_long"),
    ("generate", {"prompt": "x", "alpha": 3.1}, "alpha_range"),
    ("generate", {"prompt": "x", "alpha": -1}, "alpha_range"),
    ("generate", {"prompt": "x", "alpha": math.nan}, "alpha_range"),
    ("generate", {"prompt": "x", "alpha": None}, "alpha_empty"),
    ("generate", {"prompt": "x", "temperature": "hot"}, "temperature_range"),
    ("generate", {"prompt": "x", "seed": 0.5}, "seed_range"),
    ("generate", {"prompt": "x", "max_tokens": 100_000}, "length_range"),
    ("generate", {"prompt": "x", "behaviour": "none such"}, "unknown_behaviour"),
    ("generate", {"prompt": "x", "columns": "large_base"}, "columns_type"),
    ("generate", {"prompt": "x", "columns": []}, "columns_range"),
    ("generate", {"prompt": "x", "columns": ["large_base"] * 5}, "columns_range"),
    ("generate", {"prompt": "x", "columns": [5]}, "column_type"),
    ("generate", {"prompt": "x", "columns": ["large_base +"]}, "recipe"),
    ("generate", {"prompt": "x", "columns": ["large_base - alpha*(small_tuned - small_base)"]}, "undoing"),
    ("generate", {"prompt": "x", "run": []}, "run_fields"),
    ("generate", {"prompt": "x", "run": {"n": 1}}, "run_fields"),
    ("generate", {"prompt": "x", "run": {"controls": {"alpha_pirate": 1}}}, "unused_control"),
    ("generate", {"prompt": "x", "run": {"controls": 5}}, "controls_type"),
    ("generate", {"prompt": "x", "run": {"family": "other"}}, "unknown_family"),
    ("generate", {"prompt": "x", "tokens": "yes"}, "tokens_type"),
    ("score", {"prompt": "x", "text": ""}, "text_empty"),
    ("score", {"prompt": "x", "text": {}}, "text_type"),
    ("score", {"prompt": "x", "text": "x" * 5000}, "text_too_long"),
    ("score", {"prompt": "x", "text": "x y " * 200}, "text_too_long"),
    ("score", {"prompt": "", "text": "y"}, "prompt_empty"),
    ("recorded", {"name": "none such"}, "unknown_recorded"),
    ("recorded", {"name": ["pirate"]}, "unknown_recorded"),
]


@pytest.mark.parametrize(("name", "arguments", "code"), BAD, ids=lambda value: str(value)[:60])
def test_a_bad_value_is_refused_with_a_sentence_and_its_code(
    api: tuple[Page, httpx.Client], name: str, arguments: dict[str, Any], code: str
) -> None:
    kind, found = call(api[1], name, **arguments)
    assert kind == "error" and found["title"].startswith(code), found
    assert found["error"].endswith(".") or code.startswith("recipe")
    assert len(found["error"]) < 400


def test_the_python_client_raises_the_sentence_and_the_code(gradio: Client) -> None:
    with pytest.raises(AppError, match="Alpha must be a number from 0 to 3; got 9") as caught:
        gradio.predict("Hi", alpha=9, api_name="/generate")
    assert caught.value.title == "alpha_range"


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("generate", {"data": ["Hi"]}, 422, "9 values of generate in this order: prompt, alpha, columns"),
        ("generate", {"data": "Hi"}, 422, "9 values"),
        ("generate", {}, 422, "nothing else"),
        ("generate", {"data": [0] * 9, "session_hash": "mine"}, 422, "nothing else"),
        ("generate", {"data": [0] * 9, "event_id": "x", "fn_index": 0}, 422, "nothing else"),
        ("families", {"data": [1]}, 422, "0 values of families"),
        ("v2/generate", {"promt": "Hi"}, 422, "no promt. It has prompt, alpha"),
        ("v2/generate", {"\ud800<b>": 1}, 422, "generate has no"),
        ("v2/generate", {"oauth_token": "x"}, 422, "no oauth_token"),
        ("v2/score", {"prompt": "Hi"}, 422, "score needs text"),
        ("run_eft", {"data": []}, 404, "There are generate, score, families, recorded"),
        ("v2/run_eft", {}, 404, "There are generate"),
        ("v2", {"data": []}, 404, ""),
        ("generate/", [], 400, "JSON object"),
        ("generate/some-event", {"data": [0] * 9}, 404, ""),
    ],
)
def test_a_misshapen_call_is_refused_before_it_is_queued(
    api: tuple[Page, httpx.Client], path: str, body: object, status: int, said: str
) -> None:
    headers = {"Content-Type": "application/json"}
    found = api[1].post(CALLS + path, content=json.dumps(body), headers=headers)
    assert found.status_code == status and said in found.json()["detail"], found.text


def test_the_queue_itself_takes_no_misshapen_call(api: tuple[Page, httpx.Client]) -> None:
    demo, client = api
    (number,) = [number for number, fn in demo.fns.items() if fn.api_name == "generate"]
    for data in ([], [MARK], [0] * 10, None, {"a": 1}):
        body = {"data": data, "fn_index": number, "session_hash": "abc"}
        assert client.post(JOIN, json=body).status_code == 422


def test_other_sites_cannot_call(api: tuple[Page, httpx.Client]) -> None:
    body = {"prompt": "Hi"}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert api[1].post(f"{CALLS}v2/generate", json=body, headers=headers).status_code == 403
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert api[1].post(f"{CALLS}v2/generate", content=json.dumps(body), headers=form).status_code == 415


def test_more_calls_than_the_server_takes_are_refused(
    api: tuple[Page, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api[0].arrivals, "count", MAX_PARALLEL_RUNS)
    assert begin(api[1], "generate", {"prompt": "Hi"}).status_code == 503


def test_calls_count_as_runs_of_their_address(
    api: tuple[Page, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = replace(api[0].service.settings, max_runs_per_minute=1)
    service = Service(api[0].service.family, api[0].service.engine, limited)
    monkeypatch.setattr(api[0], "service", service)
    monkeypatch.setattr(api[0].live, "_reservations", {})
    assert call(api[1], "generate", prompt="Hi")[0] == "complete"
    for name in ("generate", "score"):
        kind, found = call(api[1], name, prompt="Hi", **({"text": "x"} if name == "score" else {}))
        assert (kind, found["title"]) == ("error", "overloaded")
        assert "1 runs within a minute" in found["error"]
    assert call(api[1], "families")[0] == "complete"


def test_a_client_has_only_so_many_runs_at_once(
    api: tuple[Page, httpx.Client], gradio: Client, slow_runs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = replace(api[0].service.settings, max_runs_each=1)
    service = Service(api[0].service.family, api[0].service.engine, limited)
    monkeypatch.setattr(api[0], "service", service)
    monkeypatch.setattr(api[0].live, "_reservations", {})
    first = gradio.submit(CHANT, max_tokens=256, api_name="/generate")
    until(lambda: api[0].live.by_id)
    (run,) = api[0].live.by_id.values()
    with pytest.raises(AppError) as caught:
        gradio.predict("Hi", api_name="/generate")
    assert caught.value.title == "overloaded"
    run.cancel()
    assert {column["finish_reason"] for column in first.result()["columns"]} == {"cancelled"}


def test_a_call_that_nobody_reads_starts_nothing(
    api: tuple[Page, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "LISTEN_S", 0.05)
    steps = api[0].service.engine.counts.steps
    event = begin(api[1], "generate", {"prompt": CHANT}).json()["event_id"]
    until(lambda: event in [session for _, session in api[0].live.streams._unheard])
    assert api[0].service.engine.counts.steps == steps
    *_, (kind, found) = events(api[1], "generate", event)
    assert (kind, found["title"]) == ("error", "unread")


def test_a_call_ends_when_its_caller_leaves(api: tuple[Page, httpx.Client], slow_runs: None) -> None:
    event = begin(api[1], "generate", {"prompt": CHANT, "max_tokens": 256}).json()["event_id"]
    with api[1].stream("GET", f"{CALLS}generate/{event}") as stream:
        next(stream.iter_lines())
        (run,) = api[0].live.by_id.values()
    until(lambda: run.cancelled and not api[0].live.by_id)


@pytest.mark.parametrize("name", ["generate", "score"])
def test_a_call_whose_reader_has_stalled_is_stopped(
    api: tuple[Page, httpx.Client], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(visitors.Streams, "is_read", lambda *_: False)
    kind, found = call(api[1], name, prompt=CHANT, **({"text": "lll"} if name == "score" else {}))
    assert (kind, found["title"]) == ("error", "unread") and "20 s" in found["error"]
    assert not api[0].live.by_id


def test_an_answer_can_be_read_once_and_by_its_name_only(api: tuple[Page, httpx.Client]) -> None:
    event = begin(api[1], "recorded", {}).json()["event_id"]
    assert [kind for kind, _ in events(api[1], "recorded", event)] == ["complete"]
    for unknown in (event, "none", "x" * 64):
        refused = api[1].get(f"{CALLS}recorded/{unknown}")
        assert refused.status_code == 404 and "read once" in refused.json()["detail"]


def test_calls_leave_nothing_behind(api: tuple[Page, httpx.Client], monkeypatch: pytest.MonkeyPatch) -> None:
    demo, client = api
    monkeypatch.setattr(visitors, "FORGET_S", 0.0)
    answer(client, "recorded")

    def held() -> int:
        queue = demo._queue
        boxes = (queue.pending_messages_per_session, queue.pending_event_ids_session)
        return sum(map(len, (*boxes, queue.event_ids_to_events, demo.app.iterators, demo.live.by_id)))

    before = held()
    for _ in range(5):
        answer(client, "generate", prompt="Hi", max_tokens=2)
    answer(client, "recorded")
    assert held() <= before
    assert not demo.live.store.by_id


def test_nothing_that_was_typed_is_logged(
    api: tuple[Page, httpx.Client], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        answer(api[1], "generate", prompt=MARK)
        answer(api[1], "score", prompt="Hi", text=MARK)
        call(api[1], "generate", prompt="Hi", columns=[MARK], run={"system": MARK})
        call(api[1], "recorded", name=MARK)
        begin(api[1], "generate", {MARK: 1})
        api[1].post(f"{CALLS}generate", json={"data": [MARK]})
    assert MARK not in caplog.text + "".join(capfd.readouterr())


def test_a_bug_is_answered_without_its_details(
    api: tuple[Page, httpx.Client], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> object:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(endpoints, "read_run_spec", broken)
    kind, found = call(api[1], "generate", prompt="Hi")
    assert (kind, found["title"], found["error"]) == ("error", "internal", endpoints.BUG)
    assert "ZeroDivisionError" in caplog.text


def test_a_surrogate_that_was_typed_does_not_end_the_stream(api: tuple[Page, httpx.Client]) -> None:
    found = answer(api[1], "generate", prompt="a\ud800b", columns=["\udfff:large_base"], max_tokens=4)
    assert found["prompt"] == "a\ufffdb" and found["columns"][0]["name"] == "\ufffd"


def test_the_clients_of_the_lab_still_find_the_page(api: tuple[Page, httpx.Client]) -> None:
    async def ask() -> page_client.Heard:
        async with page_client.client_at(str(api[1].base_url)) as client:
            event = await page_client.run_event(client)
            asked = page_client.asked("Hi", 0, behaviour="brief", length=4)
            return await page_client.run(client, event, asked)

    heard = asyncio.run(ask())
    assert heard.refused == "" and len(heard.ids) == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
runs = json_values | st.dictionaries(st.sampled_from(sorted(endpoints.RUN_FIELDS)), json_values, max_size=3)
own = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["temperature", "seed", "behaviour", "length"], json_values)
)


@settings(max_examples=25)
@given(st.sampled_from(NAMES), st.data())
def test_any_values_are_answered(api: tuple[Page, httpx.Client], name: str, data: st.DataObject) -> None:
    wanted = endpoints.parameters_of(endpoints.ENDPOINTS[NAMES.index(name)])
    posted = {key: data.draw(runs if key == "run" else json_values) for key in wanted}
    kind, found = call(api[1], name, **posted)
    assert kind == "complete" or (found["error"] and found["title"] != "internal"), found


@given(prompt=json_values, alpha=json_values, columns=json_values, own=own, run=runs)
def test_any_value_becomes_a_run_or_a_refusal(
    service: Service, prompt: object, alpha: object, columns: object, own: dict[str, object], run: object
) -> None:
    try:
        spec = endpoints._read_spec(service, prompt, alpha, columns, own, run)
    except EFTError as refusal:
        assert refusal.code and str(refusal)
    else:
        assert isinstance(spec, RunSpec) and 1 <= len(spec.columns) <= 4
