"""The gate, over HTTP on a running page: other sites, unknown host names, odd bodies, unknown paths."""

import asyncio
import http.client
import json
import logging
import re
import select
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from eft_demo.settings import Settings
from eft_demo.ui import connections, gate
from eft_demo.ui.page import MAX_PARALLEL_RUNS, Page

JOIN, CALL = "/gradio_api/queue/join", "/gradio_api/component_server/"
EVIL = "http://evil.example"


def asked(page: tuple[Page, str], **changes: object) -> dict[str, object]:
    """The page's request for the loading progress."""
    component = page[0].config["dependencies"][0]["outputs"][0]
    body = {"data": {}, "component_id": component, "fn_name": "loading", "session_hash": "abc123"}
    return {**body, **changes}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://eft.example"}, 200),  # behind a bare proxy
        ({"X-EFT-Page": "1", "Origin": "http://eft.example:8080"}, 200),  # the same, without https
        ({"Origin": "http://localhost:PORT"}, 200),
        ({"Origin": EVIL}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Origin": "https://localhost:PORT.evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:PORT"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "X-EFT-Page": "1"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "text/plain; application/json"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
@pytest.mark.parametrize("path", [CALL, "/gradio_api/cancel"])
def test_only_our_own_page_may_post(
    client: httpx.Client, page: tuple[Page, str], path: str, headers: dict[str, str], status: int
) -> None:
    port = str(urlsplit(page[1]).port)
    headers = {name: value.replace("PORT", port) for name, value in headers.items()}
    body = json.dumps(asked(page, fn_index=0, event_id="none"))
    answer = client.post(path, content=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == status, answer.text
    assert status == 200 or len(answer.json()["detail"]) > 20


def test_other_sites_get_no_cors_headers(client: httpx.Client) -> None:
    preflight = {
        "Origin": EVIL,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-eft-page",
    }
    answers = [client.options(JOIN, headers=preflight), client.get("/config", headers={"Origin": EVIL})]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answers[0].status_code == 405


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/login"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/stream/x"),
        ("POST", "/"),
        ("PUT", JOIN),
        ("DELETE", CALL),
        ("GET", "/gradio_api/custom_component/x/client/component/y.js"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/upload_progress?upload_id=x"),
        ("GET", "/logout"),
    ],
)
def test_unknown_paths_and_methods_are_refused(client: httpx.Client, method: str, path: str) -> None:
    body = None if method == "GET" else {"session_hash": "x", "fn_index": 0}
    assert client.request(method, path, json=body).status_code in (404, 405)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/%23v=1&prompt=%C3%BC%26", "/#v=1&prompt=%C3%BC%26"),
        ("/%23v=1&prompt=a/b//c", "/#v=1&prompt=a/b//c"),
        ("/%3Fv=1&prompt=Hi", "/#v=1&prompt=Hi"),
        ("/%23v=1&prompt=what?&seed=7", "/#v=1&prompt=what&&seed=7"),
    ],
)
def test_a_link_with_an_encoded_hash_is_redirected_to_the_page(
    client: httpx.Client, path: str, where: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 307
    assert str(answer.url.join(answer.headers["location"])) == str(client.base_url).rstrip("/") + where


@pytest.mark.parametrize("query", ["page=none", "deep_link=../../x", "page=%00&deep_link", "v=1&prompt=Hi"])
def test_a_query_does_not_change_the_page_or_its_configuration(client: httpx.Client, query: str) -> None:
    assert client.get(f"/?{query}").text == client.get("/").text
    assert client.get(f"/config?{query}").status_code == 200


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("localhost:7860", "/", 200),
        ("127.0.0.1", "/", 200),
        ("[::1]:7860", "/", 200),
        ("192.168.1.7:80", "/", 200),  # nobody else can make an address point here
        ("eft.localhost", "/", 200),
        (socket.gethostname(), "/", 200),
        ("evil.example", "/", 403),
        ("evil.example:7860", "/eft/plotly.min.js", 403),
        ("127.0.0.1.evil.example", "/", 403),
        ("localhost.evil.example", "/config", 403),
        ("evil.example", "/healthz", 200),
    ],
)
def test_a_request_for_a_foreign_host_name_is_refused(
    client: httpx.Client, host: str, path: str, status: int
) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == status
    assert status == 200 or "EFT_ALLOWED_HOSTS" in answer.text and "evil" in answer.text


def test_forged_headers_of_proxies_do_not_make_a_foreign_name_ours(client: httpx.Client) -> None:
    forged = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
    assert client.get("/", headers={"Host": "evil.example", **forged}).status_code == 403
    assert client.get("/", headers={"Host": "evil.example", "Via": "1.1 Caddy"}).status_code == 200


