"""Renders chat templates in a process of its own, which may be ended: a template is a stranger's program.

Run as a script by `rendering`, which says what a request and an answer are. The environment is that of
transformers, sandbox, extensions and filters included; the clock stands still, so that a prompt is the same
tomorrow. Imports nothing of this package, whose folder is not on its path.
"""

import json
import sys
import time
from datetime import datetime, tzinfo

from transformers.utils import chat_template_utils

try:
    import resource
except ImportError:  # Windows has no such limits: there the deadline alone holds
    resource = None  # type: ignore[assignment]

# A day in the past, so that no template that tells a model the date makes it look into the future.
NOW = (2024, 7, 26, 12)
ROOM_BYTES = 1 << 29  # beyond what the process has after its imports
CPU_S = 20  # per template: it ends even if the process that asked has gone
MAX_CHARS = 200_000  # more than any model here can read


class StillClock(datetime):
    """A clock that always says the same."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "StillClock":
        """The one moment there is."""
        return cls(*NOW, tzinfo=tz)


def limit_memory() -> None:
    """Let the system refuse what a template wants beyond ROOM_BYTES, as a MemoryError here."""
    if resource is None or not sys.platform.startswith("linux"):
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        used_bytes = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used_bytes + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def limit_time() -> None:
    """Let the system end this process CPU_S of work from now."""
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
    except Exception as error:  # whatever a stranger's program raises
        said, name = " ".join(str(error).split())[:200], type(error).__name__
        line_number = getattr(error, "lineno", None)
        where = f" in line {line_number}" if isinstance(line_number, int) else ""
        # With a plain TemplateError the template itself refuses, in its own words.
        return {"problem": said if name == "TemplateError" and said else f"{name}{where}: {said}"}


def main() -> None:
    """Answer line by line until nobody asks any more."""
    chat_template_utils.datetime = StillClock
    limit_memory()
    say({})
    for line in sys.stdin:
        limit_time()
        say(answer(line))


def say(found: dict[str, str]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
