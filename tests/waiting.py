"""Waiting for what nothing else announces."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0  # a busy machine is not a failure


def until(condition: Callable[[], object], wait_s: float = PATIENCE_S) -> None:
    """Ask again and again until it is so. Raises AssertionError when the time is over."""
    give_up = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < give_up, "still not so"
        time.sleep(0.005)
