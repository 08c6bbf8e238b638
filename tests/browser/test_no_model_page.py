"""The page with no model at all: it says so, and recorded runs are played and inspected like any other."""

from collections.abc import Iterator

import pytest

from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from tests.site import BROWSER_MARKS, Site, serving, texts, violations

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(Service.without_models(Settings())) as site:
        yield site


@pytest.fixture(autouse=True)
def _no_complaints(site: Site) -> Iterator[None]:
    yield
    site.close_pages()


@pytest.mark.parametrize(("width", "theme"), [(1400, "dark"), (360, "light")])
def test_a_page_without_a_model_shows_what_was_recorded(site: Site, width: int, theme: str) -> None:
    page = site.open(width, query=f"/?__theme={theme}")
    assert page.locator("#eft-prompt").is_hidden() and page.locator(".pane").first.is_hidden()
    assert "No model is loaded" in page.locator("[data-part=absent]").inner_text()
    assert violations(page) == []
    page.locator("[data-part=absent-gallery] button").nth(3).press("Enter")
    page.select_option("[data-part=replay-speed]", "at once")
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Again'")
    assert "Portuguese" in texts(page)[2]
    page.locator(".pane .t").last.focus()
    page.keyboard.press("Home")
    assert "token 1 of" in page.locator("[data-part=card-title]").inner_text()
    page.wait_for_selector(".plot .barlayer .point")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-error]:not([hidden])", state="attached")
