"""A thread that drives an engine: ticks while there is work, sleeps on a condition while there is none."""

import logging
from threading import Event, Thread

from eft_demo.engine.engine import Engine

STOPPING = "The server is stopping, so this text ends here."

log = logging.getLogger(__name__)


class EngineThread:
    """Owns the one thread that may call `engine.tick`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._stopping = Event()
        self._last_words = STOPPING
        self._thread = Thread(target=self._loop, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it ticks or waits for work."""
        return self._thread.is_alive()

    def stop(self, sentence: str = STOPPING) -> None:
        """End all rows with that sentence, and the thread; returns when it is gone."""
        self._last_words = sentence
        self._stopping.set()
        with self.engine.wake:
            self.engine.wake.notify_all()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.engine.tick():
                    self._sleep()
            except Exception:  # a bug must end its runs, not the thread that serves everybody
                log.exception("a tick failed")
                self.engine.fail_all(
                    "The engine met an unexpected error, so this text ends here. Please try again."
                )
        self.engine.fail_all(self._last_words)

    def _sleep(self) -> None:
        with self.engine.wake:
            self.engine.wake.wait_for(lambda: self.engine.waiting or self._stopping.is_set(), timeout=5.0)
