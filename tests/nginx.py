"""A real nginx as Debian ships it, as an ordinary process with a folder of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="these tests need Debian's nginx in /usr/sbin")
# All that is not the package's own default: where it may write, and as whom.
CONFIG = """
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""
PATIENCE_S = 30


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_block(port: int, inside: str) -> str:
    """A server there: `inside` is what it does for any name, or a whole server block, moved to this port."""
    listen = f"listen 127.0.0.1:{port};"
    if inside.startswith("server {"):
        return inside.replace("listen 80;", listen)
    return f"server {{ {listen} {inside} }}"


@contextmanager
def running(folder: Path, servers: str, ports: list[int]) -> Iterator[None]:
    """nginx with these servers, until the end of the block. Fails with its own words if it does not start."""
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, user=user, servers=servers))
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-p", folder, "-c", config, "-e", folder / "error.log"])
    try:
        for port in ports:
            _wait_for(port, process, folder / "error.log")
        yield
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(log.read_text())
