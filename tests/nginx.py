"""Debian's nginx as an ordinary process with its own folder."""

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
# Everything that differs from the package's default: where it writes, and as which user.
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
    """A port that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def server_block(port: int, inside: str) -> str:
    """A server on this port; `inside` is the content of a server block, or a whole one."""
    listen = f"listen 127.0.0.1:{port};"
    if inside.startswith("server {"):
        return inside.replace("listen 80;", listen)
    return f"server {{ {listen} {inside} }}"


@contextmanager
def running(folder: Path, servers: str, ports: list[int]) -> Iterator[None]:
    """Run nginx with these servers until the block ends. Fails with nginx's output if it does not start."""
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
