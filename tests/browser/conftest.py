"""One browser for all tests of the page, and what every test of a served page ends with."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.site import browsing


@pytest.fixture(scope="package")  # not session: while it runs, no other test could start an event loop
def browser() -> Iterator[Any]:
    """A browser that shows no window."""
    with browsing() as browser:
        yield browser


@pytest.fixture(autouse=True)
def _no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close the pages of the fixture `site`; the test fails if one reported an error or executed a text."""
    site = request.getfixturevalue("site") if "site" in request.fixturenames else None
    yield
    if site:
        site.close_pages()
