"""The log as JSON lines: one object a record, and nothing that a person typed."""

import json
import logging
import os
import subprocess
import sys

from eft_demo.host.json_log import JsonLines

TYPED = "what a person typed\n"


def record(**changes: object) -> logging.LogRecord:
    made = logging.LogRecord("eft_demo.x", logging.INFO, "x.py", 1, "column %s ended", (2,), None)
    made.__dict__.update(changes)
    return made


def test_a_record_is_one_line_with_its_fields() -> None:
    line = JsonLines().format(record(fields={"finish_reason": "stop", "note": "two\nlines"}))
    assert "\n" not in line
    read = json.loads(line)
    assert read["message"] == "column 2 ended" and read["level"] == "info" and read["logger"] == "eft_demo.x"
    assert read["finish_reason"] == "stop" and read["time"].endswith("+00:00")


def test_an_exception_is_written_without_its_message() -> None:
    try:
        raise ValueError(TYPED)
    except ValueError:
        line = JsonLines().format(record(exc_info=sys.exc_info()))
    read = json.loads(line)
    assert read["exception"] == "ValueError" and "test_json_log.py" in read["places"][0]
    assert "typed" not in line


PROGRAM = """
import logging
import warnings
from eft_demo.host.json_log import log_json
from eft_demo.host.terminal import prepare_streams
prepare_streams()
logging.getLogger("eft_demo.engine.counts").info("not shown yet")
log_json()
logging.getLogger("eft_demo.engine.counts").info("shown", extra={"fields": {"column": 1}})
logging.getLogger("other").info("not ours")
logging.getLogger("other").warning("theirs")
library = logging.getLogger("library")  # as transformers and huggingface_hub set up theirs
library.addHandler(logging.StreamHandler())
library.propagate = False
logging.getLogger("library.part").warning("a library's")
warnings.warn("a warning")
"""


def test_the_programs_log_becomes_json_with_reports_of_runs() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ}, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["message"] for line in lines[:-1]] == ["shown", "theirs", "a library's"]
    assert lines[0]["column"] == 1 and "UserWarning: a warning" in lines[-1]["message"]
