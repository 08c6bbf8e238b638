"""The queue of waiting runs, safe to use from any thread. Knows runs and fairness; knows no models."""

import time
from collections import abc, deque
from collections.abc import Callable
from threading import Condition

from eft_demo.engine.costs import follow
from eft_demo.engine.fairness import check_queue_room, next_run
from eft_demo.engine.run import Run
from eft_demo.engine.sequence import Sequence
from eft_demo.errors import Overloaded
from eft_demo.settings import Settings


class RunQueue:
    """A queue of runs in order of arrival. `wake` guards it and is notified when a run is added."""

    def __init__(self, settings: Settings) -> None:
        self.wake = Condition()
        self._settings = settings
        self._runs: deque[Run] = deque()
        self._closed = ""
        self._taken_s = 0.0  # when the last run was taken
        self._turn_s = 0.0  # usual seconds between two turns while others wait; 0: not known yet

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Run, seqs: abc.Sequence[Sequence], most: int) -> None:
        """Queue a run; `seqs` are the sequences in use now, of `most` that may be.

        Raises Overloaded if the queue or its owner's share of it is full, or if the queue is closed.
        """
        with self.wake:
            self.check_open()
            check_queue_room(run.request, self._runs, seqs, most, self._settings)
            self._runs.append(run)
            self.wake.notify_all()

    def take(self, seqs: abc.Sequence[Sequence], most: int) -> Run | None:
        """Remove and return the next run that may start beside these sequences, if any."""
        with self.wake:
            run = next_run(self._runs, seqs, most, self._settings)
            if run is not None:
                self._note_turn(run)
                self._runs.remove(run)
            return run

    def _note_turn(self, run: Run) -> None:
        now_s = time.perf_counter()
        if len(self._runs) > 1:
            self._turn_s = follow(self._turn_s, now_s - max(self._taken_s, run.submitted_s))
        self._taken_s = now_s

    def place_of(self, run: Run) -> tuple[int, float]:
        """The run's place in the queue, from 1, and the seconds until its turn as far as they are known.

        Place 0: it does not wait. Seconds 0: nobody's turn has been measured yet.
        """
        with self.wake:
            place = self._runs.index(run) + 1 if run in self._runs else 0
        return place, place * self._turn_s

    def remove_where(self, unwanted: Callable[[Run], bool]) -> list[Run]:
        """Remove and return the runs for which `unwanted` is true."""
        with self.wake:
            out = [run for run in self._runs if unwanted(run)]
            for run in out:
                self._runs.remove(run)
        return out

    def clear(self) -> list[Run]:
        """Remove and return all runs."""
        return self.remove_where(lambda run: True)

    def close(self, message: str) -> None:
        """Reject every run from now on with this message."""
        with self.wake:
            self._closed = self._closed or message

    def check_open(self) -> None:
        """Raises Overloaded with the message it was closed with, if it is closed."""
        if self._closed:
            raise Overloaded(self._closed)
