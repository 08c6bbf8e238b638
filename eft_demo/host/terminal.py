"""Printing: makes control characters visible, and handles output that cannot be written.

Knows streams and characters; knows nothing about what is written.
"""

import contextlib
import errno
import logging
import os
import re
import sys
from io import TextIOWrapper
from types import TracebackType
from typing import IO, TextIO

# C0 except newline and tab, DEL, C1, and characters that reorder or hide text (bidi, zero width, tags).
_CONTROL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
NOT_WRITTEN = 1  # the exit code
_NOT_WRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
# In the order of their file descriptors, so that reopening closed ones gives each its own number.
_STREAMS = (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))


def visible(text: str) -> str:
    """`text` with control characters made visible: ESC as ^[, others as ^X or \\u009b."""
    return _CONTROL.sub(lambda found: _shown(found[0]), text)


def _shown(character: str) -> str:
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def write_stdout(text: str) -> None:
    """Print `text` to stdout: unchanged to files and pipes, with visible control characters to a terminal."""
    print(visible(text) if sys.stdout.isatty() else text, flush=True)


def write_stderr(text: str, end: str = "\n") -> None:
    """Print `text` to stderr with visible control characters. Failing to write is not an error."""
    try:
        print(visible(text), file=sys.stderr, flush=True, end=end)
    except OSError:
        drop(sys.stderr)


def prepare_streams() -> None:
    """Make stdin, stdout, stderr and the log accept any text, even if they are closed.

    Characters outside the encoding are printed as escapes such as \\ufffd. Writing to a closed stdout is
    still an error.
    """
    for name, mode, flags in _STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not logging.root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Visible("%(message)s"))
        logging.root.addHandler(handler)


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def report_lost_output(error: OSError) -> bool:
    """Whether `error` means that output could not be written; if so, prints a message to stderr.

    A closed pipe has no reader left, so it ends silently.
    """
    if error.filename is not None or error.errno not in _NOT_WRITABLE:
        return False
    drop(sys.stdout)
    if error.errno != errno.EPIPE:
        write_stderr(f"The output could not be written ({error.strerror}). Please write it to another place.")
    return True


def drop(stream: IO[str]) -> None:
    """Discard what `stream` still buffers, so that Python does not fail again on exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):  # it has no file descriptor, or is closed
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class LastingOutput:
    """Stdout and stderr of a server that keeps serving when they can no longer be written to."""

    def __enter__(self) -> "LastingOutput":
        self.old = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (_Lossy(stream) for stream in self.old)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        sys.stdout, sys.stderr = self.old


class _Lossy:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            drop(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            drop(self._stream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
