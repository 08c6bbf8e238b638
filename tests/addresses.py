"""Kinds of addresses that a machine may lack."""

import socket

import pytest


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return socket.has_ipv6


ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")
