"""An error message for every address that cannot be used, and the next port for one in use."""

import errno
import socket
import threading
from collections.abc import Callable

import pytest

from eft_demo.errors import InputError
from eft_demo.host import sockets
from tests.addresses import ipv6


def taken(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family)


def test_an_ipv6_zone_is_percent_encoded() -> None:
    assert sockets.address("fe80::1%eth0", 80) == "http://[fe80::1%25eth0]:80"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", pytest.param("::1", marks=ipv6)])
def test_the_next_free_port_is_taken(host: str) -> None:
    with taken("127.0.0.1" if host == "localhost" else host) as other:
        port = other.getsockname()[1]
        bound = sockets.listen(host, port)
        assert port < sockets.port_of(bound) < port + sockets.PORTS_TRIED
        for one in bound:
            one.close()


def test_another_port_is_picked_if_one_was_taken_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    listen, tried = socket.socket.listen, []

    def overtaken(one: socket.socket) -> None:
        tried.append(one.getsockname()[1])
        if len(tried) < 3:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        listen(one)

    monkeypatch.setattr(socket.socket, "listen", overtaken)
    bound = sockets.listen("127.0.0.1", 0)
    assert sockets.port_of(bound) == tried[2] >= 1024, "a port that any user may have"
    for one in bound:
        one.close()


def refuse_with(number: int) -> Callable[..., None]:
    def bind(*_: object) -> None:
        raise OSError(number, errno.errorcode[number])

    return bind


@pytest.mark.parametrize(
    ("number", "wanted", "said"),
    [
        (errno.EADDRINUSE, 7860, "No port from 7860 to 7909"),
        (errno.EADDRINUSE, 65530, "No port from 65530 to 65535"),
        (errno.EADDRINUSE, 65535, "Port 65535 is not free"),
        (errno.EADDRINUSE, 0, "No port from 1 to 65535"),
        (errno.EACCES, 80, "port 80.*root.*--port"),
        (errno.EAFNOSUPPORT, 7860, "cannot listen on '127.0.0.1'.*--host"),
        (errno.ENOBUFS, 7860, "cannot listen on '127.0.0.1'"),
    ],
)
def test_an_unavailable_port_gives_an_error_message(
    monkeypatch: pytest.MonkeyPatch, number: int, wanted: int, said: str
) -> None:
    monkeypatch.setattr(socket.socket, "bind", refuse_with(number))
    with pytest.raises(InputError, match=said):
        sockets.listen("127.0.0.1", wanted)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_gives_an_error_message(host: str) -> None:
    with pytest.raises(InputError, match=f"cannot listen on '{host}'.*--host"):
        sockets.listen(host, 7860)


@pytest.mark.parametrize("host", ["localhost:7860", "http://localhost", "a" * 70 + ".b", "x\0y", "1.2.3.4.5"])
def test_an_invalid_host_gives_an_error_message(host: str) -> None:
    with pytest.raises(InputError, match="cannot be resolved.*--host"):
        sockets.listen(host, 7860)


def test_without_ipv6_localhost_is_served_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),  # an address of no machine
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    (only,) = sockets.listen("localhost", 0)
    assert only.family == socket.AF_INET
    only.close()


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
def test_a_check_releases_the_port(host: str) -> None:
    with taken(host) as other:
        port = other.getsockname()[1]
    sockets.check(host, port)
    (one,) = sockets.listen(host, port)
    assert sockets.port_of([one]) == port
    one.close()


def test_a_name_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(60))
    monkeypatch.setattr(sockets, "NAME_S", 0.05)
    try:
        with pytest.raises(InputError, match="'slow.example'.*no name server answered"):
            sockets.check("slow.example", 0)
    finally:
        asked.set()
