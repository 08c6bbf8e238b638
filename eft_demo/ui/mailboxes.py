"""Where Gradio leaves what its events say until the page takes it: one mailbox per session.

Gradio's own keeps the 2,000 newest sessions, so that who makes up sessions ends the runs of those who are
listening; and it writes a traceback for each message to a session that is gone. Knows sessions and who
listens; knows nothing of runs.
"""

from asyncio import Queue
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from gradio.utils import LRUCache

MOST_SESSIONS = 4000  # twice as many as there may be connections, so half of them have no listener


class Mailboxes(LRUCache[str, "Queue[Any]"]):
    """Session -> messages. Where there are too many, the oldest one goes that nobody listens to."""

    def __init__(self, listens: Callable[[str], bool], most: int = MOST_SESSIONS) -> None:
        super().__init__(most)
        self._listens = listens

    def __setitem__(self, session: str, messages: "Queue[Any]") -> None:
        if session not in self and len(self) >= self.max_size:
            unheard = (other for other in self if not self._listens(other))
            if (oldest := next(unheard, None)) is not None:
                del self[oldest]
        OrderedDict.__setitem__(self, session, messages)  # its parent would drop the oldest of all

    def __missing__(self, session: str) -> "Queue[Any]":
        """What is said to a session that is gone is heard by nobody."""
        return Queue()
