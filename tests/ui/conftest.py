"""What several tests of the page share: the service of a tiny family of fakes, and its page over HTTP."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from eft_demo.ui import server
from eft_demo.ui.page import Page, build_demo
from tests.fakes import make_service


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = make_service(Settings())
    yield service
    service.stop()


@pytest.fixture(scope="module")
def page() -> Iterator[tuple[Page, str]]:
    """A page that is served on a free port, and its address."""
    settings = replace(Settings(), port=0)
    service = make_service(settings)
    demo = build_demo(service, settings)
    yield demo, server.start(demo, settings)
    server.stop(demo)
    service.stop()


@pytest.fixture(scope="module")
def client(page: tuple[Page, str]) -> Iterator[httpx.Client]:
    """A client of that page, with no proxy in between."""
    with httpx.Client(base_url=page[1], timeout=60, trust_env=False) as client:
        yield client
