"""Pace: how fast a run may go, so that a person can read and steer it; pause and single steps.

A run without a pace goes as fast as the engine can. All runs of one pace are due at the same moments, so they
share steps as usual. The time for which a run is held back is counted apart, so that speeds and time limits
remain the engine's own. Knows times and positions; knows no sequences and no models.
"""

import math
from dataclasses import dataclass

from eft_demo.errors import InputError
from eft_demo.settings import check_number

MAX_RATE = 1000.0
POLL_S = 0.1  # how soon a paused run notices that it may go on
MAX_STEPS = 64


def check_rate(value: object) -> float:
    """The tokens a second that a page posts; 0 is full speed. Raises InputError."""
    return float(check_number("The speed", value, 0, MAX_RATE, code="pace"))


@dataclass(slots=True)
class Pace:
    """The pace of one run. A person's thread changes it; the engine's thread asks it, and keeps `held_s`."""

    rate: float = 0.0  # tokens a second of every column; 0 is full speed
    most_s: float = math.inf  # held back for longer than this, the run goes on at full speed
    paused: bool = False
    steps: int = 0  # single tokens still to be written while paused
    held_s: float = 0.0  # how long the run has been held back, when it was last asked
    _since_s: float = 0.0  # since when it is held back now; 0: it is not
    _beat: int = -1  # how many times a run of this rate has been due, counted from the clock's 0
    _level: int = 1  # sequences with fewer tokens are due; the first token never waits

    def set(self, rate: object = None, paused: object = None, step: object = None) -> None:
        """Change what is not None. A step pauses. Raises InputError."""
        if rate is not None:
            self.rate = check_rate(rate)
        if paused is not None:
            if not isinstance(paused, bool):
                raise InputError("A run is paused, or it is not.")
            self.paused, self.steps = paused, 0
        if step:
            self.paused, self.steps = True, min(self.steps + 1, MAX_STEPS)

    def acts(self, now_s: float) -> bool:
        """Whether it may hold the run back."""
        return bool(self.rate or self.paused) and self.held_until(now_s) < self.most_s

    def held_until(self, now_s: float) -> float:
        """Seconds that the run has been held back in all."""
        return self.held_s + (now_s - self._since_s if self._since_s else 0.0)

    def level(self, now_s: float, least: int) -> int:
        """How many tokens the sequences may have after this step, where the slowest has `least`."""
        if self.paused:
            if self.steps and least >= self._level:
                self.steps -= 1
                self._level = least + 1
        elif (beat := int(now_s * self.rate)) > self._beat:
            self._beat, self._level = beat, least + 1
        return self._level

    def rest_s(self, now_s: float) -> float:
        """Seconds until the run may be due."""
        rate = self.rate  # read once: a person's thread may set it to 0 at any moment
        return POLL_S if self.paused or not rate else min(POLL_S, (self._beat + 1) / rate - now_s)

    def note(self, is_held: bool, now_s: float) -> None:
        """Count the time for which no sequence of the run is due."""
        self.held_s = self.held_until(now_s)
        self._since_s = now_s if is_held else 0.0
