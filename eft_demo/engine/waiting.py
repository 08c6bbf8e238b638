"""The runs that wait for rows. Safe to use from any thread; knows runs and counts, no models."""

from collections import deque
from collections.abc import Callable
from itertools import accumulate
from threading import Condition

from eft_demo.engine.run import Run
from eft_demo.errors import Overloaded


class Waiting:
    """A queue of runs in order of arrival. `wake` guards it and is notified when one has come."""

    def __init__(self) -> None:
        self.wake = Condition()
        self._runs: deque[Run] = deque()
        self._closed = ""

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Run, free: int, most: int) -> None:
        """Queue a run; those that find room in `free` rows do not count among the `most` that may wait.

        Raises Overloaded if it would be one too many, or if the queue is closed.
        """
        with self.wake:
            self.check_open()
            sizes = [len(other.request.panels) for other in (*self._runs, run)]
            ahead = sum(taken > free for taken in accumulate(sizes)) - 1
            if ahead >= most:
                raise Overloaded(
                    f"All places are taken and {ahead} others are waiting already. "
                    "Please try again in a moment."
                )
            self._runs.append(run)
            self.wake.notify_all()

    def take(self, free: int) -> Run | None:
        """The first run, if it fits into so many rows."""
        with self.wake:
            fits = self._runs and len(self._runs[0].request.panels) <= free
            return self._runs.popleft() if fits else None

    def take_out(self, unwanted: Callable[[Run], bool]) -> list[Run]:
        """The runs of which that is true; they wait no more."""
        with self.wake:
            out = [run for run in self._runs if unwanted(run)]
            for run in out:
                self._runs.remove(run)
        return out

    def clear(self) -> list[Run]:
        """All that wait; none waits any more."""
        return self.take_out(lambda run: True)

    def close(self, sentence: str) -> None:
        """Refuse every run from now on with this sentence."""
        with self.wake:
            self._closed = self._closed or sentence

    def check_open(self) -> None:
        """Raises Overloaded with the sentence it was closed with."""
        if self._closed:
            raise Overloaded(self._closed)