@pytest.mark.parametrize(
    ("settings", "name", "right"),
    [
        (Settings(host="0.0.0.0"), "any.example", True),
        (Settings(host="127.0.0.2"), "any.example", False),
        (Settings(host="[::1]"), "any.example", False),
        (Settings(host="0:0:0:0:0:0:0:1"), "any.example", False),
        (Settings(host=" LocalHost "), "any.example", False),
        (Settings(host="::"), "any.example", True),
        (Settings(host="0.0.0.0", allowed_hosts="eft.example, *.lab.example"), "any.example", False),
        (Settings(host="0.0.0.0", allowed_hosts="eft.example, *.lab.example"), "EFT.example.:443", True),
        (Settings(host="0.0.0.0", allowed_hosts="eft.example, *.lab.example"), "a.lab.example", True),
        (Settings(host="0.0.0.0", allowed_hosts="eft.example, *.lab.example"), "lab.example.evil", False),
        (Settings(allowed_hosts="eft.example"), "localhost:7860", True),
    ],
)
def test_allowed_names_follow_from_the_host_and_the_settings(
    settings: Settings, name: str, right: bool
) -> None:
    found = gate.Gate(_no_app, gate.rules(settings), lambda *_: None)
    assert found._has_allowed_name({"http_version": "1.1"}, {"host": name}) is right


@pytest.mark.parametrize(
    ("addresses", "name", "right"),
    [
        (["127.0.1.1"], "evil.example", False),
        (["127.0.0.1", "::1"], "evil.example", False),
        (["127.0.1.1"], "Teacher.lan:7860", True),  # the name that it was started with
        (["127.0.1.1"], "localhost", True),
        (["127.0.1.1", "192.168.1.7"], "any.example", True),
    ],
)
def test_a_name_that_leads_only_to_this_machine_is_as_strict_as_localhost(
    addresses: list[str], name: str, right: bool
) -> None:
    found = gate.Gate(_no_app, gate.rules(Settings(host="teacher.lan"), addresses), lambda *_: None)
    assert found._has_allowed_name({"http_version": "1.1"}, {"host": name}) is right


async def _no_app(*_: object) -> None:
    raise AssertionError


def test_every_answer_has_the_frame_ancestors_header(client: httpx.Client) -> None:
    for path in ("/", "/healthz", "/gradio_api/run/x", "/nowhere"):
        assert client.get(path).headers["content-security-policy"] == "frame-ancestors 'self'"
    assert gate.rules(Settings(space="a/b")).framed_by == "'self' https://huggingface.co"


def test_forwarded_headers_do_not_change_the_page(client: httpx.Client) -> None:
    said = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Gradio-Server": EVIL}
    page, forged = client.get("/"), client.get("/", headers=said)
    assert page.text == forged.text and '"root":"."' in page.text and "evil" not in forged.text
    assert '="/' not in page.text.partition("window.gradio_config")[0]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/healthz", "localhost", 200),
        ("HTTP://localhost:80/healthz?x=1", "localhost", 200),
        ("https://127.0.0.1/config", "evil.example", 200),  # the target's address takes precedence over Host
        ("http://[::1]:7860/healthz", "", 200),
        ("http://localhost", "localhost", 200),
        ("http://evil.example/", "localhost", 403),
        ("http://localhost@evil.example/", "localhost", 403),
        ("http://localhost%40evil.example/", "localhost", 403),
        ("http://localhost/gradio_api/run/x", "localhost", 404),
        ("http://localhost/no/such", "localhost", 404),
        ("ftp://localhost/healthz", "localhost", 404),
    ],
)
def test_a_request_target_with_the_whole_address_is_accepted(
    page: tuple[Page, str], target: str, host: str, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(page[1]).port or 0), 20) as line:
        line.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert line.recv(12).decode() == f"HTTP/1.1 {status}"


@pytest.mark.parametrize("path", ["//healthz", "/tools/eft/healthz", "/tools/eft"])
def test_an_unstripped_root_path_is_accepted(client: httpx.Client, path: str) -> None:
    assert client.get(path, headers={"X-Forwarded-Prefix": "/tools/eft"}).status_code == 200


def test_the_root_path_is_removed() -> None:
    found = gate.Gate(_no_app, gate.rules(Settings(root_path="/tools/eft/")), lambda *_: None)
    scope = {"path": "/tools/eft/config", "headers": []}
    assert found._normalised(scope, {})["path"] == "/config"
    assert found._normalised({**scope, "path": "/tools/eftx"}, {})["path"] == "/tools/eftx"
    assert found._normalised({**scope, "path": "/healthz"}, {})["path"] == "/healthz"


