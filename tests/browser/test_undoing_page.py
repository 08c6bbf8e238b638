"""A page with negative alpha allowed: sliders reach below 0, and the page says what that does."""

from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.settings import Settings
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, Site, run, serving, texts, wait_end

pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings(allow_negative_alpha=True), pause_s=0.02), browser) as site:
        yield site


def test_alpha_can_go_below_0_and_the_page_warns_of_its_effect(site: Site) -> None:
    page = site.open()
    assert "emulated disalignment" in page.locator("[data-part=undoing]").inner_text()
    run(page, "chant")
    page.wait_for_function("/h{3,}/.test(document.querySelectorAll('.pane .text')[2].textContent)")
    page.focus("#eft-alpha")
    page.keyboard.press("Home")
    assert page.locator("[data-part=alpha-value]").inner_text() == "-3.00"
    page.wait_for_function("/hl/.test(document.querySelectorAll('.pane .text')[2].textContent)")
    page.keyboard.press("Escape")
    wait_end(page)
    assert page.locator("[data-error=alpha]").is_hidden() and texts(page)[2].endswith("l")
    page.locator(".pane.up .t").last.click()
    assert "α -3.00" in page.locator("[data-part=card-print]").inner_text()
    page.click("[aria-controls=eft-columns]")
    page.select_option("#eft-column-0", label="Pad: α and β in one square")
    page.wait_for_selector("[data-part=pad]:visible")
    assert page.locator("[data-part=pad-note]").inner_text() == "Outside the pad: tuning is undone."
