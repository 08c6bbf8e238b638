"""Renders chat templates in a separate process that can be killed, because templates are untrusted programs.

`rendering` runs it as a script and defines requests and answers. It uses the Jinja environment of
transformers with its sandbox, extensions and filters; the clock is fixed, so that prompts do not change from
day to day. Imports nothing from this package, which is not on its path.
"""

import json
import sys
import time
from datetime import datetime, tzinfo

from transformers.utils import chat_template_utils

try:
    import resource
except ImportError:  # Windows has no such limits; only the deadline applies there
    resource = None  # type: ignore[assignment]

# In the past, so that templates that state the date do not give models a future one.
NOW = (2024, 7, 26, 12)
ROOM_BYTES = 1 << 29  # beyond the process's memory after its imports
CPU_S = 20  # per template: also ends this process if its parent has died
MAX_CHARS = 200_000  # more than fits in any model's context


class FixedClock(datetime):
    """A clock that always returns NOW."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "FixedClock":
        """Return NOW."""
        return cls(*NOW, tzinfo=tz)


def limit_memory() -> None:
    """Limit the memory of templates to ROOM_BYTES; beyond it, allocations raise MemoryError."""
    if resource is None or not sys.platform.startswith("linux"):
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        used_bytes = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used_bytes + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def limit_time() -> None:
    """Let the system kill this process after CPU_S more seconds of processor time."""
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        wanted = int(time.process_time()) + CPU_S
        resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard < 0 else min(wanted, hard), hard))


def answer(line: str) -> dict[str, str]:
    """One request as JSON -> {"text"} or {"problem"}."""
    try:
        request = json.loads(line)
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[request["messages"]],
            chat_template=request["template"],
            add_generation_prompt=True,
            **request["variables"],
        )
        text = str(texts[0])
        if len(text) > MAX_CHARS:
            return {"problem": f"it writes {len(text):,} characters, and the limit is {MAX_CHARS:,}"}
        return {"text": text}
    except MemoryError:
        return {"problem": "it needs too much memory"}
    except Exception as error:  # an untrusted program may raise anything
        said, name = " ".join(str(error).split())[:200], type(error).__name__
        line_number = getattr(error, "lineno", None)
        where = f" in line {line_number}" if isinstance(line_number, int) else ""
        # A plain TemplateError carries the template's own message.
        return {"problem": said if name == "TemplateError" and said else f"{name}{where}: {said}"}


def main() -> None:
    """Answer requests, one per line, until stdin closes."""
    chat_template_utils.datetime = FixedClock
    limit_memory()
    write_answer({})
    for line in sys.stdin:
        limit_time()
        write_answer(answer(line))


def write_answer(found: dict[str, str]) -> None:
    """Write one answer as a line."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
