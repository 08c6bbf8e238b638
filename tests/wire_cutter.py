"""A small TCP proxy between a browser and a server whose connections can be cut and restored."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

RESET = struct.pack("ii", 1, 0)  # close at once, as a lost network does


class Wire:
    """Forwards bytes to `port` on this machine until `cut` or `hang`, and again after `mend`."""

    def __init__(self, port: int) -> None:
        self.target, self.whole = port, True
        self.flows = threading.Event()
        self.flows.set()
        self.ends: set[socket.socket] = set()
        self.door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.whole = False
        for end in list(self.ends):
            _drop(end)

    def hang(self) -> None:
        """Forward nothing but keep connections open, as a network without reception does."""
        self.flows.clear()

    def mend(self) -> None:
        self.whole = True
        self.flows.set()

    def close(self) -> None:
        self.cut()
        self.flows.set()
        self.door.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listening socket is closed
            while True:
                near, _ = self.door.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target)) if self.whole else None
                except OSError:
                    far = None
                if far is None:
                    _drop(near)
                    continue
                self.ends |= {near, far}
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while piece := one.recv(65536):
                self.flows.wait()
                other.sendall(piece)
        for end in (one, other):
            self.ends.discard(end)
            _drop(end, reset=not self.whole)


def _drop(end: socket.socket, reset: bool = True) -> None:
    with suppress(OSError):
        if reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def wire_to(port: int) -> Iterator[Wire]:
    wire = Wire(port)
    yield wire
    wire.close()
