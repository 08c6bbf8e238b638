"""What an engine has done since it started: numbers for those who operate it, and one log line per column.

Knows the events of runs; knows no text that a person or a model wrote, and no format of metrics.
"""

import logging
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from eft_demo.runs.events import EndEvent, Event

FIRST_TOKEN_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # upper bounds of the histogram's buckets

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """Only ever grow. Written by the engine's threads, and read by others without a lock."""

    steps: int = 0
    failed_steps: int = 0
    tokens: int = 0
    drafted: int = 0  # tokens that a small model drafted
    accepted: int = 0  # drafted tokens that became part of the text
    ended: Counter[str] = field(default_factory=Counter)  # columns by finish_reason
    refused: Counter[str] = field(default_factory=Counter)  # runs by the error's code
    first_tokens: list[int] = field(default_factory=lambda: [0] * (len(FIRST_TOKEN_S) + 1))
    first_token_s: float = 0.0  # the sum over all columns

    def note(self, event: Event) -> None:
        """Count an event that was sent to a run's owner."""
        if isinstance(event, EndEvent):
            self._note_end(event)
        else:
            self.tokens += 1

    def _note_end(self, end: EndEvent) -> None:
        self.ended[end.finish_reason] += 1
        if end.ttft_s > 0:
            self.first_tokens[bisect_left(FIRST_TOKEN_S, end.ttft_s)] += 1
            self.first_token_s += end.ttft_s
        fields = {
            "column": end.column,
            "finish_reason": end.finish_reason,
            "first_token_s": round(end.ttft_s, 3),
            "tokens_per_s": round(end.tokens_per_s, 1),
            "prompt_tokens": end.prompt_tokens,
            "reused_tokens": end.reused_tokens,
            "acceptance_rate": end.acceptance_rate and round(end.acceptance_rate, 3),
        }
        log.info("column ended", extra={"fields": fields})

    def refuse(self, code: str) -> None:
        """Count a run that was refused with an error of this code."""
        self.refused[code] += 1
        log.info("run refused", extra={"fields": {"code": code}})