UNKNOWN = [
    (CALL, {"component_id": 999}),
    (CALL, {"component_id": "1"}),
    (CALL, {"component_id": []}),
    (CALL, {"component_id": True}),
    (CALL, {"fn_name": "nothing"}),
    (CALL, {"fn_name": "__class__"}),
    (CALL, {"fn_name": ["set_controls"]}),
    (CALL, {"session_hash": None}),
    (CALL, {"session_hash": {}}),
    (CALL, {"session_hash": "x" * 65}),
    (JOIN, {"fn_index": 999}),
    (JOIN, {"fn_index": None}),
    (JOIN, {"fn_index": "0"}),
    (JOIN, {"fn_index": 0, "data": "x"}),
    (JOIN, {"fn_index": 0, "data": "\ud800"}),
    (JOIN, {"fn_index": 0, "trigger_id": "x"}),
    (JOIN, {"fn_index": 0, "session_hash": 5}),
    ("/gradio_api/cancel", {}),
    ("/gradio_api/cancel", {"fn_index": 0, "event_id": []}),
    ("/gradio_api/reset", {"event_id": {}}),
]


@pytest.mark.parametrize(("path", "changes"), UNKNOWN, ids=str)
def test_an_unknown_path_gives_an_error_message(
    client: httpx.Client,
    page: tuple[Page, str],
    path: str,
    changes: dict[str, object],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.INFO):
        body = json.dumps(asked(page, **changes))
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500 and answer.json()["detail"], answer.text
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("session", ["", "unknown", "x" * 5000, "%00"])
def test_an_unknown_session_gives_an_error_message(
    client: httpx.Client, session: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/gradio_api/queue/data", params={"session_hash": session})
    assert answer.status_code == 404 and "reload" in answer.json()["detail"]
    assert client.get("/gradio_api/queue/data").status_code == 404
    assert not caplog.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"5"])
