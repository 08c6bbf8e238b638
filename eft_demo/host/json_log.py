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


class _Passing(logging.Logger):
    """A logger that leaves writing to the root's handler, which writes JSON.

    Some libraries give their loggers a handler of their own, which writes plain lines, in place of the
    root's or beside it.
    """

    @property
    def propagate(self) -> bool:
        """Always true."""
        return True

    @propagate.setter
    def propagate(self, value: bool) -> None:
        pass

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802
        """Do nothing."""


def log_json() -> None:
    """Write the log as JSON lines, with this package's reports of runs and not only what went wrong.

    Call it before other packages are imported, so that what they log is written as JSON too.
    """
    for handler in logging.root.handlers:
        handler.setFormatter(JsonLines())
    logging.setLoggerClass(_Passing)
    logging.captureWarnings(True)
    logging.getLogger("eft_demo").setLevel(logging.INFO)
