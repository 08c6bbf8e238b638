"""Starting in unusual environments: the page is served, or the process exits with a one-line error."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.tiers import exhaustive

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SLOW_S = 120  # a busy machine is not a failure
PAGE_ALONE = [sys.executable, str(ROOT / "app.py"), "--family", "none", "--port", "0"]
AS_NOBODY = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
AS_NOBODY = AS_NOBODY if os.getuid() == 0 else []
REACHED = [*AS_NOBODY, sys.executable, "-c", f"open({str(ROOT / 'app.py')!r})"]
OWN = {
    name: value
    for name, value in os.environ.items()
    if not name.lower().endswith("_proxy") and not name.startswith(("EFT_", "GRADIO_"))
}


@dataclass
class Ended:
    """What a process printed and left behind."""

    status: int
    out: str
    complaints: str


@contextlib.contextmanager
def started(command: list[str], **options: Any) -> Iterator[tuple[str, list[Ended]]]:
    """Start a process that prints its address, end it, and return what it left behind."""
    app = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    assert app.stdout and app.stderr
    end: list[Ended] = []
    said = ""
    for line in app.stdout:
        said += line
        if "EFT Demo is at " in line:
            break
    else:
        raise AssertionError(f"ended with {app.wait(SLOW_S)} before it began: {said}{app.stderr.read()}")
    try:
        yield line.removeprefix("EFT Demo is at ").strip().split("#")[0], end
    finally:
        app.terminate()
        out, complaints = app.communicate(timeout=SLOW_S)
        end.append(Ended(app.returncode, said + out, complaints))


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that fails every request, and the requests it received."""
    asked: list[str] = []

    class OutOfOrder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        do_HEAD = do_POST = do_CONNECT = do_GET  # noqa: N815 (names of the library)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), OutOfOrder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


GRADIO = {
    "GRADIO_ALLOWED_PATHS": "/etc,/",
    "GRADIO_TEMP_DIR": "/etc",
    "GRADIO_EXAMPLES_CACHE": "/etc",
    "GRADIO_SHARE": "true",
    "GRADIO_SHARE_SERVER_ADDRESS": "garbage",
    "GRADIO_MCP_SERVER": "true",
    "GRADIO_SSR_MODE": "true",
    "GRADIO_LOCAL_DEV_MODE": "1",
    "GRADIO_WATCH_DIRS": "/",
    "GRADIO_VIBE_MODE": "1",
    "GRADIO_RUN_HISTORY": "true",
    "GRADIO_ANALYTICS_ENABLED": "True",
    "GRADIO_IS_E2E_TEST": "1",
} | dict.fromkeys(
    (
        "GRADIO_NUM_PORTS",
        "GRADIO_NUM_WORKERS",
        "GRADIO_DEBUG",
        "GRADIO_NODE_SERVER_PORT",
        "GRADIO_NODE_NUM_PORTS",
        "GRADIO_HEARTBEAT_INTERVAL",
        "GRADIO_DEFAULT_CONCURRENCY_LIMIT",
        "GRADIO_ANALYTICS_MAX_EVENTS",
        "GRADIO_SERVER_NAME",
    ),
    "garbage",
)


def test_variables_of_other_programs_do_not_break_the_start(proxy: tuple[str, list[str]]) -> None:
    url, asked = proxy
    network = {
        "http_proxy": url,
        "HTTPS_PROXY": url,
        "all_proxy": "socks5://127.0.0.1:9",
        "NO_PROXY": "[::1]:x",
    }
    network |= {"SSL_CERT_FILE": "/nowhere", "SSLKEYLOGFILE": "/nowhere/x", "REQUESTS_CA_BUNDLE": "/nowhere"}
    others = {"WEB_CONCURRENCY": "garbage", "OMP_NUM_THREADS": "garbage", "CUDA_VISIBLE_DEVICES": "garbage"}
    others |= {"LC_ALL": "xx", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "HF_HUB_OFFLINE": "garbage"}
    others |= {"HF_TOKEN": "garb\nage", "PORT": "garbage", "SYSTEM": "spaces", "EFT_HOST": "127.0.0.1"}
    with started(PAGE_ALONE, env={**OWN, **GRADIO, **network, **others}) as (address, end):
        with httpx.Client(base_url=address, trust_env=False, timeout=SLOW_S) as client:
            config = client.get("/config").json()
            assert not config.get("mcp_server")
            assert not config["vibe_mode"] and not config["dev_mode"]
            for path in ("/etc/hostname", "/etc/passwd", str(ROOT / "app.py")):
                assert client.get(f"/gradio_api/file={path}").status_code == 403
            assert client.get("/gradio_api/mcp/sse").status_code == 404
            foreign = client.get("/config", headers={"Origin": "null"})
            assert foreign.headers.get("access-control-allow-origin") != "null"
    assert end[0].status == 0 and asked == []
    assert "Traceback" not in end[0].complaints and "public URL" not in end[0].out