def test_a_body_that_is_not_json_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post(CALL, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "JSON" in answer.json()["detail"]


def post_raw(url: str, headers: str, pieces: Iterator[bytes]) -> str:
    """The answer to a post without Content-Length."""
    with socket.create_connection((urlsplit(url).hostname or "", urlsplit(url).port or 0), 60) as line:
        head = f"POST {JOIN} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n"
        try:
            line.sendall(head.encode())
            for piece in pieces:
                line.sendall(piece)
        except OSError:
            pass  # it has read enough
        answer = b""
        while not answer.endswith(b"}"):
            answer += line.recv(1000) or b"}"
        return answer.decode()


def chunks(total: int) -> Iterator[bytes]:
    piece = b" " * 50_000
    for _ in range(total // len(piece)):
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("headers", ["", "Content-Length: 10\r\n"])
def test_a_body_is_counted_while_it_arrives_whatever_it_declares(
    page: tuple[Page, str], headers: str
) -> None:
    headers += "Transfer-Encoding: chunked\r\n"
    answer = post_raw(page[1], headers, chunks(3 * gate.MAX_BODY_BYTES))
    assert answer.startswith("HTTP/1.1 413") and "1,000,000" in answer
    assert post_raw(page[1], headers, chunks(100_000)).startswith("HTTP/1.1 400")  # spaces alone are not JSON


def test_a_missing_or_too_large_content_length_is_refused(page: tuple[Page, str]) -> None:
    assert post_raw(page[1], "Content-Length: 1000001\r\n", iter(())).startswith("HTTP/1.1 413")
    assert post_raw(page[1], "Content-Length: -1\r\n", iter(())).startswith("HTTP/1.1 400")


def test_after_a_refusal_the_connection_can_be_reused(
    page: tuple[Page, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LINGER_S", 0.2)
    line = http.client.HTTPConnection("127.0.0.1", urlsplit(page[1]).port or 0, timeout=60)
    line.putrequest("POST", "/gradio_api/run/x")
    line.putheader("Content-Length", "9")
    line.endheaders()
    refused = line.getresponse()
    assert refused.status == 404 and refused.read()
    line.send(b"{}       ")  # late, but whole
    readable, _, _ = select.select([line.sock], [], [], 0.5)
    assert not readable, "closed, though all came"
    line.request("GET", "/healthz")
    assert line.getresponse().status == 200
    line.close()


def test_a_chunked_body_is_accepted(client: httpx.Client, page: tuple[Page, str]) -> None:
    body = json.dumps(asked(page)).encode()
    answer = client.post(
        CALL, content=iter([body[:9], body[9:]]), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200 and "content-length" not in answer.request.headers


def test_a_body_that_arrives_too_slowly_is_refused(
    page: tuple[Page, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "BODY_S", 0.5)

    def dripping() -> Iterator[bytes]:
        for _ in range(100):
            yield b" "
            time.sleep(0.02)

    answer = post_raw(page[1], "Content-Length: 1000\r\n", dripping())  # it is never sent whole
    assert answer.startswith("HTTP/1.1 408")


def test_concurrent_bodies_have_a_shared_limit(
    page: tuple[Page, str], client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MAX_BYTES_UNDER_WAY", 500)
    answer = client.post(CALL, json=asked(page, data="x" * 2 * gate.SMALL_BODY_BYTES))
    assert answer.status_code == 503
    assert client.post(CALL, json=asked(page, data="x" * 1000)).status_code == 200
    monkeypatch.undo()
    assert client.post(CALL, json=asked(page)).status_code == 200


def test_runs_beyond_all_limits_are_refused_while_the_others_are_still_arriving(
    page: tuple[Page, str], client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page[0].arrivals, "count", MAX_PARALLEL_RUNS)
    body = {"data": [], "fn_index": 0, "session_hash": "abc123"}
    answer = client.post(JOIN, json=body)
    assert answer.status_code == 503 and str(MAX_PARALLEL_RUNS) in answer.text
    assert client.post(CALL, json=asked(page)).status_code == 200  # everything else goes on


def test_the_number_of_values_in_a_body_is_limited(client: httpx.Client, page: tuple[Page, str]) -> None:
    many: list[object] = [[]] * (gate.MAX_VALUES // 2)
    answer = client.post(CALL, json=asked(page, data=many))
    assert answer.status_code == 413 and f"{gate.MAX_VALUES:,} values" in answer.text
    assert client.post(CALL, json=asked(page, data=many[: len(many) // 4])).status_code == 200


def test_reading_large_bodies_has_a_limit_per_address(
    client: httpx.Client, page: tuple[Page, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "READING_S", 0.0)
    large = asked(page, data=[[]] * 40_000)
    answers = [client.post(CALL, json=large).status_code for _ in range(2)]
    assert answers[-1] == 503
    assert client.post(CALL, json=asked(page)).status_code == 200
    elsewhere = httpx.HTTPTransport(local_address="127.0.0.2")
    url = page[1].replace("localhost", "127.0.0.1")
    with httpx.Client(base_url=url, transport=elsewhere, timeout=60) as other:
        assert other.post(CALL, json=large).status_code == 200


@pytest.mark.parametrize("path", [JOIN, "/gradio_api/run/x"])
def test_a_proxy_that_is_still_sending_receives_the_refusal(page: tuple[Page, str], path: str) -> None:
    size = 3_000_000  # more than the system's buffers hold
    head = f"POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", urlsplit(page[1]).port or 0), 20) as line:
        line.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        assert line.recv(12).startswith(b"HTTP/1.1 4")
        line.sendall(b" " * size)  # raises if the connection was reset
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.endswith(b"}")


def test_no_answer_contains_the_servers_own_idea_of_its_address(client: httpx.Client) -> None:
    for path in ("/healthz/", "/config//", "/eft/plotly.min.js/"):
        answer = client.get(path)
        assert answer.status_code == 404 and "location" not in answer.headers


def test_invented_sessions_do_not_evict_real_ones(
    client: httpx.Client, page: tuple[Page, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = page[0]
    boxes = demo._queue.pending_messages_per_session
    monkeypatch.setattr(boxes, "max_size", 2)
    boxes["listener"] = asyncio.Queue()
    event = {"data": [], "event_data": {}, "fn_index": demo.config["dependencies"][0]["id"]}
    with client.stream("GET", "/gradio_api/queue/data?session_hash=listener") as stream:
        assert stream.status_code == 200
        for k in range(5):
            assert client.post(JOIN, json={**event, "session_hash": f"made-up-{k}"}).status_code == 200
        assert "listener" in boxes and len(boxes) <= 3


def test_gradios_files_named_by_their_contents_are_kept_for_good(client: httpx.Client) -> None:
    home = client.get("/")
    assert "cache-control" not in home.headers
    paths = re.findall(r'"\./(assets/[^"]+)"', home.text)
    assert len(paths) >= 2
    for path in paths:
        assert "immutable" in client.get(path).headers["cache-control"]
    missing = client.get("assets/index-00000000.js")
    assert missing.status_code == 404 and "cache-control" not in missing.headers


def test_a_stream_asks_proxies_not_to_buffer(client: httpx.Client) -> None:
    with client.stream("GET", "/gradio_api/heartbeat/abc123") as stream:
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert "x-accel-buffering" not in client.get("/").headers
