"""What programs of operators read: health, readiness and metrics, over HTTP and on engines that fail."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from eft_demo.engine.service import Service
from eft_demo.errors import InputError, Overloaded
from eft_demo.runs.events import EndEvent
from eft_demo.settings import Settings
from eft_demo.ui.operators import health, metrics_route, readiness
from eft_demo.ui.page import Page, build_demo
from tests.asking import spec
from tests.fakes import CHANT, make_service
from tests.waiting import PATIENCE_S, until

REQUEST = Request({"type": "http"})


@pytest.fixture
def fresh() -> Iterator[Service]:
    """A service that has served nobody yet, with places for two runs of three columns."""
    service = make_service(replace(Settings(), threads=1, max_sequences=6, max_waiting=1, max_share=1.0))
    yield service
    service.stop()


def ready(service: Service) -> bool:
    return readiness(build_demo(service, service.settings), REQUEST).status_code == 200


def numbers(service: Service) -> dict[str, float]:
    """All metrics of a service: the name with its labels' values, without the version."""
    text = bytes(metrics_route(build_demo(service, service.settings))(REQUEST).body).decode()
    found = {}
    for sample in (s for family in text_string_to_metric_families(text) for s in family.samples):
        labels = [value for name, value in sorted(sample.labels.items()) if name != "version"]
        found[" ".join([sample.name, *labels])] = sample.value
    return found


def finish(service: Service, prompt: str, length: int) -> list[EndEvent]:
    run = service.start_run(spec(prompt, "brief", length=length))
    ends: list[EndEvent] = []
    while len(ends) < 3:
        ends += [event for event in run.events(PATIENCE_S) if isinstance(event, EndEvent)]
    return ends


def test_the_routes_answer_over_http(client: httpx.Client, page: tuple[Page, str]) -> None:
    assert client.get("/readyz").json()["status"] == "ok"
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=")
    found = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"eft_tokens", "eft_sequences", "eft_first_token_seconds", "process_open_fds"} <= found


def test_metrics_count_what_happened(fresh: Service) -> None:
    before = numbers(fresh)
    assert before["eft_tokens_total"] == 0 and before["eft_info echo"] == 1
    finish(fresh, CHANT, 5)
    with pytest.raises(InputError) as refused:
        fresh.start_run(spec("x" * 5000, "brief"))
    found = numbers(fresh)
    assert found["eft_tokens_total"] == 15
    assert found["eft_columns_ended_total length"] == 3
    assert found["eft_first_token_seconds_count"] == 3 == found["eft_first_token_seconds_bucket +Inf"]
    assert found["eft_first_token_seconds_sum"] > 0 and found["eft_steps_total"] > 0
    assert found[f"eft_runs_refused_total {refused.value.code}"] == 1
    assert found["eft_sequences"] == found["eft_runs_waiting"] == found["eft_failed_steps_total"] == 0


def test_metrics_count_drafts(fresh: Service) -> None:
    run = fresh.start_run(spec("a long text to repeat", "brief", length=20, speculation="on 4"))
    until(lambda: run.done)
    drafted, accepted = fresh.engine.counts.drafted, fresh.engine.counts.accepted
    assert 0 < accepted <= drafted
    found = numbers(fresh)
    assert found["eft_drafts_total accepted"] == accepted
    assert found["eft_drafts_total rejected"] == drafted - accepted


def test_an_idle_engine_is_asked_for_a_token_and_then_not_again(fresh: Service) -> None:
    assert fresh.engine.counts.tokens == 0 and ready(fresh)
    until(lambda: not fresh.engine.active_sequences)
    asked = fresh.engine.counts.tokens
    assert asked > 0 and ready(fresh) and fresh.engine.counts.tokens == asked


def test_a_model_that_fails_is_alive_but_not_ready(fresh: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    large = fresh.engine.models["large_base"]
    monkeypatch.setattr(fresh.engine.models["small_base"], "forward", lambda *given: 1 / 0)
    monkeypatch.setattr(large, "forward", lambda slots, tokens: torch.full((1, 1, large.vocab), torch.nan))
    assert not ready(fresh)
    assert health(build_demo(fresh, fresh.settings), REQUEST).status_code == 200
    monkeypatch.undo()
    assert ready(fresh)
    assert numbers(fresh)["eft_failed_steps_total"] > 0


def test_a_step_that_hangs_is_not_ready(fresh: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hanging(*given: Any) -> object:
        inside.set()
        assert go_on.wait(PATIENCE_S)
        raise RuntimeError("the device was away")

    monkeypatch.setattr("eft_demo.engine.probe.WAIT_S", 0.05)
    for model in fresh.engine.models.values():
        monkeypatch.setattr(model, "forward", hanging)
    assert not ready(fresh) and inside.is_set()
    go_on.set()
    monkeypatch.undo()
    until(lambda: not fresh.engine.active_sequences)
    assert ready(fresh)


def test_a_full_queue_is_ready(fresh: Service) -> None:
    runs = [fresh.start_run(spec(CHANT, "brief", length=200), pace=1.0) for _ in range(2)]
    until(lambda: not fresh.engine.waiting)
    runs.append(fresh.start_run(spec(CHANT, "brief", length=5)))
    with pytest.raises(Overloaded):
        fresh.start_run(spec(CHANT, "brief", length=5))
    assert ready(fresh)
    for run in runs:
        run.cancel()


def test_a_stopped_engine_is_neither_alive_nor_ready(fresh: Service) -> None:
    fresh.stop()
    page = build_demo(fresh, fresh.settings)
    for answer in (health(page, REQUEST), readiness(page, REQUEST)):
        assert answer.status_code == 503 and json.loads(bytes(answer.body))["status"] == "down"
    assert numbers(fresh)["eft_healthy"] == 0


def test_a_page_of_recordings_is_ready() -> None:
    service = Service.without_models(Settings())
    assert ready(service)
    service.stop()