def test_the_app_starts_as_any_user_in_any_folder_on_a_read_only_disk(tmp_path: Path) -> None:
    gone = tmp_path / "a folder # %41 ü"
    gone.mkdir()
    where = 'rmdir "$PWD" && exec "$0" "$@" <&-'
    # A Python in a folder that only root can read, such as a new temporary one, must run as root.
    reached = subprocess.run(REACHED, capture_output=True, check=False).returncode == 0
    as_whom = AS_NOBODY if reached else []
    command = ["sh", "-c", where, "prlimit", "--fsize=0", *as_whom, *PAGE_ALONE]
    surroundings = {
        "HOME": "/nowhere",
        "TMPDIR": "/nowhere",
        "HF_HOME": "/nowhere",
        "XDG_CACHE_HOME": "/proc",
    }
    with started(command, env={**OWN, **surroundings}, cwd=gone) as (address, end):
        assert httpx.get(address, trust_env=False, timeout=SLOW_S).status_code == 200
    assert end[0].status == 0 and end[0].complaints == ""


@exhaustive
def test_the_app_starts_with_an_empty_environment() -> None:
    with started(PAGE_ALONE, env={}) as (address, end):
        assert httpx.get(address, trust_env=False, timeout=SLOW_S).status_code == 200
    assert end[0].status == 0 and "Traceback" not in end[0].complaints


@pytest.mark.parametrize(
    ("arguments", "surroundings", "named"),
    [
        ([], {"EFT_PORT": "seventy"}, "EFT_PORT"),
        ([], {"GRADIO_SERVER_PORT": "garbage"}, "GRADIO_SERVER_PORT"),
        ([], {"HF_HUB_DOWNLOAD_TIMEOUT": "garbage"}, "HF_HUB_DOWNLOAD_TIMEOUT"),
        ([], {"PYTORCH_JIT": "garbage"}, "PYTORCH_JIT"),
        ([], {"HF_ENDPOINT": "http://[::1"}, "HF_ENDPOINT"),
        ([], {"EFT_ASSETS": "~nobody-here/assets"}, "EFT_ASSETS"),
        (["--nonsense"], {"TERMINAL_WIDTH": "garbage"}, "TERMINAL_WIDTH"),
        (["--host", "nowhere.invalid"], {}, "nowhere.invalid"),
        (["--host", " "], {}, "--host"),
        (["--root-path", "tools"], {}, "--root-path"),
        ([], {"GRADIO_ROOT_PATH": "tools"}, "GRADIO_ROOT_PATH"),
        (["--host", "192.0.2.1"], {}, "192.0.2.1"),
        (["--host", "http://localhost:7860"], {}, "http://localhost:7860"),
        ([], {"EFT_HOST": "fe80::1%eth9"}, "fe80::1%eth9"),
        ([], {"GRADIO_SERVER_NAME": "[::1"}, "[::1"),
        (["--port", "65536"], {}, "--port"),
    ],
)
def test_a_failed_start_exits_with_one_line(
    arguments: list[str], surroundings: dict[str, str], named: str
) -> None:
    command = [*PAGE_ALONE[:4], *arguments]
    ended = subprocess.run(
        command, env={**OWN, **surroundings}, capture_output=True, text=True, timeout=SLOW_S, check=False
    )
    assert ended.returncode in (1, 2) and named in ended.stderr
    assert ended.stderr.count("\n") == 1 and "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("limit", "family", "named"),
    [
        ("--as=500000000", "none", "RLIMIT_AS"),
        ("--as=900000000", "atlas", "RLIMIT_AS"),
        ("--data=300000000", "atlas", "RLIMIT_DATA"),
    ],
)
def test_too_little_memory_exits_with_one_line(limit: str, family: str, named: str) -> None:
    command = ["prlimit", limit, *PAGE_ALONE[:2], "--family", family, "--port", "0"]
    ended = subprocess.run(command, env=OWN, capture_output=True, text=True, timeout=SLOW_S, check=False)
    assert ended.returncode == 1 and named in ended.stderr
    assert ended.stderr.count("\n") == 1 and "Traceback" not in ended.stderr


@pytest.mark.parametrize("flags", [["-P"], ["-I"], ["-O"]], ids=lambda flags: flags[0])
def test_app_py_finds_its_package_with_any_python_flag(flags: list[str], tmp_path: Path) -> None:
    command = [sys.executable, *flags, str(ROOT / "app.py"), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SLOW_S, check=False, cwd=tmp_path)
    assert ended.returncode == 0 and "--family-file" in ended.stdout and not ended.stderr
