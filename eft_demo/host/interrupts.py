"""Ctrl+C while the command line is being imported: the process ends without a traceback.

Knows signals; imports nothing slow, because it must act before anything else is imported.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def end_quietly() -> Iterator[None]:
    """Let Ctrl+C end the process at once, as it ends other programs; an ignored one stays ignored."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():  # others may set no handler
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
