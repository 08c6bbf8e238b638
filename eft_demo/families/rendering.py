"""Renders untrusted chat templates within limits of time, memory and size.

A template is a program that came with someone's weights. A thread cannot be killed, and a single large
multiplication can block the whole interpreter, so a separate process (`render_worker`) renders and is killed
on a timeout. It starts with the first chat template and ends with this process.
"""

import atexit
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock, Timer

from eft_demo.errors import FamilyError
from eft_demo.host.environment import environment_without_hub
from eft_demo.runs.text import without_surrogates

RENDER_S = 5.0  # real templates take milliseconds
START_S = 120.0  # importing transformers takes seconds, and longer on a busy machine
_WORKER = Path(__file__).with_name("render_worker.py")


class TemplateProblem(FamilyError):
    """A template cannot be rendered. The message is only the cause; the caller adds what to do."""


def render(template: str, messages: Sequence[Mapping[str, str]], variables: Mapping[str, object]) -> str:
    """Render the template with these messages. Raises TemplateProblem, at the latest after RENDER_S."""
    text, problem = _render_once(
        json.dumps({"template": template, "messages": messages, "variables": variables})
    )
    if problem:
        raise TemplateProblem(problem)
    return without_surrogates(text)  # a template can produce them


@lru_cache(maxsize=256)
def _render_once(request: str) -> tuple[str, str]:
    """(text, problem), one of them empty. Cached, so that a template that timed out is not tried again."""
    said = _worker.ask(request)
    return str(said.get("text", "")), str(said.get("problem", ""))


class _Worker:
    """The worker process, started on first use and restarted after it was killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def ask(self, request: str) -> Mapping[str, object]:
        """The worker's answer, or {"problem"} after a timeout."""
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", str(_WORKER)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment_without_hub(),
                    text=True,
                    encoding="utf-8",
                    start_new_session=True,  # unaffected by Ctrl+C; it ends when its stdin closes
                )
                self._answer(self._process, "", START_S)
            if self._process is None:
                return {"problem": f"the process that renders it did not start within {START_S:.0f} seconds"}
            return self._answer(self._process, request + "\n", RENDER_S)

    def close(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _answer(self, process: "subprocess.Popen[str]", request: str, limit_s: float) -> Mapping[str, object]:
        assert process.stdin is not None and process.stdout is not None
        timer = Timer(limit_s, process.kill)
        timer.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:  # the process has died
            line = ""
        finally:
            timer.cancel()
        if line:
            found: Mapping[str, object] = json.loads(line)
            return found
        self.close()
        return {"problem": f"it took more than {limit_s:.0f} seconds or exceeded the memory limit"}


_worker = _Worker()
atexit.register(_worker.close)
