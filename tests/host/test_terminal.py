"""Printing: control characters are made visible, and no answer is lost in a traceback."""

import io
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eft_demo import cli
from eft_demo.host import terminal

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\rd\x9b31me\x00f\x7fg\u202eh\u200bi\u2028j"
SHOWN = "a^[]0;title^Gb^[[2Jc^Md\\u009b31me^@f^?g\\u202eh\\u200bi\\u2028j"
WRITE = "import sys; from eft_demo.host import terminal as t; t.prepare_streams(); t.{}({!r})"


def python(code: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, **options)


def on_a_terminal(code: str) -> str:
    """Run a program with a terminal as its stdout and stderr; returns what the terminal received."""
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=slave, stderr=slave) as process:
        os.close(slave)
        sent = b""
        try:
            while piece := os.read(master, 4096):
                sent += piece
        except OSError:  # Linux raises this when the other end is closed
            pass
    os.close(master)
    assert process.returncode == 0
    return sent.decode()


@pytest.mark.parametrize("function", ["write_stdout", "write_stderr"])
def test_a_terminal_receives_no_control_characters(function: str) -> None:
    assert on_a_terminal(WRITE.format(function, HOSTILE)) == SHOWN + "\r\n"


def test_ordinary_text_is_unchanged() -> None:
    text = "Zürich 東京 👩🏽 שלום\n\ttwo"
    assert terminal.visible(text) == text


def test_a_pipe_gets_the_unchanged_text_but_stderr_and_log_never_do() -> None:
    assert python(WRITE.format("write_stdout", HOSTILE)).stdout.decode() == HOSTILE + "\n"
    assert python(WRITE.format("write_stderr", HOSTILE)).stderr.decode() == SHOWN + "\n"
    log = (
        "import logging; from eft_demo.host import terminal as t; "
        f"t.prepare_streams(); logging.warning('%s', {HOSTILE!r})"
    )
    assert python(log).stderr.decode() == SHOWN + "\n"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_an_answer_can_be_printed_in_any_encoding(encoding: str) -> None:
    said = python(
        WRITE.format("write_stdout", "A \ufffd 東 \ud800"), env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    foreign = "\ufffd 東" if encoding == "utf-8" else "\\ufffd \\u6771"
    assert said.stdout.decode(encoding) == f"A {foreign} \\ud800\n"


HELP = [sys.executable, "-m", "eft_demo", "--help"]
LONG = """
from eft_demo import cli
from eft_demo.host import terminal
cli.app.command("answer")(lambda: terminal.write_stdout("x" * 99999))
cli.main()
"""
ANSWER = [sys.executable, "-c", LONG, "answer"]


@pytest.mark.parametrize(
    ("redirected", "status", "said"),
    [
        ('"$@" > /dev/full', 1, "No space left on device"),
        ('"$@" >&-', 1, "Bad file descriptor"),
        ('"$@" <&- >&- 2>&-', 1, ""),
        ('("$@"; echo $? >&2) | true', 0, "1"),
    ],
)
@pytest.mark.parametrize("command", [HELP, ANSWER], ids=["help", "answer"])
def test_output_that_cannot_be_written_gives_one_line(
    redirected: str, status: int, said: str, command: list[str]
) -> None:
    ended = subprocess.run(
        ["sh", "-c", redirected, "sh", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == status and said in ended.stderr and "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") == bool(said)


def test_a_server_keeps_running_when_its_output_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with terminal.LastingOutput():
            sys.stdout.write("lost\n" * 9999)
            sys.stdout.flush()


def test_every_command_prints_through_host_terminal() -> None:
    source = (ROOT / "eft_demo" / "cli.py").read_text()
    assert "echo(" not in source and "print(" not in source.replace("traceback.print_exception(", "")


def test_an_existing_log_handler_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = logging.StreamHandler(io.StringIO())
    monkeypatch.setattr(logging.root, "handlers", [mine])
    terminal.prepare_streams()
    assert logging.root.handlers == [mine] and vars(cli)["prepare_streams"] is terminal.prepare_streams
