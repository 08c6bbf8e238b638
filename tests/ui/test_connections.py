"""Connections: many slow ones leave room for new ones, and running out of files does not flood the log."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from eft_demo.ui import connections
from tests.nginx import free_port
from tests.tiers import first_of
from tests.waiting import until

FILES = 256
MANY = 300
SERVER = """
import resource, signal, threading
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
from dataclasses import replace
from eft_demo.settings import Settings
from eft_demo.ui import server
from eft_demo.ui.page import build_demo
from tests.fakes import make_service
settings = replace(Settings(), port={port})
service = make_service(settings)
server.launch(build_demo(service, settings), settings)
"""
SLOW_BODY = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\n"
SLOW_BODY += b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A server in a process that may open few files: its port and its log."""
    port, log = free_port(), tmp_path_factory.mktemp("limited") / "log"
    root = Path(__file__).resolve().parents[2]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER.format(files=FILES, port=port)], cwd=root, stdout=out, stderr=out
        )
    try:
        until(lambda: "EFT Demo is at" in log.read_text() or process.poll() is not None, 120)
        assert process.poll() is None, log.read_text()
        yield port, log
    finally:
        process.terminate()
        process.wait()


def healthy(port: int) -> bool:
    answer = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60, trust_env=False)
    return answer.status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "sent", first_of(SLOW_BODY, b"POST /gradio_api", b""), ids=["a slow body", "half a head", "nothing"]
)
def test_slow_connections_are_closed_when_others_need_their_places(
    limited: tuple[int, Path], sent: bytes
) -> None:
    port, log = limited
    with ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(MANY)]
        for line in lines:
            try:
                line.sendall(sent)
            except OSError:
                pass  # closed to make room for a newer one
        assert healthy(port)
        files = len(os.listdir(f"/proc/{_pid(port)}/fd"))
        assert files < FILES
    assert healthy(port)
    assert log.stat().st_size < 20_000, log.read_text()[-3000:]


def _pid(port: int) -> int:
    """The process that listens there."""
    wanted = f"0100007F:{port:04X}"
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    (inode,) = [row[9] for row in rows if row[1] == wanted and row[3] == "0A"]
    for found in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(found) == f"socket:[{inode}]":
                return int(found.parts[2])
        except OSError:
            continue
    raise AssertionError("nobody listens")


@pytest.mark.slow
def test_connections_that_stream_are_not_closed_for_others(limited: tuple[int, Path]) -> None:
    port, log = limited
    most = 144
    with ExitStack() as stack:
        streams = []
        for k in range(most):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            line.sendall(f"GET /gradio_api/heartbeat/s{k} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert b"200" in line.recv(20)
            streams.append(line)
        assert healthy(port)
        late = httpx.get(f"http://127.0.0.1:{port}/config", timeout=60, trust_env=False)
        assert late.status_code == 503 and "Too many connections" in late.text
        for line in streams:
            line.setblocking(False)
            assert _alive(line)
    assert healthy(port)
    assert httpx.get(f"http://127.0.0.1:{port}/config", timeout=60, trust_env=False).status_code == 200
    assert log.stat().st_size < 20_000, log.read_text()[-3000:]


def _alive(line: socket.socket) -> bool:
    try:
        while True:
            if not line.recv(10_000):
                return False
    except BlockingIOError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["websocket", "h2c"])
def test_a_wish_for_another_protocol_is_answered_and_advises_nobody_to_install_anything(
    limited: tuple[int, Path], wanted: str
) -> None:
    port, log = limited
    before = log.read_text()
    headers = {"Connection": "Upgrade", "Upgrade": wanted, "Sec-WebSocket-Version": "13"}
    answer = httpx.get(f"http://127.0.0.1:{port}/healthz", headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 200
    assert log.read_text() == before


def test_the_same_message_is_logged_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("eft_demo.ui.connections.time.monotonic", lambda: now[0])
    sparing = connections.RateLimitedLog()

    def passes(name: str, level: int, text: str) -> bool:
        return sparing.filter(logging.LogRecord(name, level, "", 0, text, (), None))

    assert [passes("asyncio", logging.ERROR, "out of files") for _ in range(3)] == [True, False, False]
    assert passes("asyncio", logging.ERROR, "another")
    assert [passes("uvicorn.error", logging.ERROR, "a bug") for _ in range(2)] == [True, True]
    now[0] += connections.SAME_AGAIN_S
    assert passes("asyncio", logging.ERROR, "out of files")


@pytest.mark.parametrize(
    ("files", "most"), [(256, 144), (1024, 816), (64, 16), (1_000_000, 2000), (-1, 2000)]
)
def test_the_number_of_connections_follows_from_the_limit_on_open_files(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    monkeypatch.setattr("eft_demo.ui.connections.resource.getrlimit", lambda _: (files, files))
    assert connections.connection_limits()[0] == most
