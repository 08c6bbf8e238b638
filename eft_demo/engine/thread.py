"""A thread that drives an engine: steps while there is work, sleeps on a condition while there is none."""

import logging
from threading import Event, Thread

from eft_demo.engine.engine import Engine
from eft_demo.engine.failures import EngineDead

STOPPING = "The server is stopping, so this text ends here."
RESTARTING = "The server is restarting, so runs have ended. Please reload the page in a minute."

log = logging.getLogger(__name__)


class EngineThread:
    """Owns the one thread that may call `engine.step`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._stopping = Event()
        self._last_words = STOPPING
        self._thread = Thread(target=self._loop, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to step."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it steps or waits for work."""
        return self._thread.is_alive()

    @property
    def dead(self) -> bool:
        """Whether it ended although nobody stopped it: its process can serve no run any more."""
        return self._thread.ident is not None and not self.alive and not self._stopping.is_set()

    def stop(self, sentence: str = STOPPING) -> None:
        """End all sequences with that sentence, refuse new runs, end the thread; return when it is gone."""
        self._last_words = sentence
        self._stopping.set()
        with self.engine.wake:
            self.engine.wake.notify_all()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.engine.step():
                    self._sleep()
            except EngineDead:
                log.critical("the engine is dead")
                return
            except BaseException as error:  # whatever a library raises, this thread serves everybody
                log.error("%s came out of a step; the engine goes on", type(error).__name__)
        refusal = RESTARTING if self._last_words == STOPPING else self._last_words
        self.engine.close(self._last_words, refusal)

    def _sleep(self) -> None:
        with self.engine.wake:
            self.engine.wake.wait_for(lambda: self.engine.waiting or self._stopping.is_set(), timeout=5.0)
