"""The page's server on every form of address, and whom it believes."""

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eft_demo.errors import EFTError
from eft_demo.host import sockets
from eft_demo.ui.serving import Server
from tests.addresses import ipv6


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
    bound = sockets.listen(host, 0)
    port = sockets.port_of(bound)
    assert sockets.address(host, port) == f"{shown}{port}"
    server = Server(Starlette(), bound)
    server.start()
    try:
        for name in reached:
            assert httpx.get(f"http://{name}:{port}/", trust_env=False).status_code == 404
    finally:
        server.close()


def test_a_server_that_ends_while_it_starts_gives_an_error_message() -> None:
    async def broken(scope: object, receive: object, send: object) -> None:
        raise ValueError

    server = Server(broken, sockets.listen("127.0.0.1", 0))
    with pytest.raises(EFTError, match="stopped while starting"):
        server.start()


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

    bound = sockets.listen(host, 0)
    server = Server(Starlette(routes=[Route("/", note)]), bound)
    server.start()
    try:
        source = None if believed else httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(trust_env=False, transport=source) as proxy:
            url = f"http://{reached}:{sockets.port_of(bound)}/"
            proxy.get(url, headers={"X-Forwarded-For": "203.0.113.7"})
    finally:
        server.close()
    assert seen == (["203.0.113.7"] if believed else ["127.0.0.2"])
