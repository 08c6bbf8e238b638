"""Picks the sequences that are due in a step, as the paces of their runs say. Knows no models."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from eft_demo.engine.sequence import Sequence


@dataclass(slots=True)
class Pacer:
    """What the engine asks before a step. If no sequence is due, one may be after `rest_s` seconds."""

    clock_s: Callable[[], float] = time.perf_counter
    rest_s: float = math.inf
    _last: list[Sequence] = field(default_factory=list)

    def due(self, seqs: list[Sequence], others_wait: bool) -> list[Sequence]:
        """Those of `seqs` that may get a token now. No run is held back while `others_wait` for a place."""
        self.rest_s, due, now_s = math.inf, [], self.clock_s()
        for own in _by_run(seqs):
            run = own[0].run
            ready = own
            if run.pace.acts(now_s) and not others_wait and not run.cancelled:
                level = run.pace.level(now_s, min(seq.position for seq in own))
                ready = [seq for seq in own if seq.position < level]
            run.pace.note(not ready, now_s)
            if not ready:
                self.rest_s = min(self.rest_s, max(0.0, run.pace.rest_s(now_s)))
            due += ready
        return due if len(due) < len(seqs) else seqs

    def are_others(self, due: list[Sequence]) -> bool:
        """Whether these are other sequences than last time."""
        was, self._last = self._last, due
        return was != due


def _by_run(seqs: Iterable[Sequence]) -> Iterable[list[Sequence]]:
    runs: dict[object, list[Sequence]] = {}
    for seq in seqs:
        runs.setdefault(seq.run, []).append(seq)
    return runs.values()
