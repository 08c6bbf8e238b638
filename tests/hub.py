"""A local Hugging Face hub: a real HTTP server that serves repositories from folders, or fails on demand.

This way tests meet the exceptions that the pinned hub library really raises.
"""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads

import huggingface_hub
import pytest
from huggingface_hub import constants

SHA = "0123456789abcdef0123456789abcdef01234567"
CHUNK_BYTES = 50_000
LOGIN_PAGE = (
    b"<!DOCTYPE html><html><head><title>Welcome to the hotel</title></head><form>Log in</form></html>"
)


class Request(BaseHTTPRequestHandler):
    """One request to a `FolderHub`."""

    protocol_version = "HTTP/1.1"
    hub: "FolderHub"

    def do_GET(self) -> None:
        self.hub.answer(self)

    do_HEAD = do_GET

    def do_CONNECT(self) -> None:
        self.hub.tunnel(self)

    def log_message(self, format: str, *args: object) -> None:
        """Do not log."""

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


Fault = Callable[[Request], None]


def status(code: int, body: bytes = b"", **headers: str) -> Fault:
    """An answer with this status code; `X_Error_Code` sets the header X-Error-Code."""
    return lambda request: request.reply(code, body, {k.replace("_", "-"): v for k, v in headers.items()})


def login_page(request: Request) -> None:
    """The login page with which a hotel's or company's network answers everything."""
    request.reply(200, LOGIN_PAGE, {"Content-Type": "text/html"})


def redirect(request: Request) -> None:
    """Redirect to the same address, endlessly."""
    request.reply(302, b"", {"Location": request.path})


def drop(request: Request) -> None:
    """Close the connection before answering."""
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


def garbage(request: Request) -> None:
    """Answer with something that is not HTTP."""
    request.wfile.write(b"\x00\x01SSH-2.0-OpenSSH_9.6\r\n\r\n")
    request.close_connection = True


def hang(request: Request) -> None:
    """Do not answer until the hub closes."""
    request.hub.closing.wait(60)
    request.close_connection = True


def drip(request: Request) -> None:
    """Answer endlessly, a byte at a time, so that no read times out."""
    request.send_response(200)
    request.send_header("Content-Length", "1000000")
    request.end_headers()
    while not request.hub.closing.wait(0.02):
        try:
            request.wfile.write(b" ")
        except OSError:
            return
    request.close_connection = True


def half(request: Request) -> None:
    """Send a file whose second half never arrives."""
    content = request.hub.file_of(request)
    if request.command == "HEAD" or content is None or "Range" in request.headers:
        drop(request) if request.command != "HEAD" else request.hub.send_file(request)
        return
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])
    request.close_connection = True


class FolderHub:
    """Serves the repositories `root/owner/name`; `asked` lists the requested ones in order."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache = root, cache
        self.asked: list[str] = []
        self.fault: Fault | None = None  # how requests for metadata fail
        self.download_fault: Fault | None = None  # how requests for a file fail
        self.tunnel: Fault = status(502)  # how it answers as a proxy
        self.faulty = ""  # the only repository that they are for; empty = all
        self.on_chunk: Callable[[], None] = lambda: None
        self.closing = Event()
        handler = type("Bound", (Request,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def speak_tls(self, certificate: Path, key: Path) -> None:
        """Use this certificate for new connections."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def close(self) -> None:
        """End all running answers and the server."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def folder_of(self, repo: str) -> Path:
        """The folder where the cache keeps a downloaded repository."""
        return self.cache / f"models--{repo.replace('/', '--')}" / "snapshots" / SHA

    def answer(self, request: Request) -> None:
        """Answer one request as the hub would."""
        path = request.path.partition("?")[0].strip("/")
        if path.startswith("api/models/"):
            repo = "/".join(path.split("/")[2:4])
            self.asked.append(repo)
            self._go(self.fault, repo, request, self._send_facts)
        else:
            self._go(self.download_fault, "/".join(path.split("/")[:2]), request, self.send_file)

    def _go(self, fault: Fault | None, repo: str, request: Request, well: Fault) -> None:
        (fault if fault is not None and self.faulty in ("", repo) else well)(request)

    def _send_facts(self, request: Request) -> None:
        repo = "/".join(request.path.partition("?")[0].strip("/").split("/")[2:4])
        if not (self.root / repo).is_dir():
            return request.reply(401, b"", {"X-Error-Code": "RepoNotFound"})
        files = [path for path in sorted((self.root / repo).iterdir()) if path.is_file()]
        siblings = [{"rfilename": path.name, "size": path.stat().st_size} for path in files]
        facts = {"id": repo, "sha": SHA, "siblings": siblings, "cardData": {"license": "mit"}}
        request.reply(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def file_of(self, request: Request) -> bytes | None:
        """Serve the requested file."""
        repo, resolve, rest = request.path.strip("/").partition("/resolve/")
        path = self.root / repo / rest.partition("/")[2]
        return path.read_bytes() if resolve and path.is_file() else None

    def send_file(self, request: Request) -> None:
        """Send a file of a commit, or the part of it from the start of a range."""
        content = self.file_of(request)
        if content is None:
            return request.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA})
        etag = f'"{hash(content) & (2**63 - 1):x}"'
        first = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        request.send_response(206 if first else 200)
        for header, value in (
            ("ETag", etag),
            ("X-Repo-Commit", SHA),
            ("Content-Length", str(len(content) - first)),
        ):
            request.send_header(header, value)
        request.end_headers()
        if request.command == "HEAD":
            return None
        for start in range(first, len(content), CHUNK_BYTES):
            self.on_chunk()
            request.wfile.write(content[start : start + CHUNK_BYTES])
        return None


@contextmanager
def folder_hub(root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderHub]:
    """A hub that the library uses instead of the real one, with its own cache."""
    hub = FolderHub(root, cache)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 60)  # a busy machine is not a failure
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 60)
    # The library waits between attempts, for as long as a server asks.
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.01)))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    huggingface_hub.close_session()
    try:
        yield hub
    finally:
        hub.close()
        for thread in enumerate_threads():  # end answers that nobody waits for
            if thread.name == "hub":
                thread.join(10)
        huggingface_hub.close_session()
