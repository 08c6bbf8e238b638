"""What several tests of the page share: the service of a tiny family of fakes."""

from collections.abc import Iterator

import pytest

from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from tests.fakes import make_service


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = make_service(Settings())
    yield service
    service.stop()
