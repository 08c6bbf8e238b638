"""The page's server: what it serves and refuses, its ports, and its endpoints without the page."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from eft_demo.engine.service import Service
from eft_demo.runs.gallery import GALLERY
from eft_demo.runs.spec import NO_MODEL
from eft_demo.settings import Settings
from eft_demo.ui import handlers, server
from eft_demo.ui.page import Page, build_demo, loader, page_line, style
from eft_demo.ui.run_form import sampling_ranges
from eft_demo.ui.web_modules import LATER, page_modules
from tests.waiting import until

GOOD = {"n": 1, "prompt": "Hi", "behaviour": "brief", "controls": {"alpha": 1}}
GOOD |= {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "seed": 0, "length": 5}
BAD = [{"controls": {"alpha": "x"}}, {"controls": None}, {"temperature": float("nan")}, {"seed": "</script>"}]
BAD += [{"prompt": 3}, {"prompt": "x" * 100_000}, {"prompt": ""}]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/eft/plotly.min.js", 200),
        ("GET", "/eft/askable.json", 200),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/monitoring", 403),
        ("GET", "/gradio_api/file=/etc/passwd", 403),
        ("GET", "/gradio_api/file=pyproject.toml", 403),
        ("POST", "/gradio_api/run/predict", 404),
        ("POST", "/gradio_api/run/run_eft", 404),
        ("GET", "/gradio_api/deep_link?session_hash=x", 404),
        ("GET", "/gradio_api/proxy=http://127.0.0.1/", 404),
        ("POST", "/gradio_api/vibe-code", 404),
        ("POST", "/gradio_api/upload", 403),
        ("POST", "/upload", 403),
    ],
)
def test_every_route_answers_with_the_expected_status(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    body: dict[str, Any] = {"json": {"data": []}} if method == "POST" else {}
    answer = client.request(method, path, **body)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/eft/plotly.min.js", f"/eft/web/{page_modules().version}/1/vendor/plotly-basic.min.js"]
)
def test_both_plotting_scripts_are_compressed_and_cached(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"].startswith("public, max-age=")


def test_an_idle_server_seldom_looks_for_runs(
    page: tuple[Page, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    queue = type(page[0]._queue)
    length = queue.__len__

    def look(self: object) -> int:
        looks.append(time.monotonic())
        return int(length(self))

    monkeypatch.setattr(queue, "__len__", look)
    until(lambda: len(looks) > 10)
    assert looks[10] - looks[0] >= 10 * server.LOOK_S


def test_uploads_are_refused(client: httpx.Client) -> None:
    for path in ("/gradio_api/upload", "/gradio_api/component_server/"):
        answer = client.post(path, files={"files": ("x.txt", b"x")})
        assert answer.status_code == 403 and "accepts no file" in answer.text


def test_health_reports_the_load(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "sequences": 0, "waiting": 0}


def test_pages_of_other_sites_may_not_read(client: httpx.Client) -> None:
    answer = client.get("/config", headers={"Origin": "https://example.com"})
    assert answer.headers.get("access-control-allow-origin") != "https://example.com"


def test_the_first_page_is_styled_and_loads_nothing_from_other_sites(client: httpx.Client) -> None:
    text = client.get("/").text
    assert ".eft .top" in text and "share-modal" not in text
    assert 'analytics_enabled":true' not in text.replace(" ", "")


def dependency(page: tuple[Page, str]) -> tuple[int, int]:
    """The ids of the one event and of the one component."""
    config = page[0].config
    return config["dependencies"][0]["id"], config["dependencies"][0]["outputs"][0]


def run_raw(client: httpx.Client, page: tuple[Page, str], data: object) -> str:
    """Post an event as the page does, read its stream, and return the last NDJSON value."""
    fn, component = dependency(page)
    session = f"s{time.monotonic_ns()}"
    body = {"data": [], "event_data": data, "fn_index": fn, "trigger_id": component, "session_hash": session}
    posted = client.post(
        "/gradio_api/queue/join", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert posted.status_code == 200, posted.text
    value = ""
    with client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            output = message.get("output", {})
            for piece in output.get("data") or []:
                value = (
                    piece
                    if isinstance(piece, str)
                    else value + "".join(step[2] for step in piece if step[0] == "append")
                )
            if message.get("msg") == "process_completed":
                assert message["success"], message
                return value
    raise AssertionError("the stream ended early")


def test_a_run_streams_over_http(client: httpx.Client, page: tuple[Page, str]) -> None:
    lines = [json.loads(line) for line in run_raw(client, page, GOOD).splitlines()]
    assert lines[0]["k"] == "run" and lines[-1]["k"] == "done"
    assert "".join(line["s"] for line in lines if line["k"] == "t" and line["p"] == 2) == "Hi"


@pytest.mark.parametrize("change", BAD)
def test_invalid_values_sent_to_the_endpoint_get_errors(
    client: httpx.Client, page: tuple[Page, str], change: dict[str, Any]
) -> None:
    lines = [json.loads(line) for line in run_raw(client, page, {**GOOD, **change}).splitlines()]
    assert [line["k"] for line in lines] == ["refused", "error", "done"]
    assert "Traceback" not in lines[1]["text"]


@pytest.mark.parametrize("data", [None, 5, "x", []])
def test_values_of_wrong_types_sent_to_the_endpoint_get_errors(
    client: httpx.Client, page: tuple[Page, str], data: object
) -> None:
    assert json.loads(run_raw(client, page, data).splitlines()[1])["text"]


@pytest.mark.parametrize("data", [None, {}, {"run": "guess", "values": {"alpha": float("nan")}}, [1], "x"])
@pytest.mark.parametrize(
    "name",
    ["set_controls", "stop", "load_family", "measure_quantisation", "family_menu", "loading", "show_format"],
)
def test_server_functions_answer_wrong_types_with_a_message(
    client: httpx.Client, page: tuple[Page, str], name: str, data: object
) -> None:
    answer = ask(client, page, name, data)
    assert answer.status_code == 200 and len(answer.json()) > 20


def ask(
    client: httpx.Client, page: tuple[Page, str], name: str, data: object, **headers: str
) -> httpx.Response:
    """Post to a server function as the page does."""
    body = {"data": data, "component_id": dependency(page)[1], "fn_name": name, "session_hash": "x"}
    kind = {"Content-Type": "application/json"}
    path = "/gradio_api/component_server/"
    return client.post(path, content=json.dumps(body), headers={**kind, **headers})


@pytest.mark.parametrize("name", ["load_family", "measure_quantisation", "cancel_loading", "family_menu"])
def test_functions_that_affect_everybody_need_the_key(
    client: httpx.Client, page: tuple[Page, str], name: str
) -> None:
    # As sent by a proxy that does not forward the client: from this machine, to this machine.
    for posted in ({}, {"family": "atlas"}, {"family": "atlas", "key": "guess"}, None):
        answer = ask(client, page, name, posted).text
        assert "link that the terminal printed" in answer and page[0].switch.key not in answer
    assert page[0].switch.progress.state == "idle"
    opened = ask(client, page, name, {"family": "none such", "key": page[0].switch.key}).text
    assert "link that the terminal printed" not in opened and page[0].switch.key not in opened


def test_nothing_sent_to_a_page_contains_the_key(client: httpx.Client, page: tuple[Page, str]) -> None:
    for path in ("/", "/config", "/healthz", "/gradio_api/startup-events"):
        assert page[0].switch.key not in client.get(path).text


def test_the_terminal_prints_the_link_with_the_key() -> None:
    said = server.welcome("http://localhost:7860", "abc")
    assert said.startswith("EFT Demo is at http://localhost:7860/#key=abc\n")
    assert server.welcome("http://localhost:7860", "") == "EFT Demo is at http://localhost:7860"


def test_a_custom_assets_folder_may_have_families_without_the_page(
    page: tuple[Page, str], tmp_path: Path
) -> None:
    build_demo(page[0].service, replace(Settings(), assets=tmp_path))


def test_the_page_uses_no_templates_and_inserts_no_markup(page: tuple[Page, str]) -> None:
    settings, service = Settings(), page[0].service
    skeleton = page[0].blocks[dependency(page)[1]].html_template
    assert "${" not in skeleton and "{{" not in skeleton and "`" not in skeleton
    source = loader() + "".join(
        content.decode() for name, content in page_modules().files.items() if not name.startswith(LATER)
    )
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
    ):
        assert forbidden not in source
    assert "http" not in style() and "url(" not in style()
    line = json.loads(page_line(service))
    assert [example for example in line["examples"] if "Peru" in example["prompt"]]
    assert set(line["fields"]) == set(sampling_ranges(settings))


def test_without_a_model_the_page_is_served_and_every_run_is_refused_with_a_message() -> None:
    service = Service.without_models(Settings())
    first = json.loads(page_line(service))
    assert first["absent"] and not first["behaviours"] and len(first["recorded"]) == len(GALLERY)
    (said,) = list(handlers.stream_run(service, handlers.LiveRuns(), GOOD))
    assert NO_MODEL in said and said.endswith('{"k":"done"}\n')
    service.stop()
