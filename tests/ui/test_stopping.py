"""SIGTERM while a run streams: its page is notified, the process ends with 0, the log holds no typed text."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.posting import STREAM, post_run
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
TYPED = "What is the capital of Peru?"
ASKED = {"n": 1, "prompt": TYPED, "behaviour": "assistant", "controls": {"alpha": 1}, "pace": 2}
ASKED |= {"temperature": 0, "top_p": 1, "top_k": 0, "min_p": 0, "seed": 0, "length": 60}


@pytest.mark.slow
def test_sigterm_ends_runs_with_a_message_and_the_process_with_0() -> None:
    app = subprocess.Popen(
        [sys.executable, "-m", "eft_demo", "start"],
        env={**os.environ, "EFT_PORT": "0", "EFT_FAMILY": "atlas", "EFT_DTYPE": "fp32", "EFT_LOG": "json"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert app.stdout
    url = next(word for word in app.stdout.readline().split() if word.startswith("http")).split("#")[0]
    said = ""
    with httpx.Client(base_url=url.rstrip("/"), timeout=PATIENCE_S, trust_env=False) as client:
        post_run(client, ASKED)
        with client.stream("GET", STREAM) as stream:
            for line in stream.iter_lines():
                if '\\"k\\":\\"t\\"' in line and app.poll() is None:
                    app.terminate()
                said += line
    _, log = app.communicate(timeout=PATIENCE_S)
    assert app.returncode == 0
    assert "restart" in said and "process_completed" in said
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"serving", "column ended", "stopping"} <= {line["message"] for line in lines}
    assert "Peru" not in log
