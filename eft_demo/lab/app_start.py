"""Starts the app as its users do, to time its start, or to measure it from outside.

Knows only the command line and HTTP.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from eft_demo.errors import EFTError

START = (sys.executable, "-m", "eft_demo", "start")
LIMIT_S = 60.0  # six times the promised start time
END_S = 120.0  # to end, on a busy machine
POLL_S = 0.05
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # ignores proxies in the environment


def app_start_s(command: Sequence[str] = START) -> float:
    """Seconds from the command to the first complete page. The app runs in a subprocess, which then ends.

    Raises EFTError if the app exits before that or does not answer within LIMIT_S.
    """
    port = _free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not _answers(port):
            elapsed_s = time.perf_counter() - started
            if process.poll() is not None or elapsed_s > LIMIT_S:
                raise EFTError(
                    f"The app served no page within {elapsed_s:.0f} s (limit {LIMIT_S:.0f} s). "
                    f"Start it by hand to see why: {shlex.join(command)}"
                )
            time.sleep(POLL_S)
        return time.perf_counter() - started
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@dataclass(frozen=True, slots=True)
class RunningApp:
    """The app in a process of its own."""

    url: str
    pid: int


@contextmanager
def serving(family: str, **variables: str) -> Iterator[RunningApp]:
    """The app on a free port, with these environment variables. Raises EFTError if it does not start."""
    command = [*START, "--port", "0", "--family", family]
    if variables:
        command = ["env", *(f"{name}={value}" for name, value in variables.items()), *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"EFT Demo is at (http://[^/\s#]+)", line):
                yield RunningApp(found[1], process.pid)
                return
        raise EFTError(f"The app did not start. Start it by hand to see why: {shlex.join(command)}")
    finally:
        process.terminate()
        process.wait(END_S)
        process.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return b"</html>" in page.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
