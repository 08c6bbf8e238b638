"""The thread that drives an engine: steps while there is work, otherwise sleeps until there is."""

import atexit
import logging
from threading import Event, Thread, current_thread

from eft_demo.engine.engine import Engine
from eft_demo.engine.failures import EngineDead

STOPPING = "The server is stopping, so this text ends here."
RESTARTING = "The server is restarting, so runs have ended. Please reload the page in a minute."
EXIT_S = 10.0  # how long the end of the process waits for a step: most take less than a second

log = logging.getLogger(__name__)


class EngineThread:
    """Owns the one thread that may call `engine.step`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._stopping = Event()
        self._last_words = STOPPING
        self._thread = Thread(target=self._loop, name="engine", daemon=True)

    def start(self) -> None:
        """Start stepping."""
        # A thread inside torch while the interpreter ends would abort the process (SIGABRT, a core dump).
        atexit.register(self._end_with_process)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    @property
    def dead(self) -> bool:
        """Whether the thread ended without being stopped: the process can no longer serve runs."""
        return self._thread.ident is not None and not self.alive and not self._stopping.is_set()

    def stop(self, message: str = STOPPING) -> None:
        """End all runs with this message, reject new ones, and wait for the thread to end."""
        self._last_words = message
        self._stop_stepping()
        if self._thread is not current_thread():  # as when its last owner is collected while it runs
            self._thread.join()
        atexit.unregister(self._end_with_process)

    def _end_with_process(self) -> None:
        """A step that takes longer, such as one that waits for a server, does not keep the process."""
        self._stop_stepping()
        self._thread.join(EXIT_S)

    def _stop_stepping(self) -> None:
        self._stopping.set()
        with self.engine.wake:
            self.engine.wake.notify_all()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.engine.step():
                    self._sleep()
            except EngineDead:
                log.critical("the engine is dead")
                return
            except BaseException as error:  # this thread serves everyone, so it survives any exception
                log.error("a step raised %s; the engine continues", type(error).__name__)
        refusal = RESTARTING if self._last_words == STOPPING else self._last_words
        self.engine.close(self._last_words, refusal)

    def _sleep(self) -> None:
        with self.engine.wake:
            self.engine.wake.wait_for(
                lambda: self.engine.waiting or self._stopping.is_set(), timeout=min(5.0, self.engine.rest_s)
            )
