"""Ctrl+C while the command line is being imported."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eft_demo.host.interrupts import end_quietly

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTS = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise SystemExit('went on')\n"


@pytest.mark.parametrize("command", [["-m", "eft_demo"], ["app.py"], ["-c", "import eft_demo.__main__"]])
def test_ctrl_c_during_the_imports_shows_no_traceback(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "typer.py").write_text(INTERRUPTS)  # the first library that the command line imports
    starts = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = {
        "-m": "runpy.run_module('eft_demo', run_name='__main__')",
        "app.py": "runpy.run_path('app.py', run_name='__main__')",
    }.get(command[0], command[-1])
    paths = f"sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; "
    ended = subprocess.run(
        [sys.executable, "-c", starts + paths + code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_afterwards_ctrl_c_is_an_exception_again_and_an_ignored_one_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with end_quietly():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with end_quietly():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with ThreadPoolExecutor(1) as threads:  # which may import app.py, but set no handler
            threads.submit(end_quietly().__enter__).result()
    finally:
        signal.signal(signal.SIGINT, before)
