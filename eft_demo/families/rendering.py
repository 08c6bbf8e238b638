"""Chat templates rendered within limits of time, memory and size, however hostile they are.

A template is a program that came with somebody's weights. No thread can be ended from outside and one long
product of numbers stops the whole interpreter, so a process of its own renders (`render_worker`) and is ended
when its time is over. It starts with the first chat template, stays, and ends with this process.
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
from eft_demo.host.environment import without_hub

RENDER_S = 5.0  # real templates take milliseconds
START_S = 120.0  # it imports transformers, which takes seconds, and longer on a busy machine
_WORKER = Path(__file__).with_name("render_worker.py")


class TemplateProblem(FamilyError):
    """A template cannot be rendered. Its text is the cause alone; who asked adds the way out."""


def render(template: str, messages: Sequence[Mapping[str, str]], variables: Mapping[str, object]) -> str:
    """What the template writes for these messages. Raises TemplateProblem, within RENDER_S of the start."""
    text, problem = _render_once(
        json.dumps({"template": template, "messages": messages, "variables": variables})
    )
    if problem:
        raise TemplateProblem(problem)
    # A template can write half of a pair of UTF-16, which no encoding knows.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@lru_cache(maxsize=256)
def _render_once(request: str) -> tuple[str, str]:
    """Text and problem, one of them empty. What took too long once is not tried again."""
    said = _worker.ask(request)
    return str(said.get("text", "")), str(said.get("problem", ""))


class _Worker:
    """The process, started when it is first needed and anew after it had to be ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def ask(self, request: str) -> Mapping[str, object]:
        """Its answer, or {"problem"} if it gave none in time."""
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", str(_WORKER)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=without_hub(),
                    text=True,
                    encoding="utf-8",
                    start_new_session=True,  # Ctrl+C is not for it: it ends with the pipe
                )
                self._answer(self._process, "", START_S)
            if self._process is None:
                return {"problem": f"the process that renders it did not start within {START_S:.0f} seconds"}
            return self._answer(self._process, request + "\n", RENDER_S)

    def close(self) -> None:
        """End the process."""
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
        except OSError:  # it is gone, and its pipe with it
            line = ""
        finally:
            timer.cancel()
        if line:
            found: Mapping[str, object] = json.loads(line)
            return found
        self.close()
        return {"problem": f"it took more than {limit_s:.0f} seconds, or all of the memory it may take"}


_worker = _Worker()
atexit.register(_worker.close)
