"""Mailboxes for Gradio's messages to the page, one per session.

Gradio's own keep only the 2,000 newest sessions, so anybody who invents sessions could end the runs of real
visitors; and they log a traceback for each message to a closed session. Knows sessions and who is listening;
knows nothing of runs.
"""

from asyncio import Queue
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from gradio.utils import LRUCache

MOST_SESSIONS = 4000  # twice the limit on connections, so at least half of them have no listener


class Mailboxes(LRUCache[str, "Queue[Any]"]):  # type: ignore[misc]  # gradio is Any to mypy
    """Session -> messages. Beyond the limit, the oldest session without a listener is dropped."""

    def __init__(self, listens: Callable[[str], bool], most: int = MOST_SESSIONS) -> None:
        super().__init__(most)
        self._listens = listens

    def __setitem__(self, session: str, messages: "Queue[Any]") -> None:
        if session not in self and len(self) >= self.max_size:
            unheard = (other for other in self if not self._listens(other))
            if (oldest := next(unheard, None)) is not None:
                del self[oldest]
        OrderedDict.__setitem__(self, session, messages)  # its parent would drop the oldest of all

    def __delitem__(self, session: str) -> None:
        """Gradio deletes it for every stream that is cut, but a session may have had two."""
        if session in self:
            OrderedDict.__delitem__(self, session)

    def __missing__(self, session: str) -> "Queue[Any]":
        """Messages to a closed session are discarded."""
        return Queue()
