"""The log as JSON lines, for programs that collect logs.

Knows the standard library's logging. Messages of exceptions may repeat what a person typed, so only their
class and the places in the code are written.
"""

import json
import logging
import traceback
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, logger, message, the record's `fields`, and an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line of ASCII."""
        when = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and (error := record.exc_info[1]):
            line["exception"] = type(error).__name__
            frames = traceback.extract_tb(error.__traceback__)
            line["places"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, default=str)


def log_json() -> None:
    """Write the log as JSON lines, with this package's reports of runs and not only what went wrong."""
    for handler in logging.root.handlers:
        handler.setFormatter(JsonLines())
    logging.getLogger("eft_demo").setLevel(logging.INFO)
