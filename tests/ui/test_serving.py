"""Sockets for every form of address, and an error message for each that cannot be used."""

import errno
import socket
import threading
from collections.abc import Callable

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eft_demo.errors import EFTError, InputError
from eft_demo.ui import serving

HAS_IPV6 = socket.has_ipv6
try:
    socket.create_server(("::1", 0), family=socket.AF_INET6).close()
except OSError:
    HAS_IPV6 = False
ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")


def taken(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family)


@pytest.mark.parametrize(
    ("host", "shown", "reached"),
    [
        ("127.0.0.1", "http://localhost:", ["127.0.0.1"]),
        ("0.0.0.0", "http://localhost:", ["127.0.0.1"]),
        ("localhost", "http://localhost:", ["127.0.0.1"]),
        ("127.0.0.2", "http://127.0.0.2:", ["127.0.0.2"]),
        pytest.param("::1", "http://[::1]:", ["[::1]"], marks=ipv6),
        pytest.param("[::1]", "http://[::1]:", ["[::1]"], marks=ipv6),
        pytest.param("::", "http://localhost:", ["[::1]", "127.0.0.1"], marks=ipv6),
    ],
)
def test_every_form_of_address_is_served_and_shown_as_a_browser_needs_it(
    host: str, shown: str, reached: list[str]
) -> None:
    sockets = serving.listen(host, 0)
    port = serving.port_of(sockets)
    assert serving.address(host, port) == f"{shown}{port}"
    server = serving.Server(Starlette(), sockets)
    server.start()
    try:
        for name in reached:
            assert httpx.get(f"http://{name}:{port}/", trust_env=False).status_code == 404
    finally:
        server.close()


def test_an_ipv6_zone_is_percent_encoded() -> None:
    assert serving.address("fe80::1%eth0", 80) == "http://[fe80::1%25eth0]:80"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", pytest.param("::1", marks=ipv6)])
def test_the_next_free_port_is_taken(host: str) -> None:
    with taken("127.0.0.1" if host == "localhost" else host) as other:
        port = other.getsockname()[1]
        sockets = serving.listen(host, port)
        assert port < serving.port_of(sockets) < port + serving.PORTS_TRIED
        for one in sockets:
            one.close()


def test_another_port_is_picked_if_one_was_taken_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    listen, tried = socket.socket.listen, []

    def overtaken(one: socket.socket) -> None:
        tried.append(one.getsockname()[1])
        if len(tried) < 3:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        listen(one)

    monkeypatch.setattr(socket.socket, "listen", overtaken)
    sockets = serving.listen("127.0.0.1", 0)
    assert serving.port_of(sockets) == tried[2] >= 1024, "a port that any user may have"
    for one in sockets:
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
        serving.listen("127.0.0.1", wanted)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_gives_an_error_message(host: str) -> None:
    with pytest.raises(InputError, match=f"cannot listen on '{host}'.*--host"):
        serving.listen(host, 7860)


@pytest.mark.parametrize("host", ["localhost:7860", "http://localhost", "a" * 70 + ".b", "x\0y", "1.2.3.4.5"])
def test_an_invalid_host_gives_an_error_message(host: str) -> None:
    with pytest.raises(InputError, match="cannot be resolved.*--host"):
        serving.listen(host, 7860)


def test_without_ipv6_localhost_is_served_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),  # an address of no machine
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    (only,) = serving.listen("localhost", 0)
    assert only.family == socket.AF_INET
    only.close()


def test_a_server_that_ends_while_it_starts_gives_an_error_message() -> None:
    async def broken(scope: object, receive: object, send: object) -> None:
        raise ValueError

    server = serving.Server(broken, serving.listen("127.0.0.1", 0))
    with pytest.raises(EFTError, match="stopped while starting"):
        server.start()


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=ipv6)])
def test_a_check_releases_the_port(host: str) -> None:
    with taken(host) as other:
        port = other.getsockname()[1]
    serving.check(host, port)
    (one,) = serving.listen(host, port)
    assert serving.port_of([one]) == port
    one.close()


def test_a_name_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(60))
    monkeypatch.setattr(serving, "NAME_S", 0.05)
    try:
        with pytest.raises(InputError, match="'slow.example'.*no name server answered"):
            serving.check("slow.example", 0)
    finally:
        asked.set()


@pytest.mark.parametrize(
    ("host", "reached", "believed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        pytest.param("::1", "[::1]", True, marks=ipv6),
        pytest.param("::", "[::1]", True, marks=ipv6),
        pytest.param("::", "127.0.0.1", True, marks=ipv6),  # arrives as ::ffff:127.0.0.1
        ("127.0.0.2", "127.0.0.2", False),
    ],
)
def test_only_a_local_proxy_is_trusted_over_ipv4_and_ipv6(host: str, reached: str, believed: bool) -> None:
    seen: list[str] = []

    async def note(request: Request) -> Response:
        seen.append(request.client.host if request.client else "")
        return Response()

    sockets = serving.listen(host, 0)
    server = serving.Server(Starlette(routes=[Route("/", note)]), sockets)
    server.start()
    try:
        source = None if believed else httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(trust_env=False, transport=source) as proxy:
            url = f"http://{reached}:{serving.port_of(sockets)}/"
            proxy.get(url, headers={"X-Forwarded-For": "203.0.113.7"})
    finally:
        server.close()
    assert seen == (["203.0.113.7"] if believed else ["127.0.0.2"])
