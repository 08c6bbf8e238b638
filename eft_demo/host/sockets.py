"""Sockets of the page's server, by address family, and what is wrong with an address that has none.

Knows addresses; knows nothing of what is served. It makes no test request to itself, so no proxy, certificate
or name server can interfere. Nothing slow is imported: a wrong address ends the start at once.
"""

import errno
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from eft_demo.errors import InputError

PORTS_TRIED = 50
NAME_S = 5.0  # for the system to resolve a name
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listen(host: str, wanted: int) -> list[socket.socket]:
    """Sockets bound to `host`, one per address that it resolves to, all on one port.

    The port is `wanted`, or the next free one above it; 0 means any. `::` includes IPv4. Raises InputError
    if the next 50 are in use, if this process may not use the port, or if the address is not this machine's.
    """
    places = _places(host)
    last = min(wanted + PORTS_TRIED, 65536) - 1
    # The port that the system picks for 0 may be in use on another address, or taken before we listen on it.
    for port in range(wanted, last + 1) if wanted else [0] * PORTS_TRIED:
        try:
            return _bind(places, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _refusal(host, port, error) from None
    ports = f"No port from {wanted or 1} to {last if wanted else 65535} is"
    ports = f"Port {wanted} is not" if wanted == last else ports
    raise InputError(f"{ports} free on {host}. Please choose another with --port; 0 means any free port.")


def check(host: str, wanted: int) -> None:
    """Raise what `listen` would raise, before the models are loaded; nobody can connect yet."""
    for one in listen(host, wanted):
        one.close()


def port_of(sockets: Sequence[socket.socket]) -> int:
    """The port that all the sockets share."""
    return int(sockets[0].getsockname()[1])


def address(host: str, port: int) -> str:
    """The address for a browser on this machine: IPv6 in brackets, with a zone's % as %25."""
    name = host.strip("[]")
    if name in ("0.0.0.0", "::", "127.0.0.1"):
        name = "localhost"
    return f"http://[{name.replace('%', '%25')}]:{port}" if ":" in name else f"http://{name}:{port}"


def _places(host: str) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Family and address of everything that `host` resolves to. Raises InputError if it is not a host."""
    try:
        found = _resolved(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be encoded
        reason = error.strerror or str(error) if isinstance(error, OSError) else "not a host name"
        raise InputError(
            f"The host {_shown(host)} cannot be resolved ({reason}). Please choose another address with "
            "--host, such as 127.0.0.1 or 0.0.0.0, without http:// and without a port."
        ) from None
    return list(dict.fromkeys((family, address) for family, *_, address in found))


def _resolved(name: str) -> list[Any]:
    """The addresses of that name. Raises OSError, also if no name server answers in time."""
    answer: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            answer.set_result(
                socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            )
        except Exception as error:  # raised again where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=ask, name="name", daemon=True).start()  # it cannot be stopped
    try:
        return answer.result(NAME_S)
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, f"no name server answered in {NAME_S:g} s") from None


def _bind(places: list[tuple[socket.AddressFamily, tuple[str, int]]], port: int) -> list[socket.socket]:
    """Bind every address that this machine has. Raises OSError if one is in use or none exists."""
    bound: list[socket.socket] = []
    missing: OSError | None = None
    rest: list[Any]
    for family, (name, _, *rest) in places:
        try:
            bound.append(_bound(family, (name, port_of(bound) if bound else port, *rest)))
        except OSError as error:
            if error.errno in _NOT_HERE:  # localhost may resolve to an IPv6 address although IPv6 is off
                missing = error
                continue
            for one in bound:
                one.close()
            raise
    if not bound:
        raise missing or OSError(errno.EADDRNOTAVAIL, "no address")
    return bound


def _bound(family: socket.AddressFamily, place: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(place[0] != "::"))
        one.bind(place)
        one.listen()  # only now is it certain that nobody else has the port
    except OSError:
        one.close()
        raise
    return one


def _refusal(host: str, port: int, error: OSError) -> InputError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError(
            f"This user may not listen on port {port}: ports below 1024 need root. "
            "Please choose another with --port, such as 7860."
        )
    return InputError(
        f"This machine cannot listen on {_shown(host)} ({error.strerror}). "
        "Please choose another address with --host, such as 127.0.0.1 or 0.0.0.0."
    )


def _shown(host: str) -> str:
    return ascii(host if len(host) <= 60 else host[:57] + "...")
