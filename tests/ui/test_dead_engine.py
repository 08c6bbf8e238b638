"""A dead engine ends its process, and until then every request is refused immediately."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from eft_demo.engine.failures import DEAD
from eft_demo.engine.service import HANG_S, Service
from eft_demo.errors import Overloaded
from eft_demo.runs.events import EndEvent
from eft_demo.settings import Settings
from eft_demo.ui.operators import health
from eft_demo.ui.page import build_demo
from tests.asking import spec
from tests.fakes import CHANT, make_service
from tests.posting import STREAM, post_run
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0  # a busy machine is not a failure
# The app with a large model that works a few times, then fails like a GPU after a device-side assert.
DYING_APP = """
import sys
import torch
from eft_demo import cli
from eft_demo.ui import page as layout

def open_dying(*given, open_page=layout.open_page):
    page = open_page(*given)
    large, left = page.service.engine.models["large_base"], iter(range(12))
    forward = large.forward
    def failing(*args):
        if next(left, None) is None:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        return forward(*args)
    large.forward = failing
    return page

layout.open_page = open_dying
sys.argv = ["eft-demo", "start"]
cli.main()
"""
REQUEST = Request({"type": "http"})
ASKED = {"n": 1, "prompt": "What is the capital of Peru?", "behaviour": "assistant", "controls": {"alpha": 1}}
ASKED |= {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "seed": 0, "length": 60}
# With drafts, whose number depends on this machine's speed, twelve steps may write a whole text.
ASKED |= {"speculation": "off"}


@pytest.fixture
def dying_app() -> Iterator[tuple[subprocess.Popen[str], str]]:
    app = subprocess.Popen(
        [sys.executable, "-c", DYING_APP],
        env={**os.environ, "EFT_PORT": "0", "EFT_FAMILY": "atlas", "EFT_DTYPE": "fp32"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert app.stdout
    line = app.stdout.readline()
    yield app, next(word for word in line.split() if word.startswith("http"))
    app.kill()
    app.communicate()


def run_lines(url: str) -> list[dict[str, Any]]:
    """The NDJSON lines of one run, requested like the page does."""
    with httpx.Client(base_url=url, timeout=WAIT_S, trust_env=False) as client:
        post_run(client, ASKED)
        value = ""
        with client.stream("GET", STREAM) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                for piece in message.get("output", {}).get("data") or []:
                    added = piece if isinstance(piece, str) else "".join(p[2] for p in piece)
                    value = piece if isinstance(piece, str) else value + added
                if message.get("msg") == "process_completed":
                    break
    return [json.loads(line) for line in value.splitlines()]


@pytest.mark.slow
def test_the_process_of_a_dead_engine_ends_after_notifying_its_pages(
    dying_app: tuple[subprocess.Popen[str], str],
) -> None:
    app, url = dying_app
    first, *lines = run_lines(url)
    ends = {line["p"]: line for line in lines if line["k"] == "end"}
    assert set(ends) == {0, 1, 2} and lines[-1]["k"] == "done"
    for p, column in enumerate(first["columns"]):
        assert ends[p]["why"] == "error"
        assert ("AcceleratorError" if "large_base" in column["roles"] else DEAD) in ends[p]["error"]
    _, complained = app.communicate(timeout=WAIT_S)
    assert app.returncode == 1
    (line,) = [line for line in complained.splitlines() if "status 1" in line]
    assert "cannot start" not in complained
    assert "engine" in line


def test_runs_are_refused_at_once_while_the_engine_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(replace(Settings(), threads=1))
    assert service.alive and not service.dead
    for model in service.engine.models.values():
        monkeypatch.setattr(model, "leave", lambda slot: 1 / 0)
        monkeypatch.setattr(model, "reset", lambda: 1 / 0)
    run = service.start_run(spec(CHANT, "brief", length=3))
    until(lambda: service.dead)
    assert run.done
    ends = [event for event in run.events() if isinstance(event, EndEvent)]
    assert sorted(event.column for event in ends) == [0, 1, 2]
    with pytest.raises(Overloaded) as refused:
        service.start_run(spec("Hi", "brief"))
    assert str(refused.value) == DEAD and service.engine.waiting == 0
    assert json.loads(bytes(health(build_demo(service, Settings()), REQUEST).body))["status"] == "down"
    service.stop()
    assert not service.dead, "an engine that was stopped did not die"


def test_health_notices_a_step_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(Settings(threads=1))
    page = build_demo(service, service.settings)
    inside, go_on = threading.Event(), threading.Event()
    large = service.engine.models["large_base"]
    forward = large.forward

    def hanging(*args: Any) -> object:
        inside.set()
        assert go_on.wait(WAIT_S)
        return forward(*args)

    monkeypatch.setattr(large, "forward", hanging)
    run = service.start_run(spec("Hi", "brief"))
    assert inside.wait(WAIT_S)
    assert health(page, REQUEST).status_code == 200, "a step may take its time"
    now = time.monotonic
    monkeypatch.setattr("eft_demo.engine.engine.time.monotonic", lambda: now() + HANG_S + 1)
    answer = health(page, REQUEST)
    assert answer.status_code == 503 and json.loads(bytes(answer.body))["status"] == "hangs"
    monkeypatch.setattr("eft_demo.engine.engine.time.monotonic", now)
    go_on.set()
    while not run.done:
        run.events(1.0)
    assert health(page, REQUEST).status_code == 200
    service.stop()


def test_a_replaced_family_is_not_dead_and_refuses_runs_with_the_reason() -> None:
    service = make_service(Settings(threads=1))
    service.stop("The family was changed.")
    assert not service.dead and not service.alive
    with pytest.raises(Overloaded, match="family was changed"):
        service.start_run(spec("Hi", "brief"))


def test_a_service_without_models_is_alive() -> None:
    service = Service.without_models(Settings())
    assert service.alive and not service.dead and not service.hangs
    service.stop()
