"""The thread that serves the page on its sockets.

Knows uvicorn; knows nothing of routes or the page.
"""

import contextlib
import threading
from collections.abc import Sequence
from socket import socket
from typing import Any

import uvicorn

from eft_demo.errors import EFTError
from eft_demo.host.environment import full_environment

# A proxy on this machine, however it connects; the last is IPv4 as seen by an IPv6 socket.
HERE = "127.0.0.1,::1,::ffff:127.0.0.1"
_POLL_S = 0.005


class Server(uvicorn.Server):
    """Uvicorn in a separate thread. Gradio calls `close` when its page is closed."""

    def __init__(self, app: Any, sockets: Sequence[socket]) -> None:
        # Everything that the environment could set (number of workers, a settings file) is fixed here.
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                log_config=None,
                workers=1,
                lifespan="on",
                forwarded_allow_ips=full_environment().get("FORWARDED_ALLOW_IPS", HERE),
            )
        )
        self.sockets = list(sockets)
        self.thread = threading.Thread(target=self._serve_all, name="server", daemon=True)

    def _serve_all(self) -> None:
        with contextlib.suppress(SystemExit):  # how uvicorn gives up; `start` notices that it ended
            self.run(sockets=self.sockets)

    def start(self) -> None:
        """Serve in the background. Raises EFTError if the server ends before it has started."""
        self.thread.start()
        while not self.started:
            self.thread.join(_POLL_S)
            if not self.thread.is_alive():
                raise EFTError("The server stopped while starting; see the log lines above.")

    def close(self) -> None:
        """Accept no more requests, let the current ones end, and release the port."""
        self.should_exit = True
        self.thread.join(timeout=5)
